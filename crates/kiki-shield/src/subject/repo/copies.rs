//! Copies of what is held that people asked for: a deletion of the same person waits until each was fetched a while ago or
//! its time is over.

use std::collections::HashMap;

use kiki_store::personal::SubjectId;
use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::{TenantId, UnixMillis};
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::statement::Statement;
use super::{REQUEST, Request, read};

/// How long a copy may be fetched again: nobody knows whether what was sent arrived.
const AGAIN_MS: i64 = 86_400_000;

/// The copies of a person that a deletion may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copies {
    /// One is not made yet, of somebody who has proven who they are.
    pub(crate) in_making: bool,
    /// It is being made, or may be tried at once.
    pub(crate) can_be_made: bool,
    /// When the last was made of those that are ready.
    pub(crate) ready_since: Option<UnixMillis>,
}

/// Who of `people` has copies that are not made, that nobody has fetched, or that may be fetched again, as of `now`.
pub(crate) async fn awaited(
    connection: &mut AnyConnection,
    tenant: &TenantId,
    people: &[SubjectId],
    now: UnixMillis,
) -> Result<HashMap<SubjectId, Copies>, StoreError> {
    let mut query = Statement::new(
        "SELECT r.subject AS subject, CAST(MAX(CASE WHEN r.state = 'completed' THEN 0 ELSE 1 END) AS BIGINT) AS in_making, \
         CAST(MAX(CASE WHEN r.state = 'completed' THEN r.ended_at ELSE 0 END) AS BIGINT) AS ready_since, \
         CAST(MAX(CASE WHEN r.state <> 'completed' AND (r.next_at <= ",
    );
    query.bind(now.0).push(" OR r.lease_until > ").bind(now.0).push(
        ") THEN 1 ELSE 0 END) AS BIGINT) AS can_be_made \
         FROM subject_request r WHERE r.kind IN ('ACCESS', 'PORTABILITY') AND (r.state IN ('in_progress', 'extended') \
         OR (r.state = 'completed' AND r.outcome <> 'nothing_held' AND (r.fetched_at = 0 OR r.fetched_at > ",
    );
    query.bind(now.plus(-AGAIN_MS).0).push(
        ") AND EXISTS (SELECT 1 FROM subject_export e WHERE e.tenant = r.tenant AND e.request = r.id AND e.until > ",
    );
    query.bind(now.0).push("))) AND r.tenant = ").bind(tenant.as_str());
    query.among("r.subject", people).push(" GROUP BY r.subject");
    let rows = query.query()?.fetch_all(connection).await?;
    let copies = |row: &AnyRow| {
        let ready_since = Some(row.time("ready_since")?).filter(|since| since.0 > 0);
        let (in_making, can_be_made) = (row.int("in_making")? > 0, row.int("can_be_made")? > 0);
        Ok((row.parsed("subject")?, Copies { in_making, can_be_made, ready_since }))
    };
    rows.iter().map(copies).collect()
}

/// Refuses the copies of `people` that are not made, whoever makes them. Returns the requests.
pub(crate) async fn overtake(
    tx: &mut Tx,
    tenant: &TenantId,
    people: &[SubjectId],
    now: UnixMillis,
) -> Result<Vec<Request>, StoreError> {
    if people.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Statement::new(
        "UPDATE subject_request SET state = 'refused', ground = 'erased', worker = '', lease_until = 0, code = NULL, \
         ended_at = ",
    );
    query
        .bind(now.0)
        .push(" WHERE kind IN ('ACCESS', 'PORTABILITY') AND state IN ('in_progress', 'extended') AND tenant = ");
    query.bind(tenant.as_str()).among("subject", people).push(" RETURNING ").push(REQUEST);
    query.query()?.fetch_all(tx.sql()).await?.iter().map(read).collect()
}

/// The requests of `people` for a copy that were refused by [`overtake`].
pub(crate) async fn overtaken(
    store: &Store,
    tenant: &TenantId,
    people: &[SubjectId],
) -> Result<Vec<Request>, StoreError> {
    if people.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = Statement::new(format!(
        "SELECT {REQUEST} FROM subject_request WHERE kind IN ('ACCESS', 'PORTABILITY') AND state = 'refused' \
         AND ground = 'erased' AND tenant = "
    ));
    query.bind(tenant.as_str()).among("subject", people);
    query.query()?.fetch_all(store.pool()).await?.iter().map(read).collect()
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
