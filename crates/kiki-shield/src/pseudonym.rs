//! Pseudonyms: keyed hashes that stand for those who act and for the keys of requests in the log. What stands for a
//! customer follows from the customer's own secret, and goes with it: [`kiki_store::personal::Subject`].
//!
//! HMAC-SHA-256 under a key that never leaves the installation, cut to 128 bits. Without the key nobody can test a
//! guess; with another tenant's name the same customer is somebody else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use hmac::{Hmac, Mac};
use kiki_spend::Digest;
use kiki_types::TenantId;
use rand::RngCore;
use rustix::fs::{FlockOperation, flock};
use sha2::Sha256;
use uuid::fmt::Simple;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const KEY_FILE: &str = "pseudonym.key";
/// The public half of the log's key, which is there once a log was kept.
const LOG_KEY_FILE: &str = "log.vkey";

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

    /// Reads the key `pseudonym.key` in the folder `keys`, or makes one there (mode 0600) from `random`.
    ///
    /// Where a log was kept already, which `log.vkey` beside it shows, a missing key is not replaced: under a new one
    /// nobody's consent and no idempotency key would be found again.
    ///
    /// # Errors
    /// What the file system says; a key of the wrong length, that others may read, or that is gone.
    pub fn open_or_create(keys: &Path, random: &mut dyn RngCore) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(keys)?;
        // Two processes that start together must not make two keys. Released when the handle is dropped.
        let guard = File::open(keys)?;
        flock(&guard, FlockOperation::LockExclusive)?;
        let path = keys.join(KEY_FILE);
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        match fs::metadata(&path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                Err(invalid("its mode lets others read the key; it must be 600"))
            }
            Ok(_) => {
                let key = Zeroizing::new(fs::read(&path)?);
                if key.len() == KEY_BYTES { Ok(Self::new(&key)) } else { Err(invalid("is not 32 bytes long")) }
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) if keys.join(LOG_KEY_FILE).exists() => Err(invalid(
                "is missing although a log was kept here; put it back, or no consent and no idempotency key is found again",
            )),
            Err(_) => Self::create(&path, &guard, random),
        }
    }

    fn create(path: &Path, keys: &File, random: &mut dyn RngCore) -> io::Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random.fill_bytes(&mut *key);
        let temporary = path.with_extension("tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&*key)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        keys.sync_all()?;
        Ok(Self::new(&*key))
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

    /// The database `source` from which entries of `tenant` come, as its relay with this `relay_key` speaks for it: who
    /// has another key speaks for another source.
    #[must_use]
    pub fn relayed(&self, tenant: &TenantId, source: uuid::Uuid, relay_key: &str) -> Digest {
        self.keyed("relayed", tenant, &format!("{source}\0{relay_key}"))
    }

    /// What the relay of the database `source` shows to be that one. Whoever shares the folder of keys can make it.
    #[must_use]
    pub fn relay_key(&self, source: uuid::Uuid) -> String {
        self.keyed("relay", &TenantId::default_tenant(), &source.to_string()).to_string()
    }

    /// The database `source` from which entries of `tenant` come.
    #[must_use]
    pub fn source(&self, tenant: &TenantId, source: uuid::Uuid) -> Digest {
        self.keyed("source", tenant, &source.to_string())
    }

    /// A request's id as the log may hold it: as it is if it is a UUID, otherwise a keyed hash, since a caller may put
    /// anything there. What it gave stays as it is when it is given again: other services hash before they write.
    #[must_use]
    pub fn request_id(&self, id: &str) -> String {
        match uuid::Uuid::try_parse(id) {
            Ok(uuid) if id.len() == Simple::LENGTH => uuid.simple().to_string(),
            Ok(uuid) => uuid.to_string(),
            Err(_) => self.keyed("request", &TenantId::default_tenant(), id).to_string(),
        }
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
    use super::*;

    #[test]
    fn the_same_name_is_somebody_else_for_another_tenant_or_key() {
        let tenants = ["a", "b"].map(|name| name.parse::<TenantId>().unwrap());
        let (one, other) = (Pseudonyms::new(&[1; 32]), Pseudonyms::new(&[2; 32]));
        assert_eq!(one.actor(&tenants[0], "x"), one.actor(&tenants[0], "x"));
        let different = [
            one.actor(&tenants[0], "x"),
            one.actor(&tenants[1], "x"),
            one.actor(&tenants[0], "y"),
            one.request_key(&tenants[0], "x"),
            other.actor(&tenants[0], "x"),
        ];
        let distinct: std::collections::HashSet<_> = different.iter().collect();
        assert_eq!(distinct.len(), different.len());
    }

    #[test]
    fn the_id_of_a_request_is_hashed_once_however_many_services_write_it_down() {
        let pseudonyms = Pseudonyms::new(&[1; 32]);
        let uuid = "0190d3b0-0000-7000-8000-000000000001";
        assert_eq!(pseudonyms.request_id(uuid), uuid);
        let hashed = pseudonyms.request_id("ann.miller@example.com");
        assert!(!hashed.contains("ann"), "{hashed}");
        assert_eq!(pseudonyms.request_id(&hashed), hashed);
    }

    #[test]
    fn the_key_is_made_once_and_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let path = keys.join(KEY_FILE);
        let tenant = TenantId::default_tenant();
        let open = || Pseudonyms::open_or_create(&keys, &mut rand::rng());
        let first = open().unwrap();
        assert_eq!(first.actor(&tenant, "x"), open().unwrap().actor(&tenant, "x"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open().unwrap_err().to_string().contains("600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(open().unwrap_err().to_string().contains("32 bytes"));
    }

    #[test]
    fn a_lost_key_is_not_replaced_where_a_log_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOG_KEY_FILE), "a log was kept").unwrap();
        let lost = Pseudonyms::open_or_create(folder.path(), &mut rand::rng());
        assert!(lost.unwrap_err().to_string().contains("is missing"));
        assert!(!folder.path().join(KEY_FILE).exists());
    }
}
