//! Gamma-Gamma: how much a customer spends a time.
//!
//! P. S. Fader, B. G. S. Hardie, "The Gamma-Gamma Model of Monetary Value", 2013 (note 025). Purchases of a customer
//! are gamma(p, ν) about the customer's own mean p / ν, and over customers ν is gamma(q, v). What a customer spends is taken
//! to have nothing to do with how often.

use serde::{Deserialize, Serialize};

use super::newton::{Search, Surface, first_minimum};
use super::special::{LnGamma, ln_gamma};
use super::{Fit, FitError, History, PARAMETER_RANGE, ParameterError, Parametric, Seen, parameter};

const NAMES: [&str; 3] = ["p", "q", "v"];
const SHAPE: (f64, f64) = (*PARAMETER_RANGE.start(), *PARAMETER_RANGE.end());
/// v is an amount of money, so its range is that of amounts.
const SCALE: (f64, f64) = (1e-9, 1e15);
const CUSTOMERS_MIN: u64 = 4;
/// The largest mean value of purchases, in units of the currency.
pub(super) const MONETARY_MAX: f64 = 1e13;

/// The model's three parameters: p within [`PARAMETER_RANGE`], q above 1 so that the mean over customers is finite, v between
/// 1e-9 and 1e15 units of the currency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct GammaGamma {
    p: f64,
    q: f64,
    v: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    p: f64,
    q: f64,
    v: f64,
}

impl TryFrom<Unchecked> for GammaGamma {
    type Error = ParameterError;

    fn try_from(Unchecked { p, q, v }: Unchecked) -> Result<Self, ParameterError> {
        Self::new(p, q, v)
    }
}

impl Parametric for GammaGamma {
    fn names() -> &'static [&'static str] {
        &NAMES
    }

    fn values(&self) -> Vec<f64> {
        vec![self.p, self.q, self.v]
    }

    fn with_values(values: &[f64]) -> Result<Self, ParameterError> {
        let [p, q, v] = super::exactly(values)?;
        Self::new(p, q, v)
    }
}

/// What a customer spent: repeat purchases, and their mean value in units of a currency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spend {
    frequency: u32,
    monetary: f64,
}

impl Spend {
    /// The repeat purchases of `history` with a mean value of `monetary`. `None` where there is nothing to learn from:
    /// no repeat purchase, or a mean that is not a positive amount of at most 10^13.
    #[must_use]
    pub fn new(history: &History, monetary: f64) -> Option<Self> {
        let usable = history.frequency() > 0 && monetary > 0.0 && monetary <= MONETARY_MAX;
        usable.then_some(Self { frequency: history.frequency(), monetary })
    }
}

impl GammaGamma {
    /// The model with these parameters.
    ///
    /// # Errors
    /// One of them is outside its range.
    pub fn new(p: f64, q: f64, v: f64) -> Result<Self, ParameterError> {
        let finite_mean = (1.0 + SHAPE.0, SHAPE.1);
        Ok(Self { p: parameter("p", p, SHAPE)?, q: parameter("q", q, finite_mean)?, v: parameter("v", v, SCALE)? })
    }

    /// Shape of one customer's purchases: the larger, the more alike.
    #[must_use]
    pub const fn p(&self) -> f64 {
        self.p
    }

    /// Shape of the customers' scales: the larger, the more alike the customers.
    #[must_use]
    pub const fn q(&self) -> f64 {
        self.q
    }

    /// Scale, in units of the currency.
    #[must_use]
    pub const fn v(&self) -> f64 {
        self.v
    }

    /// The parameters of the largest likelihood (equation 1a).
    ///
    /// # Errors
    /// [`FitError`].
    pub fn fit(spends: &[Spend]) -> Result<Fit<Self>, FitError> {
        let customers = spends.len() as u64;
        if customers == 0 {
            return Err(FitError::NoRepeats);
        }
        if customers < CUSTOMERS_MIN {
            return Err(FitError::TooFewCustomers { customers, least: CUSTOMERS_MIN });
        }
        let rows = Rows::group(spends);
        let surface = |at: &[f64; 3]| rows.surface(at);
        let search = |start| {
            Search { names: NAMES, start, within: [SHAPE, SHAPE, SCALE], customers: rows.customers, surface: &surface }
                .run()
        };
        // The scale starts where p v / (q - 1) is the mean of what is seen.
        let starts = [[2.0, 3.0], [6.0, 4.0], [1.0, 1.5], [20.0, 10.0]]
            .map(|[p, q]: [f64; 2]| [p, q, (rows.mean * (q - 1.0) / p).clamp(SCALE.0, SCALE.1)]);
        let optimum = first_minimum(&starts, search)?;
        let [p, q, v] = optimum.parameters;
        let model = Self::new(p, q, v).map_err(|_| FitError::InfiniteMean { q })?;
        Ok(optimum.fit(model, customers))
    }

    /// The logarithm of the likelihood of `spends` (equation 1a).
    #[must_use]
    pub fn log_likelihood(&self, spends: &[Spend]) -> f64 {
        let rows = Rows::group(spends);
        if spends.is_empty() { 0.0 } else { -rows.surface(&[self.p, self.q, self.v]).value * rows.customers }
    }

