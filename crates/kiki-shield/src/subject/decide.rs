//! What officers decide: more time, refusal, another try, the end of a restriction, and a key destroyed before every store
//! has answered.

use kiki_store::personal::{Cause, Stores, Subject};
use kiki_types::id::SubjectRequestId;
use kiki_types::{Bar, UnixMillis};

use super::error::SubjectError;
use super::letters::MAIL_TASK;
use super::model::{Delay, Event, Ground, Impossible, Kind, State};
use super::repo::work::Task;
use super::repo::{self, Request, copies, restriction};
use super::service::Requests;
use crate::mail::Letter;
use crate::service::Caller;

impl Requests {
    /// Takes more time, once, while the first is not over. The person is told.
    pub(crate) async fn extend(
        &self,
        caller: &Caller,
        id: SubjectRequestId,
        why: Delay,
    ) -> Result<Request, SubjectError> {
        let (tenant, now) = (&caller.principal.tenant, self.now());
        let request = self.request(tenant, id).await?;
        let state = request.state.after(Event::Extended, request.is_extended())?;
        if request.extended_due_at.0 == 0 || request.due_at < now {
            return Err(SubjectError::NoExtension);
        }
        let person = self.person(&request).await?;
        let mut tx = self.store().begin().await?;
        if !repo::extend(&mut tx, &request, now).await? {
            return Err(SubjectError::Running);
        }
        self.tell(&mut tx, caller, "extend", &request, person.as_ref(), why.as_str())?;
        self.write_to(&mut tx, tenant, Letter::Extended { request: id, why })?;
        tx.commit().await?;
        self.0.letters.notify_one();
        Ok(Request { state, extended_at: now, ..request })
    }

    /// Refuses a request of which nothing was carried out, or that waits for its source. The person is told why.
    pub(crate) async fn refuse(
        &self,
        caller: &Caller,
        id: SubjectRequestId,
        ground: Ground,
    ) -> Result<Request, SubjectError> {
        let request = self.request(&caller.principal.tenant, id).await?;
        self.refused(caller, request, ground).await
    }

    /// As [`Requests::refuse`], of a request at hand.
    pub(super) async fn refused(
        &self,
        caller: &Caller,
        request: Request,
        ground: Ground,
    ) -> Result<Request, SubjectError> {
        let now = self.now();
        let person = self.person(&request).await?;
        let restricts = request.kind == Kind::Deletion
            && matches!(request.state, State::InProgress | State::Extended | State::Refused);
        if let Some(person) = person.as_ref().filter(|_| restricts && request.state == State::Refused) {
            // A refusal that was broken off left it standing.
            self.unrestrict(caller, &request, person).await?;
        }
        let state = request.state.after(Event::Refused, request.is_extended())?;
        if request.awaits_source() && self.has_changed(&request).await? {
            return Err(SubjectError::Running);
        }
        let mut tx = self.store().begin().await?;
        if !repo::refuse(&mut tx, &request, ground, now).await? {
            return Err(SubjectError::Running);
        }
        self.tell(&mut tx, caller, "refuse", &request, person.as_ref(), ground.as_str())?;
        self.write_to(&mut tx, &request.tenant, Letter::Refused { request: request.id })?;
        tx.commit().await?;
        self.0.letters.notify_one();
        if let Some(person) = person.as_ref().filter(|_| restricts) {
            self.unrestrict(caller, &request, person).await?;
        }
        Ok(Request { state, ground: Some(ground), ended_at: now, ..request })
    }

    /// Asks the stores that failed again at once. A deletion that waits for a copy goes on `without_copy`, where the person
    /// does not want it any more.
    pub(crate) async fn retry(
        &self,
        caller: &Caller,
        id: SubjectRequestId,
        without_copy: bool,
    ) -> Result<Request, SubjectError> {
        let (tenant, now) = (&caller.principal.tenant, self.now());
        let request = self.request(tenant, id).await?;
        running(&request)?;
        if request.awaits_source() {
            return Err(SubjectError::AwaitsSource);
        }
        if without_copy && request.kind != Kind::Deletion {
            return Err(SubjectError::WrongType(request.kind));
        }
        let mut tx = self.store().begin().await?;
        let (is_moved, reason) = match without_copy {
            true => (copies::waive(&mut tx, &request, now).await?, "without_copy"),
            false => (repo::hasten(&mut tx, &request, now).await?, ""),
        };
        if !is_moved {
            return Err(SubjectError::Running);
        }
        self.tell(&mut tx, caller, "retry", &request, None, reason)?;
        tx.commit().await?;
        self.0.work.notify_one();
        Ok(Request { next_at: now, ..request })
    }

