//! HTTP of subject requests.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, JsonOrQuery, Path, Query};
use kiki_kit::problem::Problem;
use kiki_types::UnixMillis;
use kiki_types::id::SubjectRequestId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::body::{
    BulkAnswer, BulkBody, CorrectedBody, DestroyKeyQuery, ExtendBody, PageOfRequests, RefuseBody, RequestAnswer,
    RequestsAnswer, RetryQuery, SubjectRequestAnswer, SubjectRequestBody, VerifyBody, VouchAnswer, VouchBody,
};
use super::error::SubjectError;
use super::repo::Wanted;
use super::service::{BULK_MAX, Requests};
use crate::api::{caller, only_get};
use crate::error::ShieldError;
use crate::once::Claim;
use crate::pages;
use crate::service::Caller;

/// The paths of subject requests.
#[must_use]
pub fn routes(requests: Requests) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(create_as_the_seeds_do))
        .routes(routes!(list, create))
        .routes(routes!(create_many))
        .routes(routes!(vouch_for_many))
        .routes(routes!(see))
        .routes(routes!(send_code))
        .routes(routes!(verify))
        .routes(routes!(vouch))
        .routes(routes!(extend))
        .routes(routes!(refuse))
        .routes(routes!(retry))
        .routes(routes!(lift))
        .routes(routes!(corrected))
        .routes(routes!(destroy_key))
        .routes(routes!(export))
        .merge(super::holds::routes())
        .with_state(requests)
}

