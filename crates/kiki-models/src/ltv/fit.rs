//! What a fit says: the model, how it was found, and how far the data determine it.
//!
//! The covariance is that of the logarithms of the parameters: the inverse of the observed information, which is the
//! exact second derivative at the optimum. Intervals of parameters are the exponentials of intervals of their logarithms,
//! so they stay positive. Those of whatever follows from the parameters are by the delta method, with the slope by each
//! logarithm from a central difference: the functions are smooth and accurate to twelve digits, which leaves the slope
//! eight, and an interval has use for three. They tell what a larger sample would settle, not how one customer's
//! purchases scatter about their expectation.

use std::array;

use serde::{Deserialize, Serialize};

use super::ParameterError;

/// The normal distribution is within this many standard deviations of its mean with a probability of 95 %.
const DEVIATIONS_95: f64 = 1.959_963_984_540_054;
/// Half of the central difference, in the logarithm of a parameter.
const STEP: f64 = 1e-4;

/// A model of named positive parameters.
pub trait Parametric: Sized {
    /// The parameters' names, as the papers have them.
    fn names() -> &'static [&'static str];

    /// Their values, in the order of the names.
    fn values(&self) -> Vec<f64>;

    /// The model with other values.
    ///
    /// # Errors
    /// A value is outside its range, or their number is not that of the names.
    fn with_values(values: &[f64]) -> Result<Self, ParameterError>;
}

/// A model and how it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit<M> {
    /// The model of the largest likelihood.
    pub model: M,
    /// The logarithm of that likelihood.
    pub log_likelihood: f64,
    /// Steps that were tried.
    pub iterations: u32,
    /// The largest component of the gradient that is left, a customer.
    pub gradient: f64,
    /// Customers that it was fitted to.
    pub customers: u64,
    /// How far the data determine the parameters.
    pub covariance: Covariance,
}

/// The covariance of the logarithms of a model's parameters, in the order of their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f64>>")]
pub struct Covariance(Vec<Vec<f64>>);

/// Numbers are not a covariance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a covariance is a square of at most 4 by 4 numbers within -100 and 100 whose diagonal is not negative")]
pub struct CovarianceError;

const PARAMETERS_MAX: usize = 4;
/// Far more than what a fit may leave undetermined.
const ENTRY_MAX: f64 = 100.0;

impl TryFrom<Vec<Vec<f64>>> for Covariance {
    type Error = CovarianceError;

    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self, CovarianceError> {
        let square = rows.len() <= PARAMETERS_MAX && rows.iter().all(|row| row.len() == rows.len());
        let finite = rows.iter().flatten().all(|entry| entry.abs() <= ENTRY_MAX);
        let positive = square && rows.iter().enumerate().all(|(i, row)| row[i] >= 0.0);
        if square && finite && positive { Ok(Self(rows)) } else { Err(CovarianceError) }
    }
}

impl Covariance {
    pub(super) fn new<const N: usize>(rows: &[[f64; N]; N]) -> Self {
        Self(rows.iter().map(|row| row.to_vec()).collect())
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.0
    }

    /// The variance of a number with these slopes by the logarithms. It lacks what parameters beyond the covariance's
    /// size would add.
    pub(super) fn variance(&self, slopes: &[f64]) -> f64 {
        let along = |row: &Vec<f64>| row.iter().zip(slopes).map(|(entry, slope)| entry * slope).sum::<f64>();
        // Rounding must not make it negative.
        self.0.iter().zip(slopes).map(|(row, slope)| slope * along(row)).sum::<f64>().max(0.0)
    }

    /// `of` the model, with its standard error.
    pub fn estimate<M: Parametric>(&self, model: &M, scale: Scale, of: impl Fn(&M) -> f64) -> Estimate {
        let [slopes] = slopes(model, |model| [of(model)]);
        Estimate::new(of(model), self.variance(&slopes).sqrt(), scale)
    }
}

/// What numbers a quantity can have, which its interval keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// None that is negative: the interval is made in the logarithm.
    Positive,
    /// Those between 0 and 1: the interval is made in the log odds.
    Probability,
}

/// A number that follows from fitted parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The lower end of the interval that holds the true number with a confidence of 95 %.
    pub low: f64,
    /// The upper end of it.
    pub high: f64,
}

