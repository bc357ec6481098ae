//! Corrections: by the stores, and at the source of what they compute.

use std::sync::atomic::Ordering;

use kiki_store::personal::{Cause, PersonalStore as _};
use kiki_store::testing::on_both;
use kiki_types::id::SubjectRequestId;
use serde_json::json;

use super::world::{DAY, World, officer, tenant, wanted};
use crate::subject::RequestStore;
use crate::subject::error::SubjectError;
use crate::subject::model::{Awaits, Delay, Ground, Impossible, Kind, Outcome, State};
use crate::subject::repo;
use crate::subject::service::NewRequest;

const NOTE: &str = "the order log of March, by the shop";

impl World {
    async fn ask_to_rectify(&self, name: &str) -> SubjectRequestId {
        let correction = json!({"city": "Cologne"}).as_object().cloned();
        self.ask_with(NewRequest { correction, notify: true, ..wanted(name, Kind::Rectification) }).await
    }

    /// A rectification of which some is computed.
    async fn awaiting(&self, name: &str) -> SubjectRequestId {
        self.person(name).await;
        self.notes.derives.store(true, Ordering::SeqCst);
        let id = self.ask_to_rectify(name).await;
        self.carry_out(id).await;
        assert_eq!(self.see(id).await.awaits, Some(Awaits::Source));
        id
    }

    async fn correct(&self, id: SubjectRequestId) -> Result<repo::Request, SubjectError> {
        self.requests.corrected(&officer(), id, NOTE.to_owned()).await
    }
}

#[tokio::test]
async fn a_correction_reaches_every_store_that_holds_what_it_names() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let id = world.ask_to_rectify("ann").await;
        let seen = world.carry_out(id).await;
        assert_eq!(seen.request.outcome, Some(Outcome::Whole), "no source is waited for where none was computed");
        assert_eq!(world.orders.rows.lock().unwrap()[&person.id][0]["city"], "Cologne");
        let without = world.requests.create(&officer(), vec![wanted("ann", Kind::Rectification)]).await;
        assert!(matches!(without, Err(SubjectError::Shield(_))), "a correction says what is right");
    })
    .await;
}

#[tokio::test]
async fn what_is_computed_waits_until_an_officer_says_that_its_source_was_corrected() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.awaiting("ann").await;
        let seen = world.see(id).await;
        assert_eq!((seen.request.state, seen.request.outcome), (State::InProgress, None));
        world.clock.advance(DAY);
        assert!(!world.requests.next_wave("one").await.unwrap(), "the program has nothing to do");
        assert_eq!(world.letters(), ["We received your request"], "nobody is told that anything was put right");

        for wrong in ["", "  ", &"x".repeat(4_097)] {
            let answer = world.requests.corrected(&officer(), id, wrong.to_owned()).await;
            assert!(matches!(answer, Err(SubjectError::Shield(_))), "{wrong}");
        }
        let corrected = world.correct(id).await.unwrap();
        assert_eq!((corrected.state, corrected.outcome), (State::Completed, Some(Outcome::Whole)));
        assert!(matches!(world.correct(id).await, Err(SubjectError::State(Impossible(State::Completed)))), "once");
        world.write().await;
        let said = world.post.taken.lock().unwrap().last().unwrap().body.clone();
        assert!(said.contains("Your data are put right; what is computed from them changes"), "{said}");
        let told: Vec<_> = world.entries().await.into_iter().map(|(kind, _)| kind).collect();
        assert!(told.ends_with(&["dsr.corrected".to_owned(), "dsr.complete".to_owned()]), "{told:?}");

        let seen = world.see(id).await;
        assert_eq!((seen.awaits, seen.corrected.as_deref()), (None, Some(NOTE)));
        assert!(!seen.request.details.windows(NOTE.len()).any(|part| part == NOTE.as_bytes()), "sealed");
        let person = world.person("ann").await;
        let documents = RequestStore(world.requests.clone()).export(&person).await.unwrap();
        assert_eq!(documents[0].rows[0]["corrected"], NOTE, "the person may see what was said");
    })
    .await;
}

#[tokio::test]
async fn while_a_source_is_waited_for_time_runs_and_the_request_may_be_extended_and_refused() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.orders.derives.store(true, Ordering::SeqCst);
        let id = world.awaiting("ann").await;
        world.clock.advance(15 * DAY);
        while world.requests.remind().await.unwrap() > 0 {}
        let half = ("subject_request.due".to_owned(), "half the time is over".to_owned());
        assert!(world.entries().await.contains(&half));
        world.requests.extend(&officer(), id, Delay::Complexity).await.unwrap();
        assert_eq!(world.see(id).await.awaits, Some(Awaits::Source));
        world.requests.refuse(&officer(), id, Ground::NotController).await.unwrap();
        assert!(matches!(world.correct(id).await, Err(SubjectError::State(Impossible(State::Refused)))));
    })
    .await;
}

#[tokio::test]
async fn what_a_store_has_put_right_is_refused_no_more() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.awaiting("ann").await;
        let refused = world.requests.refuse(&officer(), id, Ground::NotController).await;
        assert!(matches!(refused, Err(SubjectError::Running)), "orders were changed");
        world.correct(id).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_source_counts_only_after_every_store_was_asked() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        world.notes.derives.store(true, Ordering::SeqCst);
        world.orders.fails.store(true, Ordering::SeqCst);
        let id = world.ask_to_rectify("ann").await;
        world.carry_out(id).await;
        assert!(matches!(world.correct(id).await, Err(SubjectError::TooEarly)));
        world.orders.fails.store(false, Ordering::SeqCst);
        world.requests.retry(&officer(), id, false).await.unwrap();
        world.work().await;
        world.correct(id).await.unwrap();
        assert_eq!(world.state(id).await, State::Completed);
    })
    .await;
}

#[tokio::test]
async fn of_who_is_erased_while_a_source_is_waited_for_nothing_is_left_to_be_put_right() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.awaiting("ann").await;
        let person = world.person("ann").await;
        world.people.destroy(&tenant(), &[person.id], Cause::Request, "").await.unwrap();
        assert!(matches!(world.correct(id).await, Err(SubjectError::Erased)));
        world.work().await;
        assert_eq!(world.see(id).await.request.outcome, Some(Outcome::NothingHeld));
    })
    .await;
}
