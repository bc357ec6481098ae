//! Everything around engage, and the calls of a client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Request, StatusCode};
use kiki_kit::authorisation::Authenticator;
use kiki_kit::clock::{Clock as _, ManualClock};
use kiki_kit::inprocess::{Transport, in_process};
use kiki_kit::service::{HttpService, Limits, Platform};
use kiki_kit::shutdown::{Shutdown, Tasks};
use kiki_proto::value::v1 as value;
use kiki_proto::value::v1::predict_ltv_request::Who;
use kiki_proto::value::v1::value_service_server::{ValueService, ValueServiceServer};
use kiki_store::Store;
use kiki_store::testing::{People, RandomIds};
use kiki_types::{Principal, TenantId, UnixMillis};
use serde_json::{Value, json};
use tonic::service::Routes;
use tonic::{Response, Status};
use tower::ServiceExt as _;

use super::shield::FakeShield;
use crate::engage::{Connect, Engage, MailSender, Needs, OutgoingMail, Pseudonyms, SendError, api};

const NOW: UnixMillis = UnixMillis(1_770_000_000_000);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// So many customers, `00001` and on, worth 1.00 each by number, alive with 0.50.
#[derive(Clone)]
pub(super) struct FakeValue(pub(super) Arc<Mutex<Option<usize>>>);

#[tonic::async_trait]
impl ValueService for FakeValue {
    async fn predict_ltv(
        &self,
        request: tonic::Request<value::PredictLtvRequest>,
    ) -> Result<Response<value::PredictLtvResponse>, Status> {
        let count = self.0.lock().unwrap().ok_or_else(|| Status::unavailable("away on purpose"))?;
        let Some(Who::CustomerId(id)) = request.into_inner().who else { return Err(Status::invalid_argument("who")) };
        match id.parse() {
            Ok(number) if number <= count => Ok(Response::new(prediction(number))),
            _ => Err(Status::not_found("no such customer")),
        }
    }

    async fn predict_ltv_batch(
        &self,
        _: tonic::Request<value::PredictLtvBatchRequest>,
    ) -> Result<Response<value::PredictLtvBatchResponse>, Status> {
        Err(Status::unimplemented("not asked by engage"))
    }

    type PredictLTVStreamStream = BoxStream<'static, Result<value::PredictLtvResponse, Status>>;

    async fn predict_ltv_stream(
        &self,
        _: tonic::Request<tonic::Streaming<value::PredictLtvRequest>>,
    ) -> Result<Response<Self::PredictLTVStreamStream>, Status> {
        Err(Status::unimplemented("not asked by engage"))
    }

    async fn predict_churn(
        &self,
        _: tonic::Request<value::PredictLtvRequest>,
    ) -> Result<Response<value::PredictChurnResponse>, Status> {
        Err(Status::unimplemented("not asked by engage"))
    }

    async fn predict_cohort(
        &self,
        _: tonic::Request<value::PredictCohortRequest>,
    ) -> Result<Response<value::PredictCohortResponse>, Status> {
        Err(Status::unimplemented("not asked by engage"))
    }

    async fn get_baseline(
        &self,
        _: tonic::Request<value::GetBaselineRequest>,
    ) -> Result<Response<value::GetBaselineResponse>, Status> {
        Err(Status::unimplemented("not asked by engage"))
    }

    async fn get_drift(
        &self,
        _: tonic::Request<value::GetDriftRequest>,
    ) -> Result<Response<value::GetDriftResponse>, Status> {
        Err(Status::unimplemented("not asked by engage"))
    }

    /// Pages of 30, so that an audience has several.
    async fn select_customers(
        &self,
        request: tonic::Request<value::SelectCustomersRequest>,
    ) -> Result<Response<value::SelectCustomersResponse>, Status> {
        let count = self.0.lock().unwrap().ok_or_else(|| Status::unavailable("away on purpose"))?;
        let request = request.into_inner();
        let first: usize = if request.page_token.is_empty() { 1 } else { request.page_token.parse().unwrap() };
        let last = (first + 29).min(count);
        let wanted = |customer: &value::PredictLtvResponse| request.value_min.is_none_or(|min| customer.value >= min);
        Ok(Response::new(value::SelectCustomersResponse {
            customers: (first..=last).map(prediction).filter(wanted).collect(),
            next_page_token: if last < count { (last + 1).to_string() } else { String::new() },
            customers_known: i64::try_from(count).unwrap(),
        }))
    }
}

