use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sqlx::AssertSqlSafe;

use crate::testing::{TestDb, on_both, on_both_unmigrated};
use crate::{Columns as _, Dialect, Options, Store, StoreError};

async fn table(db: &TestDb) {
    let mut tx = db.store.begin().await.unwrap();
    sqlx::query("CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT NOT NULL)").execute(tx.sql()).await.unwrap();
    sqlx::query("INSERT INTO t (k, n) VALUES ('a', 0)").execute(tx.sql()).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn writers_at_once_lose_no_update() {
    on_both(async |db| {
        table(db).await;
        futures::future::join_all((0..20).map(async |_| {
            let mut tx = db.store.begin().await.unwrap();
            sqlx::query("UPDATE t SET n = n + 1 WHERE k = $1").bind("a").execute(tx.sql()).await.unwrap();
            tx.commit().await.unwrap();
        }))
        .await;
        let row = sqlx::query("SELECT n FROM t").fetch_one(db.store.pool()).await.unwrap();
        assert_eq!(row.int("n").unwrap(), 20);
    })
    .await;
}

#[tokio::test]
async fn a_reader_does_not_wait_for_a_writer_and_sees_what_is_committed() {
    on_both(async |db| {
        table(db).await;
        let mut tx = db.store.begin().await.unwrap();
        sqlx::query("UPDATE t SET n = 1").execute(tx.sql()).await.unwrap();
        let row = sqlx::query("SELECT n FROM t").fetch_one(db.store.pool()).await.unwrap();
        assert_eq!(row.int("n").unwrap(), 0);
        tx.rollback().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_claim_passes_over_what_another_transaction_holds() {
    on_both(async |db| {
        table(db).await;
        sqlx::query("INSERT INTO t (k, n) VALUES ('b', 0)").execute(db.store.pool()).await.unwrap();
        let query = format!("SELECT k FROM t ORDER BY k LIMIT 1{}", db.store.dialect().claim());
        let mut first = db.store.begin().await.unwrap();
        let row = sqlx::query(AssertSqlSafe(query.clone())).fetch_one(first.sql()).await.unwrap();
        assert_eq!(row.text("k").unwrap(), "a");
        if db.store.dialect() == Dialect::Postgres {
            let mut second = db.store.begin().await.unwrap();
            let row = sqlx::query(AssertSqlSafe(query)).fetch_one(second.sql()).await.unwrap();
            assert_eq!(row.text("k").unwrap(), "b");
        }
    })
    .await;
}

#[tokio::test]
async fn a_taken_key_is_told_apart_from_other_failures() {
    on_both(async |db| {
        table(db).await;
        let insert = "INSERT INTO t (k, n) VALUES ($1, $2)";
        let taken = sqlx::query(insert).bind("a").bind(1_i64).execute(db.store.pool()).await;
        assert!(matches!(StoreError::from(taken.unwrap_err()), StoreError::Duplicate(_)));
        let mistake = sqlx::query("SELECT nothing FROM t").execute(db.store.pool()).await;
        assert!(matches!(StoreError::from(mistake.unwrap_err()), StoreError::Sql(_)));
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    on_both(async |db| {
        let store = db.another().await;
        store.ping().await.unwrap();
        store.close().await;
        assert!(store.ping().await.unwrap_err().is_unavailable());
        assert!(store.begin().await.err().unwrap().is_unavailable());
    })
    .await;
}

#[tokio::test]
async fn a_database_without_tables_says_so() {
    on_both_unmigrated(async |db| {
        assert!(db.store.source_id().await.is_err());
        assert_eq!(db.store.stats().max, 8);
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_value_names_its_column() {
    on_both(async |db| {
        table(db).await;
        let row = sqlx::query("SELECT k, n, NULL AS absent FROM t").fetch_one(db.store.pool()).await.unwrap();
        for error in [row.parsed::<i64>("k").unwrap_err(), row.text("n").unwrap_err(), row.text("absent").unwrap_err()]
        {
            assert!(matches!(error, StoreError::Unreadable { .. }), "{error:?}");
        }
        assert_eq!(row.text_opt("absent").unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn the_embedded_database_is_its_owners_alone_and_logs_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/kiki data.db");
    let store = Store::connect(path.to_str().unwrap(), Options::default()).await.unwrap();
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(store.pool()).await.unwrap();
    assert_eq!(row.text("journal_mode").unwrap(), "wal");
    let row = sqlx::query("PRAGMA synchronous").fetch_one(store.pool()).await.unwrap();
    assert_eq!(row.int("synchronous").unwrap(), 2);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    store.close().await;
}
