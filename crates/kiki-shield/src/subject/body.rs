//! The shapes of subject requests and legal holds.

use kiki_store::personal::Hold;
use kiki_types::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::model::{Awaits, Ground, Kind, Outcome, Regime, State};
use super::repo::Request;
use super::repo::work::Task;
use super::service::{NewRequest, Seen};
use crate::error::ShieldError;

/// A data subject request.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubjectRequestBody {
    /// The customer.
    pub(crate) customer_id: String,
    /// ACCESS, DELETION, PORTABILITY, RECTIFICATION, RESTRICTION, OBJECTION or OPT_OUT.
    pub(crate) request_type: String,
    /// The law that gives the right: gdpr or ccpa. Absent: ccpa for OPT_OUT, gdpr for the others.
    pub(crate) regime: Option<String>,
    /// When it came in, RFC 3339; absent: now.
    pub(crate) received_at: Option<String>,
    /// For RECTIFICATION: names as an export has them, and what is right.
    #[schema(value_type = Option<Object>)]
    #[param(value_type = Option<Object>)]
    pub(crate) correction: Option<Map<String, Value>>,
    /// Whether the person is written to; absent: they are.
    pub(crate) notify: Option<bool>,
}

impl SubjectRequestBody {
    pub(crate) fn wanted(self) -> Result<NewRequest, ShieldError> {
        let kind = self.request_type.parse().map_err(|error| ShieldError::invalid("request_type", error))?;
        let regime = self.regime.as_deref().map(str::parse).transpose();
        let at = self.received_at.as_deref().map(UnixMillis::parse_rfc3339).transpose();
        let at = at.map_err(|_| ShieldError::invalid("received_at", "must be a time such as 2026-02-01T00:00:00Z"))?;
        Ok(NewRequest {
            customer_id: self.customer_id,
            kind,
            regime: regime.map_err(|error| ShieldError::invalid("regime", error))?,
            received_at: at,
            correction: self.correction,
            notify: self.notify.unwrap_or(true),
        })
    }
}

/// A data subject request as it was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubjectRequestAnswer {
    /// Its id.
    pub(crate) request_id: String,
    /// The customer.
    pub(crate) customer_id: String,
    /// The right that is made use of.
    pub(crate) request_type: Kind,
    /// `received`.
    pub(crate) status: &'static str,
    /// When it came.
    pub(crate) received_at: String,
    /// The last moment to answer it in: the end of `due_on`.
    pub(crate) due_at: String,
    /// The last day to answer it on, in the zone of the installation.
    pub(crate) due_on: String,
}

/// Many requests at once.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct BulkBody {
    /// At most 1,000; all are taken in, or none.
    pub(crate) requests: Vec<SubjectRequestBody>,
}

/// What was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkAnswer {
    /// Their ids, in the order in which they were given.
    pub(crate) request_ids: Vec<String>,
}

/// Requests that somebody vouches for.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct VouchBody {
    /// At most 1,000.
    pub(crate) request_ids: Vec<String>,
}

/// How many were vouched for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VouchAnswer {
    /// Those that had not been proven before.
    pub(crate) vouched: u64,
}

/// Which requests are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOfRequests {
    /// received, identity_check, in_progress, extended, completed or refused.
    pub(crate) state: Option<String>,
    /// Those that have not ended and are due before this time (RFC 3339).
    pub(crate) due_before: Option<String>,
    /// The `next` of the page before.
    pub(crate) after: Option<String>,
    /// At most 1000; absent: 100.
    pub(crate) limit: Option<usize>,
}

/// Requests, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestsAnswer {
    /// Without their tasks.
    pub(crate) requests: Vec<RequestAnswer>,
    /// Where to go on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// A request and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SubjectRequest)]
pub(crate) struct RequestAnswer {
    request_id: String,
    /// Absent once the person was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    request_type: Kind,
    regime: Regime,
    status: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    ground: Option<Ground>,
    received_at: String,
    /// The day of receipt, in the zone of the installation.
    received_on: String,
    /// Until when the receipt must be acknowledged, where the law says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledge_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_at: Option<String>,
    /// The last moment to answer in, with an extension if there is one.
    due_at: String,
    is_extended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<String>,
    /// `code`, or the keyed hash of who vouched.
    #[serde(skip_serializing_if = "String::is_empty")]
    verified_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// What it waits for that is not for the program to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    awaits: Option<Awaits>,
    /// What an officer says was corrected, and where; only of one that was asked for by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected: Option<String>,
    /// When it is tried again, where something failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    /// Whether the person could not be written to.
    mail_failed: bool,
    /// What became of it in each store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<TaskAnswer>,
}

/// What became of a request in a store.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskAnswer {
    store: String,
    /// `pending`, `done` or `failed`.
    state: &'static str,
    /// Rows or files that it concerned; absent where only the sum of several requests is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<i64>,
    attempts: i64,
    /// What went wrong, as a code.
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

fn time(at: UnixMillis) -> Option<String> {
    (at.0 > 0).then(|| at.rfc3339())
}

