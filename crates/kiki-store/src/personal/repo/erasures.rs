//! The SQL of erasures: who was erased, as far as this database knows.

use std::collections::HashSet;

use kiki_types::TenantId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::{number, places};
use crate::personal::register::Erasure;
use crate::personal::subject::SubjectId;
use crate::{Columns as _, StoreError, Tx};

/// Remembers erasures, at most [`super::CHUNK`]. Of one that is known the later number counts. Returns of each whether it
/// was not known.
pub(crate) async fn record(tx: &mut Tx, erasures: &[Erasure], request: &str) -> Result<Vec<bool>, StoreError> {
    const COLUMNS: usize = 7;
    if erasures.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<_> = (0..erasures.len()).map(|row| format!("({})", places(row * COLUMNS + 1, COLUMNS))).collect();
    let sql = format!(
        "INSERT INTO erasure (tenant, subject, seq, epoch, at, cause, request) VALUES {} \
         ON CONFLICT (tenant, subject) DO NOTHING RETURNING tenant, subject",
        rows.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for erasure in erasures {
        query = query
            .bind(erasure.tenant.as_str())
            .bind(erasure.subject.to_string())
            .bind(erasure.seq)
            .bind(i64::from(erasure.epoch))
            .bind(erasure.at.0)
            .bind(erasure.cause.as_str())
            .bind(request);
    }
    let mut fresh = HashSet::with_capacity(erasures.len());
    for row in query.fetch_all(tx.sql()).await? {
        fresh.insert((row.tenant("tenant")?, row.parsed::<SubjectId>("subject")?));
    }
    let mut were_new = Vec::with_capacity(erasures.len());
    for erasure in erasures {
        let is_new = fresh.remove(&(erasure.tenant.clone(), erasure.subject));
        if !is_new {
            renumber(tx, erasure).await?;
        }
        were_new.push(is_new);
    }
    Ok(were_new)
}

async fn renumber(tx: &mut Tx, erasure: &Erasure) -> Result<(), StoreError> {
    sqlx::query("UPDATE erasure SET seq = $1 WHERE tenant = $2 AND subject = $3 AND seq < $1")
        .bind(erasure.seq)
        .bind(erasure.tenant.as_str())
        .bind(erasure.subject.to_string())
        .execute(tx.sql())
        .await?;
    Ok(())
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
