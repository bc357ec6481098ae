//! Why keys cannot be had or changed.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use super::master::MasterError;
use crate::StoreError;

/// A failed opening or changing of the keys of people.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file of the keys cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the keys is not as it was written.
    #[error("{}: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The ring is gone, and the database has keys that were under it.
    #[error("{}: is missing although the database has keys of people under it; put it back", path.display())]
    RingMissing {
        /// The file.
        path: PathBuf,
    },
    /// The database's keys are under another ring.
    #[error("the database's keys of people are not under the ring in {}: the two do not belong together", path.display())]
    AnotherRing {
        /// The file.
        path: PathBuf,
    },
    /// The database knows an epoch that the ring does not.
    #[error("{} is older than this database, which has epoch {epoch}: put the newer one back", path.display())]
    RingBehind {
        /// The file.
        path: PathBuf,
        /// The epoch.
        epoch: u32,
    },
    /// No master key at hand opens an epoch.
    #[error("personal data cannot be read: the keys are under {found}, and the configured master key is {configured}")]
    AnotherMaster {
        /// The masters that open the ring.
        found: String,
        /// The one that is configured.
        configured: String,
    },
    /// The master key does not do its work.
    #[error(transparent)]
    Master(#[from] MasterError),
    /// An epoch that still holds keys of people is not destroyed.
    #[error("epoch {epoch} still holds {rows} keys of people; it is destroyed after they are under a later one")]
    RowsLeft {
        /// The epoch.
        epoch: u32,
        /// How many.
        rows: u64,
    },
    /// The order does not fit the state of the ring.
    #[error("{0}")]
    NotNow(&'static str),
    /// Others changed the ring at the same time again and again.
    #[error("the ring was changed by another process meanwhile; try again")]
    Raced,
    /// The database.
    #[error("the keys of people in the database")]
    Store(#[from] StoreError),
}

impl KeysError {
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    pub(super) fn form(path: &Path, why: &dyn Display) -> Self {
        Self::Form { path: path.to_owned(), why: why.to_string() }
    }

    /// As an error of a query: the keys are away, and so is the answer.
    pub(super) fn into_store(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            other => StoreError::Keys(Box::new(other)),
        }
    }
}

impl From<sqlx::Error> for KeysError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
