//! The relay: hands the audit entries in the outbox to shield, in order.
//!
//! It may hand an entry over twice, after a crash or an answer that was lost; shield knows an entry by the name of this
//! database and its position, so that the log has each once.

use std::time::Duration;

use kiki_kit::inprocess::Transport;
use kiki_kit::shutdown::Shutdown;
use kiki_proto::shield::v1::audit_service_client::AuditServiceClient;
use kiki_proto::shield::v1::{AuditRecord, RecordRequest};
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
    #[error("shield did not take audit entries: {}", .0.message())]
    Shield(Status),
}

/// Hands audit entries over until `shutdown` begins, and once more then.
pub async fn relay(store: Store, shield: Transport, shutdown: Shutdown) {
    let mut pause = PAUSE;
    loop {
        let ending = shutdown.is_draining();
        pause = match relay_pending(&store, &shield).await {
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "audit entries wait in the outbox");
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

/// Hands over all entries that are there now. Returns how many.
///
/// # Errors
/// See [`RelayError`]; those that were taken are not handed over again.
pub async fn relay_pending(store: &Store, shield: &Transport) -> Result<u64, RelayError> {
    let mut client = AuditServiceClient::new(shield.clone());
    let mut source = String::new();
    let mut handed_over = 0;
    loop {
        let pending = outbox::pending(store, AUDIT_TOPIC, PAGE).await?;
        if pending.is_empty() {
            return Ok(handed_over);
        }
        if source.is_empty() {
            source = store.source_id().await?.to_string();
        }
        let record =
            |pending: outbox::Pending| AuditRecord { position: pending.position, event_json: pending.event.payload };
        let records = pending.into_iter().map(record).collect();
        let call = client.record(RecordRequest { source: source.clone(), records });
        let taken = match tokio::time::timeout(CALL_TIME_MAX, call).await {
            Ok(answer) => answer.map_err(RelayError::Shield)?.into_inner(),
            Err(_) => return Err(RelayError::Shield(Status::deadline_exceeded("it did not answer in time"))),
        };
        match outbox::delivered(store, AUDIT_TOPIC, taken.position).await? {
            0 => return Err(RelayError::Shield(Status::internal("it answered without taking any"))),
            entries => handed_over += entries,
        }
    }
}
