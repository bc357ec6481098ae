//! Names of things that are names of people.
//!
//! Names of accounts, payees, budgets and the like stand in the log for years and in the clear. What is recognised here
//! as pointing to a person is refused there; it is a guard against slips, and finds no person's plain name.

use std::net::IpAddr;

/// Digits of an international number without its plus sign (E.164).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Whether `text` holds an e-mail address, or is an IP address or a phone number in international form as a whole.
/// A number without its plus sign is not taken for a phone: order numbers and dates look the same.
#[must_use]
pub fn looks_personal(text: &str) -> bool {
    let text = text.trim();
    holds_email(text) || is_address(text) || is_phone(text)
}

fn holds_email(text: &str) -> bool {
    let is_atom = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    text.match_indices('@').any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        before.chars().next_back().is_some_and(is_atom) && after.chars().next().is_some_and(char::is_alphanumeric)
    })
}

fn is_address(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().is_ok()
}

fn is_phone(text: &str) -> bool {
    let Some(number) = text.strip_prefix('+') else { return false };
    let digits = number.chars().filter(char::is_ascii_digit).count();
    PHONE_DIGITS.contains(&digits)
        && number.chars().all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.' | '/' | '(' | ')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_of_people_are_recognised() {
        for text in [
            "ann@mail.example",
            "campaign for ann@mail.example",
            "<ann+news@mail.example>",
            "203.0.113.7",
            "2001:db8::7",
            "[2001:db8::7]",
            "+49 1579 2300417",
            "+1 (555) 123-4567",
        ] {
            assert!(looks_personal(text), "{text}");
        }
    }

    #[test]
    fn names_of_things_pass() {
        for text in [
            "",
            "google-ads",
            "desk/agent-7",
            "4.5",
            "2024-01-31",
            "15792300417",
            "+5",
            "@home",
            "ads @ night",
            "1.2.3",
            "+12345678901234567",
            "order 203.0.113.7 of many",
        ] {
            assert!(!looks_personal(text), "{text}");
        }
    }
}