impl Estimate {
    pub(super) fn new(value: f64, standard_error: f64, scale: Scale) -> Self {
        let reach = DEVIATIONS_95 * standard_error;
        let certain = reach.is_nan() || reach <= 0.0;
        let (low, high) = match scale {
            _ if certain => (value, value),
            Scale::Positive if value > 0.0 => {
                (value * (-reach / value).exp(), (value * (reach / value).exp()).min(f64::MAX))
            }
            Scale::Positive => (0.0, reach),
            Scale::Probability if value > 0.0 && value < 1.0 => {
                let odds = value / (1.0 - value);
                let by = (reach / (value * (1.0 - value))).exp().min(f64::MAX);
                (odds / (by + odds), 1.0 / (1.0 + 1.0 / (odds * by)))
            }
            Scale::Probability => (value, value),
        };
        // Rounding must not put the number outside.
        let (low, high) = (low.min(value), high.max(value));
        Self { value, standard_error: if certain { 0.0 } else { standard_error }, low, high }
    }
}

/// A parameter with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ParameterEstimate {
    /// The parameter, as the paper names it.
    pub name: &'static str,
    /// Its value.
    #[serde(flatten)]
    pub estimate: Estimate,
}

impl<M: Parametric> Fit<M> {
    /// The parameters with their standard errors.
    #[must_use]
    pub fn parameters(&self) -> Vec<ParameterEstimate> {
        let variances = self.covariance.0.iter().enumerate().map(|(i, row)| row[i]);
        let named = M::names().iter().zip(self.model.values()).zip(variances);
        let estimate = |value: f64, variance: f64| Estimate::new(value, value * variance.sqrt(), Scale::Positive);
        named
            .map(|((&name, value), variance)| ParameterEstimate { name, estimate: estimate(value, variance) })
            .collect()
    }

    /// What `of` makes of the model, with its standard error. `of` is called nine times for four parameters; a sum over
    /// customers is one call's work for each.
    pub fn estimate(&self, scale: Scale, of: impl Fn(&M) -> f64) -> Estimate {
        self.covariance.estimate(&self.model, scale, of)
    }
}

/// What `of` makes of two models that were fitted apart, such as a value of how often and how much: a positive number, whose
/// variance is what both add to it.
pub fn joint_estimate<P: Parametric, S: Parametric>(
    (purchases, of_purchases): (&P, &Covariance),
    (spend, of_spend): (&S, &Covariance),
    of: impl Fn(&P, &S) -> f64,
) -> Estimate {
    let [by_purchases] = slopes(purchases, |purchases| [of(purchases, spend)]);
    let [by_spend] = slopes(spend, |spend| [of(purchases, spend)]);
    let variance = of_purchases.variance(&by_purchases) + of_spend.variance(&by_spend);
    Estimate::new(of(purchases, spend), variance.sqrt(), Scale::Positive)
}

/// The slopes of each number of `of` by the logarithm of each parameter. At the end of a parameter's range the difference is
/// one-sided.
pub(super) fn slopes<M: Parametric, const N: usize>(model: &M, of: impl Fn(&M) -> [f64; N]) -> [Vec<f64>; N] {
    let values = model.values();
    let moved = |i: usize, by: f64| {
        let mut moved = values.clone();
        moved[i] *= by.exp();
        M::with_values(&moved).map_or_else(|_| (of(model), 0.0), |model| (of(&model), by))
    };
    let slopes = |i: usize| -> [f64; N] {
        let ((below, from), (above, to)) = (moved(i, -STEP), moved(i, STEP));
        array::from_fn(|n| if to > from { (above[n] - below[n]) / (to - from) } else { 0.0 })
    };
    let by_parameter: Vec<[f64; N]> = (0..values.len()).map(slopes).collect();
    array::from_fn(|n| by_parameter.iter().map(|slopes| slopes[n]).collect())
}

/// Why no model fits the data.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FitError {
    /// Not more customers than parameters.
    #[error("{customers} customers are too few to fit a model: it takes at least {least}")]
    TooFewCustomers {
        /// Customers that could be used.
        customers: u64,
        /// How many it takes.
        least: u64,
    },
    /// Nobody bought again, so nothing tells a slow customer from a lost one.
    #[error("no customer has a repeat purchase within the calibration period")]
    NoRepeats,
    /// The likelihood does not tell one value of a parameter from another.
    #[error(
        "the data do not determine the parameter {parameter}: the likelihood is flat, or rises without end; more \
         customers, or a longer period, may help"
    )]
    Undetermined {
        /// The parameter, as the paper names it.
        parameter: &'static str,
    },
    /// Orders differ so much that their mean over customers is infinite (q of at most 1).
    #[error("the values of purchases differ too much: with q = {q:.3} their mean is infinite (it takes q > 1)")]
    InfiniteMean {
        /// The parameter q where the likelihood is largest.
        q: f64,
    },
    /// The search ended before the gradient vanished.
    #[error("the fit did not converge in {iterations} steps: the gradient is still {gradient:e}")]
    NotConverged {
        /// Steps that were tried.
        iterations: u32,
        /// The largest component of the gradient.
        gradient: f64,
    },
}

#[cfg(test)]
mod tests;
