//! Carries requests out, wave by wave: requests of one tenant, type and step, at most [`WAVE_MAX`].
//!
//! Each step is recorded before the next. A store that fails leaves its task failed with a code; the other stores go on,
//! and the request is tried again later, at those that failed alone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_store::personal::{Stores, Subject, SubjectId};
use kiki_types::id::SubjectRequestId;

use super::error::SubjectError;
use super::model::Kind;
use super::repo::Request;
use super::repo::work;
use super::service::Requests;
use super::wave::{LEASE_MS, Wave};

/// Requests of a wave at the most, and people that a store erases in one call.
const WAVE_MAX: i64 = 500;
/// Exports of a wave at the most: each is made in memory.
const EXPORTS_MAX: i64 = 4;
/// How long to wait when nothing is due.
const PAUSE: Duration = Duration::from_secs(1);

/// The store that is named where a person's own row does not open.
const PEOPLE: &str = "subjects";

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
        let limit = |kind: Kind| if kind.is_for_a_copy() { EXPORTS_MAX } else { WAVE_MAX };
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
}
