//! The verbs of retention.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kiki_spend::Digest;
use kiki_store::Store;
use kiki_store::personal::{Class, Cutoffs, PersonalStore, Stores, Subject, SubjectId, Subjects};
use kiki_types::event::{AuditEvent, Outcome};
use kiki_types::{Principal, TenantId, UnixMillis};
use tokio::sync::Mutex;

use super::repo;
use crate::consent::repo::{position, set_position};
use crate::error::ShieldError;
use crate::report::{DAY_MS, Days};
use crate::service::{Caller, Shield};

/// Rows that one batch removes at the most, and people.
const BATCH_ROWS_MAX: u32 = 1_000;
const BATCH_PEOPLE_MAX: u32 = 500;
/// Batches of one store or of people that one run does at the most.
const BATCHES_MAX: u32 = 100_000;
/// How long others have the database between two batches.
const PAUSE: Duration = Duration::from_millis(5);
/// After so long an erasure is in the database, and so are all with a lower number.
const SETTLED_MS: i64 = 60 * 60 * 1_000;
/// What stands for people among the stores.
const PEOPLE: &str = "people";
/// The turn of the daily run.
const TURN: &str = "retention";

/// Retention of a shield. Cheap to clone.
#[derive(Clone)]
pub struct Retention(Arc<Parts>);

struct Parts {
    shield: Shield,
    /// Known once every service is there.
    stores: OnceLock<Stores>,
    days: Days,
    /// Who this process is among those that take turns.
    holder: String,
    /// One run at a time.
    running: Mutex<()>,
}

/// What of a store is, or was, past its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) store: &'static str,
    pub(crate) classes: Vec<Class>,
    pub(crate) rows: u64,
    pub(crate) oldest: Option<UnixMillis>,
}

/// What a run would remove.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cutoffs: Cutoffs,
    pub(crate) due: Vec<Due>,
}

/// What a run removed.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) removed: Vec<Due>,
    /// Stores that failed; they are tried again by the next run.
    pub(crate) failed: Vec<&'static str>,
    /// Whether it looked at all there is.
    pub(crate) is_whole: bool,
}

impl Done {
    pub(crate) fn rows(&self) -> u64 {
        self.removed.iter().map(|due| due.rows).sum()
    }
}

/// Until when a run may go on; never, where there is no end.
type End = Option<Duration>;

impl Retention {
    /// Retention for `days`. Nothing goes before [`Retention::begin`].
    #[must_use]
    pub fn new(shield: Shield, days: Days) -> Self {
        let holder = shield.0.ids.uuid().to_string();
        Self(Arc::new(Parts { shield, stores: OnceLock::new(), days, holder, running: Mutex::default() }))
    }

    /// Lets go what `stores` hold: all that there are over this database and in this data folder.
    pub fn begin(&self, stores: Stores) {
        // A second call changes nothing: who is erased must be erased from the same stores all along.
        let _ = self.0.stores.set(stores);
    }

    fn stores(&self) -> Result<&Stores, ShieldError> {
        self.0.stores.get().ok_or(ShieldError::Starting)
    }

    fn subjects(&self) -> &Subjects {
        &self.0.shield.0.subjects
    }

    fn store(&self) -> &Store {
        &self.0.shield.0.store
    }

    pub(super) fn days(&self) -> Days {
        self.0.days
    }

    fn now(&self) -> UnixMillis {
        self.0.shield.0.clock.now()
    }

    fn cutoffs(&self) -> Cutoffs {
        let (now, days) = (self.now(), self.0.days);
        let before = |days: u32| now.plus(-i64::from(days) * DAY_MS);
        Cutoffs {
            now,
            sessions: before(days.sessions),
            marketing: before(days.marketing),
            customers: before(days.customers),
            audit: before(days.audit),
        }
    }

