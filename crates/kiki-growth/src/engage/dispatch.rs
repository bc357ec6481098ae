//! Takes a wave of messages through the gate: ask, send, settle.
//!
//! Each phase works on the whole wave at once and is recorded in one transaction before the next one begins, so that a
//! crash loses at most the record of one phase. What makes a repeated phase harmless: the same attempt has the same
//! idempotency key at shield, the same message has the same id at the provider, and an authorization resolves once.

use std::time::Duration;

use futures::future::join_all;
use kiki_kit::problem::logged_status;
use kiki_types::UnixMillis;
use kiki_types::event::Outcome;

use super::Engage;
use super::audit::{self, Actor, Entry};
use super::campaign::{Offer, RunId};
use super::error::EngageError;
use super::gate::{Ask, Decision, Gate, GateError, attempt_key};
use super::message::{Message, MessageState, REJECTED, SHIELD_REJECTED, Step, UNAVAILABLE, WrongStep};
use super::repo::{campaigns, messages};
use super::sender::{OutgoingMail, SendError};
use super::template::Values;

/// Messages of one wave at the most: so many calls are under way at the same time.
pub(super) const WAVE: usize = 32;

/// How long a run may be silent before another one may take its place. Longer than a phase can last.
pub(super) const LEASE_MS: i64 = 120 * 1_000;

/// How long the provider may take for one message.
const SEND_TIME_MAX: Duration = Duration::from_secs(15);

/// Attempts of one message in one wave at the most, should its authorizations turn out to have ended.
const LAPSES_MAX: usize = 3;

/// Why a wave came to nothing or to an early end.
#[derive(Debug)]
pub(super) enum Halt {
    /// Another run has taken this one's place.
    Superseded,
    /// Everything else.
    Error(EngageError),
}

impl<E: Into<EngageError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// What the messages of a wave have in common.
pub(super) struct Dispatch<'a> {
    pub(super) engage: &'a Engage,
    pub(super) gate: Gate,
    pub(super) actor: &'a Actor,
    pub(super) offer: &'a Offer,
    pub(super) run: RunId,
    /// Whether `run` is the run of a campaign, which another one may supersede.
    pub(super) leased: bool,
}

/// A message and whether shield was away for it.
type Moved = Result<(Message, Option<String>), WrongStep>;

