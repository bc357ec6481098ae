//! Consent over HTTP.

use axum::extract::State;
use http::StatusCode;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, Path, Query};
use kiki_kit::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gpc::Gpc;
use super::model::Act;
use super::repeat::waited;
use super::shapes::{
    ConfirmBody, ConsentBody, GpcAnswer, HistoryAnswer, HistoryRequest, MadeAnswer, RecordAnswer, RevokeBody,
    SignalAnswer, SignalBody, StandingAnswer, StandingRequest, TextAnswer, TextBody, purpose,
};
use crate::api::caller;
use crate::error::ShieldError;
use crate::pages;
use crate::service::Shield;

/// When it was last changed what the signal of browsers does here.
const GPC_CHANGED_ON: &str = "2026-11-21";

/// The paths.
pub(crate) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(standing, give))
        .routes(routes!(revoke))
        .routes(routes!(confirm))
        .routes(routes!(signal))
        .routes(routes!(history))
        .routes(routes!(text, put_text))
        .routes(routes!(gpc))
}

/// Record that a customer agrees, or another basis for using their data.
///
/// The record tells on which text, by which way and until when. With the header `Sec-GPC: 1` the customer's data are not
/// sold or shared from now on.
#[utoipa::path(post, path = "/v1/consents", tag = "consent", request_body = ConsentBody,
    params(("sec-gpc" = Option<String>, Header, description = "Exactly `1` opts out of sale and sharing"),
        ("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 201, body = MadeAnswer), (status = 202, body = MadeAnswer, description = "Waits for the customer's confirmation"),
        (status = 409, description = "`barred`: something stands against it")))]
async fn give(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentWrite>,
    network: RemoteNetwork,
    gpc: Gpc,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<ConsentBody>,
) -> Result<(StatusCode, Json<MadeAnswer>), Problem> {
    let caller = caller(&allowed, network);
    let key = shield.key(&caller.principal.tenant, "consent.grant", key.as_deref(), &body)?;
    let wanted = body.wanted(shield.0.clock.now())?;
    let made = shield.consent_once(&caller, key, Act::Grant, wanted, gpc).await?;
    let status = if waited(&made.record) { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    Ok((status, Json(MadeAnswer::new(made, &shield))))
}

/// Record that a customer no longer agrees. The very next decision refuses.
#[utoipa::path(post, path = "/v1/consents/revoke", tag = "consent", request_body = RevokeBody,
    params(("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 200, body = MadeAnswer)))]
async fn revoke(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentWrite>,
    network: RemoteNetwork,
    gpc: Gpc,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<RevokeBody>,
) -> Result<Json<MadeAnswer>, Problem> {
    let caller = caller(&allowed, network);
    let key = shield.key(&caller.principal.tenant, "consent.revoke", key.as_deref(), &body)?;
    let made = shield.consent_once(&caller, key, Act::Revoke, body.wanted()?, gpc).await?;
    Ok(Json(MadeAnswer::new(made, &shield)))
}

/// Let stand what a customer confirms by the token that was mailed to them.
#[utoipa::path(post, path = "/v1/consents/confirm", tag = "consent", request_body = ConfirmBody,
    params(("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 200, body = MadeAnswer), (status = 404, description = "Unknown, used before, taken back since, or too late")))]
async fn confirm(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentWrite>,
    network: RemoteNetwork,
    gpc: Gpc,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<ConfirmBody>,
) -> Result<Json<MadeAnswer>, Problem> {
    let caller = caller(&allowed, network);
    let key = shield.key(&caller.principal.tenant, "consent.confirm", key.as_deref(), &body)?;
    let made = shield.confirm_once(&caller, key, body.token, gpc).await?;
    Ok(Json(MadeAnswer::new(made, &shield)))
}

/// Heed what a browser signals for a customer.
///
/// With the header `Sec-GPC: 1`, or `"signal": "gpc"`, the customer's data are not sold or shared from now on. Without
/// it nothing changes. A repeat changes nothing.
#[utoipa::path(post, path = "/v1/consents/signals", tag = "consent", request_body = SignalBody,
    params(("sec-gpc" = Option<String>, Header, description = "Exactly `1` opts out of sale and sharing")),
    responses((status = 200, body = SignalAnswer)))]
async fn signal(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentWrite>,
    network: RemoteNetwork,
    gpc: Gpc,
    Json(body): Json<SignalBody>,
) -> Result<Json<SignalAnswer>, Problem> {
    let gpc = match body.signal.as_deref() {
        None => gpc,
        Some("gpc") => Gpc(true),
        Some(_) => return Err(ShieldError::invalid("signal", "must be gpc").into()),
    };
    let (entry, bars) = shield.heed_signal(&caller(&allowed, network), &body.customer_id, gpc).await?;
    let bars = bars.iter().map(|bar| bar.as_str()).collect();
    Ok(Json(SignalAnswer { gpc: gpc.0, bars, receipt: shield.receipt(entry) }))
}

/// What does a customer agree to, and what stands against it?
#[utoipa::path(get, path = "/v1/consents", tag = "consent", params(StandingRequest),
    responses((status = 200, body = StandingAnswer)))]
async fn standing(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentRead>,
    Query(request): Query<StandingRequest>,
) -> Result<Json<StandingAnswer>, Problem> {
    let standing = shield.standing(&allowed.principal().tenant, &request.customer_id).await?;
    Ok(Json(StandingAnswer::new(request.customer_id, &standing)))
}

/// All that a customer agreed to and took back, each act with its place in the log.
#[utoipa::path(get, path = "/v1/consents/history", tag = "consent", params(HistoryRequest),
    responses((status = 200, body = HistoryAnswer)))]
