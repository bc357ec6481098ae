//! All SQL of value.

pub(super) mod drift;
pub(super) mod live;
pub(super) mod personal;
pub(super) mod serving;
pub(super) mod trainings;
pub(super) mod versions;

use std::sync::Arc;

use kiki_models::ltv::Summary;
use kiki_store::personal::{SUBJECT_COLUMNS, Subject, SubjectId, Subjects};
use kiki_store::{Columns, Store, StoreError, Tx};
use kiki_types::TenantId;
use kiki_types::id::ModelId;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::baseline::Revenue;
use super::model::{Known, SavedModel};

/// Rows of one statement: far below the bound on parameters of both databases, and few enough to stay short.
const ROWS_PER_STATEMENT: usize = 500;
/// Rows of people's orders that one statement reads; where there are as many, it is made for fewer people.
const ROWS_READ_MAX: usize = 200_000;

const MODEL_COLUMNS: &str = "id, version, created_at, promoted_at, currency, parameters, covariances, purchases_log_likelihood, \
                             gamma_gamma_log_likelihood, data_sha256, orders, customers, calibrate_until, figures";
const CUSTOMER_VALUES: usize = 5;
const SEALED: &str = "value_customer.sealed";

pub(super) async fn insert_model(
    tx: &mut Tx,
    tenant: &TenantId,
    model: &SavedModel,
    revenue: &Revenue,
) -> Result<(), StoreError> {
    let parameters = serde_json::to_string(&model.parameters).map_err(|error| unreadable("parameters", &error))?;
    let covariances = serde_json::to_string(&model.covariances).map_err(|error| unreadable("covariances", &error))?;
    let revenue = serde_json::to_string(revenue).map_err(|error| unreadable("revenue", &error))?;
    let sql = format!("INSERT INTO value_models (tenant, {MODEL_COLUMNS}, revenue) VALUES {}", placeholders(1, 16));
    sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(model.id.to_string())
        .bind(model.version)
        .bind(model.created_at.0)
        .bind(model.promoted_at.0)
        .bind(model.currency.as_str())
        .bind(parameters)
        .bind(covariances)
        .bind(model.purchases_log_likelihood.to_string())
        .bind(model.gamma_gamma_log_likelihood.to_string())
        .bind(model.data_sha256.as_str())
        .bind(model.orders)
        .bind(model.customers)
        .bind(model.calibrate_until.as_str())
        .bind(if model.figures.is_null() { String::new() } else { model.figures.to_string() })
        .bind(revenue)
        .execute(tx.sql())
        .await?;
    Ok(())
}

/// Keeps what each of `customers` bought, sealed under their keys, from the position `first` on.
pub(super) async fn insert_customers(
    tx: &mut Tx,
    tenant: &TenantId,
    model: ModelId,
    first: i64,
    customers: &[(&Subject, &Summary)],
) -> Result<(), StoreError> {
    let id = model.to_string();
    let mut positions = first..;
    for rows in customers.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO value_customer (tenant, model, subject, position, sealed) VALUES {}",
            placeholders(rows.len(), CUSTOMER_VALUES)
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for ((subject, summary), position) in rows.iter().zip(&mut positions) {
            let sealed = subject.seal(SEALED, &place(model, subject.id), &sealed_form(summary)?);
            insert =
                insert.bind(tenant.as_str()).bind(id.as_str()).bind(subject.id.to_string()).bind(position).bind(sealed);
        }
        insert.execute(tx.sql()).await?;
    }
    Ok(())
}

/// The model in force: the one that was promoted last.
pub(super) async fn current(store: &Store, tenant: &TenantId) -> Result<Option<SavedModel>, StoreError> {
    let sql = format!(
        "SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 AND promoted_at > 0 ORDER BY promoted_at DESC LIMIT 1"
    );
    let row = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).fetch_optional(store.pool()).await?;
    row.as_ref().map(saved_model).transpose()
}

pub(super) async fn model(store: &Store, tenant: &TenantId, id: ModelId) -> Result<Option<SavedModel>, StoreError> {
    let sql = format!("SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 AND id = $2");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(id.to_string());
    query.fetch_optional(store.pool()).await?.as_ref().map(saved_model).transpose()
}

