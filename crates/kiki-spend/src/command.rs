//! What the governor can be told, and what it answers. Both are written to the log as JSON; their shapes are
//! those of the oracle's lines, with digests for names.

use std::sync::Arc;

use kiki_types::{Bar, Channel, Purpose};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::digest::Digest;
use crate::kind::LimitKind;

/// People that one command forgets at the most: it must fit into an entry of the log.
pub const FORGOTTEN_MAX: usize = 500;

/// Ids of limits, and the other names that can refuse, in order.
pub type Names = SmallVec<[Arc<str>; 2]>;

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
        /// Its refusals are told and not enforced.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shadow: bool,
    },
    /// Removes a limit with all that counts under it.
    RemoveLimit {
        /// The limit.
        id: Arc<str>,
    },
    /// Asks for money.
    Authorize(Authorize),
    /// Grows a hold, if every limit still allows the larger sum. Where a policy is in force it is refused: rules judge
    /// whole requests.
    Increase {
        /// The authorization.
        id: Digest,
        /// By how much.
        amount: i64,
        /// The same key changes this authorization once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
    },
    /// Settles a hold.
    Capture {
        /// The authorization.
        id: Digest,
        /// At most what is held; the rest is free at once. Absent: all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<i64>,
    },
    /// Gives a hold back, or a request that waits for approval.
    Void {
        /// The authorization.
        id: Digest,
    },
    /// Takes back what was captured: totals and the calendar period of the capture shrink, windows and counts do not.
    Refund {
        /// The authorization.
        id: Digest,
        /// At most what was captured and not refunded.
        amount: i64,
        /// The same key changes this authorization once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Digest>,
    },
    /// Books money that is already gone.
    Record(Record),
    /// Refuses everything new at an account and below.
    Stop {
        /// The account.
        path: Box<str>,
    },
    /// Takes a stop back.
    Resume {
        /// The account.
        path: Box<str>,
    },
    /// Lets a request that waits have its money.
    Approve {
        /// The authorization.
        id: Digest,
        /// Who approves.
        by: Digest,
    },
    /// Ends a request that waits.
    Reject {
        /// The authorization.
        id: Digest,
        /// Who rejects.
        by: Digest,
    },
    /// Puts a policy of a tenant in force: requests decided under another one are decided again.
    Policy {
        /// The tenant's topmost account.
        path: Box<str>,
        /// Absent: no policy is in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Digest>,
    },
    /// Records what a person agreed to, or no longer agrees to.
    Consent {
        /// The person.
        subject: Digest,
        /// To what.
        purpose: Purpose,
        /// Whether they agree.
        granted: bool,
        /// By which channel; absent: by all, whatever was said about one of them before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<Channel>,
        /// When it ends, in milliseconds since 1970, at most a second later than it ends here; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
        /// How many entries the log had when the person was asked to confirm: what was taken back since stays so.
        /// Absent: nobody was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<u64>,
    },
    /// Lets something stand against a person's consents, or takes it back.
    Bar {
        /// The person.
        subject: Digest,
        /// What.
        bar: Bar,
        /// Whether it stands.
        set: bool,
    },
    /// Forgets what people agreed to and what stood against it: their digests no longer mean anybody.
    Forget {
        /// At most [`FORGOTTEN_MAX`].
        subjects: Box<[Digest]>,
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

/// A request for money. [`Authorize::of`] fills in what a request need not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorize {
    /// The new authorization.
    pub id: Digest,
    /// The same key gives the same answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// The fingerprint of the whole request, wanted with a key: another one under the same key is another request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// The account that pays.
    pub path: Box<str>,
    /// How much.
    pub amount: i64,
    /// How long it stays held without a capture.
    pub ttl_ms: i64,
    /// The person it concerns and what it is for: consent is part of the decision.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "consent_fields")]
    pub consent: Option<(Digest, Purpose)>,
    /// By which channel the person is reached; absent: consent by all channels is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// What the money is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Box<str>>,
    /// Whom it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Box<str>>,
    /// Who asks; under four eyes somebody else has to approve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Digest>,
    /// What the tenant's policy says to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Captured in the same step.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capture: bool,
}

impl Authorize {
    /// A request that says no more than it must.
    #[must_use]
    pub fn of(id: Digest, path: &str, amount: i64, ttl_ms: i64) -> Self {
        Self {
            id,
            key: None,
            request: None,
            path: path.into(),
            amount,
            ttl_ms,
            consent: None,
            channel: None,
            category: None,
            payee: None,
            by: None,
            policy: None,
            capture: false,
        }
    }
}

/// What a policy says to a request. Rules see the request alone, so they are evaluated before it is queued; that the
/// same policy is still in force is part of the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Which policy.
    pub version: Digest,
    /// What it says.
    pub verdict: Verdict,
    /// The rules that decided.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub rules: Box<[Box<str>]>,
}

/// What a policy says, from the mildest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As asked.
    Allow,
    /// Less than asked, or in a safer mode: the request holds what is left of it.
    Degrade,
    /// Somebody has to approve.
    Ask,
    /// No.
    Deny,
}

impl Verdict {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Degrade => "degrade",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// Money that is already gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// With an id it can be looked at and refunded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Digest>,
    /// The same key gives the same answer; it wants an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// As of [`Authorize`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Digest>,
    /// The account that paid.
    pub path: Box<str>,
    /// How much.
    pub amount: i64,
    /// What it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Box<str>>,
    /// Whom it went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Box<str>>,
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
    /// Not approved.
    Rejected,
}

impl Resolution {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }
}

