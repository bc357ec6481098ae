//! Engage's entries in the audit log. They leave through the outbox, in the transaction of what they tell, and hold
//! nothing personal: names and customers are pseudonyms.

use std::sync::Arc;

use kiki_kit::authorisation::RemoteNetwork;
use kiki_kit::context::RequestContext;
use kiki_store::{StoreError, Tx, outbox};
use kiki_types::event::{AuditEvent, Envelope, Level, Outcome};
use kiki_types::{Principal, TenantId, UnixMillis};
use uuid::Uuid;

/// The outbox topic whose entries the relay hands to shield.
pub const AUDIT_TOPIC: &str = "audit";

/// Makes a keyed hash of a name. Shield holds the key; where it cannot be had, the answer is empty.
pub type Pseudonym = Arc<dyn Fn(&TenantId, &str) -> String + Send + Sync>;

/// How who acts, and what callers name freely, are named where it is kept. Customers have the pseudonym of their key.
#[derive(Clone)]
pub struct Pseudonyms {
    /// Of who acts.
    pub actor: Pseudonym,
    /// Of a request's id; one that is a UUID may stay as it is.
    pub request_id: Pseudonym,
    /// Of an idempotency key, and of the request that came with it.
    pub request_key: Pseudonym,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Actor {
    pub(super) tenant: TenantId,
    name: String,
    network: String,
    request: String,
}

impl Actor {
    /// Who sent the current request.
    pub(super) fn new(pseudonyms: &Pseudonyms, principal: &Principal, network: RemoteNetwork) -> Self {
        let request = RequestContext::current()
            .map(|context| (pseudonyms.request_id)(&principal.tenant, context.request_id()))
            .unwrap_or_default();
        Self { tenant: principal.tenant.clone(), name: principal.name.clone(), network: network.0, request }
    }
}

/// One entry before it has an id and a time.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Such as `campaign.create`: what was done to what.
    pub(super) event_type: &'static str,
    /// What was acted upon.
    pub(super) resource: String,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// Why; empty where there is nothing to say.
    pub(super) reason: String,
    /// The pseudonym of the customer it concerns.
    pub(super) customer: Option<[u8; 16]>,
}

/// Lets `entry` leave when `tx` commits.
pub(super) fn write(
    tx: &mut Tx,
    pseudonyms: &Pseudonyms,
    actor: &Actor,
    (id, at): (Uuid, UnixMillis),
    entry: Entry,
) -> Result<(), StoreError> {
    let event = AuditEvent {
        id,
        at,
        tenant: actor.tenant.clone(),
        level: match entry.outcome {
            Outcome::Allowed => Level::Info,
            Outcome::Denied => Level::Warning,
            Outcome::Failed => Level::Error,
        },
        event_type: entry.event_type.to_owned(),
        actor: (pseudonyms.actor)(&actor.tenant, &actor.name),
        customer: entry.customer.map(|digest| Uuid::from_bytes(digest).simple().to_string()).unwrap_or_default(),
        action: entry.event_type.rsplit('.').next().unwrap_or_default().to_owned(),
        resource: entry.resource,
        outcome: entry.outcome,
        reason: entry.reason,
        ip: actor.network.clone(),
        data: entry.customer.map_or("", |_| "contact").to_owned(),
        request: actor.request.clone(),
    };
    let payload = serde_json::to_string(&event)
        .map_err(|error| StoreError::Unreadable { column: "payload".to_owned(), why: error.to_string() })?;
    let topic = AUDIT_TOPIC.to_owned();
    outbox::publish(tx, Envelope { id, tenant: actor.tenant.clone(), at, topic, payload })
}
