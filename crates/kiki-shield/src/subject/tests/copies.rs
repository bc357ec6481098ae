//! Copies that a deletion of the same person waits for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use kiki_store::personal::Subject;
use kiki_store::testing::on_both;
use kiki_types::Bar;
use kiki_types::id::SubjectRequestId;

use super::world::{DAY, World, officer, tenant, wanted};
use crate::subject::error::SubjectError;
use crate::subject::model::{Awaits, Delay, Ground, Kind, Outcome, State};
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
async fn who_asked_for_a_copy_as_well_is_erased_a_day_after_it_was_fetched() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let unproven = world.ask("ann", Kind::Portability).await;
        let (deletion, access) = both(&world, "ann").await;
        assert_eq!(outcome(&world, access).await, Some(Outcome::Whole));
        let said = world.post.taken.lock().unwrap().last().unwrap().body.clone();
        assert!(said.contains("a day after they were fetched first, or on 2026-03-05"), "{said}");
        world.clock.advance(DAY);
        world.work().await;
        let waits = world.see(deletion).await;
        assert_eq!((waits.request.state, waits.awaits), (State::InProgress, Some(Awaits::Copy)));
        assert_eq!(world.orders.held(person.id), 1, "nothing is touched");

        let first = world.requests.download(&officer(), access).await.unwrap();
        world.clock.advance(DAY - A_WHILE);
        world.work().await;
        assert_eq!(world.see(deletion).await.awaits, Some(Awaits::Copy), "it may have been broken off");
        assert_eq!(world.requests.download(&officer(), access).await.unwrap(), first);
        world.clock.advance(A_WHILE);
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole), "a day after the first time, not the last");
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
        let person = world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let (deletion, access) = both(&world, "ann").await;
        assert_eq!((outcome(&world, access).await, outcome(&world, deletion).await), (None, None));
        world.orders.fails.store(false, Ordering::SeqCst);
        // The copy is tried later than the time of the deletion ends.
        world.clock.advance(31 * DAY);
        world.post.taken.lock().unwrap().clear();
        world.post.is_away.store(true, Ordering::SeqCst);
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, None, "nobody is erased before they are told");
        assert_eq!(world.orders.held(person.id), 1);
        world.post.is_away.store(false, Ordering::SeqCst);
        world.clock.advance(A_WHILE);
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole));
        let refused = world.see(access).await.request;
        assert_eq!((refused.state, refused.ground, refused.outcome), (State::Refused, Some(Ground::Erased), None));
        assert_eq!(world.letters(), ["Your request is refused", "Your request is completed"]);

        let (deletion, access) = both(&world, "nobody").await;
        world.clock.advance(A_WHILE);
        world.work().await;
        assert_eq!(outcome(&world, access).await, Some(Outcome::NothingHeld));
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::NothingHeld));
    })
    .await;
}

/// Whether `person` is restricted where decisions are made, and where stores look.
async fn restricted(world: &World, person: &Subject) -> (bool, Option<bool>) {
    let bars = world.requests.shield().bars(person).await.unwrap();
    (bars.contains(&Bar::Restricted), world.orders.restricted.lock().unwrap().get(&person.id).copied())
}

#[tokio::test]
async fn who_waits_for_a_copy_is_restricted_until_the_deletion_is_refused() {
    on_both(async |db| {
        let world = World::new(db).await;
        for (name, was_restricted) in [("ann", false), ("bea", true)] {
            let person = world.person(name).await;
            if was_restricted {
                let restriction = world.ask(name, Kind::Restriction).await;
                world.carry_out(restriction).await;
            }
            let (deletion, _) = both(&world, name).await;
            assert_eq!(restricted(&world, &person).await, (true, Some(true)), "{name}");
            world.requests.refuse(&officer(), deletion, Ground::LegalClaims).await.unwrap();
            assert_eq!(restricted(&world, &person).await, (was_restricted, Some(was_restricted)), "{name}");

            let (deletion, _) = both(&world, name).await;
            world.requests.hold(&officer(), name, "A v. B").await.unwrap();
            world.clock.advance(A_WHILE);
            world.work().await;
            assert_eq!(world.state(deletion).await, State::Refused);
            assert_eq!(restricted(&world, &person).await, (was_restricted, Some(was_restricted)), "{name} held");
        }
    })
    .await;
}

