//! Stories of webhooks on both databases: a log of handmade entries, and a clock that is turned.

use std::sync::Arc;
use std::time::Duration;

use kiki_audit::{Batch, DeriveOptions, Deriver, Log, LogKey, Options};
use kiki_kit::clock::{Clock as _, ManualClock};
use kiki_kit::egress::{Egress, Limits, Reach};
use kiki_kit::shutdown::Tasks;
use kiki_spend::{Owner, Settings};
use kiki_store::testing::{People, RandomIds, TestDb, on_both};
use kiki_types::event::{AuditEvent, Level, Outcome};
use kiki_types::id::WebhookId;
use kiki_types::{Principal, TenantId, UnixMillis};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::event::EventKind;
use super::event::testing::reached;
use super::jobs::Follower;
use super::model::{Attempt, Delivery, Disabled, State};
use super::repo::{self, Busy};
use super::service::{Wanted, Webhooks};
use crate::once::Claim;
use crate::{Caller, Pseudonyms, Seed, Shield};

const NOW: UnixMillis = UnixMillis(1_770_287_400_000);
/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1/hooks";

struct World {
    webhooks: Webhooks,
    clock: Arc<ManualClock>,
    log: Log,
    deriver: Deriver,
    entries: u64,
    // The governor's thread, and the folder of both logs.
    _owner: Owner,
    _folder: TempDir,
    _people: People,
}

impl World {
    async fn new(db: &TestDb) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let people = People::of(&db.store).await;
        let settings = Settings {
            data: folder.path().join("governor"),
            origin: "kiki.local/test".to_owned(),
            retention_days: 30,
            clock: Arc::new(|| NOW),
            ids: Arc::new(RandomIds),
            key_seed: random,
        };
        let owner = Owner::start(settings).unwrap();
        // A log of its own, so that a test says what is in it.
        let audit = folder.path().join("audit");
        let (log, _) = Log::open(&audit, &Options::default()).unwrap();
        let key = LogKey::open_or_create(&folder.path().join("keys"), "kiki.local/test", random).unwrap();
        let deriver = Deriver::open(&audit, key, DeriveOptions { retention_days: 30, entries_per_step: 1000 }).unwrap();
        let shield = Shield::new(Seed {
            governor: owner.handle(),
            store: db.store.clone(),
            subjects: people.clone(),
            pseudonyms: Pseudonyms::new(b"key"),
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            currency: "USD".parse().unwrap(),
            audit,
            keys: folder.path().join("keys"),
            origin: "kiki.local/test".into(),
            policies: crate::policy::Policies::default(),
            consent_days: 0,
            random,
            tasks: Tasks::default(),
        });
        let webhooks = Webhooks::new(shield, Egress::new(Reach::Loopback, Limits::default()), random);
        Self { webhooks, clock, log, deriver, entries: 0, _owner: owner, _folder: folder, _people: people }
    }

    async fn endpoint(&self, tenant: &str, events: &[&str]) -> WebhookId {
        let wanted = Wanted {
            url: NOBODY.to_owned(),
            description: String::new(),
            events: events.iter().map(ToString::to_string).collect(),
            secret: None,
        };
        self.webhooks.create(&caller(tenant), wanted, &Claim::NONE).await.unwrap().id
    }

    /// Appends an entry of `tenant` that has this body, and signs it.
    fn append(&mut self, tenant: &str, body: &Value) {
        let event = AuditEvent {
            id: Uuid::from_u128(u128::from(self.entries) + 1),
            at: UnixMillis(body["at"].as_i64().unwrap()),
            tenant: tenant.parse().unwrap(),
            level: Level::Info,
            event_type: "spend.authorize".to_owned(),
            actor: "a".to_owned(),
            customer: String::new(),
            action: "authorize".to_owned(),
            resource: "r".to_owned(),
            outcome: Outcome::Allowed,
            reason: String::new(),
            ip: String::new(),
            data: String::new(),
            request: String::new(),
        };
        let mut batch = Batch::new();
        batch.push_with(&event, body).unwrap();
        self.log.append(&mut batch).unwrap();
        self.entries += 1;
        self.deriver.advance(self.entries).unwrap();
    }

    /// A follower that knows what SQL knows takes all that is there.
    async fn follow(&self) {
        let mut follower = Follower::open(&self.webhooks).await.unwrap();
        while follower.step().await.unwrap() {}
    }

    async fn deliveries(&self, tenant: &str, id: WebhookId) -> Vec<Delivery> {
        self.webhooks.deliveries(&caller(tenant), id, None, 100).await.unwrap()
    }

    /// Waits until a delivery is due, and tries it.
    async fn try_next(&self) -> bool {
        for _ in 0..2_000 {
            let now = self.clock.now();
            if let Some((tenant, due)) =
                repo::claim(self.webhooks.store(), now, now.plus(60_000), &Busy::default()).await.unwrap()
            {
                self.webhooks.try_attempt(&tenant, due).await.unwrap();
                return true;
            }
            self.clock.advance(Duration::from_secs(300));
        }
        false
    }
}

