//! The SQL of the keys of people: here their rows; [`epochs`] has what their keys are under, [`erasures`] who is gone.

pub(crate) mod epochs;
pub(crate) mod erasures;

use kiki_types::{TenantId, UnixMillis};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::epoch::Epochs;
use super::subject::SubjectId;
use crate::{Columns as _, StoreError, Tx};

/// Rows of one statement at the most.
pub(crate) const CHUNK: usize = 500;

/// The columns of a person's row that [`crate::personal::Subjects::unlock`] reads, of `subject AS s` in a `JOIN`.
pub const SUBJECT_COLUMNS: &str = "s.tenant AS subject_tenant, s.id AS subject_id, s.epoch AS subject_epoch, \
                                   s.wrapped AS subject_wrapped, s.name AS subject_name, s.restricted AS subject_restricted, \
                                   s.objected AS subject_objected";

/// A person's row.
pub(crate) struct Row {
    pub(crate) id: SubjectId,
    pub(crate) tenant: TenantId,
    pub(crate) epoch: u32,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) name: Vec<u8>,
    pub(crate) restricted: bool,
    pub(crate) objected: bool,
}

impl Row {
    /// Of [`SUBJECT_COLUMNS`]; `None` where an outer join found nobody.
    pub(crate) fn read(row: &AnyRow) -> Result<Option<Self>, StoreError> {
        let Some(id) = row.parsed_opt("subject_id")? else { return Ok(None) };
        Ok(Some(Self {
            id,
            tenant: row.tenant("subject_tenant")?,
            epoch: number(row, "subject_epoch")?,
            wrapped: row.bytes_opt("subject_wrapped")?.unwrap_or_default(),
            name: row.bytes_opt("subject_name")?.unwrap_or_default(),
            restricted: row.int("subject_restricted")? != 0,
            objected: row.int("subject_objected")? != 0,
        }))
    }
}

/// A row that a customer id was looked for by.
pub(crate) struct Located {
    pub(crate) locator: Vec<u8>,
    pub(crate) used_on: i64,
    pub(crate) row: Row,
}

/// The rows of `tenant` with one of `locators`, each of the current epoch and of the one before; at most [`CHUNK`].
pub(crate) async fn located(
    connection: &mut AnyConnection,
    epochs: &Epochs,
    tenant: &TenantId,
    locators: &[Vec<[u8; 32]>],
) -> Result<Vec<Located>, StoreError> {
    let numbers = epochs.searched().map(|epoch| epoch.n);
    let mut clauses = Vec::new();
    let mut next = 2;
    for (n, of_epoch) in numbers.zip(locators) {
        clauses.push(format!("(s.epoch = {n} AND s.locator IN ({}))", places(next, of_epoch.len())));
        next += of_epoch.len();
    }
    let sql = format!(
        "SELECT {SUBJECT_COLUMNS}, s.locator AS locator, s.used_on AS used_on FROM subject s \
         WHERE s.tenant = $1 AND ({})",
        clauses.join(" OR ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str());
    for locator in locators.iter().flatten() {
        query = query.bind(locator.to_vec());
    }
    let mut found = Vec::new();
    for row in &query.fetch_all(connection).await? {
        if let Some(person) = Row::read(row)? {
            let locator = row.bytes_opt("locator")?.unwrap_or_default();
            found.push(Located { locator, used_on: row.int("used_on")?, row: person });
        }
    }
    Ok(found)
}

/// The rows of `ids`, at most [`CHUNK`].
pub(crate) async fn by_id(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    ids: &[SubjectId],
) -> Result<Vec<Row>, StoreError> {
    let sql = format!(
        "SELECT {SUBJECT_COLUMNS} FROM subject s WHERE s.tenant = $1 AND s.id IN ({}) ORDER BY s.id",
        places(2, ids.len())
    );
    let rows = with_ids(&sql, tenant, ids).fetch_all(connection).await?;
    rows.iter().filter_map(|row| Row::read(row).transpose()).collect()
}

/// Somebody who is known from now on.
pub(crate) struct NewRow {
    pub(crate) row: Row,
    pub(crate) locator: [u8; 32],
    /// 1 for what is never erased.
    pub(crate) holds: i64,
}

/// Writes `people`, at most [`CHUNK`], of one tenant.
pub(crate) async fn insert(tx: &mut Tx, people: &[NewRow], today: i64) -> Result<(), StoreError> {
    const COLUMNS: usize = 8;
    let rows: Vec<_> = (0..people.len())
        .map(|row| {
            let first = row * COLUMNS + 1;
            format!("({}, ${})", places(first, COLUMNS), first + COLUMNS - 1)
        })
        .collect();
    let sql = format!(
        "INSERT INTO subject (tenant, id, locator, epoch, wrapped, name, holds, created_on, used_on) VALUES {}",
        rows.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for NewRow { row, locator, holds } in people {
        query = query
            .bind(row.tenant.as_str())
            .bind(row.id.to_string())
            .bind(locator.to_vec())
            .bind(i64::from(row.epoch))
            .bind(row.wrapped.clone())
            .bind(row.name.clone())
            .bind(*holds)
            .bind(today);
    }
    query.execute(tx.sql()).await?;
    Ok(())
}

/// Remembers that `ids`, at most [`CHUNK`], were used `today`.
pub(crate) async fn touch(tx: &mut Tx, tenant: &TenantId, ids: &[SubjectId], today: i64) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE subject SET used_on = {today} WHERE tenant = $1 AND used_on < {today} AND id IN ({})",
        places(2, ids.len())
    );
    with_ids(&sql, tenant, ids).execute(tx.sql()).await?;
    Ok(())
}

/// Who keeps their row when others go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spared {
    Nobody,
    /// Whoever is under a legal hold.
    Held,
    /// They, whoever is restricted, and whoever was used on this day or later.
    InUse {
        since: i64,
    },
}

