//! What shield does by itself: it takes the audit entries that wait in its database's outbox into the log.
//!
//! Nothing that was handed over is left out of the log: in the place of what cannot be an entry stands one that says so.

use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_spend::{Command, Digest, Outcome};
use kiki_store::outbox::PutBack;
use kiki_store::{StoreError, Tx, outbox};
use kiki_types::event::{AuditEvent, Envelope, Level, Outcome as EventOutcome};
use kiki_types::{TenantId, UnixMillis};
use sha2::{Digest as _, Sha256};

use crate::error::ShieldError;
use crate::service::Shield;

/// The outbox topic of audit entries.
pub const AUDIT_TOPIC: &str = "audit";

/// Entries that are taken over at a time.
const BATCH: u32 = 500;
/// How long to wait when nothing waits.
const PAUSE: Duration = Duration::from_millis(250);

/// The kind of entry that stands for one that could not be read.
const UNREADABLE: &str = "audit.unreadable";
/// Bytes of one text of an entry at the most.
const TEXT_BYTES_MAX: usize = 4096;
/// The last millisecond of the year 9999.
const AT_MAX: i64 = 253_402_300_799_999;
/// Bytes of one entry at the most.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// Puts `event` into the outbox of the transaction that makes it true.
pub(crate) fn publish(tx: &mut Tx, event: &AuditEvent) -> Result<(), StoreError> {
    let payload = serde_json::to_string(event).unwrap_or_default();
    let envelope =
        Envelope { id: event.id, tenant: event.tenant.clone(), at: event.at, topic: AUDIT_TOPIC.to_owned(), payload };
    outbox::publish(tx, envelope)
}

/// Runs until shutdown.
pub async fn run(shield: Shield, shutdown: Shutdown) {
    let mut put_back = PutBack::default();
    loop {
        // Looked at before: what the last requests left must be seen by a round that begins after the end has.
        let is_ending = shutdown.is_draining();
        match shield.relay_outbox(&mut put_back).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error @ ShieldError::Store(StoreError::PutBack { .. })) => {
                tracing::error!(%error, "audit entries wait in the outbox");
            }
            Err(error) => tracing::warn!(%error, "audit entries wait in the outbox"),
        }
        if is_ending {
            return;
        }
        tokio::select! {
            () = shutdown.draining() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Shield {
    /// Takes what waits in the outbox into the log, in order, each entry once. Returns how many waited.
    async fn relay_outbox(&self, put_back: &mut PutBack) -> Result<usize, ShieldError> {
        let (store, tenant) = (&self.0.store, TenantId::default_tenant());
        put_back.begin(store).await?;
        let waiting = outbox::pending(store, AUDIT_TOPIC, BATCH).await?;
        let last = waiting.last().map(|pending| pending.position);
        if last.is_none() && !put_back.is_unknown() {
            return Ok(0);
        }
        let source = self.0.pseudonyms.source(&tenant, store.source_id().await?);
        if put_back.is_unknown() {
            put_back.check(store, AUDIT_TOPIC, self.last_position(source).await?).await?;
        }
        let Some(last) = last else { return Ok(0) };
        let entry = |pending: &outbox::Pending| {
            let outbox::Pending { position, event: Envelope { tenant, payload, .. } } = pending;
            (*position, self.readable(tenant, *position, payload))
        };
        self.record(source, waiting.iter().map(entry).collect()).await?;
        put_back.check(store, AUDIT_TOPIC, self.last_position(source).await?).await?;
        outbox::delivered(store, AUDIT_TOPIC, last).await?;
        Ok(waiting.len())
    }

    /// The last position of `source` that the log has; 0 if it has none.
    pub(crate) async fn last_position(&self, source: Digest) -> Result<i64, ShieldError> {
        Ok(self.0.governor.read(move |state| state.position_of(source)).await?.unwrap_or(0))
    }

    /// The entry that `payload` is, or one of `tenant` that says that it is none.
    pub(crate) fn readable(&self, tenant: &TenantId, position: i64, payload: &str) -> AuditEvent {
        event_of(payload).unwrap_or_else(|error| {
            tracing::error!(position, %error, "an audit entry is unreadable; one that says so stands for it");
            AuditEvent {
                id: self.0.ids.uuid(),
                at: self.0.clock.now(),
                tenant: tenant.clone(),
                level: Level::Error,
                event_type: UNREADABLE.to_owned(),
                actor: self.0.pseudonyms.actor(tenant, "kiki-shield").to_string(),
                customer: String::new(),
                action: "record".to_owned(),
                resource: format!("outbox/{position}"),
                outcome: EventOutcome::Failed,
                // What it was can be told by whoever has it; here it may hold anything.
                reason: format!("sha256:{:x}", Sha256::digest(payload)),
                ip: String::new(),
                data: String::new(),
                request: String::new(),
            }
        })
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

/// The entry that `json` is.
///
/// # Errors
/// Why it cannot be one.
fn event_of(json: &str) -> Result<AuditEvent, String> {
    if json.len() > RECORD_BYTES_MAX {
        return Err(format!("it is longer than {RECORD_BYTES_MAX} bytes"));
    }
    let event: AuditEvent = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if event.id.is_nil() || !(UnixMillis(0)..=UnixMillis(AT_MAX)).contains(&event.at) {
        return Err("it has no id or no time".to_owned());
    }
    let is_hash =
        |text: &str| text.is_empty() || (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_hash(&event.actor) || !is_hash(&event.customer) {
        return Err("actor and customer must be keyed hashes of 32 hexadecimal digits".to_owned());
    }
    let texts =
        [&event.event_type, &event.action, &event.resource, &event.reason, &event.ip, &event.data, &event.request];
    if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(format!("a text of it is longer than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(event)
}
