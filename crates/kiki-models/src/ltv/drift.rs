//! Whether what customers did since a model was fitted agrees with what it said of them.
//!
//! Given what was known of each customer when the model was fitted, customers are independent and the model says a mean for each,
//! so the sum of what they did less the sum of those means has mean 0 if the model is right. Its standard error has two parts:
//!
//! - how customers scatter: the sum of the squared differences, which holds whatever the shape of the distribution, but at
//!   least the variance that the model itself implies. Where purchases are rare the squares alone are small exactly when
//!   little happened, and would take bad luck for a change;
//! - how far the parameters are determined, by the delta method over all customers together: that error is common to all of them,
//!   stays the same from look to look and does not shrink as more is seen.
//!
//! The test is made anew each day or week over all that happened since, so its bound is one for a path and not for a look. A sum
//! of independent parts moves like a Brownian motion in its own variance, which leaves ±c standard errors anywhere while the
//! variance grows from v₁ to v₂ with a probability of about φ(c) [(c - 1/c) ln(v₂/v₁) + 4/c] (D. Siegmund, "Sequential
//! Analysis", 1985, 4.3), however often one looks. With [`Z_ALARM`] this is 5.3 % from the first week to the end of a year, and 6.0 %
//! while the variance grows a hundredfold. What is common to all looks, the error of the parameters, makes alarms rarer: see
//! `tests/it/drift.rs`, which counts them.

/// Differences of fewer standard errors than this may be chance.
pub const Z_ALARM: f64 = 3.0;
/// Smaller differences than this part of what was expected change no decision, however certain they are.
pub const DEVIATION_ALARM: f64 = 0.1;
/// With fewer purchases than this a sum is too far from a normal number to be judged.
pub const PURCHASES_JUDGED_MIN: f64 = 100.0;

/// What one customer did, and what a model says of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// What happened.
    pub actual: f64,
    /// Its mean by the model.
    pub expected: f64,
    /// The least that its variance is by the model; 0 where the model says nothing of it.
    pub variance: f64,
}

impl Seen {
    /// Purchases. Whoever buys at a rate of their own makes a number that varies at least as much as its mean: like Poisson's
    /// if the rate is known, and more the less it is.
    #[must_use]
    pub const fn purchases(actual: f64, expected: f64) -> Self {
        Self { actual, expected, variance: expected }
    }
}

/// What customers did together, beside what a model expects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// What happened.
    pub actual: f64,
    /// Its mean by the model.
    pub expected: f64,
    /// Of their difference, if the model is right.
    pub standard_error: f64,
}

/// What can be said of a [`Comparison`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Too little happened to tell.
    TooEarly,
    /// What happened may well be what the model expects.
    Steady,
    /// The model is off, by more than chance and by more than matters little.
    Drifting,
}

impl Comparison {
    /// Of independent customers. `error_of_parameters` is the standard error of the sum of what is expected, by the covariance
    /// of the parameters.
    #[must_use]
    pub fn of(seen: &[Seen], error_of_parameters: f64) -> Self {
        let mut all = Self { actual: 0.0, expected: 0.0, standard_error: 0.0 };
        let (mut squares, mut at_least) = (0.0, 0.0);
        for one in seen {
            all.actual += one.actual;
            all.expected += one.expected;
            squares += (one.actual - one.expected) * (one.actual - one.expected);
            at_least += one.variance;
        }
        all.standard_error = (squares.max(at_least) + error_of_parameters * error_of_parameters).sqrt();
        all
    }

    /// How many standard errors more happened than was expected.
    #[must_use]
    pub fn z(&self) -> f64 {
        if self.standard_error > 0.0 { (self.actual - self.expected) / self.standard_error } else { 0.0 }
    }

    /// What can be said, where `purchases` were expected, or, of what is known once they are made, were made.
    #[must_use]
    pub fn verdict(&self, purchases: f64) -> Verdict {
        let differs = (self.actual - self.expected).abs() >= DEVIATION_ALARM * self.expected;
        match purchases >= PURCHASES_JUDGED_MIN {
            false => Verdict::TooEarly,
            true if differs && self.z().abs() >= Z_ALARM => Verdict::Drifting,
            true => Verdict::Steady,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_what_customers_scatter_but_no_less_than_the_model_says_and_what_is_not_known_of_the_parameters() {
        let scattered: Vec<Seen> = (0..100).map(|i| Seen::purchases(if i < 10 { 20.0 } else { 0.0 }, 1.0)).collect();
        let all = Comparison::of(&scattered, 0.0);
        assert!((all.standard_error - (10.0_f64 * 19.0 * 19.0 + 90.0).sqrt()).abs() < 1e-9);
        assert!((all.z() - 100.0 / all.standard_error).abs() < 1e-12);
        let exact = Comparison::of(&[Seen::purchases(1.0, 1.0); 100], 0.0);
        assert!((exact.standard_error - 10.0).abs() < 1e-12, "Poisson's");
        let unsure = Comparison::of(&[Seen::purchases(1.0, 1.0); 100], 24.0);
        assert!((unsure.standard_error - 26.0).abs() < 1e-12);
        assert!(Comparison::of(&[], 0.0).z().abs() < 1e-12);
    }

    #[test]
    fn a_difference_counts_if_it_is_certain_and_large_and_enough_happened() {
        let of = |actual, expected, standard_error| Comparison { actual, expected, standard_error };
        assert_eq!(of(0.0, 99.0, 1.0).verdict(99.0), Verdict::TooEarly);
        assert_eq!(of(0.0, 100.0, 1.0).verdict(100.0), Verdict::Drifting);
        assert_eq!(of(1_300.0, 1_000.0, 101.0).verdict(1_000.0), Verdict::Steady, "not certain");
        assert_eq!(of(1_090.0, 1_000.0, 1.0).verdict(1_000.0), Verdict::Steady, "not large");
        assert_eq!(of(1_300.0, 1_000.0, 99.0).verdict(1_000.0), Verdict::Drifting);
        assert_eq!(of(700.0, 1_000.0, 99.0).verdict(1_000.0), Verdict::Drifting);
    }
}
