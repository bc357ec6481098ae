//! Customer value as its callers meet it: the process, over HTTP and gRPC, under load.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{TryStreamExt as _, stream};
use http_body_util::Full;
use hyper::Request;
use kiki_proto::value::v1::predict_ltv_request::Who;
use kiki_proto::value::v1::value_service_client::ValueServiceClient;
use kiki_proto::value::v1::{PredictLtvBatchRequest, PredictLtvRequest, PredictLtvResponse};
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Http, Serving, folder, here, kiki};

/// Promotions and rollbacks while requests come.
const CHANGES: usize = 40;
/// Whom they ask about.
const CUSTOMERS: usize = 50;
/// How long to wait before looking again whether a model is fitted.
const LOOK: Duration = Duration::from_millis(50);

fn serve(folder: &Path) -> Serving {
    let mut command = kiki(folder);
    command.args(["serve", "value", "--free-ports"]);
    Serving::start(command, 2)
}

/// The service with two versions that answer differently, the first of them in force.
struct World {
    serving: Serving,
    http: Http,
}

impl World {
    async fn new(folder: &Path) -> Self {
        let world = Self { serving: serve(folder), http: Http::new() };
        for (model, promote) in [("bg-nbd", true), ("pareto-nbd", false)] {
            world.train(model, promote).await;
        }
        world
    }

    async fn train(&self, model: &str, promote: bool) {
        let log = std::fs::read(here("../../examples/cdnow/CDNOW_sample.txt")).unwrap();
        let path = format!("/train?calibrate_until=1997-09-30&model={model}&promote={promote}");
        let request = Request::post(self.serving.url("value", &path)).header("content-type", "text/csv");
        let begun = self.http.send(request.body(Full::from(log)).unwrap()).await.json();
        let url = self.serving.url("value", &format!("/train/{}", begun["id"].as_str().unwrap()));
        loop {
            let training = self.http.get(&url).await.json();
            if training["state"] != "running" {
                assert_eq!(training["state"], "done", "{training}");
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.http.post(&self.serving.url("value", path), body).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.json());
        answer.json()
    }

    async fn grpc(&self) -> ValueServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(self.serving.url("value", "")).unwrap();
        ValueServiceClient::new(endpoint.connect().await.unwrap())
    }

    /// The first version after an even number of changes, the second after an odd one.
    async fn change(&self, before: usize) {
        let path = if before.is_multiple_of(2) { "/models/2/promote" } else { "/models/rollback" };
        self.post(path, &json!({})).await;
    }

    /// What each version answers for each customer.
    async fn expected(&self) -> HashMap<(i64, String), f64> {
        let mut expected = HashMap::new();
        for before in 0..2 {
            let requests: Vec<Value> = (0..CUSTOMERS).map(|number| json!({"customer_id": name(number)})).collect();
            let answer = self.post("/v1/predictions", &json!({ "requests": requests })).await;
            for one in answer["predictions"].as_array().unwrap() {
                let told = Told::of_json(one);
                assert_eq!(told.version, i64::try_from(before + 1).unwrap());
                expected.insert((told.version, told.customer), told.purchases);
            }
            self.change(before).await;
        }
        expected
    }
}

fn name(number: usize) -> String {
    format!("{:04}", number + 1)
}

fn about(number: usize) -> PredictLtvRequest {
    PredictLtvRequest { who: Some(Who::CustomerId(name(number))), ..PredictLtvRequest::default() }
}

/// What an answer says.
struct Told {
    customer: String,
    version: i64,
    purchases: f64,
}

impl Told {
    fn of_json(answer: &Value) -> Self {
        Self {
            customer: answer["customer_id"].as_str().unwrap().to_owned(),
            version: answer["model_version"].as_i64().unwrap(),
            purchases: answer["expected_purchases"].as_f64().unwrap(),
        }
    }

    fn of_proto(answer: PredictLtvResponse) -> Self {
        let PredictLtvResponse { customer_id, model_version, expected_purchases, .. } = answer;
        Self { customer: customer_id, version: model_version, purchases: expected_purchases }
    }
}

/// How many changes began, and how many were answered.
#[derive(Default)]
struct Changes {
    begun: AtomicUsize,
    done: AtomicUsize,
}

