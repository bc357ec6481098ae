//! What reports count in SQL.

use kiki_store::{Columns as _, Store, StoreError};
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

/// Groups that one count gives at the most.
const GROUPS_MAX: i64 = 10_000;

/// From when to before when.
pub(crate) type Period = (UnixMillis, UnixMillis);

/// A number of rows with the words that they have in common.
pub(crate) type Group<const N: usize> = ([String; N], i64);

/// Counts rows of `table` by the columns `by`, as far as `which` holds of them.
async fn grouped<const N: usize>(
    store: &Store,
    tenant: &TenantId,
    table: &str,
    by: [&str; N],
    which: &str,
    (from, to): Period,
) -> Result<Vec<Group<N>>, StoreError> {
    let columns = by.join(", ");
    let query = format!(
        "SELECT {columns}, COUNT(*) AS counted FROM {table} WHERE tenant = $1 AND {which} >= $2 AND {which} < $3 \
         GROUP BY {columns} ORDER BY {columns} LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(from.0)
        .bind(to.0)
        .bind(GROUPS_MAX)
        .fetch_all(store.pool())
        .await?;
    let group = |row: &AnyRow| {
        let mut words = by.map(|_| String::new());
        for (word, column) in words.iter_mut().zip(by) {
            *word = row.text(column)?;
        }
        Ok((words, row.int("counted")?))
    };
    rows.iter().map(group).collect()
}

/// Subject requests that came in, by regime, kind and state.
pub(crate) async fn requests(store: &Store, tenant: &TenantId, period: Period) -> Result<Vec<Group<3>>, StoreError> {
    grouped(store, tenant, "subject_request", ["regime", "kind", "state"], "received_at", period).await
}

/// What was recorded about consent, by act, purpose, channel and state.
pub(crate) async fn consents(store: &Store, tenant: &TenantId, period: Period) -> Result<Vec<Group<4>>, StoreError> {
    grouped(store, tenant, "consent_record", ["act", "purpose", "channel", "state"], "at", period).await
}

/// For which purposes people were asked, with which basis and which text.
pub(crate) async fn purposes(store: &Store, tenant: &TenantId, period: Period) -> Result<Vec<Group<3>>, StoreError> {
    let grants = "(SELECT * FROM consent_record WHERE act = 'grant') AS asked";
    grouped(store, tenant, grants, ["purpose", "basis", "text_version"], "at", period).await
}

/// What set bars, by source.
pub(crate) async fn signals(store: &Store, tenant: &TenantId, period: Period) -> Result<Vec<Group<2>>, StoreError> {
    grouped(store, tenant, "consent_record", ["act", "source"], "at", period).await
}

/// Who was erased, by cause.
pub(crate) async fn erasures(store: &Store, tenant: &TenantId, period: Period) -> Result<Vec<Group<1>>, StoreError> {
    grouped(store, tenant, "erasure", ["cause"], "at", period).await
}

/// One count over a table, with the tenant as `$1` and `now` as `$2`.
async fn counted(store: &Store, tenant: &TenantId, from: &str, now: UnixMillis) -> Result<i64, StoreError> {
    let query = format!("SELECT COUNT(*) AS counted FROM {from}");
    let row = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(now.0).fetch_one(store.pool()).await?;
    row.int("counted")
}

/// Subject requests that should have been answered before `now` and were not.
pub(crate) async fn overdue(store: &Store, tenant: &TenantId, now: UnixMillis) -> Result<i64, StoreError> {
    let open = "subject_request WHERE tenant = $1 AND ended_at = 0 \
         AND (CASE WHEN extended_at > 0 THEN extended_due_at ELSE due_at END) < $2";
    counted(store, tenant, open, now).await
}

/// Legal holds that stand at `now`.
pub(crate) async fn holds(store: &Store, tenant: &TenantId, now: UnixMillis) -> Result<i64, StoreError> {
    counted(store, tenant, "legal_hold WHERE tenant = $1 AND released_at = 0 AND placed_at <= $2", now).await
}

/// Texts that people were shown before `now`.
pub(crate) async fn texts(store: &Store, tenant: &TenantId, now: UnixMillis) -> Result<i64, StoreError> {
    counted(store, tenant, "consent_text WHERE tenant = $1 AND created_at <= $2", now).await
}

/// Breaches that somebody became aware of in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreachCounts {
    pub(crate) recorded: i64,
    /// Those whose authority was told or that were closed.
    pub(crate) handled: i64,
}

/// Counts breaches, without opening any.
pub(crate) async fn breaches(store: &Store, tenant: &TenantId, (from, to): Period) -> Result<BreachCounts, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS recorded, COUNT(CASE WHEN authority_at > 0 OR closed_at > 0 THEN 1 END) AS handled \
         FROM breach WHERE tenant = $1 AND aware_at >= $2 AND aware_at < $3",
    );
    let row = row.bind(tenant.as_str()).bind(from.0).bind(to.0).fetch_one(store.pool()).await?;
    Ok(BreachCounts { recorded: row.int("recorded")?, handled: row.int("handled")? })
}

/// Where the tenant's webhooks are.
pub(crate) async fn webhooks(store: &Store, tenant: &TenantId) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT url FROM webhook_endpoint WHERE tenant = $1 ORDER BY created_at, id LIMIT 1000")
        .bind(tenant.as_str())
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(|row| row.text("url")).collect()
}

/// Requests under the CCPA with the same end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) outcome: String,
    pub(crate) ground: String,
    /// Whole days from receipt to the end; 0 while there is none.
    pub(crate) days: i64,
    pub(crate) count: i64,
}

/// Requests under the CCPA that came in during `period`.
pub(crate) async fn answered(
    store: &Store,
    tenant: &TenantId,
    (from, to): Period,
) -> Result<Vec<Answered>, StoreError> {
    let rows = sqlx::query(
        "SELECT kind, state, outcome, ground, days, COUNT(*) AS counted FROM \
         (SELECT kind, state, outcome, ground, \
         CASE WHEN ended_at > received_at THEN (ended_at - received_at) / 86400000 ELSE 0 END AS days \
         FROM subject_request WHERE tenant = $1 AND regime = 'ccpa' AND received_at >= $2 AND received_at < $3) \
         AS answered GROUP BY kind, state, outcome, ground, days ORDER BY kind, days, state, outcome, ground LIMIT $4",
    )
    .bind(tenant.as_str())
    .bind(from.0)
    .bind(to.0)
    .bind(GROUPS_MAX)
    .fetch_all(store.pool())
    .await?;
    let answered = |row: &AnyRow| {
        Ok(Answered {
            kind: row.text("kind")?,
            state: row.text("state")?,
            outcome: row.text("outcome")?,
            ground: row.text("ground")?,
            days: row.int("days")?,
            count: row.int("counted")?,
        })
    };
    rows.iter().map(answered).collect()
}

#[cfg(test)]
mod tests;