    /// What a run would remove of `tenant` now.
    pub(crate) async fn plan(&self, tenant: &TenantId) -> Result<Plan, ShieldError> {
        let cutoffs = self.cutoffs();
        let mut due = Vec::new();
        for store in self.stores()?.iter() {
            let found = store.expire(tenant, &cutoffs, BATCH_ROWS_MAX, true).await?;
            due.push(due_of(store.as_ref(), found.rows, found.oldest));
        }
        let itself = self.subjects().of_tenant(tenant).await?.id;
        let (people, oldest) = repo::unused_count(self.store(), tenant, day(cutoffs.customers), itself).await?;
        due.push(people_due(people, oldest.map(|day| UnixMillis(day * DAY_MS))));
        Ok(Plan { cutoffs, due })
    }

    /// Removes what of the caller's tenant was kept long enough, for at most `budget`.
    pub(crate) async fn run(&self, caller: &Caller, budget: Option<Duration>) -> Result<Done, ShieldError> {
        let _one = self.0.running.lock().await;
        let tenant = &caller.principal.tenant;
        let (cutoffs, clock) = (self.cutoffs(), &self.0.shield.0.clock);
        let end = budget.map(|budget| clock.monotonic() + budget);
        let mut done = Done { is_whole: true, ..Done::default() };
        for store in self.stores()?.iter() {
            self.expire(store.as_ref(), tenant, &cutoffs, end, &mut done).await;
        }
        self.expire_people(caller, &cutoffs, end, &mut done).await;
        self.record(caller, &done).await?;
        Ok(done)
    }

    fn is_over(&self, end: End) -> bool {
        end.is_some_and(|end| self.0.shield.0.clock.monotonic() >= end)
    }

