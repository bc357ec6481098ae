//! Legal holds against deletion.

use std::sync::atomic::Ordering;

use kiki_store::testing::on_both;
use kiki_types::Bar;

use super::world::{World, officer, tenant};
use crate::subject::error::SubjectError;
use crate::subject::model::{Ground, Kind, State};

#[tokio::test]
async fn who_is_held_is_not_erased_until_the_hold_is_released() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let hold = world.requests.hold(&officer(), "ann", "Ann v. Acme").await.unwrap();
        let refused = world.ask("ann", Kind::Deletion).await;
        let seen = world.carry_out(refused).await;
        assert_eq!((seen.request.state, seen.request.ground), (State::Refused, Some(Ground::LegalHold)));
        assert_eq!((world.orders.held(person.id), world.notes.held(person.id)), (1, 1), "nothing was touched");
        assert!(world.letters().contains(&"Your request is refused".to_owned()));

        assert_eq!(world.requests.release(&officer(), hold.id).await.unwrap(), [refused.to_string()]);
        assert!(world.requests.release(&officer(), hold.id).await.is_err(), "once");
        let again = world.ask("ann", Kind::Deletion).await;
        assert_eq!(world.carry_out(again).await.request.state, State::Completed);
        assert!(world.people.by_id(&tenant(), &[person.id]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn whose_deletion_has_begun_cannot_be_held() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let id = world.ask("ann", Kind::Deletion).await;
        world.carry_out(id).await;
        let held = world.requests.hold(&officer(), "ann", "too late").await;
        assert!(matches!(held, Err(SubjectError::Erasing)));
        world.orders.fails.store(false, Ordering::SeqCst);
        world.requests.retry(&officer(), id, false).await.unwrap();
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed, "the hold left nothing behind");
        let kinds: Vec<_> = world.entries().await.into_iter().map(|(kind, _)| kind).collect();
        assert!(!kinds.contains(&"hold.place".to_owned()) && kinds.contains(&"dsr.retry".to_owned()), "{kinds:?}");
    })
    .await;
}

#[tokio::test]
async fn who_is_held_at_the_last_moment_keeps_what_stands_against_the_use_of_their_data() {
    on_both(async |db| {
        let world = World::new(db).await;
        for (name, is_restricted) in [("ann", true), ("bea", false)] {
            let person = world.person(name).await;
            let mut rights = vec![Kind::Objection, Kind::OptOut];
            rights.extend(is_restricted.then_some(Kind::Restriction));
            for right in rights {
                let id = world.ask(name, right).await;
                world.write().await;
                // Nobody vouches for an opt-out.
                let _ = world.requests.vouch(&officer(), id).await;
                world.work().await;
                assert_eq!(world.state(id).await, State::Completed, "{right}");
            }
            let before = world.requests.shield().bars(&person).await.unwrap();
            world.orders.fails.store(true, Ordering::SeqCst);
            let id = world.ask(name, Kind::Deletion).await;
            world.carry_out(id).await;
            // By nobody who asks whether a deletion has begun.
            let mut tx = world.requests.store().begin().await.unwrap();
            let hold = world.requests.shield().0.ids.uuid();
            assert!(world.people.hold(&mut tx, &person, hold, "late", "x").await.unwrap());
            tx.commit().await.unwrap();
            world.orders.fails.store(false, Ordering::SeqCst);
            let destroyed = world.requests.destroy_key(&officer(), id, false).await;
            assert!(destroyed.is_err());
            world.requests.retry(&officer(), id, false).await.unwrap();
            world.work().await;
            assert_eq!(world.see(id).await.request.ground, Some(Ground::LegalHold));
            assert_eq!(world.requests.shield().bars(&person).await.unwrap(), before, "{name}");
            assert_eq!(before.contains(&Bar::Restricted), is_restricted);
        }
    })
    .await;
}
