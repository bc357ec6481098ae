//! All SQL of value.

use std::sync::Arc;

use kiki_models::ltv::Summary;
use kiki_store::{Columns, Store, StoreError, Tx};
use kiki_types::id::ModelId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use super::model::{Known, SavedModel};

/// Rows of one statement: far below the bound on parameters of both databases, and few enough to stay short.
const ROWS_PER_STATEMENT: usize = 500;

const MODEL_COLUMNS: &str = "id, created_at, currency, parameters, bgnbd_log_likelihood, gamma_gamma_log_likelihood, \
                             data_sha256, orders, customers, calibrate_until";
const CUSTOMER_COLUMNS: &str = "customer_id, position, frequency, recency_days, age_days, repeat_micros";
const CUSTOMER_VALUES: usize = 8;

pub(super) async fn insert_model(tx: &mut Tx, tenant: &TenantId, model: &SavedModel) -> Result<(), StoreError> {
    let parameters = serde_json::to_string(&model.parameters).map_err(|error| unreadable("parameters", &error))?;
    let sql = format!(
        "INSERT INTO value_models (tenant, {MODEL_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(model.id.to_string())
        .bind(model.created_at.0)
        .bind(model.currency.as_str())
        .bind(parameters)
        .bind(model.bgnbd_log_likelihood.to_string())
        .bind(model.gamma_gamma_log_likelihood.to_string())
        .bind(model.data_sha256.as_str())
        .bind(model.orders)
        .bind(model.customers)
        .bind(model.calibrate_until.as_str())
        .execute(tx.sql())
        .await?;
    Ok(())
}

pub(super) async fn insert_customers(
    tx: &mut Tx,
    tenant: &TenantId,
    model: ModelId,
    customers: &[Known],
) -> Result<(), StoreError> {
    let model = model.to_string();
    for rows in customers.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO value_customers (tenant, model, {CUSTOMER_COLUMNS}) VALUES {}",
            placeholders(rows.len(), CUSTOMER_VALUES)
        );
        let mut insert = sqlx::query(AssertSqlSafe(sql));
        for Known { id, position, summary } in rows {
            let repeat_micros =
                i64::try_from(summary.repeat_micros).map_err(|why| unreadable("repeat_micros", &why))?;
            insert = insert
                .bind(tenant.as_str())
                .bind(model.as_str())
                .bind(&**id)
                .bind(*position)
                .bind(i64::from(summary.frequency))
                .bind(i64::from(summary.recency_days))
                .bind(i64::from(summary.age_days))
                .bind(repeat_micros);
        }
        insert.execute(tx.sql()).await?;
    }
    Ok(())
}

/// When the newest model of the tenant was saved.
pub(super) async fn newest_time(tx: &mut Tx, tenant: &TenantId) -> Result<Option<UnixMillis>, StoreError> {
    let row = sqlx::query("SELECT MAX(created_at) AS newest FROM value_models WHERE tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(tx.sql())
        .await?;
    Ok(row.int_opt("newest")?.map(UnixMillis))
}

/// Deletes all models of the tenant but the newest `kept`.
pub(super) async fn delete_older(tx: &mut Tx, tenant: &TenantId, kept: usize) -> Result<(), StoreError> {
    let rows = sqlx::query("SELECT id FROM value_models WHERE tenant = $1 ORDER BY created_at DESC, id DESC")
        .bind(tenant.as_str())
        .fetch_all(tx.sql())
        .await?;
    for row in rows.iter().skip(kept) {
        let model = row.text("id")?;
        for sql in [
            "DELETE FROM value_customers WHERE tenant = $1 AND model = $2",
            "DELETE FROM value_models WHERE tenant = $1 AND id = $2",
        ] {
            sqlx::query(sql).bind(tenant.as_str()).bind(model.as_str()).execute(tx.sql()).await?;
        }
    }
    Ok(())
}

/// The newest model.
pub(super) async fn current(store: &Store, tenant: &TenantId) -> Result<Option<SavedModel>, StoreError> {
    let sql =
        format!("SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 ORDER BY created_at DESC, id DESC LIMIT 1");
    let row = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).fetch_optional(store.pool()).await?;
    row.as_ref().map(saved_model).transpose()
}

pub(super) async fn model(store: &Store, tenant: &TenantId, id: ModelId) -> Result<Option<SavedModel>, StoreError> {
    let sql = format!("SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 AND id = $2");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(id.to_string());
    query.fetch_optional(store.pool()).await?.as_ref().map(saved_model).transpose()
}

/// Those of the customers `ids` that the model knows, in no order.
pub(super) async fn customers(
    store: &Store,
    tenant: &TenantId,
    model: ModelId,
    ids: &[&str],
) -> Result<Vec<Known>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let sql = format!(
            "SELECT {CUSTOMER_COLUMNS} FROM value_customers WHERE tenant = $1 AND model = $2 AND customer_id IN {}",
            numbered(3, ids.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(model.to_string());
        for id in ids {
            query = query.bind(*id);
        }
        for row in &query.fetch_all(store.pool()).await? {
            found.push(known(row)?);
        }
    }
    Ok(found)
}

/// At most `limit` customers of the model whose position is above `after`, in the order of their positions.
pub(super) async fn customers_after(
    store: &Store,
    tenant: &TenantId,
    model: ModelId,
    after: i64,
    limit: usize,
) -> Result<Vec<Known>, StoreError> {
    let sql = format!(
        "SELECT {CUSTOMER_COLUMNS} FROM value_customers WHERE tenant = $1 AND model = $2 AND position > $3 \
         ORDER BY position LIMIT $4"
    );
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_str())
        .bind(model.to_string())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query.fetch_all(store.pool()).await?.iter().map(known).collect()
}

fn saved_model(row: &AnyRow) -> Result<SavedModel, StoreError> {
    let parameters = serde_json::from_str(&row.text("parameters")?).map_err(|why| unreadable("parameters", &why))?;
    Ok(SavedModel {
        id: row.parsed("id")?,
        created_at: row.time("created_at")?,
        currency: row.parsed("currency")?,
        parameters,
        bgnbd_log_likelihood: row.parsed("bgnbd_log_likelihood")?,
        gamma_gamma_log_likelihood: row.parsed("gamma_gamma_log_likelihood")?,
        data_sha256: row.text("data_sha256")?,
        orders: row.int("orders")?,
        customers: row.int("customers")?,
        calibrate_until: row.text("calibrate_until")?,
    })
}

fn known(row: &AnyRow) -> Result<Known, StoreError> {
    let count = |column: &str| u32::try_from(row.int(column)?).map_err(|why| unreadable(column, &why));
    Ok(Known {
        id: Arc::from(row.text("customer_id")?),
        position: row.int("position")?,
        summary: Summary {
            frequency: count("frequency")?,
            recency_days: count("recency_days")?,
            age_days: count("age_days")?,
            repeat_micros: row.int("repeat_micros")?.into(),
        },
    })
}

fn unreadable(column: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable { column: column.to_owned(), why: why.to_string() }
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
