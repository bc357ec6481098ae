//! Expected purchases of a customer who is still there, and the probability to stay, for all arguments.
//!
//! Equation 10 is a difference of two numbers that are nearly equal for short times, divided by a - 1, with a
//! hypergeometric function that has a pole at a + b + x = 1. The same number is an expectation without any of these.
//! With R = r + x, B = b + k after k chances to leave, and s = t / (α + T), given that the customer is still there, λ is
//! gamma(R, α + T), p is beta(a, B), and
//!
//! ```text
//! purchases = ∫ (1 - (1 + p s)^-R) / p  beta(p; a, B) dp
//! stays     = ∫ (1 + p s)^-R            beta(p; a, B) dp
//! ```
//!
//! Were nobody to leave, the number of purchases N in t would be negative binomial, P(N = n) = π(n) with size R and
//! success probability 1 / (1 + s). A customer stays after each of n purchases with probability m(n) = (B)n / (a + B)n,
//! and the n-th of them happens if they stayed after each of the n - 1 before it. So
//!
//! ```text
//! purchases = Σ π(n) c(n)  over n = 1, 2, ...,  where c(n) = m(0) + ... + m(n - 1)
//! stays     = Σ π(n) m(n)  over n = 0, 1, ...
//! ```
//!
//! All terms are positive: nothing cancels. Where that series is long (`s` or `R` very large), the integral is taken
//! instead, by the trapezoidal rule in the log odds of p.

/// The series is used where its estimated length is below this.
const TERMS_EXPECTED_MAX: f64 = 600.0;
const TERMS_MAX: u32 = 10_000;
/// (1 + s)^-R underflows beyond e^-745.
const LN_FIRST_MAX: f64 = 650.0;

/// R, a, B and s of the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) rate: f64,
    pub(super) a: f64,
    pub(super) b: f64,
    pub(super) span: f64,
}

impl Given {
    /// How many purchases are expected.
    pub(super) fn purchases(self) -> f64 {
        if self.span <= 0.0 {
            0.0
        } else if self.is_short() {
            self.series(0.0, |bought, _| bought)
        } else {
            self.quadrature(Self::purchases_at)
        }
    }

    /// The probability to be still there at the end.
    pub(super) fn stays(self) -> f64 {
        if self.span <= 0.0 {
            1.0
        } else if self.is_short() {
            self.series(1.0, |_, stayed| stayed).min(1.0)
        } else {
            self.quadrature(Self::stays_at)
        }
    }

    /// Whether the series ends soon.
    fn is_short(self) -> bool {
        // Ten standard deviations above the mean, and a tail in which a term is s / (1 + s) of the one before.
        let mean = self.rate * self.span;
        let terms = mean + 10.0 * (mean * (1.0 + self.span)).sqrt() + 40.0 * (1.0 + self.span);
        terms <= TERMS_EXPECTED_MAX && self.rate * self.span.ln_1p() <= LN_FIRST_MAX
    }

    /// The sum of π(n) times what `of` makes of c(n) and m(n), which is `at_none` for n = 0.
    fn series(self, at_none: f64, of: impl Fn(f64, f64) -> f64) -> f64 {
        let z = self.span / (1.0 + self.span);
        let mut probability = (-self.rate * self.span.ln_1p()).exp();
        let (mut stayed, mut bought, mut total) = (1.0, 0.0, probability * at_none);
        for step in 0..TERMS_MAX {
            let n = f64::from(step);
            let ratio = (self.rate + n) / (n + 1.0) * z;
            probability *= ratio;
            bought += stayed;
            stayed *= (self.b + n) / (self.a + self.b + n);
            let term = probability * of(bought, stayed);
            total += term;
            // The rest is below a geometric series of this ratio, which falls with n or is below z.
            if ratio < 1.0 && term <= 1e-17 * total * (1.0 - ratio.max(z)) {
                break;
            }
        }
        total
    }

    /// The integral of `of` at the log odds of p.
    fn quadrature(self, of: impl Fn(Self, f64) -> f64) -> f64 {
        let mut step = 0.25;
        let mut sums = self.trapezoid(step, 0.0, &of);
        let mut before = f64::INFINITY;
        for _ in 0..LEVELS_MAX {
            let mean = sums.0 / sums.1;
            if (mean - before).abs() <= 1e-13 * mean {
                break;
            }
            before = mean;
            let between = self.trapezoid(step, 0.5 * step, &of);
            sums = (sums.0 + between.0, sums.1 + between.1);
            step *= 0.5;
        }
        sums.0 / sums.1
    }

    /// Sums of the integrand and of its weight at every `step` of u from `offset`, where the log odds of p are
    /// `mode + width sinh u`. Their quotient is the integral: what both lack cancels.
    fn trapezoid(self, step: f64, offset: f64, of: impl Fn(Self, f64) -> f64) -> (f64, f64) {
        let mode = (self.a / self.b).ln();
        let width = (1.0 / self.a + 1.0 / self.b).sqrt().min(1.0);
        let reach = |slope: f64| ((DECADES / slope + DECADES * width) / width).asinh();
        let (below, above) = (reach(self.a), reach(self.b));
        let peak = self.ln_weight(mode);
        let (mut total, mut weights) = (0.0, 0.0);
        // At most 2 x 30 / step points, and step is at least 2^-12.
        let mut u = offset - (below / step).ceil() * step;
        while u <= above {
            let log_odds = mode + width * u.sinh();
            let weight = (self.ln_weight(log_odds) - peak).exp() * u.cosh();
            total += weight * of(self, log_odds);
            weights += weight;
            u += step;
        }
        (total, weights)
    }

