//! What the governor can be told, and what it answers. Both are written to the log as JSON; their shapes are
//! those of the oracle's lines, with digests for names.

use std::sync::Arc;

use kiki_types::Purpose;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::limit::LimitKind;

/// A command. Amounts are millionths and positive; paths are checked by [`crate::account::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// Defines a limit or replaces it; what was spent under it stays counted.
    Limit {
        /// Names it, across all tenants.
        id: Arc<str>,
        /// The account that it governs, and everything below.
        path: Box<str>,
        /// What it limits.
        #[serde(flatten)]
        kind: LimitKind,
    },
    /// Asks for money.
    Authorize(Authorize),
    /// Settles a hold.
    Capture {
        /// The authorization.
        id: Digest,
        /// At most what is held; the rest is free at once. Absent: all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<i64>,
    },
    /// Gives a hold back.
    Void {
        /// The authorization.
        id: Digest,
    },
    /// Records what a person agreed to, or no longer agrees to.
    Consent {
        /// The person.
        subject: Digest,
        /// To what.
        purpose: Purpose,
        /// Whether they agree.
        granted: bool,
    },
    /// Asks whether anything remains under every limit of a path.
    Check {
        /// The account.
        path: Box<str>,
    },
    /// Writes an entry that changes no money. From another service's outbox it comes with its place there.
    Note {
        /// The database it comes from and its position in it; a position at or below the last one is known already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<(Digest, i64)>,
    },
}

/// A request for money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorize {
    /// The new authorization.
    pub id: Digest,
    /// The same key gives the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// The account that pays.
    pub path: Box<str>,
    /// How much.
    pub amount: i64,
    /// How long it stays held without a capture.
    pub ttl_ms: i64,
    /// The person it concerns and what it is for: consent is part of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "consent_fields")]
    pub consent: Option<(Digest, Purpose)>,
    /// What else identifies the request: with the key, another value is another request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// Captured in the same step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capture: bool,
}

mod consent_fields {
    //! `"consent": {"subject": …, "purpose": …}`.
    use super::{Deserialize, Digest, Purpose, Serialize};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Fields {
        subject: Digest,
        purpose: Purpose,
    }

    pub(super) fn serialize<S: Serializer>(consent: &Option<(Digest, Purpose)>, s: S) -> Result<S::Ok, S::Error> {
        consent.map(|(subject, purpose)| Fields { subject, purpose }).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<(Digest, Purpose)>, D::Error> {
        Ok(Option::<Fields>::deserialize(d)?.map(|fields| (fields.subject, fields.purpose)))
    }
}

/// How an authorization ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Money moved.
    Captured,
    /// Given back.
    Voided,
    /// Ended by itself.
    Expired,
}

impl Resolution {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }
}

/// What the governor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The limit stands.
    Defined,
    /// Consent stands.
    Granted,
    /// Consent is gone.
    Revoked,
    /// The money is reserved.
    Held,
    /// The money has moved.
    Captured,
    /// The money is free again.
    Voided,
    /// Nothing was taken.
    Denied {
        /// The limits that refused, `consent` among them, in the order of their names.
        refused_by: Box<[Arc<str>]>,
    },
    /// The key was used for another request.
    Conflict,
    /// The amount is out of range, or the id is taken.
    Invalid,
    /// No such authorization.
    Unknown,
    /// The authorization has ended before.
    Resolved {
        /// How.
        state: Resolution,
    },
    /// A bound is reached: nobody decided.
    Exhausted {
        /// Of what there is no more room.
        of: Bound,
    },
    /// Something remains under every limit.
    Clear,
    /// The entry is written.
    Noted,
}

impl Outcome {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Defined => "defined",
            Self::Granted => "granted",
            Self::Revoked => "revoked",
            Self::Held => "held",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Denied { .. } => "denied",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::Resolved { .. } => "resolved",
            Self::Exhausted { .. } => "exhausted",
            Self::Clear => "clear",
            Self::Noted => "noted",
        }
    }

    /// Whether it is a decision, which becomes an entry of the log. The others change nothing and decide nothing.
    #[must_use]
    pub const fn is_decision(&self) -> bool {
        !matches!(self, Self::Conflict | Self::Invalid | Self::Unknown | Self::Resolved { .. } | Self::Exhausted { .. })
    }
}

/// A bound of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Accounts of a tenant.
    Accounts,
    /// Authorizations of a tenant, open or kept for repeats.
    Authorizations,
    /// Limits.
    Limits,
    /// Consents.
    Consents,
    /// Databases that hand over entries.
    Sources,
}
