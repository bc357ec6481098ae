//! What can go wrong in engage, and how it is told.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use kiki_kit::problem::{GRPC_FIELD_KEY, Problem, logged_status};
use kiki_store::StoreError;
use tonic::Status;

use super::customers::ValueAway;
use super::gate::GateError;
use super::message::WrongStep;

/// When a caller may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why engage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngageError {
    /// A field is wrong.
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: String },
    /// A name that stands in the clear looks like a person's address or number.
    #[error("{0} looks like a person's address or number")]
    PersonalName(&'static str),
    /// The tenant has no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The key came before with another request.
    #[error("the idempotency key came before with another request")]
    KeyConflict,
    /// The same request is being worked on.
    #[error("the request with this idempotency key is in progress")]
    KeyInProgress,
    /// Shield did not answer. Nothing was sent.
    #[error("shield is away: {0}")]
    ShieldAway(String),
    /// Shield will not take what it was asked.
    #[error("shield rejected the request: {}", logged_status(.0))]
    ShieldRejected(Status),
    /// The value service did not answer.
    #[error(transparent)]
    ValueAway(#[from] ValueAway),
    /// The campaign is being run, or was by a process that ended less than a lease ago.
    #[error("the campaign is being run")]
    RunInProgress { left: Duration },
    /// Other campaigns are being run.
    #[error("too many campaigns are being run")]
    TooManyRuns,
    /// The process is ending, or the task was let go.
    #[error("the service is ending")]
    Ending,
    /// A message was asked to take a step that it cannot take.
    #[error(transparent)]
    WrongStep(#[from] WrongStep),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EngageError {
    pub(super) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }
}

impl From<GateError> for EngageError {
    fn from(error: GateError) -> Self {
        match error {
            GateError::Away(why) => Self::ShieldAway(why),
            GateError::Rejected(status) => Self::ShieldRejected(status),
        }
    }
}

impl From<EngageError> for Problem {
    fn from(error: EngageError) -> Self {
        match error {
            EngageError::Invalid { field, why } => Self::invalid(field, why),
            EngageError::PersonalName(field) => personal_name(field),
            EngageError::NotFound(what) => Self::not_found(what),
            EngageError::KeyConflict => {
                Self::conflict("idempotency_conflict", "The Idempotency-Key came before with another request.")
            }
            EngageError::KeyInProgress => {
                Self::conflict("idempotency_in_progress", "The same request is being worked on. Ask again later.")
            }
            EngageError::ShieldAway(why) => {
                tracing::warn!(why, "shield is away");
                Self::unavailable("shield_unavailable", "Shield does not answer, so nothing was sent.", RETRY_AFTER)
            }
            EngageError::ShieldRejected(status) => shield_rejected(&status),
            EngageError::ValueAway(error) => {
                tracing::warn!(%error, "the value service is away");
                Self::unavailable("value_unavailable", "The value service does not answer.", RETRY_AFTER)
            }
            EngageError::RunInProgress { left } => run_in_progress(left),
            EngageError::TooManyRuns => {
                Self::unavailable("too_many_runs", "Other campaigns are being run. Ask again later.", RETRY_AFTER)
            }
            EngageError::Ending => Self::unavailable("ending", "The service is ending.", RETRY_AFTER),
            EngageError::WrongStep(error) => Self::internal(&error),
            EngageError::Store(error) if error.is_unavailable() => {
                tracing::warn!(%error, "the database is away");
                Self::unavailable("store_unavailable", "The database does not answer.", RETRY_AFTER)
            }
            EngageError::Store(error) => Self::internal(&error),
        }
    }
}

fn personal_name(field: &'static str) -> Problem {
    let detail = format!("{field}: looks like a person's address or number. Names stand in the log in the clear.");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "personal_name", detail).with_field(field)
}

/// `left` is an upper bound: a run that ends well ends its lease with it.
fn run_in_progress(left: Duration) -> Problem {
    let seconds = left.as_millis().div_ceil(1_000).max(1);
    let detail =
        "The campaign is being run. If the process that ran it ended, it can be run again when its lease ends.";
    Problem::conflict("run_in_progress", detail)
        .with_header(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)))
}

/// Shield names the field that it did not like, in words that are meant for callers.
fn shield_rejected(status: &Status) -> Problem {
    let field = status.metadata().get(GRPC_FIELD_KEY).and_then(|field| field.to_str().ok());
    let problem = Problem::malformed(format!("Shield refuses the request: {}", status.message()));
    match field {
        Some(field) => problem.with_field(field),
        None => problem,
    }
}
