//! Stores and providers that fail, and what happens afterwards.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiki_store::idempotency::LEASE_MS;
use kiki_store::personal::{Cause, Mint};
use kiki_store::testing::{RandomIds, on_both};

use super::world::{World, officer, tenant, wanted};
use crate::mail::{self, Letter};
use crate::once::Turn;
use crate::subject::error::SubjectError;
use crate::subject::model::{Ground, Kind, Outcome, State};
use crate::subject::repo::{self, work};
use crate::subject::service::NewRequest;
use crate::subject::wave::Wave;

const LATER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_store_that_fails_is_named_and_asked_again_alone() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let id = world.ask("ann", Kind::Deletion).await;
        let seen = world.carry_out(id).await;
        assert_eq!(seen.request.state, State::InProgress);
        let failed: Vec<_> = seen.tasks.iter().filter(|task| !task.is_done).collect();
        assert_eq!((failed.len(), failed[0].store.as_str(), failed[0].error.as_str()), (1, "orders", "unavailable"));
        assert_eq!((world.orders.held(person.id), world.notes.held(person.id)), (1, 0), "the other went on");
        assert_eq!(world.people.by_id(&tenant(), &[person.id]).await.unwrap().len(), 1, "the key stays until all did");
        world.work().await;
        assert_eq!(world.see(id).await.tasks.iter().map(|task| task.attempts).max(), Some(1), "not at once");

        world.orders.fails.store(false, Ordering::SeqCst);
        world.requests.retry(&officer(), id, false).await.unwrap();
        world.work().await;
        let seen = world.see(id).await;
        assert_eq!((seen.request.state, seen.request.outcome), (State::Completed, Some(Outcome::Whole)));
        assert_eq!(world.notes.erased.load(Ordering::SeqCst), 1, "what was done is not done again");
    })
    .await;
}

#[tokio::test]
async fn what_has_begun_to_stand_against_somebody_is_not_refused_but_carried_out_and_lifted() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let id = world.ask("ann", Kind::Restriction).await;
        assert_eq!(world.carry_out(id).await.request.state, State::InProgress);
        let refused = world.requests.refuse(&officer(), id, Ground::Excessive).await;
        assert!(matches!(refused, Err(SubjectError::Running)), "the bar stands already");
        world.orders.fails.store(false, Ordering::SeqCst);
        world.requests.retry(&officer(), id, false).await.unwrap();
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed);
        world.requests.lift(&officer(), id).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_wave_of_another_worker_is_taken_over_when_its_time_is_over() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let id = world.ask("ann", Kind::Deletion).await;
        world.requests.vouch(&officer(), id).await.unwrap();
        let (now, limit) = (world.requests.now(), |_| 500);
        let claimed = work::claim(&db.store, "dead", now, now.plus(30_000), limit).await.unwrap();
        assert_eq!(claimed.len(), 1);
        assert!(!world.requests.next_wave("one").await.unwrap(), "it is held");
        world.clock.advance(Duration::from_secs(31));
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed);
        let mut tx = db.store.begin().await.unwrap();
        let late = work::Change::Later(now);
        let written = work::change(&mut tx, "dead", &[&claimed[0]], &late).await.unwrap();
        assert!(!written, "who comes late changes nothing");
    })
    .await;
}

#[tokio::test]
async fn a_key_is_destroyed_before_every_store_has_answered_when_an_officer_says_so() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        let id = world.ask("ann", Kind::Deletion).await;
        world.carry_out(id).await;
        world.requests.destroy_key(&officer(), id, false).await.unwrap();
        assert!(world.entries().await.contains(&("dsr.destroy_key".to_owned(), String::new())), "the log is told");
        assert!(world.people.by_id(&tenant(), &[person.id]).await.unwrap().is_empty(), "unreadable at once");
        assert_eq!(world.orders.held(person.id), 1);
        world.orders.fails.store(false, Ordering::SeqCst);
        world.clock.advance(LATER);
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed);
        assert_eq!(world.orders.held(person.id), 0, "its rows go by handle");
    })
    .await;
}

#[tokio::test]
async fn a_key_is_kept_for_a_service_that_must_be_told_the_name_until_an_officer_erases_there_by_hand() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        world.orders.fails.store(true, Ordering::SeqCst);
        world.orders.is_apart.store(true, Ordering::SeqCst);
        let id = world.ask("ann", Kind::Deletion).await;
        world.carry_out(id).await;
        let refused = world.requests.destroy_key(&officer(), id, false).await;
        assert!(matches!(refused, Err(SubjectError::NeedName(stores)) if stores == ["orders"]));
        assert_eq!(world.people.by_id(&tenant(), &[person.id]).await.unwrap().len(), 1, "its key is kept");

        world.requests.destroy_key(&officer(), id, true).await.unwrap();
        assert!(world.entries().await.contains(&("dsr.destroy_key".to_owned(), "by_hand".to_owned())));
        world.clock.advance(LATER);
        world.work().await;
        let seen = world.see(id).await;
        assert_eq!((seen.request.state, seen.request.outcome), (State::Completed, Some(Outcome::Part)));
        let task = seen.tasks.iter().find(|task| task.store == "orders").unwrap();
        assert_eq!((task.is_done, task.error.as_str()), (true, "by_hand"));
    })
    .await;
}

