//! Creating campaigns and looking at them.

use http::StatusCode;
use kiki_store::idempotency::{self, Begin, Key, Response};
use kiki_types::TenantId;
use kiki_types::event::Outcome;
use kiki_types::id::CampaignId;

use super::Engage;
use super::audit::{self, Actor, Entry};
use super::campaign::{Campaign, budget_id};
use super::error::EngageError;
use super::input::NewCampaign;
use super::repo::{campaigns, messages};
use super::view::{CampaignDetail, CampaignPage, CampaignView};

impl Engage {
    /// Defines the campaign's budget at shield, then keeps the campaign. The answer to `key`, if there is one, is given
    /// again to a repeat. A crash in between leaves a budget that a repeat with the same key finds.
    pub(super) async fn create(
        &self,
        actor: &Actor,
        new: NewCampaign,
        mut key: Option<Key>,
    ) -> Result<Response, EngageError> {
        if let Some(answer) = self.claim_key(key.as_mut()).await? {
            return Ok(answer);
        }
        let created = self.create_once(actor, new, key.as_ref()).await;
        if created.is_err() {
            self.abandon_key(key.as_ref()).await;
        }
        created
    }

    async fn create_once(&self, actor: &Actor, new: NewCampaign, key: Option<&Key>) -> Result<Response, EngageError> {
        let needs = &self.needs;
        let campaign = &new.check(self.id(key), needs.clock.now())?;
        let gate = self.gate(&actor.tenant)?;
        gate.define_budget(&budget_id(campaign.id()), &campaign.offer.account, campaign.budget).await?;
        let now = needs.clock.now();
        let response = json(StatusCode::CREATED, &CampaignView::new(campaign, &[], now))?;
        let mut tx = needs.store.begin().await?;
        campaigns::insert(&mut tx, &actor.tenant, campaign).await?;
        let entry = Entry {
            event_type: "campaign.create",
            resource: format!("campaigns/{}", campaign.id()),
            outcome: Outcome::Allowed,
            reason: String::new(),
            customer: None,
        };
        audit::write(&mut tx, &needs.pseudonyms, actor, (needs.ids.uuid(), now), entry)?;
        if let Some(key) = key
            && !idempotency::finish(&mut tx, key, &response).await?
        {
            // Its lease ended, and somebody else has created the campaign: without this entry, which would be a second one.
            tx.rollback().await?;
            return Err(EngageError::KeyInProgress);
        }
        tx.commit().await?;
        Ok(response)
    }

    /// An id for what is made: of a key that was claimed, the same one in all its life, and another one in the next.
    pub(super) fn id(&self, key: Option<&Key>) -> CampaignId {
        key.map_or_else(|| CampaignId::new(&*self.needs.ids), |key| key.derived_id().into())
    }

    /// A campaign of `tenant`.
    pub(super) async fn campaign(&self, tenant: &TenantId, id: CampaignId) -> Result<Campaign, EngageError> {
        campaigns::find(&self.needs.store, tenant, id).await?.ok_or(EngageError::NotFound("campaign"))
    }

    /// A campaign and how far it came.
    pub(super) async fn view(&self, tenant: &TenantId, id: CampaignId) -> Result<CampaignView, EngageError> {
        let campaign = self.campaign(tenant, id).await?;
        let counts = messages::counts(&self.needs.store, tenant, id).await?;
        Ok(CampaignView::new(&campaign, &counts, self.needs.clock.now()))
    }

    /// A campaign with at most `limit` of its messages, after `after`.
    pub(super) async fn detail(
        &self,
        tenant: &TenantId,
        id: CampaignId,
        after: &str,
        limit: usize,
    ) -> Result<CampaignDetail, EngageError> {
        let campaign = self.view(tenant, id).await?;
        let mut page =
            messages::page(&self.needs.store, &self.needs.subjects, tenant, id, after, one_more(limit)).await?;
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|message| message.place.clone());
        Ok(CampaignDetail { campaign, outcomes: page.into_iter().map(Into::into).collect(), next })
    }

    /// At most `limit` campaigns after the campaign `after`.
    pub(super) async fn list(
        &self,
        tenant: &TenantId,
        after: Option<CampaignId>,
        limit: usize,
    ) -> Result<CampaignPage, EngageError> {
        let (store, now) = (&self.needs.store, self.needs.clock.now());
        let mut page = campaigns::list(store, tenant, after, one_more(limit)).await?;
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(Campaign::id);
        let mut views = Vec::with_capacity(page.len());
        for campaign in &page {
            let counts = messages::counts(store, tenant, campaign.id()).await?;
            views.push(CampaignView::new(campaign, &counts, now));
        }
        Ok(CampaignPage { campaigns: views, next })
    }

    /// Takes `key` for this try; the answer if the work was done before.
    pub(super) async fn claim_key(&self, key: Option<&mut Key>) -> Result<Option<Response>, EngageError> {
        let Some(key) = key else { return Ok(None) };
        let mut tx = self.needs.store.begin().await?;
        let begun = idempotency::claim(&mut tx, key, self.needs.clock.now()).await?;
        tx.commit().await?;
        match begun {
            Begin::Fresh => Ok(None),
            Begin::Replay(response) => Ok(Some(response)),
            Begin::Conflict => Err(EngageError::KeyConflict),
            Begin::InProgress => Err(EngageError::KeyInProgress),
        }
    }

    /// Gives `key` back, as nothing was done. Where that fails its lease ends by itself.
    pub(super) async fn abandon_key(&self, key: Option<&Key>) {
        let Some(key) = key else { return };
        let abandoned = async {
            let mut tx = self.needs.store.begin().await?;
            idempotency::abandon(&mut tx, key).await?;
            tx.commit().await
        };
        if let Err(error) = abandoned.await {
            tracing::warn!(%error, "an idempotency key stays taken until its lease ends");
        }
    }
}

/// `value` as an answer.
pub(super) fn json(status: StatusCode, value: &impl serde::Serialize) -> Result<Response, EngageError> {
    let body = serde_json::to_vec(value).map_err(|error| kiki_store::StoreError::Unreadable {
        column: "response".to_owned(),
        why: error.to_string(),
    })?;
    Ok(Response { status: status.as_u16(), body })
}

/// A page asks for one more than it shows, to know whether another follows.
fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}
