//! What can be wrong with a log, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A place in a file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// The index of the entry that is, or belongs, there; `None` where the place is not about one entry.
    pub entry: Option<u64>,
}

impl Place {
    /// The start of `file`, not about one entry.
    pub(crate) fn file(file: &Path) -> Self {
        Self { file: file.to_owned(), offset: 0, entry: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}", self.file.display(), self.offset)?;
        self.entry.map_or(Ok(()), |entry| write!(f, ", entry {entry}"))
    }
}

/// The first thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: expected {expected}, found {found}")]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// What belongs there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// Why the log, or something derived from it, cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused; this says nothing about the log's content.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The content does not check.
    #[error(transparent)]
    Different(Box<Difference>),
}

impl Error {
    /// A difference at `place`.
    pub(crate) fn different(place: Place, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Different(Box::new(Difference { place, expected: expected.into(), found: found.into() }))
    }

    /// For `map_err`: an I/O error on `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// The difference, if it is one.
    #[must_use]
    pub fn difference(&self) -> Option<&Difference> {
        match self {
            Self::Different(difference) => Some(difference),
            Self::Io { .. } => None,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Why a log was not opened for appending.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{}: another process owns this log", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// It cannot be read, or does not check.
    #[error(transparent)]
    Failed(#[from] Error),
}
