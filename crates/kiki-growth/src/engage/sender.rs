//! How a message leaves: the one thing that engage asks of a mail provider.

use futures::future::BoxFuture;
use kiki_types::id::MessageId;
use kiki_types::{TenantId, UnixMillis};

/// A message that is ready to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingMail {
    /// The same for every try of the same message: a provider that saw it takes it as done.
    pub id: MessageId,
    /// Whose customer it goes to.
    pub tenant: TenantId,
    /// Its date.
    pub at: UnixMillis,
    /// The sender's address.
    pub from: String,
    /// Who it goes to. The provider knows the address.
    pub customer_id: String,
    /// One line.
    pub subject: String,
    /// Text.
    pub body: String,
}

/// Why a message did not leave. Not in the provider's words: they may quote the address, and this is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It will never be taken as it is.
    #[error("the provider rejected the message")]
    Rejected,
    /// It may be taken later.
    #[error("the provider did not take the message now")]
    Unavailable,
}

/// A mail provider. The sandbox mailbox is one; the process wires it, as services do not know each other.
pub trait MailSender: Send + Sync + 'static {
    /// Sends `mail`. Success means that the provider has it. A message that was taken before under the same id
    /// succeeds and is not sent again.
    ///
    /// # Errors
    /// See [`SendError`].
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'static, Result<(), SendError>>;
}
