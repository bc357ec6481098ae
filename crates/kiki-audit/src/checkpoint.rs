//! The checkpoint (C2SP tlog-checkpoint): which log, how many entries, which root; signed.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Place};
use crate::files;
use crate::handover::{self, Signer};
use crate::note::{NOTE_BYTES_MAX, Note, NoteError, VerifierKey};
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

    /// The checkpoint of a text that may have extension lines, as those of other logs do.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let checkpoint = Self { origin: origin.to_owned(), size: decimal(size)?, root: hash_of(root)? };
        (!origin.is_empty() && lines.all(|extension| !extension.is_empty())).then_some(checkpoint)
    }

    /// The checkpoint of a text as this log writes it: without extension lines.
    pub(crate) fn parse_own(text: &str) -> Option<Self> {
        Self::parse(text).filter(|checkpoint| checkpoint.text() == text)
    }

    /// The checkpoint of the log at `dir`, if there is one. Its signature is checked if a key is given: it is by that key,
    /// or by one that it was handed over to.
    ///
    /// # Errors
    /// It cannot be read, or is not as it must be.
    pub fn load(dir: &Path, key: Option<&VerifierKey>) -> Result<Option<Self>, Error> {
        Self::load_on(&RealDisk, dir, key)
    }

    /// As [`Self::load`], on `disk`.
    pub(crate) fn load_on(disk: &dyn Disk, dir: &Path, key: Option<&VerifierKey>) -> Result<Option<Self>, Error> {
        match key {
            Some(key) => Ok(Self::load_signed(disk, dir, key)?.map(|(checkpoint, _)| checkpoint)),
            None => Ok(Self::read(disk, &path(dir))?.map(|(checkpoint, _)| checkpoint)),
        }
    }

    /// The checkpoint of the log at `dir` and who signed it, as whoever trusts `key` sees it.
    pub(crate) fn load_signed(disk: &dyn Disk, dir: &Path, key: &VerifierKey) -> Result<Option<(Self, Signer)>, Error> {
        let path = path(dir);
        let Some((checkpoint, text)) = Self::read(disk, &path)? else { return Ok(None) };
        let wrong = |expected: &str, found: String| Error::different(Place::file(&path), expected, found);
        let expected = format!("a signature by {key}");
        let note = Note::parse(&text).map_err(|error| wrong(&expected, error.to_string()))?;
        let signer = match note.check(key) {
            Ok(()) => Signer::Key,
            Err(NoteError::Unsigned) => {
                let signer = handover::other_signer(&note, &checkpoint, key, &handover::load_on(disk, dir)?);
                signer.ok_or_else(|| wrong(&expected, NoteError::Unsigned.to_string()))?
            }
            Err(error) => return Err(wrong(&expected, error.to_string())),
        };
        if key.name() != checkpoint.origin {
            return Err(wrong(key.name(), checkpoint.origin));
        }
        Ok(Some((checkpoint, signer)))
    }

    /// The newest checkpoint of the log at `dir` and its note, if there is one. No signature is checked.
    ///
    /// # Errors
    /// It cannot be read, or is no checkpoint.
    pub fn newest(disk: &dyn Disk, dir: &Path) -> Result<Option<(Self, String)>, Error> {
        Self::read(disk, &path(dir))
    }

    /// The newest checkpoint of the log at `dir` that enough witnesses have cosigned, with their signatures, if there is
    /// one. No signature is checked.
    ///
    /// # Errors
    /// It cannot be read, or is no checkpoint.
    pub fn witnessed(disk: &dyn Disk, dir: &Path) -> Result<Option<(Self, String)>, Error> {
        Self::read(disk, &witnessed_path(dir))
    }

    /// Keeps `note`, a checkpoint of the log at `dir` that enough witnesses have cosigned, unless one of as many entries
    /// is kept already.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn keep_witnessed(disk: &dyn Disk, dir: &Path, note: &str) -> Result<(), Error> {
        let path = witnessed_path(dir);
        let text = Note::parse(note).ok().and_then(|note| Self::parse_own(note.text));
        let new = text.ok_or_else(|| Error::different(Place::file(&path), "a checkpoint", "another note"))?;
        match Self::witnessed(disk, dir)? {
            Some((kept, _)) if kept.size >= new.size => Ok(()),
            _ => files::replace(disk, &path, note.as_bytes()),
        }
    }

    /// The checkpoint in a file and the whole note, if the file is there. No signature is checked.
    fn read(disk: &dyn Disk, path: &Path) -> Result<Option<(Self, String)>, Error> {
        let Some(bytes) = files::read_if_there(disk, path, NOTE_BYTES_MAX)? else { return Ok(None) };
        let wrong = |expected: &str, found: String| Error::different(Place::file(path), expected, found);
        let note = String::from_utf8(bytes).map_err(|error| wrong("a checkpoint", error.to_string()))?;
        let text = Note::parse(&note).map_err(|error| wrong("a checkpoint", format!("a file that {error}")))?.text;
        let checkpoint = Self::parse_own(text).ok_or_else(|| wrong("origin, size and root", hex(text.as_bytes())))?;
        Ok(Some((checkpoint, note)))
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

/// A number in its one way to write it.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// A hash in base64.
pub(crate) fn hash_of(text: &str) -> Option<Hash> {
    BASE64.decode(text).ok()?.try_into().ok()
}

/// Where the newest checkpoint is that enough witnesses have cosigned.
pub(crate) fn witnessed_path(dir: &Path) -> PathBuf {
    log_dir(dir).join("witnessed")
}