/// What the governor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The limit or the policy stands.
    Defined,
    /// The limit is gone.
    Removed,
    /// Consent stands.
    Granted,
    /// Consent is gone.
    Revoked,
    /// Something stands against a person's consents.
    Barred,
    /// It no longer does.
    Unbarred,
    /// Nothing is known of the people any more.
    Forgotten,
    /// Nothing new is authorized there.
    Stopped,
    /// Something new may be authorized there again.
    Resumed,
    /// The money is reserved.
    Held,
    /// The money is reserved, and somebody has to approve before it may move.
    Pending,
    /// The money has moved.
    Captured,
    /// The money is free again.
    Voided,
    /// The money is free again: somebody did not approve.
    Rejected,
    /// The money came back.
    Refunded,
    /// The money is booked.
    Recorded {
        /// The limits that it broke, in the order of their names.
        over: Names,
    },
    /// Nothing was taken.
    Denied {
        /// The limits and other names that refused, in order.
        refused_by: Names,
    },
    /// The key was used for another request.
    Conflict,
    /// The amount is out of range, the id is taken, or the command does not fit what it is about.
    Invalid,
    /// No such authorization, or no such limit.
    Unknown,
    /// The authorization has ended before.
    Resolved {
        /// How.
        state: Resolution,
    },
    /// The authorization waits for approval.
    Waiting,
    /// What it was asked for by holds no more: another policy is in force, or consent was taken back since.
    Stale,
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
            Self::Removed => "removed",
            Self::Granted => "granted",
            Self::Revoked => "revoked",
            Self::Barred => "barred",
            Self::Unbarred => "unbarred",
            Self::Forgotten => "forgotten",
            Self::Stopped => "stopped",
            Self::Resumed => "resumed",
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Rejected => "rejected",
            Self::Refunded => "refunded",
            Self::Recorded { .. } => "recorded",
            Self::Denied { .. } => "denied",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
            Self::Resolved { .. } => "resolved",
            Self::Waiting => "waiting",
            Self::Stale => "stale",
            Self::Exhausted { .. } => "exhausted",
            Self::Clear => "clear",
            Self::Noted => "noted",
        }
    }

    /// Whether it is a decision, which becomes an entry of the log. The others change nothing and decide nothing.
    #[must_use]
    pub const fn is_decision(&self) -> bool {
        !matches!(
            self,
            Self::Conflict
                | Self::Invalid
                | Self::Unknown
                | Self::Resolved { .. }
                | Self::Waiting
                | Self::Stale
                | Self::Exhausted { .. }
        )
    }
}

/// What came of a decision besides its outcome: for people to know, without weight for the money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Notice {
    /// A limit in shadow refuses.
    WouldRefuse {
        /// The limit.
        would_refuse: Arc<str>,
    },
    /// A share of a limit is reached.
    Reached {
        /// The limit.
        reached: Arc<str>,
        /// 50, 80 or 100.
        percent: u8,
    },
    /// A burst of denials in a tenant.
    Denials {
        /// How many.
        denials: u32,
        /// Within how long.
        seconds: u32,
    },
}

/// The notices of a decision.
pub type Notices = SmallVec<[Notice; 1]>;

/// A bound of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Accounts of a tenant.
    Accounts,
    /// Open holds of a tenant.
    Holds,
    /// Authorizations of a tenant, open or kept for repeats.
    Authorizations,
    /// Limits of a tenant, or of one account.
    Limits,
    /// Consents and bars.
    Consents,
    /// Databases that hand over entries.
    Sources,
    /// Keys of increases and refunds of one authorization.
    Changes,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logs are kept for years and folded byte by byte: what an entry has is written again as it stands there.
    #[test]
    fn commands_are_written_as_the_logs_have_them() {
        let (a, b) = ("0".repeat(31) + "a", "0".repeat(31) + "b");
        for text in [
            format!(r#"{{"op":"consent","subject":"{a}","purpose":"marketing","granted":true}}"#),
            format!(r#"{{"op":"consent","subject":"{a}","purpose":"data_sharing","granted":false}}"#),
            format!(r#"{{"op":"authorize","id":"{a}","path":"t/a","amount":5,"ttl_ms":900000}}"#),
            format!(
                r#"{{"op":"authorize","id":"{a}","key":"{b}","request":"{b}","path":"t/a","amount":5,"ttl_ms":900000,"consent":{{"subject":"{b}","purpose":"marketing"}},"category":"ads","payee":"meta","by":"{a}","policy":{{"version":"{a}","verdict":"ask","rules":["r/1"]}},"capture":true}}"#
            ),
            format!(
                r#"{{"op":"consent","subject":"{a}","purpose":"marketing","granted":true,"channel":"email","until":1700000000000}}"#
            ),
            format!(
                r#"{{"op":"authorize","id":"{a}","path":"t/a","amount":5,"ttl_ms":1,"consent":{{"subject":"{b}","purpose":"targeting"}},"channel":"sms"}}"#
            ),
            format!(r#"{{"op":"consent","subject":"{a}","purpose":"marketing","granted":true,"asked":7}}"#),
            format!(r#"{{"op":"bar","subject":"{a}","bar":"do_not_sell","set":true}}"#),
            format!(r#"{{"op":"increase","id":"{a}","amount":5}}"#),
            format!(r#"{{"op":"increase","id":"{a}","amount":5,"key":"{b}"}}"#),
            format!(r#"{{"op":"refund","id":"{a}","amount":5}}"#),
            format!(r#"{{"op":"refund","id":"{a}","amount":5,"key":"{b}"}}"#),
            format!(r#"{{"op":"forget","subjects":["{a}","{b}"]}}"#),
        ] {
            let command: Command = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&command).unwrap(), text);
        }
    }
}
