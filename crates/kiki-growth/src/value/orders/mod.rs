//! Reading an order log: who bought when, for how much.
//!
//! **CSV** with a header: the columns are given by name, or inferred from names in use; separated by comma, semicolon or tab,
//! fields quoted where needed. **JSON lines**: an object a line, its keys as the columns of CSV. **Shopify's export of orders**,
//! by name. **CDNOW text**: columns separated by spaces, customer, date, number of CDs, dollars, with the customer's number
//! within the sample as the second column of the 1/10 sample, where it is the one that counts.
//!
//! It holds: amounts are read exactly; a day is a day in UTC, and what is bought on one day is one purchase; every row that
//! cannot be read is counted, and the first of them are reported with their lines; unless they are to be skipped, one bad row
//! refuses the whole file. A negative amount is a refund, of which `refunds` says what it is taken from. The log is read once,
//! a record at a time. What is kept is 16 bytes an order and each customer's id once.

mod columns;
mod csv;
mod date;
mod json;
mod layout;
mod lines;
mod refunds;
mod shopify;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;

use kiki_models::ltv::{Purchase, Summary};
use kiki_types::Currency;
use serde::Serialize;

use super::baseline::Revenue;
use layout::{Entry, Layout, Row};
use lines::Lines;

pub use columns::Column;
pub(in crate::value) use date::date_of;
pub use date::day_number;
pub(in crate::value) use date::parse as day_of;
pub use layout::{Format, NotAFormat};
pub use refunds::Refunds;

/// Bytes of a line at the most.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bad rows that are reported at the most; the others are counted.
pub const BAD_ROWS_REPORTED_MAX: usize = 20;
/// Orders of one log at the most.
pub const ORDERS_MAX: usize = 100_000_000;
/// Bytes of a customer's id at the most.
pub const CUSTOMER_ID_BYTES_MAX: usize = 256;

const LINES_BETWEEN_PROGRESS: u64 = 8_192;

/// How to read an order log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderOptions {
    /// How the log is written; found out from its first line if absent.
    pub format: Option<Format>,
    /// The name of the CSV column that names the customer; inferred if absent.
    pub customer_column: Option<String>,
    /// The name of the CSV column of the date; inferred if absent.
    pub date_column: Option<String>,
    /// The name of the CSV column of the amount; inferred if absent.
    pub amount_column: Option<String>,
    /// The name of the column of what was refunded of an order; inferred if absent, and not needed.
    pub refund_column: Option<String>,
    /// The currency that amounts must be in, where the log says it.
    pub currency: Option<Currency>,
    /// Leave bad rows out instead of refusing the file.
    pub skip_bad_rows: bool,
}

/// How far reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Its line in the file, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// The rows that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BadRows {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most [`BAD_ROWS_REPORTED_MAX`].
    pub first: Vec<BadRow>,
}

impl BadRows {
    fn add(&mut self, line: u64, problem: String) {
        self.count += 1;
        if self.first.len() < BAD_ROWS_REPORTED_MAX {
            self.first.push(BadRow { line, problem });
        }
    }
}

impl fmt::Display for BadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.first {
            write!(f, "\n  line {}: {}", row.line, row.problem)?;
        }
        match self.count - self.first.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Why a file is not an order log.
#[derive(Debug, thiserror::Error)]
pub enum OrdersError {
    /// It cannot be read.
    #[error("the order log cannot be read")]
    Read(#[from] io::Error),
    /// Nothing is in it.
    #[error("the order log is empty")]
    Empty,
    /// It has a header and nothing below it.
    #[error("the order log has no orders")]
    NoOrders,
    /// A line does not end.
    #[error("line {line}: is longer than {LINE_BYTES_MAX} bytes, so this is not an order log")]
    LineTooLong {
        /// The line, from 1.
        line: u64,
    },
    /// A column that was asked for is not there, or cannot be inferred.
    #[error("line {line}: {problem}")]
    Header {
        /// The header's line.
        line: u64,
        /// What is missing, and what is there.
        problem: String,
    },
    /// Rows that cannot be read.
    #[error("rows of the order log that cannot be read: {}{_0}", .0.count)]
    BadRows(BadRows),
    /// More orders than one run can take.
    #[error("the order log has more than {ORDERS_MAX} orders")]
    TooMany,
}

/// An order or a refund, ordered by customer and day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    /// The customer's place among the ids.
    customer: u32,
    day: i32,
    micros: i64,
}

// A hundred million of them are kept.
const _: () = assert!(size_of::<Order>() == 16);

impl Order {
    const fn purchase(&self) -> Purchase {
        Purchase { day: self.day, micros: self.micros }
    }
}

