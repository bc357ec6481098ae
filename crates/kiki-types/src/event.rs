//! What is written down: the audit event, and the envelope in which services tell each other what happened.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{TenantId, UnixMillis};

/// How much an audit event matters to a reader of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Expected.
    Info,
    /// A refusal, or something to look at.
    Warning,
    /// Something failed.
    Error,
}

impl Level {
    /// The name in the views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// It was allowed and done.
    Allowed,
    /// It was refused; the reason says by what.
    Denied,
    /// It was allowed and failed.
    Failed,
}

impl Outcome {
    /// The name in the views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::Denied => "DENIED",
            Self::Failed => "FAILED",
        }
    }
}

/// One entry of the audit log as its readers see it. It holds nothing personal: people are keyed hashes
/// (pseudonyms), addresses are truncated to their network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// The entry's id.
    pub id: Uuid,
    /// When it happened.
    pub at: UnixMillis,
    /// Whose data it concerns.
    pub tenant: TenantId,
    /// How much it matters.
    pub level: Level,
    /// The kind, such as `spend.authorize`, `consent.revoke`, `campaign.create`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Who acted, as a keyed hash.
    pub actor: String,
    /// The customer it concerns, as a keyed hash; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub customer: String,
    /// The verb, such as `authorize`.
    pub action: String,
    /// What was acted upon, such as an account's path.
    pub resource: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why; empty where there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The network that the request came from, such as `203.0.113.0`; empty if it came from inside.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Kinds of personal data that were read or written, such as `consent`; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// The request's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
}

/// What a service tells the others, kept in its outbox in the transaction that made it true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The event's id; a receiver that saw it ignores it.
    pub id: Uuid,
    /// Whose event it is.
    pub tenant: TenantId,
    /// When it happened.
    pub at: UnixMillis,
    /// Where it goes, such as `audit`.
    pub topic: String,
    /// JSON, by the topic's own type.
    pub payload: String,
}
