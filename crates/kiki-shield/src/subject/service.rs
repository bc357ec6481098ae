//! The verbs of subject requests: here how they come in and are shown; [`super::identity`] has how people prove who they
//! are, [`super::decide`] what officers decide.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use kiki_store::personal::{Mint, Stores, Subject, SubjectId, Subjects};
use kiki_store::{Store, StoreError, Tx};
use kiki_types::event::AuditEvent;
use kiki_types::id::SubjectRequestId;
use kiki_types::{Principal, TenantId, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::code::Sent;
use super::copies::WaitsFor;
use super::deadline::Calendar;
use super::error::SubjectError;
use super::model::{Awaits, Kind, Regime, State};
use super::repo::work::Task;
use super::repo::{self, Request, Wanted};
use super::sheet::Sheet;
use crate::error::ShieldError;
use crate::mail::{self, Letter, Mail};
use crate::names::check_customer_id;
use crate::once::Claim;
use crate::service::{Caller, Shield};

/// Requests that come in at once at the most.
pub(crate) const BULK_MAX: usize = 1_000;
/// Bytes of a correction at the most.
const CORRECTION_BYTES_MAX: usize = 16 * 1024;
/// Where what was asked for in words stands.
const DETAILS: &str = "subject_request.details";

/// What subject requests are made with.
pub struct Needs {
    /// Decides, and keeps the log.
    pub shield: Shield,
    /// Whose days count.
    pub calendar: Calendar,
    /// Whether people prove who they are.
    pub checks_identity: bool,
    /// Bytes that nobody can guess.
    pub random: fn() -> Zeroizing<[u8; 32]>,
    /// Sends mail.
    pub mail: Arc<dyn Mail>,
    /// What is told beside the data.
    pub sheet: Sheet,
}

/// Subject requests. Cheap to clone.
#[derive(Clone)]
pub struct Requests(pub(super) Arc<Parts>);

pub(super) struct Parts {
    pub(super) needs: Needs,
    /// Known once every service is there.
    stores: OnceLock<Stores>,
    /// Told when there is something to carry out.
    pub(super) work: Notify,
    /// Told when there is something to send.
    pub(super) letters: Notify,
}

/// A request as it comes in.
#[derive(Debug)]
pub(crate) struct NewRequest {
    pub(crate) customer_id: String,
    pub(crate) kind: Kind,
    pub(crate) regime: Option<Regime>,
    pub(crate) received_at: Option<UnixMillis>,
    pub(crate) correction: Option<Map<String, Value>>,
    /// Whether the person is written to.
    pub(crate) notify: bool,
}

/// What was asked for in words; sealed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Details {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correction: Option<Map<String, Value>>,
    #[serde(default)]
    pub(crate) notify: bool,
    /// Whether anything was known of the person before.
    #[serde(default)]
    pub(crate) is_known: bool,
    /// What an officer says was corrected, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) corrected: Option<String>,
}

impl Details {
    pub(super) fn sealed(&self, person: &Subject, id: SubjectRequestId) -> Vec<u8> {
        person.seal(DETAILS, &id.to_string(), &serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A request as an officer sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) request: Request,
    /// `None` where the person was erased.
    pub(crate) customer_id: Option<String>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) awaits: Option<Awaits>,
    /// What an officer says was corrected, and where.
    pub(crate) corrected: Option<String>,
}

