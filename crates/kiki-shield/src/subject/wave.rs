//! Waves: requests that are carried out together, what becomes of each of them, and the round over the stores.
//!
//! What is recorded names who carries the wave out: of one that was taken over nothing is changed any more.

use std::collections::{HashMap, HashSet};

use kiki_store::StoreError;
use kiki_store::personal::{PersonalStore, Stores, Subject, SubjectId};
use kiki_types::TenantId;
use kiki_types::id::SubjectRequestId;

use super::error::SubjectError;
use super::model::{Event, Kind, Outcome};
use super::repo::Request;
use super::repo::work::{self, Change, Task};
use super::service::Requests;
use crate::mail::Letter;
use crate::service::Caller;

/// How long a wave may take for one store before another takes it over; what a process that was killed held waits so long.
pub(super) const LEASE_MS: i64 = 30_000;
/// How long to wait after the first failure, and at the most.
const BACK_OFF_MS: (i64, i64) = (5_000, 3_600_000);
/// The code of a store that must be told a name that there is none of.
const UNNAMED: &str = "unnamed";

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
