//! Deletion: the one right whose steps cannot be taken back, so their order matters.
//!
//! | step | what |
//! |---|---|
//! | 0 | copies that were asked for come first ([`super::copies`]); people under a legal hold are passed over; from here on nobody can be held |
//! | 1 | the governor decides nothing new about the people; every store forgets them; they are written to a last time |
//! | 2 | the governor forgets them; their keys are destroyed, which the register and the log are told |
//! | 3 | the requests are completed |
//!
//! Whatever somebody writes about a person between steps 1 and 2 is unreadable after it. A request whose person is gone
//! already, as after a restored backup, goes on by handle.

use std::collections::HashMap;

use futures::FutureExt as _;
use kiki_store::personal::{Cause, SubjectId};
use kiki_types::TenantId;
use kiki_types::id::SubjectRequestId;

use super::bars::all_at_once;
use super::copies::WaitsFor;
use super::decide::BY_HAND;
use super::error::SubjectError;
use super::model::{Ground, Outcome};
use super::repo::Request;
use super::repo::copies;
use super::repo::work::{self, Change};
use super::service::Requests;
use super::stores::{REQUESTS, tells_more};
use super::wave::{Act, LEASE_MS, Wave};
use crate::mail::Letter;

/// The store whose messages are asked for once more: the last one is written after it forgot.
const MAILBOX: &str = "mailbox";

/// When to look again whether the copy is made that a person asked for as well.
const MAKING_WAIT_MS: i64 = 2_000;
/// When to look again whether a copy is made that failed before: each look tells every store who is restricted.
const TRYING_WAIT_MS: i64 = 60_000;
/// When to look again whether it was fetched, or its time is over.
const FETCHING_WAIT_MS: i64 = 600_000;

impl Requests {
    pub(super) async fn erase(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        let mut step = wave.requests.first().map_or(0, |request| request.step);
        let mut requests = wave.all();
        if step == 0 {
            requests = self.begin_erasing(wave).await?;
            step = 1;
        }
        if step == 1 {
            requests = self.erase_in_stores(wave, &requests).await?;
            self.step(wave, &requests, 2).await?;
            step = 2;
        }
        if step == 2 {
            requests = self.destroy(wave, &requests).await?;
            self.step(wave, &requests, 3).await?;
        }
        self.end(wave, &requests).await
    }

