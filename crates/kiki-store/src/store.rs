//! The store: a bounded pool of connections to one database, and for SQLite the queue of its writers.

use std::sync::Arc;
use std::time::Duration;

use kiki_types::IdSource;
use kiki_types::UnixMillis;
use sqlx::AnyPool;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{Columns as _, Dialect, MigrateError, StoreError, Tx, connect, migrate};

/// Bounds of a store. Every wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections at the most.
    pub connections_max: u32,
    /// How long a caller waits for a connection, or for its turn to write to SQLite.
    pub acquire_timeout: Duration,
    /// How long a statement waits for another process's lock on SQLite, and runs on PostgreSQL.
    pub statement_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// What a pool is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// Open connections.
    pub open: u32,
    /// Open connections that nobody uses.
    pub idle: u32,
    /// Connections at the most.
    pub max: u32,
}

/// A database that KIKI keeps its tables in. Clones share the pool.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    dialect: Dialect,
    options: Options,
    /// SQLite has one writer. Queueing for it here is first come, first served; SQLite's own wait is a poll.
    writer: Option<Arc<Semaphore>>,
}

impl Store {
    /// Opens `address`: a path or `sqlite:` URL of a file, which is created readable by its owner alone, or a
    /// `postgres://` URL. Tables are made by [`Store::migrate`].
    ///
    /// # Errors
    /// [`StoreError::Address`], [`StoreError::File`], or the database does not answer. The text of no error holds
    /// the address, which may carry a password.
    pub async fn connect(address: &str, options: Options) -> Result<Self, StoreError> {
        let (dialect, pool) = connect::open(address, options).await?;
        let writer = (dialect == Dialect::Sqlite).then(|| Arc::new(Semaphore::new(1)));
        Ok(Self { pool, dialect, options, writer })
    }

    /// Brings the tables up to date: applies every migration that the database does not have, all or none. Any
    /// number of processes may do so at once. `ids` names a database that has no name yet.
    ///
    /// # Errors
    /// See [`MigrateError`].
    pub async fn migrate(&self, ids: &dyn IdSource, now: UnixMillis) -> Result<(), MigrateError> {
        migrate::run(self, migrate::EMBEDDED, ids, now).await
    }

    /// Begins a transaction that writes. Waits for its turn under SQLite: a task that holds one `Tx` must not
    /// begin another.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no turn or connection came in time.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let turn = match &self.writer {
            None => None,
            Some(writer) => {
                let turn = tokio::time::timeout(self.options.acquire_timeout, writer.clone().acquire_owned()).await;
                match turn {
                    Ok(Ok(turn)) => Some(turn),
                    Ok(Err(_)) => return Err(StoreError::Unavailable(sqlx::Error::PoolClosed)),
                    Err(_) => return Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
                }
            }
        };
        let inner = self.pool.begin_with(self.dialect.begin_write()).await?;
        Ok(Tx::new(inner, turn))
    }

    /// Where reads outside a transaction go: `query.fetch_all(store.pool())`.
    #[must_use]
    pub const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// The kind of database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The name of this database, given at its first migration: with it and an outbox position a receiver knows
    /// an event for ever.
    ///
    /// # Errors
    /// [`StoreError::NotMigrated`], or the database does not answer.
    pub async fn source_id(&self) -> Result<Uuid, StoreError> {
        let row = sqlx::query("SELECT id FROM store_source WHERE one = 1").fetch_optional(&self.pool).await?;
        row.ok_or(StoreError::NotMigrated)?.parsed("id")
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Overwrites what was deleted where the database still has it beside its tables: SQLite's write-ahead log. `false`:
    /// somebody reads it at this moment. PostgreSQL does not offer that.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn overwrite_deleted(&self) -> Result<bool, StoreError> {
        let Some(statements) = self.dialect.overwrite_deleted() else { return Ok(true) };
        let mut connection = self.pool.acquire().await?;
        let mut is_done = true;
        for statement in statements {
            let row = sqlx::query(statement).fetch_optional(&mut *connection).await?;
            // A checkpoint answers with whether somebody was in its way; the others answer nothing that matters.
            is_done &= !statement.contains("checkpoint") || row.is_none_or(|row| row.int("busy").ok() != Some(1));
        }
        // Its patience was changed, so it goes.
        connection.close().await?;
        Ok(is_done)
    }

    /// What the pool is doing.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolStats { open: self.pool.size(), idle, max: self.options.connections_max }
    }

    /// Sets the gauges `kiki_store_connections{state="open|idle|max"}`.
    pub fn record_metrics(&self) {
        let stats = self.stats();
        for (state, count) in [("open", stats.open), ("idle", stats.idle), ("max", stats.max)] {
            metrics::gauge!("kiki_store_connections", "state" => state).set(f64::from(count));
        }
    }

    /// Lets go of every connection, after its work.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close();
        }
        self.pool.close().await;
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dialect", &self.dialect).field("pool", &self.stats()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
