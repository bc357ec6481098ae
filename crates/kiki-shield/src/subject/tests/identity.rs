//! Who proves to be who they say.

use std::time::Duration;

use kiki_store::testing::on_both;

use super::world::{World, officer, wanted};
use crate::subject::error::SubjectError;
use crate::subject::model::{Ground, Kind, State};
use crate::subject::repo;

#[tokio::test]
async fn the_code_that_was_mailed_proves_it_once() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let id = world.ask("ann", Kind::Access).await;
        world.requests.send_code(&officer(), id).await.unwrap();
        let code = world.code().await;
        assert_eq!(world.state(id).await, State::IdentityCheck);
        let proven = world.requests.verify(&officer(), id, &code).await.unwrap();
        assert_eq!((proven.state, proven.verified_by.as_str()), (State::InProgress, "code"));
        let again = world.requests.verify(&officer(), id, &code).await;
        assert!(matches!(again, Err(SubjectError::State(_))), "no second use");
        world.work().await;
        assert_eq!(world.state(id).await, State::Completed);
    })
    .await;
}

#[tokio::test]
async fn of_fifty_guesses_at_once_three_count() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.ask("ann", Kind::Access).await;
        world.requests.send_code(&officer(), id).await.unwrap();
        let code = world.code().await;
        let wrong = if code == "000000" { "000001" } else { "000000" };
        let officer = officer();
        let guesses = (0..50).map(|_| world.requests.verify(&officer, id, wrong));
        let answers = futures::future::join_all(guesses).await;
        let counted = answers.iter().filter(|answer| matches!(answer, Err(SubjectError::CodeWrong { .. }))).count();
        assert_eq!(counted, 3);
        let left: i64 = answers
            .iter()
            .filter_map(|answer| match answer {
                Err(SubjectError::CodeWrong { left }) => Some(*left),
                _ => None,
            })
            .sum();
        assert_eq!(left, 2 + 1, "each try is told how many are left");
        let right = world.requests.verify(&officer, id, &code).await;
        assert!(matches!(right, Err(SubjectError::CodeSpent)), "the right one comes too late");
    })
    .await;
}

#[tokio::test]
async fn a_code_is_good_for_ten_minutes_and_replaced_by_the_next() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.ask("ann", Kind::Access).await;
        world.requests.send_code(&officer(), id).await.unwrap();
        let first = world.code().await;
        world.clock.advance(Duration::from_secs(601));
        assert!(matches!(world.requests.verify(&officer(), id, &first).await, Err(SubjectError::CodeSpent)), "late");
        world.requests.send_code(&officer(), id).await.unwrap();
        assert!(matches!(world.requests.send_code(&officer(), id).await, Err(SubjectError::CodeTooSoon { .. })));
        let second = world.code().await;
        if first != second {
            assert!(matches!(
                world.requests.verify(&officer(), id, &first).await,
                Err(SubjectError::CodeWrong { left: 2 })
            ));
        }
        world.requests.verify(&officer(), id, &second).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_code_of_one_request_does_not_open_another() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (one, other) = (world.ask("ann", Kind::Access).await, world.ask("bob", Kind::Access).await);
        world.requests.send_code(&officer(), one).await.unwrap();
        let code = world.code().await;
        assert!(matches!(world.requests.verify(&officer(), other, &code).await, Err(SubjectError::CodeSpent)));
        assert_eq!(world.state(other).await, State::IdentityCheck);
    })
    .await;
}

#[tokio::test]
async fn many_requests_of_a_person_get_no_more_codes_than_one() {
    on_both(async |db| {
        let world = World::new(db).await;
        let wanted = (0..8).map(|_| wanted("ann", Kind::Access)).collect();
        let made = world.requests.create(&officer(), wanted).await.unwrap();
        let officer = officer();
        let mut sent = 0;
        for _ in 0..5 {
            let at_once = made.iter().map(|request| world.requests.send_code(&officer, request.id));
            let answers = futures::future::join_all(at_once).await;
            let now = answers.iter().filter(|answer| answer.is_ok()).count();
            assert!(now <= 1, "{now} within a minute");
            assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(SubjectError::CodeTooSoon { .. }))));
            sent += now;
            world.clock.advance(Duration::from_secs(60));
        }
        assert_eq!(sent, 3);
        let other = world.ask("bob", Kind::Access).await;
        world.requests.send_code(&officer, other).await.unwrap();
        world.clock.advance(Duration::from_secs(86_400));
        world.requests.send_code(&officer, made[7].id).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_is_vouched_for_while_they_are_written_to_is_believed() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (one, many) = (world.ask("ann", Kind::Access).await, world.ask("bob", Kind::Access).await);
        let (slow, read) = (world.ask("cem", Kind::Access).await, world.ask("dan", Kind::Access).await);
        let mut before = Vec::new();
        for id in [one, many, slow, read] {
            before.push(world.see(id).await.request);
        }
        // The acknowledgement moves them between what was read and what is written.
        world.write().await;
        let mut tx = db.store.begin().await.unwrap();
        let now = world.requests.now();
        assert!(repo::extend(&mut tx, &before[0], now).await.unwrap());
        assert!(repo::prove(&mut tx, &before[0], "code", now).await.unwrap());
        assert!(repo::prove(&mut tx, &before[1], "code", now).await.unwrap());
        assert!(repo::refuse(&mut tx, &before[2], Ground::Excessive, now).await.unwrap());
        assert!(repo::prove(&mut tx, &before[3], "code", now).await.unwrap());
        assert!(!repo::prove(&mut tx, &before[3], "code", now).await.unwrap(), "once");
        assert!(!repo::refuse(&mut tx, &before[3], Ground::IdentityNotProven, now).await.unwrap(), "it was proven");
        tx.commit().await.unwrap();
        let mut states = Vec::new();
        for id in [one, many, slow, read] {
            states.push(world.state(id).await);
        }
        assert_eq!(states, [State::Extended, State::InProgress, State::Refused, State::InProgress]);
    })
    .await;
}
