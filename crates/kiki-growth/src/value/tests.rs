//! The service, over gRPC and HTTP.

mod selection;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use kiki_kit::authorisation::Authenticator;
use kiki_kit::clock::ManualClock;
use kiki_kit::inprocess::{Transport, in_process};
use kiki_kit::problem::{GRPC_CODE_KEY, GRPC_FIELD_KEY};
use kiki_kit::service::{HttpService, Limits, Platform};
use kiki_kit::shutdown::Shutdown;
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::predict_ltv_request::Who;
use kiki_proto::value::v1::value_service_client::ValueServiceClient;
use kiki_store::testing::{RandomIds, TestDb, on_both};
use kiki_store::{Store, outbox};
use kiki_types::principal::PermissionSet;
use kiki_types::{Currency, Permission, Principal, TenantId, UnixMillis};
use serde_json::{Value as Json, json};
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::orders::OrderOptions;
use super::{FitOptions, FitReport, Needs, Value, fit_orders, routes, services};

const SAMPLE: &[u8] = include_bytes!("../../../../examples/cdnow/CDNOW_sample.txt");

fn report() -> &'static FitReport {
    static REPORT: OnceLock<FitReport> = OnceLock::new();
    REPORT.get_or_init(|| {
        let options = FitOptions {
            orders: OrderOptions::default(),
            calibrate_until: "1997-09-30".parse().unwrap(),
            currency: Currency::USD,
        };
        fit_orders(SAMPLE, &options, &mut |_| ()).unwrap()
    })
}

/// The service over one database, and its callers.
struct World {
    value: Value,
    service: HttpService,
}

impl World {
    fn new(store: &Store) -> Self {
        let clock = Arc::new(ManualClock::at(UnixMillis(1_770_000_000_000)));
        let value = Value::new(Needs {
            store: store.clone(),
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            pseudonym: Arc::new(|tenant, name| format!("hash-{tenant}-{}", name.len())),
        });
        let platform = Platform {
            clock,
            ids: Arc::new(RandomIds),
            authenticator: Authenticator::new(Vec::new(), false),
            shutdown: Shutdown::new(),
            limits: Limits::default(),
        };
        let service =
            HttpService::builder("value", "0.0.0", &platform).api(routes(value.clone())).grpc(services(&value)).build();
        Self { value, service }
    }

    /// With the fit of CDNOW saved for [`who`].
    async fn fitted(store: &Store) -> Self {
        let world = Self::new(store);
        world.value.save(&who(), report()).await.unwrap();
        world
    }

    fn client(&self, principal: Principal) -> ValueServiceClient<Transport> {
        ValueServiceClient::new(in_process(self.service.router(), principal))
    }

    async fn predict(&self, request: proto::PredictLtvRequest) -> Result<proto::PredictLtvResponse, Status> {
        self.client(who()).predict_ltv(request).await.map(tonic::Response::into_inner)
    }

    async fn batch(&self, requests: Vec<proto::PredictLtvRequest>) -> Result<Vec<proto::PredictLtvResponse>, Status> {
        let answer = self.client(who()).predict_ltv_batch(proto::PredictLtvBatchRequest { requests }).await?;
        Ok(answer.into_inner().responses)
    }

    async fn http(&self, principal: Principal, request: Request<Body>) -> (StatusCode, Json) {
        let mut request = request;
        request.extensions_mut().insert(Arc::new(principal));
        let response = self.service.router().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 24).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn post(&self, body: &Json) -> (StatusCode, Json) {
        let request = Request::post("/v1/predictions").header("content-type", "application/json");
        self.http(who(), request.body(body.to_string().into()).unwrap()).await
    }

    async fn model(&self, principal: Principal) -> (StatusCode, Json) {
        self.http(principal, Request::get("/v1/models/current").body(Body::empty()).unwrap()).await
    }
}

fn who() -> Principal {
    of_tenant("acme")
}

