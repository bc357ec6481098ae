//! Work with a key that is broken off anywhere, on both databases.

use std::time::Duration;

use kiki_kit::clock::Clock as _;
use kiki_store::idempotency::{Key, LEASE_MS};
use kiki_store::testing::{TestDb, on_both};
use kiki_types::{Channel, Purpose, UnixMillis};

use super::*;
use crate::breach::{Breaches, Said};
use crate::consent::gpc::Gpc;
use crate::consent::model::{Act, Record, State};
use crate::consent::{Made, Wanted, repo};
use crate::error::ShieldError;
use crate::testing::{World, caller};

const NO: Gpc = Gpc(false);
const MORE_THAN_A_LIFE: Duration = Duration::from_secs(25 * 60 * 60);
const LEASE: Duration = Duration::from_millis(LEASE_MS as u64);

impl World {
    fn key_of(&self, verb: &'static str, key: &str) -> Option<Key> {
        self.shield.key(&TenantId::default_tenant(), verb, Some(key), &"a body").unwrap()
    }

    async fn claim(&self, verb: &'static str, key: &str) -> Claim {
        match self.shield.turn(self.key_of(verb, key)).await.unwrap() {
            Turn::Mine(claim) => claim,
            Turn::Before(_) | Turn::Theirs(_) => panic!("it was taken before"),
        }
    }

    async fn consent(&self, act: Act, key: &str) -> Result<Made, ShieldError> {
        let verb = if act == Act::Grant { "grant" } else { "revoke" };
        self.shield.consent_once(&caller("default"), self.key_of(verb, key), act, wanted(), NO).await
    }

    async fn history(&self) -> Vec<Record> {
        let tenant = TenantId::default_tenant();
        let history = self.shield.consent_history(&tenant, "ann", None, 100).await.unwrap();
        history.into_iter().map(|(record, _)| record).collect()
    }

    async fn stands(&self) -> bool {
        let tenant = TenantId::default_tenant();
        self.shield.stands(&tenant, "ann", Purpose::Marketing, Channel::Any).await.unwrap().0
    }
}

fn wanted() -> Wanted {
    Wanted::of("ann".to_owned(), Purpose::Marketing, Channel::Any)
}