    /// The expected value of a purchase of a customer whose `frequency` repeat purchases were worth `monetary` in the mean
    /// (equation 5): between that and the mean over customers. A `monetary` that is not an amount between 0 and 10^13 is
    /// taken as the nearer end.
    #[must_use]
    pub fn expected_order_value(&self, frequency: u32, monetary: f64) -> f64 {
        let px = self.p * f64::from(frequency);
        let spent = px * monetary.clamp(0.0, MONETARY_MAX).max(0.0);
        (self.p * self.v + spent) / (px + self.q - 1.0)
    }
}

impl GammaGamma {
    /// What `purchases` further purchases of such a customer are worth together. The customer's scale is gamma(q + px, v + px m̄)
    /// given what they spent, and their purchases are gamma of that scale, so the variance is finite where q + px is above 2.
    #[must_use]
    pub fn seen(&self, spent: f64, purchases: f64, (frequency, monetary): (u32, f64)) -> Seen {
        let (shape, many) = (self.q + self.p * f64::from(frequency), self.p * purchases);
        let mean = self.expected_order_value(frequency, monetary) * purchases;
        // Of gamma(p n, ν) over ν: the mean of p n / ν² and the variance of p n / ν, where p n / ν has this mean.
        let variance = mean * mean * ((shape - 1.0) / many + 1.0) / (shape - 2.0);
        let is_known = shape > 2.0 && many > 0.0;
        Seen { actual: spent, expected: mean, variance: if is_known { variance } else { 0.0 } }
    }
}

/// Spends by frequency, so that those with equal frequency share all gamma functions.
struct Rows {
    blocks: Vec<Block>,
    customers: f64,
    mean: f64,
}

struct Block {
    frequency: f64,
    monetary: Vec<f64>,
    /// The sum of ln(x m).
    ln_spent: f64,
    /// The sum of ln m.
    ln_monetary: f64,
}

impl Rows {
    fn group(spends: &[Spend]) -> Self {
        let mut sorted = spends.to_vec();
        sorted.sort_unstable_by(|one, other| {
            one.frequency.cmp(&other.frequency).then(one.monetary.total_cmp(&other.monetary))
        });
        let mean = sorted.iter().map(|spend| spend.monetary / spends.len() as f64).sum();
        let equal = sorted.chunk_by(|one, other| one.frequency == other.frequency);
        Self { blocks: equal.map(Block::new).collect(), customers: spends.len() as f64, mean }
    }

    fn surface(&self, at: &[f64; 3]) -> Surface<3> {
        let (mut value, mut gradient, mut hessian) = (0.0, [0.0; 3], [[0.0; 3]; 3]);
        let of_q = ln_gamma(at[1]);
        for block in &self.blocks {
            value += block.add(at, of_q, &mut gradient, &mut hessian);
        }
        Surface::from_natural(at, self.customers, value, &gradient, &hessian)
    }
}

impl Block {
    fn new(spends: &[Spend]) -> Self {
        let frequency = f64::from(spends[0].frequency);
        let ln_monetary: f64 = spends.iter().map(|spend| spend.monetary.ln()).sum();
        let monetary: Vec<f64> = spends.iter().map(|spend| spend.monetary).collect();
        Self { frequency, ln_spent: ln_monetary + monetary.len() as f64 * frequency.ln(), ln_monetary, monetary }
    }

    /// Adds, for each customer, ln Γ(px+q) - ln Γ(px) - ln Γ(q) + q ln v + px ln(xm) - ln m - (px+q) ln(xm+v).
    fn add(&self, &[p, q, v]: &[f64; 3], of_q: LnGamma, gradient: &mut [f64; 3], hessian: &mut [[f64; 3]; 3]) -> f64 {
        let (n, x) = (self.monetary.len() as f64, self.frequency);
        let px = p * x;
        let (of_sum, of_px) = (ln_gamma(px + q), ln_gamma(px));
        let (mut ln_sum, mut inverse_sum, mut square_sum) = (0.0, 0.0, 0.0);
        for monetary in &self.monetary {
            let total = x * monetary + v;
            ln_sum += total.ln();
            inverse_sum += 1.0 / total;
            square_sum += 1.0 / (total * total);
        }
        let ln_v = v.ln();
        gradient[0] += x * (n * (of_sum.first - of_px.first) + self.ln_spent - ln_sum);
        gradient[1] += n * (of_sum.first - of_q.first + ln_v) - ln_sum;
        gradient[2] += n * q / v - (px + q) * inverse_sum;
        hessian[0][0] += n * x * x * (of_sum.second - of_px.second);
        hessian[0][1] += n * x * of_sum.second;
        hessian[0][2] -= x * inverse_sum;
        hessian[1][1] += n * (of_sum.second - of_q.second);
        hessian[1][2] += n / v - inverse_sum;
        hessian[2][2] += (px + q) * square_sum - n * q / (v * v);
        n * (of_sum.value - of_px.value - of_q.value + q * ln_v) + px * self.ln_spent
            - self.ln_monetary
            - (px + q) * ln_sum
    }
}

#[cfg(test)]
mod tests;