impl Requests {
    /// Subject requests of a shield. They come in; nothing is carried out before [`Requests::begin`].
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Self(Arc::new(Parts { needs, stores: OnceLock::new(), work: Notify::new(), letters: Notify::new() }))
    }

    /// Lets requests be carried out over `stores`: all that there are.
    pub fn begin(&self, stores: Stores) {
        // A second call changes nothing: a request must not lose sight of a store that it was begun with.
        let _ = self.0.stores.set(stores);
    }

    /// All stores, once they are known.
    pub(super) fn stores(&self) -> Option<&Stores> {
        self.0.stores.get()
    }

    pub(super) fn store(&self) -> &Store {
        &self.shield().0.store
    }

    pub(super) fn shield(&self) -> &Shield {
        &self.0.needs.shield
    }

    pub(super) fn subjects(&self) -> &Subjects {
        &self.shield().0.subjects
    }

    /// The day of `at`, in the zone whose days count.
    pub(crate) fn day_of(&self, at: UnixMillis) -> String {
        self.0.needs.calendar.day_of(at).to_string()
    }

    pub(super) fn now(&self) -> UnixMillis {
        self.shield().0.clock.now()
    }

    /// In whose name the program acts by itself.
    pub(super) fn itself(tenant: &TenantId) -> Caller {
        Caller { principal: Arc::new(Principal::service(tenant.clone(), "kiki-shield")), network: String::new() }
    }

    /// Takes requests in, all or none; their audit entries follow through the outbox.
    pub(crate) async fn take_in(
        &self,
        caller: &Caller,
        wanted: Vec<NewRequest>,
        claim: &Claim,
    ) -> Result<Vec<Request>, SubjectError> {
        let (tenant, now) = (&caller.principal.tenant, self.now());
        wanted.iter().try_for_each(|one| check(one, now))?;
        let names: Vec<&str> = wanted.iter().map(|one| one.customer_id.as_str()).collect();
        let (known, people) = self.acquaint(tenant, &names, claim).await?;
        let mut requests = Vec::with_capacity(wanted.len());
        for ((one, known), person) in wanted.iter().zip(&known).zip(&people) {
            let person = person.as_ref().ok_or(SubjectError::Erased)?;
            let (correction, is_known) = (one.correction.clone(), *known > 0);
            let details = Details { correction, notify: one.notify, is_known, corrected: None };
            requests.push(self.new_request(person, one, &details, now));
        }
        let mut tx = self.store().begin().await?;
        repo::insert(&mut tx, &requests).await?;
        for ((request, person), one) in requests.iter().zip(people.iter().flatten()).zip(&wanted) {
            let reason = request.kind.as_str();
            self.tell(&mut tx, caller, "create", request, Some(person), reason)?;
            if one.notify {
                self.write_to(&mut tx, tenant, Letter::Acknowledgement { request: request.id })?;
            }
        }
        let ids: Vec<_> = requests.iter().map(|request| request.id.uuid()).collect();
        claim.remember(&mut tx, &ids).await?;
        tx.commit().await?;
        self.0.work.notify_one();
        self.0.letters.notify_one();
        Ok(requests)
    }

    /// Makes people known. Returns of each whether they were before the request first came, and who they are.
    pub(super) async fn acquaint(
        &self,
        tenant: &TenantId,
        names: &[&str],
        claim: &Claim,
    ) -> Result<(Vec<u8>, Vec<Option<Subject>>), SubjectError> {
        let known = self.subjects().resolve_many(tenant, names, Mint::No).await?;
        let known = known.iter().map(|person| u8::from(person.is_some())).collect();
        let known = claim.start_from(self.store(), known).await?;
        Ok((known, self.subjects().resolve_many(tenant, names, Mint::Yes).await?))
    }

    fn new_request(&self, person: &Subject, wanted: &NewRequest, details: &Details, now: UnixMillis) -> Request {
        let id = SubjectRequestId::new(self.shield().0.ids.as_ref());
        let calendar = &self.0.needs.calendar;
        let regime = wanted.regime.unwrap_or(wanted.kind.usual_regime());
        let received_at = wanted.received_at.unwrap_or(now);
        let received_on = calendar.day_of(received_at);
        let terms = calendar.terms(regime, wanted.kind, received_on);
        let end = |day: Option<jiff::civil::Date>| day.map_or(UnixMillis(0), |day| calendar.end_of(day));
        let is_exempt = wanted.kind.is_open_to_anybody() || !self.0.needs.checks_identity;
        let is_told = !wanted.notify;
        Request {
            tenant: person.tenant.clone(),
            id,
            subject: person.id,
            kind: wanted.kind,
            regime,
            state: State::first(is_exempt, is_told),
            outcome: None,
            ground: None,
            received_at,
            received_on: received_on.to_string(),
            acknowledge_by: end(terms.acknowledge_by),
            due_at: calendar.end_of(terms.due),
            extended_due_at: end(terms.extended),
            // Who asks for no mail is told by the answer.
            acknowledged_at: if is_told { now } else { UnixMillis(0) },
            verified_at: UnixMillis(0),
            verified_by: String::new(),
            extended_at: UnixMillis(0),
            ended_at: UnixMillis(0),
            details: details.sealed(person, id),
            sent: Sent::default(),
            reminded: 0,
            step: 0,
            next_at: now,
            lease_until: UnixMillis(0),
            waived_at: UnixMillis(0),
        }
    }

    /// What was asked for in words. Of somebody who was erased nothing is known but that they are written to no more.
    pub(super) fn details(request: &Request, person: Option<&Subject>) -> Result<Details, SubjectError> {
        let Some(person) = person.filter(|_| !request.details.is_empty()) else { return Ok(Details::default()) };
        let text = person.open(DETAILS, &request.id.to_string(), &request.details)?;
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }

    /// One of the tenant's requests.
    pub(super) async fn request(&self, tenant: &TenantId, id: SubjectRequestId) -> Result<Request, SubjectError> {
        Ok(repo::find(self.store(), tenant, id).await?.ok_or(UNKNOWN)?)
    }

    /// One of the tenant's requests, and how far it is in each store.
    pub(crate) async fn see(&self, caller: &Caller, id: SubjectRequestId) -> Result<Seen, SubjectError> {
        let tenant = &caller.principal.tenant;
        let request = self.request(tenant, id).await?;
        let person = self.person(&request).await?;
        let corrected = Self::details(&request, person.as_ref()).unwrap_or_default().corrected;
        let customer_id = person.map(|person| person.name().to_owned());
        let tasks = repo::work::tasks(self.store(), tenant, &[id]).await?;
        let awaits = self.awaits(tenant, std::slice::from_ref(&request)).await?.remove(&id);
        Ok(Seen { request, customer_id, tasks, awaits, corrected })
    }

    /// Names of stores that have not been asked yet for a request that is being carried out. An opt-out is the governor's
    /// matter alone.
    pub(crate) fn pending(&self, seen: &Seen) -> Vec<&'static str> {
        if seen.request.state.has_ended() || seen.request.kind == Kind::OptOut {
            return Vec::new();
        }
        let names = self.stores().into_iter().flat_map(Stores::iter).map(|store| store.declared().name);
        names.filter(|name| seen.tasks.iter().all(|task| task.store != *name)).collect()
    }

    /// Some of the tenant's requests.
    pub(crate) async fn list(&self, caller: &Caller, wanted: &Wanted) -> Result<Vec<Seen>, SubjectError> {
        let tenant = &caller.principal.tenant;
        let requests = repo::list(self.store(), tenant, wanted).await?;
        let people = self.people(tenant, &requests).await?;
        let mut awaits = self.awaits(tenant, &requests).await?;
        let seen = |request: Request| {
            let customer_id = people.get(&request.subject).map(|person| person.name().to_owned());
            let awaits = awaits.remove(&request.id);
            Seen { request, customer_id, tasks: Vec::new(), awaits, corrected: None }
        };
        Ok(requests.into_iter().map(seen).collect())
    }

    /// What each of `requests` waits for that the program does not do, if it does.
    async fn awaits(
        &self,
        tenant: &TenantId,
        requests: &[Request],
    ) -> Result<HashMap<SubjectRequestId, Awaits>, SubjectError> {
        let now = self.now();
        let of_copies = || requests.iter().filter(|request| request.waits_for_copies(now));
        let people: Vec<_> = of_copies().map(|request| request.subject).collect();
        let copies = repo::copies::awaited_now(self.store(), tenant, &people, now).await?;
        let is_ready = |request: &&Request| {
            let copies = copies.get(&request.subject);
            copies.and_then(|copies| request.waits_for(copies, now)) == Some(WaitsFor::Fetching)
        };
        let copies = of_copies().filter(is_ready).map(|request| (request.id, Awaits::Copy));
        let sources = requests.iter().filter(|request| request.awaits_source());
        Ok(copies.chain(sources.map(|request| (request.id, Awaits::Source))).collect())
    }

    /// Who a request is about; `None` once they were erased.
    pub(super) async fn person(&self, request: &Request) -> Result<Option<Subject>, SubjectError> {
        Ok(self.subjects().by_id(&request.tenant, &[request.subject]).await?.pop())
    }

    /// Who requests of one tenant are about, but for those who were erased.
    pub(super) async fn people(
        &self,
        tenant: &TenantId,
        requests: &[Request],
    ) -> Result<HashMap<SubjectId, Subject>, SubjectError> {
        let mut ids: Vec<_> = requests.iter().map(|request| request.subject).collect();
        ids.sort_unstable();
        ids.dedup();
        let people = self.subjects().by_id(tenant, &ids).await?;
        Ok(people.into_iter().map(|person| (person.id, person)).collect())
    }

    /// Lets the log hear what was done with a request, when `tx` commits.
    pub(super) fn tell(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        action: &str,
        request: &Request,
        person: Option<&Subject>,
        reason: &str,
    ) -> Result<(), SubjectError> {
        let event = self.entry(caller, action, request, person);
        Ok(crate::jobs::publish(tx, &AuditEvent { reason: reason.to_owned(), ..event })?)
    }

    /// The entry that tells of something that was done with a request.
    pub(super) fn entry(
        &self,
        caller: &Caller,
        action: &str,
        request: &Request,
        person: Option<&Subject>,
    ) -> AuditEvent {
        let shield = self.shield();
        AuditEvent {
            id: shield.0.ids.uuid(),
            at: self.now(),
            customer: person.map(pseudonym).unwrap_or_default(),
            data: "subject_request".to_owned(),
            ..shield.draft(caller, &format!("dsr.{action}"), action, &format!("subject_request/{}", request.id))
        }
    }

    /// Lets a letter leave, when `tx` commits.
    pub(super) fn write_to(&self, tx: &mut Tx, tenant: &TenantId, letter: Letter) -> Result<(), SubjectError> {
        Ok(mail::publish(tx, self.shield().0.ids.as_ref(), tenant, self.now(), letter)?)
    }
}

