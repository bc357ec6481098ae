//! Names of things that are names of people.
//!
//! Names of accounts, payees, budgets and the like stand in the log for years and in the clear. What is recognised here
//! as pointing to a person is refused there; it is a guard against slips, and finds no person's plain name.

use std::borrow::Cow;
use std::net::IpAddr;

/// Digits of an international number without its plus sign (E.164).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Whether `text` holds an e-mail address, or is an IP address or a phone number in international form as a whole; also
/// written as an address of the web is, with a scheme before it and percent signs within.
/// A number without its plus sign is not taken for a phone: order numbers and dates look the same.
#[must_use]
pub fn looks_personal(text: &str) -> bool {
    let text = decoded(text.trim());
    let bare = without_scheme(&text);
    holds_email(&text) || is_address(&text) || is_address(bare) || is_phone(bare)
}

/// `text` with what stands in it as `%40` and the like.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// What follows a scheme such as `tel:`.
fn without_scheme(text: &str) -> &str {
    let scheme = text.split_once(':').filter(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic()));
    scheme.map_or(text, |(_, rest)| rest.trim_start_matches('/'))
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
            "tel:+4915792300417",
            "mailto:ann@mail.example",
            "ann%40mail.example",
            "tel:%2B4915792300417",
            "http://203.0.113.7",
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
            "100%",
            "50%25 off",
            "%zz%",
            "shop:12",
        ] {
            assert!(!looks_personal(text), "{text}");
        }
    }
}
