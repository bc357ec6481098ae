//! How well a model fits what it was fitted to, before anything later is looked at: whether it expects as many customers of
//! each number of repeat purchases as there are, and whether spend has as little to do with the number of purchases as
//! Gamma-Gamma takes for granted.

use std::collections::BTreeMap;

use kiki_models::ltv::PurchaseModel;
use serde::Serialize;

use super::accuracy::correlation;
use super::{Customer, FREQUENCY_MANY};

/// How well a model fits its calibration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Customers by their repeat purchases.
    pub by_repeats: Vec<Repeats>,
    /// Correlation of the number of repeat purchases with their mean value, over customers who have any; absent where one of
    /// them is the same for everybody. Gamma-Gamma takes it for 0.
    pub spend_correlation: Option<f64>,
}

/// Customers with one number of repeat purchases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Repeats {
    /// The number; the last group is of all from there on.
    pub group: String,
    /// How many they are.
    pub actual: u64,
    /// How many the model expects, each customer seen for as long as they were.
    pub expected: f64,
}

impl Calibration {
    pub(super) fn of(customers: &[Customer], model: &dyn PurchaseModel) -> Self {
        let bought = customers.iter().filter(|one| one.history.frequency() > 0);
        let (often, spent): (Vec<f64>, Vec<f64>) =
            bought.map(|one| (f64::from(one.history.frequency()), one.monetary)).unzip();
        Self { by_repeats: by_repeats(customers, model), spend_correlation: correlation(&often, &spent) }
    }
}

fn by_repeats(customers: &[Customer], model: &dyn PurchaseModel) -> Vec<Repeats> {
    let mut actual = [0_u64; FREQUENCY_MANY as usize + 1];
    // Ages are whole days, so that there are few of them; bits of what is not negative are in the order of the numbers.
    let mut ages: BTreeMap<u64, u32> = BTreeMap::new();
    for customer in customers {
        actual[customer.history.frequency().min(FREQUENCY_MANY) as usize] += 1;
        *ages.entry(customer.history.age().to_bits()).or_default() += 1;
    }
    let of = |number: u32| -> f64 {
        let each =
            |(&age, &many): (&u64, &u32)| f64::from(many) * model.probability_of_purchases(number, f64::from_bits(age));
        ages.iter().map(each).sum()
    };
    let mut rest = customers.len() as f64;
    let mut groups = Vec::with_capacity(actual.len());
    for (number, actual) in (0..).zip(actual) {
        let (group, expected) = if number < FREQUENCY_MANY {
            (number.to_string(), of(number))
        } else {
            // Rounding must not make it negative.
            (format!("{number}+"), rest.max(0.0))
        };
        rest -= expected;
        groups.push(Repeats { group, actual, expected });
    }
    groups
}
