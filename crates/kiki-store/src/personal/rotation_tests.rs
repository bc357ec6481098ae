use std::sync::Arc;

use kiki_kit::clock::Clock as _;
use kiki_types::TenantId;

use super::keyring::LIVING_MAX;
use super::master::LocalMaster;
use super::*;
use crate::testing::{People, back_up, on_both, put_back, secure_random};

const BACKED_UP: [&str; 3] = ["subject", "erasure", "key_epoch"];

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

#[tokio::test]
async fn after_its_epoch_a_backup_tells_nothing_of_anybody_even_with_todays_ring() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let ann = people.resolve(&acme(), "ann", Mint::Yes).await.unwrap().unwrap();
        back_up(&db.store, &BACKED_UP).await;
        people.destroy(&acme(), &[ann.id], Cause::Request, "").await.unwrap();
        assert_eq!(people.rotate(14).await.unwrap(), None, "it is not time");
        let mut epochs = 1;
        for _ in 0..4 {
            people.advance_days(7);
            people.clock.advance(std::time::Duration::from_secs(11 * 60));
            people.look_after().await.unwrap();
            epochs = people.status().living.last().unwrap().0;
        }
        assert_eq!(epochs, 3);
        put_back(&db.store, &["subject"]).await;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT {SUBJECT_COLUMNS} FROM subject s")));
        let row = row.fetch_one(db.store.pool()).await.unwrap();
        let locked = people.unlock(&row).unwrap_err();
        assert!(matches!(locked, crate::StoreError::Personal(Unreadable::EpochDestroyed)), "{locked:?}");
        let lines = std::fs::read_to_string(people.keys().join("erasures")).unwrap();
        assert_eq!(lines.lines().count(), 2, "the last line stays: {lines}");

        let again = people.another(&db.store).await.unwrap();
        assert!(again.by_id(&acme(), &[ann.id]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn while_an_epoch_begins_everybody_is_found_also_by_processes_that_have_not_heard_of_it() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let late = people.another(&db.another().await).await.unwrap();
        let names: Vec<String> = (0..700).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let before = people.resolve_many(&acme(), &names, Mint::Yes).await.unwrap();
        let before: Vec<_> = before.into_iter().map(|person| person.unwrap().id).collect();
        assert_eq!(people.rotate(0).await.unwrap(), Some(2));
        let ids = |found: Vec<Option<Subject>>| found.into_iter().map(|one| one.unwrap().id).collect::<Vec<_>>();
        assert_eq!(ids(people.resolve_many(&acme(), &names, Mint::Yes).await.unwrap()), before, "nobody is moved yet");
        assert_eq!(people.rewrap().await.unwrap(), Rewrapped { moved: 700, damaged: 0 });
        assert_eq!(ids(late.resolve_many(&acme(), &names, Mint::No).await.unwrap()), before);
        let fresh = late.resolve(&acme(), "new", Mint::Yes).await.unwrap().unwrap();
        assert_eq!(people.resolve(&acme(), "new", Mint::No).await.unwrap().unwrap().id, fresh.id);
        assert!(matches!(people.destroy_epoch(2).await, Err(KeysError::NotNow(_))), "the current one");
        people.destroy_epoch(1).await.unwrap();
        assert_eq!(ids(late.resolve_many(&acme(), &names, Mint::No).await.unwrap()), before);
    })
    .await;
}

#[tokio::test]
async fn nobody_comes_into_an_epoch_that_is_over() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let late = people.another(&db.another().await).await.unwrap();
        let ann = people.resolve(&acme(), "ann", Mint::Yes).await.unwrap().unwrap();
        people.rotate(0).await.unwrap();
        people.rewrap().await.unwrap();
        // It looked for her before the epoch began, and knows of none.
        let minted = late.mint(&acme(), &["ann".into(), "bob".into()]).await.unwrap();
        assert_eq!(minted[0].id, ann.id, "she is no second person");
        assert_eq!(people.by_epoch().await.unwrap(), [(2, 2)]);
    })
    .await;
}

