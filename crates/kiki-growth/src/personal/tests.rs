//! Over gRPC, as the service that answers requests asks: from the same database, and from another one.

use std::sync::Arc;

use kiki_kit::authorisation::Authenticator;
use kiki_kit::clock::ManualClock;
use kiki_kit::inprocess::{Transport, in_process};
use kiki_kit::service::{HttpService, Limits, Platform};
use kiki_kit::shutdown::Shutdown;
use kiki_proto::privacy::v1 as proto;
use kiki_proto::privacy::v1::personal_data_service_client::PersonalDataServiceClient;
use kiki_proto::privacy::v1::rectify_response::Rectified as Said;
use kiki_store::Store;
use kiki_store::personal::held::{AboutNobody, OUTBOX, People as PeopleStore};
use kiki_store::testing::{People, RandomIds, on_both};
use kiki_types::{Principal, UnixMillis};
use serde_json::{Value, json};
use tonic::Code;
use tonic::service::Routes;

use super::*;

struct World {
    people: People,
    source: String,
    client: PersonalDataServiceClient<Transport>,
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

impl World {
    async fn new(store: &Store) -> Self {
        let people = People::of(store).await;
        let own = PeopleStore { store: store.clone(), subjects: (*people).clone() };
        let stores = Stores::new(vec![Arc::new(own), Arc::new(AboutNobody(&OUTBOX))]).unwrap();
        let data = PersonalData { store: store.clone(), subjects: (*people).clone(), stores };
        let platform = Platform {
            clock: Arc::new(ManualClock::at(UnixMillis(0))),
            ids: Arc::new(RandomIds),
            authenticator: Authenticator::new(Vec::new(), false),
            shutdown: Shutdown::new(),
            limits: Limits::default(),
        };
        let service = HttpService::builder("engage", "0.0.0", &platform).grpc(Routes::new(service(data))).build();
        let caller = Principal::service(tenant(), "kiki-shield");
        let client = PersonalDataServiceClient::new(in_process(service.router(), caller));
        Self { people, source: store.source_id().await.unwrap().to_string(), client }
    }

    async fn minted(&self, name: &str) -> Subject {
        self.people.resolve(&tenant(), name, Mint::Yes).await.unwrap().unwrap()
    }

    async fn told(&self, source: &str, person: proto::Person) -> Value {
        let request =
            proto::ExportRequest { store: "subjects".to_owned(), source_id: source.to_owned(), person: Some(person) };
        let mut parts = self.client.clone().export(request).await.unwrap().into_inner();
        let mut text = Vec::new();
        while let Some(part) = parts.message().await.unwrap() {
            text.extend(part.part);
        }
        serde_json::from_slice(&text).unwrap()
    }

    async fn erase(&self, source: &str, people: Vec<proto::Person>) {
        let request = proto::EraseRequest { store: "outbox".to_owned(), source_id: source.to_owned(), people };
        self.client.clone().erase(request).await.unwrap();
    }

    async fn is_known(&self, name: &str) -> bool {
        self.people.resolve(&tenant(), name, Mint::No).await.unwrap().is_some()
    }
}

fn person<T: Into<uuid::Uuid>>(handle: T, customer_id: &str) -> proto::Person {
    proto::Person { handle: handle.into().to_string(), customer_id: customer_id.to_owned() }
}

#[tokio::test]
async fn who_asks_from_the_same_database_means_handles_and_destroys_the_key_itself() {
    on_both(async |db| {
        let world = World::new(&db.store).await;
        let ann = world.minted("ann").await;
        let told = world.told(&world.source, person(ann.id.uuid(), "")).await;
        assert_eq!(told[0]["rows"][0]["customer_id"], json!("ann"));
        let nobody = uuid::Uuid::nil();
        assert_eq!(world.told(&world.source, person(nobody, "ann")).await, json!([]), "the handle counts");
        world.erase(&world.source, vec![person(ann.id.uuid(), "")]).await;
        assert!(world.is_known("ann").await);
    })
    .await;
}

#[tokio::test]
async fn who_asks_from_another_database_means_customer_ids_and_an_erasure_destroys_the_keys_here() {
    on_both(async |db| {
        let world = World::new(&db.store).await;
        world.minted("ann").await;
        world.minted("bob").await;
        let (elsewhere, there) = ("another database", uuid::Uuid::from_u128(7));
        let told = world.told(elsewhere, person(there, "ann")).await;
        assert_eq!(told[0]["rows"][0]["customer_id"], json!("ann"));
        for _ in 0..2 {
            world.erase(elsewhere, vec![person(there, "ann"), person(there, ""), person(there, "nobody")]).await;
        }
        assert_eq!(
            (world.is_known("ann").await, world.is_known("bob").await, world.is_known("nobody").await),
            (false, true, false)
        );
        assert_eq!(world.told(elsewhere, person(there, "ann")).await, json!([]));
    })
    .await;
}

#[tokio::test]
async fn a_person_is_restricted_and_corrected_where_they_are_known() {
    let db = kiki_store::testing::TestDb::sqlite().await;
    let world = World::new(&db.store).await;
    let ann = world.minted("ann").await;
    let mut client = world.client.clone();
    for (id, on) in [(ann.id.uuid(), true), (uuid::Uuid::nil(), false)] {
        let (store, source_id, person) = ("subjects".to_owned(), world.source.clone(), Some(person(id, "ann")));
        client.restrict(proto::RestrictRequest { store, source_id, person, on, profiling_alone: false }).await.unwrap();
        assert!(world.minted("ann").await.restricted, "nobody else changes it");
    }
    let (store, source_id, who) = ("subjects".to_owned(), world.source.clone(), Some(person(ann.id.uuid(), "ann")));
    let objection = proto::RestrictRequest { store, source_id, person: who, on: true, profiling_alone: true };
    client.restrict(objection).await.unwrap();
    assert!(world.minted("ann").await.objected);
    let rectify = |correction: &str| proto::RectifyRequest {
        store: "subjects".to_owned(),
        source_id: world.source.clone(),
        person: Some(person(ann.id.uuid(), "")),
        correction: correction.to_owned(),
    };
    let answer = client.rectify(rectify("{}")).await.unwrap().into_inner();
    assert_eq!(answer.rectified(), Said::NotHeld);
    assert_eq!(client.rectify(rectify("[]")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    let db = kiki_store::testing::TestDb::sqlite().await;
    let world = World::new(&db.store).await;
    let mut client = world.client.clone();
    let declared = client.declare(proto::DeclareRequest {}).await.unwrap().into_inner();
    assert_eq!(
        declared,
        proto::DeclareResponse {
            source_id: world.source.clone(),
            stores: vec!["subjects".to_owned(), "outbox".to_owned()],
        }
    );
    let erase = |store: &str, people: Vec<proto::Person>| proto::EraseRequest {
        store: store.to_owned(),
        source_id: world.source.clone(),
        people,
    };
    let id = uuid::Uuid::nil();
    let nameless = proto::Person { handle: "ann".to_owned(), customer_id: String::new() };
    for (request, code) in [
        (erase("nothing", vec![]), Code::NotFound),
        (erase("subjects", vec![nameless]), Code::InvalidArgument),
        (erase("subjects", vec![person(id, ""); PEOPLE_TOO_MANY]), Code::InvalidArgument),
    ] {
        assert_eq!(client.erase(request).await.unwrap_err().code(), code);
    }
}

const PEOPLE_TOO_MANY: usize = 501;
