//! How copies and a deletion of the same person go together: what the deletion waits for, and what becomes of a copy that it
//! waits for no longer.
//!
//! A copy is sealed under the person's key and goes with it. A deletion waits until a day after each copy was fetched first,
//! so that a download that broke can be repeated, or until the copy is kept no more. On its own last day it waits only for a
//! copy that can be made at once, which may be fetched for half of that day. A copy that was not made by then is refused, and
//! the person is told while their name can be read.

use std::collections::HashSet;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use kiki_store::Tx;
use kiki_types::UnixMillis;
use kiki_types::id::SubjectRequestId;

use super::error::SubjectError;
use super::letters::MAIL_TASK;
use super::model::{Ground, Kind, State};
use super::repo::Request;
use super::repo::copies::{self, Copies};
use super::repo::work::{self, Change};
use super::service::Requests;
use super::wave::Wave;
use crate::mail::{Letter, MailError, Message};

/// How long before its time is over a deletion waits for no copy any more but such as are made since.
const LAST_DAY_MS: i64 = 86_400_000;
/// Letters that are sent at the same time.
const LETTERS_MAX: usize = 8;
/// After so many tries the person is not written to: a provider that is away must not keep data.
const LETTER_TRIES_MAX: i64 = 12;

/// What a deletion waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// A copy that is being made, or may be.
    Making,
    /// A copy that could not be made, and is tried again later.
    Trying,
    /// Somebody who fetches a copy that is ready.
    Fetching,
}

impl Request {
    /// Whether a deletion can wait at `now` for copies that the person asked for as well.
    pub(super) fn waits_for_copies(&self, now: UnixMillis) -> bool {
        let is_running = matches!(self.state, State::InProgress | State::Extended);
        let may_wait = is_running && self.step == 0 && self.waived_at.0 == 0;
        self.kind == Kind::Deletion && may_wait && now < self.due().plus(-LAST_DAY_MS / 2)
    }

    /// What a deletion waits for at `now`, of the copies of its person.
    pub(super) fn waits_for(&self, copies: &Copies, now: UnixMillis) -> Option<WaitsFor> {
        let last_day = self.due().plus(-LAST_DAY_MS);
        let is_last = now >= last_day;
        if !self.waits_for_copies(now) {
            None
        } else if copies.in_making && copies.can_be_made {
            Some(WaitsFor::Making)
        } else if copies.in_making && !is_last {
            Some(WaitsFor::Trying)
        } else if copies.ready_since.is_some_and(|since| !is_last || since >= last_day) {
            Some(WaitsFor::Fetching)
        } else {
            None
        }
    }
}

impl Requests {
    /// Refuses the copies in making of people whose deletion goes on.
    pub(super) async fn overtake(
        &self,
        tx: &mut Tx,
        wave: &Wave<'_>,
        deletions: &[&Request],
        now: UnixMillis,
    ) -> Result<(), SubjectError> {
        let people: Vec<_> = deletions.iter().map(|request| request.subject).collect();
        for request in copies::overtake(tx, &wave.tenant, &people, now).await? {
            let person = wave.people.get(&request.subject);
            self.tell(tx, &wave.caller, "refuse", &request, person, Ground::Erased.as_str())?;
        }
        Ok(())
    }

    /// Tells the people of `deletions` which copies they do not get, while their names can be read. Returns the deletions
    /// that need not wait for the provider.
    pub(super) async fn tell_of_overtaken<'w>(
        &self,
        wave: &'w Wave<'_>,
        deletions: Vec<&'w Request>,
    ) -> Result<Vec<&'w Request>, SubjectError> {
        let people: Vec<_> = deletions.iter().map(|request| request.subject).collect();
        let mut letters = Vec::new();
        for overtaken in copies::overtaken(self.store(), &wave.tenant, &people).await? {
            let Some(deletion) = deletions.iter().find(|deletion| deletion.subject == overtaken.subject) else {
                continue;
            };
            let letter = Letter::Refused { request: overtaken.id };
            // Of who was written to before it is empty; what does not open keeps nobody from being erased.
            let details = Self::details(&overtaken, wave.people.get(&overtaken.subject));
            if details.is_ok_and(|details| details.notify) {
                let message = self.written(&overtaken, letter, self.now()).await?;
                letters.extend(message.map(|message| (deletion.id, message)));
            }
        }
        self.write_now(wave, deletions, letters).await
    }

    /// Sends `letters`, each with the request that waits for it. Returns the requests that wait for none; the others are
    /// tried again.
    pub(super) async fn write_now<'w>(
        &self,
        wave: &'w Wave<'_>,
        requests: Vec<&'w Request>,
        letters: Vec<(SubjectRequestId, Message)>,
    ) -> Result<Vec<&'w Request>, SubjectError> {
        let send = |(id, letter)| async move { (id, self.0.needs.mail.send(letter).await) }.boxed();
        let sending: Vec<BoxFuture<'_, (SubjectRequestId, Result<(), MailError>)>> =
            letters.into_iter().map(send).collect();
        let sent: Vec<_> = stream::iter(sending).buffer_unordered(LETTERS_MAX).collect().await;
        let is_away = |sent: &Result<(), MailError>| *sent == Err(MailError::Unavailable);
        let away: HashSet<_> = sent.iter().filter(|(_, sent)| is_away(sent)).map(|(id, _)| *id).collect();
        if away.is_empty() || wave.attempts >= LETTER_TRIES_MAX {
            return Ok(requests);
        }
        self.keep(wave, MAIL_TASK, away.iter().map(|id| (*id, 0)), Some("unavailable")).await?;
        let (wait, go): (Vec<&Request>, Vec<&Request>) =
            requests.into_iter().partition(|request| away.contains(&request.id));
        self.later(wave, &wait, wave.attempts + 1).await?;
        Ok(go)
    }

    /// Ends requests for a copy whose person was erased meanwhile: something was held, and nobody can be told any more.
    pub(super) async fn end_overtaken(&self, wave: &Wave<'_>) -> Result<(), SubjectError> {
        let erased: Vec<_> =
            wave.requests.iter().filter(|request| !wave.people.contains_key(&request.subject)).collect();
        let mut tx = self.store().begin().await?;
        if !work::change(&mut tx, wave.worker, &erased, &Change::Refused(Ground::Erased, self.now())).await? {
            return Err(SubjectError::Running);
        }
        for request in erased {
            self.tell(&mut tx, &wave.caller, "refuse", request, None, Ground::Erased.as_str())?;
        }
        Ok(tx.commit().await?)
    }
}
