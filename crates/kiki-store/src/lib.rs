//! SQL storage on SQLite (embedded) or PostgreSQL (production): pool, migrations, outbox, idempotency, keys of
//! people.
//!
//! One SQL text serves both through sqlx's `Any` driver. What that asks of a query: `$N` placeholders; columns of
//! TEXT, BIGINT and bytes only (flags are 0 and 1, ids and JSON are TEXT, times are milliseconds); integers bound as
//! `i64`; a SUM of BIGINT cast to BIGINT; built SQL wrapped in `AssertSqlSafe` with values bound, never spliced. What
//! the databases do not share lives in [`Dialect`] and nowhere else.
//!
//! Invariants: a write happens in a [`Tx`]; its outbox events commit with it or not at all; positions of the outbox
//! become visible in ascending order; every wait has an end ([`Options`]).
//!
//! Start with [`Store::connect`] and [`Store::migrate`].

pub mod idempotency;
pub mod outbox;
pub mod personal;
pub mod upkeep;

mod connect;
mod dialect;
mod error;
mod migrate;
mod row;
mod store;
mod tx;

#[cfg(feature = "testing")]
pub mod testing;

pub use dialect::Dialect;
pub use error::StoreError;
pub use migrate::MigrateError;
pub use row::Columns;
pub use store::{Options, PoolStats, Store};
pub use tx::Tx;