/// An order log in memory.
#[derive(Debug)]
pub struct OrderLog {
    /// Ids in the order in which they came up; orders name customers by their place here.
    customers: Vec<Arc<str>>,
    orders: Vec<Order>,
    /// Rows left out.
    pub bad_rows: BadRows,
    /// What became of refunds.
    pub refunds: Refunds,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl OrderLog {
    /// Reads a log to its end. `progress` is told now and then, and at the end.
    ///
    /// # Errors
    /// [`OrdersError`]; bad rows are an error unless `options` say to skip them.
    pub fn read(
        reader: impl BufRead,
        options: &OrderOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, OrdersError> {
        let mut lines = Lines::new(reader);
        let mut building = Building::default();
        let mut layout = None;
        while let Some((number, line)) = lines.next(layout.as_ref().and_then(Layout::separator))? {
            if line.is_empty() {
                continue;
            }
            let known = match &mut layout {
                Some(layout) => layout,
                None => {
                    let (found, is_header) = Layout::of_first_line(number, line, options)?;
                    let known = layout.insert(found);
                    if is_header {
                        continue;
                    }
                    known
                }
            };
            match known.entry(line) {
                Ok(Entry::Order(row)) => building.add(&row)?,
                Ok(Entry::Returned) => building.refunds.returned += 1,
                Ok(Entry::LineItem) => {}
                Err(problem) => building.bad_rows.add(number, problem),
            }
            if number % LINES_BETWEEN_PROGRESS == 0 {
                progress(lines.progress());
            }
        }
        progress(lines.progress());
        if layout.is_none() {
            return Err(OrdersError::Empty);
        }
        if building.orders.is_empty() && building.bad_rows.count == 0 && building.refunds.returned == 0 {
            return Err(OrdersError::NoOrders);
        }
        if building.bad_rows.count > 0 && !options.skip_bad_rows {
            return Err(OrdersError::BadRows(building.bad_rows));
        }
        Ok(building.finish(lines.sha256()))
    }

    /// Orders that were read, refunds not among them.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.orders.iter().filter(|order| order.micros >= 0).count()
    }

    /// Customers that were read.
    #[must_use]
    pub fn customers(&self) -> usize {
        self.customers.len()
    }

    /// The first and the last day with an order; `None` without one.
    #[must_use]
    pub fn days(&self) -> Option<(i32, i32)> {
        let days = self.orders.iter().filter(|order| order.micros >= 0).map(|order| order.day);
        days.clone().min().zip(days.max())
    }

    /// What was bought a day, by all customers together.
    pub(in crate::value) fn revenue(&self) -> Revenue {
        let purchases = self.orders.iter().map(Order::purchase);
        self.days().map_or_else(Revenue::default, |(first, last)| Revenue::of(purchases, first, last))
    }

    /// What was known of each customer at the end of the day `until`, in the order of the ids' bytes. Who had not bought by
    /// then is not among them.
    #[must_use]
    pub fn summaries(&self, until: i32) -> Vec<(Arc<str>, Summary)> {
        let mut summaries = Vec::new();
        self.each_customer(until, |id, purchases| {
            summaries.extend(Summary::of(purchases, until).map(|summary| (Arc::clone(id), summary)));
        });
        summaries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        summaries
    }

    /// Tells the purchases of each customer up to the day `until`, in the order of days, refunds taken off.
    pub(in crate::value) fn each_customer(&self, until: i32, mut tell: impl FnMut(&Arc<str>, &[Purchase])) {
        let mut purchases = Vec::new();
        for orders in self.orders.chunk_by(|one, other| one.customer == other.customer) {
            refunds::net(orders.iter().map(Order::purchase), until, &mut purchases);
            if let Some(id) = self.customers.get(orders[0].customer as usize) {
                tell(id, &purchases);
            }
        }
    }
}

/// Characters of a bad field that are shown at the most.
const SHOWN_MAX: usize = 40;

/// A field as it is reported: quoted, without control characters, and not too long.
fn shown(field: &str) -> String {
    let cut: String = field.chars().take(SHOWN_MAX).collect();
    if cut.len() < field.len() { format!("{cut:?}...") } else { format!("{cut:?}") }
}

#[derive(Default)]
struct Building {
    customers: Vec<Arc<str>>,
    known: HashMap<Arc<str>, u32>,
    orders: Vec<Order>,
    bad_rows: BadRows,
    refunds: Refunds,
}

impl Building {
    fn add(&mut self, row: &Row<'_>) -> Result<(), OrdersError> {
        let (customer, purchase) = (&*row.customer, row.purchase);
        if self.orders.len() == ORDERS_MAX {
            return Err(OrdersError::TooMany);
        }
        let place = match self.known.get(customer) {
            Some(&place) => place,
            None => {
                let place = u32::try_from(self.customers.len()).map_err(|_| OrdersError::TooMany)?;
                let id: Arc<str> = customer.into();
                self.customers.push(Arc::clone(&id));
                self.known.insert(id, place);
                place
            }
        };
        self.refunds.rows += u64::from(row.refunds);
        self.orders.push(Order { customer: place, day: purchase.day, micros: purchase.micros });
        Ok(())
    }

    fn finish(mut self, sha256: String) -> OrderLog {
        drop(self.known);
        self.orders.sort_unstable();
        let Self { customers, orders, bad_rows, mut refunds, .. } = self;
        let mut net = Vec::new();
        for orders in orders.chunk_by(|one, other| one.customer == other.customer) {
            let (returned, unmatched) = refunds::net(orders.iter().map(Order::purchase), i32::MAX, &mut net);
            refunds.returned += returned;
            refunds.unmatched += unmatched;
        }
        OrderLog { customers, orders, bad_rows, refunds, sha256 }
    }
}

#[cfg(test)]
mod tests;
