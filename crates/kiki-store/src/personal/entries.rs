//! What the log hears of keys: entries that leave through the outbox, in the transaction that made them true.

use std::sync::Arc;

use kiki_kit::clock::Clock;
use kiki_types::event::{AuditEvent, Envelope, Level, Outcome};
use kiki_types::{TenantId, id};

use super::sealed::Random;
use crate::{StoreError, Tx, outbox};

/// The topic whose events become entries of the log.
const AUDIT_TOPIC: &str = "audit";
/// The kind of the entry that tells of an erasure; what it acted upon is `subject/<handle>`.
pub const ERASED: &str = "subject.erase";
/// The kind of the entry that tells of an epoch that began.
pub(super) const ROTATED: &str = "keys.rotate";
/// The kind of the entry that tells of an epoch that was destroyed.
pub(super) const DESTROYED: &str = "keys.destroy";

/// Makes entries.
#[derive(Clone)]
pub(super) struct Entries {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Random,
}

impl Entries {
    /// Lets the log hear of `kind`, done to `resource`, when `tx` commits.
    pub(super) fn publish(
        &self,
        tx: &mut Tx,
        tenant: &TenantId,
        kind: &'static str,
        resource: String,
        reason: &'static str,
    ) -> Result<(), StoreError> {
        let (at, mut random) = (self.clock.now(), [0; 10]);
        (self.random)(&mut random);
        let event = AuditEvent {
            id: id::uuid_v7(at, random),
            at,
            tenant: tenant.clone(),
            level: Level::Info,
            event_type: kind.to_owned(),
            // KIKI itself: the log takes keyed hashes of names only, and there is no name.
            actor: String::new(),
            customer: String::new(),
            action: kind.rsplit('.').next().unwrap_or(kind).to_owned(),
            resource,
            outcome: Outcome::Allowed,
            reason: reason.to_owned(),
            ip: String::new(),
            data: "keys".to_owned(),
            request: String::new(),
        };
        let payload = serde_json::to_string(&event)
            .map_err(|error| StoreError::Unreadable { column: "payload".to_owned(), why: error.to_string() })?;
        outbox::publish(tx, Envelope { id: event.id, tenant: event.tenant, at, topic: AUDIT_TOPIC.to_owned(), payload })
    }
}