impl RequestAnswer {
    pub(crate) fn new(seen: &Seen, pending: &[&str]) -> Self {
        let request = &seen.request;
        let (of_mail, tasks): (Vec<&Task>, Vec<&Task>) =
            seen.tasks.iter().partition(|task| task.store == super::letters::MAIL_TASK);
        let waits = |store: &&str| TaskAnswer {
            store: (*store).to_owned(),
            state: "pending",
            rows: None,
            attempts: 0,
            error: String::new(),
        };
        let is_waiting = matches!(request.state, State::InProgress | State::Extended) && request.lease_until.0 == 0;
        Self {
            request_id: request.id.to_string(),
            customer_id: seen.customer_id.clone(),
            request_type: request.kind,
            regime: request.regime,
            status: request.state,
            outcome: request.outcome,
            ground: request.ground,
            received_at: request.received_at.rfc3339(),
            received_on: request.received_on.clone(),
            acknowledge_by: time(request.acknowledge_by),
            acknowledged_at: time(request.acknowledged_at),
            due_at: request.due().rfc3339(),
            is_extended: request.is_extended(),
            verified_at: time(request.verified_at),
            verified_by: request.verified_by.clone(),
            ended_at: time(request.ended_at),
            awaits: seen.awaits,
            corrected: seen.corrected.clone(),
            next_at: time(request.next_at).filter(|_| is_waiting && seen.awaits != Some(Awaits::Source)),
            mail_failed: of_mail.iter().any(|task| !task.is_done),
            tasks: tasks.into_iter().map(TaskAnswer::new).chain(pending.iter().map(waits)).collect(),
        }
    }

    /// As it stands right after a verb.
    pub(crate) fn of(request: Request) -> Self {
        let awaits = request.awaits_source().then_some(Awaits::Source);
        Self::new(&Seen { request, customer_id: None, tasks: Vec::new(), awaits, corrected: None }, &[])
    }
}

impl TaskAnswer {
    fn new(task: &Task) -> Self {
        Self {
            store: task.store.clone(),
            state: if task.is_done { "done" } else { "failed" },
            rows: Some(task.rows).filter(|&rows| rows >= 0),
            attempts: task.attempts,
            error: task.error.clone(),
        }
    }
}

/// `POST /v1/subject-requests/{id}/verify`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct VerifyBody {
    /// The six digits that were mailed.
    pub(crate) code: String,
}

/// `POST /v1/subject-requests/{id}/extend`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct ExtendBody {
    /// complexity or number.
    pub(crate) reason: String,
}

/// `POST /v1/subject-requests/{id}/refuse`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RefuseBody {
    /// identity_not_proven, unfounded, excessive, legal_obligation, legal_claims, public_interest, free_expression,
    /// rights_of_others, legal_hold, not_controller, not_a_consumer or exempt.
    pub(crate) ground: String,
}

/// `POST /v1/subject-requests/{id}/corrected`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct CorrectedBody {
    /// What was corrected, and where; at most 4,096 bytes, kept sealed under the person's key.
    pub(crate) note: String,
}

/// How a request is tried again.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RetryQuery {
    /// Whether a deletion waits for no copy: the person does not want it any more.
    #[serde(default)]
    pub(crate) without_copy: bool,
}

/// How a key is destroyed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DestroyKeyQuery {
    /// Whether you erase the person by hand at the services that were not told their name.
    #[serde(default)]
    pub(crate) by_hand: bool,
}

/// Somebody is to be held.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct HoldBody {
    /// The customer.
    pub(crate) customer_id: String,
    /// What it is about; kept sealed.
    pub(crate) matter: String,
}

/// A legal hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LegalHold)]
pub(crate) struct HoldAnswer {
    #[schema(value_type = String)]
    pub(crate) hold_id: Uuid,
    /// The handle of who is held.
    subject: String,
    /// Absent where the person was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) matter: Option<String>,
    placed_at: String,
    /// By whom, as a keyed hash.
    placed_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    released_at: Option<String>,
}

/// Where a page begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOfHolds {
    /// The `next` of the page before.
    #[param(value_type = Option<String>)]
    pub(crate) after: Option<Uuid>,
    /// At most 1000; absent: 100.
    pub(crate) limit: Option<usize>,
}

/// Holds, standing and released.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HoldsAnswer {
    pub(crate) holds: Vec<HoldAnswer>,
    /// Where to go on; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<Uuid>,
}

/// A hold that was released.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleasedAnswer {
    #[schema(value_type = String)]
    pub(crate) hold_id: Uuid,
    /// Deletions that were refused for a hold on this person: they are not taken up by themselves.
    pub(crate) refused_requests: Vec<String>,
}

impl HoldAnswer {
    pub(crate) fn new(hold: Hold) -> Self {
        Self {
            hold_id: hold.id,
            subject: hold.subject.to_string(),
            matter: hold.matter,
            placed_at: hold.placed_at.rfc3339(),
            placed_by: hold.placed_by,
            released_at: hold.released.map(|(at, _)| at.rfc3339()),
        }
    }
}
