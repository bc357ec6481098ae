//! JSON lines: an object a line. Keys are named or inferred as the columns of CSV are; each line has to have the keys of the
//! first. Amounts may be strings or numbers, and are read as they are written.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::OrderOptions;
use super::columns::Places;
use super::layout::{Entry, Fields, entry};

/// The keys of customer, date, amount, and refunded amount.
#[derive(Debug)]
pub(super) struct Keys {
    names: [String; 3],
    refund: Option<String>,
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

impl Keys {
    pub(super) fn of_first_line(line: &str, options: &OrderOptions) -> Result<Self, String> {
        let mut keys: Vec<String> = object(line)?.into_keys().map(Cow::into_owned).collect();
        keys.sort_unstable();
        let places = Places::find(&keys, options)?;
        let name = |place: usize| keys.get(place).cloned().unwrap_or_default();
        Ok(Self { names: places.required.map(name), refund: places.refund.map(name) })
    }

    pub(super) fn entry<'a>(&self, line: &'a str) -> Result<Entry<'a>, String> {
        let object = object(line)?;
        let field = |name: &str| object.get(name).map_or(Ok(Cow::Borrowed("")), |raw| text(raw.get(), name));
        let [customer, date, amount] = &self.names;
        let refunded = self.refund.as_ref().map_or(Ok(Cow::Borrowed("")), |name| field(name))?;
        entry(Fields { customer: field(customer)?, date: field(date)?, amount: field(amount)?, refunded })
    }
}

fn object(line: &str) -> Result<Object<'_>, String> {
    serde_json::from_str(line).map_err(|error| format!("is not a JSON object: {error}"))
}

/// What a value says: a string without its quotes, a number as it is written, nothing for `null`.
fn text<'a>(raw: &'a str, name: &str) -> Result<Cow<'a, str>, String> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'a>>(raw).map(|text| text.0).map_err(|error| error.to_string()),
        Some(b'-' | b'0'..=b'9') => Ok(Cow::Borrowed(raw)),
        Some(b'n') => Ok(Cow::Borrowed("")),
        _ => Err(format!("{name}: must be a string or a number")),
    }
}

/// A string that is borrowed where it holds no escape.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