/// Who somebody is in the log.
pub(super) fn pseudonym(person: &Subject) -> String {
    kiki_spend::Digest(person.pseudonym).to_string()
}

fn check(wanted: &NewRequest, now: UnixMillis) -> Result<(), ShieldError> {
    check_customer_id(&wanted.customer_id)?;
    if wanted.received_at.is_some_and(|at| at > now || at.0 < 0) {
        return Err(ShieldError::invalid("received_at", "must not be later than now"));
    }
    match (&wanted.correction, wanted.kind) {
        (None, Kind::Rectification) => {
            Err(ShieldError::invalid("correction", "must say what is right, as names and values"))
        }
        (Some(_), kind) if kind != Kind::Rectification => {
            Err(ShieldError::invalid("correction", "is for RECTIFICATION alone"))
        }
        (Some(correction), _)
            if correction.is_empty()
                || serde_json::to_vec(correction).is_ok_and(|text| text.len() > CORRECTION_BYTES_MAX) =>
        {
            Err(ShieldError::invalid("correction", "must have names, and at most 16384 bytes"))
        }
        _ => Ok(()),
    }
}

pub(super) const UNKNOWN: ShieldError = ShieldError::NotFound("subject request");

/// What cannot be read where no query was asked.
pub(super) fn unreadable(what: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unreadable { column: what.to_owned(), why: error.to_string() }
}
