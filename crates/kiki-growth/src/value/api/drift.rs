//! Whether what happened since agrees with a model.

use axum::extract::State;
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::{Json, Path};
use kiki_kit::problem::Problem;
use kiki_types::Currency;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::value::drift::Drift;
use crate::value::service::Value;

/// What stands for the version in force.
const IN_FORCE: &str = "current";

pub(super) fn routes() -> OpenApiRouter<Value> {
    OpenApiRouter::new().routes(routes!(drift))
}

#[derive(Debug, Deserialize)]
struct DriftPath {
    version: String,
}

/// What a model said of the days after its last one, beside what happened.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DriftAnswer {
    /// The model.
    model: String,
    /// Its version.
    #[schema(example = 1)]
    model_version: i64,
    /// The currency of amounts.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    #[serde(flatten)]
    drift: Drift,
}

/// Say whether what happened since a model's last day still agrees with it.
///
/// Whole weeks after that day are compared, of at most 20,000 customers whom the model knows and as many newcomers, whom chance
/// draws. A measure drifts where the difference is at least three standard errors and a tenth of what was expected; fewer than
/// 100 purchases are not judged.
#[utoipa::path(get, path = "/models/{version}/drift", tag = "value",
    params(("version" = String, Path, description = "The model's version, or `current` for the one in force", example = "current")),
    responses((status = 200, body = DriftAnswer), (status = 404, description = "There is no such version"),
        (status = 409, description = "There is no model yet; or `customers_gone`: what it knew of customers is not kept any more")))]
async fn drift(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Path(path): Path<DriftPath>,
) -> Result<Json<DriftAnswer>, Problem> {
    let model = match path.version.as_str() {
        IN_FORCE => value.current(&allowed.tenant).await?,
        version => {
            let version = version.parse().map_err(|_| Problem::not_found("model"))?;
            value.model(&allowed.tenant, version).await?
        }
    };
    let (model, _, drift) = value.drift(&allowed.tenant, model).await?;
    Ok(Json(DriftAnswer { model: model.id.to_string(), model_version: model.version, currency: model.currency, drift }))
}
