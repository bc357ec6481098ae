//! BG/BB: how often somebody will buy, and whether they are still there, where there are occasions to buy rather than a
//! time in which to, such as a yearly appeal for donations.
//!
//! P. S. Fader, B. G. S. Hardie, J. Shang, "Customer-Base Analysis in a Discrete-Time Noncontractual Setting", Marketing
//! Science 29 (6), 2010. At the beginning of each opportunity a customer who is still there leaves for good with
//! probability θ; if still there, they buy with probability p. Over customers p is beta(α, β) and θ is beta(γ, δ).

mod likelihood;
mod opportunities;

use serde::{Deserialize, Serialize};

use super::model::CUSTOMERS_MIN;
use super::newton::{Search, Surface, first_minimum};
use super::simulate::{Uniform, beta};
use super::special::ln_rising;
use super::{Fit, FitError, PARAMETER_RANGE, ParameterError, Parametric, parameter};
use likelihood::{Counts, Rises};
pub use opportunities::{OPPORTUNITIES_MAX, Opportunities};

const NAMES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];
const WITHIN: (f64, f64) = (*PARAMETER_RANGE.start(), *PARAMETER_RANGE.end());

/// The model's four parameters, each within [`PARAMETER_RANGE`].
///
/// Opportunities ahead, or of a new customer, beyond [`OPPORTUNITIES_MAX`] count as that many.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct BgBb {
    alpha: f64,
    beta: f64,
    gamma: f64,
    delta: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    alpha: f64,
    beta: f64,
    gamma: f64,
    delta: f64,
}

impl TryFrom<Unchecked> for BgBb {
    type Error = ParameterError;

    fn try_from(Unchecked { alpha, beta, gamma, delta }: Unchecked) -> Result<Self, ParameterError> {
        Self::new(alpha, beta, gamma, delta)
    }
}

impl BgBb {
    /// The model with these parameters.
    ///
    /// # Errors
    /// One of them is not within [`PARAMETER_RANGE`].
    pub fn new(alpha: f64, beta: f64, gamma: f64, delta: f64) -> Result<Self, ParameterError> {
        let within = |name, value| parameter(name, value, WITHIN);
        let (alpha, beta) = (within("alpha", alpha)?, within("beta", beta)?);
        Ok(Self { alpha, beta, gamma: within("gamma", gamma)?, delta: within("delta", delta)? })
    }

    /// First shape of the probability to buy, whose mean is `alpha / (alpha + beta)`.
    #[must_use]
    pub const fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Second shape of the probability to buy.
    #[must_use]
    pub const fn beta(&self) -> f64 {
        self.beta
    }

    /// First shape of the probability of leaving, whose mean is `gamma / (gamma + delta)`.
    #[must_use]
    pub const fn gamma(&self) -> f64 {
        self.gamma
    }

    /// Second shape of the probability of leaving.
    #[must_use]
    pub const fn delta(&self) -> f64 {
        self.delta
    }

    /// The parameters of the largest likelihood.
    ///
    /// # Errors
    /// [`FitError`]; never [`FitError::InfiniteMean`].
    pub fn fit(customers: &[Opportunities]) -> Result<Fit<Self>, FitError> {
        let count = customers.len() as u64;
        if count < CUSTOMERS_MIN {
            return Err(FitError::TooFewCustomers { customers: count, least: CUSTOMERS_MIN });
        }
        let counts = Counts::new(customers);
        let rate = counts.rate().ok_or(FitError::NoRepeats)?;
        let surface = |at: &[f64; 4]| -> Surface<4> { counts.surface(at) };
        let search = |start| {
            let customers = count as f64;
            Search { names: NAMES, start, within: [WITHIN; 4], customers, surface: &surface }.run()
        };
        let starts = STARTS.map(|[shape, gamma, delta]| [shape * rate, shape * (1.0 - rate).max(0.01), gamma, delta]);
        let optimum = first_minimum(&starts, search)?;
        let [alpha, beta, gamma, delta] = optimum.parameters;
        Ok(optimum.fit(Self { alpha, beta, gamma, delta }, count))
    }

    /// The logarithm of the likelihood of `customers`.
    #[must_use]
    pub fn log_likelihood(&self, customers: &[Opportunities]) -> f64 {
        if customers.is_empty() {
            return 0.0;
        }
        -Counts::new(customers).surface(&self.parameters()).value * customers.len() as f64
    }