/// Removes `ids` (at most [`CHUNK`]) but for those `spared`. Returns who went, with the epoch of their key.
pub(crate) async fn remove(
    tx: &mut Tx,
    tenant: &TenantId,
    ids: &[SubjectId],
    spared: Spared,
) -> Result<Vec<(SubjectId, u32)>, StoreError> {
    let unless = match spared {
        Spared::Nobody => String::new(),
        Spared::Held => "holds = 0 AND ".to_owned(),
        Spared::InUse { since } => format!("holds = 0 AND restricted = 0 AND used_on < {since} AND "),
    };
    let sql = format!(
        "DELETE FROM subject WHERE tenant = $1 AND {unless}id IN ({}) RETURNING id, epoch",
        places(2, ids.len())
    );
    let rows = with_ids(&sql, tenant, ids).fetch_all(tx.sql()).await?;
    rows.iter().map(|row| Ok((row.parsed("id")?, number(row, "epoch")?))).collect()
}

/// Those of `ids` (at most [`CHUNK`]) that have a row.
pub(crate) async fn present(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    ids: &[SubjectId],
) -> Result<Vec<SubjectId>, StoreError> {
    let sql = format!("SELECT id FROM subject WHERE tenant = $1 AND id IN ({}) ORDER BY id", places(2, ids.len()));
    let rows = with_ids(&sql, tenant, ids).fetch_all(connection).await?;
    rows.iter().map(|row| row.parsed("id")).collect()
}

/// Sets whether `ids`, at most [`CHUNK`], restricted what may be done with their data.
pub(crate) async fn restrict(tx: &mut Tx, tenant: &TenantId, ids: &[SubjectId], on: bool) -> Result<u64, StoreError> {
    let sql = format!(
        "UPDATE subject SET restricted = {} WHERE tenant = $1 AND id IN ({})",
        i64::from(on),
        places(2, ids.len())
    );
    Ok(with_ids(&sql, tenant, ids).execute(tx.sql()).await?.rows_affected())
}

/// Sets whether `ids`, at most [`CHUNK`], object to being profiled.
pub(crate) async fn object(tx: &mut Tx, tenant: &TenantId, ids: &[SubjectId], on: bool) -> Result<u64, StoreError> {
    let sql = format!(
        "UPDATE subject SET objected = {} WHERE tenant = $1 AND id IN ({})",
        i64::from(on),
        places(2, ids.len())
    );
    Ok(with_ids(&sql, tenant, ids).execute(tx.sql()).await?.rows_affected())
}

/// Counts a hold more or less of a person. `false`: they are gone.
pub(crate) async fn count_hold(tx: &mut Tx, tenant: &TenantId, id: SubjectId, by: i64) -> Result<bool, StoreError> {
    let counted = sqlx::query("UPDATE subject SET holds = holds + $1 WHERE tenant = $2 AND id = $3")
        .bind(by)
        .bind(tenant.as_str())
        .bind(id.to_string())
        .execute(tx.sql())
        .await?;
    Ok(counted.rows_affected() == 1)
}

/// Takes the lease `name` for `holder` until `until`, or lengthens it. `false`: another one has it. One for more than twice
/// as long was taken by a clock that was ahead, and counts for nothing.
pub(crate) async fn lease(
    tx: &mut Tx,
    name: &str,
    holder: &str,
    now: UnixMillis,
    until: UnixMillis,
) -> Result<bool, StoreError> {
    let taken = sqlx::query(
        "INSERT INTO job_lease (name, holder, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
         SET holder = excluded.holder, until = excluded.until \
         WHERE job_lease.holder = excluded.holder OR job_lease.until <= $4 OR job_lease.until > $5",
    )
    .bind(name)
    .bind(holder)
    .bind(until.0)
    .bind(now.0)
    .bind(until.plus(until.0 - now.0).0)
    .execute(tx.sql())
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// `$first, …` for `count` values.
pub(crate) fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ")
}

/// A query with the tenant as `$1` and ids from `$2` on.
fn with_ids<'q>(
    sql: &str,
    tenant: &'q TenantId,
    ids: &[SubjectId],
) -> sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned())).bind(tenant.as_str());
    for id in ids {
        query = query.bind(id.to_string());
    }
    query
}

fn number(row: &AnyRow, column: &str) -> Result<u32, StoreError> {
    u32::try_from(row.int(column)?)
        .map_err(|error| StoreError::Unreadable { column: column.to_owned(), why: error.to_string() })
}
