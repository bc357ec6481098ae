//! A small service that does each thing that a service may do, and ways to ask it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use kiki_kit::authorisation::{Allowed, ApiKey, Authenticator, RemoteNetwork, can};
use kiki_kit::clock::ManualClock;
use kiki_kit::context::outgoing_headers;
use kiki_kit::extract::{Json, JsonOrQuery, Path, Query};
use kiki_kit::ids::CountingIds;
use kiki_kit::problem::Problem;
use kiki_kit::service::{Dependency, HttpService, HttpServiceBuilder, Limits, Platform};
use kiki_kit::shutdown::Shutdown;
use kiki_types::id::CampaignId;
use kiki_types::principal::PermissionSet;
use kiki_types::{Permission, Principal, TenantId, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) const KEY: &str = "a-key-that-may-all";
pub(crate) const READER: &str = "a-key-that-may-read";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Grant {
    customer_id: String,
    times: Option<u32>,
    inner: Option<Inner>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
struct Inner {
    amount: u32,
}

#[utoipa::path(post, path = "/grant", request_body = Grant, responses((status = 200, body = Grant)))]
async fn grant(_: Allowed<can::ConsentWrite>, JsonOrQuery(grant): JsonOrQuery<Grant>) -> Json<Grant> {
    Json(grant)
}

#[utoipa::path(post, path = "/json", request_body = Grant, responses((status = 200, body = Grant)))]
async fn json(Json(grant): Json<Grant>) -> Json<Grant> {
    Json(grant)
}

#[utoipa::path(get, path = "/items/{id}", params(("id" = u32, Path)), responses((status = 200, body = Value)))]
async fn item(who: Allowed<can::SpendRead>, Path(id): Path<u32>, Query(page): Query<Page>) -> Json<Value> {
    Json(serde_json::json!({ "id": id, "page": page.page, "who": who.name }))
}

#[utoipa::path(get, path = "/campaigns/{id}", params(("id" = String, Path)), responses((status = 200)))]
async fn campaign(Path(_): Path<CampaignId>) {}

#[derive(Deserialize)]
struct Page {
    page: Option<u32>,
}

#[utoipa::path(get, path = "/panic", responses((status = 200)))]
async fn panics() {
    panic!("on purpose, with a secret");
}

#[utoipa::path(get, path = "/hang", responses((status = 200)))]
async fn hang(JsonOrQuery(_): JsonOrQuery<Value>) {
    std::future::pending::<()>().await;
}

#[utoipa::path(get, path = "/fail", responses((status = 200)))]
async fn fail() -> Problem {
    Problem::internal(&std::io::Error::other("password=hunter2"))
}

#[utoipa::path(get, path = "/around", responses((status = 200, body = Value)))]
async fn around(RemoteNetwork(network): RemoteNetwork) -> Json<Value> {
    let headers = outgoing_headers();
    let sent = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    Json(serde_json::json!({ "network": network, "id": sent("x-request-id"), "trace": sent("traceparent") }))
}

/// Lets a test decide when an answer comes.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) entered: Arc<tokio::sync::Notify>,
    pub(crate) open: Arc<tokio::sync::Notify>,
}

#[utoipa::path(get, path = "/gate", responses((status = 200, body = String)))]
async fn gate(State(gate): State<Gate>) -> &'static str {
    gate.entered.notify_one();
    gate.open.notified().await;
    "through"
}

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) platform: Platform,
    pub(crate) gate: Gate,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis(1_770_287_400_000)));
        let principal = Principal::service(TenantId::default_tenant(), "engage");
        let reader = Principal { permissions: PermissionSet::from_iter([Permission::SpendRead]), ..principal.clone() };
        let platform = Platform {
            clock: clock.clone(),
            ids: Arc::new(CountingIds::default()),
            authenticator: Authenticator::new(vec![ApiKey::new(KEY, principal), ApiKey::new(READER, reader)], false),
            shutdown: Shutdown::new(),
            limits: Limits { request_time_max: Duration::from_secs(600), ..Limits::default() },
        };
        Self { clock, platform, gate: Gate::default() }
    }

    pub(crate) fn with_local_operator(mut self) -> Self {
        self.platform.authenticator = Authenticator::new(Vec::new(), true);
        self
    }

    pub(crate) fn builder(&self) -> HttpServiceBuilder {
        let api = OpenApiRouter::default()
            .routes(routes!(grant))
            .routes(routes!(json))
            .routes(routes!(item))
            .routes(routes!(campaign))
            .routes(routes!(panics))
            .routes(routes!(hang))
            .routes(routes!(fail))
            .routes(routes!(around))
            .routes(routes!(gate))
            .with_state(self.gate.clone());
        HttpService::builder("sample", "1.2.3", &self.platform).api(api)
    }

    pub(crate) fn service(&self) -> HttpService {
        self.builder().build()
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Response {
        ask(&self.service(), request).await
    }
}

pub(crate) async fn ask(service: &HttpService, request: Request<Body>) -> Response {
    service.router().oneshot(request).await.unwrap()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("x-internal-api-key", KEY).body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header("x-internal-api-key", KEY).header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

pub(crate) async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

pub(crate) async fn value(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// The status, the code and the field of a problem, which must be a whole one.
pub(crate) async fn problem(response: Response) -> (StatusCode, String, Option<String>) {
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = response.headers()["x-request-id"].clone();
    let problem = value(response).await;
    assert_eq!(problem["status"], status.as_u16());
    assert_eq!(problem["request_id"], id.to_str().unwrap());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    let field = problem["field"].as_str().map(str::to_owned);
    (status, problem["code"].as_str().unwrap().to_owned(), field)
}

pub(crate) fn down(name: &'static str) -> Dependency {
    Dependency::required(name, || async { Err("refused") })
}
