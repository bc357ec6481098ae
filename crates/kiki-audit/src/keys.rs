//! The key that signs checkpoints: `log.key`, readable by its owner only, and `log.vkey`, for everybody who checks.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::disk::RealDisk;
use crate::error::Error;
use crate::files;
use crate::note::{NOTE_BYTES_MAX, NoteError, SignerKey, VerifierKey};

/// The file of the public half, beside `log.key`.
pub const VERIFIER_FILE: &str = "log.vkey";
const SIGNER_FILE: &str = "log.key";

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
    /// The key is of another log.
    #[error("{}: the key is of {found}, not of {expected}", path.display())]
    Origin {
        /// The file.
        path: PathBuf,
        /// The origin that was asked for.
        expected: String,
        /// The one in the file.
        found: String,
    },
}

impl LogKey {
    /// The key of the log `origin` in `dir`. `fresh_seed` gives 32 random bytes; it is called only where there is no key
    /// yet. `log.vkey` is written if it is missing or differs.
    ///
    /// # Errors
    /// A file cannot be read or written, is malformed, is readable by others, or is the key of another log; or the
    /// private half is gone and the public one is not.
    pub fn open_or_create(
        dir: &Path,
        origin: &str,
        fresh_seed: impl FnOnce() -> Zeroizing<[u8; 32]>,
    ) -> Result<Self, KeyError> {
        files::create_dirs(&RealDisk, dir)?;
        // Two processes that start together must not make two keys. Released when the handle is dropped.
        let guard = File::open(dir).map_err(Error::io(dir))?;
        flock(&guard, FlockOperation::LockExclusive).map_err(io::Error::from).map_err(Error::io(dir))?;
        let path = dir.join(SIGNER_FILE);
        let key = match read_private(&path)? {
            Some(text) => SignerKey::parse(text.trim_end()).map_err(form(&path))?,
            None if dir.join(VERIFIER_FILE).exists() => return Err(KeyError::Missing { path }),
            None => create(&path, origin, &fresh_seed())?,
        };
        let found = key.verifier().name();
        if found != origin {
            return Err(KeyError::Origin { path, expected: origin.to_owned(), found: found.to_owned() });
        }
        publish(&dir.join(VERIFIER_FILE), key.verifier())?;
        Ok(Self(key))
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        self.0.verifier()
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        self.0.sign(text)
    }
}

fn form(path: &Path) -> impl FnOnce(NoteError) -> KeyError {
    move |source| KeyError::Form { path: path.to_owned(), source }
}

fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>, KeyError> {
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path)(error).into()),
    };
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let bytes = Zeroizing::new(files::read(&RealDisk, path, NOTE_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| form(path)(NoteError::SignerKey))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

fn create(path: &Path, origin: &str, seed: &[u8; 32]) -> Result<SignerKey, KeyError> {
    let key = SignerKey::new(origin, seed).map_err(form(path))?;
    let mut text = key.text();
    text.push('\n');
    files::replace(&RealDisk, path, text.as_bytes())?;
    Ok(key)
}

fn publish(path: &Path, key: &VerifierKey) -> Result<(), Error> {
    let text = format!("{key}\n");
    match files::read_if_there(&RealDisk, path, NOTE_BYTES_MAX)? {
        Some(found) if found == text.as_bytes() => Ok(()),
        _ => files::replace(&RealDisk, path, text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
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
