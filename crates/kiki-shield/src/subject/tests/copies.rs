//! Copies that a deletion of the same person waits for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kiki_store::testing::on_both;
use kiki_types::id::SubjectRequestId;

use super::world::{DAY, World, officer, wanted};
use crate::subject::error::SubjectError;
use crate::subject::model::{Awaits, Delay, Kind, Outcome, State};
use crate::subject::service::NewRequest;

/// Longer than a deletion that waits for a copy goes without looking.
const A_WHILE: Duration = Duration::from_secs(3_600);

/// A deletion and an access of `name`, both proven.
async fn both(world: &World, name: &str) -> (SubjectRequestId, SubjectRequestId) {
    let both = [Kind::Deletion, Kind::Access].map(|kind| NewRequest { notify: true, ..wanted(name, kind) });
    let made = world.requests.create(&officer(), both.into()).await.unwrap();
    let (deletion, access) = (made[0].id, made[1].id);
    world.write().await;
    for id in [deletion, access] {
        world.requests.vouch(&officer(), id).await.unwrap();
    }
    world.work().await;
    world.write().await;
    (deletion, access)
}

async fn outcome(world: &World, id: SubjectRequestId) -> Option<Outcome> {
    world.see(id).await.request.outcome
}

#[tokio::test]
async fn who_asked_for_a_copy_as_well_is_erased_once_it_was_fetched() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let unproven = world.ask("ann", Kind::Portability).await;
        let (deletion, access) = both(&world, "ann").await;
        assert_eq!(outcome(&world, access).await, Some(Outcome::Whole));
        let said = world.post.taken.lock().unwrap().last().unwrap().body.clone();
        assert!(said.contains("once they were fetched, or on 2026-03-05"), "{said}");
        world.clock.advance(DAY);
        world.work().await;
        let waits = world.see(deletion).await;
        assert_eq!((waits.request.state, waits.awaits), (State::InProgress, Some(Awaits::Copy)));
        assert_eq!(world.orders.held(person.id), 1, "nothing is touched");

        world.requests.download(&officer(), access).await.unwrap();
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole), "at once");
        let again = world.requests.download(&officer(), access).await;
        assert!(matches!(again, Err(SubjectError::Erased | SubjectError::Shield(_))), "the copy went with the person");
        assert_eq!(world.state(unproven).await, State::IdentityCheck, "who proves nothing holds nothing up");
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_nobody_fetches_is_waited_for_until_the_last_day_begins_and_no_longer() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let (deletion, _) = both(&world, "ann").await;
        let due = world.see(deletion).await.request.due();
        let last_day = u64::try_from(due.0 - 86_400_000 - world.requests.now().0).unwrap();
        world.clock.advance(Duration::from_millis(last_day - 1));
        world.work().await;
        assert_eq!(world.see(deletion).await.awaits, Some(Awaits::Copy));
        world.clock.advance(A_WHILE);
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole));
        assert!(world.requests.now() < due, "in time");
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_is_kept_no_more_is_not_waited_for() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let (deletion, access) = both(&world, "ann").await;
        world.requests.extend(&officer(), deletion, Delay::Complexity).await.unwrap();
        world.clock.advance(29 * DAY);
        world.work().await;
        assert_eq!(world.see(deletion).await.awaits, Some(Awaits::Copy));
        world.clock.advance(DAY);
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole));
        assert!(world.requests.download(&officer(), access).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_a_store_holds_up_is_waited_for_as_long_and_one_of_nothing_not_at_all() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let (deletion, access) = both(&world, "ann").await;
        assert_eq!((outcome(&world, access).await, outcome(&world, deletion).await), (None, None));
        world.orders.fails.store(false, Ordering::SeqCst);
        // The copy is tried later than the time of the deletion ends.
        world.clock.advance(31 * DAY);
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole));
        assert_eq!(outcome(&world, access).await, Some(Outcome::NothingHeld));

        let (deletion, access) = both(&world, "nobody").await;
        world.clock.advance(A_WHILE);
        world.work().await;
        assert_eq!(outcome(&world, access).await, Some(Outcome::NothingHeld));
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::NothingHeld));
    })
    .await;
}
