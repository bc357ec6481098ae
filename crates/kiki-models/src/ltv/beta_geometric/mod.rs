//! BG/NBD and MBG/NBD: how often a customer will buy again, and whether they are still there.
//!
//! While a customer is there, purchases come at a constant rate λ; after each one the customer leaves for good with
//! probability p. Over customers λ is gamma(r, α) and p is beta(a, b). In BG/NBD nobody leaves before the first repeat
//! purchase, in MBG/NBD they may leave right after the first purchase, so that not everybody who never came back counts
//! as there. The two differ in nothing else: of a customer who is still there after x repeat purchases, x chances to leave
//! have passed in BG/NBD and x + 1 in MBG/NBD.
//!
//! P. S. Fader, B. G. S. Hardie, K. L. Lee, "'Counting Your Customers' the Easy Way: An Alternative to the Pareto/NBD
//! Model", Marketing Science 24 (2), 2005; E. P. Batislam, M. Denizel, A. Filiztekin, "Empirical validation and comparison
//! of models for customer base analysis", International Journal of Research in Marketing 24 (3), 2007. Equation numbers
//! are of the first.

mod expectation;
mod likelihood;
mod tables;

use serde::{Deserialize, Serialize};

use super::groups::Groups;
use super::model::{CUSTOMERS_MIN, PURCHASES_MAX, weeks_ahead};
use super::newton::{Search, Surface, first_minimum, lowest_minimum};
use super::sample::with_sample;
use super::simulate::{Leaves, Life, Lives, Uniform, beta, gamma};
use super::special::ln_rising;
use super::{Fit, FitError, History, PARAMETER_RANGE, ParameterError, Parametric, Prepared, PurchaseModel, parameter};
use expectation::Given;
use tables::Tables;

const NAMES: [&str; 4] = ["r", "alpha", "a", "b"];
const WITHIN: (f64, f64) = (*PARAMETER_RANGE.start(), *PARAMETER_RANGE.end());

/// Nobody leaves before the first repeat purchase.
pub type BgNbd = BetaGeometric<0>;
/// A customer may leave right after the first purchase.
pub type MbgNbd = BetaGeometric<1>;

/// The four parameters of [`BgNbd`] or [`MbgNbd`], each within [`PARAMETER_RANGE`]. `FIRST` is how many chances to leave
/// there are before the first repeat purchase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct BetaGeometric<const FIRST: u32> {
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

impl<const FIRST: u32> TryFrom<Unchecked> for BetaGeometric<FIRST> {
    type Error = ParameterError;

    fn try_from(Unchecked { r, alpha, a, b }: Unchecked) -> Result<Self, ParameterError> {
        Self::new(r, alpha, a, b)
    }
}

impl<const FIRST: u32> BetaGeometric<FIRST> {
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

    /// What is known of a customer with `history` who is still there, and `weeks` ahead.
    fn given(&self, history: &History, weeks: f64) -> Given {
        let x = f64::from(history.frequency());
        let b = self.b + f64::from(chances::<FIRST>(history.frequency()));
        Given { rate: self.r + x, a: self.a, b, span: weeks_ahead(weeks) / (self.alpha + history.age()) }
    }

    fn parameters(&self) -> [f64; 4] {
        [self.r, self.alpha, self.a, self.b]
    }

    /// The probability of staying `chances` times.
    fn stays(&self, chances: u32) -> f64 {
        (ln_rising(self.b, chances).value - ln_rising(self.a + self.b, chances).value).exp()
    }
}

/// Chances to leave that somebody has let pass who is still there after `frequency` repeat purchases.
const fn chances<const FIRST: u32>(frequency: u32) -> u32 {
    frequency.saturating_add(FIRST)
}

impl<const FIRST: u32> Parametric for BetaGeometric<FIRST> {
    fn names() -> &'static [&'static str] {
        &NAMES
    }

    fn values(&self) -> Vec<f64> {
        self.parameters().to_vec()
    }

    fn with_values(values: &[f64]) -> Result<Self, ParameterError> {
        let [r, alpha, a, b] = super::exactly(values)?;
        Self::new(r, alpha, a, b)
    }
}

impl<const FIRST: u32> PurchaseModel for BetaGeometric<FIRST> {
    /// Fader, Hardie and Lee, "Computing P(alive) Using the BG/NBD Model", 2008. 1 for BG/NBD without a repeat purchase,
    /// since one leaves only after one.
    fn probability_alive(&self, history: &History) -> f64 {
        let chances = chances::<FIRST>(history.frequency());
        if chances == 0 {
            return 1.0;
        }
        let silence = ((history.age() - history.recency()) / (self.alpha + history.recency())).ln_1p();
        let rate = self.r + f64::from(history.frequency());
        let ln_odds_gone = (self.a / (self.b + f64::from(chances - 1))).ln() + rate * silence;
        1.0 / (1.0 + ln_odds_gone.exp())
    }

    fn probability_alive_after(&self, history: &History, weeks: f64) -> f64 {
        self.probability_alive(history) * self.given(history, weeks).stays()
    }

    fn expected_purchases_if_alive(&self, history: &History, weeks: f64) -> f64 {
        self.given(history, weeks).purchases()
    }