fn of_tenant(name: &str) -> Principal {
    Principal::service(name.parse::<TenantId>().unwrap(), "kiki-engage")
}

fn about(customer: &str, horizon_weeks: f64) -> proto::PredictLtvRequest {
    proto::PredictLtvRequest { who: Some(Who::CustomerId(customer.to_owned())), horizon_weeks, monthly_discount: None }
}

fn with_history(frequency: f64, recency: f64, age: f64, monetary: f64) -> proto::PredictLtvRequest {
    let history = proto::History { frequency, recency, age, monetary };
    proto::PredictLtvRequest { who: Some(Who::History(history)), horizon_weeks: 0.0, monthly_discount: None }
}

fn field(status: &Status) -> &str {
    status.metadata().get(GRPC_FIELD_KEY).map_or("", |field| field.to_str().unwrap())
}

fn close(is: f64, should: f64) -> bool {
    (is / should - 1.0).abs() < 2e-3
}

/// The paper's example and lifetimes' figures for it, which are of the published parameters: hence a tolerance.
#[tokio::test]
async fn a_known_customer_is_worth_the_same_over_grpc_and_http() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let answer = world.predict(about("0001", 12.0 * 4.345)).await.unwrap();
        assert_eq!(answer.customer_id, "0001");
        assert!(close(answer.expected_purchases, 1.562_154), "{answer:?}");
        assert!(close(answer.probability_alive, 0.726_578), "{answer:?}");
        assert!(close(answer.value, 36.289), "{answer:?}");
        assert!(close(answer.expected_order_value, 24.663), "{answer:?}");

        let (status, json) = world.post(&json!({"customer_id": "0001", "horizon_weeks": 12.0 * 4.345})).await;
        assert_eq!(
            (status, &json["customer_id"], &json["model"]),
            (StatusCode::OK, &json!("0001"), &json!(answer.model))
        );
        assert_eq!(json["expected_purchases"], json!(answer.expected_purchases));
        assert_eq!(json["value"]["currency"], "USD");
        let value: f64 = json["value"]["amount"].as_str().unwrap().parse().unwrap();
        assert!((value - answer.value).abs() <= 1e-6, "{json}");
    })
    .await;
}

#[tokio::test]
async fn a_history_is_worth_what_a_customer_with_it_is() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    // Customer 0001: 1997-01-01, 1997-01-18 (29.73) and 1997-08-02 (14.96), until 1997-09-30.
    let known = world.predict(about("0001", 0.0)).await.unwrap();
    let alike = world.predict(with_history(2.0, 213.0 / 7.0, 272.0 / 7.0, 44.69 / 2.0)).await.unwrap();
    assert!((known.value / alike.value - 1.0).abs() < 1e-12);
    assert_eq!((alike.customer_id.as_str(), alike.model), ("", known.model));
    let (_, json) =
        world.post(&json!({"history": {"frequency": 0, "recency": 0, "age": 5}, "monthly_discount": 0})).await;
    assert_eq!((json.get("customer_id"), &json["probability_alive"]), (None, &json!(1.0)));
}

#[tokio::test]
async fn the_defaults_are_a_year_and_a_hundredth() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let plain = world.predict(about("0001", 0.0)).await.unwrap();
    let said = proto::PredictLtvRequest { monthly_discount: Some(0.01), ..about("0001", 52.0) };
    assert_eq!(plain, world.predict(said).await.unwrap());
    let undiscounted = proto::PredictLtvRequest { monthly_discount: Some(0.0), ..about("0001", 52.0) };
    assert!(world.predict(undiscounted).await.unwrap().value > plain.value);
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let mut requests: Vec<_> = (1..=2_357).rev().map(|number| about(&format!("{number:04}"), 26.0)).collect();
        requests.insert(7, with_history(3.0, 5.0, 9.0, 20.0));
        requests.push(about("0001", 26.0));
        let answers = world.batch(requests.clone()).await.unwrap();
        assert_eq!(answers.len(), requests.len());
        for index in [0, 6, 7, 8, 1_500, 2_357, 2_358] {
            assert_eq!(answers[index], world.predict(requests[index].clone()).await.unwrap(), "{index}");
        }
        let body = json!({"requests": [{"customer_id": "0002"}, {"customer_id": "0001", "horizon_weeks": 26}]});
        let (status, json) = world.post(&body).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(json["predictions"][1]["expected_purchases"], json!(answers[2_358].expected_purchases));
        assert_eq!(json["predictions"][0]["customer_id"], "0002");
    })
    .await;
}

