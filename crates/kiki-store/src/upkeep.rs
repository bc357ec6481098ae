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

#[cfg(test)]
mod tests {
    use kiki_types::IdSource as _;
    use kiki_types::TenantId;
    use kiki_types::event::Envelope;

    use super::*;
    use crate::testing::{RandomIds, on_both};

    #[tokio::test]
    async fn what_is_over_goes_and_what_is_not_stays() {
        on_both(async |db| {
            let tenant = TenantId::default_tenant();
            let key = idempotency::Key::new(&tenant, "test", "k", b"", |text| text.len().to_string()).unwrap();
            let mut tx = db.store.begin().await.unwrap();
            idempotency::begin(&mut tx, &key, UnixMillis(0)).await.unwrap();
            for topic in ["sent", "waiting"] {
                let event = Envelope {
                    id: RandomIds.uuid(),
                    tenant: tenant.clone(),
                    at: UnixMillis(0),
                    topic: topic.to_owned(),
                    payload: String::new(),
                };
                outbox::publish(&mut tx, event).unwrap();
            }
            tx.commit().await.unwrap();
            outbox::delivered(&db.store, "sent", 2).await.unwrap();

            let (day, week) = (UnixMillis(idempotency::LIFE_MS), UnixMillis(DELIVERED_KEPT_MS));
            assert_eq!(run(&db.store, day.plus(-1)).await.unwrap(), 0);
            assert_eq!(run(&db.store, day).await.unwrap(), 1);
            assert_eq!(run(&db.store, week.plus(1)).await.unwrap(), 1);
            assert_eq!(outbox::pending(&db.store, "waiting", 10).await.unwrap().len(), 1);
        })
        .await;
    }
}
