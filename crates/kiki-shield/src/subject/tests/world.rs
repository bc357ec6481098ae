//! A shield with its governor, people, stores in memory that fail when told to, and a mail provider that keeps what it is
//! given.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::tz::TimeZone;
use kiki_kit::clock::ManualClock;
use kiki_kit::shutdown::Tasks;
use kiki_spend::{Owner, Settings};
use kiki_store::personal::{
    Declared, Document, Hold, Mint, PersonalStore, Rectified, Stores, Subject, SubjectId, Subjects,
};
use kiki_store::testing::{People, RandomIds, TestDb};
use kiki_store::{StoreError, outbox};
use kiki_types::event::AuditEvent;
use kiki_types::id::SubjectRequestId;
use kiki_types::{Principal, TenantId, UnixMillis};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::mail::{Mail, MailError, Message};
use crate::once::Claim;
use crate::subject::error::SubjectError;
use crate::subject::letters::Failed;
use crate::subject::model::{Kind, State};
use crate::subject::repo::Request;
use crate::subject::service::{NewRequest, Seen};
use crate::subject::{Calendar, Needs, RequestStore, Requests, Sheet};
use crate::{Caller, Pseudonyms, Seed, Shield};

/// A Thursday: the day itself does not count.
pub(super) const NOW: UnixMillis = UnixMillis(1_770_287_400_000);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Rows of people, in memory.
pub(super) struct Memory {
    declared: &'static Declared,
    pub(super) rows: Mutex<HashMap<SubjectId, Vec<Map<String, Value>>>>,
    pub(super) fails: AtomicBool,
    /// Whether what it holds is computed from others' data.
    pub(super) derives: AtomicBool,
    /// Whether it knows people by name alone.
    pub(super) is_apart: AtomicBool,
    /// Who has no name any more.
    pub(super) unnamed: Mutex<Vec<SubjectId>>,
    /// How often it was asked to erase.
    pub(super) erased: AtomicUsize,
    pub(super) restricted: Mutex<BTreeMap<SubjectId, bool>>,
    pub(super) objected: Mutex<BTreeMap<SubjectId, bool>>,
    /// For which tenant there is no way to it.
    pub(super) unreachable: Mutex<Option<TenantId>>,
    /// What happens elsewhere while it is told the next time that somebody is restricted.
    pub(super) meanwhile: Mutex<Option<BoxFuture<'static, ()>>>,
}

pub(super) static ORDERS: Declared = Declared { name: "orders", service: "value", tables: &[], files: &[] };
pub(super) static NOTES: Declared = Declared { name: "notes", service: "engage", tables: &[], files: &[] };

impl Memory {
    fn new(declared: &'static Declared) -> Arc<Self> {
        Arc::new(Self {
            declared,
            rows: Mutex::default(),
            fails: AtomicBool::new(false),
            derives: AtomicBool::new(false),
            is_apart: AtomicBool::new(false),
            unnamed: Mutex::default(),
            erased: AtomicUsize::new(0),
            restricted: Mutex::default(),
            objected: Mutex::default(),
            unreachable: Mutex::default(),
            meanwhile: Mutex::default(),
        })
    }

    fn asked(&self) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) { Err(self.away()) } else { Ok(()) }
    }

    fn away(&self) -> StoreError {
        StoreError::Peer { service: self.declared.service, is_away: true, why: "told to".to_owned() }
    }

    pub(super) fn put(&self, who: SubjectId, row: &Value) {
        let row = row.as_object().unwrap().clone();
        self.rows.lock().unwrap().entry(who).or_default().push(row);
    }

    pub(super) fn held(&self, who: SubjectId) -> usize {
        self.rows.lock().unwrap().get(&who).map_or(0, Vec::len)
    }
}