#[tokio::test]
async fn who_has_no_name_any_more_holds_up_nobody_else_and_is_done_where_an_earlier_request_was() {
    on_both(async |db| {
        let world = World::new(db).await;
        let people = [world.person("ann").await, world.person("bob").await, world.person("cem").await];
        world.orders.is_apart.store(true, Ordering::SeqCst);
        let first = world.ask("cem", Kind::Deletion).await;
        let ids = [world.ask("ann", Kind::Deletion).await, world.ask("bob", Kind::Deletion).await];
        let second = world.ask("cem", Kind::Deletion).await;
        assert_eq!(world.carry_out(first).await.request.state, State::Completed);
        world.people.destroy(&tenant(), &[people[0].id], Cause::Request, "").await.unwrap();
        world.orders.unnamed.lock().unwrap().extend([people[0].id, people[2].id]);
        for id in ids.into_iter().chain([second]) {
            world.requests.vouch(&officer(), id).await.unwrap();
        }
        world.work().await;
        let ann = world.see(ids[0]).await;
        let failed: Vec<_> = ann.tasks.iter().filter(|task| !task.is_done).map(|task| task.error.as_str()).collect();
        assert_eq!((ann.request.state, failed), (State::InProgress, vec!["unnamed"]));
        assert_eq!((world.state(ids[1]).await, world.orders.held(people[1].id)), (State::Completed, 0));
        assert_eq!(world.state(second).await, State::Completed);
    })
    .await;
}

#[tokio::test]
async fn who_is_erased_while_their_objection_is_carried_out_does_not_become_known_again() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let id = world.ask("ann", Kind::Objection).await;
        world.requests.vouch(&officer(), id).await.unwrap();
        let now = world.requests.now();
        let requests = work::claim(&db.store, "one", now, now.plus(30_000), |_| 500).await.unwrap();
        let people = world.requests.people(&tenant(), &requests).await.unwrap();
        let wave = Wave {
            worker: "one",
            stores: world.requests.stores().unwrap(),
            tenant: tenant(),
            caller: officer(),
            requests,
            people,
            done: HashSet::new(),
            attempts: 0,
        };
        world.people.destroy(&tenant(), &[person.id], Cause::Request, "").await.unwrap();
        world.requests.object(&wave).await.unwrap();
        assert!(world.people.resolve(&tenant(), "ann", Mint::No).await.unwrap().is_none(), "she stays erased");
        world.clock.advance(LATER);
        world.work().await;
        let seen = world.see(id).await;
        assert_eq!((seen.request.state, seen.request.outcome), (State::Completed, Some(Outcome::NothingHeld)));
    })
    .await;
}

#[tokio::test]
async fn a_request_whose_person_is_gone_already_goes_on_by_handle() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let ids = [world.ask("ann", Kind::Deletion).await, world.ask("ann", Kind::Access).await];
        for id in ids {
            world.requests.vouch(&officer(), id).await.unwrap();
        }
        // As after a restored backup, when the register was replayed.
        world.people.destroy(&tenant(), &[person.id], Cause::Request, "").await.unwrap();
        world.work().await;
        assert_eq!(world.state(ids[0]).await, State::Completed);
        let copy = world.see(ids[1]).await.request;
        assert_eq!((copy.state, copy.ground), (State::Refused, Some(Ground::Erased)), "something was held");
        assert_eq!(world.orders.held(person.id), 0);

        let (bea, alone) = (world.person("bea").await, world.ask("bea", Kind::Access).await);
        world.requests.vouch(&officer(), alone).await.unwrap();
        world.people.destroy(&tenant(), &[bea.id], Cause::Request, "").await.unwrap();
        world.work().await;
        assert_eq!(world.see(alone).await.request.ground, Some(Ground::Erased), "with no deletion here");
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_is_away_holds_nothing_up_but_the_last_letter_to_who_is_erased() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        world.post.is_away.store(true, Ordering::SeqCst);
        let id = world.ask("ann", Kind::Deletion).await;
        let seen = world.carry_out(id).await;
        assert_eq!((seen.request.acknowledged_at.0, seen.request.state), (0, State::InProgress));
        assert_eq!(world.orders.held(person.id), 0, "the stores did their part");
        world.post.is_away.store(false, Ordering::SeqCst);
        world.clock.advance(LATER);
        world.write().await;
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed);
        assert_eq!(world.letters(), ["We received your request", "Your request is completed"]);
    })
    .await;
}

