//! Databases for tests: the same story told on a SQLite file and on a private PostgreSQL.
//!
//! ```no_run
//! # async fn example() {
//! kiki_store::testing::on_both(async |db| {
//!     db.store.ping().await.unwrap();
//! })
//! .await;
//! # }
//! ```
//!
//! The PostgreSQL server is started once a process, listens on a socket in a temporary folder only, and ends with the
//! process, whatever ends it. Every test gets a database of its own. Where PostgreSQL is not installed the test fails
//! and says how to install it: a rule that holds on one database only is not a rule.
#![expect(clippy::panic, reason = "a test harness ends its test where it cannot do its work")]

pub mod masters;
mod people;
mod server;

use std::io::Write as _;
use std::time::Duration;

use kiki_types::{IdSource, UnixMillis, id};
use rand::RngCore as _;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Dialect, Options, Store};

pub mod look;
pub mod plain;

pub use people::{People, secure_random};

/// Bounds that fit many tests at once on one server.
const OPTIONS: Options = Options {
    connections_max: 8,
    acquire_timeout: Duration::from_secs(30),
    statement_timeout: Duration::from_secs(30),
};

/// A migrated database that one test owns.
#[derive(Debug)]
pub struct TestDb {
    /// The store.
    pub store: Store,
    address: String,
    /// The SQLite file's folder, removed with this.
    folder: Option<TempDir>,
}

impl TestDb {
    /// An embedded database in a temporary folder.
    ///
    /// # Panics
    /// It cannot be made.
    pub async fn sqlite() -> Self {
        let db = Self::sqlite_unmigrated().await;
        db.migrate().await;
        db
    }

    /// A database on this process's PostgreSQL.
    ///
    /// # Panics
    /// PostgreSQL is not installed, or the database cannot be made.
    pub async fn postgres() -> Self {
        let db = Self::postgres_unmigrated().await;
        db.migrate().await;
        db
    }

    /// As [`TestDb::sqlite`], without tables.
    ///
    /// # Panics
    /// It cannot be made.
    pub async fn sqlite_unmigrated() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let address = folder.path().join("kiki.db").display().to_string();
        Self { store: open(&address).await, address, folder: Some(folder) }
    }

    /// As [`TestDb::postgres`], without tables.
    ///
    /// # Panics
    /// PostgreSQL is not installed, or the database cannot be made.
    pub async fn postgres_unmigrated() -> Self {
        let address = server::fresh_database().await.unwrap_or_else(|error| panic!("{error}"));
        Self { store: open(&address).await, address, folder: None }
    }

    /// Every file of the database, read; none of one that is elsewhere.
    ///
    /// # Panics
    /// A file cannot be read.
    #[must_use]
    pub fn files(&self) -> Vec<Vec<u8>> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let read = std::fs::read_dir(folder.path())
            .and_then(|entries| entries.map(|entry| std::fs::read(entry?.path())).collect::<std::io::Result<Vec<_>>>());
        read.unwrap_or_else(|error| panic!("the database's files cannot be read: {error}"))
    }

    /// Where it is, for another process.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A second store on the same database, as another process would have it.
    ///
    /// # Panics
    /// The database does not answer.
    pub async fn another(&self) -> Store {
        open(&self.address).await
    }

    async fn migrate(&self) {
        if let Err(error) = self.store.migrate(&RandomIds, UnixMillis(0)).await {
            panic!("cannot migrate: {error:?}");
        }
    }
}

/// Ids for tests that do not look at them.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        rand::rng().fill_bytes(&mut random);
        id::uuid_v7(UnixMillis(0), random)
    }
}

/// Tells `story` on SQLite, then on PostgreSQL. A failure says on which it happened.
///
/// # Panics
/// As [`TestDb::sqlite`] and [`TestDb::postgres`].
pub async fn on_both(story: impl AsyncFn(&TestDb)) {
    told(TestDb::sqlite().await, &story).await;
    told(TestDb::postgres().await, &story).await;
}

/// As [`on_both`], before the tables are there.
///
/// # Panics
/// As [`on_both`].
pub async fn on_both_unmigrated(story: impl AsyncFn(&TestDb)) {
    told(TestDb::sqlite_unmigrated().await, &story).await;
    told(TestDb::postgres_unmigrated().await, &story).await;
}

async fn told(db: TestDb, story: &impl AsyncFn(&TestDb)) {
    let blame = Blame(db.store.dialect());
    // Boxed: a story's future is large, and a test thread's stack is small.
    Box::pin(story(&db)).await;
    drop(blame);
    db.store.close().await;
}

async fn open(address: &str) -> Store {
    match Store::connect(address, OPTIONS).await {
        Ok(store) => store,
        Err(error) => panic!("cannot open the test's database: {error:?}"),
    }
}

/// Says on which database a story failed.
struct Blame(Dialect);

impl Drop for Blame {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the story failed on {:?}", self.0);
        }
    }
}

/// Puts the outbox back to where it stood after `position`, as a backup of that time has it.
///
/// # Panics
/// The database does not answer.
pub async fn put_outbox_back(store: &Store, position: i64) {
    let put_back = async {
        let mut tx = store.begin().await?;
        for statement in
            ["DELETE FROM outbox WHERE position > $1", "UPDATE outbox_counter SET position = $1 WHERE one = 1"]
        {
            sqlx::query(statement).bind(position).execute(tx.sql()).await?;
        }
        tx.commit().await
    };
    if let Err(error) = put_back.await {
        panic!("the outbox cannot be put back: {error}");
    }
}

/// Copies `tables` within the database, as a backup of this moment.
///
/// # Panics
/// The database does not answer.
pub async fn back_up(store: &Store, tables: &[&str]) {
    for table in tables {
        run(store, &format!("CREATE TABLE backup_{table} AS SELECT * FROM {table}")).await;
    }
}

/// Puts `tables` back to what [`back_up`] copied.
///
/// # Panics
/// The database does not answer.
pub async fn put_back(store: &Store, tables: &[&str]) {
    for table in tables {
        run(store, &format!("DELETE FROM {table}")).await;
        run(store, &format!("INSERT INTO {table} SELECT * FROM backup_{table}")).await;
    }
}

async fn run(store: &Store, statement: &str) {
    let sql = sqlx::AssertSqlSafe(statement.to_owned());
    if let Err(error) = sqlx::query(sql).execute(store.pool()).await {
        panic!("{statement}: {error}");
    }
}
