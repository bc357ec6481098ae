//! Master keys: what wraps the secrets of epochs, and never sees data.

use std::fmt;

use futures::future::BoxFuture;
use zeroize::Zeroizing;

mod file;
mod kms;
mod remote;
mod sigv4;
mod vault;

pub use file::LocalMaster;
pub use kms::{AwsKms, KmsSettings};
pub use remote::Unusable;
pub use vault::{VaultSettings, VaultTransit};

/// A secret of an epoch, as a master wrapped it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wrapped {
    /// As text, in the master's own format.
    pub blob: String,
    /// Which version of the master's key wrapped it; 0 where the master does not tell.
    pub key_version: u64,
}

/// Why a master did not answer.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// It cannot be reached, or is busy; later it may answer.
    #[error("the master key {master} does not answer: {why}")]
    Unavailable {
        /// Its name.
        master: String,
        /// What went wrong; no secret.
        why: String,
    },
    /// It answered, and refuses: a wrong token, a wrong context, a version that was destroyed.
    #[error("the master key {master} refuses: {why}")]
    Refused {
        /// Its name.
        master: String,
        /// What it said; no secret.
        why: String,
    },
}

/// Wraps and unwraps secrets of epochs. `aad` binds a wrapped secret to its place: under another one it does not unwrap.
pub trait MasterKey: fmt::Debug + Send + Sync {
    /// Which one it is, without anything secret, such as `file:5f3a1c02`, `vault:transit/kiki`, `aws-kms:<arn>`.
    fn name(&self) -> &str;

    /// Wraps `secret`.
    fn wrap<'a>(&'a self, aad: &'a str, secret: &'a [u8; 32]) -> BoxFuture<'a, Result<Wrapped, MasterError>>;

    /// Gives the secret back.
    fn unwrap<'a>(
        &'a self,
        aad: &'a str,
        wrapped: &'a Wrapped,
    ) -> BoxFuture<'a, Result<Zeroizing<[u8; 32]>, MasterError>>;

    /// Asked before an epoch begins: a master that has versions makes the next one.
    fn renew(&self) -> BoxFuture<'_, Result<(), MasterError>>;

    /// Forgets every version below `key_version`. `true` where the master itself can no longer unwrap with them, `false`
    /// where only the wrapped secrets can be destroyed.
    fn destroy_below(&self, key_version: u64) -> BoxFuture<'_, Result<bool, MasterError>>;
}

#[cfg(test)]
mod remote_tests;
