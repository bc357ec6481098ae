//! How well something was told of each customer, in figures that can be compared: by the model, and by rules that need none.

use serde::Serialize;

use super::Customer;

/// How well one way of telling did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// `model`, `own_rate`, `last_period` or `mean_rate`.
    pub method: &'static str,
    /// What it said of all together.
    pub expected: f64,
    /// What happened.
    pub actual: f64,
    /// Mean absolute error, a customer.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Correlation of what was said with what happened; absent where one of them is the same for everybody.
    pub correlation: Option<f64>,
    /// Gini coefficient of what happened, customers in the order in which the method puts them, as a part of that in the best
    /// order: 1 is the best order, 0 none at all. Absent where nothing happened, or the same to everybody.
    pub gini: Option<f64>,
}

/// Of purchases. `own_rate` goes on with the customer's own rate of repeat purchases, `last_period` repeats as many as there
/// were in as many days before, `mean_rate` takes all for alike.
pub(super) fn of_purchases(customers: &[Customer], expected: &[f64], weeks: f64) -> Vec<Accuracy> {
    let repeats = |one: &Customer| f64::from(one.history.frequency());
    compare(customers, expected, weeks, |one| one.after.0, repeats, |one| one.before.0)
}

/// Of spend, by the same rules.
pub(super) fn of_spend(customers: &[Customer], expected: &[f64], weeks: f64) -> Vec<Accuracy> {
    let spent = |one: &Customer| f64::from(one.history.frequency()) * one.monetary;
    compare(customers, expected, weeks, |one| one.after.1, spent, |one| one.before.1)
}

fn compare(
    customers: &[Customer],
    expected: &[f64],
    weeks: f64,
    after: impl Fn(&Customer) -> f64,
    known: impl Fn(&Customer) -> f64,
    before: impl Fn(&Customer) -> f64,
) -> Vec<Accuracy> {
    let ages: f64 = customers.iter().map(|one| one.history.age()).sum();
    let mean = if ages > 0.0 { customers.iter().map(&known).sum::<f64>() / ages * weeks } else { 0.0 };
    let own = |one: &Customer| if one.history.age() > 0.0 { known(one) / one.history.age() * weeks } else { 0.0 };
    let happened: Vec<f64> = customers.iter().map(after).collect();
    let said = |how: &dyn Fn(&Customer) -> f64| -> Vec<f64> { customers.iter().map(how).collect() };
    vec![
        Accuracy::of("model", expected, &happened),
        Accuracy::of("own_rate", &said(&own), &happened),
        Accuracy::of("last_period", &said(&before), &happened),
        Accuracy::of("mean_rate", &said(&|_| mean), &happened),
    ]
}

impl Accuracy {
    fn of(method: &'static str, said: &[f64], happened: &[f64]) -> Self {
        let count = happened.len().max(1) as f64;
        let mean = |of: &dyn Fn(f64, f64) -> f64| {
            said.iter().zip(happened).map(|(&said, &happened)| of(said, happened)).sum::<f64>() / count
        };
        Self {
            method,
            expected: said.iter().sum(),
            actual: happened.iter().sum(),
            mae: mean(&|said, happened| (said - happened).abs()),
            rmse: mean(&|said, happened| (said - happened).powi(2)).sqrt(),
            correlation: correlation(said, happened),
            gini: normalised_gini(said, happened),
        }
    }
}

/// Absent where one of them is the same throughout.
pub(super) fn correlation(one: &[f64], other: &[f64]) -> Option<f64> {
    let count = one.len() as f64;
    let mean = |of: &[f64]| of.iter().sum::<f64>() / count;
    let (mean_one, mean_other) = (mean(one), mean(other));
    let (mut both, mut square_one, mut square_other) = (0.0, 0.0, 0.0);
    for (one, other) in one.iter().zip(other) {
        let (one, other) = (one - mean_one, other - mean_other);
        both += one * other;
        square_one += one * one;
        square_other += other * other;
    }
    let spread = (square_one * square_other).sqrt();
    // What differs by rounding alone is the same.
    (spread > 1e-9 * count * (mean_one * mean_other).abs()).then(|| both / spread)
}

fn normalised_gini(said: &[f64], happened: &[f64]) -> Option<f64> {
    let best = gini(happened, happened)?;
    (best > 1e-12).then(|| gini(said, happened).map(|gini| gini / best)).flatten()
}

/// The Gini coefficient of what happened, in the ascending order of what was said. Who was said to be alike share alike, so the
/// order of the customers does not matter.
fn gini(said: &[f64], happened: &[f64]) -> Option<f64> {
    let total: f64 = happened.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let mut ranked: Vec<(f64, f64)> = said.iter().copied().zip(happened.iter().copied()).collect();
    ranked.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (mut below, mut area) = (0.0, 0.0);
    for alike in ranked.chunk_by(|(one, _), (other, _)| one.total_cmp(other).is_eq()) {
        let share = alike.iter().map(|(_, happened)| happened).sum::<f64>() / total;
        area += alike.len() as f64 / ranked.len() as f64 * (below + share / 2.0);
        below += share;
    }
    Some(1.0 - 2.0 * area)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-12
    }

    #[test]
    fn the_best_order_has_gini_one_the_worst_minus_one_and_none_zero() {
        let happened = [0.0, 1.0, 2.0, 7.0];
        for (said, is) in [([0.0, 5.0, 6.0, 7.0], 1.0), ([4.0, 3.0, 2.0, 1.0], -1.0), ([1.0; 4], 0.0)] {
            assert!(close(normalised_gini(&said, &happened).unwrap(), is), "{said:?}");
        }
        // By hand: shares 0, .1, .3, 1 of 4 are below; the area is (.05 + .2 + .65 + .0) / 4.
        assert!(close(gini(&happened, &happened).unwrap(), 1.0 - 2.0 * (0.05 + 0.2 + 0.65) / 4.0));
        assert_eq!(normalised_gini(&[1.0, 2.0], &[0.0, 0.0]), None);
        assert_eq!(normalised_gini(&[1.0, 2.0], &[3.0, 3.0]), None);
    }

    #[test]
    fn errors_are_those_of_a_customer() {
        let accuracy = Accuracy::of("model", &[1.0, 2.0, 3.0], &[1.0, 4.0, 3.0]);
        assert!(close(accuracy.mae, 2.0 / 3.0) && close(accuracy.rmse, (4.0_f64 / 3.0).sqrt()));
        assert!(close(accuracy.expected, 6.0) && close(accuracy.actual, 8.0));
        assert!(close(accuracy.correlation.unwrap(), 2.0 / (2.0 * (14.0_f64 / 3.0)).sqrt()));
        assert_eq!(Accuracy::of("mean_rate", &[0.1; 3], &[1.0, 4.0, 3.0]).correlation, None);
    }
}