fn prediction(number: usize) -> value::PredictLtvResponse {
    value::PredictLtvResponse {
        customer_id: customer(number),
        probability_alive: 0.5,
        value: u32::try_from(number).unwrap().into(),
        ..value::PredictLtvResponse::default()
    }
}

pub(super) fn customer(number: usize) -> String {
    format!("{number:05}")
}

/// Whether the provider has the message in whose sending the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    Before,
    Never,
}

/// A provider that keeps each message once and fails where it is told to.
#[derive(Default)]
pub(super) struct FakeMail {
    pub(super) received: Mutex<BTreeMap<String, OutgoingMail>>,
    pub(super) calls: Mutex<Vec<OutgoingMail>>,
    pub(super) failing: Mutex<BTreeMap<String, SendError>>,
    /// Lets go of the process's tasks when it is given a message: the process dies before it hears of it.
    pub(super) crash: Mutex<Option<(Shutdown, Receipt)>>,
}

impl MailSender for FakeMail {
    fn send(&self, mail: OutgoingMail) -> BoxFuture<'static, Result<(), SendError>> {
        self.calls.lock().unwrap().push(mail.clone());
        if let Some(error) = self.failing.lock().unwrap().get(&mail.customer_id) {
            return std::future::ready(Err(*error)).boxed();
        }
        let crash = self.crash.lock().unwrap().clone();
        if !crash.as_ref().is_some_and(|(_, receipt)| *receipt == Receipt::Never) {
            self.received.lock().unwrap().entry(mail.id.to_string()).or_insert(mail);
        }
        if let Some((shutdown, _)) = crash {
            shutdown.abort();
            return std::future::pending().boxed();
        }
        std::future::ready(Ok(())).boxed()
    }
}

/// One process of engage and what surrounds it.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) people: Arc<People>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) shutdown: Shutdown,
    pub(super) tasks: Tasks,
    pub(super) shield: FakeShield,
    pub(super) value: FakeValue,
    pub(super) mail: Arc<FakeMail>,
    pub(super) service: HttpService,
}

impl World {
    /// A world with `customers`, who all consented.
    pub(super) async fn new(store: &Store, customers: usize) -> Self {
        let shield = FakeShield::default();
        shield.0.lock().unwrap().consented = (1..=customers).map(customer).collect();
        let value = FakeValue(Arc::new(Mutex::new(Some(customers))));
        let people = Arc::new(People::of(store).await);
        Self::around(store, people, shield, value, Arc::default(), Arc::new(ManualClock::at(NOW)))
    }

    /// The next process, after this one ended.
    pub(super) fn restarted(&self) -> Self {
        *self.mail.crash.lock().unwrap() = None;
        let (mail, clock) = (Arc::clone(&self.mail), Arc::clone(&self.clock));
        let people = Arc::clone(&self.people);
        Self::around(&self.store, people, self.shield.clone(), self.value.clone(), mail, clock)
    }

    fn around(
        store: &Store,
        people: Arc<People>,
        shield: FakeShield,
        value: FakeValue,
        mail: Arc<FakeMail>,
        clock: Arc<ManualClock>,
    ) -> Self {
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let platform = Platform {
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            authenticator: Authenticator::new(Vec::new(), false),
            shutdown: shutdown.clone(),
            limits: Limits::default(),
        };
        let connect = |name, routes: Routes| -> Connect {
            let router = HttpService::builder(name, "0.0.0", &platform).grpc(routes).build().router();
            Arc::new(move |tenant: &TenantId| {
                Some(in_process(router.clone(), Principal::service(tenant.clone(), "engage")))
            })
        };
        let engage = Engage::new(Needs {
            store: store.clone(),
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            tasks: tasks.clone(),
            shield: connect("shield", shield.routes()),
            value: connect("value", Routes::new(ValueServiceServer::new(value.clone()))),
            mail: mail.clone(),
            subjects: (**people).clone(),
            pseudonyms: Pseudonyms {
                actor: Arc::new(|_, name| format!("actor-{}", name.len())),
                request_id: Arc::new(|_, id| format!("request-{}", id.len())),
                request_key: Arc::new(keyed),
            },
            mail_from: "hello@shop.example".to_owned(),
        });
        let service = HttpService::builder("engage", "0.0.0", &platform).api(api::api(engage)).build();
        Self { store: store.clone(), people, clock, shutdown, tasks, shield, value, mail, service }
    }

