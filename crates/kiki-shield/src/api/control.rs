//! Stops and approvals.

use axum::extract::State;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{Json, JsonOrQuery, Path, Query};
use kiki_kit::problem::Problem;
use kiki_spend::Outcome;
use kiki_types::id::AuthorizationId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{caller, denial, refused_by};
use crate::error::ShieldError;
use crate::model::{ApprovalsAnswer, ApprovalsRequest, AuthorizationAnswer, StopBody, StopsAnswer, StopsRequest};
use crate::pages;
use crate::service::Shield;

pub(super) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(stops, stop, resume))
        .routes(routes!(approvals))
        .routes(routes!(approve))
        .routes(routes!(reject))
}

/// The accounts at which nothing new is authorized.
#[utoipa::path(get, path = "/v1/stops", tag = "control", params(StopsRequest),
    responses((status = 200, body = StopsAnswer)))]
async fn stops(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendRead>,
    network: RemoteNetwork,
    Query(page): Query<StopsRequest>,
) -> Result<Json<StopsAnswer>, Problem> {
    let limit = pages::limit(page.limit)?;
    let (stopped, next) = shield.stops(&caller(&allowed, network), page.after, limit).await?;
    Ok(Json(StopsAnswer { stopped, next, receipt: None }))
}

/// Refuse everything new at an account and below, from the very next decision on.
///
/// What is held may still be settled or voided. Repeating it changes nothing.
#[utoipa::path(post, path = "/v1/stops", tag = "control", params(StopBody), request_body = Option<StopBody>,
    responses((status = 200, body = StopsAnswer)))]
async fn stop(
    State(shield): State<Shield>,
    allowed: Allowed<can::StopsWrite>,
    network: RemoteNetwork,
    JsonOrQuery(body): JsonOrQuery<StopBody>,
) -> Result<Json<StopsAnswer>, Problem> {
    put_stop(&shield, &caller(&allowed, network), &body.account, true).await
}

/// Take a stop back. Stops above and below the account stay.
#[utoipa::path(delete, path = "/v1/stops", tag = "control", params(StopBody),
    responses((status = 200, body = StopsAnswer)))]
async fn resume(
    State(shield): State<Shield>,
    allowed: Allowed<can::StopsWrite>,
    network: RemoteNetwork,
    Query(body): Query<StopBody>,
) -> Result<Json<StopsAnswer>, Problem> {
    put_stop(&shield, &caller(&allowed, network), &body.account, false).await
}

async fn put_stop(
    shield: &Shield,
    caller: &crate::Caller,
    account: &str,
    is_stopped: bool,
) -> Result<Json<StopsAnswer>, Problem> {
    let receipt = shield.receipt(shield.put_stop(caller, account, is_stopped).await?);
    let (stopped, next) = shield.stops(caller, None, pages::limit(None)?).await?;
    Ok(Json(StopsAnswer { stopped, next, receipt }))
}

/// Requests that wait for approval, the oldest first.
#[utoipa::path(get, path = "/v1/approvals", tag = "control", params(ApprovalsRequest),
    responses((status = 200, body = ApprovalsAnswer)))]
async fn approvals(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendRead>,
    network: RemoteNetwork,
    Query(page): Query<ApprovalsRequest>,
) -> Result<Json<ApprovalsAnswer>, Problem> {
    let limit = pages::limit(page.limit)?;
    let after = page.after.as_deref().map(str::parse::<AuthorizationId>).transpose();
    let after = after.map_err(|error| ShieldError::invalid("after", error))?;
    let found = shield.approvals(&caller(&allowed, network), after, limit).await?;
    let next = pages::next(&found, limit, |known| known.id.to_string());
    let approvals = found.iter().map(|known| AuthorizationAnswer::new(known, &shield)).collect();
    Ok(Json(ApprovalsAnswer { approvals, next }))
}

/// Let a request that waits have its money.
///
/// From now on it is held, or it is captured if it was to be captured at once. Refused while its account is stopped, when the
/// consent it names was revoked, and where four eyes are wanted and the same person asked.
#[utoipa::path(post, path = "/v1/authorizations/{id}/approve", tag = "control", params(("id" = String, Path)),
    responses((status = 200, body = AuthorizationAnswer), (status = 403, description = "Refused; it still waits"),
        (status = 404, description = "Unknown or forgotten"), (status = 409, description = "Resolved before, or needs none")))]
async fn approve(
    State(shield): State<Shield>,
    allowed: Allowed<can::ApprovalsWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let (decision, known) = shield.approve(&caller(&allowed, network), id).await?;
    if let Outcome::Denied { .. } = decision.outcome {
        let by = refused_by(&decision).join(", ");
        return Err(denial(&shield, "approval_refused", format!("The approval is refused by: {by}."), &decision));
    }
    let known = known.ok_or(ShieldError::NotFound("authorization"))?;
    Ok(Json(AuthorizationAnswer::new(&known, &shield)))
}

/// Do not let a request that waits have its money; what was held for it is free at once.
#[utoipa::path(post, path = "/v1/authorizations/{id}/reject", tag = "control", params(("id" = String, Path)),
    responses((status = 200, body = AuthorizationAnswer), (status = 404, description = "Unknown or forgotten"),
        (status = 409, description = "Resolved before, or needs none")))]
async fn reject(
    State(shield): State<Shield>,
    allowed: Allowed<can::ApprovalsWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.reject(&caller(&allowed, network), id).await?;
    Ok(Json(AuthorizationAnswer::new(&known, &shield)))
}
