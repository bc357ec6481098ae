//! The stores of another service, reached as the services reach each other.
//!
//! A service that shares shield's database knows people by the same handles. Another one is told customer ids as well, and
//! destroys the keys of its own; once a person's key is destroyed here there is no id to tell, and it fails to erase them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_kit::inprocess::Transport;
use kiki_proto::privacy::v1::personal_data_service_client::PersonalDataServiceClient;
use kiki_proto::privacy::v1::rectify_response::Rectified as Said;
use kiki_proto::privacy::v1::{
    DeclareRequest, DeclareResponse, EraseRequest, ExportRequest, Person, RectifyRequest, RestrictRequest,
};
use kiki_store::Store;
use kiki_store::StoreError;
use kiki_store::personal::{Declared, Document, PersonalStore, Rectified, Subject, SubjectId, Subjects};
use kiki_types::TenantId;
use serde::Deserialize;
use serde_json::{Map, Value};
use tonic::{Code, Status};

/// People of one call at the most.
const PEOPLE_MAX: usize = 500;
/// Stores of one service at the most.
const STORES_MAX: usize = 64;
/// Bytes of what a store tells of one person at the most.
const EXPORT_BYTES_MAX: usize = 64 << 20;

/// The way to a service, for a tenant; `None` where there is none.
pub type Connect = Arc<dyn Fn(&TenantId) -> Option<Transport> + Send + Sync>;

/// All stores of another service, as one: what it has, it is asked each time. It keeps to its own times.
pub struct RemoteStores {
    declared: &'static Declared,
    connect: Connect,
    subjects: Subjects,
    store: Store,
    /// Whether it said that it shares this process's database when it was asked last.
    is_shared: AtomicBool,
}

/// A document on its way.
#[derive(Deserialize)]
struct Told {
    name: String,
    provided: bool,
    rows: Vec<Map<String, Value>>,
}

impl RemoteStores {
    /// The stores of the service `name` that `connect` leads to. `subjects` and `store` are those of this process. Made
    /// once for each service of the configuration: what it declares is kept for the life of the process.
    #[must_use]
    pub fn new(name: &str, connect: Connect, subjects: Subjects, store: Store) -> Self {
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        let declared = Box::leak(Box::new(Declared { name, service: name, tables: &[], files: &[] }));
        Self { declared, connect, subjects, store, is_shared: AtomicBool::new(false) }
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

    /// The names of the stores that the service has now.
    async fn stores(&self, tenant: &TenantId) -> Result<Vec<String>, StoreError> {
        let declared = self.client(tenant)?.declare(DeclareRequest {}).await;
        let DeclareResponse { source_id, stores } = declared.map_err(|status| self.failed(&status))?.into_inner();
        self.is_shared.store(source_id == self.source().await?, Ordering::SeqCst);
        if stores.len() > STORES_MAX {
            return Err(self.away("it has more stores than are asked"));
        }
        Ok(stores)
    }

    async fn people(&self, tenant: &TenantId, who: &[SubjectId]) -> Result<Vec<Person>, StoreError> {
        let known = self.subjects.by_id(tenant, who).await?;
        let names: HashMap<_, _> = known.iter().map(|one| (one.id, one.name())).collect();
        let name = |id: &SubjectId| names.get(id).map(|name| (*name).to_owned()).unwrap_or_default();
        Ok(who.iter().map(|id| Person { handle: id.to_string(), customer_id: name(id) }).collect())
    }

    /// Keeps `who` out of processing, or, with `profiling_alone`, of profiles.
    async fn keep_out(&self, who: &Subject, on: bool, profiling_alone: bool) -> Result<(), StoreError> {
        let source_id = self.source().await?;
        for store in self.stores(&who.tenant).await? {
            let (source_id, person) = (source_id.clone(), person(who));
            let request = RestrictRequest { store, source_id, person, on, profiling_alone };
            self.client(&who.tenant)?.restrict(request).await.map_err(|status| self.failed(&status))?;
        }
        Ok(())
    }

    async fn told(&self, store: String, who: &Subject) -> Result<Vec<Document>, StoreError> {
        let request = ExportRequest { store: store.clone(), source_id: self.source().await?, person: person(who) };
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
        let document = |Told { name, provided, rows }| Document { name: format!("{store}-{name}"), provided, rows };
        Ok(told.into_iter().map(document).collect())
    }
}

fn person(who: &Subject) -> Option<Person> {
    Some(Person { handle: who.id.to_string(), customer_id: who.name().to_owned() })
}

impl PersonalStore for RemoteStores {
    fn declared(&self) -> &'static Declared {
        self.declared
    }

    fn knows_handles(&self) -> bool {
        self.is_shared.load(Ordering::SeqCst)
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let mut documents = Vec::new();
            for store in self.stores(&who.tenant).await? {
                documents.extend(self.told(store, who).await?);
            }
            Ok(documents)
        }
        .boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let (stores, source_id) = (self.stores(tenant).await?, self.source().await?);
            let mut rows = 0;
            for who in who.chunks(PEOPLE_MAX) {
                let people = self.people(tenant, who).await?;
                // It would find nobody, say so, and keep what it has of them.
                if !self.knows_handles() && people.iter().any(|person| person.customer_id.is_empty()) {
                    return Err(StoreError::Unnamed { service: self.declared.service });
                }
                for store in stores.clone() {
                    let request = EraseRequest { store, source_id: source_id.clone(), people: people.clone() };
                    let erased = self.client(tenant)?.erase(request).await;
                    rows += erased.map_err(|status| self.failed(&status))?.into_inner().rows;
                }
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
            let (source_id, mut changed, mut is_derived) = (self.source().await?, 0, false);
            let correction = serde_json::to_string(correction).unwrap_or_default();
            for store in self.stores(&who.tenant).await? {
                let (source_id, correction) = (source_id.clone(), correction.clone());
                let request = RectifyRequest { store, source_id, person: person(who), correction };
                let answer = self.client(&who.tenant)?.rectify(request).await;
                let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
                match answer.rectified() {
                    Said::Changed => changed += answer.rows,
                    Said::Derived => is_derived = true,
                    Said::NotHeld => {}
                    Said::Unspecified => return Err(self.away("it does not say what became of a correction")),
                }
            }
            Ok(match (changed, is_derived) {
                (_, true) => Rectified::Derived,
                (0, false) => Rectified::NotHeld,
                (rows, false) => Rectified::Changed(rows),
            })
        }
        .boxed()
    }

    fn restrict<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        self.keep_out(who, on, false).boxed()
    }

    fn object<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        self.keep_out(who, on, true).boxed()
    }
}