    /// Ends a restriction, once; it may be repeated. The person is told before. What else restricts them stands.
    pub(crate) async fn lift(&self, caller: &Caller, id: SubjectRequestId) -> Result<Request, SubjectError> {
        let request = self.request(&caller.principal.tenant, id).await?;
        if request.kind != Kind::Restriction {
            return Err(SubjectError::WrongType(request.kind));
        }
        if request.state != State::Completed {
            return Err(Impossible(request.state).into());
        }
        let person = self.person(&request).await?.ok_or(SubjectError::Erased)?;
        let mut tx = self.store().begin().await?;
        if restriction::lift(&mut tx, &request, self.now()).await? {
            self.tell(&mut tx, caller, "lift", &request, Some(&person), "")?;
            self.write_to(&mut tx, &request.tenant, Letter::Lifted { request: id })?;
        }
        tx.commit().await?;
        self.0.letters.notify_one();
        self.unrestrict(caller, &request, &person).await?;
        Ok(request)
    }

    /// Takes back what restricts the person whom `request` is about, unless a request stands that wants it so.
    pub(super) async fn unrestrict(
        &self,
        caller: &Caller,
        request: &Request,
        person: &Subject,
    ) -> Result<(), SubjectError> {
        if !restriction::stands(self.store(), request).await? {
            self.set_restricted(caller, person, false).await?;
            // What began meanwhile set its bar before this one was taken, perhaps.
            if restriction::stands(self.store(), request).await? {
                self.set_restricted(caller, person, true).await?;
            }
        }
        Ok(())
    }

    async fn set_restricted(&self, caller: &Caller, person: &Subject, on: bool) -> Result<(), SubjectError> {
        self.shield().bar(caller, person, Bar::Restricted, on).await?;
        self.restrict_in_stores(person, on).await
    }

    /// Destroys a person's key although a store has not answered: what it holds of them is unreadable at once, and its rows
    /// go by handle when it answers. Services that know people by name alone could not be told whom to erase any more: they
    /// stand against it, unless an officer erases there `by_hand`, which the outcome says.
    pub(crate) async fn destroy_key(
        &self,
        caller: &Caller,
        id: SubjectRequestId,
        by_hand: bool,
    ) -> Result<Request, SubjectError> {
        let request = self.request(&caller.principal.tenant, id).await?;
        if request.kind != Kind::Deletion {
            return Err(SubjectError::WrongType(request.kind));
        }
        running(&request)?;
        if request.step == 0 {
            return Err(SubjectError::TooEarly);
        }
        let unasked = self.need_name(&request).await?;
        if !by_hand && !unasked.is_empty() {
            return Err(SubjectError::NeedName(unasked));
        }
        if self.holds_on(&request.tenant, &[request.subject]).await?.get(&request.subject) == Some(&true) {
            return Err(SubjectError::State(Impossible(request.state)));
        }
        if let Some(person) = self.person(&request).await? {
            self.forget(&Self::itself(&request.tenant), &[&person]).await?;
        }
        let who = [request.subject];
        let destroyed = self.subjects().destroy(&request.tenant, &who, Cause::Request, &request.id.to_string()).await?;
        if !destroyed.held.is_empty() {
            return Err(SubjectError::State(Impossible(request.state)));
        }
        let mut tx = self.store().begin().await?;
        let task = |store: &&str| Task {
            request: id,
            store: (*store).to_owned(),
            is_done: true,
            rows: 0,
            attempts: 1,
            error: BY_HAND.to_owned(),
            at: self.now(),
        };
        let tasks: Vec<_> = unasked.iter().map(task).collect();
        repo::work::keep_tasks(&mut tx, &request.tenant, &tasks).await?;
        let reason = if unasked.is_empty() { "" } else { BY_HAND };
        self.tell(&mut tx, caller, "destroy_key", &request, None, reason)?;
        tx.commit().await?;
        self.0.work.notify_one();
        Ok(request)
    }

