//! A look into a database as a whole, for tests of what it may hold.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use crate::{Columns as _, Dialect, Store};

/// The names of all tables.
///
/// # Panics
/// The database does not answer.
pub async fn tables(store: &Store) -> BTreeSet<String> {
    names(
        store,
        match store.dialect() {
            Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            Dialect::Postgres => {
                "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.tables WHERE table_schema = 'public'"
            }
        },
    )
    .await
}

/// The names of the columns of `table`; none if there is no such table.
///
/// # Panics
/// The database does not answer.
pub async fn columns(store: &Store, table: &str) -> BTreeSet<String> {
    let sql = match store.dialect() {
        Dialect::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
        Dialect::Postgres => format!(
            "SELECT CAST(column_name AS TEXT) AS name FROM information_schema.columns WHERE table_name = '{table}'"
        ),
    };
    names(store, &sql).await
}

/// Makes a table of one column.
///
/// # Panics
/// The database does not answer, or has it.
pub async fn plant(store: &Store, table: &str) {
    let made = sqlx::query(AssertSqlSafe(format!("CREATE TABLE {table} (name TEXT)"))).execute(store.pool()).await;
    made.unwrap_or_else(|error| panic!("cannot make {table}: {error}"));
}

/// Every row of every table of a PostgreSQL database, as text.
///
/// # Panics
/// The database does not answer.
pub async fn all_rows(store: &Store) -> String {
    let mut all = String::new();
    for table in tables(store).await {
        for row in names(store, &format!("SELECT CAST(t AS TEXT) AS name FROM {table} t")).await {
            all.push_str(&row);
            all.push('\n');
        }
    }
    all
}

async fn names(store: &Store, sql: &str) -> BTreeSet<String> {
    let found = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(store.pool()).await;
    let rows = found.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row| row.text("name").unwrap_or_else(|error| panic!("{sql}: {error}"))).collect()
}