    /// ln(p^a (1 - p)^B), the beta density in the log odds up to a constant.
    fn ln_weight(self, log_odds: f64) -> f64 {
        // -ln p and -ln(1 - p), without overflow.
        let rest = (-log_odds.abs()).exp().ln_1p();
        -self.a * (rest + (-log_odds).max(0.0)) - self.b * (rest + log_odds.max(0.0))
    }

    /// (1 - (1 + p s)^-R) / p, which is R s at p = 0.
    fn purchases_at(self, log_odds: f64) -> f64 {
        let p = 1.0 / (1.0 + (-log_odds).exp());
        let left = p * self.span;
        if left * (self.rate + 1.0) < 1e-16 { self.rate * self.span } else { -(-self.rate * left.ln_1p()).exp_m1() / p }
    }

    /// (1 + p s)^-R.
    fn stays_at(self, log_odds: f64) -> f64 {
        (-self.rate * (self.span / (1.0 + (-log_odds).exp())).ln_1p()).exp()
    }
}

/// The weight is followed down to e^-50 of its peak.
const DECADES: f64 = 50.0;
const LEVELS_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltv::{BgNbd, History, PurchaseModel as _};

    /// r, α, a, b, x, T, t, and the integral by mpmath 1.3 with 30 digits.
    const REFERENCE: [([f64; 7], f64); 12] = [
        ([0.243, 4.414, 0.793, 2.426, 2.0, 38.86, 39.0], 1.687_399_305_805_313),
        ([0.243, 4.414, 0.793, 2.426, 0.0, 38.86, 5200.0], 5.018_841_662_982_903),
        ([0.243, 4.414, 0.793, 2.426, 500.0, 38.86, 52.0], 429.294_877_546_156_65),
        ([0.243, 4.414, 1.0, 2.426, 2.0, 38.86, 39.0], 1.625_149_536_343_283_7),
        ([0.1, 1.0, 0.3, 0.2, 0.0, 0.0, 5200.0], 27.283_333_165_953_56),
        ([0.243, 4.414, 0.793, 2.426, 100_000.0, 50.0, 52.0], 71_951.271_192_172_1),
        ([1e-3, 1e-3, 1e-3, 1e-3, 1.0, 0.1, 100.0], 984.277_885_917_842_3),
        ([50.0, 20.0, 3.0, 5000.0, 3.0, 10.0, 5200.0], 2_183.891_173_838_633),
        ([2.0, 1e3, 0.01, 0.5, 0.0, 5.0, 1e-6], 1.990_049_751_185_541_4e-9),
        ([1e4, 1e4, 200.0, 10.0, 3.0, 10.0, 1e3], 1.065_326_633_165_829),
        ([1.5, 5.0, 2.5, 1e5, 7.0, 30.0, 5200.0], 1_240.976_637_348_768_2),
        ([1e-3, 1e-3, 2.0, 3.0, 0.0, 0.0, 5200.0], 0.054_150_774_105_780_15),
    ];

    fn given([r, alpha, a, b, x, age, weeks]: [f64; 7]) -> Given {
        Given { rate: r + x, a, b: b + x, span: weeks / (alpha + age) }
    }

    #[test]
    fn expectations_agree_with_thirty_digits() {
        for (arguments, should) in REFERENCE {
            let [r, alpha, a, b, x, age, weeks] = arguments;
            let history = History::new(x, if x > 0.0 { age } else { 0.0 }, age).unwrap();
            let is = BgNbd::new(r, alpha, a, b).unwrap().expected_purchases_if_alive(&history, weeks);
            assert!((is / should - 1.0).abs() < 1e-11, "{arguments:?}: {is} is not {should}");
        }
    }

    #[test]
    fn the_series_and_the_integral_are_the_same_number() {
        for rate in [1e-3, 0.243, 3.0, 80.0] {
            for span in [1e-9, 1e-3, 1.0, 4.0] {
                for (a, b) in [(1e-3, 0.2), (0.793, 2.426), (1.0, 1.0), (30.0, 4.0), (4.0, 700.0)] {
                    let given = Given { rate, a, b, span };
                    let (series, integral) =
                        (given.series(0.0, |bought, _| bought), given.quadrature(Given::purchases_at));
                    assert!((series / integral - 1.0).abs() < 1e-10, "{given:?}: {series} is not {integral}");
                    let (series, integral) = (given.series(1.0, |_, stayed| stayed), given.quadrature(Given::stays_at));
                    assert!((series / integral - 1.0).abs() < 1e-10, "{given:?}: {series} is not {integral}");
                }
            }
        }
        assert!(given(REFERENCE[0].0).purchases() > 1.6);
    }
}