fn random() -> Zeroizing<[u8; 32]> {
    Zeroizing::new([7; 32])
}

fn caller(tenant: &str) -> Caller {
    Caller { principal: Arc::new(Principal::service(tenant.parse().unwrap(), "test")), network: String::new() }
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

#[tokio::test]
async fn an_event_becomes_one_delivery_however_often_its_entry_is_read() {
    on_both(async |db| {
        let mut world = World::new(db).await;
        world.append("default", &reached(NOW.0 - 1, "default/burst", 50));
        let all = world.endpoint("default", &[]).await;
        let stops = world.endpoint("default", &["spend.account.stopped"]).await;
        let others = world.endpoint("other", &[]).await;
        world.append("default", &reached(NOW.0, "default/burst", 80));
        world.append("default", &serde_json::json!({"at": NOW.0, "cmd": {"op": "note"}, "out": {"outcome": "noted"}}));
        world.follow().await;
        let told = world.deliveries("default", all).await;
        assert_eq!(told.len(), 1, "what happened before somebody asked is not told");
        assert!(told[0].body.contains("\"percent\":80") && told[0].state == State::Pending);
        assert_eq!(world.deliveries("default", stops).await, [], "not what was asked for");
        assert_eq!(world.deliveries("other", others).await, [], "another tenant's");

        world.follow().await;
        let mut tx = db.store.begin().await.unwrap();
        let log = world.webhooks.0.shield.0.pseudonyms.source(&TenantId::default_tenant(), Uuid::nil()).to_string();
        repo::set_position(&mut tx, &log, 0).await.unwrap();
        tx.commit().await.unwrap();
        world.follow().await;
        assert_eq!(world.deliveries("default", all).await, told, "the same, with the same id");

        world.append("default", &reached(NOW.0, "default/burst", 100));
        world.follow().await;
        assert_eq!(world.deliveries("default", all).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_while_nobody_asked_is_passed_by() {
    on_both(async |db| {
        let mut world = World::new(db).await;
        let mut follower = Follower::open(&world.webhooks).await.unwrap();
        world.append("default", &reached(NOW.0, "default/burst", 50));
        assert!(!follower.step().await.unwrap());
        let id = world.endpoint("default", &[]).await;
        assert!(!follower.step().await.unwrap());
        assert_eq!(world.deliveries("default", id).await, []);
        world.append("default", &reached(NOW.0, "default/burst", 80));
        assert!(!follower.step().await.unwrap());
        assert_eq!(world.deliveries("default", id).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn beyond_what_may_wait_events_are_dropped_and_counted() {
    on_both(async |db| {
        let mut world = World::new(db).await;
        let (full, other) = (world.endpoint("default", &[]).await, world.endpoint("default", &[]).await);
        let mut tx = db.store.begin().await.unwrap();
        for number in 0..super::model::ENDPOINT_WAITING_MAX - 1 {
            let id = Uuid::from_u128(u128::try_from(number).unwrap()).into();
            let waiting = Delivery::new(id, full, EventKind::Test, "{}".to_owned(), NOW);
            repo::insert_delivery(&mut tx, &tenant("default"), &waiting).await.unwrap();
        }
        tx.commit().await.unwrap();
        for percent in [50, 80, 100] {
            world.append("default", &reached(NOW.0, "default/burst", percent));
        }
        world.follow().await;
        let dropped = async |id| world.webhooks.endpoint(&caller("default"), id).await.unwrap().dropped;
        assert_eq!((dropped(full).await, dropped(other).await), (2, 0));
        assert_eq!(world.deliveries("default", other).await.len(), 3);
        let tested = async |id| world.webhooks.test(&caller("default"), id).await;
        assert!(matches!(tested(full).await, Err(super::error::WebhookError::Full)) && tested(other).await.is_ok());
    })
    .await;
}

#[tokio::test]
async fn a_delivery_is_taken_by_one_until_its_lease_ends() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.endpoint("default", &[]).await;
        world.webhooks.test(&caller("default"), id).await.unwrap();
        let other = db.another().await;
        let lease = NOW.plus(60_000);
        let nobody = Busy::default();
        let (first, second) =
            tokio::join!(repo::claim(&db.store, NOW, lease, &nobody), repo::claim(&other, NOW, lease, &nobody));
        let taken: Vec<_> = [first.unwrap(), second.unwrap()].into_iter().flatten().collect();
        assert_eq!(taken.len(), 1);
        let late = &taken[0].1;
        assert!(repo::claim(&db.store, lease.plus(-1), lease, &Busy::default()).await.unwrap().is_none());
        let to_endpoint = Busy { endpoints: vec![id], ..Busy::default() };
        let of_tenant = Busy { tenants: vec![tenant("default")], ..Busy::default() };
        for busy in [to_endpoint, of_tenant] {
            assert!(repo::claim(&db.store, lease, lease.plus(60_000), &busy).await.unwrap().is_none(), "{busy:?}");
        }
        let (_, again) = repo::claim(&db.store, lease, lease.plus(60_000), &Busy::default()).await.unwrap().unwrap();
        assert_eq!((again.id, again.attempts), (late.id, 2));
        for (attempt, counts) in [(late, false), (&again, true), (&again, false)] {
            let ended = Delivery { state: State::Delivered, ended_at: lease, ..attempt.clone() };
            let mut tx = db.store.begin().await.unwrap();
            assert_eq!(repo::record(&mut tx, &tenant("default"), &ended).await.unwrap(), counts, "attempt {attempt:?}");
            tx.commit().await.unwrap();
        }
        other.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_never_arrives_fails_and_in_the_end_its_endpoint_is_disabled() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (me, id) = (caller("default"), world.endpoint("default", &[]).await);
        let first = world.webhooks.test(&me, id).await.unwrap().id;
        for _ in 0..10 {
            assert!(world.try_next().await);
        }
        assert!(!world.try_next().await, "ten attempts and no more");
        let failed = &world.deliveries("default", id).await[0];
        assert_eq!((failed.state, failed.attempts), (State::Failed, 10));
        assert!(
            matches!(&failed.last, Some(Attempt::Unanswered(why)) if why.starts_with("no connection")),
            "{failed:?}"
        );
        let endpoint = world.webhooks.endpoint(&me, id).await.unwrap();
        assert_eq!((endpoint.disabled, endpoint.failures.count), (None, 10));

        assert_eq!(world.webhooks.retry(&me, id, first).await.unwrap().attempts, 0, "all its attempts again");
        world.webhooks.test(&me, id).await.unwrap();
        assert!(world.try_next().await);
        assert_eq!(world.webhooks.endpoint(&me, id).await.unwrap().disabled, Some(Disabled::Failing));
        let states: Vec<_> = world.deliveries("default", id).await.iter().map(|one| one.state).collect();
        assert_eq!(states, [State::Failed, State::Failed], "what waited has failed, too");
        assert!(world.webhooks.test(&me, id).await.is_err() && world.webhooks.retry(&me, id, first).await.is_err());
        assert_eq!(world.webhooks.enable(&me, id).await.unwrap().disabled, None);
        world.webhooks.test(&me, id).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn deliveries_are_paged_and_pruned_and_go_with_their_endpoint() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (me, id) = (caller("default"), world.endpoint("default", &[]).await);
        let mut made = Vec::new();
        for _ in 0..5 {
            world.clock.advance(Duration::from_millis(1));
            made.push(world.webhooks.test(&me, id).await.unwrap().id);
        }
        made.reverse();
        let mut seen = Vec::new();
        while let page = world.webhooks.deliveries(&me, id, seen.last().copied(), 2).await.unwrap()
            && !page.is_empty()
        {
            seen.extend(page.iter().map(|delivery| delivery.id));
        }
        assert_eq!(seen, made, "the newest first, each once");

        let (_, due) = repo::claim(&db.store, NOW.plus(9), NOW.plus(99), &Busy::default()).await.unwrap().unwrap();
        let mut tx = db.store.begin().await.unwrap();
        let ended = Delivery { state: State::Delivered, ended_at: NOW, ..due };
        assert!(repo::record(&mut tx, &tenant("default"), &ended).await.unwrap());
        tx.commit().await.unwrap();
        for (state, before, gone) in [
            (State::Failed, NOW.plus(1), 0),
            (State::Delivered, NOW, 0),
            (State::Delivered, NOW.plus(1), 1),
            (State::Pending, NOW.plus(1), 0),
        ] {
            assert_eq!(repo::prune(&db.store, state, before).await.unwrap(), gone, "{state:?} {before}");
        }
        assert!(world.webhooks.delete(&caller("other"), id).await.is_err(), "another tenant's");
        world.webhooks.delete(&me, id).await.unwrap();
        assert!(world.webhooks.deliveries(&me, id, None, 9).await.is_err());
        assert!(repo::claim(&db.store, NOW.plus(999_999), NOW, &Busy::default()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_tenant_has_a_hundred_webhooks_at_the_most() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db).await;
    for _ in 0..100 {
        world.endpoint("default", &[]).await;
    }
    let wanted = Wanted { url: NOBODY.to_owned(), description: String::new(), events: Vec::new(), secret: None };
    assert!(matches!(
        world.webhooks.create(&caller("default"), wanted, &Claim::NONE).await,
        Err(super::WebhookError::TooMany)
    ));
    world.endpoint("other", &[]).await;
}