    /// Equation 9.
    fn expected_by(&self, weeks: f64) -> f64 {
        let new =
            Given { rate: self.r, a: self.a, b: self.b + f64::from(FIRST), span: weeks_ahead(weeks) / self.alpha };
        self.stays(FIRST) * new.purchases()
    }

    /// Equation 8: that many purchases within the time and not left, or left after the last of them.
    fn probability_of_purchases(&self, purchases: u32, weeks: f64) -> f64 {
        if purchases > PURCHASES_MAX {
            return 0.0;
        }
        let span = weeks_ahead(weeks) / self.alpha;
        let (exactly, at_least) = negative_binomial(self.r, span, purchases);
        let chances = chances::<FIRST>(purchases);
        let there = self.stays(chances) * exactly;
        if chances == 0 {
            return there;
        }
        let leaves = self.a / (self.a + self.b + f64::from(chances - 1));
        (there + self.stays(chances - 1) * leaves * at_least).min(1.0)
    }

    fn log_likelihood(&self, histories: &[History]) -> f64 {
        if histories.is_empty() {
            return 0.0;
        }
        let groups = Groups::new(histories);
        -likelihood::surface::<FIRST>(&groups, &self.parameters()).value * groups.customers()
    }

    fn prepare<'a>(&'a self, histories: &[History]) -> Prepared<'a> {
        let tables = Tables::new(self, histories);
        let if_alive =
            move |history: &History, weeks: f64| tables.purchases(&self.given(history, weeks), history.frequency());
        Prepared { alive: Box::new(|history: &History| self.probability_alive(history)), if_alive: Box::new(if_alive) }
    }

    /// By equations 6 and 7.
    fn fit(histories: &[History]) -> Result<Fit<Self>, FitError> {
        let customers = histories.len() as u64;
        if customers < CUSTOMERS_MIN {
            return Err(FitError::TooFewCustomers { customers, least: CUSTOMERS_MIN });
        }
        let groups = Groups::new(histories);
        let rate = groups.rate().ok_or(FitError::NoRepeats)?;
        let surface = |at: &[f64; 4]| -> Surface<4> { likelihood::surface::<FIRST>(&groups, at) };
        let search = |start| {
            let customers = groups.customers();
            Search { names: NAMES, start, within: [WITHIN; 4], customers, surface: &surface }.run()
        };
        let sampled = with_sample(histories, |sample| Self::fit(sample).map(|fit| fit.model.parameters()));
        let starts = STARTS.map(|[r, a, b]| [r, r / rate, a, b]);
        let from_all = || if FIRST == 0 { first_minimum(&starts, search) } else { lowest_minimum(&starts, search) };
        let optimum = sampled.and_then(|start| search(start).ok()).map_or_else(from_all, Ok)?;
        let [r, alpha, a, b] = optimum.parameters;
        Ok(optimum.fit(Self { r, alpha, a, b }, customers))
    }
}

impl<const FIRST: u32> Lives for BetaGeometric<FIRST> {
    fn life(&self, uniform: &mut dyn Uniform) -> Life {
        let rate = gamma(self.r, uniform) / self.alpha;
        let probability = beta(self.a, self.b, uniform);
        Life { rate, leaves: Leaves::AfterPurchase { probability, also_first: FIRST > 0 } }
    }
}

/// The probabilities of exactly `n` and of at least `n` purchases of somebody who never leaves, whose rate is gamma(r, α),
/// within `span` times α.
fn negative_binomial(r: f64, span: f64, n: u32) -> (f64, f64) {
    let (count, z) = (f64::from(n), span / (1.0 + span));
    if n == 0 {
        return ((-r * span.ln_1p()).exp(), 1.0);
    }
    if span <= 0.0 {
        return (0.0, 0.0);
    }
    let ways = ln_rising(r, n).value - ln_rising(1.0, n).value;
    let exactly = (ways - count * (1.0 / span).ln_1p() - r * span.ln_1p()).exp();
    let (mut term, mut sum) = (exactly, 0.0);
    // The smaller side is added up, outwards; where its terms hardly fall, the other.
    if count > r * span && span < SPAN_SUMMED_MAX {
        let mut k = count;
        while term > 1e-17 * sum * (1.0 - z) && k < count + TERMS_MAX {
            sum += term;
            term *= (r + k) / (k + 1.0) * z;
            k += 1.0;
        }
        return (exactly, sum.min(1.0));
    }
    if exactly <= 0.0 {
        return (0.0, if count > r * span { 0.0 } else { 1.0 });
    }
    for k in (1..=n).rev().map(f64::from) {
        term *= k / ((r + k - 1.0) * z);
        sum += term;
        if k < r * span && term <= 1e-18 * sum {
            break;
        }
    }
    (exactly, (1.0 - sum).max(0.0))
}

/// Beyond this span, terms of the negative binomial fall by less than a thousandth.
const SPAN_SUMMED_MAX: f64 = 1e3;
const TERMS_MAX: f64 = 1e6;

/// Where searches start: r, a, b. The rate α is taken from the data. The likelihood of MBG/NBD can have a second, lower maximum
/// with a and b near 0 where few customers leave, so all are tried; that of BG/NBD had none in 1,200 simulated populations.
const STARTS: [[f64; 3]; 4] = [[0.5, 1.0, 3.0], [1.0, 0.5, 5.0], [0.2, 2.0, 2.0], [3.0, 1.0, 20.0]];

#[cfg(test)]
mod tests;
