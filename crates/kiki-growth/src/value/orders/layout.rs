//! What a line says, by the layout of the file.

use std::borrow::Cow;

use kiki_models::ltv::Purchase;
use kiki_types::money::parse_micros;

use super::columns::{self, Column};
use super::{CUSTOMER_ID_BYTES_MAX, OrderOptions, OrdersError, date};

/// How the columns of a file lie.
#[derive(Debug)]
pub(super) enum Layout {
    /// Separated by one character; the places of customer, date and amount.
    Csv { separator: char, columns: usize, places: [usize; 3] },
    /// Separated by spaces; the places, and how many columns there are.
    Text { columns: usize, places: [usize; 3] },
}

/// A row that could be read.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) customer: &'a str,
    pub(super) purchase: Purchase,
}

const CDNOW_MASTER: [usize; 3] = [0, 1, 3];
/// The customer's number within the sample, which is what published figures name them by.
const CDNOW_SAMPLE: [usize; 3] = [1, 2, 4];
const CDNOW_HEADER: [&str; 4] = ["customer_id", "date", "number_of_cds", "dollar_value"];

impl Layout {
    /// Finds out from the first line that is not empty; also whether that line is a header.
    pub(super) fn of_first_line(number: u64, line: &[u8], options: &OrderOptions) -> Result<(Self, bool), OrdersError> {
        let header = |problem: String| OrdersError::Header { line: number, problem };
        let line = std::str::from_utf8(line).map_err(|_| header("is not UTF-8".to_owned()))?;
        let separator =
            [',', ';', '\t'].into_iter().max_by_key(|&separator| (line.matches(separator).count(), separator == ','));
        let separator = separator.filter(|&separator| line.contains(separator));
        let Some(separator) = separator else {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            return Self::of_words(&words).ok_or_else(|| {
                let known = "a CSV header with commas, semicolons or tabs, or the columns of the CDNOW text";
                header(format!("is neither {known} (customer, date, number, dollars)"))
            });
        };
        let names: Vec<String> = split(line, separator).map_err(header)?.iter().map(ToString::to_string).collect();
        let place = |column: Column| column.find(&names, options);
        let places = [place(Column::Customer), place(Column::Date), place(Column::Amount)];
        let missing: Vec<&str> = places.iter().filter_map(|place| place.as_ref().err().map(String::as_str)).collect();
        if !missing.is_empty() {
            return Err(header(missing.join("; ")));
        }
        let places = places.map(Result::unwrap_or_default);
        columns::distinct(&names, places).map_err(header)?;
        Ok((Self::Csv { separator, columns: names.len(), places }, true))
    }

    fn of_words(words: &[&str]) -> Option<(Self, bool)> {
        let is_row = |[customer, date, amount]: [usize; 3]| row(words[customer], words[date], words[amount]).is_ok();
        match words.len() {
            4 if words == CDNOW_HEADER => Some((Self::Text { columns: 4, places: CDNOW_MASTER }, true)),
            4 if is_row(CDNOW_MASTER) => Some((Self::Text { columns: 4, places: CDNOW_MASTER }, false)),
            5 if is_row(CDNOW_SAMPLE) => Some((Self::Text { columns: 5, places: CDNOW_SAMPLE }, false)),
            _ => None,
        }
    }

    /// What a line says, or what is wrong with it.
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> Result<Row<'a>, String> {
        let line = std::str::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
        match self {
            Self::Text { columns, places } => {
                let [customer, date, amount] = pick(line.split_ascii_whitespace(), *columns, *places)?;
                row(customer, date, amount)
            }
            Self::Csv { separator, columns, places } if !line.contains('"') => {
                let [customer, date, amount] = pick(line.split(*separator), *columns, *places)?;
                row(customer, date, amount)
            }
            Self::Csv { separator, columns, places } => {
                let fields = split(line, *separator)?;
                let [customer, date, amount] = pick(fields.into_iter(), *columns, *places)?;
                // The customer is a part of the line unless a quote within it was doubled, which no id needs.
                let Cow::Borrowed(customer) = customer else {
                    return Err("customer: must not contain a quote".to_owned());
                };
                row(customer, &date, &amount)
            }
        }
    }
}

/// The three fields that count, out of exactly `columns`.
fn pick<T>(fields: impl Iterator<Item = T>, columns: usize, places: [usize; 3]) -> Result<[T; 3], String> {
    let mut found = [None, None, None];
    let mut count = 0;
    for field in fields {
        if let Some(at) = places.iter().position(|&place| place == count) {
            found[at] = Some(field);
        }
        count += 1;
    }
    match found {
        [Some(customer), Some(date), Some(amount)] if count == columns => Ok([customer, date, amount]),
        _ => Err(format!("has {count} columns instead of {columns}")),
    }
}

fn row<'a>(customer: &'a str, date: &str, amount: &str) -> Result<Row<'a>, String> {
    let customer = customer.trim();
    if customer.is_empty() {
        return Err("customer: is missing".to_owned());
    }
    if customer.len() > CUSTOMER_ID_BYTES_MAX || customer.chars().any(char::is_control) {
        return Err(format!("customer: must be at most {CUSTOMER_ID_BYTES_MAX} bytes without control characters"));
    }
    let date = date.trim();
    let day = date::parse(date).ok_or_else(|| {
        format!("date: {} is not a date such as 1997-09-30, 19970930 or an RFC 3339 time", shown(date))
    })?;
    let amount = amount.trim();
    let micros = parse_micros(amount).map_err(|error| format!("amount: {} {error}", shown(amount)))?;
    if micros < 0 {
        return Err(format!("amount: {} is negative; leave refunds out or net them from their order", shown(amount)));
    }
    Ok(Row { customer, purchase: Purchase { day, micros } })
}

/// Characters of a bad field that are shown at the most.
const SHOWN_MAX: usize = 40;

/// A field as it is reported: quoted, without control characters, and not too long.
fn shown(field: &str) -> String {
    let cut: String = field.chars().take(SHOWN_MAX).collect();
    if cut.len() < field.len() { format!("{cut:?}...") } else { format!("{cut:?}") }
}

/// The fields of a CSV line (RFC 4180, without line breaks in fields).
fn split(line: &str, separator: char) -> Result<Vec<Cow<'_, str>>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let after = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, after) = unquote(quoted)?;
                fields.push(field);
                after
            }
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                fields.push(Cow::Borrowed(&rest[..end]));
                &rest[end..]
            }
        };
        match after.strip_prefix(separator) {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err("has text after a closing quote".to_owned()),
        }
    }
}

/// A field up to its closing quote, and what follows it.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut from = 0;
    while let Some(quote) = text[from..].find('"').map(|place| place + from) {
        if !text[quote + 1..].starts_with('"') {
            let (field, after) = (&text[..quote], &text[quote + 1..]);
            let doubled = field.contains('"');
            return Ok((if doubled { field.replace("\"\"", "\"").into() } else { field.into() }, after));
        }
        from = quote + 2;
    }
    Err("has a quote that is not closed on its line".to_owned())
}
