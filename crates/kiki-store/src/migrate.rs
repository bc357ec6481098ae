//! Migrations: numbered SQL files, embedded at compile time, applied in order, once, all or none.
//!
//! Each is remembered with the checksum of its text. An applied one that was edited since, or one that this program
//! does not know (a newer version was here), is refused: the tables would not be what the code believes.

use kiki_types::{IdSource, UnixMillis};
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

use crate::{Columns as _, Store, StoreError, Tx};

/// A step of the tables' history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// Its place in the order, from 1.
    pub(crate) version: u32,
    /// What it brings.
    pub(crate) name: &'static str,
    /// SQL with the tokens of `Dialect::ddl`.
    pub(crate) text: &'static str,
}

/// The files of `migrations/` in the order of their numbers.
pub(crate) const EMBEDDED: &[Migration] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// Why the tables were left as they were.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A file was edited after it had been applied.
    #[error(
        "migration {version:04}_{name} was edited after it had been applied to this database: restore it, and write a new one"
    )]
    Edited {
        /// Its number.
        version: u32,
        /// Its name.
        name: String,
    },
    /// The database is ahead of this program.
    #[error(
        "the database has migration {version:04}_{name}, which this version of kiki does not know: start a newer one"
    )]
    Unknown {
        /// Its number.
        version: i64,
        /// Its name.
        name: String,
    },
    /// A migration with a number below those already applied.
    #[error("migration {version:04}_{name} comes before one that this database already has: give it the next number")]
    OutOfOrder {
        /// Its number.
        version: u32,
        /// Its name.
        name: String,
    },
    /// The statements of a migration failed.
    #[error("migration {version:04}_{name} failed")]
    Failed {
        /// Its number.
        version: u32,
        /// Its name.
        name: String,
        /// What the database said.
        #[source]
        source: StoreError,
    },
    /// The database does not answer.
    #[error("the migrations could not be read or recorded")]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Applies those of `migrations` that the database does not have, in one transaction.
pub(crate) async fn run(
    store: &Store,
    migrations: &[Migration],
    ids: &dyn IdSource,
    now: UnixMillis,
) -> Result<(), MigrateError> {
    let mut tx = store.begin().await?;
    if let Some(lock) = store.dialect().migration_lock() {
        sqlx::query(lock).execute(tx.sql()).await?;
    }
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS store_migration (version BIGINT PRIMARY KEY, name TEXT NOT NULL, \
         checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)",
    )
    .execute(tx.sql())
    .await?;
    let last = check(&mut tx, migrations).await?;
    for migration in migrations.iter().filter(|migration| last < i64::from(migration.version)) {
        apply(&mut tx, store, migration, now).await.map_err(|source| MigrateError::Failed {
            version: migration.version,
            name: migration.name.to_owned(),
            source,
        })?;
    }
    sqlx::query("INSERT INTO store_source (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING")
        .bind(ids.uuid().to_string())
        .execute(tx.sql())
        .await?;
    Ok(tx.commit().await?)
}

/// Compares what is applied with what is embedded; returns the last applied number, 0 for none.
async fn check(tx: &mut Tx, migrations: &[Migration]) -> Result<i64, MigrateError> {
    let rows =
        sqlx::query("SELECT version, name, checksum FROM store_migration ORDER BY version").fetch_all(tx.sql()).await?;
    let mut embedded = migrations.iter();
    let mut last = 0;
    for row in &rows {
        last = row.int("version")?;
        let known = embedded.next();
        match known {
            Some(migration) if i64::from(migration.version) == last => {
                if row.text("checksum")? != checksum(migration) {
                    let (version, name) = (migration.version, migration.name.to_owned());
                    return Err(MigrateError::Edited { version, name });
                }
            }
            Some(migration) if i64::from(migration.version) < last => {
                let (version, name) = (migration.version, migration.name.to_owned());
                return Err(MigrateError::OutOfOrder { version, name });
            }
            _ => return Err(MigrateError::Unknown { version: last, name: row.text("name")? }),
        }
    }
    Ok(last)
}

async fn apply(tx: &mut Tx, store: &Store, migration: &Migration, now: UnixMillis) -> Result<(), StoreError> {
    let sql = store.dialect().ddl(migration.text);
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx.sql()).await?;
    sqlx::query("INSERT INTO store_migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)")
        .bind(i64::from(migration.version))
        .bind(migration.name)
        .bind(checksum(migration))
        .bind(now.0)
        .execute(tx.sql())
        .await?;
    tracing::info!(version = migration.version, name = migration.name, "migration applied");
    Ok(())
}

/// SHA-256 of the text with line ends as Unix writes them, so that a checkout elsewhere changes nothing.
fn checksum(migration: &Migration) -> String {
    format!("{:x}", Sha256::digest(migration.text.replace("\r\n", "\n")))
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;
