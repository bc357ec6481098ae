//! Sends what waits in the outbox for people: one sender at a time, what is about one request in its order.
//!
//! A letter that is not taken holds up no other: it is tried again after a while, and given up after [`TRIES_MAX`], which
//! its request then says. The text is made when it leaves, from what is true then.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use kiki_kit::shutdown::Shutdown;
use kiki_store::outbox::{self, Pending};
use kiki_store::personal::Subject;
use kiki_types::id::SubjectRequestId;
use kiki_types::{Channel, TenantId, UnixMillis};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::code::LIFE_MS;
use super::error::SubjectError;
use super::identity::{CODE, place};
use super::model::Event;
use super::repo::work::{self, Task};
use super::repo::{self, Request, copies};
use super::service::Requests;
use super::words::{because, came_to, takes_long, words};
use crate::consent::Confirmation;
use crate::mail::{Letter, MailError, Message, TOPIC};

/// Under what name a request says that the person was not written to.
pub(super) const MAIL_TASK: &str = "mail";
/// How often a letter is tried.
const TRIES_MAX: u32 = 12;
/// How long to wait after the first failure, and at the most.
const BACK_OFF_MS: (i64, i64) = (10_000, 3_600_000);
/// Letters that are sent in one go.
const PAGE: u32 = 500;
/// Letters that are looked at in one go: those that are put off hide none behind them.
const LOOKED_AT_MAX: usize = 10_000;
/// Letters that are sent at the same time.
const SENT_AT_ONCE_MAX: usize = 8;
/// How long one sender may be silent before another takes over.
const LEASE_MS: i64 = 60_000;
const PAUSE: Duration = Duration::from_secs(1);
/// How long what is due is not looked for again: every open request is looked at.
const REMIND_PAUSE: Duration = Duration::from_secs(10);

/// Letters that were not taken: how often each was tried, and when it is next.
pub(super) type Failed = HashMap<i64, (u32, UnixMillis)>;

