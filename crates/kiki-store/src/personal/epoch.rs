//! An epoch: for two weeks the key under which the keys of people are wrapped, and found.
//!
//! From its secret follow two keys: one wraps the secrets of people, the other makes locators, by which a customer id finds
//! its row. Without the epoch neither can a row be read nor a guess be tested.

use std::sync::Arc;

use kiki_types::{TenantId, UnixMillis};
use uuid::Uuid;

use super::sealed::{self, FORMAT, Random, Secret};
use super::subject::SubjectId;

/// Bytes of a wrapped secret: format, epoch, nonce, secret, tag.
pub(crate) const WRAPPED_BYTES: usize = 1 + 4 + sealed::SEAL_BYTES + sealed::KEY_BYTES;

/// A living epoch.
pub(crate) struct Epoch {
    pub(crate) n: u32,
    pub(crate) began: UnixMillis,
    wrap: Secret,
    locate: Secret,
}

impl Epoch {
    /// The epoch `n` of `secret`.
    pub(crate) fn new(n: u32, began: UnixMillis, secret: &Secret) -> Self {
        let wrap = sealed::derived(secret, "kiki/epoch/wrap/1");
        let locate = sealed::derived(secret, "kiki/epoch/locate/1");
        Self { n, began, wrap, locate }
    }

    /// By what the row of a customer id is found.
    pub(crate) fn locator(&self, tenant: &TenantId, customer: &str) -> [u8; 32] {
        sealed::mac(&self.locate, &[tenant.as_str().as_bytes(), b"\0", customer.as_bytes()])
    }

    /// `0x01 ‖ epoch ‖ nonce ‖ ciphertext ‖ tag` of the secret of a person.
    pub(crate) fn wrap(&self, tenant: &TenantId, id: SubjectId, secret: &Secret, random: &Random) -> Vec<u8> {
        let mut head = [FORMAT, 0, 0, 0, 0];
        head[1..].copy_from_slice(&self.n.to_be_bytes());
        sealed::seal(&self.wrap, &context(tenant, id), &head, &**secret, random)
    }

    /// The secret of a person, if it was wrapped for this row in this epoch.
    pub(crate) fn unwrap(&self, tenant: &TenantId, id: SubjectId, wrapped: &[u8]) -> Option<Secret> {
        let (head, sealed) = wrapped.split_first_chunk::<5>()?;
        let is_mine = wrapped.len() == WRAPPED_BYTES && head[0] == FORMAT && head[1..] == self.n.to_be_bytes();
        let plain = is_mine.then(|| sealed::open(&self.wrap, &context(tenant, id), sealed))??;
        sealed::secret_of(&plain)
    }
}

fn context(tenant: &TenantId, id: SubjectId) -> Vec<u8> {
    let mut aad = format!("kiki/subject/1\0{tenant}\0").into_bytes();
    aad.extend_from_slice(id.uuid().as_bytes());
    aad
}

/// The epochs of a ring that live.
pub(crate) struct Epochs {
    pub(crate) ring: Uuid,
    /// Ascending; never empty.
    living: Vec<Arc<Epoch>>,
}

/// What an epoch's number means.
pub(crate) enum Found<'a> {
    Living(&'a Arc<Epoch>),
    Destroyed,
    /// One that began after the ring was read last.
    Unknown,
}

impl Epochs {
    /// Those of `living`, which ascend; `None` without one.
    pub(crate) fn new(ring: Uuid, living: Vec<Arc<Epoch>>) -> Option<Self> {
        (!living.is_empty()).then_some(Self { ring, living })
    }

    /// The epoch that people are put into.
    pub(crate) fn current(&self) -> &Arc<Epoch> {
        &self.living[self.living.len() - 1]
    }

    /// Those that people are in: the current one first, and the one before it. Earlier ones are empty.
    pub(crate) fn searched(&self) -> impl Iterator<Item = &Arc<Epoch>> {
        self.living.iter().rev().take(2)
    }

    /// All that live, ascending.
    pub(crate) fn living(&self) -> &[Arc<Epoch>] {
        &self.living
    }

    /// When the epoch `n` began: no later than those after it did, whatever the clock said.
    pub(crate) fn began(&self, n: u32) -> UnixMillis {
        let since = self.living.iter().filter(|epoch| epoch.n >= n).map(|epoch| epoch.began);
        since.min().unwrap_or(self.current().began)
    }

    /// The epoch `n`. Epochs are numbered without gaps and never come back.
    pub(crate) fn get(&self, n: u32) -> Found<'_> {
        match self.living.iter().find(|epoch| epoch.n == n) {
            Some(epoch) => Found::Living(epoch),
            None if n < self.current().n => Found::Destroyed,
            None => Found::Unknown,
        }
    }
}
