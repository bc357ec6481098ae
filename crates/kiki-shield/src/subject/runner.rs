//! Carries requests out, wave by wave: requests of one tenant, type and step, at most [`WAVE_MAX`].
//!
//! Each step is recorded before the next. A store that fails leaves its task failed with a code; the other stores go on,
//! and the request is tried again later, at those that failed alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_store::StoreError;
use kiki_store::personal::{PersonalStore, Stores, Subject, SubjectId};
use kiki_types::id::SubjectRequestId;
use kiki_types::{Bar, Channel, Purpose, TenantId};

use super::error::SubjectError;
use super::model::{Event, Kind, Outcome};
use super::repo::Request;
use super::repo::work::{self, Change, Task};
use super::service::Requests;
use crate::consent::Wanted;
use crate::consent::gpc::Gpc;
use crate::mail::Letter;
use crate::service::Caller;

/// Requests of a wave at the most, and people that a store erases in one call.
const WAVE_MAX: i64 = 500;
/// Exports of a wave at the most: each is made in memory.
const EXPORTS_MAX: i64 = 4;
/// How long a wave may take for one store before another takes it over; what a process that was killed held waits so long.
pub(super) const LEASE_MS: i64 = 30_000;
/// How long to wait after the first failure, and at the most.
const BACK_OFF_MS: (i64, i64) = (5_000, 3_600_000);
/// The code of a store that must be told a name that there is none of.
const UNNAMED: &str = "unnamed";
/// How long to wait when nothing is due.
const PAUSE: Duration = Duration::from_secs(1);

/// The store that is named where a person's own row does not open.
const PEOPLE: &str = "subjects";

/// Requests that are carried out together.
pub(super) struct Wave<'a> {
    pub(super) worker: &'a str,
    pub(super) stores: &'a Stores,
    pub(super) tenant: TenantId,
    pub(super) caller: Caller,
    pub(super) requests: Vec<Request>,
    pub(super) people: HashMap<SubjectId, Subject>,
    /// Stores that have done their part of a request.
    pub(super) done: HashSet<(SubjectRequestId, String)>,
    /// How often the most tried of what failed was tried.
    pub(super) attempts: i64,
}

impl Wave<'_> {
    /// Requests with the person they are about, but for those who were erased.
    pub(super) fn with_people(&self) -> impl Iterator<Item = (&Request, &Subject)> {
        self.requests.iter().filter_map(|request| Some((request, self.people.get(&request.subject)?)))
    }

    pub(super) fn all(&self) -> Vec<&Request> {
        self.requests.iter().collect()
    }

    fn is_done(&self, request: &Request, store: &str) -> bool {
        self.done.contains(&(request.id, store.to_owned()))
    }
}

/// What stores do with the people of a wave.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Erase,
    Restrict,
    Object,
}

impl Act {
    /// Returns how many rows that were, of all of `requests`.
    async fn on(self, store: &dyn PersonalStore, wave: &Wave<'_>, requests: &[&Request]) -> Result<u64, StoreError> {
        match self {
            Self::Erase => {
                let who: Vec<SubjectId> = requests.iter().map(|request| request.subject).collect();
                store.erase(&wave.tenant, &who).await
            }
            Self::Restrict | Self::Object => {
                for person in requests.iter().filter_map(|request| wave.people.get(&request.subject)) {
                    match self {
                        Self::Object => store.object(person, true).await?,
                        _ => store.restrict(person, true).await?,
                    }
                }
                Ok(0)
            }
        }
    }
}

