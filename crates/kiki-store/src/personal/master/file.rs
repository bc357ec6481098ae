//! A master key on this machine: 32 bytes in a file, or in a setting. It has one version and forgets nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{MasterError, MasterKey, Wrapped};
use crate::personal::error::KeysError;
use crate::personal::files;
use crate::personal::keyring;
use crate::personal::sealed::{self, FORMAT, Random, Secret};

/// The file.
const MASTER_FILE: &str = "master.key";

/// A master key that this process holds itself.
pub struct LocalMaster {
    name: String,
    key: Secret,
    random: Random,
}

impl LocalMaster {
    /// The key in `master.key` in the folder `keys`; made there, for its owner alone, if no ring is there either. It blocks.
    ///
    /// # Errors
    /// The file cannot be read or written, is not 32 bytes long, or others may read it; it is gone, and the ring is not.
    pub fn in_file(keys: &Path, random: Random) -> Result<Self, KeysError> {
        let path = keys.join(MASTER_FILE);
        let failed = |source| KeysError::file(&path, source);
        files::make_folder(keys).map_err(failed)?;
        let _guard = files::lock(keys).map_err(failed)?;
        let key = match files::read_private(&path).map_err(failed)?.map(Zeroizing::new) {
            Some(bytes) => sealed::secret_of(&bytes).ok_or_else(|| KeysError::form(&path, &"is not 32 bytes long"))?,
            // A ring may be under another master than this one.
            None if keyring::path(keys).exists() && is_under_a_file(keys)? => {
                return Err(KeysError::form(
                    &path,
                    &"is missing, and what is known of people is under it; put it back",
                ));
            }
            None => {
                let key = sealed::fresh(&random);
                files::replace(&path, &*key).map_err(failed)?;
                key
            }
        };
        Ok(Self::new("file", key, random))
    }

    /// The key in the setting `KIKI_MASTER_KEY`, in base64.
    ///
    /// # Errors
    /// It is not 32 bytes in base64.
    pub fn in_setting(base64: &str, random: Random) -> Result<Self, KeysError> {
        let decoded = STANDARD.decode(base64.trim()).map(Zeroizing::new).ok();
        let key = decoded.and_then(|bytes| sealed::secret_of(&bytes));
        let wrong = || KeysError::form(&PathBuf::from("KIKI_MASTER_KEY"), &"is not 32 bytes in base64");
        Ok(Self::new("env", key.ok_or_else(wrong)?, random))
    }

    fn new(kind: &str, key: Secret, random: Random) -> Self {
        let sum = Sha256::digest(*key);
        let name = format!("{kind}:{:02x}{:02x}{:02x}{:02x}", sum[0], sum[1], sum[2], sum[3]);
        Self { name, key, random }
    }

    fn opened(&self, aad: &str, wrapped: &Wrapped) -> Option<Secret> {
        let blob = STANDARD.decode(&wrapped.blob).ok()?;
        let (&FORMAT, sealed) = blob.split_first()? else { return None };
        sealed::secret_of(&sealed::open(&self.key, aad.as_bytes(), sealed)?)
    }
}

/// Whether an epoch of the ring is under a master key that is a file.
fn is_under_a_file(keys: &Path) -> Result<bool, KeysError> {
    let ring = keyring::KeyRing::load(keys)?;
    Ok(ring.is_some_and(|ring| ring.masters().iter().any(|name| name.starts_with("file:"))))
}

impl fmt::Debug for LocalMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalMaster").field(&self.name).finish()
    }
}

impl MasterKey for LocalMaster {
    fn name(&self) -> &str {
        &self.name
    }

    fn wrap<'a>(&'a self, aad: &'a str, secret: &'a [u8; 32]) -> BoxFuture<'a, Result<Wrapped, MasterError>> {
        let sealed = sealed::seal(&self.key, aad.as_bytes(), &[FORMAT], secret, &self.random);
        ready(Ok(Wrapped { blob: STANDARD.encode(sealed), key_version: 0 })).boxed()
    }

    fn unwrap<'a>(
        &'a self,
        aad: &'a str,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, MasterError>> {
        let refused = || MasterError::Refused {
            master: self.name.clone(),
            why: "the secret was not wrapped by it for this place".to_owned(),
        };
        ready(self.opened(aad, wrapped).ok_or_else(refused)).boxed()
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), MasterError>> {
        ready(Ok(())).boxed()
    }

    fn destroy_below(&self, _: u64) -> BoxFuture<'_, Result<bool, MasterError>> {
        ready(Ok(false)).boxed()
    }
}
