//! A symmetric key of AWS KMS.
//!
//! The account needs `kms:Encrypt` and `kms:Decrypt` on the key. KMS keeps every version of a key until the key is deleted
//! as a whole, so what ends an epoch here is the end of what KMS wrapped: [`MasterKey::destroy_below`] answers `false`.
//! Credentials are those that are configured; the ones that clouds give to machines are not asked for.
//!
//! Source: AWS Key Management Service API Reference, `Encrypt` and `Decrypt`.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use kiki_kit::clock::Clock;
use kiki_kit::egress::{Answer, Reach, Target};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::remote::{Remote, Unusable, base64, said};
use super::sigv4::{Signer, amz_date};
use super::{MasterError, MasterKey, Wrapped};

const CONTENT: &str = "application/x-amz-json-1.1";
/// The key of the encryption context.
const CONTEXT: &str = "kiki";
/// What KMS cannot do now and may do later.
const PASSING: [&str; 5] = [
    "ThrottlingException",
    "LimitExceededException",
    "DependencyTimeoutException",
    "KMSInternalException",
    "KeyUnavailableException",
];

/// Which key of KMS it is, and who asks for it.
#[derive(Clone, Copy)]
pub struct KmsSettings<'a> {
    /// The region, such as `eu-central-1`.
    pub region: &'a str,
    /// The key's id, alias or ARN.
    pub key: &'a str,
    /// Another service that speaks as KMS does.
    pub endpoint: Option<&'a Uri>,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: &'a str,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: &'a str,
    /// `AWS_SESSION_TOKEN`, if the credentials are temporary.
    pub session_token: Option<&'a str>,
}

/// A key of AWS KMS.
pub struct AwsKms {
    remote: Remote,
    target: Target,
    host: String,
    region: String,
    key: String,
    access_key_id: Zeroizing<String>,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct Encrypted {
    #[serde(rename = "CiphertextBlob")]
    blob: String,
}

#[derive(Deserialize)]
struct Decrypted {
    #[serde(rename = "Plaintext")]
    plaintext: String,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(rename = "__type", default)]
    kind: String,
}

impl AwsKms {
    /// The key that `settings` name. Nothing is asked yet.
    ///
    /// # Errors
    /// KMS may not be reached from here.
    pub fn new(settings: KmsSettings<'_>, reach: Reach, clock: Arc<dyn Clock>) -> Result<Self, Unusable> {
        let KmsSettings { region, key, endpoint, access_key_id, secret_access_key, session_token } = settings;
        let remote = Remote::new(format!("aws-kms:{region}:{key}"), reach);
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        let own = || format!("https://kms.{region}.amazonaws.com{suffix}/").parse::<Uri>();
        let url = endpoint.cloned().map_or_else(own, Ok).map_err(|_| remote.unusable("its region is none"))?;
        let host = url.authority().map(ToString::to_string).unwrap_or_default();
        let target = remote.target(&format!("{}://{host}/", url.scheme_str().unwrap_or("https")))?;
        let secret = |text: &str| Zeroizing::new(text.to_owned());
        Ok(Self {
            target,
            host,
            region: region.to_owned(),
            key: key.to_owned(),
            access_key_id: secret(access_key_id),
            secret_access_key: secret(secret_access_key),
            session_token: session_token.map(secret),
            clock,
            remote,
        })
    }

    async fn call<T: DeserializeOwned>(&self, operation: &str, body: &Value) -> Result<T, MasterError> {
        let body = Bytes::from(body.to_string());
        let headers = self.signed(&format!("TrentService.{operation}"), &body)?;
        let answer = self.remote.post(&self.target, headers, body).await?;
        if answer.status.is_success() { self.remote.read(&answer) } else { Err(self.failed(&answer)) }
    }

    fn signed(&self, target: &str, body: &[u8]) -> Result<HeaderMap, MasterError> {
        let now = self.clock.now();
        let date = amz_date(now);
        let mut listed = vec![("content-type", CONTENT), ("host", &self.host), ("x-amz-date", &date)];
        listed.extend(self.session_token.as_ref().map(|token| ("x-amz-security-token", token.as_str())));
        listed.push(("x-amz-target", target));
        let signer = Signer {
            key_id: &self.access_key_id,
            secret: &self.secret_access_key,
            region: &self.region,
            service: "kms",
        };
        let authorization = signer.authorization("POST", &listed, body, now);
        listed.push(("authorization", &authorization));
        let header = |(name, value): (&'static str, &str)| {
            let value = HeaderValue::from_str(value);
            let mut value = value.map_err(|_| self.remote.refused("its credentials cannot be sent in a header"))?;
            value.set_sensitive(true);
            Ok((HeaderName::from_static(name), value))
        };
        listed.into_iter().map(header).collect()
    }

    fn failed(&self, answer: &Answer) -> MasterError {
        let kind = serde_json::from_slice::<Failed>(&answer.body).map(|failed| failed.kind).unwrap_or_default();
        let kind = kind.rsplit('#').next().unwrap_or_default();
        let why = format!("{} {}", answer.status, said(kind));
        let is_passing = answer.status.is_server_error() || answer.status.is_redirection() || PASSING.contains(&kind);
        if is_passing { self.remote.unavailable(why.trim_end()) } else { self.remote.refused(why.trim_end()) }
    }

    async fn encrypted(&self, aad: &str, secret: &[u8; 32]) -> Result<Wrapped, MasterError> {
        let body = json!({"KeyId": self.key, "Plaintext": *base64(secret), "EncryptionContext": {CONTEXT: aad}});
        let Encrypted { blob } = self.call("Encrypt", &body).await?;
        Ok(Wrapped { blob, key_version: 0 })
    }

    async fn decrypted(&self, aad: &str, wrapped: &Wrapped) -> Result<Zeroizing<[u8; 32]>, MasterError> {
        let body = json!({"KeyId": self.key, "CiphertextBlob": wrapped.blob, "EncryptionContext": {CONTEXT: aad}});
        let text = self.call::<Decrypted>("Decrypt", &body).await?.plaintext;
        self.remote.secret(&Zeroizing::new(text))
    }
}

impl MasterKey for AwsKms {
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
        std::future::ready(Ok(())).boxed()
    }

    fn destroy_below(&self, _: u64) -> BoxFuture<'_, Result<bool, MasterError>> {
        std::future::ready(Ok(false)).boxed()
    }
}

impl std::fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AwsKms").field(&self.remote.name).finish()
    }
}
