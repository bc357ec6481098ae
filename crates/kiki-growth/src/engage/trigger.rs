//! A message to one customer, now.
//!
//! The message of a campaign is the same row that a run would send: whoever comes first sends it. A message with a
//! template of its own stands alone; an idempotency key makes a repeat find the same row, also after a crash, as long as the
//! key lives.

use http::StatusCode;
use kiki_store::StoreError;
use kiki_store::idempotency::{self, Key, Response};
use kiki_store::personal::{Mint, Subject};
use kiki_types::id::CampaignId;

use super::Engage;
use super::audit::Actor;
use super::campaign::{HORIZON_WEEKS_DEFAULT, Offer, RunId};
use super::customers::Customer;
use super::dispatch::{Dispatch, Halt};
use super::error::EngageError;
use super::input::{NewTrigger, Sends};
use super::message::{Message, MessageState, Step};
use super::repo::messages;
use super::service::json;
use super::view::{OutcomeView, RememberedOutcome};

impl Engage {
    /// Sends a message to one customer, if shield allows it.
    pub(super) async fn trigger(
        &self,
        actor: &Actor,
        new: NewTrigger,
        mut key: Option<Key>,
    ) -> Result<OutcomeView, EngageError> {
        if let Some(answer) = self.claim_key(key.as_mut()).await? {
            return Ok(remembered(&answer)?.of(new.customer_id));
        }
        let outcome = self.trigger_once(actor, new, self.id(key.as_ref())).await;
        let finished = match outcome {
            Ok(message) => self.finish_trigger(key.as_ref(), message).await,
            Err(error) => Err(error),
        };
        if finished.is_err() {
            self.abandon_key(key.as_ref()).await;
        }
        finished
    }

    async fn trigger_once(&self, actor: &Actor, new: NewTrigger, stand_in: CampaignId) -> Result<Message, EngageError> {
        let (customer_id, sends) = new.check(stand_in)?;
        let (offer, horizon_weeks) = match sends {
            Sends::Own(offer) => (offer, HORIZON_WEEKS_DEFAULT),
            Sends::Campaign(id) => {
                let campaign = self.campaign(&actor.tenant, id).await?;
                (campaign.offer, campaign.audience.horizon_weeks.unwrap_or(HORIZON_WEEKS_DEFAULT))
            }
        };
        let offer = &offer;
        let gate = self.gate(&actor.tenant)?;
        let run = RunId(self.needs.ids.uuid());
        let subject = self.needs.subjects.resolve(&actor.tenant, &customer_id, Mint::Yes).await?;
        let subject = subject.ok_or(EngageError::NotFound("customer"))?;
        let mut message = match messages::find(&self.needs.store, &subject, offer.campaign).await? {
            Some(message) => message,
            None => self.claim_one(&subject, offer, horizon_weeks, run).await?,
        };
        if message.is_final() {
            return Ok(message);
        }
        message.step(Step::TakenUp)?;
        let dispatch = Dispatch { engage: self, gate, actor, offer, run, leased: false };
        let delivered = match dispatch.take_in_hand(std::slice::from_ref(&message)).await {
            Ok(()) => dispatch.deliver(vec![message]).await,
            Err(halt) => Err(halt),
        };
        match delivered {
            Ok(wave) => wave.into_iter().next().ok_or(EngageError::NotFound("message")),
            // Without a lease nobody supersedes.
            Err(Halt::Superseded) => Err(EngageError::NotFound("message")),
            Err(Halt::Error(error)) => Err(error),
        }
    }

    /// A new row for a customer who has none; the one that is there if somebody was faster.
    async fn claim_one(
        &self,
        subject: &Subject,
        offer: &Offer,
        horizon_weeks: f64,
        run: RunId,
    ) -> Result<Message, EngageError> {
        let customer = if offer.subject.needs_prediction() || offer.body.needs_prediction() {
            let found = self.customers(&subject.tenant)?.find(subject.name(), horizon_weeks).await?;
            found.ok_or(EngageError::NotFound("customer"))?
        } else {
            Customer { id: subject.name().to_owned(), value: String::new(), probability_alive: String::new() }
        };
        let message = self.message(subject, &customer);
        let mut tx = self.needs.store.begin().await?;
        let claimed = messages::claim(&mut tx, subject, offer.campaign, run, &message).await?;
        tx.commit().await?;
        if claimed {
            return Ok(message);
        }
        let found = messages::find(&self.needs.store, subject, offer.campaign).await?;
        found.ok_or(EngageError::NotFound("message"))
    }

    /// Remembers the answer to `key`, unless the message may still move.
    async fn finish_trigger(&self, key: Option<&Key>, message: Message) -> Result<OutcomeView, EngageError> {
        let settled = matches!(message.state, MessageState::Captured | MessageState::Refused | MessageState::Failed);
        let outcome = OutcomeView::from(message);
        match key {
            Some(key) if settled => {
                let response = json(StatusCode::OK, &RememberedOutcome::from(&outcome))?;
                let mut tx = self.needs.store.begin().await?;
                // Whoever took the key over after its lease found the same message, and so the same answer.
                idempotency::finish(&mut tx, key, &response).await?;
                tx.commit().await?;
            }
            key => self.abandon_key(key).await,
        }
        Ok(outcome)
    }
}

fn remembered(answer: &Response) -> Result<RememberedOutcome, EngageError> {
    let unreadable = |error: serde_json::Error| StoreError::Unreadable {
        column: "body".to_owned(),
        why: format!("{:?} error", error.classify()),
    };
    Ok(serde_json::from_slice(&answer.body).map_err(unreadable)?)
}
