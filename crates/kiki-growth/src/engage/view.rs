//! What callers see.

use std::collections::BTreeMap;

use kiki_kit::schema::MoneySchema;
use kiki_types::Money;
use kiki_types::UnixMillis;
use kiki_types::id::{CampaignId, MessageId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::campaign::{Audience, Campaign, Status};
use super::message::{Message, MessageState};
use super::repo::messages::{Count, Outcome};

/// A campaign and how far it came.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CampaignView {
    /// Its id.
    #[schema(value_type = String)]
    id: CampaignId,
    /// What people call it.
    name: String,
    /// Where it stands.
    status: Status,
    /// Whom it is for.
    audience: Audience,
    /// What it says.
    template: TemplateView,
    /// Whose money it is.
    account: String,
    /// What one message costs.
    #[schema(value_type = MoneySchema)]
    cost_per_message: Money,
    /// What it may spend.
    #[schema(value_type = MoneySchema)]
    budget: Money,
    /// What was captured so far.
    #[schema(value_type = MoneySchema)]
    spent: Money,
    /// When it was created, RFC 3339.
    created_at: String,
    /// How often it was run.
    runs: i64,
    /// Messages by state; states that no message is in are left out.
    messages: BTreeMap<&'static str, i64>,
    /// Messages by reason: `consent`, limits, failures. A message may have several.
    reasons: BTreeMap<String, i64>,
}

/// A template as it was given.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct TemplateView {
    /// One line.
    subject: String,
    /// The text.
    body: String,
}

impl CampaignView {
    /// `campaign` with its `counts` at `now`.
    pub(super) fn new(campaign: &Campaign, counts: &[Count], now: UnixMillis) -> Self {
        let (mut messages, mut reasons) = (BTreeMap::new(), BTreeMap::new());
        for count in counts {
            *messages.entry(count.state.as_str()).or_default() += count.messages;
            for reason in &count.reasons {
                *reasons.entry(reason.clone()).or_default() += count.messages;
            }
        }
        let offer = &campaign.offer;
        let captured = messages.get(MessageState::Captured.as_str()).copied().unwrap_or_default();
        Self {
            id: campaign.id(),
            name: campaign.name.clone(),
            status: campaign.status_at(now),
            audience: campaign.audience.clone(),
            template: TemplateView { subject: offer.subject.source().to_owned(), body: offer.body.source().to_owned() },
            account: offer.account.clone(),
            cost_per_message: offer.cost,
            budget: campaign.budget,
            spent: Money::new(offer.cost.micros.saturating_mul(captured), offer.cost.currency),
            created_at: campaign.created_at.rfc3339(),
            runs: campaign.runs,
            messages,
            reasons,
        }
    }
}

/// A campaign with a page of its messages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CampaignDetail {
    #[serde(flatten)]
    pub(super) campaign: CampaignView,
    /// What became of its customers, in the order of their handles, which tells nothing about them.
    pub(super) outcomes: Vec<OutcomeView>,
    /// To be given as `after` for the next page; null on the last one.
    pub(super) next: Option<String>,
}

/// A page of campaigns.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CampaignPage {
    /// Campaigns, oldest first.
    pub(super) campaigns: Vec<CampaignView>,
    /// To be given as `after` for the next page; null on the last one.
    #[schema(value_type = Option<String>)]
    pub(super) next: Option<CampaignId>,
}

/// What became of the message to one customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct OutcomeView {
    /// Who it is for; null where nobody knows any more, because they were erased.
    pub(super) customer_id: Option<String>,
    /// Its id, also at the provider.
    #[schema(value_type = String)]
    pub(super) message_id: MessageId,
    /// pending, authorized, sent, captured, refused, failed or `blocked_unavailable`.
    pub(super) state: String,
    /// Why: `consent`, the limits that refused, or what failed.
    pub(super) reasons: Vec<String>,
    /// How often shield was asked anew.
    pub(super) attempt: i64,
    /// Since when, RFC 3339.
    pub(super) at: String,
}

impl From<Message> for OutcomeView {
    fn from(message: Message) -> Self {
        Self {
            customer_id: Some(message.to.customer_id),
            message_id: message.id,
            state: message.state.as_str().to_owned(),
            reasons: message.reasons,
            attempt: message.attempt,
            at: message.updated_at.rfc3339(),
        }
    }
}

impl From<Outcome> for OutcomeView {
    fn from(outcome: Outcome) -> Self {
        Self {
            customer_id: outcome.customer_id,
            message_id: outcome.id,
            state: outcome.state.as_str().to_owned(),
            reasons: outcome.reasons,
            attempt: outcome.attempt,
            at: outcome.updated_at.rfc3339(),
        }
    }
}

/// An outcome as it is remembered for the repeats of a trigger: a repeat says again whom it is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RememberedOutcome {
    message_id: MessageId,
    state: String,
    reasons: Vec<String>,
    attempt: i64,
    at: String,
}

impl From<&OutcomeView> for RememberedOutcome {
    fn from(outcome: &OutcomeView) -> Self {
        let OutcomeView { customer_id: _, message_id, state, reasons, attempt, at } = outcome.clone();
        Self { message_id, state, reasons, attempt, at }
    }
}

impl RememberedOutcome {
    /// The outcome for `customer_id`.
    pub(super) fn of(self, customer_id: String) -> OutcomeView {
        let Self { message_id, state, reasons, attempt, at } = self;
        OutcomeView { customer_id: Some(customer_id), message_id, state, reasons, attempt, at }
    }
}
