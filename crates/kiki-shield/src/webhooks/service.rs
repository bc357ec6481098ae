//! The verbs of webhooks.

use std::sync::Arc;

use kiki_kit::egress::{Egress, Target};
use kiki_store::{Store, Tx};
use kiki_types::UnixMillis;
use kiki_types::event::AuditEvent;
use kiki_types::id::{DeliveryId, WebhookId};
use serde_json::json;
use zeroize::Zeroizing;

use super::error::WebhookError;
use super::event::{EventKind, payload};
use super::model::{
    Delivery, ENDPOINT_WAITING_MAX, ENDPOINTS_MAX, Endpoint, Failures, OLD_SECRET_MS, TENANT_WAITING_MAX,
};
use super::repo;
use super::secret::SigningSecret;
use crate::error::ShieldError;
use crate::names::check_impersonal;
use crate::once::Claim;
use crate::service::{Caller, Shield};

/// Bytes of a description at the most.
const DESCRIPTION_BYTES_MAX: usize = 256;

/// Webhooks of a shield. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) shield: Shield,
    pub(super) egress: Egress,
    pub(super) random: fn() -> Zeroizing<[u8; 32]>,
}

/// An endpoint as it is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) url: String,
    pub(crate) description: String,
    pub(crate) events: Vec<String>,
    pub(crate) secret: Option<Zeroizing<String>>,
}

impl Webhooks {
    /// Webhooks that tell what happens at `shield` through `egress`. `random` gives bytes that nobody can guess.
    #[must_use]
    pub fn new(shield: Shield, egress: Egress, random: fn() -> Zeroizing<[u8; 32]>) -> Self {
        Self(Arc::new(Parts { shield, egress, random }))
    }

    pub(super) fn shield(&self) -> &Shield {
        &self.0.shield
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.shield.0.store
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.0.shield.0.clock.now()
    }

    /// Makes an endpoint. Its secret is shown to nobody later.
    pub(crate) async fn create(
        &self,
        caller: &Caller,
        wanted: Wanted,
        claim: &Claim,
    ) -> Result<Endpoint, WebhookError> {
        let now = self.now();
        let endpoint = self.endpoint_of(wanted, now)?;
        let mut tx = self.store().begin().await?;
        let tenant = &caller.principal.tenant;
        if repo::endpoints(tx.sql(), tenant, ENDPOINTS_MAX).await?.len() >= ENDPOINTS_MAX {
            return Err(WebhookError::TooMany);
        }
        repo::insert_endpoint(&mut tx, tenant, &endpoint).await?;
        claim.remember(&mut tx, &[endpoint.id.uuid()]).await?;
        self.commit(tx, caller, "create", endpoint.id).await?;
        Ok(endpoint)
    }

    fn endpoint_of(&self, wanted: Wanted, now: UnixMillis) -> Result<Endpoint, ShieldError> {
        let target = Target::parse(&wanted.url, self.0.egress.reach());
        let target = target.map_err(|error| ShieldError::invalid("url", error))?;
        if wanted.description.len() > DESCRIPTION_BYTES_MAX || wanted.description.chars().any(char::is_control) {
            return Err(ShieldError::invalid("description", "must be at most 256 bytes without control characters"));
        }
        check_impersonal("description", &wanted.description)?;
        let mut events: Vec<EventKind> = Vec::new();
        for name in &wanted.events {
            let kind = name.parse().map_err(|error: String| ShieldError::invalid("events", error))?;
            if !events.contains(&kind) {
                events.push(kind);
            }
        }
        let secret = match wanted.secret {
            None => SigningSecret::of(&(self.0.random)()),
            Some(text) => SigningSecret::parse(&text)
                .ok_or_else(|| ShieldError::invalid("secret", "must be whsec_ and base64 of 24 to 64 bytes"))?,
        };
        Ok(Endpoint {
            id: WebhookId::new(self.0.shield.0.ids.as_ref()),
            url: target.to_string(),
            description: wanted.description,
            events,
            secret,
            old_secret: None,
            created_at: now,
            active_since: now,
            disabled: None,
            failures: Failures::default(),
            dropped: 0,
        })
    }

    /// The tenant's endpoints.
    pub(crate) async fn endpoints(&self, caller: &Caller) -> Result<Vec<Endpoint>, WebhookError> {
        Ok(repo::endpoints(self.store().pool(), &caller.principal.tenant, ENDPOINTS_MAX).await?)
    }

    /// One of them.
    pub(crate) async fn endpoint(&self, caller: &Caller, id: WebhookId) -> Result<Endpoint, WebhookError> {
        let found = repo::endpoint(self.store(), &caller.principal.tenant, id).await?;
        Ok(found.ok_or(UNKNOWN)?)
    }

    /// Removes an endpoint and all that was for it.
    pub(crate) async fn delete(&self, caller: &Caller, id: WebhookId) -> Result<(), WebhookError> {
        let mut tx = self.store().begin().await?;
        if !repo::delete_endpoint(&mut tx, &caller.principal.tenant, id).await? {
            return Err(UNKNOWN.into());
        }
        self.commit(tx, caller, "delete", id).await
    }

