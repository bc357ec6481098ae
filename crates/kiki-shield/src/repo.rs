//! All SQL of shield.

use kiki_store::{Columns, Store, StoreError, Tx};
use kiki_types::id::SubjectRequestId;
use kiki_types::{TenantId, UnixMillis};
use sqlx::any::AnyRow;

use crate::subject::model::Kind;

/// A data subject request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubjectRequest {
    pub(crate) id: SubjectRequestId,
    pub(crate) customer_id: String,
    pub(crate) kind: Kind,
    pub(crate) received_at: UnixMillis,
    pub(crate) due_at: UnixMillis,
}

/// Requests of one type and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) count: i64,
}

pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, request: &SubjectRequest) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO subject_requests (tenant, id, customer_id, request_type, state, received_at, due_at) \
         VALUES ($1, $2, $3, $4, 'received', $5, $6)",
    )
    .bind(tenant.as_str())
    .bind(request.id.to_string())
    .bind(request.customer_id.as_str())
    .bind(request.kind.as_str())
    .bind(request.received_at.0)
    .bind(request.due_at.0)
    .execute(tx.sql())
    .await?;
    Ok(())
}

/// What came in from `from` to before `to`, by type and state.
pub(crate) async fn tallies(
    store: &Store,
    tenant: &TenantId,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Vec<Tally>, StoreError> {
    let rows = sqlx::query(
        "SELECT request_type, state, COUNT(*) AS requests FROM subject_requests \
         WHERE tenant = $1 AND received_at >= $2 AND received_at < $3 \
         GROUP BY request_type, state ORDER BY request_type, state",
    )
    .bind(tenant.as_str())
    .bind(from.0)
    .bind(to.0)
    .fetch_all(store.pool())
    .await?;
    let tally = |row: &AnyRow| {
        Ok(Tally { kind: row.text("request_type")?, state: row.text("state")?, count: row.int("requests")? })
    };
    rows.iter().map(tally).collect()
}

/// Requests that are not completed although they were due before `now`.
pub(crate) async fn overdue(store: &Store, tenant: &TenantId, now: UnixMillis) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS requests FROM subject_requests WHERE tenant = $1 AND due_at < $2 AND state <> 'completed'",
    )
    .bind(tenant.as_str())
    .bind(now.0)
    .fetch_one(store.pool())
    .await?;
    row.int("requests")
}

#[cfg(test)]
mod tests {
    use kiki_store::testing::{RandomIds, on_both};

    use super::*;

    #[tokio::test]
    async fn requests_are_counted_for_their_tenant_and_period_alone() {
        on_both(async |db| {
            let tenants = ["a", "b"].map(|name| name.parse::<TenantId>().unwrap());
            for (tenant, kind, received) in [
                (&tenants[0], Kind::Access, 100),
                (&tenants[0], Kind::Access, 200),
                (&tenants[0], Kind::Deletion, 300),
                (&tenants[1], Kind::Access, 150),
            ] {
                let request = SubjectRequest {
                    id: SubjectRequestId::new(&RandomIds),
                    customer_id: "c".to_owned(),
                    kind,
                    received_at: UnixMillis(received),
                    due_at: UnixMillis(received + 50),
                };
                let mut tx = db.store.begin().await.unwrap();
                insert(&mut tx, tenant, &request).await.unwrap();
                tx.commit().await.unwrap();
            }
            let counted = tallies(&db.store, &tenants[0], UnixMillis(100), UnixMillis(300)).await.unwrap();
            assert_eq!(counted, [Tally { kind: "ACCESS".into(), state: "received".into(), count: 2 }]);
            assert_eq!(overdue(&db.store, &tenants[0], UnixMillis(251)).await.unwrap(), 2);
        })
        .await;
    }
}