    /// Stores that have yet to do their part of a deletion, and must be told the name for it.
    async fn need_name(&self, request: &Request) -> Result<Vec<&'static str>, SubjectError> {
        let tasks = repo::work::tasks(self.store(), &request.tenant, &[request.id]).await?;
        let stores = self.stores().into_iter().flat_map(Stores::iter).filter(|store| !store.knows_handles());
        let is_open = |name: &&str| !tasks.iter().any(|task| task.store == *name && task.is_done);
        Ok(stores.map(|store| store.declared().name).filter(is_open).collect())
    }

    /// Refuses what nobody proved to be theirs although they were asked to and had time, and reminds of what is due. What
    /// nobody was asked to prove stays open, and overdue. Returns how many requests it looked at.
    pub(super) async fn remind(&self) -> Result<usize, SubjectError> {
        let now = self.now();
        let requests = repo::to_remind(self.store(), now, REMINDED_MAX).await?;
        let count = requests.len();
        for request in requests {
            let caller = Self::itself(&request.tenant);
            self.remind_of(&caller, &request, now).await?;
            let is_unproven = matches!(request.state, State::Received | State::IdentityCheck);
            if is_unproven
                && request.due() < now
                && request.sent.is_unanswered(now)
                && !self.is_unwritten(&request).await?
            {
                match self.refused(&caller, request, Ground::IdentityNotProven).await {
                    // Somebody proved it at the last moment.
                    Ok(_) | Err(SubjectError::Running | SubjectError::State(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(count)
    }

    /// Whether a letter about a request was given up: whoever got none was not asked.
    async fn is_unwritten(&self, request: &Request) -> Result<bool, SubjectError> {
        let tasks = repo::work::tasks(self.store(), &request.tenant, &[request.id]).await?;
        Ok(tasks.iter().any(|task| task.store == MAIL_TASK))
    }

    async fn remind_of(&self, caller: &Caller, request: &Request, now: UnixMillis) -> Result<(), SubjectError> {
        use super::model::reminder;
        let awaits = request.acknowledged_at.0 == 0 && request.acknowledge_by.0 > 0;
        let acknowledge_by = awaits.then_some(request.acknowledge_by);
        let bits = reminder::due(now, request.received_at, request.due(), acknowledge_by) | request.reminded;
        if bits == request.reminded {
            return Ok(());
        }
        let is_over = bits & !request.reminded & reminder::OVERDUE > 0;
        let (kind, left) = if is_over { ("overdue", "") } else { ("due", latest(bits & !request.reminded)) };
        let mut tx = self.store().begin().await?;
        if repo::reminded(&mut tx, request, bits).await? {
            let event = self.entry(caller, kind, request, None);
            let (event_type, reason) = (format!("subject_request.{kind}"), left.to_owned());
            crate::jobs::publish(&mut tx, &kiki_types::event::AuditEvent { event_type, reason, ..event })?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// What is told of a store where an officer erases.
pub(super) const BY_HAND: &str = "by_hand";
/// Requests that are reminded of in one go at the most.
pub(super) const REMINDED_MAX: i64 = 500;

/// What the latest of some reminders says.
fn latest(bits: i64) -> &'static str {
    use super::model::reminder;
    let said = [
        (reminder::ACKNOWLEDGE, "acknowledge"),
        (reminder::DAY, "a day left"),
        (reminder::THREE_DAYS, "three days left"),
        (reminder::WEEK, "a week left"),
        (reminder::HALF, "half the time is over"),
    ];
    said.into_iter().find(|(bit, _)| bits & bit > 0).map_or("", |(_, said)| said)
}

/// Whether a request is being carried out.
fn running(request: &Request) -> Result<(), Impossible> {
    match request.state {
        State::InProgress | State::Extended => Ok(()),
        state => Err(Impossible(state)),
    }
}
