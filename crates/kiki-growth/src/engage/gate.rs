//! Shield, as engage sees it: one question for each message (may this customer be written to, and is there money?),
//! and the settlement of the answer.
//!
//! No answer is not a refusal. [`GateError::Away`] means that nobody decided, so nothing is sent.

use std::time::Duration;

use kiki_kit::inprocess::Transport;
use kiki_kit::problem::logged_status;
use kiki_proto::shield::v1 as proto;
use kiki_proto::shield::v1::authorization_service_client::AuthorizationServiceClient;
use kiki_proto::shield::v1::budget_service_client::BudgetServiceClient;
use kiki_store::personal::SubjectId;
use kiki_types::id::CampaignId;
use kiki_types::{Channel, Money, Purpose};
use proto::AuthorizationState as State;
use sha2::{Digest as _, Sha256};
use tonic::{Code, Response, Status};

/// How long one call may take.
const CALL_TIME_MAX: Duration = Duration::from_secs(5);

/// How long the money of a message stays held: long enough to send it, short enough that a crash gives it back soon.
const HOLD_MS: i64 = 10 * 60 * 1_000;

/// Shield's answer to [`Gate::authorize`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The money is held under this authorization.
    Held(String),
    /// Refused by consent or these limits.
    Denied(Vec<String>),
    /// An earlier call with the same key was held and captured.
    Captured(String),
    /// An earlier call with the same key was held and ended without a capture.
    Lapsed,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum GateError {
    /// Shield does not answer, or cannot say. Worth another try.
    #[error("shield is away: {0}")]
    Away(String),
    /// Shield will not take the request as it is.
    #[error("shield rejected the request: {}", logged_status(.0))]
    Rejected(Status),
}

/// One question. Without `customer_id` it is about money alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) account: &'a str,
    pub(super) amount: Money,
    pub(super) customer_id: Option<&'a str>,
    pub(super) key: &'a str,
}

/// The key of a message's `attempt`: the same for the same attempt. A handle is random, so nobody can test whom it was for.
pub(super) fn attempt_key(campaign: CampaignId, handle: SubjectId, attempt: i64) -> String {
    let digest =
        Sha256::new().chain_update(campaign.uuid()).chain_update(handle.uuid()).chain_update(attempt.to_be_bytes());
    format!("engage-{:x}", digest.finalize())
}

/// Shield's services for one tenant.
#[derive(Clone)]
pub(super) struct Gate {
    authorizations: AuthorizationServiceClient<Transport>,
    budgets: BudgetServiceClient<Transport>,
}

impl Gate {
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            authorizations: AuthorizationServiceClient::new(transport.clone()),
            budgets: BudgetServiceClient::new(transport),
        }
    }

    /// Asks for consent and money in one decision.
    pub(super) async fn authorize(&self, ask: Ask<'_>) -> Result<Decision, GateError> {
        let request = proto::AuthorizeRequest {
            account: ask.account.to_owned(),
            amount: Some(money(ask.amount)),
            customer_id: ask.customer_id.unwrap_or_default().to_owned(),
            purpose: ask.customer_id.map_or("", |_| Purpose::Marketing.as_str()).to_owned(),
            channel: ask.customer_id.map_or("", |_| Channel::Email.as_str()).to_owned(),
            ttl_ms: HOLD_MS,
            idempotency_key: ask.key.to_owned(),
            ..proto::AuthorizeRequest::default()
        };
        decision(call(self.authorizations.clone().authorize(request)).await?)
    }

    /// What became of an authorization.
    pub(super) async fn get(&self, id: &str) -> Result<Decision, GateError> {
        decision(call(self.authorizations.clone().get(proto::GetRequest { id: id.to_owned() })).await?)
    }

    /// Spends all that is held. Returns whether it is spent; otherwise the hold had ended.
    pub(super) async fn capture(&self, id: &str) -> Result<bool, GateError> {
        let request = proto::CaptureRequest { id: id.to_owned(), amount: None };
        let answer = call(self.authorizations.clone().capture(request)).await;
        Ok(matches!(self.settled(id, answer).await?, Decision::Captured(_)))
    }

    /// Gives back what is held.
    pub(super) async fn void(&self, id: &str) -> Result<(), GateError> {
        let answer = call(self.authorizations.clone().void(proto::VoidRequest { id: id.to_owned() })).await;
        self.settled(id, answer).await.map(|_| ())
    }

    /// Defines the total budget `id` on `account`. The same again changes nothing.
    pub(super) async fn define_budget(&self, id: &str, account: &str, amount: Money) -> Result<(), GateError> {
        let request = proto::DefineBudgetRequest {
            id: id.to_owned(),
            account: account.to_owned(),
            kind: proto::BudgetKind::Total.into(),
            amount: Some(money(amount)),
            ..proto::DefineBudgetRequest::default()
        };
        call(self.budgets.clone().define(request)).await.map(|_| ())
    }

    /// An authorization resolves once. Where shield says that it did so before, what became of it is the answer.
    async fn settled(&self, id: &str, answer: Result<proto::Authorization, GateError>) -> Result<Decision, GateError> {
        match answer {
            Ok(authorization) => decision(authorization),
            Err(GateError::Rejected(_)) => self.get(id).await,
            Err(away) => Err(away),
        }
    }
}

fn money(amount: Money) -> proto::Money {
    proto::Money { micros: amount.micros, currency: amount.currency.to_string() }
}

fn decision(authorization: proto::Authorization) -> Result<Decision, GateError> {
    match authorization.state() {
        State::Held => Ok(Decision::Held(authorization.id)),
        State::Denied => Ok(Decision::Denied(authorization.refused_by)),
        State::Captured => Ok(Decision::Captured(authorization.id)),
        State::Voided | State::Expired => Ok(Decision::Lapsed),
        State::Rejected => Ok(Decision::Denied(vec!["rejected".to_owned()])),
        // Until somebody approves nobody has decided; the same key asks again.
        State::Pending => Err(GateError::Away("a message waits for approval".to_owned())),
        State::Unspecified => Err(GateError::Away("it answered with an unknown state".to_owned())),
    }
}

async fn call<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, GateError> {
    match tokio::time::timeout(CALL_TIME_MAX, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if is_our_mistake(status.code()) => Err(GateError::Rejected(status)),
        Ok(Err(status)) => Err(GateError::Away(logged_status(&status))),
        Err(_) => Err(GateError::Away("it did not answer in time".to_owned())),
    }
}

/// Codes that the same request will meet again. A missing permission is not among them: it is mended by configuration,
/// and until then nobody decided.
const fn is_our_mistake(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::NotFound
            | Code::OutOfRange
            | Code::Aborted
    )
}
