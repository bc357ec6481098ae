//! Faults on purpose: which deliveries fail, and how. Always the same ones, so that a test or a demonstration can be
//! repeated.

use std::num::NonZeroU64;
use std::str::FromStr;

use super::DeliveryError;

/// Rules at the most.
const RULES_MAX: usize = 100;

/// When the mailbox fails. Without rules it never does.
///
/// As text: rules separated by commas. `every=N` makes every Nth attempt unavailable; `unavailable=PATTERN` and
/// `reject=PATTERN` go by the recipient's address, in which `*` stands for any text: `every=10,reject=*7@*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    every: Option<NonZeroU64>,
    unavailable: Vec<String>,
    reject: Vec<String>,
}

/// The text is not a list of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} is none of every=N (from 1), unavailable=PATTERN, reject=PATTERN; at most {RULES_MAX} rules")]
pub struct NotFaults {
    rule: String,
}

impl FromStr for Faults {
    type Err = NotFaults;

    fn from_str(text: &str) -> Result<Self, NotFaults> {
        let mut faults = Self::default();
        for (number, rule) in text.split(',').map(str::trim).filter(|rule| !rule.is_empty()).enumerate() {
            let wrong = || NotFaults { rule: rule.to_owned() };
            match rule.split_once('=').filter(|_| number < RULES_MAX).ok_or_else(wrong)? {
                ("every", count) => faults.every = Some(count.parse().map_err(|_| wrong())?),
                ("unavailable", pattern) if !pattern.is_empty() => faults.unavailable.push(pattern.to_owned()),
                ("reject", pattern) if !pattern.is_empty() => faults.reject.push(pattern.to_owned()),
                _ => return Err(wrong()),
            }
        }
        Ok(faults)
    }
}

impl Faults {
    /// The fault of the `attempt`th delivery (from 1), which goes to `recipient`.
    pub(super) fn check(&self, attempt: u64, recipient: &str) -> Result<(), DeliveryError> {
        let hit = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, recipient));
        if hit(&self.reject) {
            return Err(DeliveryError::Rejected("550 5.1.1 no such mailbox".to_owned()));
        }
        if hit(&self.unavailable) || self.every.is_some_and(|every| attempt.is_multiple_of(every.get())) {
            return Err(DeliveryError::Unavailable("451 4.3.2 try again later".to_owned()));
        }
        Ok(())
    }
}

/// Whether `text` is `pattern` with each `*` replaced by some text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*7@*", "00017@customers.invalid", true),
            ("*7@*", "00018@customers.invalid", false),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn every_nth_attempt_and_chosen_recipients_fail() {
        let faults: Faults = "every=3, reject=bad@*,unavailable=slow@*".parse().unwrap();
        let failed: Vec<u64> = (1..=7).filter(|attempt| faults.check(*attempt, "ok@x").is_err()).collect();
        assert_eq!(failed, [3, 6]);
        assert!(matches!(faults.check(1, "bad@x"), Err(DeliveryError::Rejected(_))));
        assert!(matches!(faults.check(1, "slow@x"), Err(DeliveryError::Unavailable(_))));
        assert!(Faults::default().check(1, "bad@x").is_ok());
    }

    #[test]
    fn a_rule_that_is_none_is_named() {
        for bad in ["every=0", "every=x", "sometimes", "reject=", "every=2,drop=*"] {
            let error = bad.parse::<Faults>().unwrap_err().to_string();
            assert!(error.contains(bad.rsplit(',').next().unwrap()), "{error}");
        }
        assert_eq!("".parse::<Faults>(), Ok(Faults::default()));
    }
}
