//! Expected purchases of many customers.
//!
//! For customers of equal frequency, R and B are the same, and with z = s / (1 + s) the series of the expectation is a power
//! series in z of which only z differs:
//!
//! ```text
//! purchases = (1 - z)^R Σ (R)n / n! c(n) zⁿ    n = 1, 2, ...
//! ```
//!
//! Its coefficients, which are positive, stand in a table. How many are needed follows from z; where the table does not
//! reach, the expectation is computed as for one customer.

use super::expectation::Given;
use super::{BetaGeometric, chances};
use crate::ltv::History;

/// Customers with more repeat purchases than this are computed one by one.
const FREQUENCY_MAX: u32 = 255;
/// Coefficients of a table, and how many more each longer sum takes.
const TERMS_MAX: usize = 128;
const TERMS_STEP: usize = 16;
const LENGTHS: usize = TERMS_MAX / TERMS_STEP;
/// What a sum leaves out, as part of it.
const TOLERANCE: f64 = 1e-17;

/// Tables by frequency.
pub(super) struct Tables {
    of: Vec<Option<Box<Table>>>,
}

struct Table {
    /// Of z¹, z², ..., divided by the first.
    coefficients: [f64; TERMS_MAX],
    first: f64,
    /// The largest z for which one, two, ... times [`TERMS_STEP`] coefficients do.
    reach: [f64; LENGTHS],
}

impl Tables {
    /// For the frequencies of `histories`.
    pub(super) fn new<const FIRST: u32>(model: &BetaGeometric<FIRST>, histories: &[History]) -> Self {
        let mut wanted = [false; FREQUENCY_MAX as usize + 1];
        for history in histories {
            if let Some(wanted) = wanted.get_mut(history.frequency() as usize) {
                *wanted = true;
            }
        }
        let table = |(frequency, wanted): (u32, bool)| {
            let b = model.b + f64::from(chances::<FIRST>(frequency));
            if wanted { Table::new(model.r + f64::from(frequency), model.a, b).map(Box::new) } else { None }
        };
        Self { of: (0..).zip(wanted).map(table).collect() }
    }

    /// The expectation of somebody of this frequency.
    pub(super) fn purchases(&self, given: &Given, frequency: u32) -> f64 {
        let table = self.of.get(frequency as usize).and_then(Option::as_ref);
        table.and_then(|table| table.purchases(given)).unwrap_or_else(|| given.purchases())
    }
}

impl Table {
    /// `None` where the coefficients leave the range of numbers.
    fn new(rate: f64, a: f64, b: f64) -> Option<Self> {
        let mut coefficients = [0.0; TERMS_MAX];
        let (mut ways, mut stayed, mut bought) = (1.0, 1.0, 0.0);
        for (n, coefficient) in (0_u32..).map(f64::from).zip(&mut coefficients) {
            ways *= (rate + n) / (n + 1.0) / if n < 1.0 { rate } else { 1.0 };
            bought += stayed;
            stayed *= (b + n) / (a + b + n);
            *coefficient = ways * bought;
        }
        let reach = std::array::from_fn(|length| reach(&coefficients[..TERMS_STEP * (length + 1)], rate));
        coefficients[TERMS_MAX - 1].is_finite().then_some(Self { coefficients, first: rate, reach })
    }

    fn purchases(&self, given: &Given) -> Option<f64> {
        let z = given.span / (1.0 + given.span);
        let length = self.reach.iter().position(|&reach| z <= reach)?;
        let none = (-given.rate * given.span.ln_1p()).exp();
        let terms = &self.coefficients[..TERMS_STEP * (length + 1)];
        Some(none * self.first * z * polynomial(terms, z))
    }
}

/// The sum of `terms[n]` zⁿ, as four sums in z⁴ that do not wait for each other.
fn polynomial(terms: &[f64], z: f64) -> f64 {
    let (square, mut sums) = (z * z, [0.0; 4]);
    let fourth = square * square;
    for four in terms.chunks_exact(4).rev() {
        for (sum, term) in sums.iter_mut().zip(four) {
            *sum = *sum * fourth + term;
        }
    }
    (sums[0] + sums[1] * z) + (sums[2] + sums[3] * z) * square
}

/// The largest z, to a thousandth, at which what follows after `terms` is below [`TOLERANCE`] of the first, which is 1. A
/// coefficient grows over the one before at most as the last here does: c(n) / n falls with n, as does (R + n) / (n + 1) if
/// R is above 1, and else the quotient stays below (n + 1) / n.
fn reach(terms: &[f64], rate: f64) -> f64 {
    let n = terms.len();
    let grows = (terms[n - 1] / terms[n - 2]).max(if rate < 1.0 { 1.0 + 1.0 / n as f64 } else { 0.0 });
    let enough = |z: f64| {
        let ratio = grows * z;
        ratio < 1.0
            && terms[n - 1] * z.powi(i32::try_from(n).unwrap_or(i32::MAX) - 1) * ratio <= TOLERANCE * (1.0 - ratio)
    };
    (0..1_000).map(|z| f64::from(z) * 1e-3).take_while(|&z| enough(z)).last().unwrap_or(0.0)
}