    /// Refuses for people under a legal hold, and puts off for those who have yet to fetch a copy. Holds and this take turns:
    /// the row of a person is locked by both.
    async fn begin_erasing<'w>(&self, wave: &'w Wave<'_>) -> Result<Vec<&'w Request>, SubjectError> {
        // Also of people whose row does not open.
        let known: Vec<_> = wave.requests.iter().map(|request| request.subject).collect();
        let mut tx = self.store().begin().await?;
        let claim = self.store().dialect().claim();
        let held = work::locked(&mut tx, claim, &wave.tenant, &known).await?;
        let now = self.now();
        let copies = copies::awaited(tx.sql(), &wave.tenant, &known, now).await?;
        let waits_for = |request: &Request| request.waits_for(copies.get(&request.subject)?, now);
        let is_held = |request: &Request| held.get(&request.subject).copied();
        let (mut go, mut refused, mut wait) = (Vec::new(), Vec::new(), Vec::new());
        let (mut making, mut trying, mut fetching) = (Vec::new(), Vec::new(), Vec::new());
        for request in &wave.requests {
            match (wave.people.contains_key(&request.subject), is_held(request), waits_for(request)) {
                (true, Some(false), Some(WaitsFor::Making)) => making.push(request),
                (true, Some(false), Some(WaitsFor::Trying)) => trying.push(request),
                (true, Some(false), Some(WaitsFor::Fetching)) => fetching.push(request),
                (_, Some(true), _) => refused.push(request),
                (_, Some(false), _) | (false, None, _) => go.push(request),
                // Another transaction has the row.
                (true, None, _) => wait.push(request),
            }
        }
        let lease = Change::Step(1, now.plus(LEASE_MS));
        let is_ours = work::change(&mut tx, wave.worker, &go, &lease).await?
            && work::change(&mut tx, wave.worker, &refused, &Change::Refused(Ground::LegalHold, now)).await?
            && work::change(&mut tx, wave.worker, &wait, &Change::Later(now)).await?
            && work::change(&mut tx, wave.worker, &making, &Change::Later(now.plus(MAKING_WAIT_MS))).await?
            && work::change(&mut tx, wave.worker, &trying, &Change::Later(now.plus(TRYING_WAIT_MS))).await?
            && work::change(&mut tx, wave.worker, &fetching, &Change::Later(now.plus(FETCHING_WAIT_MS))).await?;
        if !is_ours {
            return Err(SubjectError::Running);
        }
        self.overtake(&mut tx, wave, &go, now).await?;
        for request in &refused {
            let person = wave.people.get(&request.subject);
            self.tell(&mut tx, &wave.caller, "refuse", request, person, Ground::LegalHold.as_str())?;
            self.write_to(&mut tx, &wave.tenant, Letter::Refused { request: request.id })?;
        }
        tx.commit().await?;
        self.unrestrict_all(wave, &refused).await;
        let waiting = making.iter().chain(&trying).chain(&fetching).copied();
        let waiting = waiting.filter_map(|request| Some((request, wave.people.get(&request.subject)?)));
        if let Err(error) = self.restrict_meanwhile(&wave.caller, &waiting.collect::<Vec<_>>()).await {
            // They are looked at again soon; those that go on wait for nobody.
            tracing::warn!(%error, "not everybody whose deletion waits is restricted yet");
        }
        Ok(go)
    }

    /// Takes back what restricts people whose deletion was refused. Who is left is taken care of by a repeat of the refusal.
    async fn unrestrict_all(&self, wave: &Wave<'_>, refused: &[&Request]) {
        for request in refused {
            let Some(person) = wave.people.get(&request.subject) else { continue };
            if let Err(error) = self.unrestrict(&wave.caller, request, person).await {
                tracing::warn!(%error, request = %request.id, "a restriction outlives the deletion that it came with");
            }
        }
    }

