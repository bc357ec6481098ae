//! Rectifications that wait for the source of what is computed here.

use kiki_store::{StoreError, Tx};
use kiki_types::UnixMillis;
use sqlx::AssertSqlSafe;

use super::Request;

/// The step at which every store was asked, and the source is to be corrected.
pub(crate) const AWAITS_SOURCE: i64 = 2;

/// Of which of `subject_request` something is to be done by the program: of one that waits for its source nothing, until
/// nobody is left whom it concerns.
pub(super) fn is_the_programs() -> String {
    format!(
        "NOT (kind = 'RECTIFICATION' AND step = {AWAITS_SOURCE} AND EXISTS (SELECT 1 FROM subject \
         WHERE subject.tenant = subject_request.tenant AND subject.id = subject_request.subject))"
    )
}

/// Ends a request whose source was corrected, with `details`, which say so. Returns whether it waited for that.
pub(crate) async fn corrected(
    tx: &mut Tx,
    request: &Request,
    details: &[u8],
    now: UnixMillis,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(AssertSqlSafe(format!(
        "UPDATE subject_request SET state = 'completed', outcome = 'whole', details = $3, ended_at = $4 \
         WHERE tenant = $1 AND id = $2 AND kind = 'RECTIFICATION' AND step = {AWAITS_SOURCE} \
         AND state IN ('in_progress', 'extended') AND lease_until = 0"
    )));
    let changed = changed.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(details).bind(now.0);
    Ok(changed.execute(tx.sql()).await?.rows_affected() == 1)
}
