//! Rectification: every store is asked to put right what it holds, and what is computed here waits for its source.
//!
//! What is computed changes with the data that it is computed from, and those are kept elsewhere: in the order log of the
//! business, or with whoever else provides them. A request that concerns such data stays open until an officer states that
//! the source was corrected. Meanwhile its time runs; it may be extended, and refused where no store changed anything. Who is
//! erased meanwhile has nothing left to be put right.

use kiki_store::personal::{Rectified, Subject};
use kiki_types::id::SubjectRequestId;

use super::error::SubjectError;
use super::model::{Event, Kind, Outcome, State};
use super::repo::work::{self, Change};
use super::repo::{Request, rectification};
use super::service::{Details, Requests};
use super::wave::{Wave, code_of};
use crate::error::ShieldError;
use crate::mail::Letter;
use crate::service::Caller;

/// Bytes of what an officer says was corrected, and where, at the most.
const NOTE_BYTES_MAX: usize = 4_096;

/// What the stores made of a correction.
#[derive(Default)]
struct Asked {
    changed: i64,
    is_derived: bool,
    has_failed: bool,
}

impl Requests {
    pub(super) async fn rectify(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        for (request, person) in wave.with_people() {
            let asked = self.ask_to_rectify(wave, request, person).await?;
            match asked {
                Asked { has_failed: true, .. } => self.later(wave, &[request], wave.attempts + 1).await?,
                Asked { is_derived: true, .. } => self.await_source(wave, request).await?,
                Asked { changed: 0, .. } => self.complete(wave, &[request], Outcome::NothingHeld).await?,
                _ => self.complete(wave, &[request], Outcome::Whole).await?,
            }
        }
        self.end_erased(wave).await
    }

    async fn ask_to_rectify(
        &self,
        wave: &Wave<'_>,
        request: &Request,
        person: &Subject,
    ) -> Result<Asked, SubjectError> {
        let correction = Self::details(request, Some(person))?.correction.unwrap_or_default();
        let mut asked = Asked::default();
        for store in wave.stores.iter() {
            let answer = store.rectify(person, &correction).await;
            asked.is_derived |= matches!(answer, Ok(Rectified::Derived));
            let (rows, error) = match answer {
                Ok(Rectified::Changed(rows)) => (i64::try_from(rows).unwrap_or(i64::MAX), None),
                Ok(Rectified::NotHeld | Rectified::Derived) => (0, None),
                Err(error) => (0, Some(code_of(&error))),
            };
            asked.changed = asked.changed.saturating_add(rows);
            asked.has_failed |= error.is_some();
            self.keep(wave, store.declared().name, [(request.id, rows)].into_iter(), error).await?;
        }
        Ok(asked)
    }

    async fn await_source(&self, wave: &Wave<'_>, request: &Request) -> Result<(), SubjectError> {
        let mut tx = self.store().begin().await?;
        if !work::change(&mut tx, wave.worker, &[request], &Change::AwaitsSource(self.now())).await? {
            return Err(SubjectError::Running);
        }
        Ok(tx.commit().await?)
    }

    /// Takes an officer's word that the source of what is computed here was corrected: what, and where. The person is told.
    pub(crate) async fn corrected(
        &self,
        caller: &Caller,
        id: SubjectRequestId,
        note: String,
    ) -> Result<Request, SubjectError> {
        if note.trim().is_empty() || note.len() > NOTE_BYTES_MAX {
            return Err(
                ShieldError::invalid("note", "must say what was corrected and where, in at most 4096 bytes").into()
            );
        }
        let now = self.now();
        let request = self.request(&caller.principal.tenant, id).await?;
        if request.kind != Kind::Rectification {
            return Err(SubjectError::WrongType(request.kind));
        }
        let state = request.state.after(Event::Completed, request.is_extended())?;
        if !request.awaits_source() {
            return Err(SubjectError::TooEarly);
        }
        let person = self.person(&request).await?.ok_or(SubjectError::Erased)?;
        let said = Details { corrected: Some(note), ..Self::details(&request, Some(&person))? };
        let details = said.sealed(&person, id);
        let mut tx = self.store().begin().await?;
        if !rectification::corrected(&mut tx, &request, &details, now).await? {
            return Err(SubjectError::Running);
        }
        self.tell(&mut tx, caller, "corrected", &request, Some(&person), "")?;
        self.tell(&mut tx, caller, "complete", &request, Some(&person), Outcome::Whole.as_str())?;
        if said.notify {
            self.write_to(&mut tx, &request.tenant, Letter::Completed { request: id })?;
        }
        tx.commit().await?;
        self.0.letters.notify_one();
        Ok(Request { state, outcome: Some(Outcome::Whole), ended_at: now, details, ..request })
    }

    /// Whether a store put anything right: what was carried out in part is refused no more.
    pub(super) async fn has_changed(&self, request: &Request) -> Result<bool, SubjectError> {
        let tasks = work::tasks(self.store(), &request.tenant, &[request.id]).await?;
        Ok(tasks.iter().any(|task| task.is_done && task.rows > 0))
    }
}

impl Request {
    /// Whether every store was asked to put data right, and an officer is yet to say that their source was corrected.
    pub(crate) fn awaits_source(&self) -> bool {
        let is_running = matches!(self.state, State::InProgress | State::Extended);
        self.kind == Kind::Rectification && is_running && self.step == rectification::AWAITS_SOURCE
    }
}
