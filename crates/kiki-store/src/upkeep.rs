//! What keeps the tables bounded: one small batch of each kind at a time, run again and again by the process.

use kiki_types::UnixMillis;

use crate::{Store, StoreError, idempotency, outbox};

/// Rows of one kind that one run removes at the most.
pub const BATCH_ROWS_MAX: u32 = 1_000;

/// How long an event that was handed on is kept for those who look into what happened: a week.
pub const DELIVERED_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// Removes a batch of expired idempotency keys and of old events that were handed on. Returns how many rows went;
/// [`BATCH_ROWS_MAX`] or more means that another run has work.
///
/// # Errors
/// The database does not answer.
pub async fn run(store: &Store, now: UnixMillis) -> Result<u64, StoreError> {
    let keys = idempotency::purge(store, now, BATCH_ROWS_MAX).await?;
    let events = outbox::purge(store, now.plus(-DELIVERED_KEPT_MS), BATCH_ROWS_MAX).await?;
    Ok(keys + events)
}
