//! Customer lifetime value where customers leave without saying so.
//!
//! Two models, fitted apart and multiplied: [`BgNbd`] says how often a customer will buy again and whether they are
//! still there, [`GammaGamma`] how much they spend a time, [`discounted_value`] puts both together. Start with
//! [`Summary`], which makes the models' input out of purchases, or with [`History`], if that is known.
//!
//! Time is in weeks since a customer's first purchase, money in units of one currency. It holds throughout: a value of
//! [`History`], [`BgNbd`] or [`GammaGamma`] is within its bounds, and with such values every prediction is a finite
//! number. A fit converges by the norm of its gradient or says why not; data that do not determine a parameter are an
//! error that names it, never an arbitrary number.

mod bgnbd;
mod gamma_gamma;
mod history;
mod newton;
mod simulate;
mod special;
mod summary;
mod value;

pub use bgnbd::BgNbd;
pub use gamma_gamma::{GammaGamma, Spend};
pub use history::{History, HistoryError, WEEKS_MAX};
pub use newton::{Fit, FitError};
pub use simulate::{Simulated, Uniform, simulate};
pub use summary::{DAYS_PER_WEEK, Purchase, Summary};
pub use value::{DISCOUNT_MAX, HORIZON_WEEKS_MAX, Terms, TermsError, WEEKS_PER_MONTH, discounted_value};

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
