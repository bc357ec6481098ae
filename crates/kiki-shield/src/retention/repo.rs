//! Who was not heard of for long, and whose turn the daily run is.

use kiki_store::personal::SubjectId;
use kiki_store::{Columns as _, Store, StoreError};
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;

/// Tenants that one run looks at, at the most.
const TENANTS_MAX: i64 = 10_000;

/// People who were last heard of before the day `$2`, but for `$3`, who stands for the tenant itself. Whose data may only be
/// stored keeps them: they may need them for a claim (Art. 18(1)(c), (2) GDPR).
const UNUSED: &str = "FROM subject AS person WHERE person.tenant = $1 AND person.used_on < $2 AND person.holds = 0 \
     AND person.restricted = 0 AND person.id <> $3 AND NOT EXISTS (SELECT 1 FROM subject_request AS asked WHERE asked.tenant = person.tenant \
     AND asked.subject = person.id AND asked.ended_at = 0)";

/// How many they are, and the day on which the first of them was last heard of.
pub(super) async fn unused_count(
    store: &Store,
    tenant: &TenantId,
    day: i64,
    tenant_itself: SubjectId,
) -> Result<(u64, Option<i64>), StoreError> {
    let query = format!("SELECT COUNT(*) AS people, MIN(person.used_on) AS oldest {UNUSED}");
    let row = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(day)
        .bind(tenant_itself.to_string())
        .fetch_one(store.pool())
        .await?;
    Ok((u64::try_from(row.int("people")?).unwrap_or(0), row.int_opt("oldest")?))
}

/// At most `limit` of them, those first of whom nothing was heard for the longest.
pub(super) async fn unused(
    store: &Store,
    tenant: &TenantId,
    day: i64,
    tenant_itself: SubjectId,
    limit: u32,
) -> Result<Vec<SubjectId>, StoreError> {
    let query = format!("SELECT person.id AS id {UNUSED} ORDER BY person.used_on, person.id LIMIT $4");
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(day)
        .bind(tenant_itself.to_string())
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(|row| row.parsed("id")).collect()
}

/// Somebody whom retention erased.
pub(super) struct Erased {
    pub(super) seq: i64,
    pub(super) who: SubjectId,
    pub(super) at: UnixMillis,
}

/// At most `limit` of those, after the number `after`, in the order in which they were erased.
pub(super) async fn erased(
    store: &Store,
    tenant: &TenantId,
    after: i64,
    limit: u32,
) -> Result<Vec<Erased>, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, subject, at FROM erasure WHERE tenant = $1 AND cause = 'retention' AND seq > $2 \
         ORDER BY seq LIMIT $3",
    );
    let rows = rows.bind(tenant.as_str()).bind(after).bind(i64::from(limit)).fetch_all(store.pool()).await?;
    rows.iter()
        .map(|row| Ok(Erased { seq: row.int("seq")?, who: row.parsed("subject")?, at: row.time("at")? }))
        .collect()
}

/// Tenants who have people.
pub(super) async fn tenants(store: &Store) -> Result<Vec<TenantId>, StoreError> {
    let rows = sqlx::query("SELECT DISTINCT tenant FROM subject ORDER BY tenant LIMIT $1").bind(TENANTS_MAX);
    rows.fetch_all(store.pool()).await?.iter().map(|row| row.tenant("tenant")).collect()
}

/// Takes the turn called `name` until `until`, if nobody has it at `now`. One for more than twice as long was taken by a
/// clock that was ahead, and counts for nothing.
pub(super) async fn take_turn(
    store: &Store,
    name: &str,
    holder: &str,
    now: UnixMillis,
    until: UnixMillis,
) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let taken = sqlx::query(
        "INSERT INTO job_lease (name, holder, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
         SET holder = excluded.holder, until = excluded.until WHERE job_lease.until <= $4 OR job_lease.until > $5",
    )
    .bind(name)
    .bind(holder)
    .bind(until.0)
    .bind(now.0)
    .bind(until.plus(until.0 - now.0).0)
    .execute(tx.sql())
    .await?;
    tx.commit().await?;
    Ok(taken.rows_affected() == 1)
}
