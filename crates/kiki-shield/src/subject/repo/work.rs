//! What the runner of requests reads and writes: claims, tasks, exports, leases.
//!
//! Whoever carries requests on holds them by a lease under a token of its own; what it writes after the lease was taken
//! over by another finds no row.

use std::collections::HashMap;

use kiki_store::personal::SubjectId;
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::SubjectRequestId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;

use super::statement::Statement;
use super::{REQUEST, ROWS_MAX, Request, read, rectification};
use crate::subject::model::{Ground, Kind, Outcome};

/// What became of a request in one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) request: SubjectRequestId,
    pub(crate) store: String,
    pub(crate) is_done: bool,
    /// Rows that it concerned; -1 where only the sum of several requests is known.
    pub(crate) rows: i64,
    pub(crate) attempts: i64,
    /// A code; empty if nothing went wrong.
    pub(crate) error: String,
    pub(crate) at: UnixMillis,
}

/// A part of an export.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Sealed.
    pub(crate) body: Vec<u8>,
    /// The SHA-256 of the export's manifest.
    pub(crate) sha256: String,
    pub(crate) until: UnixMillis,
}

/// Times that lie further ahead were set by a clock that was ahead, and count for nothing: nothing waits so long.
const AHEAD_MS: i64 = 2 * 60 * 60 * 1_000;

/// Requests of one tenant, kind and step that are due, at most `limit(kind)`, held for `worker` until `lease_until`.
pub(crate) async fn claim(
    store: &Store,
    worker: &str,
    now: UnixMillis,
    lease_until: UnixMillis,
    limit: fn(Kind) -> i64,
) -> Result<Vec<Request>, StoreError> {
    let ahead = now.plus(AHEAD_MS).0;
    let due = format!(
        "state IN ('in_progress', 'extended') AND (next_at <= $1 OR next_at > {ahead}) AND {}",
        rectification::is_the_programs()
    );
    let first = format!("SELECT tenant, kind, step FROM subject_request WHERE {due} ORDER BY next_at LIMIT 1");
    if sqlx::query(AssertSqlSafe(first.clone())).bind(now.0).fetch_optional(store.pool()).await?.is_none() {
        return Ok(Vec::new());
    }
    let mut tx = store.begin().await?;
    let Some(first) = sqlx::query(AssertSqlSafe(first)).bind(now.0).fetch_optional(tx.sql()).await? else {
        tx.rollback().await?;
        return Ok(Vec::new());
    };
    let (tenant, kind, step) = (first.tenant("tenant")?, first.parsed::<Kind>("kind")?, first.int("step")?);
    let query = format!(
        "SELECT {REQUEST} FROM subject_request WHERE {due} AND tenant = $2 AND kind = $3 AND step = $4 \
         ORDER BY next_at LIMIT $5{}",
        store.dialect().claim()
    );
    let rows = sqlx::query(AssertSqlSafe(query)).bind(now.0).bind(tenant.as_str()).bind(kind.as_str()).bind(step);
    let rows = rows.bind(limit(kind)).fetch_all(tx.sql()).await?;
    let requests: Vec<Request> = rows.iter().map(read).collect::<Result<_, _>>()?;
    let mut held = Statement::new("UPDATE subject_request SET worker = ");
    held.bind(worker).push(", next_at = ").bind(lease_until.0).push(", lease_until = ");
    held.bind(lease_until.0).push(" WHERE tenant = ").bind(tenant.as_str());
    held.among("id", requests.iter().map(|request| request.id));
    if !requests.is_empty() {
        held.query()?.execute(tx.sql()).await?;
    }
    tx.commit().await?;
    Ok(requests)
}

/// What is set of requests that `worker` holds.
pub(crate) enum Change {
    /// The next step, and a longer lease.
    Step(i64, UnixMillis),
    /// They are tried again from this time on.
    Later(UnixMillis),
    /// Every store was asked to put data right; their source is yet to be.
    AwaitsSource(UnixMillis),
    /// They have ended.
    Completed(Outcome, UnixMillis),
    /// They have ended, and with them what was written.
    Erased(Outcome, UnixMillis),
    /// They are not carried out.
    Refused(Ground, UnixMillis),
}