    /// The probability that a customer is still there at the end of the last of their opportunities. The paper has that of
    /// [`probability_alive_after`](Self::probability_alive_after) one more.
    #[must_use]
    pub fn probability_alive(&self, customer: &Opportunities) -> f64 {
        let rises = Rises::new(&self.parameters(), customer.opportunities());
        rises.posterior(customer).stayed
    }

    /// The probability that they are still there `ahead` opportunities later.
    #[must_use]
    pub fn probability_alive_after(&self, customer: &Opportunities, ahead: u32) -> f64 {
        let stays = self.staying(customer.opportunities(), ahead).last().unwrap_or(1.0);
        self.probability_alive(customer) * stays
    }

    /// How often they are expected to buy at the next `ahead` opportunities.
    #[must_use]
    pub fn expected_purchases(&self, customer: &Opportunities, ahead: u32) -> f64 {
        let (x, n) = (f64::from(customer.frequency()), f64::from(customer.opportunities()));
        let buys = (self.alpha + x) / (self.alpha + self.beta + n);
        self.probability_alive(customer) * buys * self.staying(customer.opportunities(), ahead).sum::<f64>()
    }

    /// How often a new customer is expected to buy at the first `opportunities`.
    #[must_use]
    pub fn expected_by(&self, opportunities: u32) -> f64 {
        self.alpha / (self.alpha + self.beta) * self.staying(0, opportunities).sum::<f64>()
    }

    /// The probability that a new customer buys exactly `purchases` times at the first `opportunities`.
    #[must_use]
    pub fn probability_of_purchases(&self, purchases: u32, opportunities: u32) -> f64 {
        let n = opportunities.min(OPPORTUNITIES_MAX);
        if purchases > n {
            return 0.0;
        }
        let rises = Rises::new(&self.parameters(), n);
        let ways = |of: u32| {
            let few = purchases.min(of - purchases);
            ln_rising(f64::from(of - few) + 1.0, few).value - ln_rising(1.0, few).value
        };
        let there = (ways(n) + rises.stayed(purchases, n)).exp();
        let gone: f64 = (purchases..n).map(|last| (ways(last) + rises.left(purchases, last)).exp()).sum();
        (there + gone).min(1.0)
    }

    /// The probabilities that somebody who is there after `opportunities` still is after one more, two more, up to `ahead`.
    fn staying(&self, opportunities: u32, ahead: u32) -> impl Iterator<Item = f64> + use<> {
        let (delta, both, from) = (self.delta, self.gamma + self.delta, opportunities);
        (from..from + ahead.min(OPPORTUNITIES_MAX)).scan(1.0, move |stays, at| {
            *stays *= (delta + f64::from(at)) / (both + f64::from(at));
            Some(*stays)
        })
    }

    fn parameters(&self) -> [f64; 4] {
        [self.alpha, self.beta, self.gamma, self.delta]
    }

    /// Draws a customer with so many `opportunities`.
    pub fn simulate(&self, opportunities: u32, uniform: &mut dyn Uniform) -> Opportunities {
        let buys = beta(self.alpha, self.beta, uniform);
        let leaves = beta(self.gamma, self.delta, uniform);
        let n = opportunities.min(OPPORTUNITIES_MAX);
        let (mut frequency, mut last) = (0, 0);
        for opportunity in 1..=n {
            if uniform.next() < leaves {
                break;
            }
            if uniform.next() < buys {
                (frequency, last) = (frequency + 1, opportunity);
            }
        }
        Opportunities::of_parts(frequency, last, n)
    }
}

impl Parametric for BgBb {
    fn names() -> &'static [&'static str] {
        &NAMES
    }

    fn values(&self) -> Vec<f64> {
        self.parameters().to_vec()
    }

    fn with_values(values: &[f64]) -> Result<Self, ParameterError> {
        let [alpha, beta, gamma, delta] = super::exactly(values)?;
        Self::new(alpha, beta, gamma, delta)
    }
}

/// Where searches start: α + β, whose parts are taken from the data, γ and δ.
const STARTS: [[f64; 3]; 4] = [[2.0, 0.7, 3.0], [1.0, 1.0, 5.0], [5.0, 0.3, 1.0], [20.0, 2.0, 20.0]];

#[cfg(test)]
mod tests;
