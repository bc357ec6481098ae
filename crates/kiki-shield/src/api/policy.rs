//! The policy, and intents.

use axum::extract::State;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::Json;
use kiki_kit::problem::Problem;
use kiki_types::{Money, Purpose};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller;
use crate::error::ShieldError;
use crate::model::{
    IntentAnswer, IntentBody, PolicyAnswer, PolicyBody, PolicyVersionAnswer, PolicyVersionsAnswer, RollbackBody, act,
};
use crate::names::check_impersonal;
use crate::service::{Ask, Shield};

pub(super) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(policy, put_policy, remove_policy))
        .routes(routes!(versions))
        .routes(routes!(roll_back))
        .routes(routes!(intend))
}

/// The policy in force.
#[utoipa::path(get, path = "/v1/policy", tag = "policy", responses((status = 200, body = PolicyAnswer)))]
async fn policy(
    State(shield): State<Shield>,
    allowed: Allowed<can::PolicyRead>,
) -> Result<Json<PolicyAnswer>, Problem> {
    let policy = shield.policy(&allowed.principal().tenant).await?;
    Ok(Json(PolicyAnswer::new(policy.as_deref(), None)))
}

/// Put a policy in force, from the very next decision on.
///
/// It is checked whole before; with a mistake the one before stays in force. Repeating it changes nothing.
#[utoipa::path(put, path = "/v1/policy", tag = "policy", request_body = PolicyBody,
    responses((status = 200, body = PolicyAnswer),
        (status = 400, description = "Every mistake with its rule set, line and column")))]
async fn put_policy(
    State(shield): State<Shield>,
    allowed: Allowed<can::PolicyWrite>,
    network: RemoteNetwork,
    Json(body): Json<PolicyBody>,
) -> Result<Json<PolicyAnswer>, Problem> {
    for name in body.rule_sets.keys() {
        check_impersonal("rule_sets", name)?;
    }
    let texts = body.rule_sets.into_iter().collect();
    let (policy, entry) = shield.put_policy(&caller(&allowed, network), texts).await?;
    Ok(Json(PolicyAnswer::new(Some(&policy), shield.receipt(entry))))
}

/// Put no policy in force: everything is allowed, as far as limits and consent allow it.
#[utoipa::path(delete, path = "/v1/policy", tag = "policy", responses((status = 200, body = PolicyAnswer)))]
async fn remove_policy(
    State(shield): State<Shield>,
    allowed: Allowed<can::PolicyWrite>,
    network: RemoteNetwork,
) -> Result<Json<PolicyAnswer>, Problem> {
    let entry = shield.remove_policy(&caller(&allowed, network)).await?;
    Ok(Json(PolicyAnswer::new(None, shield.receipt(entry))))
}

/// The versions of the policy that are kept: the last 100 and the one in force.
#[utoipa::path(get, path = "/v1/policy/versions", tag = "policy",
    responses((status = 200, body = PolicyVersionsAnswer)))]
async fn versions(
    State(shield): State<Shield>,
    allowed: Allowed<can::PolicyRead>,
) -> Result<Json<PolicyVersionsAnswer>, Problem> {
    let (kept, in_force) = shield.policy_versions(&allowed.principal().tenant).await?;
    let in_force = in_force.map(|version| version.to_string());
    let versions = kept.into_iter().map(|kept| PolicyVersionAnswer {
        in_force: in_force.as_ref() == Some(&kept.version),
        version: kept.version,
        rules: kept.rules,
        created_at: kept.created_at.rfc3339(),
        created_by: kept.created_by,
    });
    Ok(Json(PolicyVersionsAnswer { versions: versions.collect() }))
}

/// Put a version in force that is kept.
#[utoipa::path(post, path = "/v1/policy/rollback", tag = "policy", request_body = RollbackBody,
    responses((status = 200, body = PolicyAnswer), (status = 404, description = "No such version is kept")))]
async fn roll_back(
    State(shield): State<Shield>,
    allowed: Allowed<can::PolicyWrite>,
    network: RemoteNetwork,
    Json(body): Json<RollbackBody>,
) -> Result<Json<PolicyAnswer>, Problem> {
    let (policy, entry) = shield.roll_back(&caller(&allowed, network), body.version).await?;
    Ok(Json(PolicyAnswer::new(Some(&policy), shield.receipt(entry))))
}

/// Say what you mean to do, and hear what would be decided.
///
/// The policy, the limits and consent vote; the most restrictive vote is the verdict. Each intent is an entry of the audit
/// log. Nothing is reserved and nothing is promised: what reserves the money is `POST /v1/authorizations`.
#[utoipa::path(post, path = "/v1/intents", tag = "policy", request_body = IntentBody,
    responses((status = 200, body = IntentAnswer)))]
async fn intend(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendRead>,
    network: RemoteNetwork,
    Json(body): Json<IntentBody>,
) -> Result<Json<IntentAnswer>, Problem> {
    let purpose = body.purpose.as_deref().map(str::parse::<Purpose>).transpose();
    let currency = shield.0.currency;
    // Where nothing is spent, limits are not asked, and the amount is none.
    let amount = body.amount.unwrap_or(Money::new(1, currency));
    let ask = Ask {
        act: act(body.actor, Some(&body.action), body.target, body.risk)?,
        category: body.category,
        payee: body.payee,
        customer_id: body.customer_id,
        purpose: purpose.map_err(|error| ShieldError::invalid("purpose", error))?,
        ..Ask::of(body.account, amount)
    };
    let considered = shield.consider(&caller(&allowed, network), ask, body.amount).await?;
    Ok(Json(IntentAnswer::new(&considered, body.amount, &shield)))
}