impl PersonalStore for Memory {
    fn declared(&self) -> &'static Declared {
        self.declared
    }

    fn knows_handles(&self) -> bool {
        !self.is_apart.load(Ordering::SeqCst)
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        let told = || {
            self.asked()?;
            let rows = self.rows.lock().unwrap().get(&who.id).cloned().unwrap_or_default();
            Ok(vec![Document { name: "all".to_owned(), provided: true, rows }])
        };
        std::future::ready(told()).boxed()
    }

    fn erase<'a>(&'a self, _: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        let erased = || {
            self.asked()?;
            if !self.knows_handles() && who.iter().any(|who| self.unnamed.lock().unwrap().contains(who)) {
                return Err(StoreError::Unnamed { service: "value" });
            }
            self.erased.fetch_add(who.len(), Ordering::SeqCst);
            let mut rows = self.rows.lock().unwrap();
            Ok(who.iter().map(|who| rows.remove(who).map_or(0, |rows| rows.len() as u64)).sum())
        };
        std::future::ready(erased()).boxed()
    }

    fn rectify<'a>(
        &'a self,
        who: &'a Subject,
        correction: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Rectified, StoreError>> {
        let changed = || {
            self.asked()?;
            let mut rows = self.rows.lock().unwrap();
            let rows = rows.entry(who.id).or_default();
            if self.derives.load(Ordering::SeqCst) && !rows.is_empty() {
                return Ok(Rectified::Derived);
            }
            rows.iter_mut().for_each(|row| row.extend(correction.clone()));
            Ok(if rows.is_empty() { Rectified::NotHeld } else { Rectified::Changed(rows.len() as u64) })
        };
        std::future::ready(changed()).boxed()
    }

    fn restrict<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        async move {
            if let Some(meanwhile) = meanwhile {
                meanwhile.await;
            }
            self.asked()?;
            self.restricted.lock().unwrap().insert(who.id, on);
            Ok(())
        }
        .boxed()
    }

    fn object<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        let told = || {
            self.asked()?;
            if *self.unreachable.lock().unwrap() == Some(who.tenant.clone()) {
                return Err(self.away());
            }
            self.objected.lock().unwrap().insert(who.id, on);
            Ok(())
        };
        std::future::ready(told()).boxed()
    }
}

/// Keeps what it is given.
#[derive(Default)]
pub(super) struct Post {
    pub(super) taken: Mutex<Vec<Message>>,
    pub(super) is_away: AtomicBool,
    pub(super) rejects: AtomicBool,
}

impl Mail for Post {
    fn send(&self, message: Message) -> BoxFuture<'_, Result<(), MailError>> {
        let sent = || {
            if self.is_away.load(Ordering::SeqCst) {
                return Err(MailError::Unavailable);
            }
            if self.rejects.load(Ordering::SeqCst) {
                return Err(MailError::Rejected);
            }
            let mut taken = self.taken.lock().unwrap();
            if taken.iter().all(|before| before.id != message.id) {
                taken.push(message);
            }
            Ok(())
        };
        std::future::ready(sent()).boxed()
    }
}

pub(super) struct World {
    pub(super) requests: Requests,
    pub(super) clock: Arc<ManualClock>,
    pub(super) people: People,
    pub(super) post: Arc<Post>,
    pub(super) orders: Arc<Memory>,
    pub(super) notes: Arc<Memory>,
    failed: tokio::sync::Mutex<Failed>,
    _owner: Owner,
    _folder: TempDir,
}

impl Requests {
    /// Takes requests in that came without a key.
    pub(super) async fn create(&self, caller: &Caller, wanted: Vec<NewRequest>) -> Result<Vec<Request>, SubjectError> {
        self.take_in(caller, wanted, &Claim::NONE).await
    }

    /// Holds somebody by a request that came without a key.
    pub(super) async fn hold(&self, caller: &Caller, customer: &str, matter: &str) -> Result<Hold, SubjectError> {
        self.place_hold(caller, customer, matter, &Claim::NONE).await
    }
}

