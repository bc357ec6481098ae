//! What can go wrong at shield, and what its callers are told.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use kiki_kit::problem::Problem;
use kiki_spend::change::KEYED_CHANGES_MAX;
use kiki_spend::command::{Bound, Resolution};
use kiki_spend::{Digest, OwnerError};
use kiki_store::StoreError;
use kiki_store::personal::KeysError;
use kiki_types::Bar;
use kiki_types::money::format_micros;
use serde_json::json;
use tonic::Status;

use crate::policy::{MISTAKES_MAX, PolicyErrors};

/// Why shield did not do what it was asked. A denial of money is not among these: it is an answer.
#[derive(Debug, thiserror::Error)]
pub enum ShieldError {
    /// A field is wrong.
    #[error("{field}: {detail}")]
    Invalid {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// A name that stands in the log in the clear looks like a person's.
    #[error("{0} looks like a person's address or number")]
    PersonalName(&'static str),
    /// Something stands against what was to be agreed to.
    #[error("{0} stands against it")]
    Barred(Bar),
    /// Another text has this version.
    #[error("another text has this version")]
    TextDiffers,
    /// Entries are handed over in the name of shield's own database, by who is not its relay.
    #[error("the relay key is not that of this database")]
    NotTheRelay,
    /// No such thing for this tenant.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyConflict,
    /// The request with this idempotency key is being worked on.
    #[error("the request with this idempotency key is in progress")]
    KeyInProgress,
    /// The authorization has ended in another way before.
    #[error("the authorization is {} already", .0.as_str())]
    Resolved(Resolution),
    /// The authorization waits for approval.
    #[error("the authorization waits for approval")]
    Waiting,
    /// The authorization does not wait for approval, and never did.
    #[error("the authorization needs no approval")]
    NoApproval,
    /// More was to be refunded than is left to refund: millionths.
    #[error("only {0} millionths are left to refund")]
    RefundTooLarge(i64),
    /// The constraint at this place of a mandate is of a type that is not known.
    #[error("constraint {0} is of a type that is not known")]
    UnknownConstraint(usize),
    /// The policy changed again and again while the request was judged.
    #[error("the policy changes faster than requests are judged")]
    PolicyChanges,
    /// The policy holds mistakes.
    #[error("{0}")]
    Policy(#[from] PolicyErrors),
    /// The texts of the policy in force are not in the database.
    #[error("the texts of policy {0} are not in the database")]
    PolicyLost(Digest),
    /// Reading a policy or a folder of it broke off.
    #[error("the policy was not read to its end")]
    Reading(#[source] tokio::task::JoinError),
    /// A bound of the governor is reached.
    #[error("no room for more {0:?}")]
    Exhausted(Bound),
    /// Nobody decided.
    #[error("nobody decided: {0}")]
    Undecided(#[from] OwnerError),
    /// What is asked for holds entries that were pruned: those before this one.
    #[error("the entries before {0} were pruned")]
    Pruned(u64),
    /// No checkpoint covers the entry yet.
    #[error("no checkpoint covers entry {0} yet")]
    ProofNotReady(u64),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys of people cannot be changed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// Not every service of the process is there yet.
    #[error("not every service is there yet")]
    Starting,
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ShieldError {
    /// Whether it is certain that the governor decided nothing, and will not.
    pub(crate) const fn has_decided_nothing(&self) -> bool {
        self.is_refusal() || matches!(self, Self::Exhausted(_) | Self::Undecided(OwnerError::Busy))
    }

    /// Whether the governor would answer the same again.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Invalid { .. } | Self::NotFound(_))
    }

    /// A wrong field.
    pub(crate) fn invalid(field: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::Invalid { field, detail: detail.to_string() }
    }
}

const SOON: Duration = Duration::from_secs(1);

impl From<ShieldError> for Problem {
    fn from(error: ShieldError) -> Self {
        match error {
            ShieldError::Invalid { field, detail } => Self::invalid(field, detail),
            ShieldError::PersonalName(field) => personal_name(field),
            ShieldError::Barred(bar) => barred(bar),
            ShieldError::TextDiffers => text_differs(),
            ShieldError::NotTheRelay => not_the_relay(),
            ShieldError::NotFound(what) => Self::not_found(what),
            ShieldError::KeyConflict => Self::conflict(
                "idempotency_conflict",
                "The idempotency key was used for a request with other values. Send a new key for a new request.",
            ),
            ShieldError::KeyInProgress => key_in_progress(),
            ShieldError::Resolved(state) => Self::conflict(
                "already_resolved",
                format!("The authorization is {} already; each is resolved once.", state.as_str()),
            )
            .with("state", state.as_str()),
            ShieldError::Waiting => Self::conflict(
                "approval_pending",
                "Somebody has to approve the authorization before its money may move.",
            ),
            ShieldError::NoApproval => {
                Self::conflict("no_approval_needed", "The authorization does not wait for approval, and never did.")
            }
            ShieldError::RefundTooLarge(left) => {
                let left = format_micros(left.into());
                let detail = format!("amount: only {left} of what was captured is left to refund.");
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "refund_too_large", detail)
                    .with_field("amount")
                    .with("refundable", left)
            }
            ShieldError::UnknownConstraint(place) => unknown_constraint(place),
            ShieldError::PolicyChanges => Self::unavailable(
                "policy_changes",
                "The policy changed again and again while the request was judged. Nobody decided.",
                SOON,
            ),
            ShieldError::Policy(mistakes) => refused_policy(&mistakes),
            ShieldError::PolicyLost(version) => {
                tracing::error!(%version, "the texts of the policy in force are not in the database; put it again");
                Self::unavailable(
                    "policy_unavailable",
                    format!("The texts of the policy in force, {version}, are not in the database. Nobody decided."),
                    SOON,
                )
            }
            ShieldError::Reading(error) => Self::internal(&error),
            ShieldError::Exhausted(Bound::Changes) => changes_exhausted(),
            ShieldError::Exhausted(of) => Self::unavailable(
                "authority_exhausted",
                format!("The governor keeps as many {} as it may. Nobody decided.", plural(of)),
                Duration::from_secs(60),
            ),
            ShieldError::Undecided(error) => {
                Self::unavailable("authority_unavailable", format!("Nobody decided: {error}."), SOON)
            }
            ShieldError::Pruned(minimum) => pruned(minimum),
            ShieldError::ProofNotReady(index) => proof_not_ready(index),
            ShieldError::Store(error) if error.is_unavailable() => {
                tracing::warn!(%error, "the database is away");
                Self::unavailable("database_unavailable", "The database does not answer.", SOON)
            }
            ShieldError::Store(error) => Self::internal(&error),
            ShieldError::Keys(KeysError::Store(error)) => ShieldError::Store(error).into(),
            ShieldError::Keys(error) => Self::internal(&error),
            ShieldError::Starting => {
                Self::unavailable("starting", "Not every service of this process is there yet.", SOON)
            }
            ShieldError::Log(error) => Self::internal(&*error),
        }
    }
}

fn unknown_constraint(place: usize) -> Problem {
    let detail = "The mandate has a constraint of a type that no budget keeps, so none of it is in force.";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_constraint", detail)
        .with_field(format!("constraints[{place}].type"))
}

/// Every mistake with its place, as far as they are told.
fn refused_policy(mistakes: &PolicyErrors) -> Problem {
    let place = |number: usize| (number > 0).then_some(number);
    let told = mistakes.0.iter().take(MISTAKES_MAX).map(|mistake| {
        json!({"rule_set": mistake.rule_set, "line": place(mistake.line), "column": place(mistake.column),
            "message": mistake.message, "help": mistake.help})
    });
    let detail = mistakes.to_string();
    Problem::invalid("rule_sets", detail).with("mistakes", told.collect::<Vec<_>>())
}

fn personal_name(field: &'static str) -> Problem {
    let detail = format!("{field}: looks like a person's address or number. Names stand in the log in the clear.");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "personal_name", detail).with_field(field)
}

fn barred(bar: Bar) -> Problem {
    let detail = format!("The customer's consent is barred: {bar}. It is lifted as they ask for alone.");
    Problem::conflict("barred", detail).with("bar", bar.as_str())
}

fn not_the_relay() -> Problem {
    let detail =
        "relay_key: is not that of shield's own database, whose outbox is handed over by who has its keys alone.";
    Problem::new(StatusCode::FORBIDDEN, "not_the_relay", detail).with_field("relay_key")
}

fn text_differs() -> Problem {
    Problem::conflict("text_differs", "Another text has this version. Give the new one a new version.")
}

fn key_in_progress() -> Problem {
    let detail = "The request with this idempotency key is being worked on. Send it again later, as it is.";
    Problem::conflict("idempotency_in_progress", detail).with_header(RETRY_AFTER, HeaderValue::from_static("1"))
}

fn proof_not_ready(index: u64) -> Problem {
    let detail = format!("No signed checkpoint covers entry {index} yet; one will within a second, mostly.");
    Problem::unavailable("proof_not_ready", detail, SOON)
}

fn pruned(minimum: u64) -> Problem {
    let detail = format!("The entries before {minimum} were kept as long as they had to be, and are deleted.");
    Problem::new(StatusCode::GONE, "pruned", detail).with("minimum", minimum)
}

/// Waiting makes no room: the keys are kept as long as the authorization.
fn changes_exhausted() -> Problem {
    let detail = format!(
        "The authorization was changed {KEYED_CHANGES_MAX} times under keys, and no more are kept. Nobody decided. Without a key it can be changed further."
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "changes_exhausted", detail)
}

fn plural(of: Bound) -> &'static str {
    match of {
        Bound::Accounts => "accounts",
        Bound::Holds => "open holds",
        Bound::Authorizations => "authorizations",
        Bound::Limits => "limits",
        Bound::Consents => "consents",
        Bound::Sources => "sources of entries",
        Bound::Changes => "keys of changes",
    }
}

impl From<ShieldError> for Status {
    fn from(error: ShieldError) -> Self {
        Problem::from(error).into()
    }
}
