//! What is kept of people here: their requests, what they wrote, and exports that wait to be fetched.

use kiki_store::personal::{Expired, SubjectId};
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::SubjectRequestId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;

use super::statement::Statement;
use super::{REQUEST, Request, read};

/// Requests of one person that an export lists at the most.
const LISTED_MAX: i64 = 1_000;

/// The requests of a person, the oldest first.
pub(crate) async fn of(store: &Store, tenant: &TenantId, who: SubjectId) -> Result<Vec<Request>, StoreError> {
    let query = format!(
        "SELECT {REQUEST} FROM subject_request WHERE tenant = $1 AND subject = $2 ORDER BY received_at, id LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(who.to_string()).bind(LISTED_MAX);
    rows.fetch_all(store.pool()).await?.iter().map(read).collect()
}

/// Whether a deletion of a person has begun, as `tx` sees it.
pub(crate) async fn is_being_erased(tx: &mut Tx, tenant: &TenantId, who: SubjectId) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT id FROM subject_request WHERE tenant = $1 AND subject = $2 AND kind = 'DELETION' AND ended_at = 0 \
         AND step > 0 LIMIT 1",
    );
    Ok(row.bind(tenant.as_str()).bind(who.to_string()).fetch_optional(tx.sql()).await?.is_some())
}

/// The deletions of a person that were refused for a legal hold, the oldest first.
pub(crate) async fn held_back(
    store: &Store,
    tenant: &TenantId,
    who: SubjectId,
) -> Result<Vec<SubjectRequestId>, StoreError> {
    let rows = sqlx::query(
        "SELECT id FROM subject_request WHERE tenant = $1 AND subject = $2 AND ground = 'legal_hold' \
         ORDER BY received_at, id LIMIT $3",
    );
    let rows = rows.bind(tenant.as_str()).bind(who.to_string()).bind(LISTED_MAX).fetch_all(store.pool()).await?;
    rows.iter().map(|row| row.parsed("id")).collect()
}

/// Empties what people wrote in requests that have ended, and removes their exports; the requests stay, to show that they
/// were answered.
pub(crate) async fn empty(tx: &mut Tx, tenant: &TenantId, who: &[SubjectId]) -> Result<u64, StoreError> {
    let mut exports = Statement::new(
        "DELETE FROM subject_export WHERE (tenant, request) IN (SELECT tenant, id FROM subject_request WHERE tenant = ",
    );
    exports.bind(tenant.as_str());
    exports.among("subject", who.iter());
    exports.push(")");
    let gone = exports.query()?.execute(tx.sql()).await?.rows_affected();
    let mut details = Statement::new("UPDATE subject_request SET details = ");
    details.bind(Vec::new()).push(", code = NULL WHERE tenant = ").bind(tenant.as_str());
    details.among("subject", who.iter());
    details.push(" AND ended_at > 0 AND details <> ").bind(Vec::new());
    Ok(gone + details.query()?.execute(tx.sql()).await?.rows_affected())
}

/// Removes at most `limit` exports whose time is over at `now`, or, `dry`, counts them.
pub(crate) async fn expire_exports(
    store: &Store,
    tenant: &TenantId,
    now: UnixMillis,
    limit: u32,
    dry: bool,
) -> Result<Expired, StoreError> {
    let past = "subject_export WHERE tenant = $1 AND until <= $2";
    let counted = counted(store, tenant, now, past, "until").await?;
    if dry || counted.rows == 0 {
        return Ok(counted);
    }
    let query = format!(
        "DELETE FROM subject_export WHERE (tenant, request, part) IN \
         (SELECT tenant, request, part FROM {past} ORDER BY until LIMIT $3)"
    );
    let mut tx = store.begin().await?;
    let gone = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(now.0).bind(i64::from(limit));
    let rows = gone.execute(tx.sql()).await?.rows_affected();
    tx.commit().await?;
    Ok(Expired { rows, ..counted })
}

/// Removes at most `limit` requests that ended before `cutoff`, with all that belongs to them, or, `dry`, counts them.
pub(crate) async fn expire_requests(
    store: &Store,
    tenant: &TenantId,
    cutoff: UnixMillis,
    limit: u32,
    dry: bool,
) -> Result<Expired, StoreError> {
    let past = "subject_request WHERE tenant = $1 AND ended_at > 0 AND ended_at < $2";
    if dry {
        return counted(store, tenant, cutoff, past, "ended_at").await;
    }
    let query = format!("SELECT id, ended_at FROM {past} ORDER BY ended_at LIMIT $3");
    let rows = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(cutoff.0).bind(i64::from(limit));
    let rows = rows.fetch_all(store.pool()).await?;
    let ids = rows.iter().map(|row| row.parsed("id")).collect::<Result<Vec<SubjectRequestId>, _>>()?;
    let Some(first) = rows.first() else { return Ok(Expired::default()) };
    let mut tx = store.begin().await?;
    for (table, column) in [("subject_export", "request"), ("subject_task", "request"), ("subject_request", "id")] {
        let mut gone = Statement::new(format!("DELETE FROM {table} WHERE tenant = "));
        gone.bind(tenant.as_str());
        gone.among(column, ids.iter());
        gone.query()?.execute(tx.sql()).await?;
    }
    tx.commit().await?;
    Ok(Expired { rows: ids.len() as u64, oldest: Some(first.time("ended_at")?) })
}

async fn counted(
    store: &Store,
    tenant: &TenantId,
    cutoff: UnixMillis,
    past: &str,
    time: &str,
) -> Result<Expired, StoreError> {
    let query = format!("SELECT COUNT(*) AS gone, MIN({time}) AS oldest FROM {past}");
    let row = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(cutoff.0).fetch_one(store.pool()).await?;
    let rows = u64::try_from(row.int("gone")?).unwrap_or(0);
    Ok(Expired { rows, oldest: row.int_opt("oldest")?.map(UnixMillis) })
}

/// Removes at most `limit` deliveries of webhooks that ended before `cutoff`, or, `dry`, counts them.
pub(crate) async fn expire_deliveries(
    store: &Store,
    tenant: &TenantId,
    cutoff: UnixMillis,
    limit: u32,
    dry: bool,
) -> Result<Expired, StoreError> {
    let past = "webhook_delivery WHERE tenant = $1 AND state <> 'pending' AND ended_at < $2";
    let counted = counted(store, tenant, cutoff, past, "ended_at").await?;
    if dry || counted.rows == 0 {
        return Ok(counted);
    }
    let doomed = format!("SELECT tenant, endpoint, id FROM {past} ORDER BY ended_at LIMIT $3");
    let query = format!("DELETE FROM webhook_delivery WHERE (tenant, endpoint, id) IN ({doomed})");
    let mut tx = store.begin().await?;
    let gone = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(cutoff.0).bind(i64::from(limit));
    let rows = gone.execute(tx.sql()).await?.rows_affected();
    tx.commit().await?;
    Ok(Expired { rows, ..counted })
}