impl World {
    pub(super) async fn new(db: &TestDb) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let settings = Settings {
            data: folder.path().join("governor"),
            origin: "kiki.local/test".to_owned(),
            retention_days: 30,
            clock: Arc::new(|| NOW),
            ids: Arc::new(RandomIds),
            key_seed: random,
        };
        let owner = Owner::start(settings).unwrap();
        let people = People::with_clock(&db.store, clock.clone()).await;
        let shield = Shield::new(Seed {
            governor: owner.handle(),
            store: db.store.clone(),
            subjects: Subjects::clone(&people),
            pseudonyms: Pseudonyms::new(b"key"),
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            currency: "USD".parse().unwrap(),
            audit: folder.path().join("governor/audit"),
            keys: folder.path().join("keys"),
            origin: "kiki.local/test".into(),
            policies: crate::policy::Policies::default(),
            consent_days: 0,
            random,
            tasks: Tasks::default(),
        });
        let post = Arc::new(Post::default());
        let requests = Requests::new(Needs {
            shield,
            calendar: Calendar::new(TimeZone::UTC, []),
            checks_identity: true,
            random,
            mail: post.clone(),
            sheet: Sheet::default(),
        });
        let (orders, notes) = (Memory::new(&ORDERS), Memory::new(&NOTES));
        let own = Arc::new(RequestStore(requests.clone()));
        requests.begin(Stores::new(vec![own, orders.clone(), notes.clone()]).unwrap());
        let failed = tokio::sync::Mutex::default();
        Self { requests, clock, people, post, orders, notes, failed, _owner: owner, _folder: folder }
    }

    /// A person of whom both stores hold something.
    pub(super) async fn person(&self, name: &str) -> Subject {
        let person = self.people.resolve(&tenant(), name, Mint::Yes).await.unwrap().unwrap();
        self.orders.put(person.id, &json!({"order": 1, "city": "Bonn"}));
        self.notes.put(person.id, &json!({"note": "likes tea"}));
        person
    }

    pub(super) async fn ask(&self, name: &str, kind: Kind) -> SubjectRequestId {
        self.ask_with(NewRequest { notify: true, ..wanted(name, kind) }).await
    }

    pub(super) async fn ask_with(&self, wanted: NewRequest) -> SubjectRequestId {
        self.requests.create(&officer(), vec![wanted]).await.unwrap()[0].id
    }

    pub(super) async fn see(&self, id: SubjectRequestId) -> Seen {
        self.requests.see(&officer(), id).await.unwrap()
    }

    pub(super) async fn state(&self, id: SubjectRequestId) -> State {
        self.see(id).await.request.state
    }

    /// Sends every letter that is due.
    pub(super) async fn write(&self) {
        let mut failed = self.failed.lock().await;
        while self.requests.next_letters("one", &mut failed).await.unwrap() > 0 {}
    }

    /// Carries out everything that is due.
    pub(super) async fn work(&self) {
        while self.requests.next_wave("one").await.unwrap() {}
    }

    /// Takes a request from its receipt over the identity check to its end.
    pub(super) async fn carry_out(&self, id: SubjectRequestId) -> Seen {
        self.write().await;
        self.requests.vouch(&officer(), id).await.unwrap();
        self.work().await;
        self.write().await;
        self.see(id).await
    }

    /// The subjects of the messages that were taken, in their order.
    pub(super) fn letters(&self) -> Vec<String> {
        self.post.taken.lock().unwrap().iter().map(|message| message.subject.clone()).collect()
    }

    /// The code that was mailed last.
    pub(super) async fn code(&self) -> String {
        self.code_in(|_| true).await
    }

    /// The code that was mailed for a request, whatever else was mailed at the same time.
    pub(super) async fn code_of(&self, id: SubjectRequestId) -> String {
        self.code_in(|body| body.contains(&id.to_string())).await
    }

    async fn code_in(&self, is_meant: impl Fn(&str) -> bool) -> String {
        self.write().await;
        let taken = self.post.taken.lock().unwrap();
        let is_meant = |message: &&Message| message.subject == "Your code" && is_meant(&message.body);
        let code = taken.iter().rev().find(is_meant).expect("a code");
        code.body
            .split_whitespace()
            .map(|word| word.trim_end_matches('.'))
            .find(|word| is_code(word))
            .unwrap()
            .to_owned()
    }

    /// Kinds and reasons of the entries that wait for the log.
    pub(super) async fn entries(&self) -> Vec<(String, String)> {
        let waiting = outbox::pending(self.requests.store(), "audit", 1_000).await.unwrap();
        let entry = |pending: &outbox::Pending| {
            let event: AuditEvent = serde_json::from_str(&pending.event.payload).unwrap();
            (event.event_type, event.reason)
        };
        waiting.iter().map(entry).collect()
    }
}

fn is_code(word: &str) -> bool {
    word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn wanted(name: &str, kind: Kind) -> NewRequest {
    let customer_id = name.to_owned();
    NewRequest { customer_id, kind, regime: None, received_at: None, correction: None, notify: false }
}

pub(super) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

pub(super) fn officer() -> Caller {
    Caller { principal: Arc::new(Principal::service(tenant(), "officer")), network: String::new() }
}

fn random() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(rand::random())
}
