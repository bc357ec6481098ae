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
    /// The tenant has no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// There is less than two weeks of revenue.
    #[error("the model's order log has less than two weeks")]
    NoBaseline,
    /// The customers of a model are not kept any more.
    #[error("the customers of version {0} are not kept any more")]
    CustomersGone(i64),
    /// No model was in force before the current one.
    #[error("no model was in force before the current one")]
    NothingBefore,
    /// Other models are being fitted.
    #[error("too many models are being fitted")]
    TooManyTrainings,
    /// The key came before with another request.
    #[error("the idempotency key came before with another request")]
    KeyConflict,
    /// The same request is being worked on.
    #[error("the request with this idempotency key is in progress")]
    KeyInProgress,
    /// The process is ending.
    #[error("the service is ending")]
    Ending,
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
        self.within("requests", index)
    }

    /// The same, about the `index`th of a list.
    pub(super) fn within(self, list: &str, index: usize) -> Self {
        let path = |field: String| format!("{list}[{index}].{field}");
        match self {
            Self::Invalid { field, detail } => Self::Invalid { field: path(field), detail },
            Self::UnknownCustomer { customer, field } => Self::UnknownCustomer { customer, field: path(field) },
            other => other,
        }
    }
}

const SOON: Duration = Duration::from_secs(1);
/// When a model that is being fitted may have come to its end.
const TRAINING: Duration = Duration::from_secs(10);
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
            ValueError::NotFound(what) => Self::not_found(what),
            ValueError::NoBaseline => {
                Self::conflict("no_baseline", "A baseline takes two weeks of revenue; the model's order log has less.")
            }
            ValueError::CustomersGone(version) => Self::conflict(
                "customers_gone",
                format!("The customers of version {version} are not kept any more. Train a model anew."),
            ),
            ValueError::NothingBefore => {
                Self::conflict("nothing_before", "No model was in force before the current one.")
            }
            ValueError::TooManyTrainings => {
                Self::unavailable("too_many_trainings", "Other models are being fitted. Ask again later.", TRAINING)
            }
            ValueError::KeyConflict => {
                Self::conflict("idempotency_conflict", "The Idempotency-Key came before with another request.")
            }
            ValueError::KeyInProgress => {
                Self::conflict("idempotency_in_progress", "The same request is being worked on. Ask again later.")
            }
            ValueError::Ending => Self::unavailable("ending", "The service is ending.", SOON),
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
