//! Stories of retention on both databases, with a clock that is turned and stores that are lists.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use kiki_spend::{Command, Digest};
use kiki_store::personal::{
    Class, Cutoffs, Declared, Document, Expired, Form, Mint, PersonalStore, Stores, Subject, SubjectId, Subjects, Table,
};
use kiki_store::testing::{TestDb, on_both};
use kiki_store::{Store, StoreError, outbox};
use kiki_types::event::AuditEvent;
use kiki_types::{Channel, Purpose, TenantId, UnixMillis};
use uuid::Uuid;

use super::service::{Due, Retention};
use crate::report::Days;
use crate::testing::{NOW, World, caller};

const DAYS: Days = Days { sessions: 90, marketing: 730, customers: 1095, audit: 2555 };
const DAY: Duration = Duration::from_secs(86_400);

static DECLARED: Declared = Declared {
    name: "notes",
    service: "test",
    tables: &[Table {
        name: "note",
        owner: Some("subject"),
        holds: &[("text", Form::Sealed)],
        categories: &["notes"],
        class: Class::Marketing,
    }],
    files: &[],
};

/// Notes about people, with the time of each.
#[derive(Default)]
struct Notes {
    rows: Mutex<Vec<(SubjectId, UnixMillis)>>,
    is_broken: AtomicBool,
    /// Puts this person under a hold as soon as anybody is to be forgotten.
    officer: Mutex<Option<(Store, Subjects, Subject)>>,
}

impl Notes {
    fn check(&self) -> Result<(), StoreError> {
        if self.is_broken.load(Ordering::SeqCst) { Err(StoreError::NotMigrated) } else { Ok(()) }
    }

    fn add(&self, who: &Subject, at: UnixMillis) {
        self.rows.lock().unwrap().push((who.id, at));
    }

    fn owners(&self) -> HashSet<SubjectId> {
        self.rows.lock().unwrap().iter().map(|(id, _)| *id).collect()
    }
}

impl PersonalStore for Notes {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn export<'a>(&'a self, _: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn erase<'a>(&'a self, _: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            self.check()?;
            let officer = self.officer.lock().unwrap().take();
            if let Some((store, subjects, person)) = officer {
                let mut tx = store.begin().await?;
                subjects.hold(&mut tx, &person, Uuid::from_u128(8), "a lawsuit", "officer").await?;
                tx.commit().await?;
            }
            self.rows.lock().unwrap().retain(|(id, _)| !who.contains(id));
            Ok(0)
        }
        .boxed()
    }

    fn expire<'a>(
        &'a self,
        _: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        async move {
            self.check()?;
            let mut rows = self.rows.lock().unwrap();
            let is_past = |at: UnixMillis| at < cutoffs.marketing;
            let oldest = rows.iter().map(|(_, at)| *at).filter(|at| is_past(*at)).min();
            let before = rows.len();
            if dry {
                return Ok(Expired { rows: rows.iter().filter(|(_, at)| is_past(*at)).count() as u64, oldest });
            }
            let mut left = limit;
            rows.retain(|(_, at)| {
                let goes = is_past(*at) && left > 0;
                left -= u32::from(goes);
                !goes
            });
            Ok(Expired { rows: (before - rows.len()) as u64, oldest })
        }
        .boxed()
    }
}

struct Story {
    world: World,
    notes: Arc<Notes>,
    retention: Retention,
}

impl Story {
    async fn new(db: &TestDb) -> Self {
        let (world, notes) = (World::new(db).await, Arc::<Notes>::default());
        let retention = Retention::new(world.shield.clone(), DAYS);
        retention.begin(Stores::new(vec![notes.clone()]).unwrap());
        Self { world, notes, retention }
    }

    async fn person(&self, name: &str) -> Subject {
        let found = self.world.subjects.resolve(&tenant(), name, Mint::Yes).await.unwrap();
        found.unwrap()
    }

    async fn is_known(&self, name: &str) -> bool {
        self.world.subjects.resolve(&tenant(), name, Mint::No).await.unwrap().is_some()
    }

