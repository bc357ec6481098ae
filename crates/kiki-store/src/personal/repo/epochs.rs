//! The SQL of epochs: which there are, who is in each, and how people go from one to another.

use kiki_types::UnixMillis;
use sqlx::{AnyConnection, AssertSqlSafe};
use uuid::Uuid;

use super::{CHUNK, Row, SUBJECT_COLUMNS, number};
use crate::{Columns as _, StoreError, Tx};

/// The number of the epoch that people are put into; `None` before the first.
pub(crate) async fn current(connection: &mut AnyConnection) -> Result<Option<u32>, StoreError> {
    let row = sqlx::query("SELECT n FROM key_epoch WHERE state = 'current'").fetch_optional(connection).await?;
    row.map(|row| number(&row, "n")).transpose()
}

/// Counts `count` people of the current epoch `n`, and keeps the others who do so waiting until the transaction ends.
/// `false`: it is not the current one.
pub(crate) async fn count_minted(tx: &mut Tx, n: u32, count: usize) -> Result<bool, StoreError> {
    let counted = sqlx::query("UPDATE key_epoch SET minted = minted + $1 WHERE n = $2 AND state = 'current'")
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .bind(i64::from(n))
        .execute(tx.sql())
        .await?;
    Ok(counted.rows_affected() == 1)
}

/// An epoch as SQL knows it.
pub(crate) struct Known {
    pub(crate) n: u32,
    pub(crate) ring: String,
    pub(crate) state: String,
}

/// All epochs.
pub(crate) async fn all(connection: &mut AnyConnection) -> Result<Vec<Known>, StoreError> {
    let rows = sqlx::query("SELECT n, ring, state FROM key_epoch ORDER BY n").fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok(Known { n: number(row, "n")?, ring: row.text("ring")?, state: row.text("state")? }))
        .collect()
}

/// Remembers the epoch `n`. `true`: it was not known.
pub(crate) async fn put(tx: &mut Tx, ring: Uuid, n: u32, began: UnixMillis, state: &str) -> Result<bool, StoreError> {
    let put =
        sqlx::query("INSERT INTO key_epoch (n, ring, began, state) VALUES ($1, $2, $3, $4) ON CONFLICT (n) DO NOTHING");
    let put = put.bind(i64::from(n)).bind(ring.to_string()).bind(began.0).bind(state).execute(tx.sql()).await?;
    Ok(put.rows_affected() == 1)
}

/// Changes the state of the epoch `n`, which is never another again once it is `destroyed`. `true`: it was another.
pub(crate) async fn set_state(tx: &mut Tx, n: u32, state: &str) -> Result<bool, StoreError> {
    let change = sqlx::query("UPDATE key_epoch SET state = $1 WHERE n = $2 AND state NOT IN ($1, 'destroyed')");
    let changed = change.bind(state).bind(i64::from(n)).execute(tx.sql()).await?;
    Ok(changed.rows_affected() == 1)
}

/// The epochs that keys of people are under, and how many.
pub(crate) async fn rows_by_epoch(connection: &mut AnyConnection) -> Result<Vec<(u32, u64)>, StoreError> {
    let rows = sqlx::query("SELECT epoch, COUNT(*) AS rows_of FROM subject GROUP BY epoch ORDER BY epoch");
    rows.fetch_all(connection)
        .await?
        .iter()
        .map(|row| Ok((number(row, "epoch")?, u64::try_from(row.int("rows_of")?).unwrap_or(0))))
        .collect()
}

/// Removes at most [`CHUNK`] people whose key is under the destroyed epoch `n`. Returns how many went.
pub(crate) async fn remove_dead(tx: &mut Tx, n: u32) -> Result<u64, StoreError> {
    let sql = format!(
        "DELETE FROM subject WHERE epoch = $1 AND (tenant, id) IN \
         (SELECT tenant, id FROM subject WHERE epoch = $1 LIMIT {CHUNK})"
    );
    let gone = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(n)).execute(tx.sql()).await?;
    Ok(gone.rows_affected())
}

/// At most `limit` people whose key is under the epoch `n`, in the order of tenant and id, after `after`.
pub(crate) async fn page(
    connection: &mut AnyConnection,
    n: u32,
    after: &(String, String),
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let sql = format!(
        "SELECT {SUBJECT_COLUMNS} FROM subject s WHERE s.epoch = $1 AND (s.tenant, s.id) > ($2, $3) \
         ORDER BY s.tenant, s.id LIMIT {limit}"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(i64::from(n))
        .bind(after.0.as_str())
        .bind(after.1.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().filter_map(|row| Row::read(row).transpose()).collect()
}

/// Puts a person under another epoch, unless somebody did already.
pub(crate) async fn rewrap(tx: &mut Tx, from: u32, row: &Row, locator: [u8; 32]) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE subject SET epoch = $1, wrapped = $2, locator = $3 WHERE tenant = $4 AND id = $5 AND epoch = $6",
    )
    .bind(i64::from(row.epoch))
    .bind(row.wrapped.clone())
    .bind(locator.to_vec())
    .bind(row.tenant.as_str())
    .bind(row.id.to_string())
    .bind(i64::from(from))
    .execute(tx.sql())
    .await?;
    Ok(())
}