    /// Gives an endpoint another secret; the one it had signs as well for a day.
    pub(crate) async fn rotate(&self, caller: &Caller, id: WebhookId, claim: &Claim) -> Result<Endpoint, WebhookError> {
        let secret = SigningSecret::of(&(self.0.random)());
        let until = self.now().plus(OLD_SECRET_MS);
        let mut tx = self.store().begin().await?;
        if !repo::rotate(&mut tx, &caller.principal.tenant, id, &secret, until).await? {
            return Err(UNKNOWN.into());
        }
        claim.remember(&mut tx, &[id.uuid()]).await?;
        self.commit(tx, caller, "rotate", id).await?;
        self.endpoint(caller, id).await
    }

    /// Sends to a disabled endpoint again, from now on.
    pub(crate) async fn enable(&self, caller: &Caller, id: WebhookId) -> Result<Endpoint, WebhookError> {
        let mut tx = self.store().begin().await?;
        if !repo::enable(&mut tx, &caller.principal.tenant, id, self.now()).await? {
            return Err(UNKNOWN.into());
        }
        self.commit(tx, caller, "enable", id).await?;
        self.endpoint(caller, id).await
    }

    /// Sends an endpoint an event that says nothing.
    pub(crate) async fn test(&self, caller: &Caller, id: WebhookId) -> Result<Delivery, WebhookError> {
        let endpoint = self.enabled(caller, id).await?;
        let now = self.now();
        let body = payload(EventKind::Test, now, &json!({"webhook_id": endpoint.id}));
        let delivery_id = DeliveryId::new(self.0.shield.0.ids.as_ref());
        let delivery = Delivery::new(delivery_id, endpoint.id, EventKind::Test, body, now);
        let mut tx = self.store().begin().await?;
        self.has_room(&mut tx, caller, id).await?;
        repo::insert_delivery(&mut tx, &caller.principal.tenant, &delivery).await?;
        self.commit(tx, caller, "test", id).await?;
        Ok(delivery)
    }

    /// At most `limit` deliveries of an endpoint, the newest first, from behind `after` on.
    pub(crate) async fn deliveries(
        &self,
        caller: &Caller,
        id: WebhookId,
        after: Option<DeliveryId>,
        limit: i64,
    ) -> Result<Vec<Delivery>, WebhookError> {
        let tenant = &caller.principal.tenant;
        self.endpoint(caller, id).await?;
        let after = match after {
            None => None,
            Some(after) => {
                let found = repo::delivery(self.store(), tenant, id, after).await?;
                Some(found.ok_or_else(|| ShieldError::invalid("after", "names no delivery of this webhook"))?)
            }
        };
        Ok(repo::deliveries(self.store(), tenant, id, after.as_ref(), limit).await?)
    }

    /// Tries a delivery again now; one that has ended gets all its attempts again.
    pub(crate) async fn retry(
        &self,
        caller: &Caller,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Delivery, WebhookError> {
        let tenant = &caller.principal.tenant;
        self.enabled(caller, id).await?;
        let mut tx = self.store().begin().await?;
        if !repo::retry(&mut tx, tenant, id, delivery, self.now()).await? {
            return Err(UNKNOWN_DELIVERY.into());
        }
        self.commit(tx, caller, "retry", id).await?;
        Ok(repo::delivery(self.store(), tenant, id, delivery).await?.ok_or(UNKNOWN_DELIVERY)?)
    }

    /// What somebody asks for waits within the bounds of what happens.
    async fn has_room(&self, tx: &mut Tx, caller: &Caller, id: WebhookId) -> Result<(), WebhookError> {
        let waiting = repo::waiting(tx, &caller.principal.tenant).await?;
        let here = waiting.get(&id).copied().unwrap_or(0);
        if here >= ENDPOINT_WAITING_MAX || waiting.values().sum::<i64>() >= TENANT_WAITING_MAX {
            return Err(WebhookError::Full);
        }
        Ok(())
    }

    async fn enabled(&self, caller: &Caller, id: WebhookId) -> Result<Endpoint, WebhookError> {
        let endpoint = self.endpoint(caller, id).await?;
        if endpoint.disabled.is_some() { Err(WebhookError::Disabled) } else { Ok(endpoint) }
    }

    /// Makes what `caller` did to an endpoint true, with its audit entry.
    async fn commit(&self, mut tx: Tx, caller: &Caller, action: &str, id: WebhookId) -> Result<(), WebhookError> {
        let shield = &self.0.shield;
        let event = AuditEvent {
            id: shield.0.ids.uuid(),
            at: self.now(),
            ..shield.draft(caller, &format!("webhook.{action}"), action, &format!("webhook/{id}"))
        };
        crate::jobs::publish(&mut tx, &event)?;
        Ok(tx.commit().await?)
    }
}

const UNKNOWN: ShieldError = ShieldError::NotFound("webhook");
const UNKNOWN_DELIVERY: ShieldError = ShieldError::NotFound("delivery");