type Answered = Result<Json<RequestAnswer>, Problem>;
/// What a route does, and the key that a request for it came with.
type Keyed = (&'static str, Option<String>);

/// Open a data subject request.
#[utoipa::path(post, path = "/dsr/create", tag = "seeds",
    params(SubjectRequestBody, ("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    request_body = Option<SubjectRequestBody>, responses((status = 201, body = SubjectRequestAnswer)))]
async fn create_as_the_seeds_do(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    JsonOrQuery(body): JsonOrQuery<SubjectRequestBody>,
) -> Result<(StatusCode, Json<SubjectRequestAnswer>), Problem> {
    created(&requests, caller(&allowed, network), ("dsr.create", key), body).await
}

/// Open a data subject request.
///
/// The person is written to, and proves who they are by a code that is mailed to them; an officer may vouch for them. An
/// opt-out needs no proof.
#[utoipa::path(post, path = "/v1/subject-requests", tag = "privacy", request_body = SubjectRequestBody,
    params(("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 201, body = SubjectRequestAnswer)))]
async fn create(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<SubjectRequestBody>,
) -> Result<(StatusCode, Json<SubjectRequestAnswer>), Problem> {
    created(&requests, caller(&allowed, network), ("subject_request.create", key), body).await
}

async fn created(
    requests: &Requests,
    caller: Caller,
    key: Keyed,
    body: SubjectRequestBody,
) -> Result<(StatusCode, Json<SubjectRequestAnswer>), Problem> {
    let customer_id = body.customer_id.clone();
    let made = take_in(requests, caller.clone(), key, vec![body]).await?;
    let id = made.first().copied().ok_or_else(Problem::unexplained)?;
    let made = requests.request(&caller.principal.tenant, id.into()).await?;
    let answer = SubjectRequestAnswer {
        request_id: made.id.to_string(),
        customer_id,
        request_type: made.kind,
        status: "received",
        received_at: made.received_at.rfc3339(),
        due_at: made.due_at.rfc3339(),
        due_on: requests.day_of(made.due_at),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Takes requests in, once per key. Returns their ids.
async fn take_in(
    requests: &Requests,
    caller: Caller,
    (verb, key): Keyed,
    bodies: Vec<SubjectRequestBody>,
) -> Result<Vec<Uuid>, Problem> {
    let shield = requests.shield();
    let key = shield.key(&caller.principal.tenant, verb, key.as_deref(), &bodies)?;
    let wanted = bodies.into_iter().map(SubjectRequestBody::wanted).collect::<Result<Vec<_>, _>>()?;
    let act = |claim: Claim| {
        let requests = requests.clone();
        async move {
            let made = requests.take_in(&caller, wanted, &claim).await?;
            Ok(made.iter().map(|request| request.id.uuid()).collect())
        }
    };
    Ok(shield.once(key, act, async |made| Ok::<_, SubjectError>(made)).await?)
}

/// Open many data subject requests at once: all, or none.
#[utoipa::path(post, path = "/v1/subject-requests/bulk", tag = "privacy", request_body = BulkBody,
    params(("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 201, body = BulkAnswer)))]
async fn create_many(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<BulkBody>,
) -> Result<(StatusCode, Json<BulkAnswer>), Problem> {
    if !(1..=BULK_MAX).contains(&body.requests.len()) {
        return Err(Problem::invalid("requests", format_args!("must be 1 to {BULK_MAX}")));
    }
    let made = take_in(&requests, caller(&allowed, network), ("subject_request.bulk", key), body.requests).await?;
    let request_ids = made.into_iter().map(|id| SubjectRequestId::from(id).to_string()).collect();
    Ok((StatusCode::CREATED, Json(BulkAnswer { request_ids })))
}

/// Say of many requests at once that they come from whom they say. A repeat passes over those that were vouched for.
#[utoipa::path(post, path = "/v1/subject-requests/vouch", tag = "privacy", request_body = VouchBody,
    responses((status = 200, body = VouchAnswer), (status = 404, description = "One of them is unknown; none was moved")))]
async fn vouch_for_many(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Json(body): Json<VouchBody>,
) -> Result<Json<VouchAnswer>, Problem> {
    if !(1..=BULK_MAX).contains(&body.request_ids.len()) {
        return Err(Problem::invalid("request_ids", format_args!("must be 1 to {BULK_MAX}")));
    }
    let ids = body.request_ids.iter().map(|id| id.parse()).collect::<Result<Vec<SubjectRequestId>, _>>();
    let ids = ids.map_err(|error| Problem::invalid("request_ids", error))?;
    let vouched = requests.vouch_for_all(&caller(&allowed, network), &ids).await?;
    Ok(Json(VouchAnswer { vouched }))
}

/// Data subject requests, the oldest first.
#[utoipa::path(get, path = "/v1/subject-requests", tag = "privacy", params(PageOfRequests),
    responses((status = 200, body = RequestsAnswer)))]
async fn list(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsRead>,
    network: RemoteNetwork,
    Query(page): Query<PageOfRequests>,
) -> Result<Json<RequestsAnswer>, Problem> {
    let limit = pages::limit(page.limit)?;
    let wanted = Wanted {
        state: page.state.as_deref().map(str::parse).transpose().map_err(|error| Problem::invalid("state", error))?,
        due_before: page
            .due_before
            .as_deref()
            .map(UnixMillis::parse_rfc3339)
            .transpose()
            .map_err(|_| ShieldError::invalid("due_before", "must be a time such as 2026-02-01T00:00:00Z"))?,
        after: page.after.as_deref().map(place).transpose()?,
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
    };
    let found = requests.list(&caller(&allowed, network), &wanted).await?;
    let next = pages::next(&found, limit, |seen| format!("{}_{}", seen.request.received_at.0, seen.request.id));
    let requests = found.iter().map(|seen| RequestAnswer::new(seen, &[])).collect();
    Ok(Json(RequestsAnswer { requests, next }))
}

/// Where a page goes on.
fn place(after: &str) -> Result<(UnixMillis, SubjectRequestId), ShieldError> {
    let parts = after.split_once('_').and_then(|(at, id)| Some((UnixMillis(at.parse().ok()?), id.parse().ok()?)));
    parts.ok_or_else(|| ShieldError::invalid("after", "must be the next of the page before"))
}

/// A data subject request, and how far it is in each store.
#[utoipa::path(get, path = "/v1/subject-requests/{id}", tag = "privacy", params(("id" = String, Path)),
    responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request")))]
async fn see(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsRead>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
) -> Answered {
    let seen = requests.see(&caller(&allowed, network), id).await?;
    Ok(Json(RequestAnswer::new(&seen, &requests.pending(&seen))))
}

/// Mail the person a code by which they prove who they are.
///
/// It is good for ten minutes and three tries. It goes to the address that the mail provider has of them. A repeat within a
/// minute is refused.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/code", tag = "privacy", params(("id" = String, Path)),
    responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request"),
        (status = 409, description = "It was proven, or has ended"), (status = 429, description = "Too many codes")))]
async fn send_code(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsWrite>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
) -> Answered {
    Ok(Json(RequestAnswer::of(requests.send_code(&caller(&allowed, network), id).await?)))
}

/// Prove by the code that was mailed. A repeat is refused: it was proven.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/verify", tag = "privacy", params(("id" = String, Path)),
    request_body = VerifyBody, responses((status = 200, body = RequestAnswer),
        (status = 403, description = "Wrong, late, or tried three times"), (status = 404, description = "No such request"),
        (status = 409, description = "It was proven, or has ended")))]
async fn verify(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsWrite>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
    Json(body): Json<VerifyBody>,
) -> Answered {
    Ok(Json(RequestAnswer::of(requests.verify(&caller(&allowed, network), id, &body.code).await?)))
}

/// Say that the request comes from whom it says. A repeat is refused: it was proven.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/vouch", tag = "privacy", params(("id" = String, Path)),
    responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request"),
        (status = 409, description = "It was proven, or has ended")))]
