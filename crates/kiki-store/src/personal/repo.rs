//! The SQL of the keys of people.

use kiki_types::{TenantId, UnixMillis};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};
use uuid::Uuid;

use super::epoch::Epochs;
use super::register::Erasure;
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

/// The number of the epoch that people are put into; `None` before the first.
pub(crate) async fn current_epoch(connection: &mut AnyConnection) -> Result<Option<u32>, StoreError> {
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

/// Remembers an erasure. Of one that is known the later number counts. `true`: it was not known.
pub(crate) async fn record(tx: &mut Tx, erasure: &Erasure, request: &str) -> Result<bool, StoreError> {
    let put = sqlx::query(
        "INSERT INTO erasure (tenant, subject, seq, epoch, at, cause, request) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (tenant, subject) DO NOTHING",
    )
    .bind(erasure.tenant.as_str())
    .bind(erasure.subject.to_string())
    .bind(erasure.seq)
    .bind(i64::from(erasure.epoch))
    .bind(erasure.at.0)
    .bind(erasure.cause.as_str())
    .bind(request)
    .execute(tx.sql())
    .await?;
    if put.rows_affected() == 1 {
        return Ok(true);
    }
    sqlx::query("UPDATE erasure SET seq = $1 WHERE tenant = $2 AND subject = $3 AND seq < $1")
        .bind(erasure.seq)
        .bind(erasure.tenant.as_str())
        .bind(erasure.subject.to_string())
        .execute(tx.sql())
        .await?;
    Ok(false)
}

/// Who was erased by an erasure with the number `first` or a later one.
pub(crate) async fn recorded(
    connection: &mut AnyConnection,
    first: i64,
) -> Result<Vec<(TenantId, SubjectId)>, StoreError> {
    let rows = sqlx::query("SELECT tenant, subject FROM erasure WHERE seq >= $1").bind(first).fetch_all(connection);
    rows.await?.iter().map(|row| Ok((row.tenant("tenant")?, row.parsed("subject")?))).collect()
}

/// The erasures beyond the number `last` that are of the epoch `lowest` or later, and the last of all, if it is beyond.
pub(crate) async fn recorded_beyond(
    connection: &mut AnyConnection,
    last: i64,
    lowest: u32,
) -> Result<Vec<Erasure>, StoreError> {
    let rows = sqlx::query(
        "SELECT tenant, subject, seq, epoch, at, cause FROM erasure \
         WHERE seq > $1 AND (epoch >= $2 OR seq = (SELECT MAX(seq) FROM erasure)) ORDER BY seq",
    )
    .bind(last)
    .bind(i64::from(lowest))
    .fetch_all(connection)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Erasure {
            seq: row.int("seq")?,
            tenant: row.tenant("tenant")?,
            subject: row.parsed("subject")?,
            epoch: number(row, "epoch")?,
            at: row.time("at")?,
            cause: row.parsed("cause")?,
        })
    };
    rows.iter().map(read).collect()
}

/// An epoch as SQL knows it.
pub(crate) struct Known {
    pub(crate) n: u32,
    pub(crate) ring: String,
    pub(crate) state: String,
}

/// All epochs.
pub(crate) async fn epochs(connection: &mut AnyConnection) -> Result<Vec<Known>, StoreError> {
    let rows = sqlx::query("SELECT n, ring, state FROM key_epoch ORDER BY n").fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok(Known { n: number(row, "n")?, ring: row.text("ring")?, state: row.text("state")? }))
        .collect()
}

/// Remembers the epoch `n`. `true`: it was not known.
pub(crate) async fn put_epoch(
    tx: &mut Tx,
    ring: Uuid,
    n: u32,
    began: UnixMillis,
    state: &str,
) -> Result<bool, StoreError> {
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
pub(crate) async fn page_of_epoch(
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
