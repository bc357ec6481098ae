//! What can go wrong with the register of breaches, and what callers are told.

use kiki_kit::problem::Problem;
use kiki_store::StoreError;

use super::model::BREACHES_MAX;
use crate::error::ShieldError;

/// Why a verb of the register was not done.
#[derive(Debug, thiserror::Error)]
pub enum BreachError {
    /// As elsewhere at shield: a wrong field, an unknown id, a failed database.
    #[error(transparent)]
    Shield(#[from] ShieldError),
    /// Fields without which the breach cannot be closed.
    #[error("the breach cannot be closed without {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// It has ended.
    #[error("the breach is closed")]
    Closed,
    /// The register is full.
    #[error("a tenant may have {BREACHES_MAX} breaches")]
    TooMany,
}

impl From<StoreError> for BreachError {
    fn from(error: StoreError) -> Self {
        Self::Shield(error.into())
    }
}

impl From<BreachError> for Problem {
    fn from(error: BreachError) -> Self {
        match error {
            BreachError::Shield(error) => error.into(),
            BreachError::Missing(fields) => {
                let detail = format!("The breach cannot be closed without {}.", fields.join(", "));
                Self::conflict("breach_incomplete", detail).with("missing", fields)
            }
            BreachError::Closed => {
                Self::conflict("breach_closed", "The breach is closed. Open it again first: {\"closed\": false}.")
            }
            BreachError::TooMany => {
                Self::conflict("too_many_breaches", format!("A tenant may have {BREACHES_MAX} breaches."))
            }
        }
    }
}
