//! The paths. What is below `/v1/audit/log` is what a client of tlog-tiles takes for the log's prefix.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use kiki_audit::VerifierKey;
use kiki_audit::keys::VERIFIER_FILE;
use kiki_audit::served::{self, Part};
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{Json, Path, Query};
use kiki_kit::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::failed;
use super::model::{EntriesAnswer, EntriesRequest, EntryAnswer, KeysAnswer};
use crate::api::caller;
use crate::error::ShieldError;
use crate::service::Shield;

/// A tile never changes, nor what is cut from one.
const IMMUTABLE: (HeaderName, HeaderValue) =
    (CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
const BYTES: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
const TEXT: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));

pub(crate) fn routes() -> OpenApiRouter<Shield> {
    OpenApiRouter::new()
        .routes(routes!(checkpoint))
        .routes(routes!(tile))
        .routes(routes!(keys))
        .routes(routes!(entries))
        .routes(routes!(entry))
}

/// The log's newest checkpoint: which log, how many entries, which root; signed.
///
/// A signed note (C2SP tlog-checkpoint). Keep one now and then: whoever changes the log later cannot keep to it.
#[utoipa::path(get, path = "/v1/audit/log/checkpoint", tag = "audit",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, description = "None is signed yet")))]
async fn checkpoint(State(shield): State<Shield>, _: Allowed<can::AuditRead>) -> Result<Response, Problem> {
    let note = shield.read_log(served::checkpoint_note).await?;
    let note = note.ok_or(ShieldError::NotFound("checkpoint"))?;
    Ok(([TEXT], note).into_response())
}

/// A tile of the Merkle tree, or the beginning of one (C2SP tlog-tiles).
///
/// `{level}` is 0 for the hashes of entries. `{rest}` says which: `x001/x234/067`, or `x001/x234/067.p/8` for its first 8 hashes.
#[utoipa::path(get, path = "/v1/audit/log/tile/{level}/{*rest}", tag = "audit",
    params(("level" = String, Path), ("rest" = String, Path)),
    responses((status = 200, body = [u8], content_type = "application/octet-stream"),
        (status = 404, description = "The checkpoint does not cover it, or no tile has this name")))]
async fn tile(
    State(shield): State<Shield>,
    _: Allowed<can::AuditRead>,
    Path((level, rest)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (Some(level), Some(part)) = (served::level(&level), Part::parse(&rest)) else {
        return Err(ShieldError::NotFound("tile").into());
    };
    let hashes = shield.read_log(move |audit| served::tile(audit, level, part)).await?;
    let hashes = hashes.ok_or(ShieldError::NotFound("tile"))?;
    Ok(([BYTES, IMMUTABLE], hashes).into_response())
}

/// The keys by which checkpoints are checked.
#[utoipa::path(get, path = "/v1/audit/keys", tag = "audit", responses((status = 200, body = KeysAnswer)))]
async fn keys(State(shield): State<Shield>, _: Allowed<can::AuditRead>) -> Result<Json<KeysAnswer>, Problem> {
    let path = shield.0.keys.join(VERIFIER_FILE);
    let key = shield.read_log(move |_| VerifierKey::load(&path)).await?;
    Ok(Json(KeysAnswer { origin: key.name().to_owned(), keys: vec![key.to_string()] }))
}

/// Entries of the log, in its order.
///
/// Those of the caller's tenant, or with the permission `log:read` of all tenants. They name people by keyed hashes only.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", params(EntriesRequest),
    responses((status = 200, body = EntriesAnswer)))]
async fn entries(
    State(shield): State<Shield>,
    allowed: Allowed<can::AuditRead>,
    network: RemoteNetwork,
    Query(request): Query<EntriesRequest>,
) -> Result<Json<EntriesAnswer>, Problem> {
    let page = shield.entries(&caller(&allowed, network), request).await?;
    Ok(Json(page.try_into().map_err(failed)?))
}

/// An entry of the log.
#[utoipa::path(get, path = "/v1/audit/entries/{index}", tag = "audit", params(("index" = u64, Path)),
    responses((status = 200, body = EntryAnswer),
        (status = 404, description = "The checkpoint does not cover it yet, or it is another tenant's")))]
async fn entry(
    State(shield): State<Shield>,
    allowed: Allowed<can::AuditRead>,
    network: RemoteNetwork,
    Path(index): Path<u64>,
) -> Result<Json<EntryAnswer>, Problem> {
    let found = shield.entry(&caller(&allowed, network), index).await?;
    Ok(Json(found.try_into().map_err(failed)?))
}
