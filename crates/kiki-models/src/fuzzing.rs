//! What is tried on the models with any bytes at all. Read as numbers they are parameters, histories and questions: a
//! constructor refuses exactly what is outside its bounds, every prediction is a number that makes sense, and a fit ends with a
//! maximum of the likelihood or a reason.
//!
//! Behind the feature `fuzzing`. `fuzz/` runs it under libFuzzer; the tests replay its seeds, what ever failed, and mutations.

mod fits;
mod numbers;
mod predictions;
#[cfg(test)]
mod tests;

pub use fits::fits;
pub use predictions::predictions;

use std::fmt;

use crate::ltv::{History, PARAMETER_RANGE, Parametric, WEEKS_MAX};
use numbers::Numbers;

/// Whether `one` is at most `other`, but for rounding; of numbers near the least that there is nothing is left to compare.
fn at_most(one: f64, other: f64) -> bool {
    one <= other * (1.0 + 1e-9) + 1e-300
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-10 * other.abs() + 1e-300
}

/// A model of the next numbers, unless it is refused, which it is exactly outside the range.
fn model<M: Parametric + fmt::Debug>(input: &mut Numbers<'_>) -> Option<M> {
    let values: Vec<f64> = M::names().iter().map(|_| input.number()).collect();
    let within = values.iter().all(|value| PARAMETER_RANGE.contains(value));
    let model = M::with_values(&values);
    assert_eq!(model.is_ok(), within, "{values:?}: {model:?}");
    model.ok()
}

/// A history of the next numbers, unless it is refused, which it is exactly outside the bounds.
fn history(input: &mut Numbers<'_>) -> Option<History> {
    let (frequency, recency, age) = (input.number(), input.number(), input.number());
    let whole = (0.0..=1e6).contains(&frequency) && frequency.fract() == 0.0;
    let times = (0.0..=WEEKS_MAX).contains(&age) && (0.0..=age).contains(&recency);
    let fits = whole && times && (frequency > 0.0 || recency <= 0.0);
    let history = History::new(frequency, recency, age);
    assert_eq!(history.is_ok(), fits, "{frequency} {recency} {age}: {history:?}");
    history.ok()
}
