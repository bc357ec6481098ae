//! Orders that came after a model was fitted.

use std::collections::HashMap;

use kiki_models::ltv::Purchase;
use kiki_store::personal::{SUBJECT_COLUMNS, Subject, SubjectId, Subjects};
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::ModelId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;

use super::{ROWS_PER_STATEMENT, ROWS_READ_MAX, halves, numbered, placeholders, rows_bound, unreadable};

const SEALED: &str = "value_order.sealed";
const VALUES: usize = 5;

/// What is known of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::value) struct Ordered {
    pub(in crate::value) purchase: Purchase,
    /// Not where it was cancelled, or everything was given back.
    pub(in crate::value) counts: bool,
}

/// Keeps orders by their keys, of which none comes twice. The latest word about one stands.
pub(in crate::value) async fn put(
    tx: &mut Tx,
    tenant: &TenantId,
    now: UnixMillis,
    orders: &[(String, &Subject, Ordered)],
) -> Result<(), StoreError> {
    for rows in orders.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO value_order (tenant, order_key, subject, recorded_at, sealed) VALUES {} \
             ON CONFLICT (tenant, order_key) DO UPDATE SET subject = excluded.subject, \
             recorded_at = excluded.recorded_at, sealed = excluded.sealed",
            placeholders(rows.len(), VALUES)
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for (key, subject, ordered) in rows {
            let sealed = subject.seal(SEALED, key, &sealed_form(*ordered));
            insert =
                insert.bind(tenant.as_str()).bind(key.as_str()).bind(subject.id.to_string()).bind(now.0).bind(sealed);
        }
        insert.execute(tx.sql()).await?;
    }
    Ok(())
}

/// Customers who have no order by `day` were silent until then.
pub(in crate::value) async fn observed(tx: &mut Tx, tenant: &TenantId, day: i32) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO value_feed (tenant, until_day) VALUES ($1, $2) ON CONFLICT (tenant) DO UPDATE SET \
         until_day = excluded.until_day WHERE value_feed.until_day < excluded.until_day",
    )
    .bind(tenant.as_str())
    .bind(i64::from(day))
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// How far the orders go that came; `None` where none ever did.
pub(in crate::value) async fn observed_until(store: &Store, tenant: &TenantId) -> Result<Option<i32>, StoreError> {
    let row = sqlx::query("SELECT until_day FROM value_feed WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(store.pool())
        .await?;
    let day = row.map(|row| row.int("until_day")).transpose()?;
    day.map(|day| i32::try_from(day).map_err(|error| unreadable("until_day", &error))).transpose()
}

/// The orders of `subjects` that count, in the order of their days.
pub(in crate::value) async fn of(
    store: &Store,
    tenant: &TenantId,
    subjects: &[Subject],
) -> Result<HashMap<SubjectId, Vec<Purchase>>, StoreError> {
    of_at_once(store, tenant, subjects, ROWS_READ_MAX).await
}

/// The same, fewer than `rows_max` rows at once.
pub(super) async fn of_at_once(
    store: &Store,
    tenant: &TenantId,
    subjects: &[Subject],
    rows_max: usize,
) -> Result<HashMap<SubjectId, Vec<Purchase>>, StoreError> {
    let mut found: HashMap<SubjectId, Vec<Purchase>> = HashMap::new();
    let mut parts: Vec<&[Subject]> = subjects.chunks(ROWS_PER_STATEMENT).collect();
    while let Some(subjects) = parts.pop() {
        let sql = format!(
            "SELECT order_key, subject, sealed FROM value_order WHERE tenant = $1 AND subject IN {} LIMIT $2",
            numbered(3, subjects.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(rows_bound(rows_max));
        for subject in subjects {
            query = query.bind(subject.id.to_string());
        }
        let rows = query.fetch_all(store.pool()).await?;
        if rows.len() >= rows_max {
            parts.extend(<[_; 2]>::from(halves(subjects)?));
            continue;
        }
        let by_id: HashMap<SubjectId, &Subject> = subjects.iter().map(|subject| (subject.id, subject)).collect();
        for row in &rows {
            let Some(subject) = by_id.get(&row.parsed("subject")?) else { continue };
            let sealed = row.bytes_opt("sealed")?.unwrap_or_default();
            let ordered = opened(subject, &row.text("order_key")?, &sealed)?;
            if ordered.counts {
                found.entry(subject.id).or_default().push(ordered.purchase);
            }
        }
    }
    found.values_mut().for_each(|orders| orders.sort_unstable());
    Ok(found)
}

/// At most `limit` handles above `after` of people of whom there are orders, in an order that stays.
pub(in crate::value) async fn who_ordered(
    store: &Store,
    tenant: &TenantId,
    after: Option<SubjectId>,
    limit: usize,
) -> Result<Vec<SubjectId>, StoreError> {
    let sql = "SELECT DISTINCT subject FROM value_order WHERE tenant = $1 AND subject > $2 ORDER BY subject LIMIT $3";
    let query = sqlx::query(sql)
        .bind(tenant.as_str())
        .bind(after.map(|after| after.to_string()).unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query.fetch_all(store.pool()).await?.iter().map(|row| row.parsed("subject")).collect()
}

/// Those of the people `who`, in the order of their handles, whom the model does not know. Who restricted what is done with
/// their data, or objected to being profiled, is left out.
pub(in crate::value) async fn unknown_to(
    store: &Store,
    subjects: &Subjects,
    tenant: &TenantId,
    model: ModelId,
    who: &[SubjectId],
) -> Result<Vec<Subject>, StoreError> {
    let mut found = Vec::new();
    for who in who.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "SELECT {SUBJECT_COLUMNS} FROM subject s WHERE s.tenant = $1 AND s.id IN {} AND s.restricted = 0 \
             AND s.objected = 0 AND NOT EXISTS (SELECT 1 FROM value_customer c WHERE c.tenant = $1 AND c.model = $2 \
             AND c.subject = s.id) ORDER BY s.id",
            numbered(3, who.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(model.to_string());
        for id in who {
            query = query.bind(id.to_string());
        }
        for row in &query.fetch_all(store.pool()).await? {
            found.push(subjects.unlock(row)?);
        }
    }
    Ok(found)
}

/// What is known of the order `key` of `subject`.
pub(super) fn opened(subject: &Subject, key: &str, sealed: &[u8]) -> Result<Ordered, StoreError> {
    let opened = subject.open(SEALED, key, sealed)?;
    ordered(&opened).ok_or_else(|| unreadable("sealed", &"is not what is sealed here"))
}

/// An order as it is sealed: 13 bytes.
fn sealed_form(Ordered { purchase, counts }: Ordered) -> Vec<u8> {
    let Purchase { day, micros } = purchase;
    day.to_le_bytes().into_iter().chain([u8::from(counts)]).chain(micros.to_le_bytes()).collect()
}

fn ordered(bytes: &[u8]) -> Option<Ordered> {
    let (day, rest) = bytes.split_first_chunk::<4>()?;
    let (counts, micros) = rest.split_first()?;
    let purchase = Purchase { day: i32::from_le_bytes(*day), micros: i64::from_le_bytes(micros.try_into().ok()?) };
    Some(Ordered { purchase, counts: *counts == 1 })
}