    async fn planned(&self) -> HashMap<&'static str, u64> {
        counts(&self.retention.plan(&tenant()).await.unwrap().due)
    }

    async fn removed(&self) -> HashMap<&'static str, u64> {
        counts(&self.retention.run(&caller("default"), None).await.unwrap().removed)
    }

    /// Lets a person agree to marketing.
    async fn grant(&self, subject: Digest) {
        let purpose = Purpose::Marketing;
        let command = Command::Consent { subject, purpose, granted: true, channel: None, until: None, asked: None };
        let draft = self.world.shield.draft(&caller("default"), "consent.grant", "grant", "consent/marketing");
        self.world.shield.0.governor.decide(command, draft).await.unwrap();
    }

    async fn runs(&self) -> Vec<AuditEvent> {
        let waiting = outbox::pending(&self.world.store, crate::jobs::AUDIT_TOPIC, 500).await.unwrap();
        let events = waiting.iter().map(|one| serde_json::from_str::<AuditEvent>(&one.event.payload).unwrap());
        events.filter(|event| event.event_type == "retention.run").collect()
    }
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

fn counts(due: &[Due]) -> HashMap<&'static str, u64> {
    due.iter().map(|due| (due.store, due.rows)).collect()
}

#[tokio::test]
async fn what_the_dry_run_counted_is_what_the_run_removes_and_nothing_younger() {
    on_both(async |db| {
        let story = Story::new(db).await;
        let (ann, bob) = (story.person("ann").await, story.person("bob").await);
        for at in 0..2_500 {
            story.notes.add(&ann, NOW.plus(at));
        }
        story.world.clock.advance(DAY * 730);
        story.notes.add(&bob, story.world.clock_now());
        assert_eq!(story.planned().await, HashMap::from([("notes", 0), ("people", 0)]), "not a moment before");
        story.world.clock.advance(Duration::from_secs(2));
        let plan = story.retention.plan(&tenant()).await.unwrap();
        assert_eq!((plan.due[0].rows, plan.due[0].oldest), (2_000, Some(NOW)));
        assert_eq!(story.notes.rows.lock().unwrap().len(), 2_501, "it only looked");
        let planned = counts(&plan.due);
        assert_eq!(story.removed().await, planned);
        assert_eq!(story.notes.rows.lock().unwrap().len(), 501);
        assert_eq!(story.removed().await, HashMap::from([("notes", 0), ("people", 0)]));
        let runs = story.runs().await;
        assert_eq!((runs[0].data.as_str(), runs[0].reason.as_str()), ("notes=2000", "rows 2000"));
    })
    .await;
}

#[tokio::test]
async fn who_was_not_heard_of_for_long_is_erased_everywhere_and_who_is_held_or_restricted_stays() {
    on_both(async |db| {
        let story = Story::new(db).await;
        let (ann, bob) = (story.person("ann").await, story.person("bob").await);
        let subjects = &story.world.subjects;
        let hold = Uuid::from_u128(7);
        let mut tx = story.world.store.begin().await.unwrap();
        assert!(subjects.hold(&mut tx, &bob, hold, "a lawsuit", "officer").await.unwrap());
        tx.commit().await.unwrap();
        let dan = story.person("dan").await;
        assert_eq!(subjects.restrict(&tenant(), &[dan.id], true).await.unwrap(), 1);
        let digest = Digest(ann.pseudonym);
        story.grant(digest).await;
        story.world.clock.advance(DAY * 1000);
        let eve = story.person("eve").await;
        for person in [&ann, &bob, &eve] {
            story.notes.add(person, story.world.clock_now());
        }
        story.world.clock.advance(DAY * 96);
        let _ = story.retention.plan(&tenant()).await.unwrap();
        assert_eq!(story.planned().await["people"], 1);
        assert_eq!(story.removed().await["people"], 1);
        assert!(!story.is_known("ann").await);
        for kept in ["bob", "dan", "eve"] {
            assert!(story.is_known(kept).await, "{kept}");
        }
        assert_eq!(story.notes.owners(), HashSet::from([bob.id, eve.id]));
        let stands = move |state: &mut kiki_spend::State| state.has_consent(digest, Purpose::Marketing, Channel::Any);
        assert!(!story.world.shield.0.governor.read(stands).await.unwrap(), "the governor forgot");
        let mut tx = story.world.store.begin().await.unwrap();
        assert_eq!(subjects.release(&mut tx, &tenant(), hold, "officer").await.unwrap(), Some(bob.id));
        tx.commit().await.unwrap();
        assert_eq!(story.removed().await["people"], 1);
        assert!(!story.is_known("bob").await);
    })
    .await;
}

