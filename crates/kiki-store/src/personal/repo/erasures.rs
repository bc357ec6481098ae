//! The SQL of erasures: who was erased, as far as this database knows.

use kiki_types::TenantId;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::number;
use crate::personal::register::Erasure;
use crate::personal::subject::SubjectId;
use crate::{Columns as _, StoreError, Tx};

/// Remembers an erasure. Of one that is known the later number counts. `true`: it was not known.
pub(crate) async fn record(tx: &mut Tx, erasure: &Erasure, request: &str) -> Result<bool, StoreError> {
    let put = sqlx::query(
        "INSERT INTO erasure (tenant, subject, seq, epoch, at, cause, request) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (tenant, subject) DO NOTHING",
    )
    .bind(erasure.tenant.as_str())
    .bind(erasure.subject.to_string())
    .bind(erasure.seq)
    .bind(i64::from(erasure.epoch))
    .bind(erasure.at.0)
    .bind(erasure.cause.as_str())
    .bind(request)
    .execute(tx.sql())
    .await?;
    if put.rows_affected() == 1 {
        return Ok(true);
    }
    sqlx::query("UPDATE erasure SET seq = $1 WHERE tenant = $2 AND subject = $3 AND seq < $1")
        .bind(erasure.seq)
        .bind(erasure.tenant.as_str())
        .bind(erasure.subject.to_string())
        .execute(tx.sql())
        .await?;
    Ok(false)
}

/// Who was erased by an erasure with the number `first` or a later one.
pub(crate) async fn since(
    connection: &mut AnyConnection,
    first: i64,
) -> Result<Vec<(TenantId, SubjectId)>, StoreError> {
    let rows = sqlx::query("SELECT tenant, subject FROM erasure WHERE seq >= $1").bind(first).fetch_all(connection);
    rows.await?.iter().map(|row| Ok((row.tenant("tenant")?, row.parsed("subject")?))).collect()
}

/// The erasures beyond the number `last` that are of the epoch `lowest` or later, and the last of all, if it is beyond.
pub(crate) async fn beyond(connection: &mut AnyConnection, last: i64, lowest: u32) -> Result<Vec<Erasure>, StoreError> {
    let rows = sqlx::query(
        "SELECT tenant, subject, seq, epoch, at, cause FROM erasure \
         WHERE seq > $1 AND (epoch >= $2 OR seq = (SELECT MAX(seq) FROM erasure)) ORDER BY seq",
    )
    .bind(last)
    .bind(i64::from(lowest))
    .fetch_all(connection)
    .await?;
    let read = |row: &AnyRow| {
        Ok(Erasure {
            seq: row.int("seq")?,
            tenant: row.tenant("tenant")?,
            subject: row.parsed("subject")?,
            epoch: number(row, "epoch")?,
            at: row.time("at")?,
            cause: row.parsed("cause")?,
        })
    };
    rows.iter().map(read).collect()
}
