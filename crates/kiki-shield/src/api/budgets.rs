//! Budgets and mandates.

use axum::extract::State;
use http::{HeaderName, StatusCode};
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{Json, Path, Query};
use kiki_kit::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller;
use crate::model::{BudgetAnswer, BudgetBody, BudgetsAnswer, MandateBody, Mode, PageRequest, RECEIPT};
use crate::pages;
use crate::service::Shield;

pub(super) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(budgets))
        .routes(routes!(define_budget, budget, remove_budget))
        .routes(routes!(put_mandate))
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
    let limit = pages::limit(page.limit)?;
    let found = shield.budgets(&caller(&allowed, network), page.after, limit).await?;
    let next = pages::next(&found, limit, |(place, ..)| *place);
    let currency = shield.0.currency;
    let budgets = found.into_iter().map(|(_, view, standing)| BudgetAnswer::new(&(view, standing), currency)).collect();
    Ok(Json(BudgetsAnswer { budgets, next }))
}

/// Define a budget or replace it.
///
/// What was spent under it stays counted: by a total all that was ever booked under it, by a window or a calendar period
/// what its predecessor counts now. On another account it starts from nothing.
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
    let kind = body.limit.kind(shield.0.clock.now())?;
    let entry = shield.define_budget(&caller, &id, &body.account, kind, body.mode == Mode::Shadow).await?;
    let defined = shield.budget(&caller, &id).await?;
    Ok(Json(BudgetAnswer { receipt: shield.receipt(entry), ..BudgetAnswer::new(&defined, shield.0.currency) }))
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

/// Remove a budget, and forget what counts under it.
#[utoipa::path(delete, path = "/v1/budgets/{id}", tag = "budgets", params(("id" = String, Path)),
    responses((status = 204, headers(("kiki-receipt" = String, description = "Where the log has it: its name, a space, the index"))),
        (status = 404, description = "No such budget")))]
async fn remove_budget(
    State(shield): State<Shield>,
    allowed: Allowed<can::BudgetsWrite>,
    network: RemoteNetwork,
    Path(id): Path<String>,
) -> Result<(StatusCode, Option<[(HeaderName, String); 1]>, ()), Problem> {
    let entry = shield.remove_budget(&caller(&allowed, network), &id).await?;
    let receipt = shield.receipt(entry).map(|receipt| [(RECEIPT, receipt.in_header())]);
    Ok((StatusCode::NO_CONTENT, receipt, ()))
}

/// Let an agent pay within a mandate.
///
/// Takes the constraints of an open payment mandate (Agent Payments Protocol) and defines the budgets that keep them:
/// `{id}.amount`, `{id}.budget`, `{id}.payees`, `{id}.frequency`, `{id}.occurrences`, `{id}.dates`. Budgets of a former version
/// that it no longer wants are removed. A constraint that no budget can keep is refused.
#[utoipa::path(put, path = "/v1/mandates/{id}", tag = "budgets", params(("id" = String, Path)),
    request_body = MandateBody, responses((status = 200, body = BudgetsAnswer),
        (status = 422, description = "A constraint of a type that is not known; nothing was defined")))]
async fn put_mandate(
    State(shield): State<Shield>,
    allowed: Allowed<can::BudgetsWrite>,
    network: RemoteNetwork,
    Path(id): Path<String>,
    Json(body): Json<MandateBody>,
) -> Result<Json<BudgetsAnswer>, Problem> {
    let defined = shield.put_mandate(&caller(&allowed, network), &id, &body.account, &body.constraints).await?;
    let budget = |(budget, entry): &(_, Option<u64>)| BudgetAnswer {
        receipt: shield.receipt(*entry),
        ..BudgetAnswer::new(budget, shield.0.currency)
    };
    let budgets = defined.iter().map(budget).collect();
    Ok(Json(BudgetsAnswer { budgets, next: None }))
}
