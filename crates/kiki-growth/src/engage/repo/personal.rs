//! Messages by the person they are for: told, forgotten, deleted when their time is over.

use kiki_store::personal::{Expired, Subject, SubjectId};
use kiki_store::{Columns as _, Store, StoreError};
use kiki_types::id::CampaignId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;

use super::messages::{COLUMNS, read};
use crate::engage::message::Message;

/// Handles or ids of one statement at the most.
const ROWS_PER_STATEMENT: usize = 500;
/// Messages of one export at the most.
const EXPORT_ROWS_MAX: i64 = 100_000;

/// Messages that are still somebody's, but should not be: they are old, or their person was erased while they were written.
const PAST: &str = "m.tenant = $1 AND m.subject NOT LIKE '~%' AND (m.updated_at < $2 OR NOT EXISTS \
     (SELECT 1 FROM subject s WHERE s.tenant = m.tenant AND s.id = m.subject))";

/// All messages to `subject`, each with its campaign.
pub(in crate::engage) async fn of(store: &Store, subject: &Subject) -> Result<Vec<(CampaignId, Message)>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS}, m.campaign FROM engage_message m WHERE m.tenant = $1 AND m.subject = $2 \
         ORDER BY m.updated_at, m.id LIMIT $3"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(subject.tenant.as_str())
        .bind(subject.id.to_string())
        .bind(EXPORT_ROWS_MAX)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(|row| Ok((row.parsed("campaign")?, read(row, subject)?))).collect()
}

/// How many messages `subject` has.
pub(in crate::engage) async fn count(store: &Store, subject: &Subject) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT count(*) AS messages FROM engage_message WHERE tenant = $1 AND subject = $2")
        .bind(subject.tenant.as_str())
        .bind(subject.id.to_string())
        .fetch_one(store.pool())
        .await?;
    row.int("messages")
}

/// Makes the messages of `who` nobody's. Campaigns keep their sums. Returns how many there were.
pub(in crate::engage) async fn make_nobodys(
    store: &Store,
    tenant: &TenantId,
    who: &[SubjectId],
) -> Result<u64, StoreError> {
    let handles: Vec<String> = who.iter().map(ToString::to_string).collect();
    let mut changed = 0;
    for handles in handles.chunks(ROWS_PER_STATEMENT) {
        changed += anonymise(store, tenant, "subject", handles).await?;
    }
    Ok(changed)
}

/// Makes nobody's at most `limit` messages that are older than `before` or whose person has no key any more; if `dry`,
/// counts all of them.
pub(in crate::engage) async fn expire(
    store: &Store,
    tenant: &TenantId,
    before: UnixMillis,
    limit: u32,
    dry: bool,
) -> Result<Expired, StoreError> {
    if dry {
        let query = format!("SELECT count(*) AS rows, MIN(m.updated_at) AS oldest FROM engage_message m WHERE {PAST}");
        let query = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(before.0);
        let row = query.fetch_one(store.pool()).await?;
        let rows = u64::try_from(row.int("rows")?).unwrap_or(0);
        return Ok(Expired { rows, oldest: row.int_opt("oldest")?.map(UnixMillis) });
    }
    let query =
        format!("SELECT m.id, m.updated_at FROM engage_message m WHERE {PAST} ORDER BY m.updated_at, m.id LIMIT $3");
    let found = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(before.0)
        .bind(i64::from(limit))
        .fetch_all(store.pool())
        .await?;
    let oldest = found.first().map(|row| row.time("updated_at")).transpose()?;
    let ids = found.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
    let mut rows = 0;
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        rows += anonymise(store, tenant, "id", ids).await?;
    }
    Ok(Expired { rows, oldest })
}

/// The rows whose `column` is one of `values`, in a transaction of their own.
async fn anonymise(
    store: &Store,
    tenant: &TenantId,
    column: &'static str,
    values: &[String],
) -> Result<u64, StoreError> {
    let places: Vec<String> = (3..values.len() + 3).map(|number| format!("${number}")).collect();
    let query = format!(
        "UPDATE engage_message SET subject = '~' || id, sealed = $2 \
         WHERE tenant = $1 AND subject NOT LIKE '~%' AND {column} IN ({})",
        places.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(query)).bind(tenant.as_str()).bind(Vec::<u8>::new());
    for value in values {
        query = query.bind(value.as_str());
    }
    let mut tx = store.begin().await?;
    let changed = query.execute(tx.sql()).await?.rows_affected();
    tx.commit().await?;
    Ok(changed)
}
