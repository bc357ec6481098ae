//! What customers come to together, and how far that is determined.
//!
//! The sum over the customers is the function whose slope by each parameter the delta method takes. So what customers have in
//! common, which is all that the parameters leave open, is counted once: intervals of single customers cannot be added up.
//! Customers with equal histories are computed once.

use serde::Serialize;

use super::fit::slopes;
use super::model::CUSTOMERS_A_PART;
use super::parallel::map_chunks;
use super::value::discounted_if_alive;
use super::{Covariance, Estimate, GammaGamma, History, Parametric, PurchaseModel, Scale, Terms};

/// What is expected of customers together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CohortEstimate {
    /// How many they are.
    pub customers: u64,
    /// Purchases of all of them over the horizon.
    pub expected_purchases: Estimate,
    /// How many of them are still there.
    pub alive: Estimate,
    /// Discounted value of all of them over the horizon, in units of the currency.
    pub value: Estimate,
}

/// What `customers`, each with the mean value of their repeat purchases, come to: the sum of what is expected of each, with
/// 95 % intervals by the covariances of both models. Computed on all processors, nine times where the model of purchases has
/// four parameters.
#[must_use]
pub fn cohort_estimate<P: PurchaseModel + Parametric>(
    (purchases, of_purchases): (&P, &Covariance),
    (spend, of_spend): (&GammaGamma, &Covariance),
    customers: &[(History, f64)],
    terms: &Terms,
) -> CohortEstimate {
    let alike = Alike::new(customers);
    let (expected, worth) = (alike.expected(purchases, terms), alike.worth(spend));
    let [bought, alive, value] = alike.sums(&expected, &worth);
    let [of_bought, of_alive, of_value] =
        slopes(purchases, |purchases| alike.sums(&alike.expected(purchases, terms), &worth));
    let [of_worth] = slopes(spend, |spend| [product(&expected, &alike.worth(spend))]);
    let error = |slopes: &[f64]| of_purchases.variance(slopes).sqrt();
    let value_error = (of_purchases.variance(&of_value) + of_spend.variance(&of_worth)).sqrt();
    let count = (customers.len() as f64).max(1.0);
    let share = Estimate::new(alive / count, error(&of_alive) / count, Scale::Probability);
    CohortEstimate {
        customers: customers.len() as u64,
        expected_purchases: Estimate::new(bought, error(&of_bought), Scale::Positive),
        alive: Estimate {
            value: alive,
            standard_error: share.standard_error * count,
            low: share.low * count,
            high: share.high * count,
        },
        value: Estimate::new(value, value_error, Scale::Positive),
    }
}

/// Customers, those with equal histories together.
struct Alike {
    /// Each once.
    histories: Vec<History>,
    /// The mean values of the repeat purchases of whom each of `histories` belongs to.
    monetary: Vec<Vec<f64>>,
}

/// Of one customer.
struct Expected {
    alive: f64,
    purchases: f64,
    discounted: f64,
}

impl Alike {
    fn new(customers: &[(History, f64)]) -> Self {
        // Not negative, so their bits are ordered as they are.
        let key = |history: &History| (history.frequency(), history.age().to_bits(), history.recency().to_bits());
        let mut sorted = customers.to_vec();
        sorted.sort_by_key(|(history, _)| key(history));
        let equal = || sorted.chunk_by(|(one, _), (other, _)| key(one) == key(other));
        Self {
            histories: equal().map(|equal| equal[0].0).collect(),
            monetary: equal().map(|equal| equal.iter().map(|(_, monetary)| *monetary).collect()).collect(),
        }
    }

    /// Of one of each kind.
    fn expected(&self, purchases: &impl PurchaseModel, terms: &Terms) -> Vec<Expected> {
        let prepared = purchases.prepare(&self.histories);
        let expected = |history: &History| {
            let (alive, if_alive) =
                (prepared.probability_alive(history), |weeks| prepared.expected_purchases_if_alive(history, weeks));
            Expected {
                alive,
                purchases: alive * if_alive(terms.horizon_weeks()),
                discounted: alive * discounted_if_alive(if_alive, terms),
            }
        };
        map_chunks(&self.histories, CUSTOMERS_A_PART, |part| part.iter().map(expected).collect())
    }

    /// The expected values of one purchase of each of a kind, together.
    fn worth(&self, spend: &GammaGamma) -> Vec<f64> {
        let kinds = self.histories.iter().zip(&self.monetary);
        let worth = |(history, monetary): (&History, &Vec<f64>)| -> f64 {
            monetary.iter().map(|monetary| spend.expected_order_value(history.frequency(), *monetary)).sum()
        };
        kinds.map(worth).collect()
    }

    /// Purchases, customers who are still there, and value, of all.
    fn sums(&self, expected: &[Expected], worth: &[f64]) -> [f64; 3] {
        let weighted = |of: fn(&Expected) -> f64| -> f64 {
            expected.iter().zip(&self.monetary).map(|(one, monetary)| of(one) * monetary.len() as f64).sum()
        };
        [weighted(|one| one.purchases), weighted(|one| one.alive), product(expected, worth)]
    }
}

/// The value of all.
fn product(expected: &[Expected], worth: &[f64]) -> f64 {
    expected.iter().zip(worth).map(|(one, worth)| one.discounted * worth).sum()
}

#[cfg(test)]
mod tests;
