//! How good a fitted model is: what it said of the days after the last one that it was fitted to, beside what happened.
//!
//! It holds: of the days after the calibration nothing is used but to be compared with; refunds count from their day on; what is
//! expected of a customer is what a prediction would have told. Simple rules that need no model stand beside it, so that it shows
//! what the model is good for.

mod accuracy;
mod calibration;
mod tracking;

use kiki_models::ltv::{GammaGamma, History, HistoryError, Purchase, Summary};
use serde::Serialize;

use super::kind::Purchases;
use super::orders::{OrderLog, date_of};
use super::unit::TimeUnit;
pub use accuracy::Accuracy;
pub use calibration::{Calibration, Repeats};
pub use tracking::Step;

/// The longest log that a report tells of, in days: a hundred years.
pub const DAYS_MAX: u32 = 36_525;
/// Customers are put together from this many repeat purchases on.
const FREQUENCY_MANY: u32 = 7;
/// Groups of customers by what is expected of them.
const VALUE_GROUPS: usize = 10;

/// What a model said of the days after its calibration, and what happened. Money is in units of the currency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HoldOut {
    /// The first and the last day that was compared.
    pub days: (String, String),
    /// How long that is.
    pub weeks: f64,
    /// Customers, all of whom had bought by the end of the calibration.
    pub customers: u64,
    /// How well the model fits what it was fitted to.
    pub calibration: Calibration,
    /// Repeat purchases that were made and that were expected, from the log's first day on.
    pub tracking: Vec<Step>,
    /// Purchases by how often customers had bought before.
    pub by_frequency: Vec<Group>,
    /// Spend by what was expected of customers, most first, in groups of equal size.
    pub by_value: Vec<Group>,
    /// How well purchases of each customer were told, by the model and by simple rules.
    pub purchases: Vec<Accuracy>,
    /// How well spend of each customer was told.
    pub spend: Vec<Accuracy>,
}

/// Customers who are alike, and a mean customer of them.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = CustomerGroup)]
pub struct Group {
    /// What they have in common.
    pub group: String,
    /// How many they are.
    pub customers: u64,
    /// What happened, a customer.
    pub actual: f64,
    /// What the model said, a customer.
    pub expected: f64,
}

/// A customer in both periods.
#[derive(Clone, Copy, Debug)]
struct Customer {
    history: History,
    monetary: f64,
    /// Repeat purchases, and what they were worth, within as many days before the calibration's end as are compared.
    before: (f64, f64),
    /// Purchases and their worth in the days that are compared.
    after: (f64, f64),
}

/// Why there is nothing to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldOutError {
    /// The log ends with the calibration.
    #[error("the log has no order after the last day that counts, so there is nothing to compare the model with")]
    NothingAfter,
    /// The log spans more than [`DAYS_MAX`].
    #[error("the log spans more than {DAYS_MAX} days")]
    TooLong,
    /// Times make no history.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl HoldOut {
    /// Compares what `purchases` and `spend`, fitted to `log` up to the day `until`, say of the days after it.
    ///
    /// # Errors
    /// [`HoldOutError`].
    pub(super) fn of(
        log: &OrderLog,
        until: i32,
        (purchases, spend): (&Purchases, &GammaGamma),
        unit: TimeUnit,
    ) -> Result<Self, HoldOutError> {
        let (first, last) = log.days().filter(|&(_, last)| last > until).ok_or(HoldOutError::NothingAfter)?;
        if last.abs_diff(first) > DAYS_MAX {
            return Err(HoldOutError::TooLong);
        }
        let mut days = tracking::Days::new(first, last);
        let customers = customers(log, until, last, &mut days)?;
        let weeks = f64::from(last.abs_diff(until)) / TimeUnit::Week.days();
        let histories: Vec<History> = customers.iter().map(|customer| customer.history).collect();
        let expected: Vec<f64> =
            purchases.model().predict_all(&histories, weeks).iter().map(|one| one.purchases).collect();
        let order_value = |one: &Customer| spend.expected_order_value(one.history.frequency(), one.monetary);
        let worth: Vec<f64> = customers.iter().zip(&expected).map(|(one, many)| many * order_value(one)).collect();
        let both = customers.iter().zip(&expected);
        let sums: Vec<_> = both.map(|(one, &all)| (one.history.frequency(), one.after.0, all)).collect();
        Ok(Self {
            days: (day_text(until.saturating_add(1)), day_text(last)),
            weeks,
            customers: customers.len() as u64,
            calibration: Calibration::of(&customers, purchases.model()),
            tracking: days.steps(purchases.model(), until, unit),
            by_frequency: by_frequency(&sums),
            by_value: by_value(&customers, &worth),
            purchases: accuracy::of_purchases(&customers, &expected, weeks),
            spend: accuracy::of_spend(&customers, &worth, weeks),
        })
    }
}

