//! Customers who behave exactly as the models say, drawn from uniform numbers that the caller passes in.

use super::summary::DAYS_PER_WEEK;
use super::{BgNbd, GammaGamma, History};

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

/// A customer that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulated {
    /// What would have been observed.
    pub history: History,
    /// The mean value of the repeat purchases; 0 if there are none.
    pub monetary: f64,
}

const PURCHASES_MAX: u32 = 10_000;

/// Draws a customer observed for `age_days` days. Purchases are noticed by the day, as an order log has them: those of one
/// day are one. At most 10,000 are drawn.
pub fn simulate(purchases: &BgNbd, spend: &GammaGamma, age_days: u32, uniform: &mut impl Uniform) -> Simulated {
    let age = f64::from(age_days);
    let rate_a_day = gamma(purchases.r(), uniform) / (purchases.alpha() * DAYS_PER_WEEK);
    let leaves = beta(purchases.a(), purchases.b(), uniform);
    let (mut frequency, mut last_day, mut time) = (0, 0, 0.0);
    for _ in 0..PURCHASES_MAX {
        time += exponential(uniform) / rate_a_day.max(f64::MIN_POSITIVE);
        if time >= age {
            break;
        }
        let day = whole_days(time);
        if day > last_day {
            last_day = day;
            frequency += 1;
        }
        if uniform.next() < leaves {
            break;
        }
    }
    let scale = gamma(spend.q(), uniform) / spend.v();
    let bought = f64::from(frequency);
    let monetary = if frequency > 0 { gamma(spend.p() * bought, uniform) / (scale * bought) } else { 0.0 };
    Simulated { history: History::from_days(frequency, last_day, age_days), monetary }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and below an age in u32")]
fn whole_days(time: f64) -> u32 {
    time as u32
}

fn exponential(uniform: &mut impl Uniform) -> f64 {
    -(-uniform.next()).ln_1p()
}

/// A standard normal number (Marsaglia's polar method).
fn normal(uniform: &mut impl Uniform) -> f64 {
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
fn gamma(shape: f64, uniform: &mut impl Uniform) -> f64 {
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

fn beta(a: f64, b: f64, uniform: &mut impl Uniform) -> f64 {
    let (one, other) = (gamma(a, uniform), gamma(b, uniform));
    if one + other > 0.0 { one / (one + other) } else { a / (a + b) }
}
