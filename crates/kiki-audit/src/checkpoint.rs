//! The checkpoint (C2SP tlog-checkpoint): which log, how many entries, which root; signed.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Place};
use crate::files;
use crate::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use crate::segments::hex;
use crate::tree::Hash;

/// The head of the tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({} {} {})", self.origin, self.size, hex(&self.root))
    }
}

/// Where the tree of the log at `dir` is.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// Where the checkpoint of the log at `dir` is.
pub(crate) fn path(dir: &Path) -> PathBuf {
    log_dir(dir).join("checkpoint")
}

impl Checkpoint {
    /// The text that is signed.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?.parse().ok()?, BASE64.decode(lines.next()?).ok()?);
        let checkpoint = Self { origin: origin.to_owned(), size, root: Hash::try_from(root).ok()? };
        // What this log signs has no extension lines and one way to write a number.
        (!origin.is_empty() && checkpoint.text() == text).then_some(checkpoint)
    }

    /// The checkpoint of the log at `dir`, if there is one. Its signature is checked if a key is given.
    pub fn load(dir: &Path, key: Option<&VerifierKey>) -> Result<Option<Self>, Error> {
        Self::load_on(&RealDisk, dir, key)
    }

    /// As [`Self::load`], on `disk`.
    pub(crate) fn load_on(disk: &dyn Disk, dir: &Path, key: Option<&VerifierKey>) -> Result<Option<Self>, Error> {
        let path = path(dir);
        let Some(bytes) = files::read_if_there(disk, &path, NOTE_BYTES_MAX)? else { return Ok(None) };
        let wrong = |expected: &str, found: String| Error::different(Place::file(&path), expected, found);
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong("a checkpoint", error.to_string()))?;
        let note = Note::parse(text).map_err(|error| wrong("a checkpoint", format!("a file that {error}")))?;
        if let Some(key) = key {
            let expected = format!("a signature by {key}");
            note.check(key).map_err(|error| wrong(&expected, error.to_string()))?;
        }
        let checkpoint =
            Self::parse(note.text).ok_or_else(|| wrong("origin, size and root", hex(note.text.as_bytes())))?;
        match key {
            Some(key) if key.name() != checkpoint.origin => Err(wrong(key.name(), checkpoint.origin)),
            _ => Ok(Some(checkpoint)),
        }
    }

    /// For a root that was computed from the entries.
    pub(crate) fn check_root(&self, dir: &Path, root: &Hash) -> Result<(), Error> {
        if self.root == *root {
            return Ok(());
        }
        let found = format!("root {} of {} entries", hex(root), self.size);
        Err(Error::different(Place::file(&path(dir)), format!("root {}", hex(&self.root)), found))
    }
}
