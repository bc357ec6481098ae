//! Mail to the people whom requests are about, and to those who confirm a consent.
//!
//! What is to be sent waits in the outbox as ids only ([`TOPIC`]); the text is made when it leaves. Whoever sends mail
//! knows the address of a customer; none is ever taken from a request.

use futures::future::BoxFuture;
use kiki_store::personal::Subject;
use kiki_store::{StoreError, Tx, outbox};
use kiki_types::event::Envelope;
use kiki_types::id::{MessageId, SubjectRequestId};
use kiki_types::{IdSource, TenantId, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::subject::model::Delay;

/// The outbox topic of mail.
pub const TOPIC: &str = "mail";

/// A message that is ready to leave.
#[derive(Clone, Debug)]
pub struct Message {
    /// The same for every try of the same message: a provider that saw it takes it as done.
    pub id: MessageId,
    /// Its date.
    pub at: UnixMillis,
    /// Who it goes to, by the customer id; the provider knows the address.
    pub who: Subject,
    /// One line.
    pub subject: String,
    /// Text.
    pub body: String,
    /// Whether it carries a code or a token: who has it acts in the person's name, so no copy of it is handed out.
    pub is_secret: bool,
}

/// Why a message did not leave. Not in the provider's words: they may quote the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// It will never be taken as it is.
    #[error("the provider rejected the message")]
    Rejected,
    /// It may be taken later.
    #[error("the provider did not take the message now")]
    Unavailable,
}

/// A mail provider.
pub trait Mail: Send + Sync {
    /// Sends `message`. One that was taken before under the same id succeeds and is not sent again.
    ///
    /// # Errors
    /// See [`MailError`].
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), MailError>>;
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Letter {
    /// A request came in.
    Acknowledgement { request: SubjectRequestId },
    /// The code to prove who asks; `n` of those that were sent.
    Code { request: SubjectRequestId, until: i64 },
    /// More time is taken.
    Extended { request: SubjectRequestId, why: Delay },
    /// It is not carried out.
    Refused { request: SubjectRequestId },
    /// It was carried out.
    Completed { request: SubjectRequestId },
    /// A restriction ends.
    Lifted { request: SubjectRequestId },
    /// A consent waits for its confirmation.
    ConsentConfirm { record: Uuid },
}

impl Letter {
    /// Whether its message carries a code or a token.
    pub(crate) const fn is_secret(self) -> bool {
        matches!(self, Self::Code { .. } | Self::ConsentConfirm { .. })
    }

    /// The request that it is about.
    pub(crate) const fn request(self) -> Option<SubjectRequestId> {
        match self {
            Self::Acknowledgement { request }
            | Self::Code { request, .. }
            | Self::Extended { request, .. }
            | Self::Refused { request }
            | Self::Completed { request }
            | Self::Lifted { request } => Some(request),
            Self::ConsentConfirm { .. } => None,
        }
    }

    /// The id of its message: a letter has one, however often it is tried.
    pub(crate) fn message_id(self) -> MessageId {
        let text = serde_json::to_string(&self).unwrap_or_default();
        let digest = Sha256::digest(["kiki/mail/1", &text].join("\0"));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Builder::from_custom_bytes(bytes).into_uuid().into()
    }
}

/// Lets `letter` leave when `tx` commits.
pub(crate) fn publish(
    tx: &mut Tx,
    ids: &dyn IdSource,
    tenant: &TenantId,
    now: UnixMillis,
    letter: Letter,
) -> Result<(), StoreError> {
    let payload = serde_json::to_string(&letter).unwrap_or_default();
    let envelope = Envelope { id: ids.uuid(), tenant: tenant.clone(), at: now, topic: TOPIC.to_owned(), payload };
    outbox::publish(tx, envelope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_letter_is_one_message_and_names_ids_only() {
        let request = SubjectRequestId::from(Uuid::from_u128(7));
        let letters = [
            Letter::Acknowledgement { request },
            Letter::Code { request, until: 1 },
            Letter::Code { request, until: 2 },
            Letter::Completed { request },
            Letter::Lifted { request },
            Letter::ConsentConfirm { record: Uuid::from_u128(7) },
        ];
        let ids: std::collections::HashSet<_> = letters.iter().map(|letter| letter.message_id()).collect();
        assert_eq!(ids.len(), letters.len());
        assert_eq!(letters[0].message_id(), letters[0].message_id());
        let text = serde_json::to_string(&letters[5]).unwrap();
        assert_eq!(text, r#"{"kind":"consent_confirm","record":"00000000-0000-0000-0000-000000000007"}"#);
        assert_eq!(serde_json::from_str::<Letter>(&text).unwrap(), letters[5]);
    }
}