#[tokio::test]
async fn a_letter_that_is_rejected_is_given_up_and_the_request_says_so() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.post.rejects.store(true, Ordering::SeqCst);
        let id = world.ask("ann", Kind::Access).await;
        world.write().await;
        let seen = world.see(id).await;
        assert_eq!(seen.request.state, State::Received, "nobody was told");
        assert!(seen.tasks.iter().any(|task| task.store == "mail" && task.error == "rejected"));
        world.post.rejects.store(false, Ordering::SeqCst);
        let other = world.ask("bob", Kind::Access).await;
        world.write().await;
        assert_eq!(world.state(other).await, State::IdentityCheck, "it held up nobody");
    })
    .await;
}

#[tokio::test]
async fn one_sender_sends_at_a_time() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.ask("ann", Kind::Access).await;
        let (mut one, mut other) = Default::default();
        assert_eq!(world.requests.next_letters("one", &mut one).await.unwrap(), 1);
        world.ask_with(NewRequest { notify: true, ..wanted("bob", Kind::Access) }).await;
        assert_eq!(world.requests.next_letters("other", &mut other).await.unwrap(), 0);
        world.clock.advance(Duration::from_secs(61));
        assert_eq!(world.requests.next_letters("other", &mut other).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn somebody_whose_row_is_damaged_is_told_nothing_and_is_erased_unless_held() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let asked = world.ask("ann", Kind::Restriction).await;
        let hold = world.requests.hold(&officer(), "ann", "a lawsuit").await.unwrap();
        let (held, erased) = (world.ask("ann", Kind::Deletion).await, world.ask("ann", Kind::Deletion).await);
        repo::tests::damage_everybody(&db.store).await;
        let seen = world.carry_out(asked).await;
        assert_eq!((seen.request.state, seen.tasks[0].error.as_str()), (State::InProgress, "unreadable"));
        assert_eq!(world.carry_out(held).await.request.state, State::Refused);
        assert_eq!(world.notes.held(person.id), 1, "nothing was touched");
        world.requests.release(&officer(), hold.id).await.unwrap();
        assert_eq!(world.carry_out(erased).await.request.state, State::Completed);
        assert_eq!(world.notes.held(person.id), 0);
        assert!(world.people.present(&tenant(), &[person.id]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_request_that_a_clock_put_off_for_years_is_due() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let id = world.ask("ann", Kind::Deletion).await;
        world.requests.vouch(&officer(), id).await.unwrap();
        let far = world.requests.now().plus(365 * 86_400_000);
        let (now, limit) = (world.requests.now(), |_| 500);
        work::claim(&db.store, "dead", now, far, limit).await.unwrap();
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed);
    })
    .await;
}

/// The process ends after the people became known, and before their requests were kept.
#[tokio::test]
async fn a_try_that_failed_makes_nobody_known() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("bob").await;
        let shield = world.requests.shield();
        let claim = async || {
            let key = shield.key(&tenant(), "x", Some("k"), &"a body").unwrap();
            match shield.turn(key).await.unwrap() {
                Turn::Mine(claim) => claim,
                _ => panic!("it was taken"),
            }
        };
        world.requests.acquaint(&tenant(), &["ann", "bob"], &claim().await).await.unwrap();
        world.clock.advance(Duration::from_millis(LEASE_MS as u64));
        let both = ["ann", "bob"].map(|name| wanted(name, Kind::Access)).into();
        let made = world.requests.take_in(&officer(), both, &claim().await).await.unwrap();
        let mut outcomes = Vec::new();
        for request in made {
            outcomes.push(world.carry_out(request.id).await.request.outcome);
        }
        assert_eq!(outcomes, [Some(Outcome::NothingHeld), Some(Outcome::Whole)]);
    })
    .await;
}

#[tokio::test]
async fn letters_that_wait_for_their_next_try_hide_none_behind_them() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let (bea, request) = (world.person("bea").await, world.ask("ann", Kind::Access).await);
        let mut tx = world.requests.store().begin().await.unwrap();
        for _ in 0..500 {
            let letter = Letter::Acknowledgement { request };
            mail::publish(&mut tx, &RandomIds, &tenant(), world.requests.now(), letter).unwrap();
        }
        tx.commit().await.unwrap();
        world.post.is_away.store(true, Ordering::SeqCst);
        world.write().await;
        world.post.is_away.store(false, Ordering::SeqCst);
        world.ask("bea", Kind::Access).await;
        world.write().await;
        let taken = world.post.taken.lock().unwrap();
        assert!(taken.iter().any(|message| message.who.id == bea.id));
    })
    .await;
}