#[tokio::test]
async fn one_bad_request_of_a_batch_is_named_by_its_place() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let status = world.batch(vec![about("0001", 1.0), with_history(1.0, 9.0, 5.0, 1.0)]).await.unwrap_err();
    assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, "requests[1].history.recency"));
    let status = world.batch(vec![about("0001", 1.0), about("9999", 1.0)]).await.unwrap_err();
    assert_eq!((status.code(), field(&status)), (Code::NotFound, "requests[1].customer_id"));
    assert!(status.message().contains("\"9999\""), "{status}");
    let status = world.batch(vec![about("0001", 1.0); 10_001]).await.unwrap_err();
    assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, "requests"));
    assert_eq!(world.batch(Vec::new()).await.unwrap(), []);
    let (status, json) = world.post(&json!({"requests": [], "customer_id": "0001"})).await;
    assert_eq!((status, &json["field"]), (StatusCode::BAD_REQUEST, &json!("requests")));
}

#[tokio::test]
async fn a_customer_that_is_not_known_is_named() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        for unknown in ["9999", "0001 ", "a'; DROP TABLE value_models; --"] {
            let status = world.predict(about(unknown, 0.0)).await.unwrap_err();
            assert_eq!((status.code(), field(&status)), (Code::NotFound, "customer_id"));
            assert_eq!(status.message(), format!("The model does not know the customer {unknown:?}."));
            let (status, json) = world.post(&json!({"customer_id": unknown})).await;
            assert_eq!((status, &json["code"]), (StatusCode::NOT_FOUND, &json!("unknown_customer")));
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_its_field() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    for (request, wrong) in [
        (with_history(2.0, 9.0, 8.0, 1.0), "history.recency"),
        (with_history(-1.0, 1.0, 8.0, 1.0), "history.frequency"),
        (with_history(1.5, 1.0, 8.0, 1.0), "history.frequency"),
        (with_history(f64::NAN, 1.0, 8.0, 1.0), "history.frequency"),
        (with_history(1.0, 1.0, f64::INFINITY, 1.0), "history.age"),
        (with_history(1.0, 1.0, 8.0, f64::NAN), "history.monetary"),
        (with_history(1.0, 1.0, 8.0, -0.01), "history.monetary"),
        (about("0001", -1.0), "horizon_weeks"),
        (about("0001", f64::NAN), "horizon_weeks"),
        (about("0001", 1e9), "horizon_weeks"),
        (proto::PredictLtvRequest { monthly_discount: Some(-0.5), ..about("0001", 1.0) }, "monthly_discount"),
        (about("", 1.0), "customer_id"),
        (about(&"x".repeat(257), 1.0), "customer_id"),
        (proto::PredictLtvRequest::default(), "who"),
    ] {
        let status = world.predict(request.clone()).await.unwrap_err();
        assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, wrong), "{request:?}");
    }
    for (body, wrong) in [
        (json!({}), "customer_id"),
        (json!({"customer_id": "0001", "history": {"frequency": 0, "recency": 0, "age": 1}}), "history"),
        (json!({"customer_id": 7}), "customer_id"),
        (json!({"history": {"frequency": 1, "recency": 2, "age": 1}}), "history.recency"),
        (json!({"history": {"frequency": 1, "recency": 2}}), "history.age"),
        (json!({"customer_id": "0001", "horizon_weeks": "1"}), "horizon_weeks"),
        (json!({"customer_id": "0001", "weeks": 1}), "weeks"),
        (json!({"requests": [{"customer_id": "0001"}, {"customer_id": ""}]}), "requests[1].customer_id"),
    ] {
        let (status, json) = world.post(&body).await;
        assert_eq!((status, &json["field"]), (StatusCode::BAD_REQUEST, &json!(wrong)), "{body} {json}");
    }
}

