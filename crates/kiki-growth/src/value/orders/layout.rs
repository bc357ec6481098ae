//! What a record says, by the layout of the file.

use std::borrow::Cow;
use std::str::FromStr;

use kiki_models::ltv::Purchase;
use kiki_types::money::parse_micros;

use super::columns::Places;
use super::csv::split;
use super::json::Keys;
use super::shopify::Shopify;
use super::{CUSTOMER_ID_BYTES_MAX, OrderOptions, OrdersError, date, shown};

/// How an order log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A header, then a row for each order.
    Csv,
    /// A JSON object on each line.
    JsonLines,
    /// The text of the CDNOW data.
    Cdnow,
    /// Shopify's export of orders.
    Shopify,
}

impl FromStr for Format {
    type Err = NotAFormat;

    fn from_str(text: &str) -> Result<Self, NotAFormat> {
        match text {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::JsonLines),
            "cdnow" => Ok(Self::Cdnow),
            "shopify" => Ok(Self::Shopify),
            _ => Err(NotAFormat),
        }
    }
}

/// The text names no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be csv, jsonl, cdnow or shopify")]
pub struct NotAFormat;

/// How the fields of a file lie.
#[derive(Debug)]
pub(super) enum Layout {
    /// Separated by one character.
    Csv { separator: char, columns: usize, places: Places },
    /// Separated by spaces; how many columns there are, and the places of customer, date and amount.
    Text { columns: usize, places: [usize; 3] },
    /// Objects.
    Json(Keys),
    /// Shopify's export.
    Shopify(Shopify),
}

/// A row that could be read.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) customer: Cow<'a, str>,
    /// Its value is negative where the row is a refund.
    pub(super) purchase: Purchase,
    /// Whether it tells of a refund.
    pub(super) refunds: bool,
}

/// What a record is.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// An order or a refund.
    Order(Row<'a>),
    /// An order that is no purchase: voided, or refunded whole.
    Returned,
    /// More about the order of the record before.
    LineItem,
}

/// What was found in a record. An absent refunded amount is empty.
pub(super) struct Fields<'a> {
    pub(super) customer: Cow<'a, str>,
    pub(super) date: Cow<'a, str>,
    pub(super) amount: Cow<'a, str>,
    pub(super) refunded: Cow<'a, str>,
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
        let found = match options.format {
            Some(Format::JsonLines) => Self::json(line, options),
            Some(Format::Cdnow) => Self::text(line),
            Some(Format::Csv | Format::Shopify) => Self::csv(line, options),
            None if line.starts_with('{') => Self::json(line, options),
            None if line.contains([',', ';', '\t']) => Self::csv(line, options),
            None => Self::text(line),
        };
        found.map_err(header)
    }

    fn json(line: &str, options: &OrderOptions) -> Result<(Self, bool), String> {
        Ok((Self::Json(Keys::of_first_line(line, options)?), false))
    }

    fn csv(line: &str, options: &OrderOptions) -> Result<(Self, bool), String> {
        let often = |&separator: &char| (line.matches(separator).count(), separator == ',');
        let separator = [',', ';', '\t'].into_iter().max_by_key(often).unwrap_or(',');
        let names: Vec<String> = split(line, separator)?.iter().map(ToString::to_string).collect();
        let is_shopify = options.format.map_or_else(|| Shopify::is(&names), |format| format == Format::Shopify);
        if is_shopify {
            return Ok((Self::Shopify(Shopify::of_header(&names, separator, options)?), true));
        }
        let places = Places::find(&names, options)?;
        Ok((Self::Csv { separator, columns: names.len(), places }, true))
    }

    fn text(line: &str) -> Result<(Self, bool), String> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_row = |places: [usize; 3]| of_words(&words, places).is_ok();
        match words.len() {
            4 if words == CDNOW_HEADER => Ok((Self::Text { columns: 4, places: CDNOW_MASTER }, true)),
            4 if is_row(CDNOW_MASTER) => Ok((Self::Text { columns: 4, places: CDNOW_MASTER }, false)),
            5 if is_row(CDNOW_SAMPLE) => Ok((Self::Text { columns: 5, places: CDNOW_SAMPLE }, false)),
            _ => {
                let known =
                    "a CSV header with commas, semicolons or tabs, a JSON object, or the columns of the CDNOW text";
                Err(format!("is neither {known} (customer, date, number, dollars)"))
            }
        }
    }

    /// What separates fields that may be quoted.
    pub(super) fn separator(&self) -> Option<u8> {
        match self {
            Self::Csv { separator, .. } | Self::Shopify(Shopify { separator, .. }) => u8::try_from(*separator).ok(),
            Self::Text { .. } | Self::Json(_) => None,
        }
    }

    /// What a record says, or what is wrong with it.
    pub(super) fn entry<'a>(&mut self, record: &'a [u8]) -> Result<Entry<'a>, String> {
        let record = std::str::from_utf8(record).map_err(|_| "is not UTF-8".to_owned())?;
        match self {
            Self::Text { columns, places } => {
                let words = pick(record.split_ascii_whitespace(), *columns, *places)?;
                let [customer, date, amount] = words.map(Cow::Borrowed);
                entry(Fields { customer, date, amount, refunded: Cow::Borrowed("") })
            }
            Self::Csv { separator, columns, places } => {
                if record.contains('"') {
                    csv_entry(split(record, *separator)?.into_iter(), *columns, places)
                } else {
                    csv_entry(record.split(*separator).map(Cow::Borrowed), *columns, places)
                }
            }
            Self::Json(keys) => keys.entry(record),
            Self::Shopify(shopify) => shopify.entry(record),
        }
    }
}

