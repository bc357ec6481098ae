//! HTTP of webhooks.

use axum::extract::State;
use http::StatusCode;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, Path, Query};
use kiki_kit::problem::Problem;
use kiki_types::id::{DeliveryId, WebhookId};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::body::{DeliveriesAnswer, DeliveryAnswer, PageOfDeliveries, WebhookAnswer, WebhookBody, WebhooksAnswer};
use super::service::{Wanted, Webhooks};
use crate::api::caller;
use crate::once::one;

const PAGE: i64 = 50;
const PAGE_MAX: i64 = 200;
/// Events that one endpoint may name.
const EVENTS_MAX: usize = 32;

/// The paths of webhooks.
#[must_use]
pub fn routes(webhooks: Webhooks) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(endpoints, create))
        .routes(routes!(endpoint, delete))
        .routes(routes!(rotate))
        .routes(routes!(enable))
        .routes(routes!(test))
        .routes(routes!(deliveries))
        .routes(routes!(retry))
        .with_state(webhooks)
}

/// Be told of events.
///
/// They are posted as Standard Webhooks 1.0.0 say, signed with the secret that this answers with once.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", request_body = WebhookBody,
    params(("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 201, body = WebhookAnswer), (status = 409, description = "There are 100 already")))]
async fn create(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<WebhookBody>,
) -> Result<(StatusCode, Json<WebhookAnswer>), Problem> {
    if body.events.len() > EVENTS_MAX {
        return Err(Problem::invalid("events", format_args!("must be at most {EVENTS_MAX}")));
    }
    let (caller, secret) = (caller(&allowed, network), body.secret.map(Zeroizing::new));
    let said = (&body.url, &body.description, &body.events, &secret);
    let key = webhooks.shield().key(&caller.principal.tenant, "webhook.create", key.as_deref(), &said)?;
    let wanted = Wanted { url: body.url, description: body.description, events: body.events, secret };
    let (asked, asker) = (webhooks.clone(), caller.clone());
    let made = webhooks.shield().once(
        key,
        |claim| async move { asked.create(&asker, wanted, &claim).await },
        |made| webhooks.endpoint(&caller, one(&made).into()),
    );
    Ok((StatusCode::CREATED, Json(WebhookAnswer::with_secret(&made.await?))))
}

/// The tenant's webhooks.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", responses((status = 200, body = WebhooksAnswer)))]
async fn endpoints(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksRead>,
    network: RemoteNetwork,
) -> Result<Json<WebhooksAnswer>, Problem> {
    let found = webhooks.endpoints(&caller(&allowed, network)).await?;
    Ok(Json(WebhooksAnswer { webhooks: found.iter().map(WebhookAnswer::new).collect() }))
}

/// A webhook.
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = WebhookAnswer), (status = 404, description = "No such webhook")))]
async fn endpoint(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksRead>,
    network: RemoteNetwork,
    Path(id): Path<WebhookId>,
) -> Result<Json<WebhookAnswer>, Problem> {
    let found = webhooks.endpoint(&caller(&allowed, network), id).await?;
    Ok(Json(WebhookAnswer::new(&found)))
}

/// Be told no more. What was not delivered yet is forgotten.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 204), (status = 404, description = "No such webhook")))]
async fn delete(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksWrite>,
    network: RemoteNetwork,
    Path(id): Path<WebhookId>,
) -> Result<StatusCode, Problem> {
    webhooks.delete(&caller(&allowed, network), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Have another secret. The one before signs as well for 24 hours.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks",
    params(("id" = String, Path), ("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 200, body = WebhookAnswer), (status = 404, description = "No such webhook")))]
async fn rotate(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Path(id): Path<WebhookId>,
) -> Result<Json<WebhookAnswer>, Problem> {
    let caller = caller(&allowed, network);
    let key = webhooks.shield().key(&caller.principal.tenant, "webhook.rotate", key.as_deref(), &id)?;
    let (asked, asker) = (webhooks.clone(), caller.clone());
    let rotated = webhooks.shield().once(
        key,
        |claim| async move { asked.rotate(&asker, id, &claim).await },
        |_| webhooks.endpoint(&caller, id),
    );
    Ok(Json(WebhookAnswer::with_secret(&rotated.await?)))
}

/// Be told again after a webhook was disabled, of what happens from now on. A repeat changes nothing.
#[utoipa::path(post, path = "/v1/webhooks/{id}/enable", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = WebhookAnswer), (status = 404, description = "No such webhook")))]
async fn enable(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksWrite>,
    network: RemoteNetwork,
    Path(id): Path<WebhookId>,
) -> Result<Json<WebhookAnswer>, Problem> {
    let enabled = webhooks.enable(&caller(&allowed, network), id).await?;
    Ok(Json(WebhookAnswer::new(&enabled)))
}

/// Be sent an event of the type `webhook.test`. A repeat is sent another.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 202, body = DeliveryAnswer), (status = 404, description = "No such webhook"),
        (status = 409, description = "It is disabled")))]
async fn test(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksWrite>,
    network: RemoteNetwork,
    Path(id): Path<WebhookId>,
) -> Result<(StatusCode, Json<DeliveryAnswer>), Problem> {
    let sent = webhooks.test(&caller(&allowed, network), id).await?;
    Ok((StatusCode::ACCEPTED, Json(DeliveryAnswer::new(&sent))))
}

/// What was, is or is to be sent to a webhook.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path), PageOfDeliveries),
    responses((status = 200, body = DeliveriesAnswer), (status = 404, description = "No such webhook")))]
async fn deliveries(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksRead>,
    network: RemoteNetwork,
    Path(id): Path<WebhookId>,
    Query(page): Query<PageOfDeliveries>,
) -> Result<Json<DeliveriesAnswer>, Problem> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", format_args!("must be 1 to {PAGE_MAX}")));
    }
    let found = webhooks.deliveries(&caller(&allowed, network), id, page.after, limit).await?;
    let is_full = i64::try_from(found.len()) == Ok(limit);
    let next = found.last().filter(|_| is_full).map(|last| last.id.to_string());
    Ok(Json(DeliveriesAnswer { deliveries: found.iter().map(DeliveryAnswer::new).collect(), next }))
}

/// Try a delivery again, at once. One that has ended gets all its attempts again. A repeat tries it once more.
#[utoipa::path(post, path = "/v1/webhooks/{id}/deliveries/{delivery_id}/retry", tag = "webhooks",
    params(("id" = String, Path), ("delivery_id" = String, Path)),
    responses((status = 202, body = DeliveryAnswer), (status = 404, description = "No such webhook or delivery"),
        (status = 409, description = "The webhook is disabled")))]
async fn retry(
    State(webhooks): State<Webhooks>,
    allowed: Allowed<can::WebhooksWrite>,
    network: RemoteNetwork,
    Path((id, delivery_id)): Path<(WebhookId, DeliveryId)>,
) -> Result<(StatusCode, Json<DeliveryAnswer>), Problem> {
    let retried = webhooks.retry(&caller(&allowed, network), id, delivery_id).await?;
    Ok((StatusCode::ACCEPTED, Json(DeliveryAnswer::new(&retried))))
}
