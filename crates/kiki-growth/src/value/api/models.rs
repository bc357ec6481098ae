//! Models: which there are, how they compare, which one is in force.

use axum::extract::State;
use axum::response::Response;
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::{IdempotencyKey, Json, Path, Query};
use kiki_kit::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::ModelAnswer;
use super::{answer, key};
use crate::value::model::SavedModel;
use crate::value::service::Value;
use crate::value::versions::MODELS_MAX;

const PAGE_DEFAULT: usize = 20;

pub(super) fn routes() -> OpenApiRouter<Value> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(compare))
        .routes(routes!(show))
        .routes(routes!(promote))
        .routes(routes!(roll_back))
}

#[derive(Debug, Deserialize)]
struct ModelPath {
    version: i64,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ModelsQuery {
    /// Models at the most, 1 to 100; 20 unless given.
    limit: Option<usize>,
    /// Show versions below this one: `next` of the page before.
    below: Option<i64>,
}

/// Models, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ModelPage {
    models: Vec<ModelAnswer>,
    /// What `below` of the next page is; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// List models.
#[utoipa::path(get, path = "/models", tag = "value", params(ModelsQuery),
    responses((status = 200, description = "A page", body = ModelPage)))]
async fn list(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Query(query): Query<ModelsQuery>,
) -> Result<Json<ModelPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    if !(1..=MODELS_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format_args!("must be 1 to {MODELS_MAX}")));
    }
    let models = value.models(&allowed.tenant, query.below, limit).await?;
    let next = models.last().filter(|_| models.len() == limit).map(|model| model.version);
    Ok(Json(ModelPage { models: models.into_iter().map(ModelAnswer::from).collect(), next }))
}

/// Look at a model: its parameters, what it was fitted to, how well it did.
#[utoipa::path(get, path = "/models/{version}", tag = "value",
    params(("version" = i64, Path, description = "The model's version")),
    responses((status = 200, body = ModelAnswer), (status = 404, description = "There is no such version")))]
async fn show(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Path(path): Path<ModelPath>,
) -> Result<Json<ModelAnswer>, Problem> {
    Ok(Json(value.model(&allowed.tenant, path.version).await?.into()))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct CompareQuery {
    /// A version.
    from: i64,
    /// And the one that it is compared with.
    to: i64,
}

/// Two models side by side.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Comparison {
    from: ModelAnswer,
    to: ModelAnswer,
    /// Whether both were fitted to the same order log up to the same day, so that their likelihoods and figures compare.
    comparable: bool,
    /// By how much the logarithm of the likelihood of purchases is larger in `to`; absent if they do not compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    purchases_log_likelihood_gain: Option<f64>,
}

/// Compare two models.
#[utoipa::path(get, path = "/models/compare", tag = "value", params(CompareQuery),
    responses((status = 200, body = Comparison), (status = 404, description = "There is no such version")))]
async fn compare(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Query(query): Query<CompareQuery>,
) -> Result<Json<Comparison>, Problem> {
    let from = value.model(&allowed.tenant, query.from).await?;
    let to = value.model(&allowed.tenant, query.to).await?;
    let same = |of: fn(&SavedModel) -> &str| of(&from) == of(&to);
    let comparable = same(|model| &model.data_sha256) && same(|model| &model.calibrate_until);
    let gain = to.purchases_log_likelihood - from.purchases_log_likelihood;
    Ok(Json(Comparison {
        comparable,
        purchases_log_likelihood_gain: comparable.then_some(gain),
        from: from.into(),
        to: to.into(),
    }))
}

/// Put a model in force. Requests that have begun end with the model that they began with.
#[utoipa::path(post, path = "/models/{version}/promote", tag = "value",
    params(("version" = i64, Path, description = "The model's version"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the same answer")),
    responses((status = 200, description = "It is in force", body = ModelAnswer),
        (status = 404, description = "There is no such version"),
        (status = 409, description = "`customers_gone`: what it knew of customers is not kept any more")))]
async fn promote(
    State(value): State<Value>,
    allowed: Allowed<can::ValueWrite>,
    IdempotencyKey(given): IdempotencyKey,
    Path(path): Path<ModelPath>,
) -> Result<Response, Problem> {
    let request = path.version.to_string();
    let key = key(&value, given.as_deref(), &allowed.tenant, "value.promote", request.as_bytes())?;
    Ok(answer(value.promote(&allowed, path.version, key, ModelAnswer::from).await?))
}

/// Take the last promotion back: what was in force before it is so again.
#[utoipa::path(post, path = "/models/rollback", tag = "value",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the same answer")),
    responses((status = 200, description = "What is in force now", body = ModelAnswer),
        (status = 409, description = "`nothing_before`: no model was in force before")))]
async fn roll_back(
    State(value): State<Value>,
    allowed: Allowed<can::ValueWrite>,
    IdempotencyKey(given): IdempotencyKey,
) -> Result<Response, Problem> {
    let key = key(&value, given.as_deref(), &allowed.tenant, "value.rollback", b"")?;
    Ok(answer(value.roll_back(&allowed, key, ModelAnswer::from).await?))
}
