//! What shield does by itself: it takes the audit entries that wait in its database's outbox into the log.

use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_spend::{Command, Digest, Outcome};
use kiki_store::{StoreError, Tx, outbox};
use kiki_types::TenantId;
use kiki_types::event::{AuditEvent, Envelope};

use crate::error::ShieldError;
use crate::service::Shield;

/// The outbox topic of audit entries.
pub const AUDIT_TOPIC: &str = "audit";

/// Entries that are taken over at a time.
const BATCH: u32 = 500;
/// How long to wait when nothing waits.
const PAUSE: Duration = Duration::from_millis(250);

/// Puts `event` into the outbox of the transaction that makes it true.
pub(crate) fn publish(tx: &mut Tx, event: &AuditEvent) -> Result<(), StoreError> {
    let payload = serde_json::to_string(event).unwrap_or_default();
    let envelope =
        Envelope { id: event.id, tenant: event.tenant.clone(), at: event.at, topic: AUDIT_TOPIC.to_owned(), payload };
    outbox::publish(tx, envelope)
}

/// Runs until shutdown.
pub async fn run(shield: Shield, shutdown: Shutdown) {
    loop {
        match shield.relay_outbox().await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => tracing::warn!(%error, "audit entries wait in the outbox"),
        }
        if shutdown.is_draining() {
            return;
        }
        // Once more when the end has begun, for what the last requests left.
        tokio::select! {
            () = shutdown.draining() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Shield {
    /// Takes what waits in the outbox into the log, in order, each entry once. Returns how many waited.
    async fn relay_outbox(&self) -> Result<usize, ShieldError> {
        let store = &self.0.store;
        let waiting = outbox::pending(store, AUDIT_TOPIC, BATCH).await?;
        let Some(last) = waiting.last().map(|pending| pending.position) else { return Ok(0) };
        let source = self.0.pseudonyms.source(&TenantId::default_tenant(), store.source_id().await?);
        let readable = waiting.iter().filter_map(|pending| match serde_json::from_str(&pending.event.payload) {
            Ok(event) => Some((pending.position, event)),
            Err(error) => {
                tracing::error!(id = %pending.event.id, %error, "an audit entry is unreadable");
                None
            }
        });
        self.record(source, readable.collect()).await?;
        outbox::delivered(store, AUDIT_TOPIC, last).await?;
        Ok(waiting.len())
    }

    /// Writes other services' entries into the log, in the order of their positions in `source`; those whose position
    /// was taken before are known already.
    pub(crate) async fn record(&self, source: Digest, events: Vec<(i64, AuditEvent)>) -> Result<(), ShieldError> {
        let notes = events.into_iter().map(|(position, mut event)| {
            if !event.request.is_empty() {
                event.request = self.0.pseudonyms.request_id(&event.request);
            }
            let command = Command::Note { from: Some((source, position)) };
            (command, event)
        });
        // All or none: a position that failed must not be passed by a later one.
        for (outcome, _) in self.0.governor.decide_all(notes.collect()).await? {
            if let Outcome::Exhausted { of } = outcome {
                return Err(ShieldError::Exhausted(of));
            }
        }
        Ok(())
    }
}