impl Requests {
    /// Carries requests out until shutdown, as one of several workers.
    pub async fn work(self, shutdown: Shutdown) {
        let worker = self.shield().0.ids.uuid().to_string();
        while !shutdown.is_draining() {
            match self.next_wave(&worker).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "subject requests wait"),
            }
            tokio::select! {
                () = shutdown.draining() => {}
                () = self.0.work.notified() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Carries out what is due next. Returns whether anything was.
    pub(super) async fn next_wave(&self, worker: &str) -> Result<bool, SubjectError> {
        let Some(stores) = self.stores() else { return Ok(false) };
        let now = self.now();
        let limit = |kind| if matches!(kind, Kind::Access | Kind::Portability) { EXPORTS_MAX } else { WAVE_MAX };
        let requests = work::claim(self.store(), worker, now, now.plus(LEASE_MS), limit).await?;
        let Some(first) = requests.first() else { return Ok(false) };
        let (tenant, kind) = (first.tenant.clone(), first.kind);
        let ids: Vec<_> = requests.iter().map(|request| request.id).collect();
        let people = self.people(&tenant, &requests).await?;
        let tasks = work::tasks(self.store(), &tenant, &ids).await?;
        let attempts = tasks.iter().filter(|task| !task.is_done).map(|task| task.attempts).max().unwrap_or(0);
        let done = tasks.into_iter().filter(|task| task.is_done).map(|task| (task.request, task.store));
        let done = done.chain(self.done_before(stores, &requests, &people).await?).collect();
        let caller = Self::itself(&tenant);
        let mut wave = Wave { worker, stores, tenant, caller, requests, people, done, attempts };
        let carried = match self.put_off_unreadable(&mut wave, kind).await {
            Ok(()) if wave.requests.is_empty() => Ok(()),
            Ok(()) => self.carry_out(&wave, kind).await,
            Err(error) => Err(error),
        };
        if let Err(error) = carried {
            tracing::warn!(%error, requests = wave.requests.len(), "subject requests are tried again");
            self.later(&wave, &wave.all(), wave.attempts + 1).await?;
        }
        Ok(true)
    }

    /// Stores that must be told a name, and were for an earlier deletion of a person whose key is gone: a second request
    /// asks nothing more of them.
    async fn done_before(
        &self,
        stores: &Stores,
        requests: &[Request],
        people: &HashMap<SubjectId, Subject>,
    ) -> Result<Vec<(SubjectRequestId, String)>, SubjectError> {
        let is_gone = |request: &&Request| request.kind == Kind::Deletion && !people.contains_key(&request.subject);
        let gone: Vec<_> = requests.iter().filter(is_gone).collect();
        let Some(first) = gone.first() else { return Ok(Vec::new()) };
        let who = gone.iter().map(|request| request.subject);
        let before: HashSet<_> = work::erased_in(self.store(), &first.tenant, who).await?.into_iter().collect();
        let names = stores.iter().filter(|store| !store.knows_handles()).map(|store| store.declared().name);
        let pairs = names.flat_map(|name| gone.iter().map(move |request| (request, name)));
        let done = pairs.filter(|(request, name)| before.contains(&(request.subject, (*name).to_owned())));
        Ok(done.map(|(request, name)| (request.id, name.to_owned())).collect())
    }

    /// Takes requests of people whose row is there and does not open out of the wave: nothing is said to them that is not
    /// known. They can be erased, by handle.
    async fn put_off_unreadable(&self, wave: &mut Wave<'_>, kind: Kind) -> Result<(), SubjectError> {
        let missing: Vec<_> =
            wave.requests.iter().map(|request| request.subject).filter(|who| !wave.people.contains_key(who)).collect();
        if kind == Kind::Deletion || missing.is_empty() {
            return Ok(());
        }
        let damaged = self.subjects().present(&wave.tenant, &missing).await?;
        let (waits, goes): (Vec<Request>, Vec<Request>) =
            std::mem::take(&mut wave.requests).into_iter().partition(|request| damaged.contains(&request.subject));
        wave.requests = goes;
        if !waits.is_empty() {
            self.keep(wave, PEOPLE, waits.iter().map(|request| (request.id, 0)), Some("unreadable")).await?;
            self.later(wave, &waits.iter().collect::<Vec<_>>(), wave.attempts + 1).await?;
        }
        Ok(())
    }

    async fn carry_out(&self, wave: &Wave<'_>, kind: Kind) -> Result<(), SubjectError> {
        // What has begun is refused no more: nobody could take back what was done until then.
        if matches!(kind, Kind::Rectification | Kind::Restriction | Kind::Objection | Kind::OptOut) {
            self.step(wave, &wave.all(), 1).await?;
        }
        match kind {
            Kind::Access | Kind::Portability => self.hand_out(wave).await,
            Kind::Deletion => self.erase(wave).await,
            Kind::Rectification => self.rectify(wave).await,
            Kind::Restriction => self.restrict(wave).await,
            Kind::Objection => self.object(wave).await,
            Kind::OptOut => self.opt_out(wave).await,
        }
    }

    /// Tries `requests` again after a while.
    pub(super) async fn later(
        &self,
        wave: &Wave<'_>,
        requests: &[&Request],
        attempts: i64,
    ) -> Result<(), SubjectError> {
        let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 20)).unwrap_or(20);
        let wait = BACK_OFF_MS.0.saturating_mul(1 << doublings).min(BACK_OFF_MS.1);
        let mut tx = self.store().begin().await?;
        work::change(&mut tx, wave.worker, requests, &Change::Later(self.now().plus(wait))).await?;
        Ok(tx.commit().await?)
    }

    /// Records a step of the whole wave; an error if it was taken over.
    pub(super) async fn step(&self, wave: &Wave<'_>, requests: &[&Request], step: i64) -> Result<(), SubjectError> {
        let mut tx = self.store().begin().await?;
        let until = self.now().plus(LEASE_MS);
        if !work::change(&mut tx, wave.worker, requests, &Change::Step(step, until)).await? {
            return Err(SubjectError::Running);
        }
        Ok(tx.commit().await?)
    }

    /// Ends requests, with their entries and letters.
    pub(super) async fn complete(
        &self,
        wave: &Wave<'_>,
        requests: &[&Request],
        outcome: Outcome,
    ) -> Result<(), SubjectError> {
        let mut tx = self.store().begin().await?;
        let (is_erased, now) = (requests.iter().any(|request| request.kind == Kind::Deletion), self.now());
        let change = if is_erased { Change::Erased(outcome, now) } else { Change::Completed(outcome, now) };
        if !work::change(&mut tx, wave.worker, requests, &change).await? {
            return Err(SubjectError::Running);
        }
        for request in requests {
            request.state.after(Event::Completed, request.is_extended())?;
            // Who was erased has no name in the log, and was written to before.
            let person = wave.people.get(&request.subject).filter(|_| !is_erased);
            self.tell(&mut tx, &wave.caller, "complete", request, person, outcome.as_str())?;
            if Self::details(request, person)?.notify {
                self.write_to(&mut tx, &wave.tenant, Letter::Completed { request: request.id })?;
            }
        }
        tx.commit().await?;
        self.0.letters.notify_one();
        Ok(())
    }

    /// Keeps what became of `requests` in `store`.
    pub(super) async fn keep(
        &self,
        wave: &Wave<'_>,
        store: &str,
        requests: impl Iterator<Item = (SubjectRequestId, i64)>,
        error: Option<&str>,
    ) -> Result<(), SubjectError> {
        let at = self.now();
        let task = |(request, rows)| Task {
            request,
            store: store.to_owned(),
            is_done: error.is_none(),
            rows,
            attempts: 1,
            error: error.unwrap_or_default().to_owned(),
            at,
        };
        let tasks: Vec<_> = requests.map(task).collect();
        let ids: Vec<_> = tasks.iter().map(|task| task.request).collect();
        let mut tx = self.store().begin().await?;
        work::keep_tasks(&mut tx, &wave.tenant, &tasks).await?;
        work::hold_on(&mut tx, wave.worker, &wave.tenant, &ids, at.plus(LEASE_MS)).await?;
        Ok(tx.commit().await?)
    }

    /// Lets every store do its part of each of `requests` that it has not done yet. Returns those that every store did its
    /// part of; the others are tried again later.
    pub(super) async fn visit<'w>(
        &self,
        wave: &Wave<'_>,
        requests: &[&'w Request],
        act: Act,
    ) -> Result<Vec<&'w Request>, SubjectError> {
        let mut failed: HashSet<SubjectRequestId> = HashSet::new();
        for store in wave.stores.iter() {
            let name = store.declared().name;
            let mut asked: Vec<_> = requests.iter().copied().filter(|request| !wave.is_done(request, name)).collect();
            if asked.is_empty() {
                continue;
            }
            let mut acted = act.on(store.as_ref(), wave, &asked).await;
            if matches!(acted, Err(StoreError::Unnamed { .. })) {
                // Those without a name hold up nobody else.
                let unnamed: Vec<_> =
                    asked.extract_if(.., |request| !wave.people.contains_key(&request.subject)).collect();
                self.keep(wave, name, unnamed.iter().map(|request| (request.id, 0)), Some(UNNAMED)).await?;
                failed.extend(unnamed.iter().map(|request| request.id));
                acted = act.on(store.as_ref(), wave, &asked).await;
            }
            let (rows, error) = match &acted {
                Ok(rows) => (i64::try_from(*rows).unwrap_or(i64::MAX), None),
                Err(error) => (0, Some(code_of(error))),
            };
            if let Some(error) = error {
                tracing::warn!(store = name, error, "a store did not do its part of subject requests");
                failed.extend(asked.iter().map(|request| request.id));
            }
            // Of several at once only the sum is known.
            let rows = if asked.len() == 1 || rows == 0 { rows } else { -1 };
            self.keep(wave, name, asked.iter().map(|request| (request.id, rows)), error).await?;
        }
        let (whole, waits): (Vec<&Request>, Vec<&Request>) =
            requests.iter().copied().partition(|request| !failed.contains(&request.id));
        if !waits.is_empty() {
            self.later(wave, &waits, wave.attempts + 1).await?;
        }
        Ok(whole)
    }

    async fn rectify(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        use kiki_store::personal::Rectified;
        for (request, person) in wave.with_people() {
            let correction = Self::details(request, Some(person))?.correction.unwrap_or_default();
            let (mut changed, mut derived, mut failed) = (0, false, false);
            for store in wave.stores.iter() {
                let name = store.declared().name;
                let (rows, error) = match store.rectify(person, &correction).await {
                    Ok(Rectified::Changed(rows)) => (i64::try_from(rows).unwrap_or(i64::MAX), None),
                    Ok(Rectified::NotHeld) => (0, None),
                    Ok(Rectified::Derived) => {
                        derived = true;
                        (0, None)
                    }
                    Err(error) => (0, Some(code_of(&error))),
                };
                changed += rows;
                failed |= error.is_some();
                self.keep(wave, name, [(request.id, rows)].into_iter(), error).await?;
            }
            let outcome = match (changed, derived) {
                (_, true) => Outcome::Part,
                (0, false) => Outcome::NothingHeld,
                (_, false) => Outcome::Whole,
            };
            if failed {
                self.later(wave, &[request], wave.attempts + 1).await?;
            } else {
                self.complete(wave, &[request], outcome).await?;
            }
        }
        self.end_erased(wave).await
    }

    async fn restrict(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        for (_, person) in wave.with_people() {
            self.shield().bar(&wave.caller, person, Bar::Restricted, true).await?;
        }
        let whole = self.visit(wave, &wave.all(), Act::Restrict).await?;
        self.complete(wave, &whole, Outcome::Whole).await
    }

    pub(super) async fn object(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        let (mut done, mut gone) = (Vec::new(), Vec::new());
        for (request, person) in wave.with_people() {
            // A wave takes its time: who is erased meanwhile has nothing left to object to.
            if self.person(request).await?.is_none() {
                gone.push(request);
                continue;
            }
            self.shield().bar(&wave.caller, person, Bar::Objected, true).await?;
            for purpose in [Purpose::Marketing, Purpose::Targeting, Purpose::Profiling] {
                let wanted = Wanted::of(person.name().to_owned(), purpose, Channel::Any);
                self.shield().revoke_consent_of(&wave.caller, person, wanted, Gpc(false)).await?;
            }
            done.push(request);
        }
        let whole = self.visit(wave, &done, Act::Object).await?;
        self.complete(wave, &whole, Outcome::Whole).await?;
        // The next wave knows that they are gone.
        self.later(wave, &gone, 1).await?;
        self.end_erased(wave).await
    }

    async fn opt_out(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        for (_, person) in wave.with_people() {
            self.shield().bar(&wave.caller, person, Bar::DoNotSell, true).await?;
        }
        self.complete(wave, &wave.all(), Outcome::Whole).await
    }

    /// Ends requests of people who were erased meanwhile: nothing is held.
    pub(super) async fn end_erased(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        let erased: Vec<_> =
            wave.requests.iter().filter(|request| !wave.people.contains_key(&request.subject)).collect();
        if erased.is_empty() { Ok(()) } else { self.complete(wave, &erased, Outcome::NothingHeld).await }
    }
}

/// What is told of an error of a store: never its text, which may quote what it holds.
pub(super) fn code_of(error: &StoreError) -> &'static str {
    match error {
        error if error.is_unavailable() => "unavailable",
        StoreError::Personal(_) => "unreadable",
        StoreError::Unnamed { .. } => UNNAMED,
        _ => "failed",
    }
}