    /// The way to the stand-in for shield, for the relay.
    pub(super) fn shield_transport(&self) -> Transport {
        let platform = Platform {
            clock: self.clock.clone(),
            ids: Arc::new(RandomIds),
            authenticator: Authenticator::new(Vec::new(), false),
            shutdown: Shutdown::new(),
            limits: Limits::default(),
        };
        let router = HttpService::builder("shield", "0.0.0", &platform).grpc(self.shield.routes()).build().router();
        in_process(router, Principal::service(TenantId::default_tenant(), "engage"))
    }

    pub(super) async fn answer(&self, mut request: Request<Body>, who: Principal) -> http::Response<Body> {
        request.extensions_mut().insert(Arc::new(who));
        self.service.router().oneshot(request).await.unwrap()
    }

    pub(super) async fn send(&self, request: Request<Body>, who: Principal) -> (StatusCode, Value) {
        let response = self.answer(request, who).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), 10 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Request::get(path).body(Body::empty()).unwrap(), Principal::local_operator()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value, key: Option<&str>) -> (StatusCode, Value) {
        let mut request = Request::post(path).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request.body(body).unwrap(), Principal::local_operator()).await
    }

    /// Creates a campaign to everybody at 1.00 each within `budget`; returns its id.
    pub(super) async fn campaign(&self, budget: &str) -> String {
        let (status, campaign) = self.post("/campaigns", &new_campaign(budget), None).await;
        assert_eq!(status, StatusCode::CREATED, "{campaign}");
        campaign["id"].as_str().unwrap().to_owned()
    }

    /// Runs a campaign to the end of the run; returns it with its outcomes.
    pub(super) async fn run(&self, id: &str) -> Value {
        let (status, campaign) = self.post(&format!("/campaigns/{id}/run"), &Value::Null, None).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{campaign}");
        self.ended(id).await
    }

    /// Waits until the campaign is not being run.
    pub(super) async fn ended(&self, id: &str) -> Value {
        let path = format!("/campaigns/{id}?limit=1000");
        let ended = async {
            loop {
                let (_, campaign) = self.get(&path).await;
                if campaign["status"] != "running" {
                    return campaign;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT_MAX, ended).await.unwrap()
    }

    pub(super) fn received(&self) -> usize {
        self.mail.received.lock().unwrap().len()
    }

    /// Lets so much time pass that a run which is silent has lost its lease.
    pub(super) fn outlast_the_lease(&self) {
        self.clock.advance(Duration::from_secs(600));
        assert!(self.clock.now() > NOW);
    }
}

/// A keyed hash.
fn keyed(tenant: &TenantId, text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    format!("{:x}", Sha256::digest(format!("a secret{tenant} {text}")))
}

pub(super) fn new_campaign(budget: &str) -> Value {
    json!({
        "name": "Win-back",
        "template": {"subject": "We miss you, {customer_id}", "body": "You are worth {value} ({probability_alive})."},
        "cost_per_message": {"amount": "1", "currency": "USD"},
        "budget": {"amount": budget, "currency": "USD"},
    })
}

/// What became of one customer.
pub(super) fn outcome<'a>(campaign: &'a Value, customer_id: &str) -> &'a Value {
    let outcomes = campaign["outcomes"].as_array().unwrap();
    outcomes.iter().find(|outcome| outcome["customer_id"] == customer_id).unwrap()
}
