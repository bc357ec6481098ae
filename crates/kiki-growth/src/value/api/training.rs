//! Trainings.

use axum::extract::State;
use axum::response::Response;
use jiff::civil::Date;
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::{IdempotencyKey, Json, Path, Query, Raw};
use kiki_kit::problem::Problem;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{answer, key};
use crate::value::fit::FitOptions;
use crate::value::orders::{OrderOptions, day_number};
use crate::value::service::{Promote, Value};
use crate::value::training::TrainingView;
use crate::value::unit::TimeUnit;

pub(super) fn routes() -> OpenApiRouter<Value> {
    OpenApiRouter::new().routes(routes!(train)).routes(routes!(show))
}

#[derive(Debug, Deserialize)]
struct TrainingPath {
    id: Uuid,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TrainQuery {
    /// The last day that counts, such as 1997-09-30. What comes after it in the log is the hold-out.
    #[param(value_type = String, example = "1997-09-30")]
    calibrate_until: Date,
    /// `bg-nbd`, `mbg-nbd` or `pareto-nbd`; `bg-nbd` unless given.
    model: Option<String>,
    /// `csv`, `jsonl`, `shopify` or `cdnow`; found out unless given.
    format: Option<String>,
    /// Leave rows out that cannot be read.
    #[serde(default)]
    skip_bad: bool,
    /// Put the model in force when it is there.
    #[serde(default)]
    promote: bool,
    /// The column that names the customer.
    customer_column: Option<String>,
    /// The column of the date.
    date_column: Option<String>,
    /// The column of the amount.
    amount_column: Option<String>,
    /// The column of what was refunded.
    refund_column: Option<String>,
}

impl TrainQuery {
    fn options(self, value: &Value) -> Result<FitOptions, Problem> {
        fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
            field: &str,
            text: Option<String>,
        ) -> Result<Option<T>, Problem> {
            let parsed = text.map(|text| text.parse().map_err(|error| Problem::invalid(field, error)));
            parsed.transpose()
        }
        // Everybody would look silent until then, and no order that comes would count before.
        if day_number(self.calibrate_until) > value.today().saturating_add(1) {
            return Err(Problem::invalid("calibrate_until", "must not be in the future"));
        }
        let currency = value.needs.currency;
        Ok(FitOptions {
            orders: OrderOptions {
                format: parsed("format", self.format)?,
                customer_column: self.customer_column,
                date_column: self.date_column,
                amount_column: self.amount_column,
                refund_column: self.refund_column,
                currency: Some(currency),
                skip_bad_rows: self.skip_bad,
            },
            calibrate_until: self.calibrate_until,
            currency,
            time_unit: TimeUnit::Week,
            model: parsed("model", self.model)?.unwrap_or_default(),
            hold_out: true,
        })
    }
}

/// Fit a model to an order log, which is the body, as `kiki value fit` reads it. It goes on after the answer.
#[utoipa::path(post, path = "/train", tag = "value", params(TrainQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key begins nothing new")),
    request_body(content = String, content_type = "text/csv", description = "CSV, JSON lines, Shopify's export, or the CDNOW text"),
    responses((status = 202, description = "It is being fitted", body = TrainingView),
        (status = 503, description = "`too_many_trainings`: others are being fitted")))]
async fn train(
    State(value): State<Value>,
    allowed: Allowed<can::ValueWrite>,
    IdempotencyKey(given): IdempotencyKey,
    Query(query): Query<TrainQuery>,
    Raw(log): Raw,
) -> Result<Response, Problem> {
    let request = format!("{query:?} {:x}", Sha256::digest(&log));
    let key = key(&value, given.as_deref(), &allowed.tenant, "value.train", request.as_bytes())?;
    let promote = if query.promote { Promote::Now } else { Promote::Later };
    let options = query.options(&value)?;
    Ok(answer(value.train(allowed.principal(), log, (options, promote), key).await?))
}

/// Look at a training: how far it has come, and what came of it.
#[utoipa::path(get, path = "/train/{id}", tag = "value",
    params(("id" = String, Path, description = "The training's id")),
    responses((status = 200, body = TrainingView), (status = 404, description = "There is no such training")))]
async fn show(
    State(value): State<Value>,
    allowed: Allowed<can::ValueRead>,
    Path(path): Path<TrainingPath>,
) -> Result<Json<TrainingView>, Problem> {
    Ok(Json(value.training(&allowed.tenant, path.id).await?))
}
