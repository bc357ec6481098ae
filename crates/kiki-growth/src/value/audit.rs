//! The audit entries of value. They leave through the outbox, in the transaction of what they tell, and hold nothing personal:
//! who acted is a pseudonym.

use kiki_kit::context::RequestContext;
use kiki_store::{StoreError, Tx, outbox};
use kiki_types::event::{AuditEvent, Envelope, Level, Outcome};
use kiki_types::{Principal, UnixMillis};
use uuid::Uuid;

use super::service::Pseudonym;

/// The outbox topic whose entries go to the log.
pub const AUDIT_TOPIC: &str = "audit";

/// What was done, before it has an id and a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Such as `value.model.save`.
    pub(super) event_type: &'static str,
    pub(super) action: &'static str,
    pub(super) resource: String,
    /// Why, if that is told.
    pub(super) reason: String,
}

/// Lets `entry` leave when `tx` commits.
pub(super) fn write(
    tx: &mut Tx,
    pseudonym: &Pseudonym,
    principal: &Principal,
    (id, at): (Uuid, UnixMillis),
    entry: Entry,
) -> Result<(), StoreError> {
    let tenant = principal.tenant.clone();
    let event = AuditEvent {
        id,
        at,
        level: Level::Info,
        event_type: entry.event_type.to_owned(),
        actor: pseudonym(&tenant, &principal.name),
        customer: String::new(),
        action: entry.action.to_owned(),
        resource: entry.resource,
        outcome: Outcome::Allowed,
        reason: entry.reason,
        ip: String::new(),
        data: "purchases".to_owned(),
        request: RequestContext::current().map(|context| context.logged_id().to_owned()).unwrap_or_default(),
        tenant: tenant.clone(),
    };
    let payload = serde_json::to_string(&event)
        .map_err(|error| StoreError::Unreadable { column: "payload".to_owned(), why: error.to_string() })?;
    outbox::publish(tx, Envelope { id, tenant, at, topic: AUDIT_TOPIC.to_owned(), payload })
}