#[tokio::test]
async fn a_store_that_failed_forgets_by_the_next_run_and_nobody_else_goes_before() {
    on_both(async |db| {
        let story = Story::new(db).await;
        let ann = story.person("ann").await;
        story.world.clock.advance(DAY * 1200);
        story.notes.add(&ann, story.world.clock_now());
        story.notes.is_broken.store(true, Ordering::SeqCst);
        let done = story.retention.run(&caller("default"), None).await.unwrap();
        assert_eq!((done.failed.as_slice(), done.rows()), (["notes", "people"].as_slice(), 1));
        assert!(!story.is_known("ann").await, "what the store still has is unreadable");
        assert_eq!(story.runs().await[0].data, "people=1,notes=failed,people=failed");

        let bob = story.person("bob").await;
        story.world.clock.advance(DAY * 1200);
        story.notes.add(&bob, story.world.clock_now());
        story.notes.add(&ann, story.world.clock_now());
        let done = story.retention.run(&caller("default"), None).await.unwrap();
        assert_eq!(done.rows(), 0);
        assert!(story.is_known("bob").await, "a store that still fails keeps the next");
        story.notes.is_broken.store(false, Ordering::SeqCst);
        // Another process, later: what is left to be done is in the database.
        let other = Retention::new(story.world.shield.clone(), DAYS);
        other.begin(Stores::new(vec![story.notes.clone()]).unwrap());
        assert_eq!(counts(&other.run(&caller("default"), None).await.unwrap().removed)["people"], 1);
        assert!(story.notes.owners().is_empty(), "of both");
        assert!(!story.is_known("bob").await);
    })
    .await;
}

#[tokio::test]
async fn who_can_be_held_still_loses_nothing() {
    on_both(async |db| {
        let story = Story::new(db).await;
        let ann = story.person("ann").await;
        story.world.clock.advance(DAY * 1200);
        story.notes.add(&ann, story.world.clock_now());
        let (store, subjects) = (story.world.store.clone(), story.world.subjects.clone());
        *story.notes.officer.lock().unwrap() = Some((store, subjects.clone(), ann.clone()));
        story.removed().await;
        let is_held = !subjects.holds(&tenant(), None, 10).await.unwrap().is_empty();
        assert_eq!(story.is_known("ann").await, is_held);
        assert_eq!(story.notes.owners().contains(&ann.id), is_held);
    })
    .await;
}

#[tokio::test]
async fn of_several_processes_one_runs_a_day() {
    on_both(async |db| {
        let story = Story::new(db).await;
        let other = Retention::new(story.world.shield.clone(), DAYS);
        other.begin(Stores::default());
        for _ in 0..2 {
            story.retention.take_daily_turn().await.unwrap();
            other.take_daily_turn().await.unwrap();
        }
        assert_eq!(story.runs().await.len(), 1);
        story.world.clock.advance(DAY);
        other.take_daily_turn().await.unwrap();
        story.retention.take_daily_turn().await.unwrap();
        assert_eq!(story.runs().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn nothing_goes_before_every_store_is_known() {
    on_both(async |db| {
        let world = World::new(db).await;
        let retention = Retention::new(world.shield.clone(), DAYS);
        assert!(retention.run(&caller("default"), None).await.is_err());
        assert!(retention.plan(&tenant()).await.is_err());
    })
    .await;
}
