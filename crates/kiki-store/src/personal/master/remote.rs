//! What master keys that are asked over HTTP share.
//!
//! Invariants: what a service says reaches errors shortened and without control characters; a secret that was wrapped is
//! asked back before it counts, under its own context and under another one, so that a service that forgets it, or binds it
//! to nothing, is noticed while nothing depends on it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::HeaderMap;
use kiki_kit::egress::{Answer, Egress, EgressError, Limits, Reach, Target};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::{MasterError, MasterKey, Wrapped};

/// Bounds of what is asked of a master.
const LIMITS: Limits = Limits { requests_max: 4, time_max: Duration::from_secs(10), body_bytes_max: 64 << 10 };
/// Characters of what a service said that are repeated at the most.
const SAID_MAX: usize = 200;

/// Why a master key cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[error("the master key {master} cannot be asked: {why}")]
pub struct Unusable {
    /// Its name.
    pub master: String,
    /// What is wrong; no secret.
    pub why: String,
}

/// A service over HTTP, and its name in errors.
pub(super) struct Remote {
    pub(super) name: String,
    egress: Egress,
    reach: Reach,
}

impl Remote {
    pub(super) fn new(name: String, reach: Reach) -> Self {
        Self { name, egress: Egress::new(reach, LIMITS), reach }
    }

    pub(super) fn target(&self, url: &str) -> Result<Target, Unusable> {
        Target::parse(url, self.reach).map_err(|error| self.unusable(format!("its address {error}{}", hint(&error))))
    }

    pub(super) fn unusable(&self, why: impl Into<String>) -> Unusable {
        Unusable { master: self.name.clone(), why: why.into() }
    }

    pub(super) fn refused(&self, why: impl Into<String>) -> MasterError {
        MasterError::Refused { master: self.name.clone(), why: why.into() }
    }

    pub(super) fn unavailable(&self, why: impl Into<String>) -> MasterError {
        MasterError::Unavailable { master: self.name.clone(), why: why.into() }
    }

    pub(super) async fn post(&self, target: &Target, headers: HeaderMap, body: Bytes) -> Result<Answer, MasterError> {
        self.egress.post(target, headers, body).await.map_err(|error| {
            let is_kept_out = matches!(error, EgressError::OutOfReach);
            let hint = if is_kept_out { REACH_HINT } else { "" };
            self.unavailable(format!("{error}{hint}"))
        })
    }

    /// What an answer says in JSON.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, MasterError> {
        serde_json::from_slice(&answer.body)
            .map_err(|_| self.unavailable("what it answered is not what such a service answers"))
    }

    /// The 32 bytes that `text` is in base64.
    pub(super) fn secret(&self, text: &Zeroizing<String>) -> Result<Zeroizing<[u8; 32]>, MasterError> {
        let bytes = BASE64.decode(text.as_bytes()).map(Zeroizing::new);
        let secret = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        secret.map(Zeroizing::new).ok_or_else(|| self.refused("what it unwrapped is no secret of an epoch"))
    }

    /// Asks back what was wrapped.
    pub(super) async fn proven(
        &self,
        master: &dyn MasterKey,
        aad: &str,
        secret: &[u8; 32],
        wrapped: Wrapped,
    ) -> Result<Wrapped, MasterError> {
        if *master.unwrap(aad, &wrapped).await? != *secret {
            return Err(self.refused("it gives back another secret than it wrapped"));
        }
        match master.unwrap(&format!("{aad}/another"), &wrapped).await {
            Err(MasterError::Refused { .. }) => Ok(wrapped),
            Ok(_) => {
                Err(self.refused("it binds what it wraps to no context: it is too old, or the key of a wrong type"))
            }
            Err(error) => Err(error),
        }
    }
}

const REACH_HINT: &str = " (KIKI_EGRESS_REACH=loopback opens this machine, private also private networks)";

fn hint(error: &kiki_kit::egress::TargetError) -> &'static str {
    if *error == kiki_kit::egress::TargetError::OutOfReach { REACH_HINT } else { "" }
}

pub(super) fn base64(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a service said, fit for a line of a log.
pub(super) fn said(text: &str) -> String {
    text.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).take(SAID_MAX).collect()
}
