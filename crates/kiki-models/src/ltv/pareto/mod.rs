//! Pareto/NBD: how often a customer will buy again, and whether they are still there, where leaving has nothing to do with
//! buying.
//!
//! D. C. Schmittlein, D. G. Morrison, R. Colombo, "Counting Your Customers: Who Are They and What Will They Do Next?",
//! Management Science 33 (1), 1987. While a customer is there, purchases come at a constant rate λ, and they leave at a
//! constant rate μ. Over customers λ is gamma(r, α) and μ is gamma(s, β). Formulas in the form of P. S. Fader,
//! B. G. S. Hardie, "A Note on Deriving the Pareto/NBD Model and Related Expressions", 2005.

mod departure;
mod likelihood;

use serde::{Deserialize, Serialize};

use super::groups::Groups;
use super::model::{CUSTOMERS_A_PART, CUSTOMERS_MIN, PURCHASES_MAX, weeks_ahead};
use super::newton::{Search, Surface, first_minimum};
use super::parallel::map_chunks;
use super::quadrature::{SIXTEEN, points};
use super::sample::with_sample;
use super::simulate::{Leaves, Life, Lives, Uniform, exponential, gamma};
use super::special::ln_rising;
use super::{Fit, FitError, History, PARAMETER_RANGE, ParameterError, Parametric, Prepared, PurchaseModel, parameter};
use departure::Departure;

const NAMES: [&str; 4] = ["r", "alpha", "s", "beta"];
const WITHIN: (f64, f64) = (*PARAMETER_RANGE.start(), *PARAMETER_RANGE.end());

/// The model's four parameters, each within [`PARAMETER_RANGE`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", deny_unknown_fields)]
pub struct ParetoNbd {
    r: f64,
    alpha: f64,
    s: f64,
    beta: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    r: f64,
    alpha: f64,
    s: f64,
    beta: f64,
}

impl TryFrom<Unchecked> for ParetoNbd {
    type Error = ParameterError;

    fn try_from(Unchecked { r, alpha, s, beta }: Unchecked) -> Result<Self, ParameterError> {
        Self::new(r, alpha, s, beta)
    }
}

impl ParetoNbd {
    /// The model with these parameters; `alpha` and `beta` are in weeks.
    ///
    /// # Errors
    /// One of them is not within [`PARAMETER_RANGE`].
    pub fn new(r: f64, alpha: f64, s: f64, beta: f64) -> Result<Self, ParameterError> {
        let within = |name, value| parameter(name, value, WITHIN);
        let (r, alpha) = (within("r", r)?, within("alpha", alpha)?);
        Ok(Self { r, alpha, s: within("s", s)?, beta: within("beta", beta)? })
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

    /// Shape of the rates of leaving.
    #[must_use]
    pub const fn s(&self) -> f64 {
        self.s
    }

    /// Scale of the rates of leaving, in weeks; their mean is `s / beta` a week.
    #[must_use]
    pub const fn beta(&self) -> f64 {
        self.beta
    }

    fn parameters(&self) -> [f64; 4] {
        [self.r, self.alpha, self.s, self.beta]
    }

    /// The probability that a customer with `history` makes no purchase in the `weeks` after it, were they known to be still
    /// there: that of somebody new whose parameters were updated by what is known, r + x, alpha + T and beta + T.
    #[must_use]
    pub fn probability_of_no_purchase_if_alive(&self, history: &History, weeks: f64) -> f64 {
        let (x, age) = (f64::from(history.frequency()), history.age());
        // Beyond the range of parameters, where the history is long, the formula holds all the same.
        let updated = Self { r: self.r + x, alpha: self.alpha + age, s: self.s, beta: self.beta + age };
        updated.probability_of_purchases(0, weeks)
    }

    /// Weeks that somebody who is there after `age` weeks is expected to stay within the next `weeks`.
    fn stays(&self, age: f64, weeks: f64) -> f64 {
        let scale = self.beta + age;
        let span = (weeks_ahead(weeks) / scale).ln_1p();
        let power = self.s - 1.0;
        // (1 - e^(-power span)) / power, which is span where the power vanishes.
        scale * if power.abs() * span < 1e-300 { span } else { -(-power * span).exp_m1() / power }
    }
}

impl Parametric for ParetoNbd {
    fn names() -> &'static [&'static str] {
        &NAMES
    }

    fn values(&self) -> Vec<f64> {
        self.parameters().to_vec()
    }

    fn with_values(values: &[f64]) -> Result<Self, ParameterError> {
        let [r, alpha, s, beta] = super::exactly(values)?;
        Self::new(r, alpha, s, beta)
    }
}

impl PurchaseModel for ParetoNbd {
    fn probability_alive(&self, history: &History) -> f64 {
        let departure = Departure::new(self.parameters(), history);
        let there = departure.stayed().weight;
        let mut gone = 0.0;
        departure.left(|moment| gone += moment.weight);
        if there > 0.0 { there / (there + gone) } else { 0.0 }
    }

    fn probability_alive_after(&self, history: &History, weeks: f64) -> f64 {
        let span = (weeks_ahead(weeks) / (self.beta + history.age())).ln_1p();
        self.probability_alive(history) * (-self.s * span).exp()
    }

    fn expected_purchases_if_alive(&self, history: &History, weeks: f64) -> f64 {
        let rate = (self.r + f64::from(history.frequency())) / (self.alpha + history.age());
        rate * self.stays(history.age(), weeks)
    }

    fn expected_by(&self, weeks: f64) -> f64 {
        self.r / self.alpha * self.stays(0.0, weeks)
    }

