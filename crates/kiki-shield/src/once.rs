//! One effect and one answer for each `Idempotency-Key`.
//!
//! - The key is taken before anything is done: a repeat makes nobody known anew who was erased meanwhile.
//! - What is remembered is ids alone, in the transaction of the effect where there is one. The answer to a repeat is made of
//!   them again, so nothing about anybody is kept for it.
//! - Work with a key goes on when its caller leaves; a repeat is told that it is in progress until it has ended. After a
//!   crash the key is free once its lease has ended, and of the effect there is all or nothing.

use std::fmt::Debug;

use kiki_spend::OwnerError;
use kiki_store::idempotency::{self, Begin, Key, Response};
use kiki_store::{Store, Tx};
use kiki_types::TenantId;
use uuid::Uuid;

use crate::error::ShieldError;
use crate::service::Shield;

/// What a repeat is told of the status; each route knows its own.
const DONE: u16 = 200;

/// Whose turn it is.
pub(crate) enum Turn {
    /// The caller's: nothing was done under this key, or there is none.
    Mine(Claim),
    /// Nobody's: it was done before, and made what has these ids.
    Before(Vec<Uuid>),
    /// Somebody's who has not ended. What they make has this id, where it is one thing.
    Theirs(Uuid),
}

/// A key that was taken for what is being done; without one nothing is remembered.
#[derive(Clone)]
pub(crate) struct Claim(Option<Key>);

/// The id of what was made, where it is one thing.
pub(crate) fn one(made: &[Uuid]) -> Uuid {
    made.first().copied().unwrap_or_default()
}

impl Claim {
    /// No key came with the request.
    pub(crate) const NONE: Self = Self(None);

    /// An id for what is made: the same each time the same request comes in one life of the key.
    pub(crate) fn id(&self) -> Option<Uuid> {
        self.0.as_ref().map(Key::derived_id)
    }

    /// What the first try of the same request started from: `said`, if this is it.
    pub(crate) async fn start_from(&self, store: &Store, said: Vec<u8>) -> Result<Vec<u8>, ShieldError> {
        let Some(key) = &self.0 else { return Ok(said) };
        let mut tx = store.begin().await?;
        let first = idempotency::start_from(&mut tx, key, &said).await?.ok_or(ShieldError::KeyInProgress)?;
        tx.commit().await?;
        Ok(first)
    }

    /// Remembers, when `tx` commits, what was made.
    pub(crate) async fn remember(&self, tx: &mut Tx, made: &[Uuid]) -> Result<(), ShieldError> {
        let Some(key) = &self.0 else { return Ok(()) };
        let body = made.iter().flat_map(|id| *id.as_bytes()).collect();
        // Somebody else did it after the lease had ended; what they made is the answer.
        let is_mine = idempotency::finish(tx, key, &Response { status: DONE, body }).await?;
        if is_mine { Ok(()) } else { Err(ShieldError::KeyInProgress) }
    }
}

impl Shield {
    /// The key of a request for `verb`, if it came with one. `request` is all that the caller said.
    pub(crate) fn key(
        &self,
        tenant: &TenantId,
        verb: &'static str,
        given: Option<&str>,
        request: &impl Debug,
    ) -> Result<Option<Key>, ShieldError> {
        let hash = |text: &str| self.0.pseudonyms.request_key(tenant, text).to_string();
        let key = given.map(|given| Key::new(tenant, verb, given, format!("{request:?}").as_bytes(), hash));
        key.transpose().map_err(|error| ShieldError::invalid("idempotency-key", error))
    }

    /// Does `act`, which remembers what it made by its [`Claim`], or `again` with what was remembered.
    pub(crate) async fn once<T, E, Act, Again>(
        &self,
        key: Option<Key>,
        act: impl FnOnce(Claim) -> Act,
        again: impl FnOnce(Vec<Uuid>) -> Again,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ShieldError> + Send + 'static,
        Act: Future<Output = Result<T, E>> + Send + 'static,
        Again: Future<Output = Result<T, E>>,
    {
        match self.turn(key).await? {
            Turn::Mine(claim) => self.in_turn(claim, act).await,
            Turn::Before(made) => again(made).await,
            Turn::Theirs(_) => Err(ShieldError::KeyInProgress.into()),
        }
    }

    /// Takes `key`, unless it was taken.
    pub(crate) async fn turn(&self, key: Option<Key>) -> Result<Turn, ShieldError> {
        let Some(mut key) = key else { return Ok(Turn::Mine(Claim::NONE)) };
        let mut tx = self.0.store.begin().await?;
        let begun = idempotency::claim(&mut tx, &mut key, self.0.clock.now()).await?;
        tx.commit().await?;
        match begun {
            Begin::Fresh => Ok(Turn::Mine(Claim(Some(key)))),
            Begin::Replay(Response { body, .. }) => {
                Ok(Turn::Before(body.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).collect()))
            }
            Begin::Conflict => Err(ShieldError::KeyConflict),
            Begin::InProgress => Ok(Turn::Theirs(key.derived_id())),
        }
    }

    /// Does `act` to its end, also when the caller leaves. If it fails the key is free again.
    pub(crate) async fn in_turn<T, E, Act>(&self, claim: Claim, act: impl FnOnce(Claim) -> Act) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ShieldError> + Send + 'static,
        Act: Future<Output = Result<T, E>> + Send + 'static,
    {
        let work = act(claim.clone());
        let Some(key) = claim.0 else { return work.await };
        let shield = self.clone();
        let whole = async move {
            let done = work.await;
            if done.is_err() {
                shield.give_back(&key).await;
            }
            done
        };
        match self.0.tasks.spawn("request with a key", whole).await {
            Ok(Some(done)) => done,
            _ => Err(ShieldError::Undecided(OwnerError::Stopped).into()),
        }
    }

    /// Where that fails the lease ends by itself.
    async fn give_back(&self, key: &Key) {
        let given_back = async {
            let mut tx = self.0.store.begin().await?;
            idempotency::abandon(&mut tx, key).await?;
            tx.commit().await
        };
        if let Err(error) = given_back.await {
            tracing::warn!(%error, "an idempotency key stays taken until its lease ends");
        }
    }
}

#[cfg(test)]
#[path = "once_tests.rs"]
mod tests;
