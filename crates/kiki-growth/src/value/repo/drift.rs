//! Who is watched for drift, and what the last looks found.

use kiki_models::ltv::{Summary, Verdict};
use kiki_store::personal::{SUBJECT_COLUMNS, Subject, SubjectId, Subjects};
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::ModelId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::{known, unreadable};
use crate::value::drift::{VERDICTS, name};

/// When nobody looked.
const NEVER: i64 = -1;

/// At most `limit` customers of the model whose handles are above `after`, in the order of their handles. Who restricted what is
/// done with their data, or objected to being profiled, is left out.
pub(in crate::value) async fn known_after(
    store: &Store,
    subjects: &Subjects,
    tenant: &TenantId,
    model: ModelId,
    after: Option<SubjectId>,
    limit: usize,
) -> Result<Vec<(Subject, Summary)>, StoreError> {
    let sql = format!(
        "SELECT c.sealed, {SUBJECT_COLUMNS} FROM value_customer c \
         JOIN subject s ON s.tenant = c.tenant AND s.id = c.subject \
         WHERE c.tenant = $1 AND c.model = $2 AND c.subject > $3 AND s.restricted = 0 AND s.objected = 0 \
         ORDER BY c.subject LIMIT $4"
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(model.to_string())
        .bind(after.map(|after| after.to_string()).unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = query.fetch_all(store.pool()).await?;
    let unlocked = |row| {
        let subject = subjects.unlock(row)?;
        let known = known(row, model, &subject)?;
        Ok((subject, known.summary))
    };
    rows.iter().map(unlocked).collect()
}

/// What the last look at a tenant's model in force found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::value) struct Look {
    pub(in crate::value) model: ModelId,
    pub(in crate::value) looked_at: UnixMillis,
    /// The last day that was looked at.
    pub(in crate::value) until_day: i32,
    pub(in crate::value) verdict: Verdict,
}

/// A tenant whose orders come in live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::value) struct Feed {
    pub(in crate::value) tenant: TenantId,
    /// How far the orders go.
    pub(in crate::value) until_day: i32,
    pub(in crate::value) last: Option<Look>,
}

/// At most `limit` tenants after `after`, in the order of their names.
pub(in crate::value) async fn feeds_after(
    store: &Store,
    after: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<Feed>, StoreError> {
    let rows = sqlx::query(
        "SELECT f.tenant, f.until_day AS fed_until, d.model, d.looked_at, d.until_day, d.verdict FROM value_feed f \
         LEFT JOIN value_drift d ON d.tenant = f.tenant WHERE f.tenant > $1 ORDER BY f.tenant LIMIT $2",
    )
    .bind(after.map_or("", TenantId::as_str))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(feed).collect()
}

fn feed(row: &AnyRow) -> Result<Feed, StoreError> {
    let day = |column| i32::try_from(row.int(column)?).map_err(|error| unreadable(column, &error));
    let last = match row.int_opt("looked_at")? {
        None => None,
        Some(looked_at) => Some(Look {
            model: row.parsed("model")?,
            looked_at: UnixMillis(looked_at),
            until_day: day("until_day")?,
            verdict: named(&row.text("verdict")?)?,
        }),
    };
    Ok(Feed { tenant: row.parsed("tenant")?, until_day: day("fed_until")?, last })
}

fn named(verdict: &str) -> Result<Verdict, StoreError> {
    let found = VERDICTS.into_iter().find(|one| name(*one) == verdict);
    found.ok_or_else(|| unreadable("verdict", &"is none"))
}

/// Keeps a look in the place of `before`. Whether it did: not where another process was faster.
pub(in crate::value) async fn put_look(
    tx: &mut Tx,
    tenant: &TenantId,
    before: Option<Look>,
    look: Look,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "INSERT INTO value_drift (tenant, model, looked_at, until_day, verdict) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (tenant) DO UPDATE SET model = excluded.model, looked_at = excluded.looked_at, \
         until_day = excluded.until_day, verdict = excluded.verdict WHERE value_drift.looked_at = $6",
    )
    .bind(tenant.as_str())
    .bind(look.model.to_string())
    .bind(look.looked_at.0)
    .bind(i64::from(look.until_day))
    .bind(name(look.verdict))
    .bind(before.map_or(NEVER, |before| before.looked_at.0))
    .execute(tx.sql())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How many models in force there are of each verdict.
pub(in crate::value) async fn verdicts(store: &Store) -> Result<Vec<(Verdict, u32)>, StoreError> {
    let rows = sqlx::query("SELECT verdict, COUNT(*) AS models FROM value_drift GROUP BY verdict")
        .fetch_all(store.pool())
        .await?;
    let count =
        |row: &AnyRow| Ok((named(&row.text("verdict")?)?, u32::try_from(row.int("models")?).unwrap_or(u32::MAX)));
    rows.iter().map(count).collect()
}
