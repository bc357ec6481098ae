//! Customers who behave exactly as the models say, drawn from uniform numbers that the caller passes in.

use super::summary::DAYS_PER_WEEK;
use super::{GammaGamma, History, WEEKS_MAX};

/// A source of numbers uniform in [0, 1).
pub trait Uniform {
    /// The next one.
    fn next(&mut self) -> f64;
}

impl<F: FnMut() -> f64> Uniform for F {
    fn next(&mut self) -> f64 {
        self()
    }
}

/// One customer's own numbers, which nobody observes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Life {
    /// Purchases a week while there.
    pub rate: f64,
    /// How they leave.
    pub leaves: Leaves,
}

/// How a customer leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Leaves {
    /// After any purchase, with this probability.
    AfterPurchase {
        /// The probability.
        probability: f64,
        /// Whether the first purchase, which makes a customer, is one of these.
        also_first: bool,
    },
    /// This many weeks after the first purchase.
    At(f64),
}

/// A model from which customers can be drawn.
pub trait Lives {
    /// Draws a customer.
    fn life(&self, uniform: &mut dyn Uniform) -> Life;
}

/// A customer that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulated {
    /// What would have been observed.
    pub history: History,
    /// The mean value of the repeat purchases; 0 if there are none.
    pub monetary: f64,
}

const PURCHASES_MAX: u32 = 10_000;

impl Life {
    /// Tells `at` the weeks of the repeat purchases before `end`, at most 10,000 of them.
    fn purchases(&self, end: f64, uniform: &mut dyn Uniform, mut at: impl FnMut(f64)) {
        let (leaves, also_first, end) = match self.leaves {
            Leaves::AfterPurchase { probability, also_first } => (probability, also_first, end),
            Leaves::At(weeks) => (0.0, false, end.min(weeks)),
        };
        let stays = |uniform: &mut dyn Uniform| leaves <= 0.0 || uniform.next() >= leaves;
        if also_first && !stays(uniform) {
            return;
        }
        let mut time = 0.0;
        for _ in 0..PURCHASES_MAX {
            time += exponential(uniform) / self.rate.max(f64::MIN_POSITIVE);
            if time >= end {
                return;
            }
            at(time);
            if !stays(uniform) {
                return;
            }
        }
    }
}

/// Draws a customer observed for `weeks` (at most [`WEEKS_MAX`]), whose purchases are noticed the moment they happen. At most
/// 10,000 are drawn.
pub fn simulate_history(purchases: &impl Lives, weeks: f64, uniform: &mut dyn Uniform) -> History {
    let age = weeks.clamp(0.0, WEEKS_MAX);
    let (mut frequency, mut last) = (0, 0.0);
    purchases.life(uniform).purchases(age, uniform, |time| (frequency, last) = (frequency + 1, time));
    History::of_parts(frequency, last, age)
}

/// Draws a customer observed for `age_days` days. Purchases are noticed by the day, as an order log has them: those of one
/// day are one. At most 10,000 are drawn.
pub fn simulate(purchases: &impl Lives, spend: &GammaGamma, age_days: u32, uniform: &mut impl Uniform) -> Simulated {
    let (mut frequency, mut last_day) = (0, 0);
    purchases.life(uniform).purchases(f64::from(age_days) / DAYS_PER_WEEK, uniform, |time| {
        let day = whole_days(time * DAYS_PER_WEEK);
        if day > last_day {
            (frequency, last_day) = (frequency + 1, day);
        }
    });
    let scale = gamma(spend.q(), uniform) / spend.v();
    let bought = f64::from(frequency);
    let monetary = if frequency > 0 { gamma(spend.p() * bought, uniform) / (scale * bought) } else { 0.0 };
    Simulated { history: History::from_days(frequency, last_day, age_days), monetary }
}

/// Draws a customer, and what `purchases` of theirs are worth.
pub fn simulate_spend(spend: &GammaGamma, purchases: usize, uniform: &mut impl Uniform) -> Vec<f64> {
    let scale = gamma(spend.q(), uniform) / spend.v();
    (0..purchases).map(|_| gamma(spend.p(), uniform) / scale.max(f64::MIN_POSITIVE)).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and below an age in u32")]
fn whole_days(time: f64) -> u32 {
    time as u32
}

pub(super) fn exponential(uniform: &mut dyn Uniform) -> f64 {
    -(-uniform.next()).ln_1p()
}

/// A standard normal number (Marsaglia's polar method).
fn normal(uniform: &mut dyn Uniform) -> f64 {
    for _ in 0..1_000 {
        let (u, v) = (2.0 * uniform.next() - 1.0, 2.0 * uniform.next() - 1.0);
        let square = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            return u * (-2.0 * square.ln() / square).sqrt();
        }
    }
    0.0
}

/// A gamma number of scale 1 (Marsaglia and Tsang 2000; below shape 1 with their correction).
pub(super) fn gamma(shape: f64, uniform: &mut dyn Uniform) -> f64 {
    if shape < 1.0 {
        let boosted = gamma(shape + 1.0, uniform);
        return boosted * (-exponential(uniform) / shape).exp();
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for _ in 0..1_000 {
        let x = normal(uniform);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - uniform.next()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
    d
}

pub(super) fn beta(a: f64, b: f64, uniform: &mut dyn Uniform) -> f64 {
    let (one, other) = (gamma(a, uniform), gamma(b, uniform));
    if one + other > 0.0 { one / (one + other) } else { a / (a + b) }
}
