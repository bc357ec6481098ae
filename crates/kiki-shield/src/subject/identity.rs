//! How people prove who they are: by the code that was mailed to them, or by somebody who vouches for them.

use kiki_types::event::{AuditEvent, Level, Outcome};
use kiki_types::id::SubjectRequestId;

use super::code::{self, NotBefore, TRIES_MAX};
use super::error::SubjectError;
use super::model::Event;
use super::repo::{self, Request, codes};
use super::service::{Requests, UNKNOWN};
use crate::mail::Letter;
use crate::service::Caller;

/// Where a code stands.
pub(super) const CODE: &str = "subject_request.code";
/// Who proved it, where the person did by a code.
const BY_CODE: &str = "code";

impl Requests {
    /// Mails the person a code.
    pub(crate) async fn send_code(&self, caller: &Caller, id: SubjectRequestId) -> Result<Request, SubjectError> {
        let (tenant, now) = (&caller.principal.tenant, self.now());
        let request = self.request(tenant, id).await?;
        request.state.after(Event::Proven, request.is_extended())?;
        let too_soon = |NotBefore(not_before)| SubjectError::CodeTooSoon { now, not_before };
        let sent = request.sent.another(now).map_err(too_soon)?;
        let person = self.person(&request).await?.ok_or(SubjectError::Erased)?;
        let code = code::draw(self.0.needs.random);
        // Sealed for the time until which it is good: the code of another time does not open there.
        let sealed = person.seal(CODE, &place(&request, sent.until.0), code.as_bytes());
        let mut tx = self.store().begin().await?;
        codes::sent_to(&mut tx, &request, now).await?.another(now).map_err(too_soon)?;
        if !codes::keep_code(&mut tx, &request, sent, &sealed).await? {
            return Err(SubjectError::CodeTooSoon { now, not_before: now.plus(1_000) });
        }
        self.tell(&mut tx, caller, "code", &request, Some(&person), "")?;
        self.write_to(&mut tx, tenant, Letter::Code { request: id, until: sent.until.0 })?;
        tx.commit().await?;
        self.0.letters.notify_one();
        Ok(Request { sent, ..request })
    }

    /// Takes the code that the person gives. The try counts before the code is looked at.
    pub(crate) async fn verify(
        &self,
        caller: &Caller,
        id: SubjectRequestId,
        given: &str,
    ) -> Result<Request, SubjectError> {
        let now = self.now();
        let request = self.request(&caller.principal.tenant, id).await?;
        request.state.after(Event::Proven, request.is_extended())?;
        let tried = codes::try_code(self.store(), &request, TRIES_MAX, now).await?;
        let (sealed, until, tries) = tried.ok_or(SubjectError::CodeSpent)?;
        let person = self.person(&request).await?.ok_or(SubjectError::Erased)?;
        let code = zeroize::Zeroizing::new(person.open(CODE, &place(&request, until), &sealed)?);
        if !code::is_right(&code, given) {
            let left = TRIES_MAX - tries;
            let mut tx = self.store().begin().await?;
            let event = self.entry(caller, "verify", &request, Some(&person));
            let (level, outcome, reason) = (Level::Warning, Outcome::Denied, "code_wrong".to_owned());
            crate::jobs::publish(&mut tx, &AuditEvent { level, outcome, reason, ..event })?;
            tx.commit().await?;
            return Err(SubjectError::CodeWrong { left });
        }
        self.proven(caller, request, "verify", BY_CODE).await
    }

    /// Takes somebody's word that the person is who they say.
    pub(crate) async fn vouch(&self, caller: &Caller, id: SubjectRequestId) -> Result<Request, SubjectError> {
        let request = self.request(&caller.principal.tenant, id).await?;
        let actor = self.shield().0.pseudonyms.actor(&caller.principal.tenant, &caller.principal.name);
        self.proven(caller, request, "vouch", &actor.to_string()).await
    }

    async fn proven(&self, caller: &Caller, request: Request, action: &str, by: &str) -> Result<Request, SubjectError> {
        let now = self.now();
        let state = request.state.after(Event::Proven, request.is_extended())?;
        let person = self.person(&request).await?;
        let mut tx = self.store().begin().await?;
        if !repo::prove(&mut tx, &request, by, now).await? {
            let stands = repo::find(self.store(), &request.tenant, request.id).await?.ok_or(UNKNOWN)?.state;
            return Err(SubjectError::State(super::model::Impossible(stands)));
        }
        self.tell(&mut tx, caller, action, &request, person.as_ref(), "")?;
        tx.commit().await?;
        self.0.work.notify_one();
        Ok(Request { state, verified_at: now, verified_by: by.to_owned(), ..request })
    }

    /// As [`Requests::vouch`] for many, all or none; those that are past it stay as they are. Returns how many were moved.
    pub(crate) async fn vouch_for_all(&self, caller: &Caller, ids: &[SubjectRequestId]) -> Result<u64, SubjectError> {
        let (tenant, now) = (&caller.principal.tenant, self.now());
        let requests = repo::find_all(self.store(), tenant, ids).await?;
        if let Some(unknown) = ids.iter().find(|id| requests.iter().all(|request| request.id != **id)) {
            tracing::debug!(%unknown, "no such subject request");
            return Err(UNKNOWN.into());
        }
        let people = self.people(tenant, &requests).await?;
        let actor = self.shield().0.pseudonyms.actor(tenant, &caller.principal.name).to_string();
        let mut tx = self.store().begin().await?;
        let moved = repo::prove_all(&mut tx, tenant, ids, &actor, now).await?;
        for request in requests.iter().filter(|request| moved.contains(&request.id)) {
            self.tell(&mut tx, caller, "vouch", request, people.get(&request.subject), "")?;
        }
        tx.commit().await?;
        self.0.work.notify_one();
        Ok(moved.len() as u64)
    }
}

/// What a code that is good until `until` is sealed for.
pub(super) fn place(request: &Request, until: i64) -> String {
    format!("{}/{until}", request.id)
}
