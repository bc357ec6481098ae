//! Legal holds against deletion.

use std::sync::atomic::Ordering;

use kiki_store::testing::on_both;

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
        world.requests.retry(&officer(), id).await.unwrap();
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed, "the hold left nothing behind");
        let kinds: Vec<_> = world.entries().await.into_iter().map(|(kind, _)| kind).collect();
        assert!(!kinds.contains(&"hold.place".to_owned()) && kinds.contains(&"dsr.retry".to_owned()), "{kinds:?}");
    })
    .await;
}
