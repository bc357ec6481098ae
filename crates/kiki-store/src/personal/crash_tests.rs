//! A process that ends at any place of its work with keys, and what the next one makes of it.

use std::time::Duration;

use kiki_types::TenantId;

use super::*;
use crate::testing::{People, TestDb, on_both};
use crate::{Columns as _, outbox};

/// Places of one piece of work at the most.
const PLACES_MAX: u32 = 60;

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

async fn meet(subjects: &Subjects, name: &str) -> Subject {
    subjects.resolve(&acme(), name, Mint::Yes).await.unwrap().unwrap()
}

/// The process that comes after one that ended.
async fn next(people: &People, db: &TestDb) -> Subjects {
    let next = people.another(&db.store).await.unwrap();
    next.replay(&Stores::default()).await.unwrap();
    next
}

/// How often the log hears that `resource` was acted upon by `kind`.
async fn told(db: &TestDb, kind: &str, resource: &str) -> usize {
    let pending = outbox::pending(&db.store, "audit", outbox::PAGE_MAX).await.unwrap();
    let is_it =
        |payload: &str| payload.contains(&format!("\"{kind}\"")) && payload.contains(&format!("\"{resource}\""));
    pending.iter().filter(|one| is_it(&one.event.payload)).count()
}

async fn count(db: &TestDb, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(db.store.pool()).await.unwrap().int("count").unwrap()
}

#[tokio::test]
async fn an_erasing_that_ends_anywhere_is_done_or_not_begun_and_never_forgotten() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let bob = meet(&people, "bob").await;
        let sealed = bob.seal("test.sealed", "1", b"tea");
        for places in 0.. {
            assert!(places < PLACES_MAX, "it never ends");
            let ann = meet(&people, "ann").await;
            let dying = people.another(&db.store).await.unwrap();
            dying.inner().faults.end_after(places);
            let is_done = dying.destroy(&acme(), &[ann.id], Cause::Request, "r").await.is_ok();
            let is_registered =
                std::fs::read_to_string(people.keys().join("erasures")).unwrap().contains(&ann.id.to_string());

            let next = next(&people, db).await;
            let is_there = !next.by_id(&acme(), &[ann.id]).await.unwrap().is_empty();
            assert_eq!(is_there, !is_registered, "after {places} places");
            let entry = format!("subject/{}", ann.id);
            assert_eq!(told(db, ERASED, &entry).await, usize::from(!is_there), "after {places} places");
            assert!(is_registered || !is_done);
            next.destroy(&acme(), &[ann.id], Cause::Request, "r").await.unwrap();
            assert_eq!(told(db, ERASED, &entry).await, 1, "once, after {places} places");
            let bob = next.resolve(&acme(), "bob", Mint::No).await.unwrap().unwrap();
            assert_eq!(bob.open("test.sealed", "1", &sealed).unwrap(), b"tea");
            people.inner().cache.forget(&[ann.id]);
            if is_done {
                assert!(places >= 4, "every place was tried");
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_erasing_that_failed_is_ended_by_the_next_one_of_the_same_process() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let (ann, bob) = (meet(&people, "ann").await, meet(&people, "bob").await);
        // After the register, before SQL.
        people.inner().faults.end_after(1);
        people.destroy(&acme(), &[ann.id], Cause::Request, "").await.unwrap_err();
        people.inner().faults.end_after(PLACES_MAX);
        people.destroy(&acme(), &[bob.id], Cause::Request, "").await.unwrap();
        assert!(people.by_id(&acme(), &[ann.id, bob.id]).await.unwrap().is_empty());
        assert_eq!(told(db, ERASED, &format!("subject/{}", ann.id)).await, 1);
        assert_eq!(count(db, "SELECT COUNT(*) AS count FROM erasure").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_renewal_that_ends_anywhere_goes_on_in_the_next_process_and_loses_nobody() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let tenant = acme();
        let names: Vec<String> = (0..3).map(|n| format!("c{n}")).collect();
        let mut known = Vec::new();
        for name in &names {
            let person = meet(&people, name).await;
            known.push((person.id, person.pseudonym, person.seal("test.sealed", name, name.as_bytes())));
        }
        let mut has_ended = false;
        for places in 0.. {
            assert!(places < PLACES_MAX, "it never ends");
            people.advance_days(14);
            let dying = people.another(&db.store).await.unwrap();
            dying.inner().faults.end_after(places);
            let is_done = dying.look_after().await.is_ok();
            // Its lease ends.
            people.clock.advance(Duration::from_secs(11 * 60));
            let next = next(&people, db).await;
            next.look_after().await.unwrap();
            for (name, (id, pseudonym, sealed)) in names.iter().zip(&known) {
                let person = next.resolve(&tenant, name, Mint::Yes).await.unwrap().unwrap();
                assert_eq!((person.id, person.pseudonym), (*id, *pseudonym), "after {places} places");
                assert_eq!(person.open("test.sealed", name, sealed).unwrap(), name.as_bytes());
            }
            let status = next.status();
            assert_eq!(status.trouble, None);
            let (current, lived) = (status.living.last().unwrap().0, status.living.len());
            assert!(lived <= 3, "{status:?}");
            assert_eq!(count(db, "SELECT COUNT(*) AS count FROM key_epoch WHERE state = 'current'").await, 1);
            let elsewhere =
                "SELECT COUNT(*) AS count FROM subject s JOIN key_epoch k ON k.n = s.epoch WHERE k.state <> 'current'";
            assert_eq!(count(db, elsewhere).await, 0, "everybody is in the current epoch");
            for n in 2..=current {
                assert_eq!(told(db, "keys.rotate", &format!("keys/epoch/{n}")).await, 1, "of epoch {n}");
            }
            for n in 1..status.living[0].0 {
                assert_eq!(told(db, "keys.destroy", &format!("keys/epoch/{n}")).await, 1, "of epoch {n}");
            }
            if is_done && has_ended {
                assert!(places >= 8, "every place was tried");
                return;
            }
            has_ended = status.living[0].0 > 1;
        }
    })
    .await;
}

#[tokio::test]
async fn an_erasing_that_another_process_ended_meanwhile_is_told_once() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let ann = meet(&people, "ann").await;
        let (tenant, cause, at) = (acme(), Cause::Request, people.inner().entries.clock.now());
        let erasure = register::Erasure { seq: 0, tenant, subject: ann.id, epoch: 1, at, cause };
        let registered = people.register(vec![erasure]).await.unwrap();
        next(&people, db).await;
        let mut tx = db.store.begin().await.unwrap();
        people.record(&mut tx, &registered, "").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(told(db, ERASED, &format!("subject/{}", ann.id)).await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_epoch_that_is_destroyed_stays_so_for_a_process_that_read_the_ring_before() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        people.rotate(0).await.unwrap();
        let ring = people.keys().join("ring.json");
        let before = std::fs::read(&ring).unwrap();
        people.destroy_epoch(1).await.unwrap();
        let after = std::fs::read(&ring).unwrap();
        for bytes in [before, after] {
            std::fs::write(&ring, bytes).unwrap();
            people.reload().await.unwrap();
            assert_eq!(count(db, "SELECT COUNT(*) AS count FROM key_epoch WHERE state = 'destroyed'").await, 1);
        }
        assert_eq!(told(db, "keys.destroy", "keys/epoch/1").await, 1);
    })
    .await;
}
