//! What customers are worth together.

use axum::extract::State;
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::Json;
use kiki_kit::problem::Problem;
use kiki_models::ltv::{CohortEstimate, Estimate};
use kiki_types::Money;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::money;
use crate::value::cohort::Members;
use crate::value::error::ValueError;
use crate::value::model::{SavedModel, terms};
use crate::value::service::Value;

pub(super) fn routes() -> OpenApiRouter<Value> {
    OpenApiRouter::new().routes(routes!(predict))
}

/// A question about customers together: one of `customer_ids` and `first_purchase`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CohortBody {
    /// These customers. Who is named twice counts once.
    #[schema(max_items = 10_000)]
    customer_ids: Option<Vec<String>>,
    /// All known customers who bought first within these days.
    first_purchase: Option<FirstPurchase>,
    /// Weeks ahead; 52 unless given.
    #[schema(example = 52.0)]
    horizon_weeks: Option<f64>,
    /// Discount a month; 0.01 unless given.
    #[schema(example = 0.01)]
    monthly_discount: Option<f64>,
}

/// Days, both of which count; without one of them there is no bound.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct FirstPurchase {
    #[schema(example = "2025-03-01")]
    from: Option<String>,
    #[schema(example = "2025-03-31")]
    until: Option<String>,
}

/// What customers are worth together.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CohortAnswer {
    /// How many they are.
    #[schema(example = 812)]
    customers: u64,
    /// Weeks ahead.
    horizon_weeks: f64,
    /// Of all of them over the horizon.
    expected_purchases: f64,
    /// How many of them are still there.
    expected_alive: f64,
    /// Discounted value of all of them over the horizon.
    #[schema(value_type = Object, example = json!({"amount": "21460.07", "currency": "USD"}))]
    value: Money,
    /// Of these numbers: what they have in common is counted once.
    intervals: CohortIntervals,
    /// The model that says so.
    model: String,
    /// Its version.
    model_version: i64,
}

/// Standard errors and 95 % intervals: value, standard_error, low, high.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CohortIntervals {
    #[schema(value_type = Object)]
    expected_purchases: Estimate,
    #[schema(value_type = Object)]
    expected_alive: Estimate,
    /// In units of the currency.
    #[schema(value_type = Object)]
    value: Estimate,
}

/// Say what customers are worth together.
///
/// The sum over the customers, with an interval that counts once what the parameters leave open for all of them: intervals of
/// single customers cannot be added up.
#[utoipa::path(post, path = "/v1/predictions/cohort", tag = "value", request_body = CohortBody,
    responses((status = 200, body = CohortAnswer), (status = 404, description = "Nobody knows one of the customers"),
        (status = 409, description = "There is no model yet")))]
async fn predict(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Json(body): Json<CohortBody>,
) -> Result<Json<CohortAnswer>, Problem> {
    let members = match (body.customer_ids, body.first_purchase) {
        (Some(ids), None) => Members::named(ids)?,
        (None, Some(FirstPurchase { from, until })) => Members::first_bought(from.as_deref(), until.as_deref())?,
        (None, None) => return Err(ValueError::invalid("customer_ids", "is missing; give it or first_purchase").into()),
        (Some(_), Some(_)) => {
            return Err(ValueError::invalid("first_purchase", "must not be given with customer_ids").into());
        }
    };
    let terms = terms(body.horizon_weeks, body.monthly_discount)?;
    let (model, estimate) = value.cohort(&allowed.tenant, members, terms).await?;
    Ok(Json(CohortAnswer::new(&model, terms.horizon_weeks(), &estimate)))
}

impl CohortAnswer {
    fn new(model: &SavedModel, horizon_weeks: f64, estimate: &CohortEstimate) -> Self {
        let CohortEstimate { customers, expected_purchases, alive, value } = *estimate;
        Self {
            customers,
            horizon_weeks,
            expected_purchases: expected_purchases.value,
            expected_alive: alive.value,
            value: money(value.value, model.currency),
            intervals: CohortIntervals { expected_purchases, expected_alive: alive, value },
            model: model.id.to_string(),
            model_version: model.version,
        }
    }
}
