//! The shapes of webhooks in JSON.

use kiki_types::id::DeliveryId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Attempt, Delivery, Disabled, Endpoint, State};

/// `POST /v1/webhooks`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookBody {
    /// Where events are posted to: https, or http on the machine of the service.
    #[schema(example = "https://example.com/hooks/kiki")]
    pub(super) url: String,
    /// What it is for; at most 256 bytes.
    #[serde(default)]
    pub(super) description: String,
    /// The types of events it is told of; absent or empty: all.
    #[serde(default)]
    #[schema(example = json!(["spend.limit.reached"]))]
    pub(super) events: Vec<String>,
    /// `whsec_` and base64 of 24 to 64 bytes; absent: one is made.
    pub(super) secret: Option<String>,
}

/// A webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookAnswer {
    /// Its id.
    pub(super) id: String,
    /// Where events are posted to.
    pub(super) url: String,
    /// What it is for.
    pub(super) description: String,
    /// The types of events it is told of; empty: all.
    pub(super) events: Vec<&'static str>,
    /// `enabled` or `disabled`.
    #[schema(example = "enabled")]
    pub(super) status: &'static str,
    /// Why it is disabled: `gone` if it answered 410, `failing` if it failed for days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) disabled_because: Option<&'static str>,
    /// When it was made.
    pub(super) created_at: String,
    /// Attempts that failed since the last one that arrived.
    pub(super) failures: i64,
    /// When the first of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failing_since: Option<String>,
    /// Events it was not told of because too many waited for it.
    pub(super) dropped: i64,
    /// The secret of its signatures. Shown when it is made, also to a repeat with the same key, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

impl WebhookAnswer {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id.to_string(),
            url: endpoint.url.clone(),
            description: endpoint.description.clone(),
            events: endpoint.events.iter().map(|event| event.as_str()).collect(),
            status: if endpoint.disabled.is_some() { "disabled" } else { "enabled" },
            disabled_because: endpoint.disabled.map(Disabled::as_str),
            created_at: endpoint.created_at.rfc3339(),
            failures: endpoint.failures.count,
            failing_since: (endpoint.failures.count > 0).then(|| endpoint.failures.since.rfc3339()),
            dropped: endpoint.dropped,
            secret: None,
        }
    }

    pub(super) fn with_secret(endpoint: &Endpoint) -> Self {
        Self { secret: Some(endpoint.secret.reveal()), ..Self::new(endpoint) }
    }
}

/// The tenant's webhooks.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhooksAnswer {
    /// In the order in which they were made.
    pub(super) webhooks: Vec<WebhookAnswer>,
}

/// An event on its way to a webhook.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(super) struct DeliveryAnswer {
    /// The header `webhook-id` of its requests.
    pub(super) id: String,
    /// The type of its event.
    #[schema(example = "spend.limit.reached")]
    pub(super) r#type: &'static str,
    /// `pending`, `delivered` or `failed`.
    #[schema(example = "delivered")]
    pub(super) state: &'static str,
    /// Attempts that were begun.
    pub(super) attempts: i64,
    /// When it was made.
    pub(super) created_at: String,
    /// While it is pending: when it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_attempt_at: Option<String>,
    /// When it was delivered or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_at: Option<String>,
    /// The HTTP status that the last attempt was answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_status: Option<u16>,
    /// Why the last attempt had no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_error: Option<String>,
    /// The body of its requests.
    pub(super) payload: serde_json::Value,
}

impl DeliveryAnswer {
    pub(super) fn new(delivery: &Delivery) -> Self {
        let is_pending = delivery.state == State::Pending;
        let (last_status, last_error) = match &delivery.last {
            Some(Attempt::Answered { status, .. }) => (Some(*status), None),
            Some(Attempt::Unanswered(why)) => (None, Some(why.clone())),
            None => (None, None),
        };
        Self {
            id: delivery.id.to_string(),
            r#type: delivery.event.as_str(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            created_at: delivery.created_at.rfc3339(),
            next_attempt_at: is_pending.then(|| delivery.due_at.rfc3339()),
            ended_at: (!is_pending).then(|| delivery.ended_at.rfc3339()),
            last_status,
            last_error,
            payload: serde_json::from_str(&delivery.body).unwrap_or_default(),
        }
    }
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveriesAnswer {
    /// The newest first.
    pub(super) deliveries: Vec<DeliveryAnswer>,
    /// Send it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// Which page.
#[derive(Deserialize, IntoParams)]
pub(super) struct PageOfDeliveries {
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    pub(super) after: Option<DeliveryId>,
    /// Deliveries of a page: 1 to 200; absent: 50.
    pub(super) limit: Option<i64>,
}