/// Callers ask one at a time, in batches and in streams, over HTTP and gRPC, while versions change. Each request is answered,
/// wholly by one version, and by one that was in force between its sending and its answer; so whoever asks after a promotion
/// was answered gets the promoted version.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_under_load_drops_no_request_mixes_no_versions_and_is_seen_at_once() {
    let folder = folder();
    let world = Arc::new(World::new(folder.path()).await);
    let (expected, changes) = (Arc::new(world.expected().await), Arc::new(Changes::default()));
    let callers = (0..8).map(|caller| {
        let (world, expected, changes) = (world.clone(), expected.clone(), changes.clone());
        tokio::spawn(async move {
            let (mut grpc, mut seen) = (world.grpc().await, [0_usize; 2]);
            for number in 0.. {
                let done = changes.done.load(Ordering::SeqCst);
                if done == CHANGES {
                    break;
                }
                let answers = ask(&world, &mut grpc, caller, number).await;
                let begun = changes.begun.load(Ordering::SeqCst);
                let version = answers[0].version;
                let in_force = (done..=begun).map(|changes| if changes.is_multiple_of(2) { 1 } else { 2 });
                assert!(in_force.into_iter().any(|one| one == version), "{version} after {done} to {begun} changes");
                for Told { customer, version: its, purchases } in answers {
                    assert_eq!(its, version, "one version a request");
                    assert_eq!(Some(&purchases), expected.get(&(version, customer)), "by this version");
                }
                seen[usize::try_from(version - 1).unwrap()] += 1;
            }
            seen
        })
    });
    let callers: Vec<_> = callers.collect();
    for change in 0..CHANGES {
        changes.begun.fetch_add(1, Ordering::SeqCst);
        world.change(change).await;
        changes.done.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut seen = [0; 2];
    for caller in callers {
        let by_caller = caller.await.unwrap();
        seen = [seen[0] + by_caller[0], seen[1] + by_caller[1]];
    }
    assert!(seen.iter().all(|&requests| requests > 0), "both versions were asked: {seen:?}");
    Arc::into_inner(world).unwrap().serving.terminate();
}

/// Asks as this caller does.
async fn ask(world: &World, grpc: &mut ValueServiceClient<Channel>, caller: usize, number: usize) -> Vec<Told> {
    let customers = [number, number + 7, number + 31].map(|number| number % CUSTOMERS);
    let [one, ..] = customers;
    match caller % 5 {
        0 => vec![Told::of_json(&world.post("/predict-ltv", &json!({"customer_id": name(one)})).await)],
        1 => {
            let requests = customers.map(|customer| json!({"customer_id": name(customer)}));
            let answer = world.post("/v1/predictions", &json!({ "requests": requests })).await;
            answer["predictions"].as_array().unwrap().iter().map(Told::of_json).collect()
        }
        2 => vec![Told::of_proto(grpc.predict_ltv(about(one)).await.unwrap().into_inner())],
        3 => {
            let requests = customers.map(about).to_vec();
            let answer = grpc.predict_ltv_batch(PredictLtvBatchRequest { requests }).await.unwrap();
            answer.into_inner().responses.into_iter().map(Told::of_proto).collect()
        }
        _ => {
            let answers = grpc.predict_ltv_stream(stream::iter([about(one)])).await.unwrap().into_inner();
            answers.map_ok(Told::of_proto).try_collect().await.unwrap()
        }
    }
}

/// Orders are recorded while predictions are asked for. SQLite has one writer: readers do not wait for it, and nobody fails.
#[tokio::test(flavor = "multi_thread")]
async fn predictions_and_orders_at_the_same_time_are_all_answered() {
    const ORDERS: usize = 100;
    let folder = folder();
    let world = Arc::new(World::new(folder.path()).await);
    let writers = (0..3).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move {
            for number in 0..ORDERS {
                let order = json!({
                    "order_id": format!("{writer}-{number}"), "customer_id": name(number % CUSTOMERS),
                    "ordered_at": "1997-10-21", "amount": "12.50",
                });
                world.post("/v1/orders", &json!({ "orders": [order] })).await;
            }
        })
    });
    let readers = (0..6).map(|reader| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut grpc = world.grpc().await;
            for number in 0..ORDERS {
                assert!(!ask(&world, &mut grpc, reader, number).await.is_empty());
            }
        })
    });
    for caller in writers.chain(readers).collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let after = world.post("/predict-ltv", &json!({"customer_id": name(0)})).await;
    let (frequency, last) =
        (after["history"]["frequency"].as_i64().unwrap(), after["history"]["recency"].as_f64().unwrap());
    assert!(frequency > 0 && last > 0.0, "the orders count: {after}");
    Arc::into_inner(world).unwrap().serving.terminate();
}
