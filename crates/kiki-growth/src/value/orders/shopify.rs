//! Shopify's export of orders, a CSV file whose columns are known by name. An order has a row for each of its items; the first
//! one says what the order was worth, and the others are passed over. What was refunded comes off the order; an order that was
//! voided, or refunded whole, is no purchase.

use super::columns::{find_named, normal};
use super::csv::split;
use super::layout::{Entry, Fields, entry};
use super::{OrderOptions, shown};

/// Where the columns are, and which order the row before was of.
#[derive(Debug)]
pub(super) struct Shopify {
    pub(super) separator: char,
    columns: usize,
    name: usize,
    customer: usize,
    date: usize,
    total: usize,
    status: Option<usize>,
    refunded: Option<usize>,
    currency: Option<usize>,
    /// The currency that amounts must be in.
    wanted: Option<String>,
    last: String,
}

const NAME: &str = "name";
const STATUS: &str = "financial_status";
/// Orders that nobody paid for.
const VOID: [&str; 2] = ["voided", "expired"];

impl Shopify {
    /// Whether a header is that of the export.
    pub(super) fn is(header: &[String]) -> bool {
        let has = |name: &str| header.iter().any(|column| normal(column) == name);
        [NAME, STATUS, "lineitem_quantity"].into_iter().all(has)
    }

    pub(super) fn of_header(header: &[String], separator: char, options: &OrderOptions) -> Result<Self, String> {
        let find = |name: &str| find_named(header, name);
        let needed = |name: &str| find(name).ok_or_else(|| format!("Shopify's export has a column {name:?}"));
        let customer = options.customer_column.as_deref().unwrap_or("Email");
        Ok(Self {
            separator,
            columns: header.len(),
            name: needed("Name")?,
            customer: needed(customer)?,
            date: needed("Created at")?,
            total: needed("Total")?,
            status: find("Financial Status"),
            refunded: find("Refunded Amount"),
            currency: find("Currency"),
            wanted: options.currency.map(|currency| currency.as_str().to_owned()),
            last: String::new(),
        })
    }

    pub(super) fn entry<'a>(&mut self, record: &'a str) -> Result<Entry<'a>, String> {
        let mut fields = split(record, self.separator)?;
        if fields.len() != self.columns {
            return Err(format!("has {} columns instead of {}", fields.len(), self.columns));
        }
        let name = fields[self.name].trim();
        if name.is_empty() {
            return Err("Name: is missing".to_owned());
        }
        if name == self.last {
            return Ok(Entry::LineItem);
        }
        name.clone_into(&mut self.last);
        let optional = |place: Option<usize>| place.map_or("", |place| fields[place].trim());
        if VOID.contains(&optional(self.status)) {
            return Ok(Entry::Returned);
        }
        let currency = optional(self.currency);
        if let Some(wanted) = self.wanted.as_deref().filter(|&wanted| !currency.is_empty() && currency != wanted) {
            return Err(format!("Currency: {} is not {wanted}, the currency of this log", shown(currency)));
        }
        let mut take = |place: usize| std::mem::take(&mut fields[place]);
        let refunded = self.refunded.map(&mut take).unwrap_or_default();
        entry(Fields { customer: take(self.customer), date: take(self.date), amount: take(self.total), refunded })
    }
}