fn of_words<'a>(words: &[&'a str], [customer, date, amount]: [usize; 3]) -> Result<Entry<'a>, String> {
    let [customer, date, amount] = [words[customer], words[date], words[amount]].map(Cow::Borrowed);
    entry(Fields { customer, date, amount, refunded: Cow::Borrowed("") })
}

fn csv_entry<'a>(
    fields: impl Iterator<Item = Cow<'a, str>>,
    columns: usize,
    places: &Places,
) -> Result<Entry<'a>, String> {
    let [customer, date, amount] = places.required;
    let Some(refund) = places.refund else {
        let [customer, date, amount] = pick(fields, columns, places.required)?;
        return entry(Fields { customer, date, amount, refunded: Cow::Borrowed("") });
    };
    let [customer, date, amount, refunded] = pick(fields, columns, [customer, date, amount, refund])?;
    entry(Fields { customer, date, amount, refunded })
}

/// The fields that count, out of exactly `columns`.
fn pick<T: Default, const N: usize>(
    fields: impl Iterator<Item = T>,
    columns: usize,
    places: [usize; N],
) -> Result<[T; N], String> {
    let mut found = [(); N].map(|()| T::default());
    let mut count = 0;
    for field in fields {
        if let Some(at) = places.iter().position(|&place| place == count) {
            found[at] = field;
        }
        count += 1;
    }
    if count == columns { Ok(found) } else { Err(format!("has {count} columns instead of {columns}")) }
}

/// What fields say together.
pub(super) fn entry(fields: Fields<'_>) -> Result<Entry<'_>, String> {
    let customer = trimmed(fields.customer);
    if customer.is_empty() {
        return Err("customer: is missing".to_owned());
    }
    if customer.len() > CUSTOMER_ID_BYTES_MAX || customer.chars().any(char::is_control) {
        return Err(format!("customer: must be at most {CUSTOMER_ID_BYTES_MAX} bytes without control characters"));
    }
    let date = fields.date.trim();
    let day = date::parse(date).ok_or_else(|| {
        format!("date: {} is not a date such as 1997-09-30, 19970930 or an RFC 3339 time", shown(date))
    })?;
    let amount = money("amount", fields.amount.trim())?;
    let refunded = match fields.refunded.trim() {
        "" => 0,
        text => money("refund", text)?,
    };
    if refunded < 0 {
        return Err(format!("refund: {} must not be negative", shown(fields.refunded.trim())));
    }
    let micros = amount.saturating_sub(refunded);
    if refunded > 0 && micros <= 0 {
        return Ok(Entry::Returned);
    }
    Ok(Entry::Order(Row { customer, purchase: Purchase { day, micros }, refunds: amount < 0 || refunded > 0 }))
}

fn money(field: &str, text: &str) -> Result<i64, String> {
    parse_micros(text).map_err(|error| format!("{field}: {} {error}", shown(text)))
}

fn trimmed(field: Cow<'_, str>) -> Cow<'_, str> {
    match field {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}
