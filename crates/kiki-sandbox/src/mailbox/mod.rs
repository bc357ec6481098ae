//! The mailbox: a mail provider that keeps every message as a file.
//!
//! `<root>/<tenant>/<message id>.<owner>.sealed` holds a message that somebody else sealed, readable by its owner alone; the
//! file's time is the message's. The owner is the handle of the person whom it is for, 32 hexadecimal digits: who is to be
//! forgotten is found by it ([`Mailbox::forget`]) without opening anything. Whoever wires the mailbox passes in how messages
//! are opened ([`Open`]); a message that cannot be opened any more is as good as not there.
//!
//! A message id is delivered once: a retry finds the file and succeeds, as with a provider that knows idempotency. A file
//! is whole or not there. [`Faults`] make deliveries fail as a provider's do, always the same ones.
//!
//! Start with [`Mailbox::open`] and [`Mailbox::deliver`]; [`api`] shows what was received.

pub mod api;
mod faults;
mod mail;
mod shelf;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use futures::future::BoxFuture;
use kiki_types::id::MessageId;
use kiki_types::{TenantId, UnixMillis};

pub use faults::{Faults, NotFaults};
pub use mail::{Mail, Summary, recipient};
use shelf::Shelf;
pub use shelf::{Found, MESSAGES_MAX, Old};

/// Bytes of one message at the most: 1 MiB.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The handle of the person whom a message is for.
pub type Owner = [u8; 16];

/// Why a message was not taken. Nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// It will never be taken as it is (SMTP's 5yz).
    #[error("the provider rejected the message: {0}")]
    Rejected(String),
    /// It may be taken later (SMTP's 4yz).
    #[error("the provider did not take the message now: {0}")]
    Unavailable(String),
    /// The files cannot be written.
    #[error("the mailbox cannot be written")]
    Io(#[from] io::Error),
}

/// A message on its way into the mailbox.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// Its id.
    pub id: MessageId,
    /// Whose customer it goes to.
    pub tenant: &'a TenantId,
    /// Its date.
    pub at: UnixMillis,
    /// The person it goes to.
    pub owner: Owner,
    /// Their address, as [`recipient`] reads it. Not kept.
    pub recipient: &'a str,
    /// The message as it is kept: nothing that can be read without a key.
    pub sealed: Vec<u8>,
}

/// A message as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its id.
    pub id: MessageId,
    /// The person it went to.
    pub owner: Owner,
    /// What was delivered.
    pub sealed: Vec<u8>,
}

/// Opens what was delivered.
pub trait Open: Send + Sync + 'static {
    /// The text of each of `messages` of `tenant`, in their order; `None` for one that nobody can open any more.
    ///
    /// # Errors
    /// It cannot be said now.
    fn open<'a>(
        &'a self,
        tenant: &'a TenantId,
        messages: &'a [Sealed],
    ) -> BoxFuture<'a, io::Result<Vec<Option<Vec<u8>>>>>;
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Summary>,
    /// Where the next page starts after; `None` on the last one.
    pub next: Option<MessageId>,
}

/// A sandbox mail provider. Clones share the mailbox.
#[derive(Clone)]
pub struct Mailbox {
    shelf: Arc<Shelf>,
    open: Arc<dyn Open>,
    faults: Arc<Faults>,
}

impl Mailbox {
    /// The mailbox in the folder `root`, which is made if it is missing. `messages_max` bounds the messages of each
    /// tenant; [`MESSAGES_MAX`] is a good bound.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: &Path, open: Arc<dyn Open>, messages_max: usize) -> io::Result<Self> {
        Ok(Self { shelf: Arc::new(Shelf::open(root, messages_max)?), open, faults: Arc::default() })
    }

    /// The same mailbox, whose deliveries fail as `faults` say.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults: Arc::new(faults), ..self }
    }

    /// Takes a message under its id. An id that was taken before succeeds and keeps the first message.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn deliver(&self, delivery: Delivery<'_>) -> Result<(), DeliveryError> {
        let Delivery { id, tenant, at, owner, recipient, sealed } = delivery;
        let (tenant, recipient) = (tenant.clone(), recipient.to_owned());
        let (faults, message) = (Arc::clone(&self.faults), Sealed { id, owner, sealed });
        self.blocking(move |shelf| shelf.deliver(&faults, &tenant, at, &recipient, &message)).await?
    }

    /// At most `limit` messages of `tenant` after the id `after`, oldest ids first. What cannot be opened is left out.
    ///
    /// # Errors
    /// The files cannot be read.
    pub async fn list(&self, tenant: &TenantId, after: Option<MessageId>, limit: usize) -> io::Result<Page> {
        let of = tenant.clone();
        let Found { messages, next } = self.blocking(move |shelf| shelf.list(&of, after, limit)).await??;
        let opened = self.open.open(tenant, &messages).await?;
        let summary = |(message, eml): (&Sealed, Option<Vec<u8>>)| Some(Summary::of(message.id, &eml?));
        Ok(Page { messages: messages.iter().zip(opened).filter_map(summary).collect(), next })
    }

    /// The message as it was delivered; `None` if `tenant` has none under `id`, or nobody can open it any more.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn read(&self, tenant: &TenantId, id: MessageId) -> io::Result<Option<Vec<u8>>> {
        let of = tenant.clone();
        let Some(message) = self.blocking(move |shelf| shelf.read(&of, id)).await?? else { return Ok(None) };
        let opened = self.open.open(tenant, std::slice::from_ref(&message)).await?;
        Ok(opened.into_iter().next().flatten())
    }

    /// At most `limit` of the messages that went to `owner`, as they were kept.
    ///
    /// # Errors
    /// The files cannot be read.
    pub async fn of(&self, tenant: &TenantId, owner: Owner, limit: usize) -> io::Result<Vec<Sealed>> {
        let tenant = tenant.clone();
        self.blocking(move |shelf| shelf.of(&tenant, owner, limit)).await?
    }

    /// Removes all messages that went to `owners`. Returns how many.
    ///
    /// # Errors
    /// A file cannot be removed; those before it are gone, and a repeat goes on.
    pub async fn forget(&self, tenant: &TenantId, owners: &[Owner]) -> io::Result<u64> {
        let (tenant, owners) = (tenant.clone(), owners.to_vec());
        self.blocking(move |shelf| shelf.forget(&tenant, &owners)).await?
    }

    /// Those to whom messages went, after `after`, at most `limit` of them, in the order of their bytes.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn owners(&self, tenant: &TenantId, after: Option<Owner>, limit: usize) -> io::Result<Vec<Owner>> {
        let tenant = tenant.clone();
        self.blocking(move |shelf| shelf.owners(&tenant, after, limit)).await?
    }

    /// Removes at most `limit` messages from before `cutoff` or to one of `gone`, or counts all of them if `dry`.
    ///
    /// # Errors
    /// A file cannot be looked at or removed.
    pub async fn expire(
        &self,
        tenant: &TenantId,
        cutoff: UnixMillis,
        gone: HashSet<Owner>,
        limit: usize,
        dry: bool,
    ) -> io::Result<Old> {
        let tenant = tenant.clone();
        self.blocking(move |shelf| shelf.expire(&tenant, cutoff, &gone, limit, dry)).await?
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Shelf) -> T + Send + 'static) -> io::Result<T> {
        let shelf = Arc::clone(&self.shelf);
        tokio::task::spawn_blocking(move || work(&shelf)).await.map_err(io::Error::other)
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
