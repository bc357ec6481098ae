//! The codes that were sent, over all requests of a person: whoever makes many requests gets no more codes, nor more
//! guesses, than with one.

use kiki_store::{Columns as _, Store, StoreError, Tx};
use kiki_types::UnixMillis;
use sqlx::any::AnyRow;

use super::Request;
use crate::subject::code::{Sent, counted_after};

/// What was sent to the person whom `request` is about, for all of their requests, in the time that counts at `now`. Their
/// row is locked until `tx` ends, so that of several codes at the same time each knows of the one before.
pub(crate) async fn sent_to(tx: &mut Tx, request: &Request, now: UnixMillis) -> Result<Sent, StoreError> {
    sqlx::query("UPDATE subject SET holds = holds WHERE tenant = $1 AND id = $2")
        .bind(request.tenant.as_str())
        .bind(request.subject.to_string())
        .execute(tx.sql())
        .await?;
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(codes), 0) AS BIGINT) AS codes, COALESCE(MAX(code_until), 0) AS code_until \
         FROM subject_request WHERE tenant = $1 AND subject = $2 AND codes > 0 AND code_until > $3",
    )
    .bind(request.tenant.as_str())
    .bind(request.subject.to_string())
    .bind(counted_after(now).0)
    .fetch_one(tx.sql())
    .await?;
    Ok(Sent { count: row.int("codes")?, until: row.time("code_until")? })
}

/// Keeps another sealed code, if no other was sent meanwhile.
pub(crate) async fn keep_code(tx: &mut Tx, request: &Request, sent: Sent, code: &[u8]) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE subject_request SET code = $5, code_until = $6, codes = $7, code_tries = 0 \
         WHERE tenant = $1 AND id = $2 AND code_until = $3 AND codes = $4 AND state IN ('received', 'identity_check')",
    )
    .bind(request.tenant.as_str())
    .bind(request.id.to_string())
    .bind(request.sent.until.0)
    .bind(request.sent.count)
    .bind(code)
    .bind(sent.until.0)
    .bind(sent.count)
    .execute(tx.sql())
    .await?;
    Ok(changed.rows_affected() == 1)
}

/// Counts a try of the code, if there is one that may be tried. Returns the sealed code, until when it is good, and how
/// often it was tried.
pub(crate) async fn try_code(
    store: &Store,
    request: &Request,
    tries_max: i64,
    now: UnixMillis,
) -> Result<Option<(Vec<u8>, i64, i64)>, StoreError> {
    let mut tx = store.begin().await?;
    let row = sqlx::query(
        "UPDATE subject_request SET code_tries = code_tries + 1 WHERE tenant = $1 AND id = $2 AND code IS NOT NULL \
         AND code_tries < $3 AND code_until > $4 AND state IN ('received', 'identity_check') \
         RETURNING code, code_until, code_tries",
    )
    .bind(request.tenant.as_str())
    .bind(request.id.to_string())
    .bind(tries_max)
    .bind(now.0)
    .fetch_optional(tx.sql())
    .await?;
    tx.commit().await?;
    let tried =
        |row: AnyRow| Ok((row.bytes_opt("code")?.unwrap_or_default(), row.int("code_until")?, row.int("code_tries")?));
    row.map(tried).transpose()
}

/// The sealed code that may still be tried.
pub(crate) async fn code(store: &Store, request: &Request, now: UnixMillis) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query("SELECT code FROM subject_request WHERE tenant = $1 AND id = $2 AND code_until > $3");
    let row = row.bind(request.tenant.as_str()).bind(request.id.to_string()).bind(now.0);
    row.fetch_optional(store.pool()).await?.map_or(Ok(None), |row| row.bytes_opt("code"))
}
