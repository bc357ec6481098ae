//! What a program does that knows nothing but SQL: something to compare with.

use kiki_types::TenantId;
use sqlx::AssertSqlSafe;

use crate::Store;

/// Values of one statement.
const CHUNK: usize = 500;

/// Deletes the rows of `tenant` in each of `tables` whose column has one of `values`, in one transaction. Returns how many.
///
/// # Panics
/// The database does not answer.
pub async fn delete(store: &Store, tenant: &TenantId, tables: &[(&str, &str)], values: &[String]) -> u64 {
    let mut deleted = 0;
    let mut tx = store.begin().await.unwrap_or_else(|error| panic!("no transaction: {error}"));
    for (table, column) in tables {
        for values in values.chunks(CHUNK) {
            let places: Vec<_> = (2..2 + values.len()).map(|place| format!("${place}")).collect();
            let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND {column} IN ({})", places.join(", "));
            let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant.as_str());
            let query = values.iter().fold(query, |query, value| query.bind(value.as_str()));
            let done = query.execute(tx.sql()).await;
            deleted += done.unwrap_or_else(|error| panic!("{table}: {error}")).rows_affected();
        }
    }
    tx.commit().await.unwrap_or_else(|error| panic!("not committed: {error}"));
    deleted
}
