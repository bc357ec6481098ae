//! Trainings: models that are being fitted, and what became of them.

use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::{TenantId, UnixMillis};
use uuid::Uuid;

/// A training as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::value) struct Kept {
    pub(in crate::value) id: Uuid,
    /// `running`, `done` or `failed`.
    pub(in crate::value) state: String,
    pub(in crate::value) created_at: UnixMillis,
    pub(in crate::value) lease_until: UnixMillis,
    /// Of the model that came of it; 0 as long as there is none.
    pub(in crate::value) version: i64,
    pub(in crate::value) problem: String,
}

/// A training that begins.
pub(in crate::value) async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    id: Uuid,
    (now, lease_until): (UnixMillis, UnixMillis),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO value_training (tenant, id, state, created_at, lease_until, version, problem) \
         VALUES ($1, $2, 'running', $3, $4, 0, '')",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .bind(now.0)
    .bind(lease_until.0)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// A training that ended: with the version of a model, or with a problem.
pub(in crate::value) async fn end(
    tx: &mut Tx,
    tenant: &TenantId,
    id: Uuid,
    outcome: Result<i64, &str>,
) -> Result<(), StoreError> {
    let (state, version, problem) = match outcome {
        Ok(version) => ("done", version, ""),
        Err(problem) => ("failed", 0, problem),
    };
    sqlx::query("UPDATE value_training SET state = $3, version = $4, problem = $5 WHERE tenant = $1 AND id = $2")
        .bind(tenant.as_str())
        .bind(id.to_string())
        .bind(state)
        .bind(version)
        .bind(problem)
        .execute(tx.sql())
        .await?;
    Ok(())
}

pub(in crate::value) async fn find(store: &Store, tenant: &TenantId, id: Uuid) -> Result<Option<Kept>, StoreError> {
    let row = sqlx::query(
        "SELECT id, state, created_at, lease_until, version, problem FROM value_training WHERE tenant = $1 AND id = $2",
    )
    .bind(tenant.as_str())
    .bind(id.to_string())
    .fetch_optional(store.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Kept {
        id: row.parsed("id")?,
        state: row.text("state")?,
        created_at: row.time("created_at")?,
        lease_until: row.time("lease_until")?,
        version: row.int("version")?,
        problem: row.text("problem")?,
    }))
}
