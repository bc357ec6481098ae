//! When a customer may have left, as far as their history tells.
//!
//! With R = r + x, a customer with x repeat purchases, the last at t, observed until T, either is still there or left at a
//! time u between t and T. Up to a factor that both share, the probabilities are
//!
//! ```text
//! still there:  (α+T)^-R (β+T)^-s
//! left at u:    s (α+u)^-R (β+u)^-(s+1) du
//! ```
//!
//! Papers write the integral of the second as a difference of two hypergeometric functions, one pair for α < β and another
//! for α > β. That difference cancels where T - t is small, and its parts overflow where x is large. Here the integral is
//! taken as it stands: nothing is negative, nothing cancels, and relative to its value at u = t nothing overflows.
//! With c = min(α, β) and z = ln((c+u) / (c+t)) it is, but for a power, a product of exponentials of z: smooth, falling at
//! a rate that never shrinks. So a few panels of Gauss and Legendre's rule give all digits.

use crate::ltv::History;
use crate::ltv::quadrature::{EIGHT, Rule, SIXTEEN, points};

/// What is left out is below e^-45 of the largest part.
const FALL_MAX: f64 = 45.0;
const PANELS_MAX: u32 = 200;
/// How wide a panel may be in z, and how much the exponent may change over it, for eight points and for sixteen: what makes
/// the rule's error less than 1e-15. The integrand is analytic up to a distance of π from the real axis.
const EIGHT_WIDTH: f64 = 1.3;
const EIGHT_FALL: f64 = 3.0;
const SIXTEEN_WIDTH: f64 = 3.0;
const SIXTEEN_FALL: f64 = 16.0;
/// A logarithm is wrong by 1e-16; times powers of less than this, by less than 1e-13.
const STEEP_MIN: f64 = 300.0;

/// What the two probabilities depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    pub(super) rate: f64,
    pub(super) alpha: f64,
    pub(super) s: f64,
    pub(super) beta: f64,
    pub(super) recency: f64,
    pub(super) age: f64,
}

/// A time u, or the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Its probability, relative to (α+t)^-R (β+t)^-s.
    pub(super) weight: f64,
    /// ln((α+u) / (α+t)).
    pub(super) ln_alpha: f64,
    /// ln((β+u) / (β+t)).
    pub(super) ln_beta: f64,
    /// u - t.
    pub(super) since: f64,
}

impl Departure {
    pub(super) fn new([r, alpha, s, beta]: [f64; 4], history: &History) -> Self {
        let (recency, age) = (history.recency(), history.age());
        Self { rate: r + f64::from(history.frequency()), alpha, s, beta, recency, age }
    }

    /// Still there at the end.
    pub(super) fn stayed(&self) -> Moment {
        let since = self.age - self.recency;
        let ln_alpha = (since / (self.alpha + self.recency)).ln_1p();
        let ln_beta = (since / (self.beta + self.recency)).ln_1p();
        Moment { weight: (-self.rate * ln_alpha - self.s * ln_beta).exp(), ln_alpha, ln_beta, since }
    }

    /// Tells `at` the moments whose weights add up to the integral.
    #[inline]
    pub(super) fn left(&self, mut at: impl FnMut(Moment)) {
        let near = self.alpha.min(self.beta) + self.recency;
        let end = ((self.age - self.recency) / near).ln_1p();
        let scale = self.s * near / (self.beta + self.recency);
        let mut start = 0.0;
        let mut here = Moment { weight: 0.0, ln_alpha: 0.0, ln_beta: 0.0, since: 0.0 };
        for _ in 0..PANELS_MAX {
            if start >= end || self.exponent(start, &here) > FALL_MAX {
                return;
            }
            let (rule, width) = self.panel(near + here.since, here.since, end - start);
            points(rule, start, width, |z, share| {
                let mut moment = self.moment(z, near);
                moment.weight = scale * share * (-self.exponent(z, &moment)).exp();
                at(moment);
            });
            start += width;
            if start < end {
                here = self.moment(start, near);
            }
        }
    }

    /// R ln((α+u) / (α+t)) + (s+1) ln((β+u) / (β+t)) - z.
    #[inline]
    fn exponent(&self, z: f64, moment: &Moment) -> f64 {
        self.rate * moment.ln_alpha + (self.s + 1.0) * moment.ln_beta - z
    }

    /// The moment at z, but for its weight. What is steep takes the logarithm more exactly, which costs half as much again.
    #[inline]
    fn moment(&self, z: f64, near: f64) -> Moment {
        let gap = (self.alpha - self.beta).abs();
        let (since, ln_far) = if self.rate + self.s > STEEP_MIN {
            let since = near * z.exp_m1();
            (since, (since / (near + gap)).ln_1p())
        } else {
            let grown = near * z.exp();
            (grown - near, ((grown + gap) / (near + gap)).ln())
        };
        let (ln_alpha, ln_beta) = if self.alpha <= self.beta { (z, ln_far) } else { (ln_far, z) };
        Moment { weight: 0.0, ln_alpha, ln_beta, since }
    }

    /// The rule for the panel that begins `since` after t, where c+u is `near`, and its width, of which `rest` is left.
    fn panel(&self, near: f64, since: f64, rest: f64) -> (&'static Rule, f64) {
        let (by_alpha, by_beta) = (self.alpha + self.recency + since, self.beta + self.recency + since);
        let slope = near * (self.rate / by_alpha + (self.s + 1.0) / by_beta) - 1.0;
        // Over a width of h the slope grows at most e^h times, and never beyond R + s.
        let within = |fall: f64| (fall / slope.max(0.1)).ln_1p().max(fall / (self.rate + self.s));
        if rest <= EIGHT_WIDTH.min(within(EIGHT_FALL)) {
            return (&EIGHT, rest);
        }
        (&SIXTEEN, rest.min(SIXTEEN_WIDTH).min(within(SIXTEEN_FALL)))
    }
}