    async fn erase_in_stores<'w>(
        &self,
        wave: &'w Wave<'_>,
        requests: &[&'w Request],
    ) -> Result<Vec<&'w Request>, SubjectError> {
        let people = requests.iter().filter_map(|request| wave.people.get(&request.subject));
        let bars = people.map(|person| self.bar_at_once(&wave.caller, person).boxed());
        all_at_once(bars.collect()).await?;
        let told = self.tell_of_overtaken(wave, requests.to_vec()).await?;
        let whole = self.visit(wave, &told, Act::Erase).await?;
        self.say_goodbye(wave, whole).await
    }

    /// Writes to the people while their names can be read. Returns those who were written to, or need not be; the others
    /// wait for the provider.
    async fn say_goodbye<'w>(
        &self,
        wave: &'w Wave<'_>,
        requests: Vec<&'w Request>,
    ) -> Result<Vec<&'w Request>, SubjectError> {
        let outcomes = self.outcomes(wave, &requests).await?;
        let mut letters = Vec::new();
        for request in &requests {
            let Some(person) = wave.people.get(&request.subject) else { continue };
            if Self::details(request, Some(person)).is_ok_and(|details| details.notify) {
                let told = Request { outcome: outcomes.get(&request.id).copied(), ..(*request).clone() };
                letters.push((request.id, self.completed_letter(&told, person, None)));
            }
        }
        self.write_now(wave, requests, letters).await
    }

    /// Destroys the keys; a person who was put under a hold all the same keeps theirs.
    async fn destroy<'w>(&self, wave: &Wave<'_>, requests: &[&'w Request]) -> Result<Vec<&'w Request>, SubjectError> {
        // Who is held stays: what they decided is not forgotten.
        let (mut held, requests) = self.held(wave, requests).await?;
        let people: Vec<_> = requests.iter().filter_map(|request| wave.people.get(&request.subject)).collect();
        self.forget(&wave.caller, &people).await?;
        let who: Vec<_> = requests.iter().map(|request| request.subject).collect();
        let of = match &requests[..] {
            [one] => one.id.to_string(),
            _ => String::new(),
        };
        let destroyed = self.subjects().destroy(&wave.tenant, &who, Cause::Request, &of).await?;
        if let Some(mailbox) = wave.stores.get(MAILBOX) {
            mailbox.erase(&wave.tenant, &who).await?;
        }
        let (held_since, gone): (Vec<&Request>, Vec<&Request>) =
            requests.into_iter().partition(|request| destroyed.held.contains(&request.subject));
        held.extend(held_since);
        if !held.is_empty() {
            let mut tx = self.store().begin().await?;
            work::change(&mut tx, wave.worker, &held, &Change::Refused(Ground::LegalHold, self.now())).await?;
            for request in &held {
                self.tell(&mut tx, &wave.caller, "refuse", request, None, Ground::LegalHold.as_str())?;
            }
            tx.commit().await?;
            self.unrestrict_all(wave, &held).await;
        }
        Ok(gone)
    }

    /// `requests` of people who stand under a legal hold, and the others.
    async fn held<'w>(
        &self,
        wave: &Wave<'_>,
        requests: &[&'w Request],
    ) -> Result<(Vec<&'w Request>, Vec<&'w Request>), SubjectError> {
        let who: Vec<_> = requests.iter().map(|request| request.subject).collect();
        let holds = self.holds_on(&wave.tenant, &who).await?;
        Ok(requests.iter().copied().partition(|request| holds.get(&request.subject) == Some(&true)))
    }

    /// Who of `people` is there, and whether they stand under a legal hold.
    pub(super) async fn holds_on(
        &self,
        tenant: &TenantId,
        people: &[SubjectId],
    ) -> Result<HashMap<SubjectId, bool>, SubjectError> {
        let mut tx = self.store().begin().await?;
        let holds = work::locked(&mut tx, "", tenant, people).await?;
        tx.commit().await?;
        Ok(holds)
    }

    async fn end(&self, wave: &Wave<'_>, requests: &[&Request]) -> Result<(), SubjectError> {
        let outcomes = self.outcomes(wave, requests).await?;
        for outcome in [Outcome::Part, Outcome::Whole, Outcome::NothingHeld] {
            let came_to = |request: &&&Request| outcomes.get(&request.id) == Some(&outcome);
            let requests: Vec<&Request> = requests.iter().filter(came_to).copied().collect();
            if !requests.is_empty() {
                self.complete(wave, &requests, outcome).await?;
            }
        }
        Ok(())
    }

    /// What deletions came to, by what the stores did.
    async fn outcomes(
        &self,
        wave: &Wave<'_>,
        requests: &[&Request],
    ) -> Result<HashMap<SubjectRequestId, Outcome>, SubjectError> {
        let ids: Vec<_> = requests.iter().map(|request| request.id).collect();
        let tasks = work::tasks(self.store(), &wave.tenant, &ids).await?;
        let mut outcomes = HashMap::new();
        for request in requests {
            let person = wave.people.get(&request.subject);
            // Once the key is gone it cannot be read any more whether they were.
            let is_known = person.is_none() || Self::details(request, person)?.is_known;
            // This very request is kept whatever was held besides; of several people at once only a sum may be known.
            let tells = |task: &work::Task| {
                (task.rows > 0 || is_known && task.rows < 0)
                    && task.store != REQUESTS
                    && tells_more(is_known, &task.store)
            };
            let its = || tasks.iter().filter(|task| task.request == request.id);
            let outcome = if its().any(|task| task.error == BY_HAND) {
                Outcome::Part
            } else if its().any(tells) {
                Outcome::Whole
            } else {
                Outcome::NothingHeld
            };
            outcomes.insert(request.id, outcome);
        }
        Ok(outcomes)
    }
}