async fn vouch(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
) -> Answered {
    Ok(Json(RequestAnswer::of(requests.vouch(&caller(&allowed, network), id).await?)))
}

/// Take the longer time that the law gives, once. A repeat is refused.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/extend", tag = "privacy", params(("id" = String, Path)),
    request_body = ExtendBody, responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request"),
        (status = 409, description = "It was extended, is over, or cannot be")))]
async fn extend(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
    Json(body): Json<ExtendBody>,
) -> Answered {
    let why = body.reason.parse().map_err(|error| Problem::invalid("reason", error))?;
    Ok(Json(RequestAnswer::of(requests.extend(&caller(&allowed, network), id, why).await?)))
}

/// Refuse a request of which nothing was carried out. A repeat is refused: it has ended.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/refuse", tag = "privacy", params(("id" = String, Path)),
    request_body = RefuseBody, responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request"),
        (status = 409, description = "It is being carried out, or has ended")))]
async fn refuse(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
    Json(body): Json<RefuseBody>,
) -> Answered {
    let ground = body.ground.parse().map_err(|error| Problem::invalid("ground", error))?;
    Ok(Json(RequestAnswer::of(requests.refuse(&caller(&allowed, network), id, ground).await?)))
}

/// Ask the stores that failed again at once. A repeat while they are asked is refused.
///
/// With `without_copy` a deletion of which nothing was carried out goes on, although a copy was not fetched.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/retry", tag = "privacy", params(("id" = String, Path), RetryQuery),
    responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request"),
        (status = 409, description = "It is not waiting")))]
async fn retry(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
    Query(RetryQuery { without_copy }): Query<RetryQuery>,
) -> Answered {
    Ok(Json(RequestAnswer::of(requests.retry(&caller(&allowed, network), id, without_copy).await?)))
}

/// End a restriction. A repeat ends what is left of it, and tells nobody again.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/lift", tag = "privacy", params(("id" = String, Path)),
    responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request"),
        (status = 409, description = "It is not completed")))]
async fn lift(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
) -> Answered {
    Ok(Json(RequestAnswer::of(requests.lift(&caller(&allowed, network), id).await?)))
}

/// Say that the source of what is computed of a person was corrected, and so complete a rectification.
///
/// A repeat is refused: it has ended.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/corrected", tag = "privacy", params(("id" = String, Path)),
    request_body = CorrectedBody, responses((status = 200, body = RequestAnswer),
        (status = 404, description = "No such request"), (status = 409, description = "It waits for no source"),
        (status = 410, description = "The person was erased")))]
async fn corrected(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
    Json(body): Json<CorrectedBody>,
) -> Answered {
    Ok(Json(RequestAnswer::of(requests.corrected(&caller(&allowed, network), id, body.note).await?)))
}

/// Destroy a person's key although a store has not answered.
///
/// What it holds of them is unreadable at once; its rows go when it answers. A service with a database of its own must be told
/// the name before: until it was, this is refused, unless you erase there by hand. A repeat finds no key left to destroy.
#[utoipa::path(post, path = "/v1/subject-requests/{id}/destroy-key", tag = "privacy",
    params(("id" = String, Path), DestroyKeyQuery),
    responses((status = 200, body = RequestAnswer), (status = 404, description = "No such request"),
        (status = 409, description = "It is no deletion that runs, or a service must be told the name first")))]
async fn destroy_key(
    State(requests): State<Requests>,
    allowed: Allowed<can::SubjectRequestsDecide>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
    Query(DestroyKeyQuery { by_hand }): Query<DestroyKeyQuery>,
) -> Answered {
    Ok(Json(RequestAnswer::of(requests.destroy_key(&caller(&allowed, network), id, by_hand).await?)))
}

/// What is held of the person, as a ZIP of JSON and CSV with a manifest of hashes.
///
/// A deletion of the same person goes on 24 hours after the first time. HEAD is refused: it fetches nothing.
#[utoipa::path(get, path = "/v1/subject-requests/{id}/export", tag = "privacy", params(("id" = String, Path)),
    responses((status = 200, body = [u8], content_type = "application/zip"),
        (status = 404, description = "No such request, or no export of it is kept"),
        (status = 410, description = "The person was erased")))]
async fn export(
    method: Method,
    State(requests): State<Requests>,
    allowed: Allowed<can::PersonalRead>,
    network: RemoteNetwork,
    Path(id): Path<SubjectRequestId>,
) -> Result<Response, Problem> {
    only_get(&method)?;
    let zip = requests.download(&caller(&allowed, network), id).await?;
    let fixed = [
        (CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let disposition = format!("attachment; filename=\"{id}.zip\"");
    Ok((fixed, [(CONTENT_DISPOSITION, disposition)], zip).into_response())
}
