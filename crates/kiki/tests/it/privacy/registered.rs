//! Every table and every file is declared by who keeps personal data in it, or is listed here with the reason why it holds
//! none.

use std::collections::BTreeSet;

use kiki_store::personal::Stores;
use kiki_store::testing::{look, on_both};

use super::search::files;
use crate::harness::{folder, here};
use crate::routes::{services, stop};

/// Tables about nobody.
const TABLES: &[(&str, &str)] = &[
    ("store_migration", "which migrations were applied"),
    ("store_source", "a random name of the database"),
    ("outbox_counter", "a number"),
    ("key_epoch", "numbers and times of epochs"),
    ("job_lease", "which process does a job"),
    ("personal_follower", "a position in the log"),
    ("webhook_follower", "a position in the log"),
    ("consent_text", "texts that everybody is shown"),
    ("policy_version", "rules, and who made them as a keyed hash"),
];

/// Files about nobody, or about people in a form that is told elsewhere, as prefixes of paths below the data folder.
const FILES: &[(&str, &str)] = &[
    ("kiki.db", "the tables"),
    ("audit/", "the log and what is derived from it: people by pseudonyms that die with their keys"),
    ("spend/", "what the governor knows: people by the pseudonyms of the log"),
    ("keys/", "keys, and the register of erasures, which names handles"),
];

/// Those of `tables` that neither a store declares nor [`TABLES`] lists.
fn undeclared(tables: &BTreeSet<String>, stores: &Stores) -> Vec<String> {
    let declared: BTreeSet<&str> =
        stores.iter().flat_map(|store| store.declared().tables).map(|table| table.name).collect();
    let is_told = |name: &str| declared.contains(name) || TABLES.iter().any(|(table, _)| *table == name);
    tables.iter().filter(|name| !is_told(name)).cloned().collect()
}

#[tokio::test]
async fn every_table_is_declared_or_is_about_nobody() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![]).await;
    let stores = services.shield.stores.clone();
    stop(process, services).await;
    on_both(async |db| {
        let known = look::tables(&db.store).await;
        assert_eq!(undeclared(&known, &stores), [""; 0], "say in a PersonalStore what it holds");
        for (table, _) in TABLES {
            assert!(known.contains(*table), "{table} is listed and is not there");
        }
        // The log is declared as if it were a table.
        let declared = stores.iter().flat_map(|store| store.declared().tables);
        for table in declared.filter(|table| table.name != "audit log") {
            let columns = look::columns(&db.store, table.name).await;
            for column in table.owner.into_iter().chain(table.holds.iter().map(|(name, _)| *name)) {
                assert!(columns.contains(column), "{}.{column} is declared and is not there", table.name);
            }
        }
        look::plant(&db.store, "planted").await;
        assert_eq!(undeclared(&look::tables(&db.store).await, &stores), ["planted"]);
    })
    .await;
}

#[tokio::test]
async fn every_file_is_declared_or_is_about_nobody() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![]).await;
    let stores = services.shield.stores.clone();
    stop(process, services).await;
    let data = folder.path().join("data");
    let undeclared = || -> Vec<String> {
        let prefixes: Vec<&str> = stores
            .iter()
            .flat_map(|store| store.declared().files)
            .copied()
            .chain(FILES.iter().map(|(prefix, _)| *prefix))
            .collect();
        let names = files(&data).into_iter().map(|path| path.strip_prefix(&data).unwrap().display().to_string());
        names.filter(|name| !prefixes.iter().any(|prefix| name.starts_with(prefix))).collect()
    };
    assert_eq!(undeclared(), [""; 0], "say in a PersonalStore what it holds");
    std::fs::write(data.join("planted"), "").unwrap();
    assert_eq!(undeclared(), ["planted"]);
}

/// Types that hold personal data for others, and are no store of a process themselves.
const NOT_LOCAL: &[(&str, &str)] = &[("RemoteStore", "stands for a store of another process")];

#[test]
fn every_store_of_personal_data_is_given_to_the_process() {
    let sources = |folder: &str| -> Vec<String> {
        let paths = files(&here(folder)).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
        let paths = paths.filter(|path| !path.to_str().unwrap().contains("test"));
        paths.map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    let wiring = sources("src/services").concat();
    let mut found = 0;
    for krate in ["kiki", "kiki-growth", "kiki-shield", "kiki-store", "kiki-sandbox"] {
        for source in sources(&format!("../{krate}/src")) {
            for line in source.lines() {
                let Some(name) = line.strip_prefix("impl PersonalStore for ") else { continue };
                let name = name.trim_end_matches([' ', '{']);
                found += 1;
                let is_elsewhere = NOT_LOCAL.iter().any(|(store, _)| *store == name);
                assert!(is_elsewhere || wiring.contains(name), "{name} is in no list of stores");
            }
        }
    }
    assert!(found >= 8, "{found} stores in the sources");
}
