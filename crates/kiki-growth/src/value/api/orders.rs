//! Orders that come after a model was fitted.

use axum::extract::State;
use axum::response::Response;
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::extract::{IdempotencyKey, Json};
use kiki_kit::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{answer, key};
use crate::value::error::ValueError;
use crate::value::live::NewOrder;
use crate::value::service::Value;

pub(super) fn routes() -> OpenApiRouter<Value> {
    OpenApiRouter::new().routes(routes!(record))
}

/// An order. The latest word about an `order_id` stands.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderBody {
    #[schema(example = "#1001")]
    order_id: String,
    #[schema(example = "0001")]
    customer_id: String,
    /// A date or an RFC 3339 time; a day is one in UTC.
    #[schema(example = "1998-07-01")]
    ordered_at: String,
    /// What is left of it after refunds, as a decimal.
    #[schema(example = "12.50")]
    amount: String,
    /// It counts no more.
    #[serde(default)]
    cancelled: bool,
}

/// Orders.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrdersBody {
    #[schema(max_items = 1_000)]
    orders: Vec<OrderBody>,
}

impl OrdersBody {
    pub(super) fn orders(self) -> Result<Vec<NewOrder>, ValueError> {
        let orders = self.orders.into_iter().enumerate().map(|(index, one)| {
            let order = NewOrder::new(one.order_id, one.customer_id, &one.ordered_at, &one.amount, one.cancelled);
            order.map_err(|error| error.within("orders", index))
        });
        orders.collect()
    }
}

/// How many were taken in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RecordedAnswer {
    #[schema(example = 1)]
    recorded: usize,
}

/// Take orders in. They change what is known of their customers at once, and the model when it is fitted anew.
#[utoipa::path(post, path = "/v1/orders", tag = "value", request_body = OrdersBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the same answer; orders that come twice count once without it too")),
    responses((status = 200, description = "They are taken in", body = RecordedAnswer)))]
async fn record(
    State(value): State<Value>,
    allowed: Allowed<can::ValueWrite>,
    IdempotencyKey(given): IdempotencyKey,
    Json(body): Json<OrdersBody>,
) -> Result<Response, Problem> {
    let request = serde_json::to_vec(&body).map_err(|error| Problem::internal(&error))?;
    let key = key(&value, given.as_deref(), &allowed.tenant, "value.orders", &request)?;
    Ok(answer(value.record(&allowed, (0, body.orders()?), key).await?))
}
