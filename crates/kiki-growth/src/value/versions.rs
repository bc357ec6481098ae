//! Which models there are, how they compare, and which of them is in force.
//!
//! Promotions are a stack: a rollback takes the last one back, and what was in force before it is so again. Requests read which
//! model is in force when they begin and keep to it to their end, so a promotion drops none of them and mixes no two models. Each
//! version has one place in the stack, that of its last promotion. None is put in force whose customers are not kept any more.

use http::StatusCode;
use kiki_store::Tx;
use kiki_store::idempotency::{self, Key, Response};
use kiki_types::{Principal, TenantId, UnixMillis};
use serde::Serialize;

use super::audit::Entry;
use super::baseline::{Baseline, DAYS_RANGE};
use super::error::ValueError;
use super::model::SavedModel;
use super::repo::versions as repo;
use super::service::{Value, json};

/// Models of a page at the most.
pub(super) const MODELS_MAX: usize = 100;

impl Value {
    /// At most `limit` models whose version is below `below`, newest first.
    pub(super) async fn models(
        &self,
        tenant: &TenantId,
        below: Option<i64>,
        limit: usize,
    ) -> Result<Vec<SavedModel>, ValueError> {
        let limit = i64::try_from(limit.clamp(1, MODELS_MAX)).unwrap_or(1);
        Ok(repo::list(&self.needs.store, tenant, below.unwrap_or(i64::MAX), limit).await?)
    }

    /// The model of a version.
    pub(super) async fn model(&self, tenant: &TenantId, version: i64) -> Result<SavedModel, ValueError> {
        let found = repo::of_version(&self.needs.store, tenant, version).await?;
        found.ok_or(ValueError::NotFound("model"))
    }

    /// Puts a version in force.
    pub(super) async fn promote<A: Serialize>(
        &self,
        principal: &Principal,
        version: i64,
        key: Option<Key>,
        answer: fn(SavedModel) -> A,
    ) -> Result<Response, ValueError> {
        let tenant = &principal.tenant;
        let mut model = self.model(tenant, version).await?;
        let mut tx = self.needs.store.begin().await?;
        if let Some(answer) = self.replay(&mut tx, key.as_ref()).await? {
            return Ok(answer);
        }
        let newest = repo::newest(&mut tx, tenant).await?;
        keeps_customers(&mut tx, tenant, &model).await?;
        model.promoted_at = self.needs.clock.now().max(newest.promoted_at.plus(1));
        repo::set_promoted(&mut tx, tenant, model.id, model.promoted_at).await?;
        let resource = format!("value/model/{}", model.id);
        self.audit(
            &mut tx,
            principal,
            Entry { event_type: "value.model.promote", action: "promote", resource, ..Entry::default() },
        )?;
        let response = json(StatusCode::OK, &answer(model))?;
        if let Some(key) = &key {
            idempotency::finish(&mut tx, key, &response).await?;
        }
        tx.commit().await?;
        Ok(response)
    }

    /// Takes the last promotion back.
    pub(super) async fn roll_back<A: Serialize>(
        &self,
        principal: &Principal,
        key: Option<Key>,
        answer: fn(SavedModel) -> A,
    ) -> Result<Response, ValueError> {
        let tenant = &principal.tenant;
        let mut tx = self.needs.store.begin().await?;
        if let Some(answer) = self.replay(&mut tx, key.as_ref()).await? {
            return Ok(answer);
        }
        let [current, before] = <[SavedModel; 2]>::try_from(repo::in_force(&mut tx, tenant).await?)
            .map_err(|models| if models.is_empty() { ValueError::NoModel } else { ValueError::NothingBefore })?;
        keeps_customers(&mut tx, tenant, &before).await?;
        repo::set_promoted(&mut tx, tenant, current.id, UnixMillis(0)).await?;
        let resource = format!("value/model/{}", before.id);
        self.audit(
            &mut tx,
            principal,
            Entry { event_type: "value.model.rollback", action: "rollback", resource, ..Entry::default() },
        )?;
        let response = json(StatusCode::OK, &answer(before))?;
        if let Some(key) = &key {
            idempotency::finish(&mut tx, key, &response).await?;
        }
        tx.commit().await?;
        Ok(response)
    }

    /// An error where the customers of `model` went, as those of older models do.
    pub(super) async fn still_knows_customers(&self, tenant: &TenantId, model: &SavedModel) -> Result<(), ValueError> {
        if model.customers > 0 && !repo::has_customers(&self.needs.store, tenant, model.id).await? {
            return Err(ValueError::CustomersGone(model.version));
        }
        Ok(())
    }

    /// What the tenant takes without anything being done, by the log of the model in force.
    pub(super) async fn baseline(&self, tenant: &TenantId, days: u32) -> Result<(SavedModel, Baseline), ValueError> {
        if !DAYS_RANGE.contains(&days) {
            return Err(ValueError::invalid("days", "must be 14 to 365"));
        }
        let model = self.current(tenant).await?;
        let revenue = repo::revenue(&self.needs.store, tenant, model.id).await?;
        let baseline = revenue.baseline(days, model.currency).ok_or(ValueError::NoBaseline)?;
        Ok((model, baseline))
    }
}

/// An error where the customers of `model` went, as those of older models do; else they stay until `tx` ends.
async fn keeps_customers(tx: &mut Tx, tenant: &TenantId, model: &SavedModel) -> Result<(), ValueError> {
    if model.customers > 0 && !repo::keeps_customers(tx, tenant, model.id).await? {
        return Err(ValueError::CustomersGone(model.version));
    }
    Ok(())
}
