use kiki_types::TenantId;

use super::*;
use crate::personal::{Cause, Stores};
use crate::testing::{People, back_up, on_both, put_back};

const BACKED_UP: [&str; 3] = ["subject", "erasure", "key_epoch"];

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

#[tokio::test]
async fn a_customer_is_one_person_for_everybody_who_asks_at_once() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let other = people.another(&db.another().await).await.unwrap();
        let acme = tenant("acme");
        assert!(people.resolve(&acme, "ann", Mint::No).await.unwrap().is_none());
        let asked = (0..40).map(|n| {
            let (subjects, acme) = (if n % 2 == 0 { &*people } else { &other }, &acme);
            async move { subjects.resolve(acme, "ann", Mint::Yes).await.unwrap().unwrap() }
        });
        let all = futures::future::join_all(asked).await;
        assert!(all.iter().all(|ann| ann.id == all[0].id && ann.pseudonym == all[0].pseudonym && ann.name() == "ann"));
        let elsewhere = people.resolve(&tenant("b"), "ann", Mint::Yes).await.unwrap().unwrap();
        assert!(elsewhere.id != all[0].id && elsewhere.pseudonym != all[0].pseudonym);

        let found = other.by_id(&acme, &[all[0].id, elsewhere.id]).await.unwrap();
        assert_eq!(found.iter().map(Subject::name).collect::<Vec<_>>(), ["ann"], "of this tenant alone");
    })
    .await;
}

#[tokio::test]
async fn many_are_found_in_the_order_in_which_they_were_asked_for() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let names: Vec<String> = (0..1_300).map(|n| format!("c{}", n % 1_200)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let minted = people.resolve_many(&acme, &names, Mint::Yes).await.unwrap();
        let other = people.another(&db.store).await.unwrap();
        let found = other.resolve_many(&acme, &names, Mint::No).await.unwrap();
        for ((name, minted), found) in names.iter().zip(&minted).zip(&found) {
            let (minted, found) = (minted.as_ref().unwrap(), found.as_ref().unwrap());
            assert_eq!((*name, minted.id), (found.name(), found.id));
        }
        let rows = repo::epochs::rows_by_epoch(&mut db.store.pool().acquire().await.unwrap()).await.unwrap();
        assert_eq!(rows, [(1, 1_200)]);
    })
    .await;
}

#[tokio::test]
async fn what_is_sealed_opens_for_the_same_person_place_and_row_only() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let ann = people.resolve(&acme, "ann", Mint::Yes).await.unwrap().unwrap();
        let bob = people.resolve(&acme, "bob", Mint::Yes).await.unwrap().unwrap();
        let sealed = ann.seal("engage_message.sealed", "1", b"likes tea");
        let again = people.another(&db.store).await.unwrap();
        let ann = again.resolve(&acme, "ann", Mint::No).await.unwrap().unwrap();
        assert_eq!(ann.open("engage_message.sealed", "1", &sealed).unwrap(), b"likes tea");
        for (who, place, row) in [
            (&bob, "engage_message.sealed", "1"),
            (&ann, "value_customer.sealed", "1"),
            (&ann, "engage_message.sealed", "2"),
        ] {
            assert_eq!(who.open(place, row, &sealed), Err(Unreadable::Damaged));
        }
        let nobody = people.of_tenant(&acme).await.unwrap();
        assert_eq!(nobody.id, again.of_tenant(&acme).await.unwrap().id);
        let destroyed = people.destroy(&acme, &[nobody.id], Cause::Retention, "").await.unwrap();
        assert_eq!((destroyed.gone.len(), destroyed.held), (0, vec![nobody.id]), "a tenant itself is never erased");
    })
    .await;
}

#[tokio::test]
async fn who_is_erased_is_nobody_and_comes_back_as_somebody_else() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let names = ["ann", "bob"];
        let known = people.resolve_many(&acme, &names, Mint::Yes).await.unwrap();
        let [ann, bob] = [0, 1].map(|place: usize| known[place].clone().unwrap());
        let destroyed = people.destroy(&acme, &[ann.id], Cause::Request, "r1").await.unwrap();
        assert_eq!(destroyed.gone, [ann.id]);
        assert!(people.resolve(&acme, "ann", Mint::No).await.unwrap().is_none(), "also from the cache");
        assert!(people.by_id(&acme, &[ann.id]).await.unwrap().is_empty());
        assert!(people.resolve(&acme, "bob", Mint::No).await.unwrap().is_some());
        let again = people.resolve(&acme, "ann", Mint::Yes).await.unwrap().unwrap();
        assert!(again.id != ann.id && again.pseudonym != ann.pseudonym);
        let nothing = people.destroy(&acme, &[ann.id], Cause::Request, "r1").await.unwrap();
        assert_eq!(nothing, crate::personal::Destroyed::default());

        let told = crate::outbox::pending(&db.store, "audit", 10).await.unwrap();
        assert_eq!(told.len(), 1, "once");
        assert!(told[0].event.payload.contains(&format!("subject/{}", ann.id)), "{told:?}");
        let register = std::fs::read_to_string(people.keys().join("erasures")).unwrap();
        assert_eq!(register.lines().count(), 2, "{register}");
        assert!(register.contains(&ann.id.to_string()) && !register.contains(&bob.id.to_string()));
    })
    .await;
}