#[tokio::test]
async fn what_was_never_done_is_done_once_the_lease_has_ended() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.claim("grant", "k").await;
        assert!(matches!(world.consent(Act::Grant, "k").await, Err(ShieldError::KeyInProgress)));
        world.clock.advance(LEASE);
        let made = world.consent(Act::Grant, "k").await.unwrap();
        assert_eq!(world.consent(Act::Grant, "k").await.unwrap(), made);
        assert_eq!(world.history().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_and_not_remembered_is_not_decided_again() {
    on_both(async |db| {
        let world = World::new(db).await;
        for (act, stands) in [(Act::Grant, false), (Act::Revoke, true)] {
            let (key, by) = (act.as_str(), caller("default"));
            let id = world.claim(if act == Act::Grant { "grant" } else { "revoke" }, key).await.id();
            let first = Wanted { id, ..wanted() };
            // The process ends right after; then somebody says the opposite.
            if act == Act::Grant {
                world.shield.give_consent(&by, first, NO).await.unwrap();
                world.shield.revoke_consent(&by, wanted(), NO).await.unwrap();
            } else {
                world.shield.revoke_consent(&by, first, NO).await.unwrap();
                world.shield.give_consent(&by, wanted(), NO).await.unwrap();
            }
            world.clock.advance(LEASE);
            let before = world.history().await.len();
            assert_eq!(Some(world.consent(act, key).await.unwrap().record.id), id);
            assert_eq!(Some(world.consent(act, key).await.unwrap().record.id), id, "and is remembered now");
            assert_eq!((world.history().await.len(), world.stands().await), (before, stands), "{act}");
        }
    })
    .await;
}

/// Callers have keys that mean something, such as `unsubscribe-17`, and send them again years later.
#[tokio::test]
async fn what_comes_with_a_key_of_long_ago_is_done() {
    on_both(async |db| {
        let world = World::new(db).await;
        for (round, is_kept_up) in [false, true, false].into_iter().enumerate() {
            for (act, stands) in [(Act::Grant, true), (Act::Revoke, false)] {
                let made = world.consent(act, act.as_str()).await.unwrap();
                assert_eq!(world.stands().await, stands, "{act}");
                assert_eq!(world.consent(act, act.as_str()).await.unwrap(), made);
            }
            let by = caller("default");
            world.shield.give_consent(&by, wanted(), NO).await.unwrap();
            assert_eq!(world.history().await.len(), 3 * (round + 1), "each act has a record of its own");
            world.clock.advance(MORE_THAN_A_LIFE);
            if is_kept_up {
                assert_eq!(idempotency::purge(&world.store, world.clock.now(), 10).await.unwrap(), 2);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_fails_late_leaves_the_key_to_who_took_it_over() {
    on_both(async |db| {
        let world = World::new(db).await;
        let slow = world.claim("x", "k").await;
        world.clock.advance(LEASE);
        let quick = world.claim("x", "k").await;
        let failed = world.shield.in_turn(slow, |_| async { Err::<(), _>(ShieldError::Starting) }).await;
        assert!(failed.is_err());
        let meanwhile = world.shield.turn(world.key_of("x", "k")).await;
        assert!(matches!(meanwhile, Ok(Turn::Theirs(_))), "nobody else begins");
        let mut tx = world.store.begin().await.unwrap();
        quick.remember(&mut tx, &[]).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_may_have_been_decided_waits_for_the_log_unless_it_takes_back() {
    on_both(async |db| {
        let world = World::new(db).await;
        let by = caller("default");
        let noted = async |act: Act| {
            let claim = world.claim(if act == Act::Grant { "grant" } else { "revoke" }, "k").await;
            // The register has it, and nobody heard what the governor said.
            let made = world.shield.give_consent(&by, wanted(), NO).await.unwrap();
            let record = Record { id: claim.id().unwrap(), act, state: State::Noted, entry: None, ..made.record };
            let who = world.shield.somebody(&TenantId::default_tenant(), "ann").await.unwrap();
            let mut tx = world.store.begin().await.unwrap();
            repo::insert(&mut tx, (&who.tenant, who.id), &record, &repo::Sealed::default()).await.unwrap();
            tx.commit().await.unwrap();
            world.clock.advance(LEASE);
        };
        noted(Act::Grant).await;
        assert!(matches!(world.consent(Act::Grant, "k").await, Err(ShieldError::KeyInProgress)));
        repo::void_noted(&world.store, UnixMillis(i64::MAX)).await.unwrap();
        let made = world.consent(Act::Grant, "k").await.unwrap();
        assert_eq!((made.record.state, world.stands().await), (State::Standing, true), "it came to nothing before");
        noted(Act::Revoke).await;
        let made = world.consent(Act::Revoke, "k").await.unwrap();
        assert_eq!((made.record.state, world.stands().await), (State::Standing, false));
        let standing = |record: &Record| record.state == State::Standing;
        assert!(world.history().await.iter().all(standing), "{:?}", world.history().await);
    })
    .await;
}

#[tokio::test]
async fn without_sql_a_revocation_with_a_key_stands_and_a_consent_is_not_given() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db).await;
    world.consent(Act::Grant, "k").await.unwrap();
    db.store.close().await;
    assert!(world.consent(Act::Revoke, "k").await.unwrap().record.entry.is_some());
    assert!(matches!(world.consent(Act::Grant, "another").await, Err(ShieldError::Store(_))));
    assert!(!world.stands().await);
}

#[tokio::test]
async fn whoever_comes_late_with_a_key_that_was_taken_over_leaves_nothing() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (breaches, by) = (Breaches::new(world.shield.clone()), caller("default"));
        let said =
            Said { natures: Some(vec!["integrity".to_owned()]), risk: Some("likely".to_owned()), ..Said::default() };
        let slow = world.claim("breach", "k").await;
        world.clock.advance(LEASE);
        let quick = world.claim("breach", "k").await;
        let made = breaches.record(&by, None, &said, &quick).await.unwrap();
        assert!(breaches.record(&by, None, &said, &slow).await.is_err());
        let always = (UnixMillis(0), UnixMillis(i64::MAX));
        let found = breaches.breaches(&by, always, None, 10).await.unwrap();
        assert_eq!(found.iter().map(|breach| breach.id).collect::<Vec<_>>(), [made.id]);
        let again = world.shield.turn(world.key_of("breach", "k")).await.unwrap();
        assert!(matches!(again, Turn::Before(ids) if ids == [made.id.uuid()]));
    })
    .await;
}

#[tokio::test]
async fn what_fails_frees_its_key() {
    on_both(async |db| {
        let world = World::new(db).await;
        for _ in 0..2 {
            let act = |_| async { Err::<(), _>(ShieldError::Starting) };
            let failed = world.shield.once(world.key_of("x", "k"), act, async |_| Ok(())).await;
            assert!(matches!(failed, Err(ShieldError::Starting)), "{failed:?}");
        }
    })
    .await;
}

/// Whoever took the key may have ended, and every decision until its lease ends would pass.
#[tokio::test]
async fn a_revocation_is_not_kept_from_its_effect_by_its_key() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.consent(Act::Grant, "g").await.unwrap();
        let id = world.claim("revoke", "k").await.id();
        let made = world.consent(Act::Revoke, "k").await.unwrap();
        assert_eq!((Some(made.record.id), world.stands().await), (id, false));
        world.clock.advance(LEASE);
        world.consent(Act::Grant, "h").await.unwrap();
        assert_eq!(world.consent(Act::Revoke, "k").await.unwrap().record.id, made.record.id);
        assert!(world.stands().await, "it was agreed to after that");
    })
    .await;
}

#[tokio::test]
async fn a_revocation_with_a_key_does_not_wait_for_who_writes() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db).await;
    world.consent(Act::Grant, "g").await.unwrap();
    let writing = db.store.begin().await.unwrap();
    let (made, stood) = tokio::join!(world.consent(Act::Revoke, "k"), async {
        let until_it_stands_no_more = async {
            while world.stands().await {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(3), until_it_stands_no_more).await;
        writing.rollback().await.unwrap();
        ended
    });
    assert!(stood.is_ok(), "the governor was not told while somebody wrote");
    assert!(made.unwrap().record.entry.is_some());
}