async fn history(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentRead>,
    Query(request): Query<HistoryRequest>,
) -> Result<Json<HistoryAnswer>, Problem> {
    let limit = pages::limit(request.limit)?;
    let tenant = &allowed.principal().tenant;
    let found = shield.consent_history(tenant, &request.customer_id, request.after, limit).await?;
    let next = pages::next(&found, limit, |(record, _)| record.id.to_string());
    let records = found.into_iter().map(|(record, evidence)| RecordAnswer::new(record, evidence, &shield)).collect();
    Ok(Json(HistoryAnswer { records, next }))
}

/// Keep a text that people agree to, word by word and for good.
#[utoipa::path(put, path = "/v1/consent-texts/{version}", tag = "consent", params(("version" = String, Path)),
    request_body = TextBody, responses((status = 200, body = TextAnswer),
        (status = 409, description = "`text_differs`: another text has this version")))]
async fn put_text(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentWrite>,
    network: RemoteNetwork,
    Path(version): Path<String>,
    Json(body): Json<TextBody>,
) -> Result<Json<TextAnswer>, Problem> {
    let purpose = purpose(&body.purpose)?;
    let kept = shield.put_consent_text(&caller(&allowed, network), &version, purpose, body.text).await?;
    Ok(Json(kept.into()))
}

/// A text that people agree to.
#[utoipa::path(get, path = "/v1/consent-texts/{version}", tag = "consent", params(("version" = String, Path)),
    responses((status = 200, body = TextAnswer), (status = 404, description = "No such text")))]
async fn text(
    State(shield): State<Shield>,
    allowed: Allowed<can::ConsentRead>,
    Path(version): Path<String>,
) -> Result<Json<TextAnswer>, Problem> {
    Ok(Json(shield.consent_text(&allowed.principal().tenant, &version).await?.into()))
}

/// Is the signal of browsers heeded here?
#[utoipa::path(get, path = "/.well-known/gpc.json", tag = "consent", responses((status = 200, body = GpcAnswer)))]
async fn gpc() -> Json<GpcAnswer> {
    Json(GpcAnswer { gpc: true, last_update: GPC_CHANGED_ON })
}
