//! HTTP: predictions, the models that make them, and what they are made of.

mod body;
mod cohort;
mod drift;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::expect_used, reason = "what is expected is what is tried")]
pub(super) mod fuzzing;
mod models;
mod orders;
mod training;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::{Json, Query};
use kiki_kit::problem::Problem;
use kiki_store::idempotency::{Key, Response as Stored};
use kiki_types::TenantId;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::baseline::DAYS_DEFAULT;
use super::service::{self, Value};
use body::{
    Asked, BaselineAnswer, ChurnAnswer, ChurnsAnswer, ModelAnswer, PredictionAnswer, PredictionsAnswer, PredictionsBody,
};

/// The paths of the service.
#[must_use]
pub fn routes(value: Value) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(predict))
        .routes(routes!(predict_ltv))
        .routes(routes!(churn))
        .routes(routes!(baseline))
        .routes(routes!(current_model))
        .merge(cohort::routes())
        .merge(drift::routes())
        .merge(models::routes())
        .merge(orders::routes())
        .merge(training::routes())
        .with_state(value)
}

/// Say what customers are worth.
///
/// One of `customer_id`, `history` and `requests`, which holds at most 10,000 such questions and is answered in their order.
/// Absent, the horizon is 52 weeks and the discount 0.01 a month. A customer that nobody knows is refused, unless
/// `or_population` says otherwise.
#[utoipa::path(post, path = "/v1/predictions", tag = "value", request_body = PredictionsBody,
    responses((status = 200, body = PredictionsAnswer), (status = 404, description = "Nobody knows the customer"),
        (status = 409, description = "There is no model yet")))]
async fn predict(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Json(body): Json<PredictionsBody>,
) -> Result<Json<PredictionsAnswer>, Problem> {
    predictions(&value, &allowed.tenant, body.asked(false)?).await
}

/// Say what customers are worth, also those whom nobody knows.
///
/// As `/v1/predictions`, but a customer that nobody knows is answered as somebody new, and `population` says so, unless
/// `or_population` is false.
#[utoipa::path(post, path = "/predict-ltv", tag = "value", request_body = PredictionsBody,
    responses((status = 200, body = PredictionsAnswer), (status = 409, description = "There is no model yet")))]
async fn predict_ltv(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Json(body): Json<PredictionsBody>,
) -> Result<Json<PredictionsAnswer>, Problem> {
    predictions(&value, &allowed.tenant, body.asked(true)?).await
}

async fn predictions(value: &Value, tenant: &TenantId, asked: Asked) -> Result<Json<PredictionsAnswer>, Problem> {
    Ok(Json(match asked {
        Asked::One(question) => {
            let (model, prediction) = value.predict(tenant, question).await?;
            PredictionsAnswer::One(PredictionAnswer::new(&model, prediction))
        }
        Asked::Batch(questions) => {
            let (model, predictions) = value.predict_batch(tenant, questions).await?;
            let answer = |prediction| PredictionAnswer::new(&model, prediction);
            PredictionsAnswer::Batch { predictions: predictions.into_iter().map(answer).collect() }
        }
    }))
}

/// Say whether customers come back.
///
/// Asked as `/predict-ltv` is; the discount does not matter.
#[utoipa::path(post, path = "/churn", tag = "value", request_body = PredictionsBody,
    responses((status = 200, body = ChurnsAnswer), (status = 409, description = "There is no model yet")))]
async fn churn(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Json(body): Json<PredictionsBody>,
) -> Result<Json<ChurnsAnswer>, Problem> {
    let (questions, how) = match body.asked(true)? {
        Asked::One(question) => (vec![question], service::Asked::Alone),
        Asked::Batch(questions) => (questions, service::Asked::InBatch),
    };
    let (model, churns) = value.churn(&allowed.tenant, questions, how).await?;
    let mut churns: Vec<ChurnAnswer> = churns.into_iter().map(|churn| ChurnAnswer::new(&model, churn)).collect();
    Ok(Json(match churns.pop_if(|_| how == service::Asked::Alone) {
        Some(one) => ChurnsAnswer::One(one),
        None => ChurnsAnswer::Batch { churns },
    }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct BaselineQuery {
    /// Days that it is made of, and days ahead, 14 to 365; 90 unless given.
    days: Option<u32>,
}

/// Say what comes in without anything being done: revenue of the last days of the model's order log, its trend and weekdays.
#[utoipa::path(get, path = "/baseline", tag = "value", params(BaselineQuery),
    responses((status = 200, body = BaselineAnswer), (status = 409, description = "There is no model yet, or less than two weeks")))]
async fn baseline(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Query(query): Query<BaselineQuery>,
) -> Result<Json<BaselineAnswer>, Problem> {
    let (model, baseline) = value.baseline(&allowed.tenant, query.days.unwrap_or(DAYS_DEFAULT)).await?;
    Ok(Json(BaselineAnswer::new(&model, baseline)))
}

/// The model that predictions are made with.
#[utoipa::path(get, path = "/v1/models/current", tag = "value",
    responses((status = 200, body = ModelAnswer), (status = 409, description = "There is no model yet")))]
async fn current_model(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
) -> Result<Json<ModelAnswer>, Problem> {
    let model = value.current(&allowed.tenant).await?;
    Ok(Json(ModelAnswer::from(model)))
}

/// The idempotency key of a request, if it has one.
fn key(
    value: &Value,
    given: Option<&str>,
    tenant: &TenantId,
    scope: &'static str,
    request: &[u8],
) -> Result<Option<Key>, Problem> {
    let Some(given) = given else { return Ok(None) };
    let hash = |text: &str| (value.needs.request_key)(tenant, text);
    let key = Key::new(tenant, scope, given, request, hash);
    key.map(Some).map_err(|error| Problem::invalid("idempotency-key", error))
}

/// An answer that a repeat gets too.
fn answer(stored: Stored) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], stored.body).into_response()
}
