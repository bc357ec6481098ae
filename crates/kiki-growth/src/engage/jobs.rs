//! The relay: hands the audit entries in the outbox to shield, in order.
//!
//! It may hand an entry over twice, after a crash or an answer that was lost; shield knows an entry by the name of this
//! database and its position, so that the log has each once. Others may hand over the same entries at the same time, such as
//! shield itself where it shares the database.

use std::time::Duration;

use kiki_kit::inprocess::Transport;
use kiki_kit::problem::logged_status;
use kiki_kit::shutdown::Shutdown;
use kiki_proto::shield::v1::audit_service_client::AuditServiceClient;
use kiki_proto::shield::v1::{AuditRecord, RecordRequest};
use kiki_store::outbox::PutBack;
use kiki_store::{Store, StoreError, outbox};
use tonic::Status;

use super::AUDIT_TOPIC;

/// Entries of one call at the most: shield answers when all of them are on its disk.
const PAGE: u32 = 100;
/// How often the outbox is looked at when nothing is known to be in it.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the relay waits at the most while shield does not take entries.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long one call may take.
const CALL_TIME_MAX: Duration = Duration::from_secs(25);

/// Why entries stay in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The outbox cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Shield did not take them.
    #[error("shield did not take audit entries: {}", logged_status(.0))]
    Shield(Status),
}

/// Hands audit entries over until `shutdown` begins, and once more then.
pub async fn relay(mut relay: Relay, shutdown: Shutdown) {
    let mut pause = PAUSE;
    loop {
        let ending = shutdown.is_draining();
        pause = match relay.hand_over().await {
            Ok(_) => PAUSE,
            Err(error) => {
                if matches!(error, RelayError::Store(StoreError::PutBack { .. })) {
                    tracing::error!(%error, "audit entries wait in the outbox");
                } else {
                    tracing::warn!(%error, "audit entries wait in the outbox");
                }
                pause.saturating_mul(2).min(PAUSE_MAX)
            }
        };
        if ending {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.draining() => {}
        }
    }
}

/// A database on one side, shield on the other.
pub struct Relay {
    store: Store,
    shield: Transport,
    key: String,
    source: String,
    put_back: PutBack,
}

impl Relay {
    /// A relay that has handed nothing over yet. By `key` shield knows that it is this database's.
    #[must_use]
    pub fn new(store: Store, shield: Transport, key: String) -> Self {
        Self { store, shield, key, source: String::new(), put_back: PutBack::default() }
    }

    /// Hands over all entries that are there now. Returns how many, without those that another relay was quicker with.
    ///
    /// # Errors
    /// See [`RelayError`]; those that were taken are not handed over again.
    pub async fn hand_over(&mut self) -> Result<u64, RelayError> {
        self.put_back.begin(&self.store).await?;
        if self.source.is_empty() {
            self.source = self.store.source_id().await?.to_string();
        }
        if self.put_back.is_unknown() {
            self.record(Vec::new()).await?;
        }
        let mut handed_over = 0;
        loop {
            let pending = outbox::pending(&self.store, AUDIT_TOPIC, PAGE).await?;
            let Some(first) = pending.first().map(|pending| pending.position) else { return Ok(handed_over) };
            let record = |pending: outbox::Pending| AuditRecord {
                position: pending.position,
                event_json: pending.event.payload,
            };
            let taken = self.record(pending.into_iter().map(record).collect()).await?;
            if taken < first {
                return Err(RelayError::Shield(Status::internal("it answered without taking any")));
            }
            // None is new where another relay was quicker.
            handed_over += outbox::delivered(&self.store, AUDIT_TOPIC, taken).await?;
        }
    }

    /// Gives shield `records`. Returns up to which position the log has them.
    async fn record(&mut self, records: Vec<AuditRecord>) -> Result<i64, RelayError> {
        let mut client = AuditServiceClient::new(self.shield.clone());
        let (source, relay_key) = (self.source.clone(), self.key.clone());
        let call = client.record(RecordRequest { source, records, relay_key });
        let taken = match tokio::time::timeout(CALL_TIME_MAX, call).await {
            Ok(answer) => answer.map_err(RelayError::Shield)?.into_inner(),
            Err(_) => return Err(RelayError::Shield(Status::deadline_exceeded("it did not answer in time"))),
        };
        self.put_back.check(&self.store, AUDIT_TOPIC, taken.last).await?;
        Ok(taken.position)
    }
}
