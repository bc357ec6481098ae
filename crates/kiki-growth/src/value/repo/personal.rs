//! What customers bought, by customer: told, forgotten, deleted when its time is over.

use kiki_store::personal::{Expired, Subject, SubjectId};
use kiki_store::{Columns as _, Store, StoreError};
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;

use super::{MODEL_COLUMNS, ROWS_PER_STATEMENT, customers, numbered, saved_model};
use crate::value::model::{Known, SavedModel};

const NEWEST: &str = "(SELECT id FROM value_models WHERE tenant = $1 ORDER BY created_at DESC, id DESC LIMIT 1)";
/// Rows of models that were replaced long ago, and of people who were erased while a model was saved.
const PAST: &str = "FROM value_customer c JOIN value_models m ON m.tenant = c.tenant AND m.id = c.model \
     WHERE c.tenant = $1 AND ((m.created_at < $2 AND m.id <> {NEWEST}) OR NOT EXISTS \
     (SELECT 1 FROM subject s WHERE s.tenant = c.tenant AND s.id = c.subject))";
/// Models that were replaced long ago, and of which no customer is left.
const EMPTY: &str = "FROM value_models WHERE tenant = $1 AND created_at < $2 AND id <> {NEWEST}";

/// What each model knows of `subject`, newest first.
pub(in crate::value) async fn of(store: &Store, subject: &Subject) -> Result<Vec<(SavedModel, Known)>, StoreError> {
    let sql = format!(
        "SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 AND id IN \
         (SELECT model FROM value_customer WHERE tenant = $1 AND subject = $2) ORDER BY created_at DESC, id DESC"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(subject.tenant.as_str())
        .bind(subject.id.to_string())
        .fetch_all(store.pool())
        .await?;
    let mut known = Vec::with_capacity(rows.len());
    for row in &rows {
        let model = saved_model(row)?;
        let found = customers(store, &subject.tenant, model.id, std::slice::from_ref(subject)).await?;
        known.extend(found.into_iter().map(|one| (model.clone(), one)));
    }
    Ok(known)
}

/// Forgets what `who` bought. Returns how many rows there were.
pub(in crate::value) async fn erase(store: &Store, tenant: &TenantId, who: &[SubjectId]) -> Result<u64, StoreError> {
    let mut gone = 0;
    for who in who.chunks(ROWS_PER_STATEMENT) {
        let sql = format!("DELETE FROM value_customer WHERE tenant = $1 AND subject IN {}", numbered(2, who.len()));
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str());
        for id in who {
            query = query.bind(id.to_string());
        }
        let mut tx = store.begin().await?;
        gone += query.execute(tx.sql()).await?.rows_affected();
        tx.commit().await?;
    }
    Ok(gone)
}

/// Removes at most `limit` rows of models that are not the newest and older than `before`, and then those models; also rows of
/// whom nobody knows any more. If `dry`, counts all of them.
pub(in crate::value) async fn expire(
    store: &Store,
    tenant: &TenantId,
    before: UnixMillis,
    limit: u32,
    dry: bool,
) -> Result<Expired, StoreError> {
    let [past, empty] = [PAST, EMPTY].map(|text| text.replace("{NEWEST}", NEWEST));
    if dry {
        let mut all = Expired::default();
        for sql in [
            format!("SELECT count(*) AS rows, MIN(m.created_at) AS oldest {past}"),
            format!("SELECT count(*) AS rows, MIN(created_at) AS oldest {empty}"),
        ] {
            let row =
                sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(before.0).fetch_one(store.pool()).await?;
            all.rows += u64::try_from(row.int("rows")?).unwrap_or(0);
            all.oldest = all.oldest.into_iter().chain(row.int_opt("oldest")?.map(UnixMillis)).min();
        }
        return Ok(all);
    }
    let customers = format!(
        "DELETE FROM value_customer WHERE tenant = $1 AND (model, subject) IN \
         (SELECT c.model, c.subject {past} ORDER BY m.created_at LIMIT $3)"
    );
    let models = format!(
        "DELETE FROM value_models WHERE tenant = $1 AND id IN (SELECT id {empty} AND NOT EXISTS \
         (SELECT 1 FROM value_customer c WHERE c.tenant = $1 AND c.model = value_models.id) LIMIT $3)"
    );
    let mut tx = store.begin().await?;
    let mut rows = 0;
    for sql in [customers, models] {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(before.0).bind(i64::from(limit));
        rows += query.execute(tx.sql()).await?.rows_affected();
    }
    tx.commit().await?;
    Ok(Expired { rows, oldest: None })
}
