//! HTTP of the register of breaches.

use axum::extract::State;
use http::StatusCode;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, Path, Query};
use kiki_kit::problem::Problem;
use kiki_types::UnixMillis;
use kiki_types::id::BreachId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{BreachAnswer, BreachesAnswer, BreachesRequest, ChangeBreachBody, RecordBreachBody};
use super::service::{Breaches, Said};
use crate::api::caller;
use crate::once::one;
use crate::pages;

/// The paths of the register.
#[must_use]
pub fn routes(breaches: Breaches) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(breaches_of_tenant, record))
        .routes(routes!(breach, change))
        .with_state(breaches)
}

/// Record a breach of personal data.
///
/// From the moment somebody is aware of it there are 72 hours to tell the supervisory authority (Art. 33(1) GDPR). After 24,
/// 48, 66 and 72 hours an entry of the log reminds of it until the authority was told, the breach was closed, or its risk
/// found to be unlikely.
#[utoipa::path(post, path = "/v1/breaches", tag = "compliance", request_body = RecordBreachBody,
    params(("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 201, body = BreachAnswer)))]
async fn record(
    State(breaches): State<Breaches>,
    allowed: Allowed<can::BreachesWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<RecordBreachBody>,
) -> Result<(StatusCode, Json<BreachAnswer>), Problem> {
    let caller = caller(&allowed, network);
    let key = breaches.shield().key(&caller.principal.tenant, "breach.create", key.as_deref(), &body)?;
    let aware_at = body.aware_at;
    let said = Said {
        natures: Some(body.nature),
        categories: Some(body.categories),
        persons_about: Some(body.persons_about),
        records_about: Some(body.records_about),
        risk: Some(body.risk),
        facts: Some(body.facts),
        effects: Some(body.effects),
        measures: Some(body.measures),
        risk_reason: body.unlikely_because,
        ..Said::default()
    };
    let (asked, asker) = (breaches.clone(), caller.clone());
    let made = breaches.shield().once(
        key,
        |claim| async move { asked.record(&asker, aware_at.as_deref(), &said, &claim).await },
        |made| breaches.breach(&caller, one(&made).into()),
    );
    Ok((StatusCode::CREATED, Json(BreachAnswer::new(made.await?, breaches.now()))))
}

/// The register of breaches of personal data (Art. 33(5) GDPR).
#[utoipa::path(get, path = "/v1/breaches", tag = "compliance", params(BreachesRequest),
    responses((status = 200, body = BreachesAnswer)))]
async fn breaches_of_tenant(
    State(breaches): State<Breaches>,
    allowed: Allowed<can::ComplianceRead>,
    network: RemoteNetwork,
    Query(request): Query<BreachesRequest>,
) -> Result<Json<BreachesAnswer>, Problem> {
    let limit = pages::limit(request.limit)?;
    let always = (UnixMillis(0), UnixMillis(i64::MAX));
    let found = breaches.breaches(&caller(&allowed, network), always, request.after, limit).await?;
    let next = pages::next(&found, limit, |last| last.id.to_string());
    let now = breaches.now();
    Ok(Json(BreachesAnswer { breaches: found.into_iter().map(|one| BreachAnswer::new(one, now)).collect(), next }))
}

/// A breach of personal data.
#[utoipa::path(get, path = "/v1/breaches/{id}", tag = "compliance", params(("id" = String, Path)),
    responses((status = 200, body = BreachAnswer), (status = 404, description = "No such breach")))]
async fn breach(
    State(breaches): State<Breaches>,
    allowed: Allowed<can::ComplianceRead>,
    network: RemoteNetwork,
    Path(id): Path<BreachId>,
) -> Result<Json<BreachAnswer>, Problem> {
    let found = breaches.breach(&caller(&allowed, network), id).await?;
    Ok(Json(BreachAnswer::new(found, breaches.now())))
}

/// Say what has changed about a breach, whom it was told to, or that it is closed.
///
/// It can be closed with its facts, effects and measures, and what its risk wants: that the authority was told, and the persons
/// or why not; or why harm is unlikely. The entry of the log says from which risk to which it went.
#[utoipa::path(patch, path = "/v1/breaches/{id}", tag = "compliance", params(("id" = String, Path)),
    request_body = ChangeBreachBody,
    responses((status = 200, body = BreachAnswer), (status = 404, description = "No such breach"),
        (status = 409, description = "It is closed, or lacks what it must have to be")))]
async fn change(
    State(breaches): State<Breaches>,
    allowed: Allowed<can::BreachesWrite>,
    network: RemoteNetwork,
    Path(id): Path<BreachId>,
    Json(body): Json<ChangeBreachBody>,
) -> Result<Json<BreachAnswer>, Problem> {
    let said = Said {
        natures: body.nature,
        categories: body.categories,
        persons_about: body.persons_about,
        records_about: body.records_about,
        risk: body.risk,
        facts: body.facts,
        effects: body.effects,
        measures: body.measures,
        risk_reason: body.unlikely_because,
        delay_reason: body.delay_reason,
        persons_reason: body.persons_not_told_because,
        authority_at: body.authority_notified_at,
        persons_at: body.persons_notified_at,
        closed: body.closed,
    };
    let changed = breaches.change(&caller(&allowed, network), id, &said).await?;
    Ok(Json(BreachAnswer::new(changed, breaches.now())))
}