#[tokio::test]
async fn the_signal_counts_whatever_the_key_says() {
    on_both(async |db| {
        let world = World::new(db).await;
        let tenant = TenantId::default_tenant();
        let by = caller("default");
        let bars = async |customer: &str| world.shield.standing(&tenant, customer).await.unwrap().bars.len();
        for (customer, act, verb) in [("ann", Act::Grant, "grant"), ("bob", Act::Revoke, "revoke")] {
            let wanted = || Wanted { customer_id: customer.to_owned(), ..wanted() };
            let send = async |gpc| world.shield.consent_once(&by, world.key_of(verb, "k"), act, wanted(), gpc).await;
            let made = send(NO).await.unwrap();
            assert_eq!(bars(customer).await, 0);
            assert_eq!(send(Gpc(true)).await.unwrap().record, made.record);
            assert_eq!(bars(customer).await, 1);
        }
        let other = world.shield.key(&tenant, "grant", Some("k"), &"another").unwrap();
        let eve = Wanted { customer_id: "eve".to_owned(), ..wanted() };
        world.shield.give_consent(&by, eve.clone(), NO).await.unwrap();
        let refused = world.shield.consent_once(&by, other, Act::Grant, eve, Gpc(true)).await;
        assert!(matches!(refused, Err(ShieldError::KeyConflict)));
        assert_eq!(bars("eve").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_confirmation_that_was_broken_off_is_answered_or_done() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (tenant, by) = (TenantId::default_tenant(), caller("default"));
        for is_decided in [true, false] {
            let asked = Wanted { double_opt_in: true, ..wanted() };
            let id = world.shield.give_consent(&by, asked, NO).await.unwrap().record.id;
            let token = world.shield.confirmation(&tenant, id).await.unwrap().unwrap().token.to_string();
            let key = if is_decided { "decided" } else { "noted" };
            let under = world.claim("confirm", key).await.id();
            // The process ends right after.
            if is_decided {
                world.shield.confirm_consent(&by, &token, under, NO).await.unwrap();
            } else {
                world.shield.take_confirmation(&by, &token, under, NO).await.unwrap();
            }
            world.clock.advance(LEASE);
            let send =
                async |key, gpc| world.shield.confirm_once(&by, world.key_of("confirm", key), token.clone(), gpc).await;
            if is_decided {
                let another = send("another", NO).await;
                assert!(matches!(another, Err(ShieldError::NotFound(_))), "{another:?}");
            }
            for _ in 0..2 {
                let made = send(key, NO).await.unwrap();
                assert_eq!((made.record.id, made.record.state), (id, State::Standing));
            }
            assert_eq!(send(key, Gpc(true)).await.unwrap().signal.is_some(), is_decided, "once it is heeded");
            assert!(world.stands().await);
        }
    })
    .await;
}
