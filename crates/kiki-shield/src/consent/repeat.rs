//! Consent by requests that come with an `Idempotency-Key`.
//!
//! The governor decides, so what is decided and what SQL remembers are not one transaction. The id of the record follows
//! from the key: a repeat after a crash finds by it what became of the first try, and a consent that was taken back since
//! is not given again.

use kiki_store::idempotency::Key;
use kiki_types::TenantId;
use uuid::Uuid;

use super::gpc::Gpc;
use super::model::{Act, Record, State as RecordState};
use super::repo;
use super::service::{Made, Wanted};
use crate::error::ShieldError;
use crate::once::{Claim, Turn, one};
use crate::service::{Caller, Shield};

impl Shield {
    /// Gives consent or takes it back, as `act` says, once per key.
    ///
    /// While SQL is away a revocation stands all the same, and is not remembered: to take back twice is better than never.
    pub(crate) async fn consent_once(
        &self,
        caller: &Caller,
        key: Option<Key>,
        act: Act,
        wanted: Wanted,
        gpc: Gpc,
    ) -> Result<Made, ShieldError> {
        let turn = match self.turn(key).await {
            Err(ShieldError::Store(error)) if act == Act::Revoke && error.is_unavailable() => Turn::Mine(Claim::NONE),
            turn => turn?,
        };
        let claim = match turn {
            Turn::Mine(claim) => claim,
            Turn::Before(made) => return self.made_before(&caller.principal.tenant, &made).await,
        };
        let (shield, caller) = (self.clone(), caller.clone());
        let work = |claim: Claim| async move {
            let wanted = Wanted { id: claim.id(), ..wanted };
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
            let made = shield.confirm_consent(&asker, &token, gpc).await?;
            shield.remember_record(&claim, made.record.id).await;
            Ok(made)
        };
        let again = |made: Vec<Uuid>| async move { self.made_before(&caller.principal.tenant, &made).await };
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
        let found = match repo::find(&self.0.store, tenant, id).await {
            Err(error) if act == Act::Revoke && error.is_unavailable() => None,
            found => found?,
        };
        let Some(record) = found else { return Ok(None) };
        match record.state {
            // It may have been decided. Taking back again does no harm; for what is given, the log will tell.
            RecordState::Noted if act == Act::Revoke => Ok(None),
            RecordState::Noted => Err(ShieldError::KeyInProgress),
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
    async fn made_before(&self, tenant: &TenantId, made: &[Uuid]) -> Result<Made, ShieldError> {
        let record =
            repo::find(&self.0.store, tenant, one(made)).await?.ok_or(ShieldError::NotFound("consent record"))?;
        Ok(Made { record, signal: None })
    }
}

/// Whether a record was to be confirmed by the customer.
pub(super) fn waited(record: &Record) -> bool {
    record.confirm_by.0 > 0
}
