//! A campaign's run: first what earlier runs left unfinished, then the audience, page by page.
//!
//! A campaign has one run at a time. The run holds a lease that every recorded phase extends; when the process dies
//! the lease ends and another run may begin.

use kiki_store::personal::{Mint, Subject};
use kiki_types::event::Outcome;
use kiki_types::id::{CampaignId, MessageId};

use super::Engage;
use super::audit::{self, Actor, Entry};
use super::campaign::{Campaign, RunId, Status};
use super::customers::{Customer, PAGES_MAX};
use super::dispatch::{Dispatch, Halt, LEASE_MS, WAVE};
use super::error::EngageError;
use super::message::{Message, MessageState, Step};
use super::repo::{campaigns, messages};

impl Engage {
    /// Starts a run of `campaign` and returns while it works. One that is under way, or whose lease still stands, is
    /// told as [`EngageError::RunInProgress`].
    pub(super) async fn start_run(&self, actor: &Actor, id: CampaignId) -> Result<(), EngageError> {
        let needs = &self.needs;
        let campaign = self.campaign(&actor.tenant, id).await?;
        let Ok(place) = self.runs.clone().try_acquire_owned() else { return Err(EngageError::TooManyRuns) };
        let (run, now) = (RunId(needs.ids.uuid()), needs.clock.now());
        let mut tx = needs.store.begin().await?;
        if !campaigns::start(&mut tx, &actor.tenant, id, run, now, now.plus(LEASE_MS)).await? {
            tx.rollback().await?;
            let left = self.campaign(&actor.tenant, id).await?.lease_left(now);
            return Err(EngageError::RunInProgress { left });
        }
        audit::write(&mut tx, &needs.pseudonyms, actor, (needs.ids.uuid(), now), entry(id, "campaign.run", None))?;
        tx.commit().await?;
        let (engage, actor) = (self.clone(), actor.clone());
        self.needs.tasks.spawn("engage-run", async move {
            let halt = engage.go_through(&actor, &campaign, run).await.err();
            engage.end_run(&actor, id, run, halt).await;
            drop(place);
        });
        Ok(())
    }

    async fn go_through(&self, actor: &Actor, campaign: &Campaign, run: RunId) -> Result<(), Halt> {
        let gate = self.gate(&actor.tenant)?;
        let dispatch = Dispatch { engage: self, gate, actor, offer: &campaign.offer, run, leased: true };
        self.finish_earlier(&dispatch).await?;
        let customers = self.customers(&actor.tenant)?;
        let mut token = String::new();
        for _ in 0..PAGES_MAX {
            let (page, next) = customers.page(&campaign.audience, token).await.map_err(EngageError::from)?;
            let fresh = self.claim(&dispatch, page).await?;
            for wave in fresh.chunks(WAVE) {
                self.go_on()?;
                dispatch.deliver(wave.to_vec()).await?;
            }
            match next {
                Some(next) => token = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Takes up what earlier runs left. Each message once: what this run had in hand is not asked for again.
    async fn finish_earlier(&self, dispatch: &Dispatch<'_>) -> Result<(), Halt> {
        let (store, actor, campaign) = (&self.needs.store, dispatch.actor, dispatch.offer.campaign);
        loop {
            self.go_on()?;
            let limit = i64::try_from(WAVE).unwrap_or(i64::MAX);
            let mut wave =
                messages::unfinished(store, &self.needs.subjects, &actor.tenant, campaign, dispatch.run, limit).await?;
            if wave.is_empty() {
                return Ok(());
            }
            for message in &mut wave {
                message.step(Step::TakenUp).map_err(EngageError::from)?;
            }
            // In hand before anything happens to them, so that this loop ends whatever does.
            dispatch.take_in_hand(&wave).await?;
            dispatch.deliver(wave).await?;
        }
    }

    /// Makes messages of those customers who have none of this campaign, and whose data may be worked with.
    async fn claim(&self, dispatch: &Dispatch<'_>, page: Vec<Customer>) -> Result<Vec<Message>, Halt> {
        let (needs, actor, campaign) = (&self.needs, dispatch.actor, dispatch.offer.campaign);
        let now = needs.clock.now();
        let names: Vec<&str> = page.iter().map(|customer| customer.id.as_str()).collect();
        // Before the transaction: who is not known yet becomes known in one of its own.
        let subjects = needs.subjects.resolve_many(&actor.tenant, &names, Mint::Yes).await?;
        let mut tx = needs.store.begin().await?;
        if !campaigns::extend(&mut tx, &actor.tenant, campaign, dispatch.run, now.plus(LEASE_MS)).await? {
            return Err(Halt::Superseded);
        }
        let mut fresh = Vec::with_capacity(page.len());
        for (customer, subject) in page.iter().zip(subjects) {
            let Some(subject) = subject.filter(|subject| !subject.restricted && !subject.objected) else { continue };
            let message = self.message(&subject, customer);
            if messages::claim(&mut tx, &subject, campaign, dispatch.run, &message).await? {
                fresh.push(message);
            }
        }
        tx.commit().await?;
        Ok(fresh)
    }

    /// The message of a customer who has none yet.
    pub(super) fn message(&self, subject: &Subject, customer: &Customer) -> Message {
        Message {
            id: MessageId::new(&*self.needs.ids),
            to: subject.into(),
            state: MessageState::Pending,
            attempt: 1,
            authorization: None,
            reasons: Vec::new(),
            value: customer.value.clone(),
            probability_alive: customer.probability_alive.clone(),
            updated_at: self.needs.clock.now(),
        }
    }

    fn go_on(&self) -> Result<(), EngageError> {
        if self.needs.tasks.shutdown().is_draining() { Err(EngageError::Ending) } else { Ok(()) }
    }

    /// Says how the run ended. Where even that fails, its lease says so later.
    async fn end_run(&self, actor: &Actor, id: CampaignId, run: RunId, halt: Option<Halt>) {
        let status = match &halt {
            None => Status::Completed,
            Some(Halt::Superseded) => return,
            Some(Halt::Error(EngageError::ShieldAway(_))) => Status::ShieldUnavailable,
            Some(Halt::Error(EngageError::ValueAway(_))) => Status::ValueUnavailable,
            Some(Halt::Error(EngageError::Ending)) => Status::Interrupted,
            Some(Halt::Error(_)) => Status::Failed,
        };
        if let Some(Halt::Error(error)) = halt {
            tracing::warn!(campaign = %id, %run, status = status.as_str(), %error, "run stopped");
        }
        let ended = async {
            let needs = &self.needs;
            let mut tx = needs.store.begin().await?;
            if campaigns::end(&mut tx, &actor.tenant, id, run, status).await? {
                let entry = entry(id, "campaign.run.end", Some(status));
                audit::write(&mut tx, &needs.pseudonyms, actor, (needs.ids.uuid(), needs.clock.now()), entry)?;
            }
            tx.commit().await
        };
        if let Err(error) = ended.await {
            tracing::error!(campaign = %id, %run, %error, "the end of a run could not be recorded");
        }
    }
}

fn entry(id: CampaignId, event_type: &'static str, status: Option<Status>) -> Entry {
    let failed = status.is_some_and(|status| status != Status::Completed);
    Entry {
        event_type,
        resource: format!("campaigns/{id}"),
        outcome: if failed { Outcome::Failed } else { Outcome::Allowed },
        reason: status.filter(|_| failed).map_or("", Status::as_str).to_owned(),
        customer: None,
    }
}