#[tokio::test]
async fn an_officer_lets_a_deletion_go_on_without_the_copy_and_the_log_hears_of_it() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let (deletion, access) = both(&world, "ann").await;
        let refused = world.requests.retry(&officer(), access, true).await;
        assert!(matches!(refused, Err(SubjectError::State(_) | SubjectError::WrongType(_))));
        world.requests.retry(&officer(), deletion, false).await.unwrap();
        world.work().await;
        assert_eq!(world.see(deletion).await.awaits, Some(Awaits::Copy), "another try is no waiver");
        world.requests.retry(&officer(), deletion, true).await.unwrap();
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole));
        assert!(world.entries().await.contains(&("dsr.retry".to_owned(), "without_copy".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_can_be_made_on_the_last_day_is_made_first_and_may_be_fetched_for_half_of_it() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let (deletion, access) = both(&world, "ann").await;
        world.orders.fails.store(false, Ordering::SeqCst);
        let due = world.see(deletion).await.request.due();
        let last_day = u64::try_from(due.0 - 86_400_000 - world.requests.now().0).unwrap();
        world.clock.advance(Duration::from_millis(last_day) + A_WHILE);
        world.work().await;
        assert_eq!(outcome(&world, access).await, Some(Outcome::Whole));
        assert_eq!(world.see(deletion).await.awaits, Some(Awaits::Copy));
        world.requests.download(&officer(), access).await.unwrap();
        world.clock.advance(DAY / 2);
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole));
        assert!(world.requests.now() < due, "in time");
    })
    .await;
}

/// A deletion that waits is nobody's while the person is restricted.
#[tokio::test]
async fn a_deletion_that_is_refused_while_the_person_is_restricted_leaves_no_restriction() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let (deletion, _) = both(&world, "ann").await;
        let requests = world.requests.clone();
        let refuse = async move { drop(requests.refuse(&officer(), deletion, Ground::LegalClaims).await.unwrap()) };
        *world.orders.meanwhile.lock().unwrap() = Some(refuse.boxed());
        world.clock.advance(A_WHILE);
        world.work().await;
        assert_eq!(world.state(deletion).await, State::Refused);
        assert_eq!(restricted(&world, &person).await, (false, Some(false)));
    })
    .await;
}

#[tokio::test]
async fn who_was_erased_while_their_deletion_waited_is_restricted_no_more() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let (deletion, _) = both(&world, "ann").await;
        let waiting = world.see(deletion).await.request;
        world.requests.retry(&officer(), deletion, true).await.unwrap();
        world.work().await;
        assert_eq!(outcome(&world, deletion).await, Some(Outcome::Whole));
        // By another worker, which put it off before.
        world.requests.restrict_meanwhile(&officer(), &[(&waiting, &person)]).await.unwrap();
        assert!(world.requests.shield().bars(&person).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_keeps_neither_the_governor_nor_another_from_hearing_of_a_restriction() {
    on_both(async |db| {
        let world = World::new(db).await;
        let names: Vec<_> = (0..70).map(|number| format!("c{number}")).collect();
        let all = names.iter().map(|name| wanted(name, Kind::Deletion)).collect();
        let made = world.requests.create(&officer(), all).await.unwrap();
        let ids: Vec<_> = made.iter().map(|request| request.id).collect();
        world.requests.vouch_for_all(&officer(), &ids).await.unwrap();
        let people = world.requests.people(&tenant(), &made).await.unwrap();
        let waiting: Vec<_> = made.iter().map(|request| (request, &people[&request.subject])).collect();
        world.orders.fails.store(true, Ordering::SeqCst);
        let told = world.requests.restrict_meanwhile(&officer(), &waiting).await;
        assert!(told.is_err(), "one store was not told");
        for (_, person) in waiting {
            assert!(world.requests.shield().bars(person).await.unwrap().contains(&Bar::Restricted));
            assert_eq!(world.notes.restricted.lock().unwrap().get(&person.id), Some(&true));
        }
        let refused = world.requests.refuse(&officer(), ids[0], Ground::LegalClaims).await;
        assert!(refused.is_err(), "the store that is away still restricts");
        let restricted = world.notes.restricted.lock().unwrap()[&made[0].subject];
        assert!(!restricted);
    })
    .await;
}

#[tokio::test]
async fn a_copy_that_waits_for_its_next_try_is_not_asked_for_before_it() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let (deletion, access) = both(&world, "ann").await;
        for _ in 0..3 {
            world.clock.advance(Duration::from_secs(3));
            world.work().await;
        }
        let (waits, tried) = (world.see(deletion).await.request.next_at, world.see(access).await.request.next_at);
        assert!(waits >= tried, "{waits} {tried}");
        world.orders.fails.store(false, Ordering::SeqCst);
        world.clock.advance(A_WHILE);
        world.work().await;
        assert_eq!(world.see(deletion).await.awaits, Some(Awaits::Copy));
    })
    .await;
}