    async fn expire(&self, store: &dyn PersonalStore, tenant: &TenantId, cutoffs: &Cutoffs, end: End, done: &mut Done) {
        let mut due = due_of(store, 0, None);
        for _ in 0..BATCHES_MAX {
            if self.is_over(end) {
                done.is_whole = false;
                break;
            }
            match store.expire(tenant, cutoffs, BATCH_ROWS_MAX, false).await {
                Ok(gone) if gone.rows == 0 => break,
                Ok(gone) => {
                    due.rows += gone.rows;
                    due.oldest = due.oldest.or(gone.oldest);
                }
                Err(error) => {
                    tracing::warn!(store = due.store, %error, "what was kept long enough is still there");
                    done.failed.push(due.store);
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        done.removed.push(due);
    }

    async fn expire_people(&self, caller: &Caller, cutoffs: &Cutoffs, end: End, done: &mut Done) {
        let mut due = people_due(0, None);
        if let Err(error) = self.erase_people(caller, cutoffs, end, done, &mut due).await {
            tracing::warn!(%error, "people of whom nothing was heard for long, or what stores hold of them, are still there");
            done.failed.push(PEOPLE);
        }
        done.removed.push(due);
    }

    /// Destroys the keys first, each unless its person is held or used at that moment, and lets the stores forget only whose
    /// key went. While a store fails nobody new goes.
    async fn erase_people(
        &self,
        caller: &Caller,
        cutoffs: &Cutoffs,
        end: End,
        done: &mut Done,
        due: &mut Due,
    ) -> Result<(), ShieldError> {
        let tenant = &caller.principal.tenant;
        self.finish_erased(tenant).await?;
        for _ in 0..BATCHES_MAX {
            if self.is_over(end) {
                done.is_whole = false;
                return Ok(());
            }
            let gone = self.destroy_some(caller, cutoffs).await?;
            if gone.is_empty() {
                return Ok(());
            }
            due.rows += gone.len() as u64;
            self.erase_in_stores(tenant, &gone).await?;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn erase_in_stores(&self, tenant: &TenantId, who: &[SubjectId]) -> Result<(), ShieldError> {
        for store in self.stores()?.iter() {
            store.erase(tenant, who).await?;
        }
        Ok(())
    }

    /// Lets every store forget, by handle, whom retention erased and of whom it is not known that every store did: a store
    /// may have failed then, or the process ended.
    async fn finish_erased(&self, tenant: &TenantId) -> Result<(), ShieldError> {
        let follower = format!("retention/{tenant}");
        let from = position(self.store(), &follower).await?;
        let mut after = i64::try_from(from).unwrap_or(i64::MAX);
        for _ in 0..BATCHES_MAX {
            let erased = repo::erased(self.store(), tenant, after, BATCH_PEOPLE_MAX).await?;
            let Some(last) = erased.last() else { return Ok(()) };
            after = last.seq;
            let who: Vec<_> = erased.iter().map(|one| one.who).collect();
            self.erase_in_stores(tenant, &who).await?;
            let settled_by = self.now().plus(-SETTLED_MS);
            let settled = erased.iter().take_while(|one| one.at < settled_by).last();
            if let Some(settled) = settled.and_then(|one| u64::try_from(one.seq).ok()) {
                let mut tx = self.store().begin().await?;
                set_position(&mut tx, &follower, settled).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Destroys the keys of some people of whom nothing was heard for long enough. Returns whose.
    async fn destroy_some(&self, caller: &Caller, cutoffs: &Cutoffs) -> Result<Vec<SubjectId>, ShieldError> {
        let (subjects, tenant) = (self.subjects(), &caller.principal.tenant);
        let (itself, since) = (subjects.of_tenant(tenant).await?.id, day(cutoffs.customers));
        let who = repo::unused(self.store(), tenant, since, itself, BATCH_PEOPLE_MAX).await?;
        if who.is_empty() {
            return Ok(who);
        }
        let people = subjects.by_id(tenant, &who).await?;
        let gone = subjects.destroy_unused(tenant, &who, since).await?;
        let is_gone = |person: &&Subject| gone.contains(&person.id);
        let digests: Vec<_> = people.iter().filter(is_gone).map(|person| Digest(person.pseudonym)).collect();
        self.0.shield.forget(caller, &digests).await?;
        Ok(gone)
    }

    /// Tells the log what a run did.
    async fn record(&self, caller: &Caller, done: &Done) -> Result<(), ShieldError> {
        let shield = &self.0.shield;
        let counts = done.removed.iter().filter(|due| due.rows > 0).map(|due| format!("{}={}", due.store, due.rows));
        let failed = done.failed.iter().map(|store| format!("{store}=failed"));
        let event = AuditEvent {
            id: shield.0.ids.uuid(),
            at: self.now(),
            outcome: if done.failed.is_empty() { Outcome::Allowed } else { Outcome::Failed },
            reason: match done.rows() {
                0 => super::NOTHING_REMOVED.to_owned(),
                rows => format!("rows {rows}"),
            },
            data: counts.chain(failed).collect::<Vec<_>>().join(","),
            ..shield.draft(caller, super::RUN, "run", "retention")
        };
        let mut tx = self.store().begin().await?;
        crate::jobs::publish(&mut tx, &event)?;
        Ok(tx.commit().await?)
    }

    /// Runs for every tenant, if no process did today.
    pub(super) async fn take_daily_turn(&self) -> Result<(), ShieldError> {
        let now = self.now();
        if !repo::take_turn(self.store(), TURN, &self.0.holder, now, now.plus(DAY_MS)).await? {
            return Ok(());
        }
        let mut tenants = repo::tenants(self.store()).await?;
        if !tenants.contains(&TenantId::default_tenant()) {
            tenants.push(TenantId::default_tenant());
        }
        for tenant in tenants {
            let principal = Arc::new(Principal::service(tenant, "kiki-shield"));
            let done = self.run(&Caller { principal, network: String::new() }, None).await?;
            tracing::info!(rows = done.rows(), failed = done.failed.len(), "removed what was kept long enough");
        }
        Ok(())
    }
}

fn due_of(store: &dyn PersonalStore, rows: u64, oldest: Option<UnixMillis>) -> Due {
    let declared = store.declared();
    let mut classes: Vec<_> = declared.tables.iter().map(|table| table.class).collect();
    classes.sort_unstable();
    classes.dedup();
    Due { store: declared.name, classes, rows, oldest }
}

fn people_due(rows: u64, oldest: Option<UnixMillis>) -> Due {
    Due { store: PEOPLE, classes: vec![Class::Customers], rows, oldest }
}

fn day(at: UnixMillis) -> i64 {
    at.0.div_euclid(DAY_MS)
}
