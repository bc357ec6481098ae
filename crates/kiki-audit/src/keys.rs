//! The key that signs checkpoints: `log.key`, readable by its owner only, and `log.vkey`, for everybody who checks;
//! `log.vkeys` has those before it too.
//!
//! A key is replaced by [`LogKey::rotate`] in steps, each durable before the next: `log.key.next`; the handover beside the
//! log, signed by both keys; `log.key.next` becomes `log.key`; the public files; the checkpoint, signed anew. The handover
//! decides: a crash before it leaves the old key, and from it on every opening goes on with what is left to do.
//!
//! The folder of the keys is beside that of the log, which is called `audit`.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::checkpoint::{self, Checkpoint};
use crate::disk::{Disk, RealDisk};
use crate::error::Error;
use crate::files;
use crate::handover::{self, Handover, Signer};
use crate::note::{Kind, NOTE_BYTES_MAX, NoteError, SignerKey, VerifierKey};

/// The file of the public half, beside `log.key`.
pub const VERIFIER_FILE: &str = "log.vkey";
/// The file of all public halves that the log has had, the newest first.
pub const VERIFIERS_FILE: &str = "log.vkeys";
const SIGNER_FILE: &str = "log.key";
const NEXT_FILE: &str = "log.key.next";
/// Bytes of the longest public file: that of all the keys that handovers can lead to.
const PUBLIC_BYTES_MAX: usize = 64 << 20;

/// The two files of a key, and what they hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyFiles {
    /// The private half.
    pub(crate) signer: &'static str,
    /// The public half.
    pub(crate) verifier: &'static str,
}

const LOG_FILES: KeyFiles = KeyFiles { signer: SIGNER_FILE, verifier: VERIFIER_FILE };

impl KeyFiles {
    /// The key `name` of this kind in `dir`; made from `fresh_seed` if there is none yet.
    pub(crate) fn open_or_create(
        self,
        disk: &dyn Disk,
        dir: &Path,
        name: &str,
        kind: Kind,
        fresh_seed: impl FnOnce() -> Zeroizing<[u8; 32]>,
    ) -> Result<SignerKey, KeyError> {
        files::create_dirs(disk, dir)?;
        let (path, public) = (dir.join(self.signer), dir.join(self.verifier));
        let key = match read_private(disk, &path)? {
            Some(text) => SignerKey::parse(text.trim_end()).map_err(form(&path))?,
            None if disk.exists(&public).map_err(Error::io(&public))? => return Err(KeyError::Missing { path }),
            None => create(disk, &path, name, kind, &fresh_seed())?,
        };
        if key.verifier().kind() != kind {
            return Err(form(&path)(NoteError::SignerKey));
        }
        let found = key.verifier().name();
        if found != name {
            return Err(KeyError::Origin { path, expected: name.to_owned(), found: found.to_owned() });
        }
        publish(disk, &public, &format!("{}\n", key.verifier()))?;
        Ok(key)
    }
}

/// The key of one log. Wiped from memory when dropped.
pub struct LogKey(SignerKey);

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogKey").field(&self.verifier().to_string()).finish()
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] Error),
    /// A file does not hold what it should.
    #[error("{}: {source}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteError,
    },
    /// Others may read the private half.
    #[error("{}: mode {mode:03o} lets others read the key; it must be 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There was a key: its public half is here, the private one is not.
    #[error("{}: is missing, but its public half is here; put it back, or a new key would sign a new history", path.display())]
    Missing {
        /// The file that is not there.
        path: PathBuf,
    },
    /// The log was handed over to another key.
    #[error("{}: the log was handed over to {to}, which this is not", path.display())]
    HandedOver {
        /// The file.
        path: PathBuf,
        /// The key that it was handed over to.
        to: String,
    },
    /// There is nothing to hand over.
    #[error("{}: nothing was signed yet", path.display())]
    NothingSigned {
        /// The checkpoint.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error("{}: another process has taken this lock", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The key is of another log or witness.
    #[error("{}: the key is of {found}, not of {expected}", path.display())]
    Origin {
        /// The file.
        path: PathBuf,
        /// The name that was asked for.
        expected: String,
        /// The one in the file.
        found: String,
    },
}