#[tokio::test]
async fn a_database_that_was_put_back_forgets_again_whom_the_register_tells_of() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let ann = people.resolve(&acme, "ann", Mint::Yes).await.unwrap().unwrap();
        back_up(&db.store, &BACKED_UP).await;
        people.destroy(&acme, &[ann.id], Cause::Request, "").await.unwrap();
        put_back(&db.store, &BACKED_UP).await;
        assert_eq!(people.by_id(&acme, &[ann.id]).await.unwrap().len(), 1, "the backup has her");

        let again = people.another(&db.store).await.unwrap();
        assert!(again.by_id(&acme, &[ann.id]).await.unwrap().is_empty(), "before anything else is asked");
        assert_eq!(again.replay(&Stores::default()).await.unwrap(), [(acme.clone(), ann.id)]);
        assert_eq!(again.replay(&Stores::default()).await.unwrap(), []);
        let again = people.another(&db.store).await.unwrap();
        assert_eq!(again.replay(&Stores::default()).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn the_key_of_who_was_erased_is_in_no_file_of_the_database() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let names: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let known = people.resolve_many(&acme, &names, Mint::Yes).await.unwrap();
        let ids: Vec<_> = known.into_iter().map(|person| person.unwrap().id).collect();
        let rows = repo::by_id(&mut db.store.pool().acquire().await.unwrap(), &acme, &ids).await.unwrap();
        let holds = |wrapped: &[u8]| db.files().iter().any(|file| memchr::memmem::find(file, wrapped).is_some());
        if db.store.dialect() == crate::Dialect::Sqlite {
            assert!(rows.iter().all(|row| holds(&row.wrapped)), "the search finds what is there");
        }
        people.destroy(&acme, &ids, Cause::Request, "").await.unwrap();
        assert!(db.store.overwrite_deleted().await.unwrap());
        assert!(!rows.iter().any(|row| holds(&row.wrapped)));
    })
    .await;
}

#[tokio::test]
async fn whom_the_log_tells_of_is_erased_again_and_nobody_else() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let ann = people.resolve(&acme, "ann", Mint::Yes).await.unwrap().unwrap();
        let bob = people.resolve(&acme, "bob", Mint::Yes).await.unwrap().unwrap();
        people.destroy(&acme, &[bob.id], Cause::Request, "").await.unwrap();
        let stranger = SubjectId(uuid::Uuid::from_u128(7));
        let told = [ann.id, bob.id, stranger];
        assert_eq!(people.erase_again(&acme, &told, &Stores::default()).await.unwrap(), 1);
        assert_eq!(people.erase_again(&acme, &told, &Stores::default()).await.unwrap(), 0);
        assert!(people.resolve(&acme, "ann", Mint::No).await.unwrap().is_none());
        let entries = crate::outbox::pending(&db.store, "audit", 10).await.unwrap();
        assert_eq!(entries.len(), 2, "one for each who was there");
    })
    .await;
}

#[tokio::test]
async fn retention_spares_who_was_met_held_or_restricted_since_it_looked() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let names = ["gone", "met", "held", "restricted"];
        let known = people.resolve_many(&acme, &names, Mint::Yes).await.unwrap();
        let ids: Vec<_> = known.iter().flatten().map(|person| person.id).collect();
        people.advance_days(3);
        let since = people.today();
        // It is written within seconds, and no later than somebody is destroyed.
        people.resolve(&acme, "met", Mint::Yes).await.unwrap();
        people.restrict(&acme, &ids[3..], true).await.unwrap();
        let mut tx = db.store.begin().await.unwrap();
        let id = uuid::Uuid::from_u128(1);
        assert!(people.hold(&mut tx, known[2].as_ref().unwrap(), id, "a lawsuit", "officer").await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(people.destroy_unused(&acme, &ids, since).await.unwrap(), ids[..1]);
        assert_eq!(people.by_id(&acme, &ids).await.unwrap().len(), 3);
    })
    .await;
}

#[tokio::test]
async fn somebody_whose_row_is_damaged_keeps_nobody_from_being_read_and_can_be_erased() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let acme = tenant("acme");
        let known = people.resolve_many(&acme, &["ann", "bob"], Mint::Yes).await.unwrap();
        let ids: Vec<_> = known.iter().flatten().map(|person| person.id).collect();
        let mut tx = db.store.begin().await.unwrap();
        let id = uuid::Uuid::from_u128(1);
        assert!(people.hold(&mut tx, known[0].as_ref().unwrap(), id, "a lawsuit", "officer").await.unwrap());
        let damage = sqlx::query("UPDATE subject SET name = wrapped WHERE id = $1").bind(ids[0].to_string());
        damage.execute(tx.sql()).await.unwrap();
        tx.commit().await.unwrap();

        let found = people.by_id(&acme, &ids).await.unwrap();
        assert_eq!(found.iter().map(Subject::name).collect::<Vec<_>>(), ["bob"]);
        assert_eq!(people.holds(&acme, None, 10).await.unwrap()[0].matter, None, "the list of holds is read");
        assert_eq!(people.present(&acme, &ids).await.unwrap().len(), 2, "both are there");
        let mut tx = db.store.begin().await.unwrap();
        people.release(&mut tx, &acme, id, "officer").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(people.destroy(&acme, &ids[..1], Cause::Request, "").await.unwrap().gone, ids[..1]);
        assert_eq!(people.present(&acme, &ids).await.unwrap(), ids[1..]);
    })
    .await;
}
