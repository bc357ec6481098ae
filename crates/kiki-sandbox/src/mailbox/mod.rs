//! The mailbox: a mail provider that keeps every message as a file.
//!
//! `<root>/<tenant>/<message id>.eml` holds a message as it was delivered (RFC 5322), readable by its owner alone. A
//! message id is delivered once: a retry finds the file and succeeds, as with a provider that knows idempotency. A file
//! is whole or not there. [`Faults`] make deliveries fail as a provider's do, always the same ones.
//!
//! Start with [`Mailbox::open`] and [`Mailbox::deliver`]; [`api`] shows what was received.

pub mod api;
mod faults;
mod mail;
mod shelf;

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use kiki_types::TenantId;
use kiki_types::id::MessageId;

pub use faults::{Faults, NotFaults};
pub use mail::Mail;
use shelf::Shelf;
pub use shelf::{MESSAGES_MAX, Page, Summary};

/// Bytes of one message at the most: 1 MiB.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

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

/// A sandbox mail provider. Clones share the mailbox.
#[derive(Clone)]
pub struct Mailbox {
    shelf: Arc<Shelf>,
}

impl Mailbox {
    /// The mailbox in the folder `root`, which is made if it is missing. `messages_max` bounds the messages of each
    /// tenant; [`MESSAGES_MAX`] is a good bound.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: &Path, faults: Faults, messages_max: usize) -> io::Result<Self> {
        Ok(Self { shelf: Arc::new(Shelf::open(root, faults, messages_max)?) })
    }

    /// Takes the message `eml` under `id`. An id that was taken before succeeds and keeps the first message.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn deliver(&self, id: MessageId, tenant: &TenantId, eml: Vec<u8>) -> Result<(), DeliveryError> {
        let tenant = tenant.clone();
        self.blocking(move |shelf| shelf.deliver(id, &tenant, &eml)).await?
    }

    /// At most `limit` messages of `tenant` after the id `after`, oldest ids first.
    ///
    /// # Errors
    /// The files cannot be read.
    pub async fn list(&self, tenant: &TenantId, after: Option<MessageId>, limit: usize) -> io::Result<Page> {
        let tenant = tenant.clone();
        self.blocking(move |shelf| shelf.list(&tenant, after, limit)).await?
    }

    /// The message as it was delivered; `None` if `tenant` has none under `id`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn read(&self, tenant: &TenantId, id: MessageId) -> io::Result<Option<Vec<u8>>> {
        let tenant = tenant.clone();
        self.blocking(move |shelf| shelf.read(&tenant, id)).await?
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