impl LogKey {
    /// The key of the log `origin` in `dir`. `fresh_seed` gives 32 random bytes; it is called only where there is no key
    /// yet. `log.vkey` and `log.vkeys` are written if they are missing or differ. A rotation that was begun is ended.
    ///
    /// # Errors
    /// A file cannot be read or written, is malformed, is readable by others, or is the key of another log; or the
    /// private half is gone and the public one is not; or the log was handed over to another key.
    pub fn open_or_create(
        dir: &Path,
        origin: &str,
        fresh_seed: impl FnOnce() -> Zeroizing<[u8; 32]>,
    ) -> Result<Self, KeyError> {
        let _guard = guard(dir)?;
        Self::open_or_create_on(&RealDisk, dir, origin, fresh_seed)
    }

    /// As [`Self::open_or_create`], on `disk`, where nobody else opens it meanwhile.
    pub(crate) fn open_or_create_on(
        disk: &dyn Disk,
        dir: &Path,
        origin: &str,
        fresh_seed: impl FnOnce() -> Zeroizing<[u8; 32]>,
    ) -> Result<Self, KeyError> {
        files::create_dirs(disk, dir)?;
        let chain = handover::load_on(disk, &log_beside(dir))?;
        settle_next(disk, dir, &chain)?;
        let key = LOG_FILES.open_or_create(disk, dir, origin, Kind::Note, fresh_seed)?;
        if let Some(handover) = chain.last().filter(|last| last.to != *key.verifier()) {
            return Err(KeyError::HandedOver { path: dir.join(SIGNER_FILE), to: handover.to.to_string() });
        }
        let keys = handover::all_keys(key.verifier(), &chain);
        let keys: String = keys.iter().map(|key| format!("{key}\n")).collect();
        publish(disk, &dir.join(VERIFIERS_FILE), &keys)?;
        Ok(Self(key))
    }

    /// Replaces the key in `dir` by one of `fresh_seed`, and signs the newest checkpoint with it. Nobody may have the log
    /// open. Returns the handover.
    ///
    /// # Errors
    /// A file cannot be read or written or is not as it must be, the log is open, or nothing was ever signed. If it fails
    /// half way, the next opening of the key ends it or takes it back.
    pub fn rotate(dir: &Path, fresh_seed: impl FnOnce() -> Zeroizing<[u8; 32]>) -> Result<Handover, KeyError> {
        let _guard = guard(dir)?;
        Self::rotate_on(&RealDisk, dir, fresh_seed)
    }

    /// As [`Self::rotate`], on `disk`, where nobody else opens the key meanwhile.
    pub(crate) fn rotate_on(
        disk: &dyn Disk,
        dir: &Path,
        fresh_seed: impl FnOnce() -> Zeroizing<[u8; 32]>,
    ) -> Result<Handover, KeyError> {
        let (log, current) = (log_beside(dir), dir.join(SIGNER_FILE));
        let lock = log.join("lock");
        let unsigned = || KeyError::NothingSigned { path: checkpoint::path(&log) };
        if !disk.exists(&log).map_err(Error::io(&log))? {
            return Err(unsigned());
        }
        let _lock = disk.lock(&lock).map_err(Error::io(&lock))?.ok_or(KeyError::InUse { path: lock })?;
        let text = read_private(disk, &current)?.ok_or_else(|| KeyError::Missing { path: current.clone() })?;
        let origin = SignerKey::parse(text.trim_end()).map_err(form(&current))?.verifier().name().to_owned();
        // Ends what an earlier rotation has left.
        let missing = || Zeroizing::new([0; 32]);
        let old = Self::open_or_create_on(disk, dir, &origin, missing)?;
        let (head, signer) = Checkpoint::load_signed(disk, &log, old.verifier())?.ok_or_else(unsigned)?;
        if signer != Signer::Key {
            // A checkpoint may be one handover behind the key, not two.
            old.sign_checkpoint(disk, &log, &head)?;
        }
        let new = create(disk, &dir.join(NEXT_FILE), &origin, Kind::Note, &fresh_seed())?;
        let chain = handover::load_on(disk, &log)?;
        handover::write(disk, &log, &chain, &Handover::signed(&old.0, &new, &head))?;
        let new = Self::open_or_create_on(disk, dir, &origin, missing)?;
        new.sign_checkpoint(disk, &log, &head)?;
        Ok(Handover { from: old.verifier().clone(), to: new.verifier().clone(), size: head.size, root: head.root })
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        self.0.verifier()
    }

    /// Signs the checkpoint of the log at `log` and puts it there.
    pub(crate) fn sign_checkpoint(&self, disk: &dyn Disk, log: &Path, head: &Checkpoint) -> Result<(), Error> {
        files::replace(disk, &checkpoint::path(log), self.sign(&head.text()).as_bytes())
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        self.0.sign(text)
    }
}