    /// Still there at the end, or left before: the integral over when, in the logarithm of time.
    fn probability_of_purchases(&self, purchases: u32, weeks: f64) -> f64 {
        let (end, x) = (weeks_ahead(weeks), f64::from(purchases));
        if purchases > PURCHASES_MAX || end <= 0.0 {
            return if purchases == 0 { 1.0 } else { 0.0 };
        }
        let ways = ln_rising(self.r, purchases).value - ln_rising(1.0, purchases).value;
        // ln P(x purchases by u, and still there), where u is more than 0.
        let ln_there = |u: f64| {
            let bought = if purchases > 0 { x * (self.alpha / u).ln_1p() } else { 0.0 };
            ways - bought - self.r * (u / self.alpha).ln_1p() - self.s * (u / self.beta).ln_1p()
        };
        let near = self.alpha.min(self.beta);
        let span = (end / near).ln_1p();
        let panels = (4.0 + 2.0 * span + x.sqrt() * span).ceil().min(PANELS_MAX);
        let (width, mut gone) = (span / panels, 0.0);
        // Counted, as the width of a panel may be too small for a number.
        for panel in (0_u32..).map(f64::from).take_while(|&panel| panel < panels) {
            points(&SIXTEEN, panel * width, width, |z, share| {
                let u = near * z.exp_m1();
                gone += share * (ln_there(u) + z).exp() * near * self.s / (self.beta + u);
            });
        }
        (ln_there(end).exp() + gone).min(1.0)
    }

    fn log_likelihood(&self, histories: &[History]) -> f64 {
        if histories.is_empty() {
            return 0.0;
        }
        let groups = Groups::new(histories);
        -likelihood::surface(&groups, &self.parameters()).value * groups.customers()
    }

    /// Most customers have no repeat purchase, and differ in nothing but their age.
    fn prepare<'a>(&'a self, histories: &[History]) -> Prepared<'a> {
        let without_repeats = AliveByAge::new(self, histories);
        let alive =
            move |history: &History| without_repeats.get(history).unwrap_or_else(|| self.probability_alive(history));
        let if_alive = |history: &History, weeks: f64| self.expected_purchases_if_alive(history, weeks);
        Prepared { alive: Box::new(alive), if_alive: Box::new(if_alive) }
    }

    fn fit(histories: &[History]) -> Result<Fit<Self>, FitError> {
        let customers = histories.len() as u64;
        if customers < CUSTOMERS_MIN {
            return Err(FitError::TooFewCustomers { customers, least: CUSTOMERS_MIN });
        }
        let groups = Groups::new(histories);
        let rate = groups.rate().ok_or(FitError::NoRepeats)?;
        let age = (groups.weeks() / groups.customers()).max(1e-3);
        let surface = |at: &[f64; 4]| -> Surface<4> { likelihood::surface(&groups, at) };
        let search = |start| {
            let customers = groups.customers();
            Search { names: NAMES, start, within: [WITHIN; 4], customers, surface: &surface }.run()
        };
        let sampled = with_sample(histories, |sample| Self::fit(sample).map(|fit| fit.model.parameters()));
        let starts = STARTS.map(|[r, s, beta]| [r, r / rate, s, (beta * age).clamp(WITHIN.0, WITHIN.1)]);
        let from_all = || first_minimum(&starts, search);
        let optimum = sampled.and_then(|start| search(start).ok()).map_or_else(from_all, Ok)?;
        let [r, alpha, s, beta] = optimum.parameters;
        Ok(optimum.fit(Self { r, alpha, s, beta }, customers))
    }
}

/// The probability to be still there of those without a repeat purchase, by the bits of their age; nothing where hardly two
/// are of the same age.
struct AliveByAge(Vec<(u64, f64)>);

impl AliveByAge {
    fn new(model: &ParetoNbd, histories: &[History]) -> Self {
        let without = histories.iter().filter(|history| history.frequency() == 0);
        let mut ages: Vec<History> = without.copied().collect();
        let customers = ages.len();
        let bits = |history: &History| history.age().to_bits();
        ages.sort_unstable_by_key(bits);
        ages.dedup_by_key(|history| bits(history));
        if ages.len() > customers / 2 {
            return Self(Vec::new());
        }
        let alive = |history: &History| (bits(history), model.probability_alive(history));
        Self(map_chunks(&ages, CUSTOMERS_A_PART, |part| part.iter().map(alive).collect()))
    }

    fn get(&self, history: &History) -> Option<f64> {
        if history.frequency() > 0 {
            return None;
        }
        let found = self.0.binary_search_by_key(&history.age().to_bits(), |(age, _)| *age).ok()?;
        self.0.get(found).map(|(_, alive)| *alive)
    }
}

impl Lives for ParetoNbd {
    fn life(&self, uniform: &mut dyn Uniform) -> Life {
        let rate = gamma(self.r, uniform) / self.alpha;
        let leaving = gamma(self.s, uniform) / self.beta;
        Life { rate, leaves: Leaves::At(exponential(uniform) / leaving.max(f64::MIN_POSITIVE)) }
    }
}

/// Panels of the integral over when somebody left.
const PANELS_MAX: f64 = 1_000.0;

/// Where searches start: r, s, and β as a part of the mean time of observation. The rate α is taken from the data. The first
/// does for all data known so far.
const STARTS: [[f64; 3]; 4] = [[0.5, 0.5, 0.3], [1.0, 1.0, 1.0], [0.3, 0.3, 0.05], [3.0, 1.5, 3.0]];

#[cfg(test)]
mod tests;
