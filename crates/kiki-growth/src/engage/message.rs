//! What becomes of one message: states as an enum, and the only steps between them. Pure.
//!
//! ```text
//! pending ──held──► authorized ──sent──► sent ──captured──► captured
//!    │ ▲                │  └─────failed──► failed
//!    │ └────lapsed──────┘
//!    ├──denied──► refused
//!    └──nobody decided──► blocked_unavailable
//! ```
//!
//! A rerun takes up what is not at its end: what was in flight goes on where it stopped under the same attempt;
//! what was refused, or failed for the moment, starts a new attempt. `captured` and a final failure stay.

use kiki_store::personal::{Subject, SubjectId};
use kiki_types::UnixMillis;
use kiki_types::id::MessageId;

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Nobody has decided yet.
    Pending,
    /// Its money is held; it may or may not have been sent.
    Authorized,
    /// It was sent; its money is still held.
    Sent,
    /// It was sent and paid for.
    Captured,
    /// Consent or a limit refused it.
    Refused,
    /// It could not be sent; its money was given back.
    Failed,
    /// Shield did not answer, so it was not sent.
    BlockedUnavailable,
}

impl MessageState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Authorized,
        Self::Sent,
        Self::Captured,
        Self::Refused,
        Self::Failed,
        Self::BlockedUnavailable,
    ];

    /// The name in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Authorized => "authorized",
            Self::Sent => "sent",
            Self::Captured => "captured",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::BlockedUnavailable => "blocked_unavailable",
        }
    }
}

impl std::str::FromStr for MessageState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// The text names no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the state of a message")]
pub struct UnknownState;

/// The reason of a failure that a new attempt cannot mend.
pub const REJECTED: &str = "send_rejected";
/// The reason of a failure that may pass.
pub const UNAVAILABLE: &str = "send_unavailable";
/// The reason of a message that shield did not decide upon.
pub const SHIELD_UNAVAILABLE: &str = "shield_unavailable";
/// The reason of a message that shield will never decide upon as it is.
pub const SHIELD_REJECTED: &str = "shield_rejected";

/// Whom a message is for.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Their handle, by which rows and keys know them.
    pub handle: SubjectId,
    /// As engage's callers and its providers know them.
    pub customer_id: String,
    /// As the log knows them.
    pub pseudonym: [u8; 16],
}

impl From<&Subject> for Recipient {
    fn from(subject: &Subject) -> Self {
        Self { handle: subject.id, customer_id: subject.name().to_owned(), pseudonym: subject.pseudonym }
    }
}

/// Shows the handle alone.
impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Recipient").field(&self.handle).finish()
    }
}

/// One message to one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, the same for every attempt: a provider that saw it does not send it again.
    pub id: MessageId,
    /// Who it goes to.
    pub to: Recipient,
    /// Where it stands.
    pub state: MessageState,
    /// From 1; a new one asks shield anew.
    pub attempt: i64,
    /// Shield's authorization of this attempt.
    pub authorization: Option<String>,
    /// Why it is refused, failed or blocked.
    pub reasons: Vec<String>,
    /// The customer's value as the template shows it.
    pub value: String,
    /// The probability as the template shows it.
    pub probability_alive: String,
    /// When it last took a step.
    pub updated_at: UnixMillis,
}

/// What happened to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Shield holds its money under this authorization.
    Held(String),
    /// Shield refused, for these reasons.
    Denied(Vec<String>),
    /// Shield did not answer.
    Undecided,
    /// Shield will not decide upon it as it is, or the provider did not take it; this is why.
    Failed(&'static str),
    /// The provider took it.
    Sent,
    /// Its money is spent.
    Captured,
    /// Its authorization ended before it was used.
    Lapsed,
    /// A rerun takes it up.
    TakenUp,
}

/// The step is not one that the state allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message that is {} cannot take the step {step:?}", state.as_str())]
pub struct WrongStep {
    state: MessageState,
    step: Step,
}

impl Message {
    /// Takes `step`.
    ///
    /// # Errors
    /// [`WrongStep`]; the message is as before.
    pub fn step(&mut self, step: Step) -> Result<(), WrongStep> {
        use MessageState as S;
        match (self.state, step) {
            (S::Pending, Step::Held(authorization)) => {
                self.authorization = Some(authorization);
                self.become_(S::Authorized, Vec::new());
            }
            (S::Pending, Step::Denied(reasons)) => self.become_(S::Refused, reasons),
            (S::Pending, Step::Undecided) => self.become_(S::BlockedUnavailable, vec![SHIELD_UNAVAILABLE.to_owned()]),
            (S::Pending | S::Authorized, Step::Failed(reason)) => self.become_(S::Failed, vec![reason.to_owned()]),
            (S::Authorized, Step::Sent) => self.become_(S::Sent, Vec::new()),
            // Shield's word outlives a database that was restored to an earlier moment.
            (S::Pending | S::Authorized | S::Sent, Step::Captured) => self.become_(S::Captured, Vec::new()),
            (S::Pending | S::Authorized, Step::Lapsed) => self.attempt_anew(),
            // It was sent: what is left is to pay for it, under a new authorization.
            (S::Sent, Step::Lapsed) => {
                self.attempt += 1;
                self.authorization = None;
            }
            (S::Sent, Step::Held(authorization)) => self.authorization = Some(authorization),
            (S::Sent, Step::Denied(reasons)) => self.reasons = reasons,
            (S::Pending | S::Authorized | S::Sent, Step::TakenUp) => {}
            (S::BlockedUnavailable, Step::TakenUp) => self.become_(S::Pending, Vec::new()),
            (S::Refused, Step::TakenUp) => self.attempt_anew(),
            (S::Failed, Step::TakenUp) if !self.is_final() => self.attempt_anew(),
            (state, step) => return Err(WrongStep { state, step }),
        }
        Ok(())
    }

    /// Whether nothing will ever be done about it again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let hopeless = |reason: &String| reason == REJECTED || reason == SHIELD_REJECTED;
        match self.state {
            MessageState::Captured => true,
            MessageState::Failed => self.reasons.iter().any(hopeless),
            _ => false,
        }
    }

    fn attempt_anew(&mut self) {
        self.attempt += 1;
        self.authorization = None;
        self.become_(MessageState::Pending, Vec::new());
    }

    fn become_(&mut self, state: MessageState, reasons: Vec<String>) {
        self.state = state;
        self.reasons = reasons;
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