/// At most `limit` customers of the model whose position is above `after`, in the order of their positions. Who restricted
/// what is done with their data, or objected to being profiled, is left out.
pub(super) async fn customers_after(
    store: &Store,
    subjects: &Subjects,
    tenant: &TenantId,
    model: ModelId,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Subject, Known)>, StoreError> {
    let sql = format!(
        "SELECT c.position, c.sealed, {SUBJECT_COLUMNS} FROM value_customer c \
         JOIN subject s ON s.tenant = c.tenant AND s.id = c.subject \
         WHERE c.tenant = $1 AND c.model = $2 AND c.position > $3 AND s.restricted = 0 AND s.objected = 0 \
         ORDER BY c.position LIMIT $4"
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(model.to_string())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = query.fetch_all(store.pool()).await?;
    let unlocked = |row: &AnyRow| {
        let subject = subjects.unlock(row)?;
        let known = known(row, model, &subject)?;
        Ok((row.int("position")?, subject, known))
    };
    rows.iter().map(unlocked).collect()
}

fn saved_model(row: &AnyRow) -> Result<SavedModel, StoreError> {
    let parameters = serde_json::from_str(&row.text("parameters")?).map_err(|why| unreadable("parameters", &why))?;
    let covariances = serde_json::from_str(&row.text("covariances")?).map_err(|why| unreadable("covariances", &why))?;
    Ok(SavedModel {
        id: row.parsed("id")?,
        version: row.int("version")?,
        created_at: row.time("created_at")?,
        promoted_at: row.time("promoted_at")?,
        currency: row.parsed("currency")?,
        parameters,
        covariances,
        purchases_log_likelihood: row.parsed("purchases_log_likelihood")?,
        gamma_gamma_log_likelihood: row.parsed("gamma_gamma_log_likelihood")?,
        data_sha256: row.text("data_sha256")?,
        orders: row.int("orders")?,
        customers: row.int("customers")?,
        calibrate_until: row.text("calibrate_until")?,
        figures: figures(&row.text("figures")?)?,
    })
}

fn figures(text: &str) -> Result<serde_json::Value, StoreError> {
    if text.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_str(text).map_err(|error| unreadable("figures", &error))
}

fn known(row: &AnyRow, model: ModelId, subject: &Subject) -> Result<Known, StoreError> {
    let sealed = row.bytes_opt("sealed")?.unwrap_or_default();
    let summary = opened(subject, model, &sealed)?;
    Ok(Known { id: Arc::from(subject.name()), summary })
}

/// What `model` knew of `subject`.
fn opened(subject: &Subject, model: ModelId, sealed: &[u8]) -> Result<Summary, StoreError> {
    let opened = subject.open(SEALED, &place(model, subject.id), sealed)?;
    summary_of(&opened).ok_or_else(|| unreadable("sealed", &"is not what is sealed here"))
}

/// The row that a sealed history belongs to.
fn place(model: ModelId, subject: SubjectId) -> String {
    format!("{model}/{subject}")
}

/// A history as it is sealed: 20 bytes.
fn sealed_form(summary: &Summary) -> Result<Vec<u8>, StoreError> {
    let micros = u64::try_from(summary.repeat_micros).map_err(|why| unreadable("repeat_micros", &why))?;
    let days = [summary.frequency, summary.recency_days, summary.age_days];
    Ok(days.iter().flat_map(|number| number.to_le_bytes()).chain(micros.to_le_bytes()).collect())
}

fn summary_of(bytes: &[u8]) -> Option<Summary> {
    let (numbers, micros) = bytes.split_first_chunk::<12>()?;
    let number = |at: usize| Some(u32::from_le_bytes(numbers.get(at..at + 4)?.try_into().ok()?));
    Some(Summary {
        frequency: number(0)?,
        recency_days: number(4)?,
        age_days: number(8)?,
        repeat_micros: u64::from_le_bytes(micros.try_into().ok()?).into(),
    })
}

/// People of whom more rows were found than are read at once, in two parts that are read one after the other: what is known of
/// somebody must not depend on which of their rows came.
fn halves<T>(people: &[T]) -> Result<(&[T], &[T]), StoreError> {
    match people.len() {
        0 | 1 => Err(unreadable("order_key", &"has more orders of one person than are read at once")),
        many => Ok(people.split_at(many / 2)),
    }
}

fn unreadable(column: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable { column: column.to_owned(), why: why.to_string() }
}

fn rows_bound(rows_max: usize) -> i64 {
    i64::try_from(rows_max).unwrap_or(i64::MAX)
}

/// `($3, $4, ...)` with `count` numbers from `first` on.
fn numbered(first: usize, count: usize) -> String {
    let numbers: Vec<String> = (first..first + count).map(|number| format!("${number}")).collect();
    format!("({})", numbers.join(", "))
}

/// `rows` times `(...)` with `columns` numbers each.
fn placeholders(rows: usize, columns: usize) -> String {
    let rows: Vec<String> = (0..rows).map(|row| numbered(row * columns + 1, columns)).collect();
    rows.join(", ")
}

#[cfg(test)]
mod tests;