#[tokio::test]
async fn an_epoch_with_people_is_not_destroyed() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        people.resolve(&acme(), "ann", Mint::Yes).await.unwrap();
        people.rotate(0).await.unwrap();
        let kept = people.destroy_epoch(1).await.unwrap_err();
        assert!(matches!(kept, KeysError::RowsLeft { epoch: 1, rows: 1 }), "{kept:?}");
        // Somebody whose row was changed keeps it alive, and is told of.
        sqlx::query("UPDATE subject SET restricted = 1, name = wrapped").execute(db.store.pool()).await.unwrap();
        people.look_after().await.unwrap_err();
        assert_eq!(people.rewrap().await.unwrap(), Rewrapped { moved: 0, damaged: 1 });
        assert!(people.resolve(&acme(), "ann", Mint::Yes).await.is_err(), "and is not replaced by somebody new");
    })
    .await;
}

#[tokio::test]
async fn epochs_that_are_over_end_also_while_none_may_begin() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        people.resolve(&acme(), "ann", Mint::Yes).await.unwrap();
        for _ in 1..LIVING_MAX {
            people.rotate(0).await.unwrap();
        }
        assert!(matches!(people.rotate(0).await, Err(KeysError::NotNow(_))), "as many as there may be");
        people.advance_days(29);
        people.look_after().await.unwrap();
        let living: Vec<_> = people.status().living.into_iter().map(|(n, _)| n).collect();
        assert_eq!(living, [9], "the earlier ones ended, and there was room for another");

        let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let other: Arc<dyn MasterKey> = Arc::new(LocalMaster::in_setting(key, secure_random()).unwrap());
        people.rotate(0).await.unwrap();
        assert_eq!(people.move_to(&other).await.unwrap(), Moved::Both);
        people.advance_days(29);
        people.look_after().await.unwrap_err();
        assert_eq!(people.status().living.len(), 1, "an unfinished move keeps none alive");
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_once_stops_neither_epochs_nor_leases() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let start = people.clock.now();
        people.advance_days(365);
        people.rotate(0).await.unwrap();
        people.another(&db.store).await.unwrap().look_after().await.unwrap();
        people.clock.set(start);
        people.advance_days(1);
        assert!(people.status().trouble.is_some(), "an epoch of next year is told of");
        people.look_after().await.unwrap();
        let current = |people: &People| people.status().living.last().unwrap().0;
        assert_eq!((current(&people), people.status().trouble), (3, None));
        people.advance_days(29);
        people.look_after().await.unwrap();
        assert_eq!(people.status().living.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [4], "and ends in time");

        let now = people.clock.now();
        let mut tx = db.store.begin().await.unwrap();
        assert!(repo::lease(&mut tx, "job", "one", now, now.plus(1_000)).await.unwrap());
        let late = now.plus(-900);
        assert!(!repo::lease(&mut tx, "job", "two", late, late.plus(1_000)).await.unwrap(), "clocks differ a little");
        tx.commit().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_ring_that_is_being_replaced_is_read_when_it_was() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let ring = people.keys().join("ring.json");
        let old = std::fs::read(&ring).unwrap();
        people.rotate(0).await.unwrap();
        let new = std::fs::read(&ring).unwrap();
        for seen in [vec![0; new.len()], old] {
            let guard = files::lock(&people.keys()).unwrap();
            std::fs::write(&ring, seen).unwrap();
            let writes = async {
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                std::fs::write(&ring, &new).unwrap();
                drop(guard);
            };
            let (opened, ()) = tokio::join!(people.another_under(&db.store, people.inner().master.clone()), writes);
            opened.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn keys_that_do_not_belong_to_the_database_open_nothing() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        people.resolve(&acme(), "ann", Mint::Yes).await.unwrap();
        let ring = people.keys().join("ring.json");
        let old = std::fs::read(&ring).unwrap();
        people.rotate(0).await.unwrap();
        let new = std::fs::read(&ring).unwrap();

        let write = |path: &std::path::Path, bytes: &[u8]| {
            std::fs::write(path, bytes).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(path, mode).unwrap();
        };
        write(&ring, &old);
        let refused = people.another(&db.store).await.unwrap_err();
        assert!(matches!(refused, KeysError::RingBehind { epoch: 2, .. }), "{refused:?}");

        std::fs::remove_file(&ring).unwrap();
        let refused = people.another(&db.store).await.unwrap_err();
        assert!(matches!(refused, KeysError::RingMissing { .. }), "{refused:?}");

        let master = people.keys().join("master.key");
        let key = std::fs::read(&master).unwrap();
        write(&ring, &new);
        std::fs::remove_file(&master).unwrap();
        assert!(people.another(&db.store).await.unwrap_err().to_string().contains("is missing"));
        write(&master, &[9; 32]);
        let refused = people.another(&db.store).await.unwrap_err();
        assert!(matches!(refused, KeysError::AnotherMaster { .. }), "{refused:?}");
        write(&master, &key);
        people.another(&db.store).await.unwrap();

        let stranger = People::of(&crate::testing::TestDb::sqlite().await.store).await;
        let refused = stranger.another(&db.store).await.unwrap_err();
        assert!(matches!(refused, KeysError::AnotherRing { .. }), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn the_master_key_is_changed_while_everything_goes_on() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let ann = people.resolve(&acme(), "ann", Mint::Yes).await.unwrap().unwrap();
        people.rotate(0).await.unwrap();
        let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let other: Arc<dyn MasterKey> = Arc::new(LocalMaster::in_setting(key, secure_random()).unwrap());
        assert_eq!(people.move_to(&other).await.unwrap(), Moved::Both);
        assert!(matches!(people.rotate(0).await, Err(KeysError::NotNow(_))), "only one master would open it");

        let moved = people.another_under(&db.store, other.clone()).await.unwrap();
        people.another(&db.store).await.expect("the old one still does");
        assert_eq!(moved.resolve(&acme(), "ann", Mint::No).await.unwrap().unwrap().id, ann.id);
        assert_eq!(moved.move_to(&other).await.unwrap(), Moved::Only);
        assert_eq!(moved.rotate(0).await.unwrap(), Some(3));
        let refused = people.another(&db.store).await.unwrap_err();
        assert!(matches!(refused, KeysError::AnotherMaster { .. }), "{refused:?}");
        moved.rewrap().await.unwrap();
        let again = people.another_under(&db.store, other).await.unwrap();
        assert_eq!(again.resolve(&acme(), "ann", Mint::No).await.unwrap().unwrap().id, ann.id);
    })
    .await;
}

