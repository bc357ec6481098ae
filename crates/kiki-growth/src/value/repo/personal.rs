//! What customers bought, by customer: told, forgotten, deleted when its time is over.

use kiki_store::personal::{Expired, Subject, SubjectId};
use kiki_store::{Columns as _, Store, StoreError};
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{MODEL_COLUMNS, ROWS_PER_STATEMENT, known, numbered, saved_model};
use crate::value::model::{Known, SavedModel};

/// The model in force.
const CURRENT: &str = "(SELECT id FROM value_models WHERE tenant = $1 AND promoted_at > 0 \
     ORDER BY promoted_at DESC LIMIT 1)";
/// Rows of models that were replaced long ago, and of people who were erased while a model was saved.
const PAST: &str = "FROM value_customer c JOIN value_models m ON m.tenant = c.tenant AND m.id = c.model \
     WHERE c.tenant = $1 AND ((m.created_at < $2 AND m.id NOT IN {CURRENT}) OR NOT EXISTS \
     (SELECT 1 FROM subject s WHERE s.tenant = c.tenant AND s.id = c.subject))";
/// Models that were replaced long ago, and of which no customer is left.
const EMPTY: &str = "FROM value_models WHERE tenant = $1 AND created_at < $2 AND id NOT IN {CURRENT}";
/// Orders that were recorded long ago, and those of people who were erased while they were recorded.
const OLD: &str = "FROM value_order o WHERE o.tenant = $1 AND (o.recorded_at < $2 OR NOT EXISTS \
     (SELECT 1 FROM subject s WHERE s.tenant = o.tenant AND s.id = o.subject))";
/// Trainings of long ago.
const TRAINED: &str = "FROM value_training WHERE tenant = $1 AND created_at < $2";

/// What each model knows of `subject`, newest first.
pub(in crate::value) async fn of(store: &Store, subject: &Subject) -> Result<Vec<(SavedModel, Known)>, StoreError> {
    let sql = format!(
        "SELECT {MODEL_COLUMNS}, sealed FROM value_models m JOIN value_customer c ON c.tenant = m.tenant \
         AND c.model = m.id WHERE c.tenant = $1 AND c.subject = $2 ORDER BY created_at DESC, id DESC"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(subject.tenant.as_str()).bind(subject.id.to_string());
    let both = |row: &AnyRow| {
        let model = saved_model(row)?;
        let known = known(row, model.id, subject)?;
        Ok((model, known))
    };
    query.fetch_all(store.pool()).await?.iter().map(both).collect()
}

/// Forgets what `who` bought and ordered. Returns how many rows there were.
pub(in crate::value) async fn erase(store: &Store, tenant: &TenantId, who: &[SubjectId]) -> Result<u64, StoreError> {
    let mut gone = 0;
    for who in who.chunks(ROWS_PER_STATEMENT) {
        let mut tx = store.begin().await?;
        for table in ["value_customer", "value_order"] {
            let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND subject IN {}", numbered(2, who.len()));
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str());
            for id in who {
                query = query.bind(id.to_string());
            }
            gone += query.execute(tx.sql()).await?.rows_affected();
        }
        tx.commit().await?;
    }
    Ok(gone)
}

/// Removes at most `limit` rows of models that are not in force and older than `before`, and then those models; of orders and
/// trainings before then; also rows of whom nobody knows any more. If `dry`, counts all of them.
pub(in crate::value) async fn expire(
    store: &Store,
    tenant: &TenantId,
    before: UnixMillis,
    limit: u32,
    dry: bool,
) -> Result<Expired, StoreError> {
    let [past, empty] = [PAST, EMPTY].map(|text| text.replace("{CURRENT}", CURRENT));
    if dry {
        let mut all = Expired::default();
        for sql in [
            format!("SELECT count(*) AS rows, MIN(m.created_at) AS oldest {past}"),
            format!("SELECT count(*) AS rows, MIN(created_at) AS oldest {empty}"),
            format!("SELECT count(*) AS rows, MIN(o.recorded_at) AS oldest {OLD}"),
            format!("SELECT count(*) AS rows, MIN(created_at) AS oldest {TRAINED}"),
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
    let orders =
        format!("DELETE FROM value_order WHERE tenant = $1 AND order_key IN (SELECT o.order_key {OLD} LIMIT $3)");
    let trainings = format!("DELETE FROM value_training WHERE tenant = $1 AND id IN (SELECT id {TRAINED} LIMIT $3)");
    let mut tx = store.begin().await?;
    let mut rows = 0;
    for sql in [customers, models, orders, trainings] {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(before.0).bind(i64::from(limit));
        rows += query.execute(tx.sql()).await?.rows_affected();
    }
    tx.commit().await?;
    Ok(Expired { rows, oldest: None })
}
