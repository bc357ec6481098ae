//! The paths. What is below `/v1/audit/log` is what a client of tlog-tiles takes for the log's prefix.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use kiki_audit::keys::VERIFIER_FILE;
use kiki_audit::served::{self, Part};
use kiki_audit::{Checkpoint, Proof, VerifierKey, disk, handover};
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{Json, Path, Query};
use kiki_kit::problem::Problem;
use kiki_types::id::AuthorizationId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{
    CheckpointRequest, ConsistencyAnswer, ConsistencyRequest, EntriesAnswer, EntriesRequest, EntryAnswer,
    InclusionAnswer, InclusionRequest, KeysAnswer,
};
use super::{failed, there};
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
        .routes(routes!(bundle))
        .routes(routes!(inclusion))
        .routes(routes!(consistency))
        .routes(routes!(keys))
        .routes(routes!(entries))
        .routes(routes!(entry))
        .routes(routes!(proof_of_entry))
        .routes(routes!(proof_of_authorization))
}

/// The log's newest checkpoint: which log, how many entries, which root; signed.
///
/// A signed note (C2SP tlog-checkpoint). Keep one now and then: whoever changes the log later cannot keep to it.
#[utoipa::path(get, path = "/v1/audit/log/checkpoint", tag = "audit", params(CheckpointRequest),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 404, description = "There is none yet")))]
async fn checkpoint(
    State(shield): State<Shield>,
    _: Allowed<can::AuditRead>,
    Query(request): Query<CheckpointRequest>,
) -> Result<Response, Problem> {
    let path = shield.0.keys.join(VERIFIER_FILE);
    let read = move |audit: &std::path::Path| {
        if request.witnessed {
            return Checkpoint::witnessed(disk::real().as_ref(), audit);
        }
        // What somebody changed on the disk is not handed out as the log's word.
        Checkpoint::load(audit, Some(&VerifierKey::load(&path)?))?;
        Checkpoint::newest(disk::real().as_ref(), audit)
    };
    let found = shield.read_log(read).await?;
    let (_, note) = found.ok_or(ShieldError::NotFound("checkpoint"))?;
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

/// Entries, as many as a tile has hashes, or the first of them (C2SP tlog-tiles).
///
/// Those of all tenants: the leaves of the tree. Each is its length in two bytes, the larger one first, and its JSON.
#[utoipa::path(get, path = "/v1/audit/log/tile/entries/{*rest}", tag = "audit", params(("rest" = String, Path)),
    responses((status = 200, body = [u8], content_type = "application/octet-stream"),
        (status = 404, description = "The checkpoint does not cover it, or no bundle has this name"),
        (status = 410, description = "Entries of it were pruned")))]
async fn bundle(
    State(shield): State<Shield>,
    _: Allowed<can::LogRead>,
    Path(rest): Path<String>,
) -> Result<Response, Problem> {
    let part = Part::parse(&rest).ok_or(ShieldError::NotFound("bundle"))?;
    let found = shield.read_log(move |audit| served::bundle(audit, part)).await?;
    Ok(([BYTES, IMMUTABLE], there(found, "bundle")?).into_response())
}

/// The proof that an entry is in the log.
#[utoipa::path(get, path = "/v1/audit/proofs/inclusion", tag = "audit", params(InclusionRequest),
    responses((status = 200, body = InclusionAnswer),
        (status = 404, description = "No checkpoint covers so many entries, or the tree does not have this one")))]
async fn inclusion(
    State(shield): State<Shield>,
    _: Allowed<can::AuditRead>,
    Query(request): Query<InclusionRequest>,
) -> Result<Json<InclusionAnswer>, Problem> {
    Ok(Json(shield.inclusion(request).await?))
}

/// The proof that what the log was is the beginning of what it is.
#[utoipa::path(get, path = "/v1/audit/proofs/consistency", tag = "audit", params(ConsistencyRequest),
    responses((status = 200, body = ConsistencyAnswer), (status = 404, description = "No checkpoint covers so many entries")))]
async fn consistency(
    State(shield): State<Shield>,
    _: Allowed<can::AuditRead>,
    Query(request): Query<ConsistencyRequest>,
) -> Result<Json<ConsistencyAnswer>, Problem> {
    Ok(Json(shield.consistency(request).await?))
}

/// The keys by which checkpoints are checked.
#[utoipa::path(get, path = "/v1/audit/keys", tag = "audit", responses((status = 200, body = KeysAnswer)))]
async fn keys(State(shield): State<Shield>, _: Allowed<can::AuditRead>) -> Result<Json<KeysAnswer>, Problem> {
    let path = shield.0.keys.join(VERIFIER_FILE);
    let read = move |audit: &std::path::Path| Ok((VerifierKey::load(&path)?, handover::notes(audit)?));
    let (key, handovers) = shield.read_log(read).await?;
    let former = handovers.iter().rev().map(|(handover, _)| handover.from.to_string());
    let keys = std::iter::once(key.to_string()).chain(former).collect();
    let handovers = handovers.iter().map(|(_, note)| note.clone()).collect();
    Ok(Json(KeysAnswer { origin: key.name().to_owned(), keys, handovers }))
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
        (status = 404, description = "The checkpoint does not cover it yet, or it is another tenant's"),
        (status = 410, description = "It was pruned")))]
async fn entry(
    State(shield): State<Shield>,
    allowed: Allowed<can::AuditRead>,
    network: RemoteNetwork,
    Path(index): Path<u64>,
) -> Result<Json<EntryAnswer>, Problem> {
    let found = shield.entry(&caller(&allowed, network), index).await?;
    Ok(Json(found.try_into().map_err(failed)?))
}

/// The proof of an entry in one file (C2SP tlog-proof): the entry, the path to the root, the signed checkpoint.
///
/// Where witnesses have cosigned a checkpoint that covers it, it is that one.
#[utoipa::path(get, path = "/v1/audit/entries/{index}/proof", tag = "audit", params(("index" = u64, Path)),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 404, description = "The checkpoint does not cover it yet, or it is another tenant's"),
        (status = 410, description = "It was pruned")))]
async fn proof_of_entry(
    State(shield): State<Shield>,
    allowed: Allowed<can::AuditRead>,
    network: RemoteNetwork,
    Path(index): Path<u64>,
) -> Result<Response, Problem> {
    let proof = shield.proof_of_entry(&caller(&allowed, network), index).await?;
    Ok(file(&proof, &format!("entry-{index}")))
}

/// The proof of the decision that made an authorization, in one file (C2SP tlog-proof).
///
/// Right after the decision it waits for the checkpoint that covers it, three seconds at the most.
#[utoipa::path(get, path = "/v1/authorizations/{id}/proof", tag = "audit", params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 404, description = "Unknown or forgotten"), (status = 410, description = "Its entry was pruned"),
        (status = 503, description = "No checkpoint covers it yet; try again")))]
async fn proof_of_authorization(
    State(shield): State<Shield>,
    allowed: Allowed<can::SpendRead>,
    network: RemoteNetwork,
    Path(id): Path<AuthorizationId>,
) -> Result<Response, Problem> {
    let proof = shield.proof_of(&caller(&allowed, network), id).await?;
    Ok(file(&proof, &id.to_string()))
}

/// A proof as a file of this name.
fn file(proof: &Proof, name: &str) -> Response {
    let disposition = format!("attachment; filename=\"{name}.tlog-proof\"");
    ([TEXT], [(CONTENT_DISPOSITION, disposition)], proof.to_string()).into_response()
}
