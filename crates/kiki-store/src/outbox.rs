//! The outbox: what a service tells the others, committed in the transaction that made it true.
//!
//! **Positions become visible in ascending order.** A sequence would not do that: a transaction may draw 7, another
//! draw 8 and commit first, and a reader that saw 8 would never look at 7 again. Here a position is drawn by updating
//! one counter row, whose lock lasts until the commit; whoever draws next waits for it. The draw happens inside
//! [`crate::Tx::commit`], after all other statements, so that the lock is held shortly and nobody waits for a row while
//! holding it.
//!
//! A relay reads [`pending`], hands the events on, and says [`delivered`]. It may do so twice after a crash; the
//! receiver knows an event by [`crate::Store::source_id`] and its position.

use kiki_types::UnixMillis;
use kiki_types::event::Envelope;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::{Columns as _, Store, StoreError, Tx};

/// Events of one transaction at the most.
pub const EVENTS_PER_TX_MAX: usize = 10_000;

/// Events of one page at the most.
pub const PAGE_MAX: u32 = 1_000;

/// An event that was not handed on yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its place in this database's order, from 1 without gaps.
    pub position: i64,
    /// The event.
    pub event: Envelope,
}

/// Lets `event` leave when `tx` commits.
///
/// # Errors
/// [`StoreError::TooManyEvents`].
pub fn publish(tx: &mut Tx, event: Envelope) -> Result<(), StoreError> {
    let events = tx.events();
    if events.len() == EVENTS_PER_TX_MAX {
        return Err(StoreError::TooManyEvents);
    }
    events.push(event);
    Ok(())
}

/// Draws the positions of `events` and writes them.
pub(crate) async fn append(connection: &mut AnyConnection, events: &[Envelope]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
    let last = sqlx::query("UPDATE outbox_counter SET position = position + $1 WHERE one = 1 RETURNING position")
        .bind(count)
        .fetch_one(&mut *connection)
        .await?
        .int("position")?;
    for (position, event) in (last - count + 1..).zip(events) {
        sqlx::query("INSERT INTO outbox (position, id, tenant, topic, at, payload) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(position)
            .bind(event.id.to_string())
            .bind(event.tenant.as_str())
            .bind(event.topic.as_str())
            .bind(event.at.0)
            .bind(event.payload.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The first `limit` events of `topic` that were not handed on, in the order of their positions; at most [`PAGE_MAX`].
///
/// # Errors
/// The database does not answer.
pub async fn pending(store: &Store, topic: &str, limit: u32) -> Result<Vec<Pending>, StoreError> {
    let rows = sqlx::query(
        "SELECT position, id, tenant, topic, at, payload FROM outbox WHERE topic = $1 AND delivered = 0 \
         ORDER BY position LIMIT $2",
    )
    .bind(topic)
    .bind(i64::from(limit.min(PAGE_MAX)))
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<Pending, StoreError> {
    let event = Envelope {
        id: row.parsed("id")?,
        tenant: row.tenant("tenant")?,
        at: row.time("at")?,
        topic: row.text("topic")?,
        payload: row.text("payload")?,
    };
    Ok(Pending { position: row.int("position")?, event })
}

/// Remembers that every event of `topic` up to the position `up_to` was handed on. Returns how many were new.
///
/// # Errors
/// The database does not answer.
pub async fn delivered(store: &Store, topic: &str, up_to: i64) -> Result<u64, StoreError> {
    let mut tx = store.begin().await?;
    let done = sqlx::query("UPDATE outbox SET delivered = 1 WHERE topic = $1 AND delivered = 0 AND position <= $2")
        .bind(topic)
        .bind(up_to)
        .execute(tx.sql())
        .await?
        .rows_affected();
    tx.commit().await?;
    Ok(done)
}

/// Removes at most `limit` events that were handed on and happened before `before`. Returns how many.
///
/// # Errors
/// The database does not answer.
pub async fn purge(store: &Store, before: UnixMillis, limit: u32) -> Result<u64, StoreError> {
    let mut tx = store.begin().await?;
    let gone = sqlx::query(
        "DELETE FROM outbox WHERE position IN \
         (SELECT position FROM outbox WHERE delivered = 1 AND at < $1 ORDER BY at LIMIT $2)",
    )
    .bind(before.0)
    .bind(i64::from(limit))
    .execute(tx.sql())
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok(gone)
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
