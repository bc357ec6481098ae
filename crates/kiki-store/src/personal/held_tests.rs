use kiki_kit::clock::Clock as _;
use kiki_types::IdSource as _;

use super::*;
use crate::personal::{Cause, Mint};
use crate::testing::{People as TestPeople, RandomIds, on_both};

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn cutoffs(audit: i64) -> Cutoffs {
    let never = UnixMillis(0);
    Cutoffs { now: never, sessions: never, marketing: never, customers: never, audit: UnixMillis(audit) }
}

#[tokio::test]
async fn a_person_is_told_who_they_are_here_and_since_when() {
    on_both(async |db| {
        let people = TestPeople::of(&db.store).await;
        let store = People { store: db.store.clone(), subjects: (*people).clone() };
        let ann = people.resolve(&acme(), "ann", Mint::Yes).await.unwrap().unwrap();
        let documents = store.export(&ann).await.unwrap();
        let row = &documents[0].rows[0];
        assert_eq!((&row["customer_id"], &row["restricted"]), (&json!("ann"), &json!(false)));
        assert_eq!(row["known_since"], people.clock.now().rfc3339()[..10]);

        store.restrict(&ann, true).await.unwrap();
        let ann = people.resolve(&acme(), "ann", Mint::No).await.unwrap().unwrap();
        assert!(ann.restricted);
        assert_eq!(store.export(&ann).await.unwrap()[0].rows[0]["restricted"], json!(true));
        people.destroy(&acme(), &[ann.id], Cause::Request, "").await.unwrap();
        assert_eq!(store.export(&ann).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_person_is_told_that_they_are_held_since_when_and_why_but_not_by_which_matter() {
    on_both(async |db| {
        let people = TestPeople::of(&db.store).await;
        let store = People { store: db.store.clone(), subjects: (*people).clone() };
        let ann = people.resolve(&acme(), "ann", Mint::Yes).await.unwrap().unwrap();
        let bob = people.resolve(&acme(), "bob", Mint::Yes).await.unwrap().unwrap();
        let (id, by) = (RandomIds.uuid(), "officer");
        let mut tx = db.store.begin().await.unwrap();
        people.hold(&mut tx, &ann, id, "Ann v. Acme", by).await.unwrap();
        tx.commit().await.unwrap();
        let told = store.export(&ann).await.unwrap().remove(1);
        let row = &told.rows[0];
        assert_eq!((told.name.as_str(), told.provided, told.rows.len()), ("holds", false, 1));
        let now = people.clock.now().rfc3339();
        assert_eq!((&row["held_since"], &row["held_until"]), (&json!(now), &json!(null)));
        assert!(row["ground"].as_str().unwrap().contains("may not be erased"), "{row:?}");
        assert!(!format!("{row:?}").contains("Acme"), "{row:?}");
        assert_eq!(store.export(&bob).await.unwrap().len(), 1, "somebody else is not held");

        let mut tx = db.store.begin().await.unwrap();
        people.release(&mut tx, &acme(), id, by).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.export(&ann).await.unwrap()[1].rows[0]["held_until"], json!(now));
    })
    .await;
}

#[tokio::test]
async fn that_somebody_was_erased_is_forgotten_after_its_time_but_for_the_newest() {
    on_both(async |db| {
        let people = TestPeople::of(&db.store).await;
        let store = People { store: db.store.clone(), subjects: (*people).clone() };
        for name in ["a", "b", "c", "d"] {
            let one = people.resolve(&acme(), name, Mint::Yes).await.unwrap().unwrap();
            people.destroy(&acme(), &[one.id], Cause::Request, "").await.unwrap();
        }
        let expire = async |tenant: &TenantId, before: i64, limit, dry| {
            store.expire(tenant, &cutoffs(before), limit, dry).await.unwrap().rows
        };
        assert_eq!(expire(&acme(), 0, 10, true).await, 0);
        assert_eq!(expire(&"globex".parse().unwrap(), i64::MAX, 10, true).await, 0);
        for (dry, rows) in [(true, 3), (false, 2), (true, 1), (false, 1), (false, 0)] {
            assert_eq!(expire(&acme(), i64::MAX, 2, dry).await, rows);
        }
    })
    .await;
}
