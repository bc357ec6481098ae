//! Restriction, objection and opt-out: what is decided against the use of data is the governor's to keep, and every store is
//! told.

use futures::FutureExt as _;
use kiki_store::personal::Subject;
use kiki_types::{Bar, Channel, Purpose};

use super::bars::all_at_once;
use super::error::SubjectError;
use super::model::Outcome;
use super::repo::Request;
use super::service::Requests;
use super::wave::{Act, Wave};
use crate::consent::Wanted;
use crate::consent::gpc::Gpc;

impl Requests {
    pub(super) async fn restrict(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        self.bar_all(wave, Bar::Restricted).await?;
        let whole = self.visit(wave, &wave.all(), Act::Restrict).await?;
        self.complete(wave, &whole, Outcome::Whole).await
    }

    pub(super) async fn object(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        let (done, gone) = self.take_back_all(wave).await?;
        let whole = self.visit(wave, &done, Act::Object).await?;
        self.complete(wave, &whole, Outcome::Whole).await?;
        // The next wave knows that they are gone.
        self.later(wave, &gone, 1).await?;
        self.end_erased(wave).await
    }

    pub(super) async fn opt_out(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        self.bar_all(wave, Bar::DoNotSell).await?;
        self.complete(wave, &wave.all(), Outcome::Whole).await
    }

    /// Sets `bar` for everybody of a wave.
    async fn bar_all(&self, wave: &Wave<'_>, bar: Bar) -> Result<(), SubjectError> {
        let set = |person| async move { Ok(self.shield().bar(&wave.caller, person, bar, true).await?) }.boxed();
        all_at_once(wave.with_people().map(|(_, person)| set(person)).collect()).await.map(drop)
    }

    /// Takes back what people of a wave agreed to and objected to now. Returns their requests, and those of who was erased
    /// meanwhile: a wave takes its time, and they have nothing left to object to.
    async fn take_back_all<'w>(
        &self,
        wave: &'w Wave<'_>,
    ) -> Result<(Vec<&'w Request>, Vec<&'w Request>), SubjectError> {
        let one = |request, person| async move { Ok((request, self.take_back(wave, request, person).await?)) }.boxed();
        let each = all_at_once(wave.with_people().map(|(request, person)| one(request, person)).collect()).await?;
        let (done, gone): (Vec<_>, Vec<_>) = each.into_iter().partition(|(_, is_done)| *is_done);
        let requests = |of: Vec<(&'w Request, bool)>| of.into_iter().map(|(request, _)| request).collect();
        Ok((requests(done), requests(gone)))
    }

    async fn take_back(&self, wave: &Wave<'_>, request: &Request, person: &Subject) -> Result<bool, SubjectError> {
        if self.person(request).await?.is_none() {
            return Ok(false);
        }
        self.shield().bar(&wave.caller, person, Bar::Objected, true).await?;
        for purpose in [Purpose::Marketing, Purpose::Targeting, Purpose::Profiling] {
            let wanted = Wanted::of(person.name().to_owned(), purpose, Channel::Any);
            self.shield().revoke_consent_of(&wave.caller, person, wanted, Gpc(false)).await?;
        }
        Ok(true)
    }

    /// Ends requests of people who were erased meanwhile: nothing is held.
    pub(super) async fn end_erased(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        let erased: Vec<_> =
            wave.requests.iter().filter(|request| !wave.people.contains_key(&request.subject)).collect();
        if erased.is_empty() { Ok(()) } else { self.complete(wave, &erased, Outcome::NothingHeld).await }
    }
}
