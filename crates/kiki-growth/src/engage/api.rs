//! Engage over HTTP.
//!
//! What changes something runs as a task of its own, so that a caller who leaves does not stop a message between its
//! sending and its payment.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, Path, Query};
use kiki_kit::problem::Problem;
use kiki_store::idempotency::{Key, Response as Stored};
use kiki_types::TenantId;
use kiki_types::id::CampaignId;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Engage;
use super::audit::Actor;
use super::error::EngageError;
use super::input::{NewCampaign, NewTrigger};
use super::message::{MessageState, SHIELD_REJECTED};
use super::view::{CampaignDetail, CampaignPage, CampaignView, OutcomeView};

const OUTCOMES_MAX: usize = 1_000;
/// Each of them is counted.
const CAMPAIGNS_MAX: usize = 100;
const PAGE_DEFAULT: usize = 100;

/// Engage's operations.
#[must_use]
pub fn api(engage: Engage) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(show))
        .routes(routes!(run))
        .routes(routes!(trigger))
        .with_state(engage)
}

#[derive(Debug, Deserialize)]
struct CampaignPath {
    id: CampaignId,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct CampaignsQuery {
    /// Campaigns at the most, 1 to 100; 100 unless given.
    limit: Option<usize>,
    /// Show what follows this campaign: `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<CampaignId>,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct OutcomesQuery {
    /// Outcomes at the most, 1 to 1,000; 100 unless given.
    limit: Option<usize>,
    /// Show what follows this outcome: `next` of the page before.
    #[serde(default)]
    after: String,
}

/// Create a campaign and its budget.
#[utoipa::path(
    post, path = "/campaigns", tag = "engage", request_body = NewCampaign,
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the same answer")),
    responses((status = 201, description = "Created", body = CampaignView)),
)]
async fn create(
    State(engage): State<Engage>,
    allowed: Allowed<can::CampaignsWrite>,
    network: RemoteNetwork,
    IdempotencyKey(given): IdempotencyKey,
    Json(new): Json<NewCampaign>,
) -> Result<Response, Problem> {
    let key = key(&engage, given.as_deref(), &allowed.tenant, "campaigns.create", &new)?;
    let actor = Actor::new(&engage.needs.pseudonyms, &allowed, network);
    let stored = to_its_end(&engage.clone(), async move { engage.create(&actor, new, key).await }).await?;
    Ok(answer(stored))
}

/// List campaigns.
#[utoipa::path(
    get, path = "/campaigns", tag = "engage", params(CampaignsQuery),
    responses((status = 200, description = "A page", body = CampaignPage)),
)]
async fn list(
    State(engage): State<Engage>,
    allowed: Allowed<can::CampaignsRead>,
    Query(query): Query<CampaignsQuery>,
) -> Result<Json<CampaignPage>, Problem> {
    Ok(Json(engage.list(&allowed.tenant, query.after, limit(query.limit, CAMPAIGNS_MAX)?).await?))
}

/// Look at a campaign: how far it came, and what became of each customer.
#[utoipa::path(
    get, path = "/campaigns/{id}", tag = "engage",
    params(("id" = String, Path, description = "The campaign's id"), OutcomesQuery),
    responses((status = 200, description = "The campaign", body = CampaignDetail)),
)]
async fn show(
    State(engage): State<Engage>,
    allowed: Allowed<can::CampaignsRead>,
    Path(path): Path<CampaignPath>,
    Query(query): Query<OutcomesQuery>,
) -> Result<Json<CampaignDetail>, Problem> {
    Ok(Json(engage.detail(&allowed.tenant, path.id, &query.after, limit(query.limit, OUTCOMES_MAX)?).await?))
}