/// Everybody who had bought by the end of `until`; their repeat purchases up to `last` are entered into `days`.
fn customers(log: &OrderLog, until: i32, last: i32, days: &mut tracking::Days) -> Result<Vec<Customer>, HoldOutError> {
    let window = until.saturating_sub_unsigned(last.abs_diff(until));
    let mut known: Vec<Option<Result<Customer, HistoryError>>> = Vec::new();
    log.each_customer(until, |_, purchases| known.push(of_calibration(purchases, until, window, days)));
    // Netted again: what was refunded later was no purchase after all, once that was known.
    let mut known_later = known.iter_mut();
    log.each_customer(last, |_, purchases| {
        let Some(Some(Ok(customer))) = known_later.next() else { return };
        for day in purchases.chunk_by(|one, other| one.day == other.day).filter(|day| day[0].day > until) {
            customer.after.0 += 1.0;
            customer.after.1 += worth(day);
            days.repeat(day[0].day);
        }
    });
    Ok(known.into_iter().flatten().collect::<Result<_, _>>()?)
}

fn of_calibration(
    purchases: &[Purchase],
    until: i32,
    window: i32,
    days: &mut tracking::Days,
) -> Option<Result<Customer, HistoryError>> {
    let summary = Summary::of(purchases, until)?;
    days.first(purchases.first()?.day);
    let mut before = (0.0, 0.0);
    for day in purchases.chunk_by(|one, other| one.day == other.day).skip(1) {
        days.repeat(day[0].day);
        if day[0].day > window {
            before.0 += 1.0;
            before.1 += worth(day);
        }
    }
    let customer = |history| Customer { history, monetary: summary.monetary(), before, after: (0.0, 0.0) };
    Some(summary.history().map(customer))
}

/// What a day's purchases were worth.
fn worth(day: &[Purchase]) -> f64 {
    day.iter().map(|purchase| i128::from(purchase.micros)).sum::<i128>() as f64 / 1e6
}

/// Customers by how often they had bought before: that, what they did after, and what was expected of them.
pub(super) fn by_frequency(customers: &[(u32, f64, f64)]) -> Vec<Group> {
    let of = |frequency: u32| {
        let alike = customers.iter().filter(|(before, ..)| *before.min(&FREQUENCY_MANY) == frequency);
        let name = if frequency == FREQUENCY_MANY { format!("{frequency}+") } else { frequency.to_string() };
        group(name, alike.map(|&(_, actual, expected)| (actual, expected)))
    };
    (0..=FREQUENCY_MANY).filter_map(of).collect()
}

fn by_value(customers: &[Customer], worth: &[f64]) -> Vec<Group> {
    let mut ranked: Vec<(f64, f64)> = customers.iter().zip(worth).map(|(one, &worth)| (one.after.1, worth)).collect();
    ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let groups = VALUE_GROUPS.min(ranked.len());
    let bound = |group: usize| ranked.len() * group / groups.max(1);
    let of = |at: usize| group((at + 1).to_string(), ranked[bound(at)..bound(at + 1)].iter().copied());
    (0..groups).filter_map(of).collect()
}

/// A mean customer of some, by what happened and what was expected; `None` of nobody.
fn group(name: String, members: impl Iterator<Item = (f64, f64)>) -> Option<Group> {
    let (mut customers, mut actual, mut expected) = (0_u32, 0.0, 0.0);
    for (happened, said) in members {
        customers += 1;
        actual += happened;
        expected += said;
    }
    let mean = |sum: f64| sum / f64::from(customers);
    let all = Group { group: name, customers: customers.into(), actual: mean(actual), expected: mean(expected) };
    (customers > 0).then_some(all)
}

/// As `1997-09-30`.
pub(super) fn day_text(day: i32) -> String {
    date_of(day).map_or_else(|| day.to_string(), |date| date.to_string())
}

#[cfg(test)]
mod tests;
