//! gRPC: what the service that answers requests asks, by `proto/kiki/privacy/v1/personal_data.proto`.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use kiki_kit::authorisation::{Allowed, can};
use kiki_kit::problem::Problem;
use kiki_proto::privacy::v1 as proto;
use kiki_proto::privacy::v1::personal_data_service_server::{PersonalDataService, PersonalDataServiceServer};
use kiki_proto::privacy::v1::rectify_response::Rectified as Said;
use kiki_store::personal::{Cutoffs, Document, KeysError, PersonalStore, Rectified, Subject};
use kiki_types::{TenantId, UnixMillis};
use serde_json::{Map, Value, json};
use tonic::{Request, Response, Status};

use super::{Person, PersonalData, PersonalError};

/// People of one call at the most.
const PEOPLE_MAX: usize = 500;
/// Rows of one turn of expiry at the most.
const EXPIRED_MAX: u32 = 10_000;
/// Bytes of one part of an export.
const PART_BYTES: usize = 256 << 10;
/// When a caller may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The gRPC service.
#[must_use]
pub fn service(data: PersonalData) -> PersonalDataServiceServer<PersonalData> {
    PersonalDataServiceServer::new(data)
}

impl PersonalData {
    fn named(&self, store: &str) -> Result<&Arc<dyn PersonalStore>, Status> {
        self.stores.get(store).ok_or_else(|| Problem::not_found("store").into())
    }

    /// The one whom a request is about; nobody if they are not known here.
    async fn one(
        &self,
        tenant: &TenantId,
        source: &str,
        person: Option<proto::Person>,
    ) -> Result<Option<Subject>, Status> {
        let person = person.ok_or_else(|| Status::from(Problem::invalid("person", "is missing")))?;
        let found = self.known(tenant, source, &[read(person)?]).await.map_err(PersonalError::from)?;
        Ok(found.into_iter().next())
    }
}

#[tonic::async_trait]
impl PersonalDataService for PersonalData {
    type ExportStream = BoxStream<'static, Result<proto::ExportResponse, Status>>;

    async fn declare(
        &self,
        request: Request<proto::DeclareRequest>,
    ) -> Result<Response<proto::DeclareResponse>, Status> {
        Allowed::<can::PersonalRead>::from_grpc(&request)?;
        let source_id = self.store.source_id().await.map_err(PersonalError::from)?.to_string();
        let stores = self.stores.iter().map(|store| store.declared().name.to_owned()).collect();
        Ok(Response::new(proto::DeclareResponse { source_id, stores }))
    }

    async fn export(&self, request: Request<proto::ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        let allowed = Allowed::<can::PersonalRead>::from_grpc(&request)?;
        let request = request.into_inner();
        let store = self.named(&request.store)?;
        let documents = match self.one(&allowed.tenant, &request.source_id, request.person).await? {
            Some(subject) => store.export(&subject).await.map_err(PersonalError::from)?,
            None => Vec::new(),
        };
        let told: Vec<Value> = documents
            .into_iter()
            .map(|Document { name, provided, rows }| json!({"name": name, "provided": provided, "rows": rows}))
            .collect();
        let text = serde_json::to_vec(&told).map_err(|error| Status::from(Problem::internal(&error)))?;
        let parts: Vec<_> =
            text.chunks(PART_BYTES).map(|part| Ok(proto::ExportResponse { part: part.to_vec() })).collect();
        Ok(Response::new(stream::iter(parts).boxed()))
    }

    async fn erase(&self, request: Request<proto::EraseRequest>) -> Result<Response<proto::EraseResponse>, Status> {
        let allowed = Allowed::<can::PersonalWrite>::from_grpc(&request)?;
        let request = request.into_inner();
        let store = self.named(&request.store)?;
        if request.people.len() > PEOPLE_MAX {
            return Err(Problem::invalid("people", format_args!("must be at most {PEOPLE_MAX}")).into());
        }
        let people = request.people.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let rows = Self::erase(self, &allowed.tenant, &request.source_id, store.as_ref(), &people).await?;
        Ok(Response::new(proto::EraseResponse { rows }))
    }

    async fn rectify(
        &self,
        request: Request<proto::RectifyRequest>,
    ) -> Result<Response<proto::RectifyResponse>, Status> {
        let allowed = Allowed::<can::PersonalWrite>::from_grpc(&request)?;
        let request = request.into_inner();
        let store = self.named(&request.store)?;
        let correction: Map<String, Value> = serde_json::from_str(&request.correction)
            .map_err(|_| Status::from(Problem::invalid("correction", "is not a JSON object")))?;
        let rectified = match self.one(&allowed.tenant, &request.source_id, request.person).await? {
            Some(subject) => store.rectify(&subject, &correction).await.map_err(PersonalError::from)?,
            None => Rectified::NotHeld,
        };
        let (said, rows) = match rectified {
            Rectified::Changed(rows) => (Said::Changed, rows),
            Rectified::NotHeld => (Said::NotHeld, 0),
            Rectified::Derived => (Said::Derived, 0),
        };
        Ok(Response::new(proto::RectifyResponse { rectified: said.into(), rows }))
    }

    async fn restrict(
        &self,
        request: Request<proto::RestrictRequest>,
    ) -> Result<Response<proto::RestrictResponse>, Status> {
        let allowed = Allowed::<can::PersonalWrite>::from_grpc(&request)?;
        let request = request.into_inner();
        let store = self.named(&request.store)?;
        if let Some(subject) = self.one(&allowed.tenant, &request.source_id, request.person).await? {
            let done = match request.profiling_alone {
                true => store.object(&subject, request.on).await,
                false => store.restrict(&subject, request.on).await,
            };
            done.map_err(PersonalError::from)?;
        }
        Ok(Response::new(proto::RestrictResponse {}))
    }

    async fn expire(&self, request: Request<proto::ExpireRequest>) -> Result<Response<proto::ExpireResponse>, Status> {
        let allowed = Allowed::<can::RetentionWrite>::from_grpc(&request)?;
        let request = request.into_inner();
        let store = self.named(&request.store)?;
        let cutoffs = Cutoffs {
            now: UnixMillis(request.now_ms),
            sessions: UnixMillis(request.sessions_ms),
            marketing: UnixMillis(request.marketing_ms),
            customers: UnixMillis(request.customers_ms),
            audit: UnixMillis(request.audit_ms),
        };
        let limit = request.limit.min(EXPIRED_MAX);
        let expired = store.expire(&allowed.tenant, &cutoffs, limit, request.dry).await.map_err(PersonalError::from)?;
        let oldest_ms = expired.oldest.map(|oldest| oldest.0);
        Ok(Response::new(proto::ExpireResponse { rows: expired.rows, oldest_ms }))
    }
}

fn read(person: proto::Person) -> Result<Person, Status> {
    let wrong = |_| Status::from(Problem::invalid("person.handle", "is not a UUID"));
    Ok(Person { handle: person.handle.parse().map_err(wrong)?, customer_id: person.customer_id })
}

impl From<PersonalError> for Status {
    fn from(error: PersonalError) -> Self {
        let is_away = match &error {
            PersonalError::Store(error) | PersonalError::Keys(KeysError::Store(error)) => error.is_unavailable(),
            PersonalError::Keys(_) => true,
        };
        if !is_away {
            return Problem::internal(&error).into();
        }
        tracing::warn!(%error, "personal data is away");
        Problem::unavailable("store_unavailable", "The database or its keys do not answer.", RETRY_AFTER).into()
    }
}
