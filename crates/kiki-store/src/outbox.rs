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
//!
//! A database that was put back to an earlier state draws positions again that the receiver knows; it would take the new
//! events for repeats. [`PutBack`] notices, and nothing is handed on until [`advance`] has moved the positions beyond.

use kiki_types::UnixMillis;
use kiki_types::event::Envelope;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::{Columns as _, Store, StoreError, Tx};

/// Events of one transaction at the most.
pub const EVENTS_PER_TX_MAX: usize = 10_000;

/// Events of one statement at the most.
const ROWS_MAX: usize = 500;

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
    let mut position = last - count;
    for events in events.chunks(ROWS_MAX) {
        let mut query = sqlx::query(AssertSqlSafe(insertion_of(events.len())));
        for event in events {
            position += 1;
            query = query
                .bind(position)
                .bind(event.id.to_string())
                .bind(event.tenant.as_str())
                .bind(event.topic.as_str())
                .bind(event.at.0)
                .bind(event.payload.as_str());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// The statement that writes so many events.
fn insertion_of(events: usize) -> String {
    const COLUMNS: usize = 6;
    let row = |row| {
        let places: Vec<_> = (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<_> = (0..events).map(row).collect();
    format!("INSERT INTO outbox (position, id, tenant, topic, at, payload) VALUES {}", rows.join(", "))
}

/// The first `limit` events of `topic` that were not handed on, in the order of their positions; at most [`PAGE_MAX`].
///
/// # Errors
/// The database does not answer.
pub async fn pending(store: &Store, topic: &str, limit: u32) -> Result<Vec<Pending>, StoreError> {
    pending_after(store, topic, 0, limit).await
}

/// As [`pending`], behind the position `after`: for events that need not be handed on in their order.
///
/// # Errors
/// The database does not answer.
pub async fn pending_after(store: &Store, topic: &str, after: i64, limit: u32) -> Result<Vec<Pending>, StoreError> {
    let rows = sqlx::query(
        "SELECT position, id, tenant, topic, at, payload FROM outbox WHERE topic = $1 AND delivered = 0 \
         AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(topic)
    .bind(after)
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

/// Remembers that the events of `topic` at `positions` were handed on, those before them or not, when `tx` commits.
///
/// # Errors
/// The database does not answer.
pub async fn taken(tx: &mut Tx, topic: &str, positions: &[i64]) -> Result<(), StoreError> {
    for position in positions {
        sqlx::query("UPDATE outbox SET delivered = 1 WHERE topic = $1 AND position = $2")
            .bind(topic)
            .bind(position)
            .execute(tx.sql())
            .await?;
    }
    Ok(())
}

/// The last position that was drawn.
///
/// # Errors
/// The database does not answer.
pub async fn position(store: &Store) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT position FROM outbox_counter WHERE one = 1").fetch_optional(store.pool()).await?;
    row.ok_or(StoreError::NotMigrated)?.int("position")
}

/// When the event of `topic` happened that waits longest to be handed on.
///
/// # Errors
/// The database does not answer.
pub async fn waiting_since(store: &Store, topic: &str) -> Result<Option<UnixMillis>, StoreError> {
    let row = sqlx::query("SELECT at FROM outbox WHERE topic = $1 AND delivered = 0 ORDER BY position LIMIT 1")
        .bind(topic)
        .fetch_optional(store.pool())
        .await?;
    row.map(|row| row.time("at")).transpose()
}

/// Notices that the database was put back to an earlier state. One for each relay, made when it starts.
#[derive(Debug, Default)]
pub struct PutBack {
    /// The last position when the relay started: what it draws from then on does not hide that it is behind.
    start: Option<i64>,
    is_checked: bool,
}

impl PutBack {
    /// Remembers where the database stands, the first time that it is called. Call it before events are published.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn begin(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.start.is_none() {
            self.start = Some(position(store).await?);
        }
        Ok(())
    }

    /// Whether the receiver is still to be asked, before anything is handed on.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        !self.is_checked
    }

    /// Compares with the `last` position that the receiver knows of this database. It may be beyond where the relay
    /// started, if another relay of the same database is at work: then no event up to it stays behind.
    ///
    /// # Errors
    /// [`StoreError::PutBack`]; the database does not answer.
    pub async fn check(&mut self, store: &Store, topic: &str, last: i64) -> Result<(), StoreError> {
        let position = position(store).await?;
        let start = self.start.unwrap_or(position);
        let is_behind =
            last > position || (!self.is_checked && last > start && waits_within(store, topic, start, last).await?);
        self.is_checked = !is_behind;
        if is_behind { Err(StoreError::PutBack { last, position }) } else { Ok(()) }
    }
}

/// Whether an event waits whose position is beyond `after` and at most `to`.
async fn waits_within(store: &Store, topic: &str, after: i64, to: i64) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT position FROM outbox WHERE topic = $1 AND delivered = 0 AND position > $2 AND position <= $3 LIMIT 1",
    )
    .bind(topic)
    .bind(after)
    .bind(to)
    .fetch_optional(store.pool())
    .await?;
    Ok(row.is_some())
}

/// Gives every event of `topic` that waits a position beyond `beyond` and beyond all that were drawn, in the same order,
/// and draws only later ones from then on. For a database that was put back. Returns the last position.
///
/// # Errors
/// The database does not answer.
pub async fn advance(store: &Store, topic: &str, beyond: i64) -> Result<i64, StoreError> {
    let mut tx = store.begin().await?;
    // First, as its lock keeps others from drawing.
    let drawn = sqlx::query(
        "UPDATE outbox_counter SET position = CASE WHEN position < $1 THEN $1 ELSE position END WHERE one = 1 \
         RETURNING position",
    )
    .bind(beyond)
    .fetch_one(tx.sql())
    .await?
    .int("position")?;
    // Shifted as a whole, so that no new position is another's old one.
    let waiting = sqlx::query(
        "SELECT COALESCE(MIN(position), 0) AS first, COALESCE(MAX(position), 0) AS last FROM outbox \
         WHERE topic = $1 AND delivered = 0",
    )
    .bind(topic)
    .fetch_one(tx.sql())
    .await?;
    let (first, last) = (waiting.int("first")?, waiting.int("last")?);
    let mut end = drawn;
    if first > 0 && first <= beyond {
        let by = drawn - first + 1;
        end = last + by;
        sqlx::query("UPDATE outbox SET position = position + $1 WHERE topic = $2 AND delivered = 0")
            .bind(by)
            .bind(topic)
            .execute(tx.sql())
            .await?;
        sqlx::query("UPDATE outbox_counter SET position = $1 WHERE one = 1").bind(end).execute(tx.sql()).await?;
    }
    tx.commit().await?;
    Ok(end)
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
