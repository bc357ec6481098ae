//! `ring.json`: the secrets of the epochs, each wrapped by the master key, and those that were destroyed.
//!
//! The file is replaced whole, under the folder's lock, and never holds a secret in clear. It is written before SQL hears of
//! a new epoch, and after SQL has no row of one that goes; whoever opens it brings SQL up to it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kiki_types::UnixMillis;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::KeysError;
use super::files;
use super::master::Wrapped;

/// The file.
pub(crate) const RING_FILE: &str = "ring.json";
/// Epochs that live at the most. Rows are in the last two; the others are empty and wait for their end.
pub(crate) const LIVING_MAX: usize = 8;
/// Destroyed epochs that are told of; an epoch is known to be destroyed by its number alone.
const DESTROYED_MAX: usize = 100;
const VERSION: u32 = 1;

/// The file as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRing {
    version: u32,
    pub(crate) id: Uuid,
    pub(crate) epochs: Vec<Living>,
    pub(crate) destroyed: Vec<Ended>,
}

/// An epoch that lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Living {
    pub(crate) n: u32,
    pub(crate) began: UnixMillis,
    /// One for each master that can open it.
    pub(crate) wraps: Vec<Wrap>,
}

/// The secret of an epoch under a master.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wrap {
    pub(crate) master: String,
    pub(crate) key_version: u64,
    pub(crate) blob: String,
}

impl Wrap {
    pub(crate) fn of(master: &str, wrapped: Wrapped) -> Self {
        Self { master: master.to_owned(), key_version: wrapped.key_version, blob: wrapped.blob }
    }

    pub(crate) fn wrapped(&self) -> Wrapped {
        Wrapped { blob: self.blob.clone(), key_version: self.key_version }
    }
}

/// An epoch that is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    pub(crate) n: u32,
    pub(crate) began: UnixMillis,
    pub(crate) at: UnixMillis,
    /// Whether the master forgot the version that its secret was under; absent until the master was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forgotten: Option<bool>,
}

impl KeyRing {
    /// A ring with its first epoch.
    pub(crate) fn first(id: Uuid, epoch: Living) -> Self {
        Self { version: VERSION, id, epochs: vec![epoch], destroyed: Vec::new() }
    }

    /// The ring in the folder `keys`, if there is one.
    pub(crate) fn load(keys: &Path) -> Result<Option<Self>, KeysError> {
        let path = path(keys);
        let Some(bytes) = files::read_private(&path).map_err(|source| KeysError::file(&path, source))? else {
            return Ok(None);
        };
        let ring: Self = serde_json::from_slice(&bytes).map_err(|error| KeysError::form(&path, &error))?;
        ring.check().map_err(|why| KeysError::form(&path, &why))?;
        Ok(Some(ring))
    }

    /// As [`KeyRing::load`], for who does not hold the folder's lock: what may be read while another process replaces the
    /// file is read again when it has.
    pub(crate) fn read(keys: &Path) -> Result<Option<Self>, KeysError> {
        match Self::load(keys) {
            Err(KeysError::Form { .. }) => Self::read_locked(keys),
            read => read,
        }
    }

    /// As [`KeyRing::load`], with the folder locked meanwhile.
    pub(crate) fn read_locked(keys: &Path) -> Result<Option<Self>, KeysError> {
        let _guard = files::lock(keys).map_err(|source| KeysError::file(keys, source))?;
        Self::load(keys)
    }

    fn check(&self) -> Result<(), &'static str> {
        let ascends = self.epochs.windows(2).all(|pair| pair[0].n < pair[1].n);
        match () {
            () if self.version != VERSION => Err("is of a version that this program does not know"),
            () if self.epochs.is_empty() => Err("names no epoch"),
            () if !ascends || self.epochs.len() > LIVING_MAX => Err("its epochs do not ascend, or are too many"),
            () if self.epochs.iter().any(|epoch| epoch.wraps.is_empty()) => Err("an epoch has no secret"),
            () => Ok(()),
        }
    }

    /// Writes it. The folder is locked.
    pub(crate) fn store(&self, keys: &Path) -> Result<(), KeysError> {
        let path = path(keys);
        let json = serde_json::to_vec_pretty(self).map_err(|error| KeysError::form(&path, &error))?;
        files::replace(&path, &json).map_err(|source| KeysError::file(&path, source))
    }

    /// The epoch that people are put into.
    pub(crate) fn current(&self) -> &Living {
        &self.epochs[self.epochs.len() - 1]
    }

    /// Takes the epoch `n` out for good.
    pub(crate) fn destroy(&mut self, n: u32, at: UnixMillis) {
        let Some(place) = self.epochs.iter().position(|epoch| epoch.n == n) else { return };
        let epoch = self.epochs.remove(place);
        self.destroyed.push(Ended { n, began: epoch.began, at, forgotten: None });
        let extra = self.destroyed.len().saturating_sub(DESTROYED_MAX);
        self.destroyed.drain(..extra);
    }

    /// The lowest version of the key of `master` that a living epoch needs.
    pub(crate) fn lowest_version(&self, master: &str) -> Option<u64> {
        let of_master = self.epochs.iter().flat_map(|epoch| &epoch.wraps).filter(|wrap| wrap.master == master);
        of_master.map(|wrap| wrap.key_version).min()
    }

    /// The masters that its secrets are under.
    pub(crate) fn masters(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.epochs.iter().flat_map(|epoch| &epoch.wraps).map(|wrap| &*wrap.master).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// The file's path.
pub(crate) fn path(keys: &Path) -> PathBuf {
    keys.join(RING_FILE)
}

/// What differs when the file was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    changed: (i64, i64),
    inode: u64,
}

/// That of the file, if it is there.
pub(crate) fn stamp(keys: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path(keys)).ok()?;
    Some(Stamp { changed: (metadata.ctime(), metadata.ctime_nsec()), inode: metadata.ino() })
}

/// What the secret of an epoch is sealed with at its master.
pub(crate) fn context(ring: Uuid, n: u32) -> String {
    format!("kiki/ring/{ring}/epoch/{n}")
}