/// Changes `requests`, if `worker` holds them all. Returns whether it does.
pub(crate) async fn change(
    tx: &mut Tx,
    worker: &str,
    requests: &[&Request],
    change: &Change,
) -> Result<bool, StoreError> {
    let Some(first) = requests.first() else { return Ok(true) };
    let mut query = Statement::new("UPDATE subject_request SET ");
    match change {
        Change::Step(step, until) => {
            query.push("step = ").bind(*step).push(", next_at = ").bind(until.0);
            query.push(", lease_until = ").bind(until.0);
        }
        Change::Later(at) => {
            query.push("worker = '', lease_until = 0, next_at = ").bind(at.0);
        }
        Change::AwaitsSource(at) => {
            query.push("worker = '', lease_until = 0, step = ").bind(rectification::AWAITS_SOURCE);
            query.push(", next_at = ").bind(at.0);
        }
        Change::Completed(outcome, at) | Change::Erased(outcome, at) => {
            query.push("worker = '', lease_until = 0, state = 'completed', outcome = ").bind(outcome.as_str());
            query.push(", ended_at = ").bind(at.0);
            if matches!(change, Change::Erased(..)) {
                query.push(", code = NULL, details = ").bind(Vec::new());
            }
        }
        Change::Refused(ground, at) => {
            query.push("worker = '', lease_until = 0, state = 'refused', ground = ").bind(ground.as_str());
            query.push(", ended_at = ").bind(at.0);
        }
    }
    query.push(" WHERE worker = ").bind(worker).push(" AND tenant = ").bind(first.tenant.as_str());
    query.among("id", requests.iter().map(|request| request.id));
    let changed = query.query()?.execute(tx.sql()).await?.rows_affected();
    Ok(usize::try_from(changed) == Ok(requests.len()))
}

/// Makes the lease of those of `requests` longer that `worker` still holds.
pub(crate) async fn hold_on(
    tx: &mut Tx,
    worker: &str,
    tenant: &TenantId,
    requests: &[SubjectRequestId],
    until: UnixMillis,
) -> Result<(), StoreError> {
    let mut query = Statement::new("UPDATE subject_request SET next_at = ");
    query.bind(until.0).push(", lease_until = ").bind(until.0).push(" WHERE worker = ").bind(worker);
    query.push(" AND tenant = ").bind(tenant.as_str()).among("id", requests);
    query.query()?.execute(tx.sql()).await?;
    Ok(())
}

/// Who of `people` stands under a legal hold. Their rows are locked until `tx` ends; who is locked by another counts as
/// missing.
pub(crate) async fn locked(
    tx: &mut Tx,
    claim: &str,
    tenant: &TenantId,
    people: &[SubjectId],
) -> Result<HashMap<SubjectId, bool>, StoreError> {
    let mut query = Statement::new("SELECT id, holds FROM subject WHERE tenant = ");
    query.bind(tenant.as_str());
    query.among("id", people.iter());
    query.push(claim);
    let rows = query.query()?.fetch_all(tx.sql()).await?;
    rows.iter().map(|row| Ok((row.parsed("id")?, row.int("holds")? > 0))).collect()
}

/// Keeps what became of requests in stores. Rows add up; so do attempts.
pub(crate) async fn keep_tasks(tx: &mut Tx, tenant: &TenantId, tasks: &[Task]) -> Result<(), StoreError> {
    for tasks in tasks.chunks(ROWS_MAX) {
        let mut query =
            Statement::new("INSERT INTO subject_task (tenant, request, store, state, rows, attempts, error, at) ");
        query.rows(tasks, |row, task| {
            row.bind(tenant.as_str())
                .bind(task.request.to_string())
                .bind(task.store.as_str())
                .bind(if task.is_done { "done" } else { "failed" })
                .bind(task.rows)
                .bind(1_i64)
                .bind(task.error.as_str())
                .bind(task.at.0);
        });
        query.push(
            " ON CONFLICT (tenant, request, store) DO UPDATE SET state = excluded.state, rows = excluded.rows, \
             attempts = subject_task.attempts + 1, error = excluded.error, at = excluded.at",
        );
        query.query()?.execute(tx.sql()).await?;
    }
    Ok(())
}

