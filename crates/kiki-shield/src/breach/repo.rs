//! All SQL of the register of breaches. What people write comes and goes sealed.

use std::str::FromStr;

use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::BreachId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::model::{Breach, REMINDERS_H, Texts};

/// A breach as the database has it.
pub(crate) type Sealed = Breach<Vec<u8>>;

const BREACH: &str = "id, aware_at, nature, categories, persons_about, records_about, risk, facts, effects, measures, \
     risk_reason, delay_reason, persons_reason, authority_at, persons_at, reminded, closed_at, reported_by";

pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, breach: &Sealed) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO breach (tenant, id, aware_at, notify_by, nature, categories, persons_about, records_about, risk, \
         facts, effects, measures, risk_reason, delay_reason, persons_reason, authority_at, persons_at, closed_at, \
         reported_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
    )
    .bind(tenant.as_str())
    .bind(breach.id.to_string())
    .bind(breach.aware_at.0)
    .bind(breach.notify_by().0)
    .bind(natures(breach))
    .bind(breach.categories.join(","))
    .bind(breach.persons_about)
    .bind(breach.records_about)
    .bind(breach.risk.as_str())
    .bind(breach.texts.facts.as_slice())
    .bind(breach.texts.effects.as_slice())
    .bind(breach.texts.measures.as_slice())
    .bind(breach.texts.risk_reason.as_deref())
    .bind(breach.texts.delay_reason.as_deref())
    .bind(breach.texts.persons_reason.as_deref())
    .bind(or_zero(breach.authority_at))
    .bind(or_zero(breach.persons_at))
    .bind(or_zero(breach.closed_at))
    .bind(breach.reported_by.as_str())
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// Keeps all of a breach that may change but its reminders.
pub(crate) async fn update(tx: &mut Tx, tenant: &TenantId, breach: &Sealed) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE breach SET nature = $3, categories = $4, persons_about = $5, records_about = $6, risk = $7, \
         facts = $8, effects = $9, measures = $10, risk_reason = $11, delay_reason = $12, persons_reason = $13, \
         authority_at = $14, persons_at = $15, closed_at = $16 WHERE tenant = $1 AND id = $2",
    )
    .bind(tenant.as_str())
    .bind(breach.id.to_string())
    .bind(natures(breach))
    .bind(breach.categories.join(","))
    .bind(breach.persons_about)
    .bind(breach.records_about)
    .bind(breach.risk.as_str())
    .bind(breach.texts.facts.as_slice())
    .bind(breach.texts.effects.as_slice())
    .bind(breach.texts.measures.as_slice())
    .bind(breach.texts.risk_reason.as_deref())
    .bind(breach.texts.delay_reason.as_deref())
    .bind(breach.texts.persons_reason.as_deref())
    .bind(or_zero(breach.authority_at))
    .bind(or_zero(breach.persons_at))
    .bind(or_zero(breach.closed_at))
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// A breach that nobody else changes until the transaction ends.
pub(crate) async fn locked(tx: &mut Tx, tenant: &TenantId, id: BreachId) -> Result<Option<Sealed>, StoreError> {
    // A write takes the row's lock on both databases; what is read after it is the newest.
    let held = sqlx::query("UPDATE breach SET reminded = reminded WHERE tenant = $1 AND id = $2");
    held.bind(tenant.as_str()).bind(id.to_string()).execute(tx.sql()).await?;
    let row = sqlx::query(AssertSqlSafe(format!("SELECT {BREACH} FROM breach WHERE tenant = $1 AND id = $2")))
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(tx.sql())
        .await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn breach(store: &Store, tenant: &TenantId, id: BreachId) -> Result<Option<Sealed>, StoreError> {
    let row = sqlx::query(AssertSqlSafe(format!("SELECT {BREACH} FROM breach WHERE tenant = $1 AND id = $2")))
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(store.pool())
        .await?;
    row.as_ref().map(read).transpose()
}

pub(crate) async fn count(tx: &mut Tx, tenant: &TenantId) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS breaches FROM breach WHERE tenant = $1").bind(tenant.as_str());
    row.fetch_one(tx.sql()).await?.int("breaches")
}

/// At most `limit` breaches that somebody became aware of from `from` to before `to`, or that are open, the newest first:
/// those before `after`, or the first ones.
pub(crate) async fn breaches(
    store: &Store,
    tenant: &TenantId,
    (from, to): (UnixMillis, UnixMillis),
    after: Option<&Sealed>,
    limit: usize,
) -> Result<Vec<Sealed>, StoreError> {
    let (at, id) = after.map_or((i64::MAX, String::new()), |after| (after.aware_at.0, after.id.to_string()));
    let query = format!(
        "SELECT {BREACH} FROM breach WHERE tenant = $1 AND ((aware_at >= $2 AND aware_at < $3) OR closed_at = 0) \
         AND (aware_at < $4 OR (aware_at = $4 AND id < $5)) ORDER BY aware_at DESC, id DESC LIMIT $6"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(tenant.as_str())
        .bind(from.0)
        .bind(to.0)
        .bind(at)
        .bind(id)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read).collect()
}

