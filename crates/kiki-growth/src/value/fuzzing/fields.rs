//! One field at a time: dates and amounts, by the thousand.

use kiki_types::money::{format_micros, parse_micros};

use crate::value::live::NewOrder;
use crate::value::orders::{date_of, day_number, day_of};
use crate::value::selection::PageToken;

/// Reads each line of `bytes` as whatever a field may be.
///
/// # Panics
/// What is read is not what was written.
pub fn fields(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for line in text.lines() {
        date(line);
        if let Ok(micros) = parse_micros(line) {
            assert_eq!(parse_micros(&format_micros(micros.into())), Ok(micros), "{line:?}");
        }
        if let Ok(token) = line.parse::<PageToken>() {
            assert_eq!(token.to_string().parse().ok(), Some(token), "{line:?}");
        }
    }
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let (order, customer, at, amount) = (next(), next(), next(), next());
    _ = NewOrder::new(order.to_owned(), customer.to_owned(), at, amount, order.len() % 2 == 0);
}

/// A day that is read is a date, and is written in three ways that are read as the same day.
fn date(line: &str) {
    let Some(day) = day_of(line) else { return };
    let date = date_of(day).expect("a day is a date");
    assert_eq!(day_number(date), day, "{line:?}");
    for text in [format!("{date}"), format!("{date}T00:00:00Z"), format!("{date} 12:00:00")] {
        // Years before the first have a sign, and other widths.
        if (1..=9_998).contains(&date.year()) {
            assert_eq!(day_of(&text), Some(day), "{line:?} {text}");
        }
    }
}
