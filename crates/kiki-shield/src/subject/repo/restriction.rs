//! Which restrictions stand, and which were ended.

use kiki_store::{Store, StoreError, Tx};
use kiki_types::UnixMillis;

use super::Request;

/// Keeps that a restriction is ended. Returns whether it stood.
pub(crate) async fn lift(tx: &mut Tx, request: &Request, now: UnixMillis) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE subject_request SET lifted_at = $3 WHERE tenant = $1 AND id = $2 AND kind = 'RESTRICTION' \
         AND state = 'completed' AND lifted_at = 0",
    );
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(now.0);
    Ok(changed.execute(tx.sql()).await?.rows_affected() == 1)
}

/// Whether anything restricts the person whom `request` is about: a restriction that was not ended, or a deletion that is
/// being carried out.
pub(crate) async fn stands(store: &Store, request: &Request) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT id FROM subject_request WHERE tenant = $1 AND subject = $2 AND \
         ((kind = 'RESTRICTION' AND lifted_at = 0 AND state IN ('in_progress', 'extended', 'completed')) \
         OR (kind = 'DELETION' AND state IN ('in_progress', 'extended'))) LIMIT 1",
    );
    let row = row.bind(request.tenant.as_str()).bind(request.subject.to_string());
    Ok(row.fetch_optional(store.pool()).await?.is_some())
}