/// What became of a letter.
enum Sent {
    /// It was taken, or there is nothing to say any more.
    Done(Option<Request>),
    /// It is tried again.
    Later,
    /// It is given up.
    GivenUp(Option<Request>, &'static str),
}

/// By position.
type Answers = Vec<(i64, Result<Sent, SubjectError>)>;

impl Requests {
    /// Sends letters, and reminds of what is due, until shutdown.
    pub async fn write_letters(self, shutdown: Shutdown) {
        let holder = self.shield().0.ids.uuid().to_string();
        let mut failed = Failed::new();
        let mut reminded: Option<Instant> = None;
        while !shutdown.is_draining() {
            match self.next_letters(&holder, &mut failed).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => tracing::warn!(%error, "letters wait in the outbox"),
            }
            if reminded.is_none_or(|at| at.elapsed() >= REMIND_PAUSE) {
                if let Err(error) = self.remind().await {
                    tracing::warn!(%error, "nobody was reminded of subject requests");
                }
                reminded = Some(Instant::now());
            }
            tokio::select! {
                () = shutdown.draining() => {}
                () = self.0.letters.notified() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        // Ends the lease, so that the next process does not wait for its end.
        let now = self.now();
        if let Err(error) = work::lease(self.store(), TOPIC, &holder, now, now).await {
            tracing::warn!(%error, "letters wait until the lease of this process ends");
        }
    }

    /// Sends what waits and is due. Returns how many letters left the outbox.
    pub(super) async fn next_letters(&self, holder: &str, failed: &mut Failed) -> Result<usize, SubjectError> {
        let now = self.now();
        let due = self.due_letters(failed, now).await?;
        if due.is_empty() || !work::lease(self.store(), TOPIC, holder, now, now.plus(LEASE_MS)).await? {
            return Ok(0);
        }
        let mut sending: Vec<BoxFuture<'_, Answers>> = Vec::new();
        for letters in by_request(&due) {
            sending.push(self.send_in_order(letters, failed).boxed());
        }
        let sent: Vec<_> = stream::iter(sending).buffer_unordered(SENT_AT_ONCE_MAX).collect().await;
        let mut left = Vec::new();
        for (position, sent) in sent.into_iter().flatten() {
            match sent {
                Ok(Sent::Done(request)) => left.push((position, request, None)),
                Ok(Sent::GivenUp(request, why)) => left.push((position, request, Some(why))),
                later => {
                    if let Err(error) = later {
                        tracing::warn!(%error, position, "a letter is tried again");
                    }
                    let tries = tries_of(failed, position) + 1;
                    let wait = (BACK_OFF_MS.0 << tries.min(16).saturating_sub(1)).min(BACK_OFF_MS.1);
                    failed.insert(position, (tries, now.plus(wait)));
                }
            }
        }
        self.keep_sent(&left, now).await?;
        Ok(left.len())
    }

    /// Letters that are due, at most [`PAGE`], in their order. What failed and waits no more is forgotten.
    async fn due_letters(&self, failed: &mut Failed, now: UnixMillis) -> Result<Vec<Pending>, SubjectError> {
        let (mut due, mut seen, mut last) = (Vec::new(), HashSet::new(), 0);
        while due.len() < PAGE as usize && seen.len() < LOOKED_AT_MAX {
            let page = outbox::pending_after(self.store(), TOPIC, last, PAGE).await?;
            let is_end = page.len() < PAGE as usize;
            last = page.last().map_or(last, |end| end.position);
            seen.extend(page.iter().map(|pending| pending.position));
            let is_due = |pending: &Pending| failed.get(&pending.position).is_none_or(|(_, next)| *next <= now);
            due.extend(page.into_iter().filter(is_due));
            if is_end {
                failed.retain(|position, _| seen.contains(position));
                break;
            }
        }
        due.truncate(PAGE as usize);
        Ok(due)
    }

    async fn send_in_order(&self, letters: Vec<(&Pending, Option<Letter>)>, failed: &Failed) -> Answers {
        let mut all = Vec::with_capacity(letters.len());
        for (pending, letter) in letters {
            let Pending { position, event } = pending;
            let sent = match letter {
                Some(letter) => self.send_letter(&event.tenant, letter, event.at, tries_of(failed, *position)).await,
                None => {
                    tracing::error!(position, "a letter in the outbox cannot be read");
                    Ok(Sent::GivenUp(None, "unreadable"))
                }
            };
            all.push((*position, sent));
        }
        all
    }

    async fn send_letter(
        &self,
        tenant: &TenantId,
        letter: Letter,
        at: UnixMillis,
        tries: u32,
    ) -> Result<Sent, SubjectError> {
        let (request, message) = match letter.request() {
            Some(id) => {
                let Some(request) = repo::find(self.store(), tenant, id).await? else { return Ok(Sent::Done(None)) };
                let message = self.written(&request, letter, at).await?;
                (Some(request), message)
            }
            None => (None, self.confirmation(tenant, letter, at).await?),
        };
        let acknowledged = request.filter(|_| matches!(letter, Letter::Acknowledgement { .. }));
        let Some(message) = message else { return Ok(Sent::Done(acknowledged)) };
        match self.0.needs.mail.send(message).await {
            Ok(()) => Ok(Sent::Done(acknowledged)),
            Err(MailError::Rejected) => Ok(Sent::GivenUp(self.of(tenant, letter).await?, "rejected")),
            Err(MailError::Unavailable) if tries + 1 >= TRIES_MAX => {
                Ok(Sent::GivenUp(self.of(tenant, letter).await?, "unavailable"))
            }
            Err(MailError::Unavailable) => Ok(Sent::Later),
        }
    }

    async fn of(&self, tenant: &TenantId, letter: Letter) -> Result<Option<Request>, SubjectError> {
        match letter.request() {
            Some(id) => Ok(repo::find(self.store(), tenant, id).await?),
            None => Ok(None),
        }
    }

    /// Takes letters out of the outbox, and keeps what follows: whom it is known that they were told, and whom not.
    async fn keep_sent(
        &self,
        left: &[(i64, Option<Request>, Option<&'static str>)],
        now: UnixMillis,
    ) -> Result<(), SubjectError> {
        if left.is_empty() {
            return Ok(());
        }
        let positions: Vec<_> = left.iter().map(|(position, _, _)| *position).collect();
        let mut tx = self.store().begin().await?;
        outbox::taken(&mut tx, TOPIC, &positions).await?;
        for (_, request, failed) in left {
            match (request, failed) {
                (Some(request), None) => {
                    let state = request.state.after(Event::Acknowledged, request.is_extended())?;
                    repo::acknowledge(&mut tx, request, state, now).await?;
                }
                (Some(request), Some(why)) => {
                    work::keep_tasks(&mut tx, &request.tenant, &[failure(request.id, why, now)]).await?;
                }
                (None, _) => {}
            }
        }
        Ok(tx.commit().await?)
    }

    /// The message of a letter about a request; `None` where there is nothing to say any more.
    pub(super) async fn written(
        &self,
        request: &Request,
        letter: Letter,
        at: UnixMillis,
    ) -> Result<Option<Message>, SubjectError> {
        let Some(person) = self.person(request).await? else { return Ok(None) };
        if !Self::details(request, Some(&person))?.notify && !matches!(letter, Letter::Code { .. }) {
            return Ok(None);
        }
        let what = words(request.kind);
        let (subject, body) = match letter {
            Letter::Acknowledgement { .. } => (
                "We received your request".to_owned(),
                format!(
                    "We received your request of {} {what}.\nYou have our answer by {}.\n",
                    request.received_on,
                    self.day_of(request.due())
                ),
            ),
            Letter::Code { until, .. } => {
                let Some(code) = self.code_of(request, &person, until).await? else { return Ok(None) };
                (
                    "Your code".to_owned(),
                    format!(
                        "Your code is {}.\nIt is good for {} minutes and proves that the request of {} {what} is yours.\n\
                         If it is not, do nothing: without the code nothing is done.\n",
                        *code,
                        LIFE_MS / 60_000,
                        request.received_on
                    ),
                )
            }
            Letter::Extended { why, .. } => (
                "Your request takes longer".to_owned(),
                format!(
                    "Your request of {} {what} takes longer, because {}.\nYou have our answer by {}.\n",
                    request.received_on,
                    takes_long(why),
                    self.day_of(request.due())
                ),
            ),
            Letter::Refused { .. } => {
                let why = request.ground.map_or("", because);
                (
                    "Your request is refused".to_owned(),
                    format!(
                        "We do not carry out your request of {} {what}: {why}.\nYou may complain to a supervisory authority \
                         or go to court.\n",
                        request.received_on
                    ),
                )
            }
            Letter::Lifted { .. } => (
                "Your restriction ends".to_owned(),
                format!(
                    "The restriction ends that you asked for on {}. Another that you asked for, if there is one, stands.\n",
                    request.received_on
                ),
            ),
            Letter::Completed { .. } => {
                let erased_on = self.erased_on(request).await?;
                return Ok(Some(self.completed_letter(request, &person, erased_on.as_deref())));
            }
            Letter::ConsentConfirm { .. } => return Ok(None),
        };
        Ok(Some(message(letter, request, person, at, subject, &body)))
    }

    /// The last letter about a request. `erased_on`: the day on which a copy that was asked for is erased at the latest.
    pub(super) fn completed_letter(&self, request: &Request, person: &Subject, erased_on: Option<&str>) -> Message {
        let (what, came_to) = (words(request.kind), came_to(request, erased_on));
        let body = format!("Your request of {} {what} is completed.\n{came_to}\n", request.received_on);
        let letter = Letter::Completed { request: request.id };
        message(letter, request, person.clone(), self.now(), "Your request is completed".to_owned(), &body)
    }

    /// The day on which the copy of `request` is erased, fetched or not, because the person asked for that as well.
    async fn erased_on(&self, request: &Request) -> Result<Option<String>, SubjectError> {
        if !request.kind.is_for_a_copy() {
            return Ok(None);
        }
        Ok(copies::erased_by(self.store(), request).await?.map(|last| self.day_of(last)))
    }

    /// The message that asks for the confirmation of a consent; `None` where it waits for none any more.
    async fn confirmation(
        &self,
        tenant: &TenantId,
        letter: Letter,
        at: UnixMillis,
    ) -> Result<Option<Message>, SubjectError> {
        let Letter::ConsentConfirm { record } = letter else { return Ok(None) };
        let asked = self.shield().confirmation(tenant, record).await?;
        let Some(asked) = asked.filter(|asked| self.now() <= asked.confirm_by) else { return Ok(None) };
        let (id, subject, body) = (letter.message_id(), "Please confirm".to_owned(), confirmation_text(&asked));
        Ok(Some(Message { id, at, who: asked.who, subject, body, is_secret: letter.is_secret() }))
    }

    /// A code that may still be tried; that of an earlier letter, or one that was used up, is not sent.
    async fn code_of(
        &self,
        request: &Request,
        person: &Subject,
        until: i64,
    ) -> Result<Option<Zeroizing<String>>, SubjectError> {
        let Some(sealed) = repo::codes::code(self.store(), request, self.now()).await? else { return Ok(None) };
        if request.sent.until.0 != until {
            return Ok(None);
        }
        let code = person.open(CODE, &place(request, until), &sealed)?;
        Ok(String::from_utf8(code).ok().map(Zeroizing::new))
    }
}

/// What is asked of who is to confirm a consent.
fn confirmation_text(asked: &Confirmation) -> String {
    let channel = match asked.channel {
        Channel::Any => String::new(),
        channel => format!(" by {channel}"),
    };
    let text = asked.text.as_ref().map(|text| format!("\nYou agree to this:\n\n{text}\n")).unwrap_or_default();
    format!(
        "Please confirm that you agree to {}{channel}.\n{text}\nYour confirmation is {}\nIt is good until {}. If you do not \
         agree, do nothing.\n",
        asked.purpose, *asked.token, asked.confirm_by
    )
}

/// Letters about one request stay in their order; the others leave beside each other.
fn by_request(waiting: &[Pending]) -> Vec<Vec<(&Pending, Option<Letter>)>> {
    let mut groups: Vec<Vec<_>> = Vec::new();
    let mut places: HashMap<SubjectRequestId, usize> = HashMap::new();
    for pending in waiting {
        let letter = serde_json::from_str::<Letter>(&pending.event.payload).ok();
        let request = letter.and_then(Letter::request);
        match request.and_then(|request| places.get(&request)) {
            Some(&place) => groups[place].push((pending, letter)),
            None => {
                places.extend(request.map(|request| (request, groups.len())));
                groups.push(vec![(pending, letter)]);
            }
        }
    }
    groups
}

fn message(letter: Letter, request: &Request, who: Subject, at: UnixMillis, subject: String, body: &str) -> Message {
    let body = format!("{body}\nThe request has the number {}.\n", request.id);
    Message { id: letter.message_id(), at, who, subject, body, is_secret: letter.is_secret() }
}

fn tries_of(failed: &Failed, position: i64) -> u32 {
    failed.get(&position).map_or(0, |(tries, _)| *tries)
}

fn failure(request: SubjectRequestId, why: &str, at: UnixMillis) -> Task {
    let (store, error) = (MAIL_TASK.to_owned(), why.to_owned());
    Task { request, store, is_done: false, rows: 0, attempts: 1, error, at }
}
