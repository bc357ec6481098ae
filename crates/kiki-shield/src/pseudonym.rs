//! Pseudonyms: keyed hashes that stand for people and for the keys of requests in the log.
//!
//! HMAC-SHA-256 under a key that never leaves the installation, cut to 128 bits. Without the key nobody can test a
//! guess; with another tenant's name the same customer is somebody else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hmac::{Hmac, Mac};
use kiki_spend::Digest;
use kiki_types::TenantId;
use rand::RngCore;
use sha2::Sha256;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;

/// Makes pseudonyms. Shows nothing of its key.
#[derive(Clone)]
pub struct Pseudonyms(Hmac<Sha256>);

impl Pseudonyms {
    /// Pseudonyms under `key`.
    ///
    /// # Panics
    /// Never: HMAC takes keys of any length.
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("any length"))
    }

    /// Reads the key from `path`, or makes one there (mode 0600) from `random`.
    ///
    /// # Errors
    /// What the file system says, or a key of the wrong length.
    pub fn open_or_create(path: &Path, random: &mut dyn RngCore) -> io::Result<Self> {
        match fs::read(path).map(Zeroizing::new) {
            Ok(key) if key.len() == KEY_BYTES => Ok(Self::new(&key)),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the key of the pseudonyms is not 32 bytes long")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path, random),
            Err(error) => Err(error),
        }
    }

    fn create(path: &Path, random: &mut dyn RngCore) -> io::Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random.fill_bytes(&mut *key);
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let temporary = path.with_extension("tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&*key)?;
        file.sync_all()?;
        // A second process that got here first has made the key that counts.
        match fs::hard_link(&temporary, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        fs::remove_file(&temporary)?;
        fs::File::open(folder)?.sync_all()?;
        fs::read(path).map(|key| Self::new(&Zeroizing::new(key)))
    }

    /// The customer `id` of `tenant`.
    #[must_use]
    pub fn customer(&self, tenant: &TenantId, id: &str) -> Digest {
        self.keyed("customer", tenant, id)
    }

    /// The actor `name` of `tenant`.
    #[must_use]
    pub fn actor(&self, tenant: &TenantId, name: &str) -> Digest {
        self.keyed("actor", tenant, name)
    }

    /// The idempotency key `key` of `tenant`.
    #[must_use]
    pub fn request_key(&self, tenant: &TenantId, key: &str) -> Digest {
        self.keyed("key", tenant, key)
    }

    fn keyed(&self, kind: &str, tenant: &TenantId, text: &str) -> Digest {
        let mut mac = self.0.clone();
        // Neither kinds nor tenants hold a zero byte, so no two triples are hashed alike.
        for part in [kind.as_bytes(), b"\0", tenant.as_str().as_bytes(), b"\0", text.as_bytes()] {
            mac.update(part);
        }
        let full = mac.finalize().into_bytes();
        let mut half = [0; 16];
        half.copy_from_slice(&full[..16]);
        Digest(half)
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_same_person_is_somebody_else_for_another_tenant_or_key() {
        let tenants = ["a", "b"].map(|name| name.parse::<TenantId>().unwrap());
        let (one, other) = (Pseudonyms::new(&[1; 32]), Pseudonyms::new(&[2; 32]));
        assert_eq!(one.customer(&tenants[0], "x"), one.customer(&tenants[0], "x"));
        let different = [
            one.customer(&tenants[0], "x"),
            one.customer(&tenants[1], "x"),
            one.customer(&tenants[0], "y"),
            one.actor(&tenants[0], "x"),
            other.customer(&tenants[0], "x"),
        ];
        let distinct: std::collections::HashSet<_> = different.iter().collect();
        assert_eq!(distinct.len(), different.len());
    }

    #[test]
    fn the_key_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/pseudonym.key");
        let tenant = TenantId::default_tenant();
        let first = Pseudonyms::open_or_create(&path, &mut rand::rng()).unwrap();
        let second = Pseudonyms::open_or_create(&path, &mut rand::rng()).unwrap();
        assert_eq!(first.customer(&tenant, "x"), second.customer(&tenant, "x"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(Pseudonyms::open_or_create(&path, &mut rand::rng()).is_err());
    }
}