/// Run a campaign. It goes on after the answer; running it again sends nothing twice.
#[utoipa::path(
    post, path = "/campaigns/{id}/run", tag = "engage",
    params(("id" = String, Path, description = "The campaign's id")),
    responses(
        (status = 202, description = "It is being run", body = CampaignView),
        (status = 409, description = "`run_in_progress`: a run is under way, or its process ended and its lease still \
            stands, at most for the seconds in `Retry-After`"),
    ),
)]
async fn run(
    State(engage): State<Engage>,
    allowed: Allowed<can::MessagesSend>,
    network: RemoteNetwork,
    Path(path): Path<CampaignPath>,
) -> Result<(StatusCode, Json<CampaignView>), Problem> {
    engage.start_run(&Actor::new(&engage.needs.pseudonyms, &allowed, network), path.id).await?;
    Ok((StatusCode::ACCEPTED, Json(engage.view(&allowed.tenant, path.id).await?)))
}

/// Send a message to one customer.
#[utoipa::path(
    post, path = "/trigger", tag = "engage", request_body = NewTrigger,
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key sends nothing twice")),
    responses((status = 200, description = "It was sent", body = OutcomeView)),
)]
async fn trigger(
    State(engage): State<Engage>,
    allowed: Allowed<can::MessagesSend>,
    network: RemoteNetwork,
    IdempotencyKey(given): IdempotencyKey,
    Json(new): Json<NewTrigger>,
) -> Result<Json<OutcomeView>, Problem> {
    let key = key(&engage, given.as_deref(), &allowed.tenant, "engage.trigger", &new)?;
    let actor = Actor::new(&engage.needs.pseudonyms, &allowed, network);
    let outcome = to_its_end(&engage.clone(), async move { engage.trigger(&actor, new, key).await }).await?;
    refusal(&outcome).map_or(Ok(Json(outcome)), Err)
}

/// Runs `work` as a task, which goes on when the caller leaves.
async fn to_its_end<T: Send + 'static>(
    engage: &Engage,
    work: impl Future<Output = Result<T, EngageError>> + Send + 'static,
) -> Result<T, Problem> {
    match engage.needs.tasks.spawn("engage-request", work).await {
        Ok(Some(done)) => Ok(done?),
        _ => Err(EngageError::Ending.into()),
    }
}

/// The idempotency key of a request, if it has one.
fn key(
    engage: &Engage,
    given: Option<&str>,
    tenant: &TenantId,
    scope: &'static str,
    request: &impl Serialize,
) -> Result<Option<Key>, Problem> {
    let Some(given) = given else { return Ok(None) };
    let request = serde_json::to_vec(request).map_err(|error| Problem::internal(&error))?;
    let hash = |text: &str| (engage.needs.pseudonyms.request_key)(tenant, text);
    let key = Key::new(tenant, scope, given, &request, hash);
    key.map(Some).map_err(|error| Problem::invalid("idempotency-key", error))
}

fn limit(given: Option<usize>, max: usize) -> Result<usize, Problem> {
    let limit = given.unwrap_or(PAGE_DEFAULT);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid("limit", format_args!("must be 1 to {max}")))
}

fn answer(stored: Stored) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], stored.body).into_response()
}

/// The problem of a triggered message that was not sent.
fn refusal(outcome: &OutcomeView) -> Option<Problem> {
    let why = outcome.reasons.join(", ");
    let problem = match outcome.state.parse().ok()? {
        MessageState::Captured | MessageState::Sent => return None,
        MessageState::Refused => Problem::denied("refused", format!("Not sent: refused by {why}.")),
        MessageState::Failed if outcome.reasons.iter().any(|reason| reason == SHIELD_REJECTED) => {
            let detail = "Not sent: shield does not take the request as it is. No money was held.";
            Problem::conflict(SHIELD_REJECTED, detail)
        }
        MessageState::Failed => {
            Problem::new(StatusCode::BAD_GATEWAY, "send_failed", format!("Not sent: {why}. The money was given back."))
        }
        MessageState::Pending | MessageState::Authorized | MessageState::BlockedUnavailable => {
            let detail = "It is not known yet whether it was sent. Ask again later with the same Idempotency-Key.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "send_unknown", detail)
        }
    };
    Some(problem.with("reasons", outcome.reasons.clone()).with("message_id", outcome.message_id.to_string()))
}