/// Breaches of all tenants whose authority waits to be told and whose last reminder was not published, at most `limit`,
/// those that end first first.
pub(crate) async fn waiting(store: &Store, limit: u32) -> Result<Vec<(TenantId, Sealed)>, StoreError> {
    let query = format!(
        "SELECT tenant, {BREACH} FROM breach WHERE authority_at = 0 AND closed_at = 0 AND risk <> 'unlikely' \
         AND reminded < $1 ORDER BY notify_by LIMIT $2"
    );
    let all = (1_i64 << REMINDERS_H.len()) - 1;
    let rows = sqlx::query(AssertSqlSafe(query)).bind(all).bind(i64::from(limit)).fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((row.tenant("tenant")?, read(row)?))).collect()
}

/// Keeps which reminders were published, unless somebody else did meanwhile. Returns whether it was kept.
pub(crate) async fn set_reminded(
    tx: &mut Tx,
    tenant: &TenantId,
    breach: &Sealed,
    reminded: i64,
) -> Result<bool, StoreError> {
    let kept = sqlx::query(
        "UPDATE breach SET reminded = $4 WHERE tenant = $1 AND id = $2 AND reminded = $3 \
         AND authority_at = 0 AND closed_at = 0",
    )
    .bind(tenant.as_str())
    .bind(breach.id.to_string())
    .bind(breach.reminded)
    .bind(reminded)
    .execute(tx.sql())
    .await?;
    Ok(kept.rows_affected() == 1)
}

/// Breaches that were closed before `before`: how many, and when the first of them was.
pub(crate) async fn ended(
    store: &Store,
    tenant: &TenantId,
    before: UnixMillis,
) -> Result<(u64, Option<UnixMillis>), StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS ended, MIN(closed_at) AS oldest FROM breach \
         WHERE tenant = $1 AND closed_at > 0 AND closed_at < $2",
    );
    let row = row.bind(tenant.as_str()).bind(before.0).fetch_one(store.pool()).await?;
    let ended = u64::try_from(row.int("ended")?).unwrap_or(0);
    Ok((ended, row.int_opt("oldest")?.map(UnixMillis)))
}

/// Removes at most `limit` of them, the oldest first.
pub(crate) async fn remove_ended(
    tx: &mut Tx,
    tenant: &TenantId,
    before: UnixMillis,
    limit: u32,
) -> Result<u64, StoreError> {
    let gone = sqlx::query(
        "DELETE FROM breach WHERE tenant = $1 AND id IN (SELECT id FROM breach \
         WHERE tenant = $1 AND closed_at > 0 AND closed_at < $2 ORDER BY closed_at, id LIMIT $3)",
    )
    .bind(tenant.as_str())
    .bind(before.0)
    .bind(i64::from(limit))
    .execute(tx.sql())
    .await?;
    Ok(gone.rows_affected())
}

fn natures(breach: &Sealed) -> String {
    breach.natures.iter().map(|nature| nature.as_str()).collect::<Vec<_>>().join(",")
}

fn or_zero(at: Option<UnixMillis>) -> i64 {
    at.map_or(0, |at| at.0)
}

fn list<T: FromStr<Err = &'static str>>(column: &str, text: &str) -> Result<Vec<T>, StoreError> {
    let read = |part: &str| {
        part.parse().map_err(|why: &str| StoreError::Unreadable { column: column.to_owned(), why: why.to_owned() })
    };
    text.split(',').filter(|part| !part.is_empty()).map(read).collect()
}

fn read(row: &AnyRow) -> Result<Sealed, StoreError> {
    let time = |column: &str| Ok::<_, StoreError>(Some(row.time(column)?).filter(|at| at.0 != 0));
    let sealed = |column: &str| Ok::<_, StoreError>(row.bytes_opt(column)?.unwrap_or_default());
    Ok(Breach {
        id: row.parsed("id")?,
        aware_at: row.time("aware_at")?,
        natures: list("nature", &row.text("nature")?)?,
        categories: row.text("categories")?.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect(),
        persons_about: row.int("persons_about")?,
        records_about: row.int("records_about")?,
        risk: row.parsed("risk")?,
        texts: Texts {
            facts: sealed("facts")?,
            effects: sealed("effects")?,
            measures: sealed("measures")?,
            risk_reason: row.bytes_opt("risk_reason")?,
            delay_reason: row.bytes_opt("delay_reason")?,
            persons_reason: row.bytes_opt("persons_reason")?,
        },
        authority_at: time("authority_at")?,
        persons_at: time("persons_at")?,
        closed_at: time("closed_at")?,
        reminded: row.int("reminded")?,
        reported_by: row.text("reported_by")?,
    })
}
