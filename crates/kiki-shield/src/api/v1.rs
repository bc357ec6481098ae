//! Authorizations and budgets.

use axum::extract::State;
use http::StatusCode;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, JsonOrQuery, Path, Query};
use kiki_kit::problem::Problem;
use kiki_spend::Outcome;
use kiki_types::Purpose;
use kiki_types::id::AuthorizationId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{caller, denial, refused_by};
use crate::error::ShieldError;
use crate::model::{
    AuthorizationAnswer, AuthorizeBody, BudgetAnswer, BudgetBody, BudgetsAnswer, CaptureBody, PageRequest,
};
use crate::service::{Ask, Known, Shield};

const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;
/// Seconds that `ttl_seconds` may name at the most, so that it can be counted in milliseconds.
const TTL_SECONDS_MAX: i64 = i64::MAX / 1000;

pub(super) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(authorize))
        .routes(routes!(authorization))
        .routes(routes!(capture))
        .routes(routes!(void))
        .routes(routes!(budgets))
        .routes(routes!(define_budget, budget))
}

/// Reserve money before it moves.
///
/// Takes every limit on the account's path, and consent where a purpose is given, or nothing. With the header
/// `Idempotency-Key` a repeat gets the same answer.
#[utoipa::path(post, path = "/v1/authorizations", tag = "authorizations", request_body = AuthorizeBody,
    params(("idempotency-key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 201, body = AuthorizationAnswer), (status = 403, description = "Denied, with what refused"),
        (status = 409, description = "The key was used for another request")))]
async fn authorize(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<AuthorizeBody>,
) -> Result<(StatusCode, Json<AuthorizationAnswer>), Problem> {
    let purpose = body.purpose.as_deref().map(str::parse::<Purpose>).transpose();
    let purpose = purpose.map_err(|error| ShieldError::invalid("purpose", error))?;
    let ttl_ms = body.ttl_seconds.map(|seconds| seconds.clamp(0, TTL_SECONDS_MAX) * 1000);
    let ask = Ask {
        account: body.account,
        amount: body.amount,
        customer_id: body.customer_id,
        purpose,
        ttl_ms,
        key,
        capture: false,
    };
    let (decision, id) = shield.authorize(&caller(&allowed, network), ask).await?;
    match (&decision.outcome, &decision.authorization) {
        (Outcome::Held, Some((_, view))) => {
            let known = Known { id, view: view.clone() };
            Ok((StatusCode::CREATED, Json(AuthorizationAnswer::new(&known, shield.0.currency))))
        }
        _ => {
            let by = refused_by(&decision).join(", ");
            Err(denial("denied", format!("{} is refused by: {by}.", body.amount), &decision))
        }
    }
}

/// An authorization.
#[utoipa::path(get, path = "/v1/authorizations/{id}", tag = "authorizations", params(("id" = String, Path)),
    responses((status = 200, body = AuthorizationAnswer), (status = 404, description = "Unknown or forgotten")))]
async fn authorization(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendRead>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.authorization(&caller(&allowed, network), id).await?;
    Ok(Json(AuthorizationAnswer::new(&known, shield.0.currency)))
}

/// Settle a hold: the money has moved.
///
/// For at most what is held; the rest is free at once. Repeating it with the same amount answers the same.
#[utoipa::path(post, path = "/v1/authorizations/{id}/capture", tag = "authorizations", params(("id" = String, Path)),
    request_body = Option<CaptureBody>, responses((status = 200, body = AuthorizationAnswer),
        (status = 404, description = "Unknown or forgotten"), (status = 409, description = "Resolved before")))]
async fn capture(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
    JsonOrQuery(body): JsonOrQuery<CaptureBody>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.capture(&caller(&allowed, network), id, body.amount).await?;
    Ok(Json(AuthorizationAnswer::new(&known, shield.0.currency)))
}

/// Give a hold back.
#[utoipa::path(post, path = "/v1/authorizations/{id}/void", tag = "authorizations", params(("id" = String, Path)),
    responses((status = 200, body = AuthorizationAnswer), (status = 404, description = "Unknown or forgotten"),
        (status = 409, description = "Resolved before")))]
async fn void(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendWrite>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
) -> Result<Json<AuthorizationAnswer>, Problem> {
    let known = shield.void(&caller(&allowed, network), id).await?;
    Ok(Json(AuthorizationAnswer::new(&known, shield.0.currency)))
}

/// The tenant's budgets and how they stand.
#[utoipa::path(get, path = "/v1/budgets", tag = "budgets", params(PageRequest),
    responses((status = 200, body = BudgetsAnswer)))]
async fn budgets(
    State(shield): State<Shield>,
    allowed: Allowed<can::BudgetsRead>,
    network: RemoteNetwork,
    Query(page): Query<PageRequest>,
) -> Result<Json<BudgetsAnswer>, Problem> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format_args!("must be 1 to {PAGE_MAX}")));
    }
    let skip = page.after.unwrap_or(0);
    let found = shield.budgets(&caller(&allowed, network), skip, limit).await?;
    let next = (found.len() == limit).then(|| skip.saturating_add(limit));
    let budgets = found.iter().map(|budget| BudgetAnswer::new(budget, shield.0.currency)).collect();
    Ok(Json(BudgetsAnswer { budgets, next }))
}

/// Define a budget or replace it.
///
/// What was spent under it stays counted: by a total all that was ever captured under it, by a window what its
/// predecessor, if it was a window, still counts. On another account it starts from nothing.
#[utoipa::path(put, path = "/v1/budgets/{id}", tag = "budgets", params(("id" = String, Path)),
    request_body = BudgetBody, responses((status = 200, body = BudgetAnswer)))]
async fn define_budget(
    State(shield): State<Shield>,
    allowed: Allowed<can::BudgetsWrite>,
    network: RemoteNetwork,
    Path(id): Path<String>,
    Json(body): Json<BudgetBody>,
) -> Result<Json<BudgetAnswer>, Problem> {
    let caller = caller(&allowed, network);
    shield.define_budget(&caller, &id, &body.account, body.limit.kind()?).await?;
    let defined = shield.budget(&caller, &id).await?;
    Ok(Json(BudgetAnswer::new(&defined, shield.0.currency)))
}

/// A budget and how it stands.
#[utoipa::path(get, path = "/v1/budgets/{id}", tag = "budgets", params(("id" = String, Path)),
    responses((status = 200, body = BudgetAnswer), (status = 404, description = "No such budget")))]
async fn budget(
    State(shield): State<Shield>,
    allowed: Allowed<can::BudgetsRead>,
    network: RemoteNetwork,
    Path(id): Path<String>,
) -> Result<Json<BudgetAnswer>, Problem> {
    let found = shield.budget(&caller(&allowed, network), &id).await?;
    Ok(Json(BudgetAnswer::new(&found, shield.0.currency)))
}
