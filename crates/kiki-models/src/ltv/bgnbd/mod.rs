//! BG/NBD: how often a customer will buy again, and whether they are still there.
//!
//! P. S. Fader, B. G. S. Hardie, K. L. Lee, "'Counting Your Customers' the Easy Way: An Alternative to the Pareto/NBD
//! Model", Marketing Science 24 (2), 2005. While a customer is there, purchases come at a constant rate λ; after each
//! one the customer leaves for good with probability p. Over customers λ is gamma(r, α) and p is beta(a, b).

mod expectation;
mod likelihood;

use serde::{Deserialize, Serialize};

use super::newton::{Search, Surface, first_minimum};
use super::{Fit, FitError, History, PARAMETER_RANGE, ParameterError, parameter};
use likelihood::Rows;

const NAMES: [&str; 4] = ["r", "alpha", "a", "b"];
const WITHIN: (f64, f64) = (*PARAMETER_RANGE.start(), *PARAMETER_RANGE.end());
const CUSTOMERS_MIN: u64 = 5;

/// The model's four parameters, each within [`PARAMETER_RANGE`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct BgNbd {
    r: f64,
    alpha: f64,
    a: f64,
    b: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    r: f64,
    alpha: f64,
    a: f64,
    b: f64,
}

impl TryFrom<Unchecked> for BgNbd {
    type Error = ParameterError;

    fn try_from(Unchecked { r, alpha, a, b }: Unchecked) -> Result<Self, ParameterError> {
        Self::new(r, alpha, a, b)
    }
}

impl BgNbd {
    /// The model with these parameters; `alpha` is in weeks.
    ///
    /// # Errors
    /// One of them is not within [`PARAMETER_RANGE`].
    pub fn new(r: f64, alpha: f64, a: f64, b: f64) -> Result<Self, ParameterError> {
        let within = |name, value| parameter(name, value, WITHIN);
        Ok(Self { r: within("r", r)?, alpha: within("alpha", alpha)?, a: within("a", a)?, b: within("b", b)? })
    }

    /// Shape of the purchase rates: the smaller, the more customers differ.
    #[must_use]
    pub const fn r(&self) -> f64 {
        self.r
    }

    /// Scale of the purchase rates, in weeks; their mean is `r / alpha` a week.
    #[must_use]
    pub const fn alpha(&self) -> f64 {
        self.alpha
    }

    /// First shape of the probability of leaving after a purchase, whose mean is `a / (a + b)`.
    #[must_use]
    pub const fn a(&self) -> f64 {
        self.a
    }

    /// Second shape of the probability of leaving.
    #[must_use]
    pub const fn b(&self) -> f64 {
        self.b
    }

    /// The parameters of the largest likelihood (equations 6 and 7).
    ///
    /// # Errors
    /// [`FitError`]; never [`FitError::InfiniteMean`].
    pub fn fit(histories: &[History]) -> Result<Fit<Self>, FitError> {
        let customers = histories.len() as u64;
        if customers < CUSTOMERS_MIN {
            return Err(FitError::TooFewCustomers { customers, least: CUSTOMERS_MIN });
        }
        let rows = Rows::group(histories);
        let rate = rows.rate().ok_or(FitError::NoRepeats)?;
        let surface = |at: &[f64; 4]| -> Surface<4> { rows.surface(at) };
        let search = |start| {
            let customers = rows.customers();
            Search { names: NAMES, start, within: [WITHIN; 4], customers, surface: &surface }.run()
        };
        let starts = STARTS.map(|[r, a, b]| [r, r / rate, a, b]);
        let optimum = first_minimum(&starts, search)?;
        let [r, alpha, a, b] = optimum.parameters;
        Ok(Fit {
            model: Self { r, alpha, a, b },
            log_likelihood: -optimum.value * rows.customers(),
            iterations: optimum.iterations,
            gradient: optimum.gradient,
            customers,
        })
    }

    /// The logarithm of the likelihood of `histories` (equation 6).
    #[must_use]
    pub fn log_likelihood(&self, histories: &[History]) -> f64 {
        let rows = Rows::group(histories);
        if histories.is_empty() { 0.0 } else { -rows.surface(&self.parameters()).value * rows.customers() }
    }

    /// The probability that a customer with `history` is still there at the end of it; 1 without a repeat purchase,
    /// since one leaves only after one.
    ///
    /// Fader, Hardie and Lee, "Computing P(alive) Using the BG/NBD Model", 2008.
    #[must_use]
    pub fn probability_alive(&self, history: &History) -> f64 {
        if history.frequency() == 0 {
            return 1.0;
        }
        let x = f64::from(history.frequency());
        let silence = ((history.age() - history.recency()) / (self.alpha + history.recency())).ln_1p();
        let ln_odds_gone = (self.a / (self.b + x - 1.0)).ln() + (self.r + x) * silence;
        1.0 / (1.0 + ln_odds_gone.exp())
    }

    /// How many purchases a customer with `history` is expected to make in the `weeks` after it (equation 10).
    /// What is not a positive number of weeks counts as none; more than [`WEEKS_MAX`](super::WEEKS_MAX) as that many.
    #[must_use]
    pub fn expected_purchases(&self, history: &History, weeks: f64) -> f64 {
        self.probability_alive(history) * self.expected_purchases_if_alive(history, weeks)
    }

    fn parameters(&self) -> [f64; 4] {
        [self.r, self.alpha, self.a, self.b]
    }
}

/// Where searches start: r, a, b. The rate α is taken from the data. The first does for all data known so far.
const STARTS: [[f64; 3]; 4] = [[0.5, 1.0, 3.0], [1.0, 0.5, 5.0], [0.2, 2.0, 2.0], [3.0, 1.0, 20.0]];

#[cfg(test)]
mod tests;
