use futures::future::join_all;

use super::*;
use crate::testing::{RandomIds, on_both, on_both_unmigrated};

const NOW: UnixMillis = UnixMillis(1_770_000_000_000);
const FIRST: Migration =
    Migration { version: 1, name: "first", text: "CREATE TABLE store_source (one BIGINT PRIMARY KEY, id TEXT);" };
const SECOND: Migration =
    Migration { version: 2, name: "second", text: "CREATE TABLE a (x {{BYTES}}); CREATE TABLE b (x TEXT);" };
const THIRD: Migration = Migration { version: 3, name: "third", text: "CREATE TABLE d (x TEXT); SELECT nonsense;" };

async fn applied(store: &Store) -> Vec<i64> {
    let rows = sqlx::query("SELECT version FROM store_migration ORDER BY version").fetch_all(store.pool()).await;
    rows.unwrap().iter().map(|row| row.int("version").unwrap()).collect()
}

async fn migrate(store: &Store, migrations: &[Migration]) -> Result<(), MigrateError> {
    run(store, migrations, &RandomIds, NOW).await
}

#[test]
fn the_embedded_migrations_are_numbered_from_one_without_gaps() {
    let numbers: Vec<u32> = EMBEDDED.iter().map(|migration| migration.version).collect();
    let expected: Vec<u32> = (1..).take(EMBEDDED.len()).collect();
    assert_eq!(numbers, expected);
}

#[tokio::test]
async fn migrating_again_changes_nothing_and_keeps_the_databases_name() {
    on_both(async |db| {
        let name = db.store.source_id().await.unwrap();
        db.store.migrate(&RandomIds, NOW).await.unwrap();
        assert_eq!(db.store.source_id().await.unwrap(), name);
        assert_eq!(applied(&db.store).await.len(), EMBEDDED.len());
    })
    .await;
}

#[tokio::test]
async fn processes_that_start_at_once_migrate_once() {
    on_both_unmigrated(async |db| {
        let stores = join_all((0..4).map(|_| db.another())).await;
        let results = join_all(stores.iter().map(|store| store.migrate(&RandomIds, NOW))).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(applied(&db.store).await.len(), EMBEDDED.len());
        join_all(stores.iter().map(Store::close)).await;
    })
    .await;
}

#[tokio::test]
async fn an_edited_migration_is_refused_by_its_name() {
    on_both_unmigrated(async |db| {
        migrate(&db.store, &[FIRST, SECOND]).await.unwrap();
        let edited = Migration { text: "CREATE TABLE a (x TEXT);", ..SECOND };
        let error = migrate(&db.store, &[FIRST, edited, THIRD]).await.unwrap_err();
        assert!(error.to_string().starts_with("migration 0002_second was edited"), "{error}");
        assert_eq!(applied(&db.store).await, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    on_both_unmigrated(async |db| {
        migrate(&db.store, &[FIRST, SECOND]).await.unwrap();
        let error = migrate(&db.store, &[FIRST]).await.unwrap_err();
        assert!(matches!(error, MigrateError::Unknown { version: 2, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_slips_in_below_an_applied_one_is_refused() {
    on_both_unmigrated(async |db| {
        let later = Migration { version: 3, name: "later", ..SECOND };
        migrate(&db.store, &[FIRST, later]).await.unwrap();
        let error = migrate(&db.store, &[FIRST, SECOND, later]).await.unwrap_err();
        assert!(matches!(error, MigrateError::OutOfOrder { version: 2, .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing_of_itself_or_of_those_before_it() {
    on_both_unmigrated(async |db| {
        let error = migrate(&db.store, &[FIRST, SECOND, THIRD]).await.unwrap_err();
        assert!(matches!(error, MigrateError::Failed { version: 3, .. }), "{error}");
        migrate(&db.store, &[FIRST, SECOND]).await.unwrap();
        assert_eq!(applied(&db.store).await, [1, 2]);
    })
    .await;
}
