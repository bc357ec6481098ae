//! A key of Vault's transit engine (OpenBao speaks the same).
//!
//! The token needs `update` on `encrypt/NAME`, `decrypt/NAME`, `keys/NAME/rotate`, `keys/NAME/config` and
//! `keys/NAME/trim` below the mount. The key must be this installation's alone: [`MasterKey::destroy_below`] takes its old
//! versions away from everybody. Its type is `aes256-gcm96` or `chacha20-poly1305`.
//!
//! Source: HashiCorp, "Transit secrets engine (API)". Trimming is final, and wants both minima to be set before.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use kiki_kit::egress::{Answer, Reach, Target};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::remote::{Remote, Unusable, base64, said};
use super::{MasterError, MasterKey, Wrapped};

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Agents of Vault may demand it, against requests that others were tricked into.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// Where a key of Vault is, and who asks for it.
#[derive(Clone, Copy)]
pub struct VaultSettings<'a> {
    /// Where Vault answers.
    pub origin: &'a Uri,
    /// Where the engine is mounted, such as `transit`.
    pub mount: &'a str,
    /// The key.
    pub key: &'a str,
    /// The token.
    pub token: &'a str,
    /// The namespace, if it is not the root.
    pub namespace: Option<&'a str>,
}

/// A key of Vault.
pub struct VaultTransit {
    remote: Remote,
    headers: HeaderMap,
    encrypt: Target,
    decrypt: Target,
    rotate: Target,
    config: Target,
    trim: Target,
}

#[derive(Deserialize)]
struct Whole<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

#[derive(Deserialize)]
struct Decrypted {
    plaintext: String,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

impl VaultTransit {
    /// The key that `settings` name. Nothing is asked yet.
    ///
    /// # Errors
    /// Vault may not be reached from here, or the token cannot be sent.
    pub fn new(settings: VaultSettings<'_>, reach: Reach) -> Result<Self, Unusable> {
        let VaultSettings { origin, mount, key, token, namespace } = settings;
        let remote = Remote::new(format!("vault:{mount}/{key}"), reach);
        let origin = origin.to_string();
        let at = |path: String| remote.target(&format!("{}/v1/{mount}/{path}", origin.trim_end_matches('/')));
        let secret = |text: &str| {
            let value = HeaderValue::from_str(text);
            let mut value = value.map_err(|_| remote.unusable("its token or namespace cannot be sent in a header"))?;
            value.set_sensitive(true);
            Ok::<_, Unusable>(value)
        };
        let mut headers = HeaderMap::new();
        headers.insert(TOKEN, secret(token)?);
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = namespace {
            headers.insert(NAMESPACE, secret(namespace)?);
        }
        Ok(Self {
            encrypt: at(format!("encrypt/{key}"))?,
            decrypt: at(format!("decrypt/{key}"))?,
            rotate: at(format!("keys/{key}/rotate"))?,
            config: at(format!("keys/{key}/config"))?,
            trim: at(format!("keys/{key}/trim"))?,
            headers,
            remote,
        })
    }

    async fn post(&self, target: &Target, body: &Value) -> Result<Answer, MasterError> {
        let answer = self.remote.post(target, self.headers.clone(), Bytes::from(body.to_string())).await?;
        let status = answer.status;
        if status.is_success() {
            return Ok(answer);
        }
        let told = serde_json::from_slice::<Errors>(&answer.body).ok().and_then(|told| told.errors.into_iter().next());
        let why = format!("{status} {}", said(told.as_deref().unwrap_or_default()));
        Err(match status.as_u16() {
            300..=399 => self.remote.unavailable(format!("{status}: this is a standby; name the active node")),
            // 412: this node has not seen yet what another one wrote.
            412 | 429 | 500.. => self.remote.unavailable(why.trim_end()),
            _ => self.remote.refused(why.trim_end()),
        })
    }

    async fn encrypted(&self, aad: &str, secret: &[u8; 32]) -> Result<Wrapped, MasterError> {
        let body = json!({"plaintext": *base64(secret), "associated_data": *base64(aad.as_bytes())});
        let answer = self.post(&self.encrypt, &body).await?;
        let blob = self.remote.read::<Whole<Encrypted>>(&answer)?.data.ciphertext;
        let key_version = version_of(&blob).ok_or_else(|| self.remote.unavailable("it answered no ciphertext"))?;
        Ok(Wrapped { blob, key_version })
    }

    async fn decrypted(&self, aad: &str, wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, MasterError> {
        let body = json!({"ciphertext": wrapped.blob, "associated_data": *base64(aad.as_bytes())});
        let answer = self.post(&self.decrypt, &body).await?;
        let text = Zeroizing::new(self.remote.read::<Whole<Decrypted>>(&answer)?.data.plaintext);
        self.remote.secret(&text)
    }
}

/// The version in `vault:v7:…`.
fn version_of(ciphertext: &str) -> Option<u64> {
    ciphertext.strip_prefix("vault:v")?.split_once(':')?.0.parse().ok()
}

impl MasterKey for VaultTransit {
    fn name(&self) -> &str {
        &self.remote.name
    }

    fn wrap<'a>(&'a self, aad: &'a str, secret: &'a [u8; 32]) -> BoxFuture<'a, Result<Wrapped, MasterError>> {
        async move {
            let wrapped = self.encrypted(aad, secret).await?;
            self.remote.proven(self, aad, secret, wrapped).await
        }
        .boxed()
    }

    fn unwrap<'a>(
        &'a self,
        aad: &'a str,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, MasterError>> {
        self.decrypted(aad, wrapped).boxed()
    }

    fn renew(&self) -> BoxFuture<'_, Result<(), MasterError>> {
        async move { self.post(&self.rotate, &json!({})).await.map(|_| ()) }.boxed()
    }

    fn destroy_below(&self, key_version: u64) -> BoxFuture<'_, Result<bool, MasterError>> {
        async move {
            if key_version <= 1 {
                return Ok(false);
            }
            let minima = json!({"min_decryption_version": key_version, "min_encryption_version": key_version});
            self.post(&self.config, &minima).await?;
            self.post(&self.trim, &json!({"min_available_version": key_version})).await?;
            Ok(true)
        }
        .boxed()
    }
}

impl std::fmt::Debug for VaultTransit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VaultTransit").field(&self.remote.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ciphertext_names_its_version() {
        assert_eq!(version_of("vault:v7:AAAA"), Some(7));
        for bad in ["vault:v7", "vault:vx:AAAA", "v7:AAAA", ""] {
            assert_eq!(version_of(bad), None, "{bad}");
        }
    }
}