/// Keeps other processes from making or replacing keys in `dir` until it is dropped.
fn guard(dir: &Path) -> Result<File, Error> {
    files::create_dirs(&RealDisk, dir)?;
    let guard = File::open(dir).map_err(Error::io(dir))?;
    flock(&guard, FlockOperation::LockExclusive).map_err(io::Error::from).map_err(Error::io(dir))?;
    Ok(guard)
}

/// The log whose keys are in `dir`.
fn log_beside(dir: &Path) -> PathBuf {
    files::folder_of(dir).join("audit")
}

/// Puts the key that was made to be the next one in its place if the log was handed over to it; else removes it.
fn settle_next(disk: &dyn Disk, dir: &Path, chain: &[Handover]) -> Result<(), KeyError> {
    let next = dir.join(NEXT_FILE);
    let Some(text) = read_private(disk, &next)? else { return Ok(()) };
    let key = SignerKey::parse(text.trim_end()).map_err(form(&next))?;
    if chain.last().is_some_and(|last| last.to == *key.verifier()) {
        let current = dir.join(SIGNER_FILE);
        disk.rename(&next, &current).map_err(Error::io(&current))?;
    } else {
        disk.remove_file(&next).map_err(Error::io(&next))?;
    }
    files::sync_dir(disk, dir)?;
    Ok(())
}

fn form(path: &Path) -> impl FnOnce(NoteError) -> KeyError {
    move |source| KeyError::Form { path: path.to_owned(), source }
}

fn read_private(disk: &dyn Disk, path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    let mode = match disk.mode(path) {
        Ok(mode) => mode,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error).into()),
    };
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let bytes = Zeroizing::new(files::read(disk, path, NOTE_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| form(path)(NoteError::SignerKey))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

fn create(disk: &dyn Disk, path: &Path, name: &str, kind: Kind, seed: &[u8; 32]) -> Result<SignerKey, KeyError> {
    let key = SignerKey::new(name, kind, seed).map_err(form(path))?;
    let mut text = key.text();
    text.push('\n');
    files::replace(disk, path, text.as_bytes())?;
    Ok(key)
}

fn publish(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), Error> {
    match files::read_if_there(disk, path, PUBLIC_BYTES_MAX)? {
        Some(found) if found == text.as_bytes() => Ok(()),
        _ => files::replace(disk, path, text.as_bytes()),
    }
}

#[cfg(test)]
mod rotation;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ORIGIN: &str = "kiki.local/test";

    fn seed(byte: u8) -> impl FnOnce() -> Zeroizing<[u8; 32]> {
        move || Zeroizing::new([byte; 32])
    }

    #[test]
    fn a_key_is_made_once_and_shown_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let made = LogKey::open_or_create(&keys, ORIGIN, seed(7)).unwrap();
        let again = LogKey::open_or_create(&keys, ORIGIN, || panic!("there is a key")).unwrap();
        assert_eq!(made.verifier(), again.verifier());
        assert_eq!(VerifierKey::load(&keys.join(VERIFIER_FILE)).unwrap(), *made.verifier());
        let mode = fs::metadata(keys.join(SIGNER_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{made:?}").contains(made.0.text().rsplit('+').next().unwrap()));
    }

    #[test]
    fn a_lost_private_half_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let made = LogKey::open_or_create(dir.path(), ORIGIN, seed(7)).unwrap();
        fs::remove_file(dir.path().join(SIGNER_FILE)).unwrap();
        assert!(matches!(LogKey::open_or_create(dir.path(), ORIGIN, seed(8)), Err(KeyError::Missing { .. })));
        assert_eq!(VerifierKey::load(&dir.path().join(VERIFIER_FILE)).unwrap(), *made.verifier());
    }

    #[test]
    fn a_key_of_another_log_or_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        LogKey::open_or_create(dir.path(), ORIGIN, seed(7)).unwrap();
        let other = LogKey::open_or_create(dir.path(), "kiki.local/other", seed(8));
        assert!(matches!(other, Err(KeyError::Origin { .. })));
        let path = dir.path().join(SIGNER_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            LogKey::open_or_create(dir.path(), ORIGIN, seed(8)),
            Err(KeyError::Exposed { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "PRIVATE+KEY+").unwrap();
        assert!(matches!(LogKey::open_or_create(dir.path(), ORIGIN, seed(8)), Err(KeyError::Form { .. })));
    }
}
