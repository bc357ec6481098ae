//! What can go wrong at the value service, and what its callers are told.

use std::time::Duration;

use http::StatusCode;
use kiki_kit::problem::{GRPC_CODE_KEY, Problem};
use kiki_models::ltv::HistoryError;
use kiki_store::StoreError;
use tonic::Status;
use tonic::metadata::MetadataValue;

/// Why the value service did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// A field is wrong.
    #[error("{field}: {detail}")]
    Invalid {
        /// Its name, with its path within a batch, such as `requests[3].history.recency`.
        field: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The model does not know the customer.
    #[error("the model does not know the customer {customer:?}")]
    UnknownCustomer {
        /// The customer.
        customer: String,
        /// The field that names them, with its path within a batch.
        field: String,
    },
    /// No model was saved yet.
    #[error("no model was saved yet")]
    NoModel,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A customer that was saved is no history: the tables were changed from outside.
    #[error("a saved customer is no history")]
    Damaged(#[from] HistoryError),
}

impl ValueError {
    /// A wrong field.
    pub(super) fn invalid(field: &str, detail: impl std::fmt::Display) -> Self {
        Self::Invalid { field: field.to_owned(), detail: detail.to_string() }
    }

    /// The same, about the `index`th request of a batch.
    pub(super) fn within_batch(self, index: usize) -> Self {
        let path = |field: String| format!("requests[{index}].{field}");
        match self {
            Self::Invalid { field, detail } => Self::Invalid { field: path(field), detail },
            Self::UnknownCustomer { customer, field } => Self::UnknownCustomer { customer, field: path(field) },
            Self::NoModel | Self::Store(_) | Self::Damaged(_) => self,
        }
    }
}

const SOON: Duration = Duration::from_secs(1);
const NO_MODEL: &str = "no_model";

impl From<ValueError> for Problem {
    fn from(error: ValueError) -> Self {
        match error {
            ValueError::Invalid { field, detail } => Self::invalid(field, detail),
            ValueError::UnknownCustomer { customer, field } => {
                let detail = format!("The model does not know the customer {customer:?}.");
                Self::new(StatusCode::NOT_FOUND, "unknown_customer", detail).with_field(field)
            }
            ValueError::NoModel => Self::conflict(
                NO_MODEL,
                "There is no model yet. Make one with: kiki value fit FILE --calibrate-until DATE --save",
            ),
            ValueError::Store(error) if error.is_unavailable() => {
                tracing::warn!(%error, "the database is away");
                Self::unavailable("database_unavailable", "The database does not answer.", SOON)
            }
            ValueError::Store(error) => Self::internal(&error),
            ValueError::Damaged(error) => Self::internal(&error),
        }
    }
}

impl From<ValueError> for Status {
    fn from(error: ValueError) -> Self {
        let is_no_model = matches!(error, ValueError::NoModel);
        let problem = Problem::from(error);
        if !is_no_model {
            return problem.into();
        }
        let mut status = Self::failed_precondition(problem.detail());
        status.metadata_mut().insert(GRPC_CODE_KEY, MetadataValue::from_static(NO_MODEL));
        status
    }
}
