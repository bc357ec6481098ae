//! The service over one database, and its callers.

use std::sync::{Arc, OnceLock};

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use kiki_kit::authorisation::Authenticator;
use kiki_kit::clock::ManualClock;
use kiki_kit::inprocess::{Transport, in_process};
use kiki_kit::problem::GRPC_FIELD_KEY;
use kiki_kit::service::{HttpService, Limits, Platform};
use kiki_kit::shutdown::{Shutdown, Tasks};
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::predict_ltv_request::Who;
use kiki_proto::value::v1::value_service_client::ValueServiceClient;
use kiki_store::Store;
use kiki_store::testing::{People, RandomIds};
use kiki_types::{Currency, Principal, TenantId, UnixMillis};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use tonic::Status;
use tower::ServiceExt as _;

use crate::value::orders::OrderOptions;
use crate::value::{FitOptions, FitReport, ModelKind, Needs, Promote, TimeUnit, Value, fit_orders, routes, services};

pub(super) const SAMPLE: &[u8] = include_bytes!("../../../../../examples/cdnow/CDNOW_sample.txt");

pub(in crate::value) fn report() -> &'static FitReport {
    static REPORT: OnceLock<FitReport> = OnceLock::new();
    REPORT.get_or_init(|| {
        let options = FitOptions {
            orders: OrderOptions::default(),
            calibrate_until: "1997-09-30".parse().unwrap(),
            currency: Currency::USD,
            time_unit: TimeUnit::Week,
            model: ModelKind::BgNbd,
            hold_out: false,
        };
        fit_orders(SAMPLE, &options, &mut |_| ()).unwrap()
    })
}

/// The service over one database, and its callers.
pub(super) struct World {
    pub(super) people: People,
    pub(super) clock: Arc<ManualClock>,
    pub(super) value: Value,
    pub(super) service: HttpService,
}

impl World {
    pub(super) async fn new(store: &Store) -> Self {
        let people = People::of(store).await;
        let clock = Arc::new(ManualClock::at(UnixMillis(1_770_000_000_000)));
        let value = Value::new(Needs {
            store: store.clone(),
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            tasks: Tasks::new(Shutdown::new()),
            currency: Currency::USD,
            subjects: (*people).clone(),
            pseudonym: Arc::new(|tenant, name| format!("hash-{tenant}-{}", name.len())),
            request_key: Arc::new(|tenant, text| format!("key-{tenant}-{:x}", Sha256::digest(text))),
        });
        let platform = Platform {
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            authenticator: Authenticator::new(Vec::new(), false),
            shutdown: Shutdown::new(),
            limits: Limits::default(),
        };
        let service =
            HttpService::builder("value", "0.0.0", &platform).api(routes(value.clone())).grpc(services(&value)).build();
        Self { people, clock, value, service }
    }

    /// With the fit of CDNOW saved for [`who`].
    pub(super) async fn fitted(store: &Store) -> Self {
        let world = Self::new(store).await;
        world.value.save(&who(), report(), Promote::Now).await.unwrap();
        world
    }

    pub(super) fn client(&self, principal: Principal) -> ValueServiceClient<Transport> {
        ValueServiceClient::new(in_process(self.service.router(), principal))
    }

    pub(super) async fn predict(&self, request: proto::PredictLtvRequest) -> Result<proto::PredictLtvResponse, Status> {
        self.client(who()).predict_ltv(request).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn batch(
        &self,
        requests: Vec<proto::PredictLtvRequest>,
    ) -> Result<Vec<proto::PredictLtvResponse>, Status> {
        let answer = self.client(who()).predict_ltv_batch(proto::PredictLtvBatchRequest { requests }).await?;
        Ok(answer.into_inner().responses)
    }

    pub(super) async fn http(&self, principal: Principal, request: Request<Body>) -> (StatusCode, Json) {
        let mut request = request;
        request.extensions_mut().insert(Arc::new(principal));
        let response = self.service.router().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    pub(super) async fn post(&self, body: &Json) -> (StatusCode, Json) {
        let request = Request::post("/v1/predictions").header("content-type", "application/json");
        self.http(who(), request.body(body.to_string().into()).unwrap()).await
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: Option<Json>) -> (StatusCode, Json) {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = body.map_or_else(Body::empty, |body| body.to_string().into());
        self.http(who(), request.body(body).unwrap()).await
    }

    pub(super) async fn model(&self, principal: Principal) -> (StatusCode, Json) {
        self.http(principal, Request::get("/v1/models/current").body(Body::empty()).unwrap()).await
    }
}

pub(super) fn who() -> Principal {
    of_tenant("acme")
}

pub(super) fn of_tenant(name: &str) -> Principal {
    Principal::service(name.parse::<TenantId>().unwrap(), "kiki-engage")
}

pub(super) fn about(customer: &str, horizon_weeks: f64) -> proto::PredictLtvRequest {
    proto::PredictLtvRequest {
        who: Some(Who::CustomerId(customer.to_owned())),
        horizon_weeks,
        ..proto::PredictLtvRequest::default()
    }
}

pub(super) fn with_history(frequency: f64, recency: f64, age: f64, monetary: f64) -> proto::PredictLtvRequest {
    let history = proto::History { frequency, recency, age, monetary };
    proto::PredictLtvRequest { who: Some(Who::History(history)), ..proto::PredictLtvRequest::default() }
}

pub(super) fn field(status: &Status) -> &str {
    status.metadata().get(GRPC_FIELD_KEY).map_or("", |field| field.to_str().unwrap())
}
