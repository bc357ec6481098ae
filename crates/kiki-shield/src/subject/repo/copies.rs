//! Copies of what is held that people asked for: a deletion of the same person waits until each was fetched a while ago or
//! its time is over.

use std::collections::HashMap;

use kiki_store::personal::SubjectId;
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::{TenantId, UnixMillis};
use sqlx::AnyConnection;

use super::Request;
use super::statement::Statement;

/// How long a copy may be fetched again: nobody knows whether what was sent arrived.
const AGAIN_MS: i64 = 86_400_000;

/// How far the copies of a person are that a deletion waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// One is being made: they have proven who they are.
    InMaking,
    /// All are ready.
    Ready,
}

/// Who of `people` has copies that nobody has fetched, or that may be fetched again, as of `now`.
pub(crate) async fn awaited(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    people: &[SubjectId],
    now: UnixMillis,
) -> Result<HashMap<SubjectId, Copies>, StoreError> {
    let mut query = Statement::new(
        "SELECT r.subject AS subject, CAST(MAX(CASE WHEN r.state = 'completed' THEN 0 ELSE 1 END) AS BIGINT) AS in_making \
         FROM subject_request r WHERE r.kind IN ('ACCESS', 'PORTABILITY') AND (r.state IN ('in_progress', 'extended') \
         OR (r.state = 'completed' AND r.outcome <> 'nothing_held' AND (r.fetched_at = 0 OR r.fetched_at > ",
    );
    query.bind(now.plus(-AGAIN_MS).0).push(
        ") AND EXISTS (SELECT 1 FROM subject_export e WHERE e.tenant = r.tenant AND e.request = r.id AND e.until > ",
    );
    query.bind(now.0).push("))) AND r.tenant = ").bind(tenant.as_str());
    query.among("r.subject", people).push(" GROUP BY r.subject");
    let rows = query.query()?.fetch_all(connection).await?;
    let copies = |is_in_making| if is_in_making { Copies::InMaking } else { Copies::Ready };
    rows.iter().map(|row| Ok((row.parsed("subject")?, copies(row.int("in_making")? > 0)))).collect()
}

/// As [`awaited`], in a transaction of its own.
pub(crate) async fn awaited_now(
    store: &Store,
    tenant: &TenantId,
    people: &[SubjectId],
    now: UnixMillis,
) -> Result<HashMap<SubjectId, Copies>, StoreError> {
    if people.is_empty() {
        return Ok(HashMap::new());
    }
    awaited(&mut *store.pool().acquire().await?, tenant, people, now).await
}

/// Keeps when the copy of `request` was fetched first.
pub(crate) async fn fetched(tx: &mut Tx, request: &Request, now: UnixMillis) -> Result<(), StoreError> {
    sqlx::query("UPDATE subject_request SET fetched_at = $3 WHERE tenant = $1 AND id = $2 AND fetched_at = 0")
        .bind(request.tenant.as_str())
        .bind(request.id.to_string())
        .bind(now.0)
        .execute(tx.sql())
        .await?;
    Ok(())
}

/// Keeps that the deletion `request` waits for no copy, and carries it on at once. Returns whether nothing of it was carried
/// out yet, and nobody does at the moment.
pub(crate) async fn waive(tx: &mut Tx, request: &Request, now: UnixMillis) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE subject_request SET waived_at = $3, next_at = $3 WHERE tenant = $1 AND id = $2 AND kind = 'DELETION' \
         AND state IN ('in_progress', 'extended') AND step = 0 AND lease_until <= $3",
    );
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(now.0);
    Ok(changed.execute(tx.sql()).await?.rows_affected() == 1)
}

/// The last millisecond of the deletion of a person that is being carried out; of several, of the first to end.
pub(crate) async fn erased_by(store: &Store, request: &Request) -> Result<Option<UnixMillis>, StoreError> {
    let row = sqlx::query(
        "SELECT CASE WHEN extended_at > 0 THEN extended_due_at ELSE due_at END AS last FROM subject_request \
         WHERE tenant = $1 AND subject = $2 AND kind = 'DELETION' AND state IN ('in_progress', 'extended') \
         ORDER BY last LIMIT 1",
    );
    let row = row.bind(request.tenant.as_str()).bind(request.subject.to_string()).fetch_optional(store.pool()).await?;
    row.map(|row| row.time("last")).transpose()
}
