//! Restriction, objection and opt-out: what is decided against the use of data is the governor's to keep, and every store is
//! told.

use kiki_types::{Bar, Channel, Purpose};

use super::error::SubjectError;
use super::model::Outcome;
use super::service::Requests;
use super::wave::{Act, Wave};
use crate::consent::Wanted;
use crate::consent::gpc::Gpc;

impl Requests {
    pub(super) async fn restrict(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
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

    pub(super) async fn opt_out(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
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
