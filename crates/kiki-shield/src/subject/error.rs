//! What can go wrong with subject requests, and what callers are told.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use kiki_kit::problem::Problem;
use kiki_store::StoreError;
use kiki_store::personal::{KeysError, Unreadable};
use kiki_types::UnixMillis;

use super::model::{Impossible, Kind, State};
use crate::error::ShieldError;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubjectError {
    /// As the rest of shield says it.
    #[error(transparent)]
    Shield(#[from] ShieldError),
    /// It does not follow from where the request stands.
    #[error(transparent)]
    State(#[from] Impossible),
    /// It is being carried out at the moment, or was in part.
    #[error("the request is being carried out")]
    Running,
    /// It makes use of another right.
    #[error("the request is of the type {0}")]
    WrongType(Kind),
    /// What must be done before was not done yet.
    #[error("the request has not come so far")]
    TooEarly,
    /// Every store was asked; it waits for the source of what they compute.
    #[error("the request waits for its source to be corrected")]
    AwaitsSource,
    /// The law knows no extension of it, or its time is over.
    #[error("no more time can be taken")]
    NoExtension,
    /// Another code may be sent from this time on.
    #[error("a code was sent a moment ago")]
    CodeTooSoon { now: UnixMillis, not_before: UnixMillis },
    /// The code is not this one.
    #[error("the code is wrong")]
    CodeWrong { left: i64 },
    /// There is no code that may be tried.
    #[error("no code may be tried")]
    CodeSpent,
    /// The person's key is gone, and with it what was written.
    #[error("the person was erased")]
    Erased,
    /// Services that forget only whom they can be told by name have not done so yet.
    #[error("some services must be told the name first")]
    NeedName(Vec<&'static str>),
    /// Erasing has begun, so nothing can be held back.
    #[error("the person is being erased")]
    Erasing,
    /// The export cannot be written.
    #[error("the export cannot be written")]
    Export(#[from] std::io::Error),
    /// The keys of people.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl From<StoreError> for SubjectError {
    fn from(error: StoreError) -> Self {
        Self::Shield(error.into())
    }
}

impl From<Unreadable> for SubjectError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Erased | Unreadable::EpochDestroyed => Self::Erased,
            Unreadable::Damaged => Self::from(StoreError::Personal(error)),
        }
    }
}

impl From<SubjectError> for Problem {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Shield(error) => error.into(),
            SubjectError::State(Impossible(state)) => wrong_state(state),
            SubjectError::Running => Self::conflict(
                "request_running",
                "The request is being carried out, or was in part: it cannot be stopped.",
            ),
            SubjectError::WrongType(kind) => {
                Self::conflict("wrong_type", format!("The request is of the type {kind}: that is for another."))
                    .with("request_type", kind.as_str())
            }
            SubjectError::TooEarly => Self::conflict(
                "too_early",
                "The request has not come so far: the stores have yet to do what comes before.",
            ),
            SubjectError::AwaitsSource => Self::conflict(
                "awaits_source",
                "Every store was asked: the request waits until an officer says that the source was corrected.",
            ),
            SubjectError::NoExtension => Self::conflict(
                "no_extension",
                "No more time can be taken: its last day is over, or the law knows no extension of it.",
            ),
            SubjectError::CodeTooSoon { now, not_before } => {
                let seconds = u64::try_from(not_before.0 - now.0).unwrap_or_default().div_ceil(1000);
                Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "code_too_soon",
                    "Codes are sent a minute apart, three in 24 hours.",
                )
                .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
            }
            SubjectError::CodeWrong { left } => {
                Self::new(StatusCode::FORBIDDEN, "code_wrong", "The code is another one.").with("tries_left", left)
            }
            SubjectError::CodeSpent => Self::new(
                StatusCode::FORBIDDEN,
                "code_spent",
                "There is no code that may be tried: it is older than ten minutes, was tried three times, or none was sent.",
            ),
            SubjectError::Erased => {
                Self::new(StatusCode::GONE, "erased", "The person was erased; what was written went with their key.")
            }
            SubjectError::Erasing => {
                Self::conflict("erasing", "The person is being erased already: nothing can be held back.")
            }
            SubjectError::NeedName(services) => Self::conflict(
                "name_needed",
                format!(
                    "Without the key nobody can tell {} whom to erase. Wait until they did, or erase the person there by hand and say so with by_hand=true.",
                    services.join(", ")
                ),
            )
            .with("stores", services),
            SubjectError::Export(error) => Self::internal(&error),
            SubjectError::Keys(KeysError::Store(error)) => ShieldError::from(error).into(),
            SubjectError::Keys(error) => {
                tracing::error!(%error, "the keys of people do not do their work");
                Self::unavailable(
                    "keys_unavailable",
                    "The keys of people cannot be changed now.",
                    Duration::from_secs(5),
                )
            }
        }
    }
}

fn wrong_state(state: State) -> Problem {
    Problem::conflict("wrong_state", format!("The request is {state}: that does not follow from it."))
        .with("state", state.as_str())
}
