//! Legal holds over HTTP: who is held is not erased, whoever asks, until the last hold is released.

use axum::extract::State;
use http::StatusCode;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::{IdempotencyKey, Json, Path, Query};
use kiki_kit::problem::Problem;
use kiki_store::personal::Hold;
use kiki_types::event::AuditEvent;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::body::{HoldAnswer, HoldBody, HoldsAnswer, PageOfHolds, ReleasedAnswer};
use super::error::SubjectError;
use super::repo::held;
use super::service::{Requests, pseudonym};
use crate::api::caller;
use crate::error::ShieldError;
use crate::once::{Claim, one};
use crate::pages;
use crate::service::Caller;

/// Bytes of what a hold is about at the most.
const MATTER_BYTES_MAX: usize = 1_024;
const UNKNOWN: ShieldError = ShieldError::NotFound("legal hold");

pub(super) fn routes() -> OpenApiRouter<Requests> {
    OpenApiRouter::new().routes(routes!(list, place)).routes(routes!(release))
}

/// Hold a customer's data against erasure.
#[utoipa::path(post, path = "/v1/legal-holds", tag = "privacy", request_body = HoldBody,
    params(("idempotency-key" = Option<String>, Header, description = "A repeat with the same key is done once")),
    responses((status = 201, body = HoldAnswer), (status = 409, description = "The person is being erased")))]
async fn place(
    State(requests): State<Requests>,
    allowed: Allowed<can::LegalHoldsWrite>,
    network: RemoteNetwork,
    IdempotencyKey(key): IdempotencyKey,
    Json(body): Json<HoldBody>,
) -> Result<(StatusCode, Json<HoldAnswer>), Problem> {
    let (shield, caller) = (requests.shield(), caller(&allowed, network));
    let tenant = caller.principal.tenant.clone();
    let key = shield.key(&tenant, "legal_hold.place", key.as_deref(), &body)?;
    let subjects = requests.subjects();
    let hold = shield.once(
        key,
        |claim| {
            let requests = requests.clone();
            async move { requests.place_hold(&caller, &body.customer_id, &body.matter, &claim).await }
        },
        |made| async move { subjects.one_hold(&tenant, one(&made)).await?.ok_or(UNKNOWN.into()) },
    );
    Ok((StatusCode::CREATED, Json(HoldAnswer::new(hold.await?))))
}

/// Legal holds, standing and released, in the order of their ids.
#[utoipa::path(get, path = "/v1/legal-holds", tag = "privacy", params(PageOfHolds),
    responses((status = 200, body = HoldsAnswer)))]
async fn list(
    State(requests): State<Requests>,
    allowed: Allowed<can::LegalHoldsWrite>,
    Query(page): Query<PageOfHolds>,
) -> Result<Json<HoldsAnswer>, Problem> {
    // The store's own bound of a page is smaller than what may be asked for.
    let limit = pages::limit(page.limit)?.min(kiki_store::personal::HOLDS_PAGE_MAX as usize);
    let tenant = &allowed.principal().tenant;
    let rows = u32::try_from(limit).unwrap_or(u32::MAX);
    let holds = requests.subjects().holds(tenant, page.after, rows).await.map_err(ShieldError::from)?;
    let next = pages::next(&holds, limit, |hold| hold.id);
    Ok(Json(HoldsAnswer { holds: holds.into_iter().map(HoldAnswer::new).collect(), next }))
}

/// Release a legal hold. Deletions that were refused for it are answered, to be asked for again.
#[utoipa::path(delete, path = "/v1/legal-holds/{id}", tag = "privacy", params(("id" = String, Path)),
    responses((status = 200, body = ReleasedAnswer), (status = 404, description = "No such hold stands")))]
async fn release(
    State(requests): State<Requests>,
    allowed: Allowed<can::LegalHoldsWrite>,
    network: RemoteNetwork,
    Path(id): Path<Uuid>,
) -> Result<Json<ReleasedAnswer>, Problem> {
    let refused_requests = requests.release(&caller(&allowed, network), id).await?;
    Ok(Json(ReleasedAnswer { hold_id: id, refused_requests }))
}

impl Requests {
    /// Holds a customer. Whose deletion has begun cannot be held: both lock the person's row, so they take turns.
    pub(super) async fn place_hold(
        &self,
        caller: &Caller,
        customer: &str,
        matter: &str,
        claim: &Claim,
    ) -> Result<Hold, SubjectError> {
        if matter.is_empty() || matter.len() > MATTER_BYTES_MAX {
            return Err(ShieldError::invalid("matter", "must be 1 to 1024 bytes").into());
        }
        let shield = self.shield();
        let tenant = &caller.principal.tenant;
        let person = shield.somebody(tenant, customer).await?;
        let (id, by) = (shield.0.ids.uuid(), shield.0.pseudonyms.actor(tenant, &caller.principal.name).to_string());
        let mut tx = self.store().begin().await?;
        let is_held = self.subjects().hold(&mut tx, &person, id, matter, &by).await?;
        if !is_held || held::is_being_erased(&mut tx, tenant, person.id).await? {
            tx.rollback().await?;
            return Err(SubjectError::Erasing);
        }
        let draft = shield.draft(caller, "hold.place", "place", &format!("legal_hold/{id}"));
        let event = AuditEvent { id: shield.0.ids.uuid(), at: self.now(), customer: pseudonym(&person), ..draft };
        crate::jobs::publish(&mut tx, &event)?;
        claim.remember(&mut tx, &[id]).await?;
        tx.commit().await?;
        Ok(self.subjects().one_hold(tenant, id).await?.ok_or(UNKNOWN)?)
    }

    /// Releases a hold. Answers the deletions that were refused for one on the same person.
    pub(super) async fn release(&self, caller: &Caller, id: Uuid) -> Result<Vec<String>, SubjectError> {
        let shield = self.shield();
        let tenant = &caller.principal.tenant;
        let by = shield.0.pseudonyms.actor(tenant, &caller.principal.name).to_string();
        let mut tx = self.store().begin().await?;
        let who = self.subjects().release(&mut tx, tenant, id, &by).await?.ok_or(UNKNOWN)?;
        let draft = shield.draft(caller, "hold.release", "release", &format!("legal_hold/{id}"));
        crate::jobs::publish(&mut tx, &AuditEvent { id: shield.0.ids.uuid(), at: self.now(), ..draft })?;
        tx.commit().await?;
        let refused = held::held_back(self.store(), tenant, who).await?;
        Ok(refused.iter().map(ToString::to_string).collect())
    }
}