impl Dispatch<'_> {
    /// Takes `wave` as far as it goes.
    pub(super) async fn deliver(&self, wave: Vec<Message>) -> Result<Vec<Message>, Halt> {
        let asked = join_all(wave.iter().cloned().map(|message| self.ask(message))).await;
        let wave = self.keep(&wave, asked).await?;
        let sent = join_all(wave.iter().cloned().map(|message| self.send(message))).await;
        let wave = self.keep(&wave, sent).await?;
        let settled = join_all(wave.iter().cloned().map(|message| self.settle(message))).await;
        self.keep(&wave, settled).await
    }

    /// Records `wave` as this run's, with the steps that taking it up made.
    pub(super) async fn take_in_hand(&self, wave: &[Message]) -> Result<(), Halt> {
        let wave: Vec<&Message> = wave.iter().collect();
        self.record(&wave, self.engage.needs.clock.now()).await
    }

    /// Gets a decision for a message that has none, or hears what became of the one it has.
    async fn ask(&self, mut message: Message) -> Moved {
        if message.state == MessageState::Authorized {
            let id = message.authorization.clone().unwrap_or_default();
            match self.gate.get(&id).await {
                Ok(Decision::Held(_)) => {}
                Ok(Decision::Captured(_)) => message.step(Step::Captured)?,
                Ok(Decision::Lapsed | Decision::Denied(_)) | Err(GateError::Rejected(_)) => {
                    message.step(Step::Lapsed)?;
                }
                Err(GateError::Away(why)) => return Ok((message, Some(why))),
            }
        }
        for _ in 0..LAPSES_MAX {
            if message.state != MessageState::Pending {
                break;
            }
            let answer = self.authorize(&message, Some(&message.to.customer_id)).await;
            match answer {
                Ok(Decision::Held(id)) => message.step(Step::Held(id))?,
                Ok(Decision::Denied(reasons)) => message.step(Step::Denied(reasons))?,
                Ok(Decision::Captured(_)) => message.step(Step::Captured)?,
                Ok(Decision::Lapsed) => message.step(Step::Lapsed)?,
                Err(GateError::Rejected(status)) => {
                    let status = logged_status(&status);
                    tracing::error!(status, campaign = %self.offer.campaign, "shield rejects a message");
                    message.step(Step::Failed(SHIELD_REJECTED))?;
                }
                Err(GateError::Away(why)) => {
                    message.step(Step::Undecided)?;
                    return Ok((message, Some(why)));
                }
            }
        }
        Ok((message, None))
    }

    /// Sends a message whose money is held; gives the money back when the provider does not take it.
    async fn send(&self, mut message: Message) -> Moved {
        if message.state != MessageState::Authorized {
            return Ok((message, None));
        }
        let sending = self.engage.needs.mail.send(self.mail(&message));
        let reason = match tokio::time::timeout(SEND_TIME_MAX, sending).await {
            Ok(Ok(())) => {
                message.step(Step::Sent)?;
                return Ok((message, None));
            }
            // Whether the provider has it is not known: it stays authorized, and a rerun sends it under the same id.
            Err(_) => return Ok((message, None)),
            Ok(Err(SendError::Rejected)) => REJECTED,
            Ok(Err(SendError::Unavailable)) => UNAVAILABLE,
        };
        tracing::warn!(message_id = %message.id, reason, "message not sent");
        match self.gate.void(message.authorization.as_deref().unwrap_or_default()).await {
            Ok(()) | Err(GateError::Rejected(_)) => message.step(Step::Failed(reason))?,
            Err(GateError::Away(why)) => return Ok((message, Some(why))),
        }
        Ok((message, None))
    }

    /// Pays for a message that was sent. When its hold has ended meanwhile, the money is asked for again: the customer
    /// has the message, so only money is in question.
    async fn settle(&self, mut message: Message) -> Moved {
        for _ in 0..LAPSES_MAX {
            if message.state != MessageState::Sent {
                break;
            }
            let Some(id) = message.authorization.clone() else {
                match self.authorize(&message, None).await {
                    Ok(Decision::Held(id)) => message.step(Step::Held(id))?,
                    Ok(Decision::Captured(_)) => message.step(Step::Captured)?,
                    Ok(Decision::Lapsed) => message.step(Step::Lapsed)?,
                    Ok(Decision::Denied(reasons)) => {
                        message.step(Step::Denied(reasons))?;
                        message.step(Step::Lapsed)?;
                        break;
                    }
                    Err(GateError::Rejected(status)) => {
                        let status = logged_status(&status);
                        tracing::error!(status, message_id = %message.id, "a sent message cannot be paid for");
                        break;
                    }
                    Err(GateError::Away(why)) => return Ok((message, Some(why))),
                }
                continue;
            };
            match self.gate.capture(&id).await {
                Ok(true) => message.step(Step::Captured)?,
                Ok(false) | Err(GateError::Rejected(_)) => message.step(Step::Lapsed)?,
                Err(GateError::Away(why)) => return Ok((message, Some(why))),
            }
        }
        Ok((message, None))
    }

    async fn authorize(&self, message: &Message, customer_id: Option<&str>) -> Result<Decision, GateError> {
        let key = attempt_key(self.offer.campaign, message.to.handle, message.attempt);
        let ask = Ask { account: &self.offer.account, amount: self.offer.cost, customer_id, key: &key };
        self.gate.authorize(ask).await
    }

    fn mail(&self, message: &Message) -> OutgoingMail {
        let values = Values {
            customer_id: &message.to.customer_id,
            value: &message.value,
            probability_alive: &message.probability_alive,
        };
        OutgoingMail {
            id: message.id,
            tenant: self.actor.tenant.clone(),
            at: self.engage.needs.clock.now(),
            from: self.engage.needs.mail_from.clone(),
            customer_id: message.to.customer_id.clone(),
            subject: self.offer.subject.render(values),
            body: self.offer.body.render(values),
        }
    }

    /// Records the messages that moved, with the audit entries of those that reached an end, and stops when shield was
    /// away for one of them.
    async fn keep(&self, before: &[Message], moved: Vec<Moved>) -> Result<Vec<Message>, Halt> {
        let moved = moved.into_iter().collect::<Result<Vec<_>, WrongStep>>()?;
        let now = self.engage.needs.clock.now();
        let mut away = None;
        let mut wave = Vec::with_capacity(moved.len());
        let mut changed = Vec::new();
        for (old, (mut message, why)) in before.iter().zip(moved) {
            away = away.or(why);
            if message != *old {
                message.updated_at = now;
                changed.push(wave.len());
            }
            wave.push(message);
        }
        let changed: Vec<&Message> = changed.into_iter().map(|index| &wave[index]).collect();
        self.record(&changed, now).await?;
        match away {
            Some(why) => Err(EngageError::ShieldAway(why).into()),
            None => Ok(wave),
        }
    }

    async fn record(&self, changed: &[&Message], now: UnixMillis) -> Result<(), Halt> {
        let (needs, actor, campaign) = (&self.engage.needs, self.actor, self.offer.campaign);
        if changed.is_empty() {
            return Ok(());
        }
        let mut tx = needs.store.begin().await?;
        if self.leased && !campaigns::extend(&mut tx, &actor.tenant, campaign, self.run, now.plus(LEASE_MS)).await? {
            return Err(Halt::Superseded);
        }
        for message in changed {
            messages::record(&mut tx, &actor.tenant, self.run, message).await?;
            if let Some(entry) = self.entry(message) {
                audit::write(&mut tx, &needs.pseudonyms, actor, (needs.ids.uuid(), now), entry)?;
                metrics::counter!("kiki_engage_messages_total", "state" => message.state.as_str()).increment(1);
            }
        }
        Ok(tx.commit().await?)
    }

    /// The audit entry of a message that reached an end.
    fn entry(&self, message: &Message) -> Option<Entry> {
        let outcome = match message.state {
            MessageState::Captured => Outcome::Allowed,
            MessageState::Refused => Outcome::Denied,
            MessageState::Failed => Outcome::Failed,
            _ => return None,
        };
        Some(Entry {
            event_type: "message.send",
            resource: format!("campaigns/{}/messages/{}", self.offer.campaign, message.id),
            outcome,
            reason: message.reasons.join(","),
            customer: Some(message.to.pseudonym),
        })
    }
}