#[tokio::test]
async fn without_a_model_the_answer_says_how_to_make_one() {
    on_both(async |db| {
        let world = World::new(&db.store);
        let status = world.predict(about("0001", 0.0)).await.unwrap_err();
        assert_eq!(
            (status.code(), status.metadata().get(GRPC_CODE_KEY).unwrap().as_bytes()),
            (Code::FailedPrecondition, &b"no_model"[..])
        );
        assert!(status.message().contains("kiki value fit FILE --calibrate-until DATE --save"), "{status}");
        let (status, json) = world.post(&json!({"customer_id": "0001"})).await;
        assert_eq!((status, &json["code"]), (StatusCode::CONFLICT, &json!("no_model")));
        assert_eq!(world.model(who()).await.0, StatusCode::CONFLICT);
    })
    .await;
}

#[tokio::test]
async fn the_current_model_is_the_one_saved_last() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let last = world.value.save(&who(), report()).await.unwrap();
        let (status, json) = world.model(who()).await;
        assert_eq!((status, &json["id"]), (StatusCode::OK, &json!(last.id.to_string())));
        assert_eq!(
            (&json["customers"], &json["orders"], &json["calibrate_until"]),
            (&json!(2_357), &json!(6_919), &json!("1997-09-30"))
        );
        assert_eq!(json["data_sha256"], report().data_sha256);
        assert_eq!(json["bgnbd_log_likelihood"], json!(report().bgnbd.log_likelihood));
        assert_eq!(json["parameters"]["bgnbd"]["r"], json!(report().bgnbd.model.r()));
        assert_eq!(json["parameters"]["gamma_gamma"]["v"], json!(report().gamma_gamma.model.v()));
    })
    .await;
}

#[tokio::test]
async fn another_tenant_knows_neither_model_nor_customers() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let other = of_tenant("other");
    assert_eq!(world.model(other.clone()).await.0, StatusCode::CONFLICT);
    let status = world.client(other).predict_ltv(about("0001", 0.0)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn who_may_not_read_values_is_refused() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let everything_else: PermissionSet =
        Permission::ALL.iter().copied().filter(|&permission| permission != Permission::ValueRead).collect();
    let principal = Principal { permissions: everything_else, ..who() };
    let mut client = world.client(principal.clone());
    let codes: BTreeSet<i32> = [
        client.predict_ltv(about("0001", 0.0)).await.unwrap_err(),
        client.predict_ltv_batch(proto::PredictLtvBatchRequest::default()).await.unwrap_err(),
        client.select_customers(proto::SelectCustomersRequest::default()).await.unwrap_err(),
    ]
    .map(|status| status.code() as i32)
    .into();
    assert_eq!(codes, BTreeSet::from([Code::PermissionDenied as i32]));
    assert_eq!(world.model(principal.clone()).await.0, StatusCode::FORBIDDEN);
    let request = Request::post("/v1/predictions").header("content-type", "application/json");
    let (status, _) = world.http(principal, request.body("{\"customer_id\":\"0001\"}".into()).unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn saving_leaves_an_audit_entry_that_names_nobody() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let saved = world.value.current(&who().tenant).await.unwrap();
        let pending = outbox::pending(&db.store, "audit", 10).await.unwrap();
        assert_eq!(pending.len(), 1);
        let entry: Json = serde_json::from_str(&pending[0].event.payload).unwrap();
        assert_eq!((&entry["type"], &entry["actor"]), (&json!("value.model.save"), &json!("hash-acme-11")));
        assert_eq!(entry["resource"], format!("value/model/{}", saved.id));
    })
    .await;
}
