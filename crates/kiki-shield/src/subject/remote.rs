//! A store of another service, reached as the services reach each other: in process or over the network.
//!
//! A service that shares shield's database knows people by the same handles. Another one is told customer ids as well, and
//! destroys the keys of its own; once a person's key is destroyed here there is no id to tell, and it is asked by handle.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_kit::inprocess::Transport;
use kiki_proto::privacy::v1::personal_data_service_client::PersonalDataServiceClient;
use kiki_proto::privacy::v1::rectify_response::Rectified as Said;
use kiki_proto::privacy::v1::{EraseRequest, ExpireRequest, ExportRequest, Person, RectifyRequest, RestrictRequest};
use kiki_store::Store;
use kiki_store::StoreError;
use kiki_store::personal::{
    Cutoffs, Declared, Document, Expired, PersonalStore, Rectified, Subject, SubjectId, Subjects,
};
use kiki_types::{TenantId, UnixMillis};
use serde::Deserialize;
use serde_json::{Map, Value};
use tonic::{Code, Status};

/// People of one call at the most.
const PEOPLE_MAX: usize = 500;
/// Bytes of what a store tells of one person at the most.
const EXPORT_BYTES_MAX: usize = 64 << 20;

/// The way to a service, for a tenant; `None` where there is none.
pub type Connect = Arc<dyn Fn(&TenantId) -> Option<Transport> + Send + Sync>;

/// A store of another service.
pub struct RemoteStore {
    declared: &'static Declared,
    connect: Connect,
    subjects: Subjects,
    store: Store,
}

/// A document on its way.
#[derive(Deserialize)]
struct Told {
    name: String,
    provided: bool,
    rows: Vec<Map<String, Value>>,
}

impl RemoteStore {
    /// The store `declared` of the service that `connect` leads to. `subjects` and `store` are those of this process.
    #[must_use]
    pub fn new(declared: &'static Declared, connect: Connect, subjects: Subjects, store: Store) -> Self {
        Self { declared, connect, subjects, store }
    }

    fn client(&self, tenant: &TenantId) -> Result<PersonalDataServiceClient<Transport>, StoreError> {
        let transport = (self.connect)(tenant).ok_or_else(|| self.away("there is no way to it for this tenant"))?;
        Ok(PersonalDataServiceClient::new(transport))
    }

    fn away(&self, why: &str) -> StoreError {
        StoreError::Peer { service: self.declared.service, is_away: true, why: why.to_owned() }
    }

    /// A status tells what the other service says to nobody but its callers; its text is not kept.
    fn failed(&self, status: &Status) -> StoreError {
        let is_away = matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted);
        StoreError::Peer { service: self.declared.service, is_away, why: format!("{:?}", status.code()) }
    }

    async fn source(&self) -> Result<String, StoreError> {
        Ok(self.store.source_id().await?.to_string())
    }

    async fn people(&self, tenant: &TenantId, who: &[SubjectId]) -> Result<Vec<Person>, StoreError> {
        let known = self.subjects.by_id(tenant, who).await?;
        let name = |id: &SubjectId| known.iter().find(|one| one.id == *id).map(|one| one.name().to_owned());
        Ok(who.iter().map(|id| Person { handle: id.to_string(), customer_id: name(id).unwrap_or_default() }).collect())
    }
}

fn person(who: &Subject) -> Option<Person> {
    Some(Person { handle: who.id.to_string(), customer_id: who.name().to_owned() })
}

impl PersonalStore for RemoteStore {
    fn declared(&self) -> &'static Declared {
        self.declared
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let (store, source_id) = (self.declared.name.to_owned(), self.source().await?);
            let request = ExportRequest { store, source_id, person: person(who) };
            let told = self.client(&who.tenant)?.export(request).await;
            let mut told = told.map_err(|status| self.failed(&status))?.into_inner();
            let mut text = Vec::new();
            while let Some(answer) = told.message().await.map_err(|status| self.failed(&status))? {
                text.extend(answer.part);
                if text.len() > EXPORT_BYTES_MAX {
                    return Err(self.away("it tells more than is taken"));
                }
            }
            let told: Vec<Told> =
                serde_json::from_slice(&text).map_err(|error| super::service::unreadable("export", &error))?;
            let document = |Told { name, provided, rows }| Document { name, provided, rows };
            Ok(told.into_iter().map(document).collect())
        }
        .boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let mut rows = 0;
            for who in who.chunks(PEOPLE_MAX) {
                let (store, source_id) = (self.declared.name.to_owned(), self.source().await?);
                let request = EraseRequest { store, source_id, people: self.people(tenant, who).await? };
                let erased = self.client(tenant)?.erase(request).await;
                rows += erased.map_err(|status| self.failed(&status))?.into_inner().rows;
            }
            Ok(rows)
        }
        .boxed()
    }

    fn rectify<'a>(
        &'a self,
        who: &'a Subject,
        correction: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Rectified, StoreError>> {
        async move {
            let (store, source_id) = (self.declared.name.to_owned(), self.source().await?);
            let correction = serde_json::to_string(correction).unwrap_or_default();
            let request = RectifyRequest { store, source_id, person: person(who), correction };
            let answer = self.client(&who.tenant)?.rectify(request).await;
            let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
            match answer.rectified() {
                Said::Changed => Ok(Rectified::Changed(answer.rows)),
                Said::Derived => Ok(Rectified::Derived),
                Said::NotHeld => Ok(Rectified::NotHeld),
                Said::Unspecified => Err(self.away("it does not say what became of a correction")),
            }
        }
        .boxed()
    }

    fn restrict<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let (store, source_id) = (self.declared.name.to_owned(), self.source().await?);
            let request = RestrictRequest { store, source_id, person: person(who), on };
            let answer = self.client(&who.tenant)?.restrict(request).await;
            answer.map(|_| ()).map_err(|status| self.failed(&status))
        }
        .boxed()
    }

    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        async move {
            let request = ExpireRequest {
                store: self.declared.name.to_owned(),
                now_ms: cutoffs.now.0,
                sessions_ms: cutoffs.sessions.0,
                marketing_ms: cutoffs.marketing.0,
                customers_ms: cutoffs.customers.0,
                audit_ms: cutoffs.audit.0,
                limit,
                dry,
            };
            let answer = self.client(tenant)?.expire(request).await;
            let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
            Ok(Expired { rows: answer.rows, oldest: answer.oldest_ms.map(UnixMillis) })
        }
        .boxed()
    }
}