#[tokio::test]
async fn a_backup_of_an_epoch_that_still_lives_is_read_and_put_into_the_current_one() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let ann = people.resolve(&acme(), "ann", Mint::Yes).await.unwrap().unwrap();
        back_up(&db.store, &BACKED_UP).await;
        for _ in 0..3 {
            people.rotate(0).await.unwrap();
            people.rewrap().await.unwrap();
        }
        put_back(&db.store, &BACKED_UP).await;
        let again = people.another(&db.store).await.unwrap();
        assert_eq!(again.resolve(&acme(), "ann", Mint::Yes).await.unwrap().unwrap().id, ann.id);
        assert_eq!(again.by_epoch().await.unwrap(), [(4, 1)]);
    })
    .await;
}

#[tokio::test]
async fn a_register_that_was_put_back_is_filled_from_the_database() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let names = ["ann", "bob", "cem"];
        let known = people.resolve_many(&acme(), &names, Mint::Yes).await.unwrap();
        let ids: Vec<_> = known.into_iter().map(|person| person.unwrap().id).collect();
        let register = people.keys().join("erasures");
        people.destroy(&acme(), &ids[..1], Cause::Request, "").await.unwrap();
        let old = std::fs::read(&register).unwrap();
        people.destroy(&acme(), &ids[1..2], Cause::Request, "").await.unwrap();
        std::fs::write(&register, old).unwrap();

        let again = people.another(&db.store).await.unwrap();
        assert_eq!(again.replay(&Stores::default()).await.unwrap(), []);
        again.destroy(&acme(), &ids[2..], Cause::Request, "").await.unwrap();
        let lines = std::fs::read_to_string(&register).unwrap();
        let told: Vec<_> = ids.iter().map(|id| lines.contains(&id.to_string())).collect();
        assert_eq!(told, [true, true, true], "{lines}");
    })
    .await;
}
