//! HTTP: predictions and the model that makes them.

mod body;

use axum::extract::State;
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::Json;
use kiki_kit::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::service::Value;
use body::{Asked, ModelAnswer, PredictionAnswer, PredictionsAnswer, PredictionsBody};

/// The paths of the service.
#[must_use]
pub fn routes(value: Value) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(predict)).routes(routes!(current_model)).with_state(value)
}

/// Say what customers are worth.
///
/// One of `customer_id`, `history` and `requests`, which holds at most 10,000 such questions and is answered in their order.
/// Absent, the horizon is 52 weeks and the discount 0.01 a month.
#[utoipa::path(post, path = "/v1/predictions", tag = "value", request_body = PredictionsBody,
    responses((status = 200, body = PredictionsAnswer), (status = 404, description = "The model does not know the customer"),
        (status = 409, description = "There is no model yet")))]
async fn predict(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Json(body): Json<PredictionsBody>,
) -> Result<Json<PredictionsAnswer>, Problem> {
    Ok(Json(match body.asked()? {
        Asked::One(question) => {
            let (model, prediction) = value.predict(&allowed.tenant, &question).await?;
            PredictionsAnswer::One(PredictionAnswer::new(&model, prediction))
        }
        Asked::Batch(questions) => {
            let (model, predictions) = value.predict_batch(&allowed.tenant, &questions).await?;
            let answer = |prediction| PredictionAnswer::new(&model, prediction);
            PredictionsAnswer::Batch { predictions: predictions.into_iter().map(answer).collect() }
        }
    }))
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
