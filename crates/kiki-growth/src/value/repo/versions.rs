//! Which models there are, and which of them is in force.

use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::id::ModelId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::{MODEL_COLUMNS, saved_model, unreadable};
use crate::value::baseline::Revenue;
use crate::value::model::SavedModel;

/// The newest model's version and when it was saved, and when one was last put in force; zeros without one.
pub(in crate::value) struct Newest {
    pub(in crate::value) version: i64,
    pub(in crate::value) created_at: UnixMillis,
    pub(in crate::value) promoted_at: UnixMillis,
}

/// Lets no other transaction number or promote the tenant's models until `tx` ends. Without a model there is nothing to wait
/// for: then of two that are the first at once, one fails.
async fn lock(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    let sql = "UPDATE value_models SET created_at = created_at WHERE tenant = $1";
    sqlx::query(sql).bind(tenant.as_str()).execute(tx.sql()).await?;
    Ok(())
}

pub(in crate::value) async fn newest(tx: &mut Tx, tenant: &TenantId) -> Result<Newest, StoreError> {
    lock(tx, tenant).await?;
    let row = sqlx::query(
        "SELECT COALESCE(MAX(version), 0) AS version, COALESCE(MAX(created_at), 0) AS created_at, \
         COALESCE(MAX(promoted_at), 0) AS promoted_at FROM value_models WHERE tenant = $1",
    )
    .bind(tenant.as_str())
    .fetch_one(tx.sql())
    .await?;
    Ok(Newest {
        version: row.int("version")?,
        created_at: row.time("created_at")?,
        promoted_at: row.time("promoted_at")?,
    })
}

/// At most `limit` models below `below`, newest first.
pub(in crate::value) async fn list(
    store: &Store,
    tenant: &TenantId,
    below: i64,
    limit: i64,
) -> Result<Vec<SavedModel>, StoreError> {
    let sql = format!(
        "SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 AND version < $2 ORDER BY version DESC LIMIT $3"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(below).bind(limit);
    query.fetch_all(store.pool()).await?.iter().map(saved_model).collect()
}

/// The model of a version.
pub(in crate::value) async fn of_version(
    store: &Store,
    tenant: &TenantId,
    version: i64,
) -> Result<Option<SavedModel>, StoreError> {
    let sql = format!("SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 AND version = $2");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(version);
    query.fetch_optional(store.pool()).await?.as_ref().map(saved_model).transpose()
}

/// Whether the model still knows customers.
pub(in crate::value) async fn has_customers(store: &Store, tenant: &TenantId, id: ModelId) -> Result<bool, StoreError> {
    Ok(any_customer(tenant, id).fetch_optional(store.pool()).await?.is_some())
}

/// The same within a transaction: with the lock of [`newest`] or [`in_force`], they stay until it ends.
pub(in crate::value) async fn keeps_customers(tx: &mut Tx, tenant: &TenantId, id: ModelId) -> Result<bool, StoreError> {
    Ok(any_customer(tenant, id).fetch_optional(tx.sql()).await?.is_some())
}

fn any_customer(tenant: &TenantId, id: ModelId) -> Query<'static, Any, AnyArguments> {
    sqlx::query("SELECT 1 AS one FROM value_customer WHERE tenant = $1 AND model = $2 LIMIT 1")
        .bind(tenant.as_str().to_owned())
        .bind(id.to_string())
}

/// Puts a model in force, or, with 0, takes its promotion back.
pub(in crate::value) async fn set_promoted(
    tx: &mut Tx,
    tenant: &TenantId,
    id: ModelId,
    at: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE value_models SET promoted_at = $3 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(at.0)
        .execute(tx.sql())
        .await?;
    Ok(())
}

/// The two models that were promoted last: the one in force, and the one that a rollback puts back.
pub(in crate::value) async fn in_force(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<SavedModel>, StoreError> {
    lock(tx, tenant).await?;
    let sql = format!(
        "SELECT {MODEL_COLUMNS} FROM value_models WHERE tenant = $1 AND promoted_at > 0 ORDER BY promoted_at DESC LIMIT 2"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str());
    query.fetch_all(tx.sql()).await?.iter().map(saved_model).collect()
}

/// Forgets the customers of all models of the tenant but the newest `kept`, the one in force and the one before it.
pub(in crate::value) async fn forget_customers(tx: &mut Tx, tenant: &TenantId, kept: i64) -> Result<(), StoreError> {
    let newest = "SELECT id FROM value_models WHERE tenant = $1 ORDER BY version DESC LIMIT $2";
    let promoted =
        "SELECT id FROM value_models WHERE tenant = $1 AND promoted_at > 0 ORDER BY promoted_at DESC LIMIT 2";
    let sql = format!(
        "DELETE FROM value_customer WHERE tenant = $1 AND model NOT IN (SELECT id FROM ({newest}) a) \
         AND model NOT IN (SELECT id FROM ({promoted}) b)"
    );
    sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str()).bind(kept).execute(tx.sql()).await?;
    Ok(())
}

/// Revenue by day, as the model's log had it.
pub(in crate::value) async fn revenue(store: &Store, tenant: &TenantId, id: ModelId) -> Result<Revenue, StoreError> {
    let row = sqlx::query("SELECT revenue FROM value_models WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .fetch_optional(store.pool())
        .await?;
    let text = row.map_or_else(|| Ok("null".to_owned()), |row| row.text("revenue"))?;
    let revenue: Option<Revenue> = serde_json::from_str(&text).map_err(|error| unreadable("revenue", &error))?;
    Ok(revenue.unwrap_or_default())
}
