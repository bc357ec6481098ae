//! Customer lifetime value where customers leave without saying so.
//!
//! Two models, fitted apart and multiplied: a [`PurchaseModel`] ([`BgNbd`], [`MbgNbd`] or [`ParetoNbd`]) says how often a
//! customer will buy again and whether they are still there, [`GammaGamma`] how much they spend a time,
//! [`discounted_value`] puts both together. Start with [`Summary`], which makes the models' input out of purchases, or with
//! [`History`], if that is known. Where there are occasions to buy rather than a time in which to, such as a yearly appeal,
//! [`BgBb`] takes the place of the first.
//!
//! Time is in weeks since a customer's first purchase, money in units of one currency. It holds throughout: a value of
//! [`History`] or of a model is within its bounds, and with such values every prediction is a finite number. A fit
//! converges by the norm of its gradient or says why not; data that do not determine a parameter are an error that names
//! it, never an arbitrary number. How far they determine it is in [`Fit`].

mod beta_geometric;
mod bgbb;
mod cohort;
mod drift;
mod fit;
mod gamma_gamma;
mod groups;
mod history;
mod model;
mod newton;
mod parallel;
mod pareto;
mod quadrature;
mod sample;
mod simulate;
mod special;
mod summary;
mod value;

pub use beta_geometric::{BetaGeometric, BgNbd, MbgNbd};
pub use bgbb::{BgBb, OPPORTUNITIES_MAX, Opportunities};
pub use cohort::{CohortEstimate, cohort_estimate};
pub use drift::{Comparison, DEVIATION_ALARM, PURCHASES_JUDGED_MIN, Seen, Verdict, Z_ALARM};
pub use fit::{
    Covariance, CovarianceError, Estimate, Fit, FitError, ParameterEstimate, Parametric, Scale, joint_estimate,
};
pub use gamma_gamma::{GammaGamma, Spend};
pub use history::{History, HistoryError, WEEKS_MAX};
pub use model::{Expected, Prepared, PurchaseModel};
pub use pareto::ParetoNbd;
pub use simulate::{Leaves, Life, Lives, Simulated, Uniform, simulate, simulate_history, simulate_spend};
pub use summary::{DAYS_PER_WEEK, Purchase, Summary};
pub use value::{
    DISCOUNT_MAX, HORIZON_WEEKS_MAX, Terms, TermsError, WEEKS_PER_MONTH, discounted_value, discounted_values,
};

/// The least and the largest value that a parameter of a model may have.
pub const PARAMETER_RANGE: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// A parameter of a model is not a number within its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name}: {value} is not between {least} and {most}")]
pub struct ParameterError {
    /// The parameter.
    pub name: &'static str,
    /// What it was to be.
    pub value: f64,
    /// The least that it may be.
    pub least: f64,
    /// The most that it may be.
    pub most: f64,
}

/// Checks one parameter.
fn parameter(name: &'static str, value: f64, (least, most): (f64, f64)) -> Result<f64, ParameterError> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(ParameterError { name, value, least, most }) }
}

/// The values, if they are `N`.
fn exactly<const N: usize>(values: &[f64]) -> Result<[f64; N], ParameterError> {
    let number = |count: usize| count as f64;
    let wrong = |_| ParameterError {
        name: "number of parameters",
        value: number(values.len()),
        least: number(N),
        most: number(N),
    };
    values.try_into().map_err(wrong)
}
