//! Consent by requests that come with an `Idempotency-Key`.
//!
//! The governor decides, so what is decided and what SQL remembers are not one transaction. The id of the record follows
//! from the key: a repeat after a crash finds by it what became of the first try, and a consent that was taken back since
//! is not given again.
//!
//! Taking back is refused for its key only where that came with another request; it waits for none, and SQL is asked about
//! it for a moment at the most: to take back twice is better than late. The signal of a browser is heeded whatever the key says.

use std::time::Duration;

use kiki_store::idempotency::Key;
use kiki_store::personal::Mint;
use kiki_types::TenantId;
use uuid::Uuid;

use super::gpc::Gpc;
use super::model::{Act, Record, State as RecordState};
use super::repo;
use super::service::{Made, Wanted};
use crate::error::ShieldError;
use crate::once::{Claim, Turn, one};
use crate::service::{Caller, Shield};

/// How long a revocation asks SQL whether it was done before.
const PATIENCE: Duration = Duration::from_millis(250);

impl Shield {
    /// Gives consent or takes it back, as `act` says, once per key.
    ///
    /// While SQL is away a revocation stands all the same, and is not remembered.
    pub(crate) async fn consent_once(
        &self,
        caller: &Caller,
        key: Option<Key>,
        act: Act,
        wanted: Wanted,
        gpc: Gpc,
    ) -> Result<Made, ShieldError> {
        let (claim, id) = match self.soon(act, self.turn(key)).await {
            Ok(None) => (Claim::NONE, None),
            Ok(Some(Turn::Mine(claim))) => {
                let id = claim.id();
                (claim, id)
            }
            Ok(Some(Turn::Theirs(id))) if act == Act::Revoke => (Claim::NONE, Some(id)),
            Ok(Some(Turn::Theirs(_))) => {
                return self.heed_and_refuse(caller, &wanted, gpc, ShieldError::KeyInProgress).await;
            }
            Ok(Some(Turn::Before(made))) => {
                let signal = self.heed_again(caller, &wanted.customer_id, gpc).await?;
                return Ok(Made { record: self.made_before(&caller.principal.tenant, &made).await?, signal });
            }
            Err(error) => return self.heed_and_refuse(caller, &wanted, gpc, error).await,
        };
        let (shield, caller) = (self.clone(), caller.clone());
        let work = |claim: Claim| async move {
            let wanted = Wanted { id, ..wanted };
            let made = match shield.done_before_the_end(&caller, act, &wanted, gpc).await? {
                Some(made) => made,
                None if act == Act::Revoke => shield.revoke_consent(&caller, wanted, gpc).await?,
                None => shield.give_consent(&caller, wanted, gpc).await?,
            };
            shield.remember_record(&claim, made.record.id).await;
            Ok(made)
        };
        self.in_turn(claim, work).await
    }

    /// Lets stand what a customer confirms, once per key: with it, a repeat does not find its token used.
    pub(crate) async fn confirm_once(
        &self,
        caller: &Caller,
        key: Option<Key>,
        token: String,
        gpc: Gpc,
    ) -> Result<Made, ShieldError> {
        let (shield, asker) = (self.clone(), caller.clone());
        let work = |claim: Claim| async move {
            let made = match shield.confirmed_before_the_end(&asker, &token, &claim, gpc).await? {
                Some(made) => made,
                None => shield.confirm_consent(&asker, &token, claim.id(), gpc).await?,
            };
            shield.remember_record(&claim, made.record.id).await;
            Ok(made)
        };
        let again = |made: Vec<Uuid>| async move {
            let (tenant, store) = (&caller.principal.tenant, &self.0.store);
            let found = repo::with_person(store, tenant, one(&made)).await?;
            let (row, record, _) = found.ok_or(ShieldError::NotFound("consent record"))?;
            let signal = self.heed(caller, &self.0.subjects.unlock(&row)?, gpc).await?;
            Ok(Made { record, signal })
        };
        self.once(key, work, again).await
    }

    /// What the same request came to that was broken off before its end was remembered.
    async fn done_before_the_end(
        &self,
        caller: &Caller,
        act: Act,
        wanted: &Wanted,
        gpc: Gpc,
    ) -> Result<Option<Made>, ShieldError> {
        let Some(id) = wanted.id else { return Ok(None) };
        let tenant = &caller.principal.tenant;
        let finding = async { Ok(repo::find(&self.0.store, tenant, id).await?) };
        let Some(record) = self.soon(act, finding).await?.flatten() else { return Ok(None) };
        match record.state {
            // It may have been decided. Taking back again does no harm; for what is given, the log will tell.
            RecordState::Noted if act == Act::Revoke => Ok(None),
            RecordState::Noted => self.heed_and_refuse(caller, wanted, gpc, ShieldError::KeyInProgress).await,
            RecordState::Void if !waited(&record) => Ok(None),
            RecordState::Void | RecordState::Awaiting | RecordState::Standing => {
                let who = self.somebody(tenant, &wanted.customer_id).await?;
                let signal = self.heed(caller, &who, gpc).await?;
                Ok(Some(Made { record, signal }))
            }
        }
    }

    /// Where that fails, the record itself tells what became of it once the key's lease has ended.
    async fn remember_record(&self, claim: &Claim, id: Uuid) {
        if claim.id().is_none() {
            return;
        }
        let remembered = async {
            let mut tx = self.0.store.begin().await?;
            claim.remember(&mut tx, &[id]).await?;
            Ok::<_, ShieldError>(tx.commit().await?)
        };
        if let Err(error) = remembered.await {
            tracing::warn!(%error, record = %id, "a record of consent is not remembered for its idempotency key");
        }
    }

    /// The record, as it stands now: of somebody who was erased since there is none.
    async fn made_before(&self, tenant: &TenantId, made: &[Uuid]) -> Result<Record, ShieldError> {
        repo::find(&self.0.store, tenant, one(made)).await?.ok_or(ShieldError::NotFound("consent record"))
    }

    /// What SQL says; where a revocation would have to wait for it, nothing.
    async fn soon<T>(
        &self,
        act: Act,
        asked: impl Future<Output = Result<T, ShieldError>>,
    ) -> Result<Option<T>, ShieldError> {
        if act != Act::Revoke {
            return asked.await.map(Some);
        }
        match tokio::time::timeout(PATIENCE, asked).await {
            Err(_) => Ok(None),
            Ok(Err(ShieldError::Store(error))) if error.is_unavailable() => Ok(None),
            Ok(answer) => answer.map(Some),
        }
    }

    /// Heeds the signal of a request that is not done anew. Nobody becomes known by it.
    async fn heed_again(&self, caller: &Caller, customer_id: &str, gpc: Gpc) -> Result<Option<u64>, ShieldError> {
        if !gpc.0 {
            return Ok(None);
        }
        match self.person(&caller.principal.tenant, customer_id, Mint::No).await? {
            Some(who) => self.heed(caller, &who, gpc).await,
            None => Ok(None),
        }
    }

    /// Says why a key refuses a request whose signal counts all the same.
    async fn heed_and_refuse<T>(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        gpc: Gpc,
        error: ShieldError,
    ) -> Result<T, ShieldError> {
        if matches!(error, ShieldError::KeyConflict | ShieldError::KeyInProgress) {
            self.heed_again(caller, &wanted.customer_id, gpc).await?;
        }
        Err(error)
    }
}

/// Whether a record was to be confirmed by the customer.
pub(super) fn waited(record: &Record) -> bool {
    record.confirm_by.0 > 0
}