/// What became of `requests` in stores so far, by store.
pub(crate) async fn tasks(
    store: &Store,
    tenant: &TenantId,
    requests: &[SubjectRequestId],
) -> Result<Vec<Task>, StoreError> {
    let mut query =
        Statement::new("SELECT request, store, state, rows, attempts, error, at FROM subject_task WHERE tenant = ");
    query.bind(tenant.as_str());
    query.among("request", requests.iter());
    query.push(" ORDER BY request, store");
    let rows = query.query()?.fetch_all(store.pool()).await?;
    rows.iter()
        .map(|row| {
            Ok(Task {
                request: row.parsed("request")?,
                store: row.text("store")?,
                is_done: row.text("state")? == "done",
                rows: row.int("rows")?,
                attempts: row.int("attempts")?,
                error: row.text("error")?,
                at: row.time("at")?,
            })
        })
        .collect()
}

/// In which stores a deletion of each of `people` was done, but by hand.
pub(crate) async fn erased_in(
    store: &Store,
    tenant: &TenantId,
    people: impl Iterator<Item = SubjectId>,
) -> Result<Vec<(SubjectId, String)>, StoreError> {
    let mut query = Statement::new(
        // SQLite takes the tables of a CROSS JOIN in their order: from the few requests to their tasks.
        "SELECT DISTINCT r.subject, t.store FROM subject_request r CROSS JOIN subject_task t WHERE t.tenant = r.tenant \
         AND t.request = r.id AND r.kind = 'DELETION' AND t.state = 'done' AND t.error = '' AND r.tenant = ",
    );
    query.bind(tenant.as_str()).among("r.subject", people);
    let rows = query.query()?.fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((row.parsed("subject")?, row.text("store")?))).collect()
}

/// Keeps an export in the place of one that may be there.
pub(crate) async fn keep_export(tx: &mut Tx, request: &Request, parts: &[Part]) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM subject_export WHERE tenant = $1 AND request = $2")
        .bind(request.tenant.as_str())
        .bind(request.id.to_string())
        .execute(tx.sql())
        .await?;
    for (number, part) in (0_i64..).zip(parts) {
        sqlx::query(
            "INSERT INTO subject_export (tenant, request, part, body, sha256, until) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(request.tenant.as_str())
        .bind(request.id.to_string())
        .bind(number)
        .bind(part.body.as_slice())
        .bind(part.sha256.as_str())
        .bind(part.until.0)
        .execute(tx.sql())
        .await?;
    }
    Ok(())
}

/// The parts of an export that is still kept at `now`, in their order.
pub(crate) async fn export(store: &Store, request: &Request, now: UnixMillis) -> Result<Vec<Part>, StoreError> {
    let rows = sqlx::query(
        "SELECT body, sha256, until FROM subject_export WHERE tenant = $1 AND request = $2 AND until > $3 ORDER BY part",
    );
    let rows = rows.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(now.0);
    rows.fetch_all(store.pool())
        .await?
        .iter()
        .map(|row| {
            let body = row.bytes_opt("body")?.unwrap_or_default();
            Ok(Part { body, sha256: row.text("sha256")?, until: row.time("until")? })
        })
        .collect()
}

/// Takes or renews the job `name` for `holder` until `until`. Returns whether nobody else has it.
pub(crate) async fn lease(
    store: &Store,
    name: &str,
    holder: &str,
    now: UnixMillis,
    until: UnixMillis,
) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let taken = sqlx::query(
        "INSERT INTO job_lease (name, holder, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET \
         holder = excluded.holder, until = excluded.until WHERE job_lease.holder = $2 OR job_lease.until <= $4 \
         OR job_lease.until > $5",
    )
    .bind(name)
    .bind(holder)
    .bind(until.0)
    .bind(now.0)
    .bind(now.plus(AHEAD_MS).0)
    .execute(tx.sql())
    .await?;
    tx.commit().await?;
    Ok(taken.rows_affected() == 1)
}
