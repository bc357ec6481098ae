//! Versions and which one is in force, orders that come, churn, the baseline, trainings.

use std::collections::BTreeSet;

use futures::stream;
use http::{Request, StatusCode};
use kiki_kit::inprocess::in_process;
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::order_service_client::OrderServiceClient;
use kiki_store::outbox;
use kiki_store::testing::{TestDb, on_both};
use kiki_types::Principal;
use serde_json::{Value as Json, json};
use tonic::Code;

use super::world::{World, about, of_tenant, report, who};
use crate::value::Promote;

pub(super) async fn answered(world: &World, method: &str, path: &str, body: Json) -> Json {
    let (status, answer) = world.call(method, path, Some(body)).await;
    assert!(status.is_success(), "{method} {path}: {status} {answer}");
    answer
}

async fn version_in_force(world: &World) -> Json {
    world.model(who()).await.1["version"].clone()
}

#[tokio::test]
async fn a_promotion_puts_a_version_in_force_and_a_rollback_takes_it_back() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let second = world.value.save(&who(), report(), Promote::Later).await.unwrap();
        assert_eq!((second.version, version_in_force(&world).await), (2, json!(1)));
        let (status, refused) = world.call("POST", "/models/rollback", None).await;
        assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("nothing_before")));

        let promoted = answered(&world, "POST", "/models/2/promote", json!({})).await;
        assert_eq!((&promoted["version"], version_in_force(&world).await), (&json!(2), json!(2)));
        let prediction = answered(&world, "POST", "/v1/predictions", json!({"customer_id": "0001"})).await;
        assert_eq!((&prediction["model_version"], &prediction["model"]), (&json!(2), &json!(second.id.to_string())));

        let back = answered(&world, "POST", "/models/rollback", json!({})).await;
        assert_eq!((&back["version"], version_in_force(&world).await), (&json!(1), json!(1)));
        assert_eq!(world.call("POST", "/models/9/promote", None).await.0, StatusCode::NOT_FOUND);
        let listed = answered(&world, "GET", "/models?limit=1", json!({})).await;
        assert_eq!((&listed["models"][0]["version"], &listed["next"]), (&json!(2), &json!(2)));
        let listed = answered(&world, "GET", "/models?below=2", json!({})).await;
        assert_eq!((&listed["models"][0]["version"], &listed["next"]), (&json!(1), &Json::Null));
        let compared = answered(&world, "GET", "/models/compare?from=1&to=2", json!({})).await;
        assert_eq!((&compared["comparable"], &compared["purchases_log_likelihood_gain"]), (&json!(true), &json!(0.0)));

        let entries = outbox::pending(&db.store, "audit", 10).await.unwrap();
        let kinds: Vec<String> = entries
            .iter()
            .map(|entry| {
                serde_json::from_str::<Json>(&entry.event.payload).unwrap()["type"].as_str().unwrap().to_owned()
            })
            .collect();
        let save = "value.model.save";
        assert_eq!(kinds, [save, save, "value.model.promote", "value.model.rollback"]);
    })
    .await;
}

#[tokio::test]
async fn models_that_are_saved_or_promoted_at_once_get_a_number_and_a_place_each() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let principal = who();
        let save = || world.value.save(&principal, report(), Promote::Now);
        let (two, three) = futures::try_join!(save(), save()).unwrap();
        assert_eq!(BTreeSet::from([two.version, three.version]), BTreeSet::from([2, 3]));
        assert_ne!(two.promoted_at, three.promoted_at);
        let promote = |path| answered(&world, "POST", path, json!({}));
        let (one, two) = futures::join!(promote("/models/1/promote"), promote("/models/2/promote"));
        assert_ne!(one["promoted_at"], two["promoted_at"]);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_key_rolls_back_once() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        for _ in 0..2 {
            world.value.save(&who(), report(), Promote::Now).await.unwrap();
        }
        let roll_back = async || {
            let request = Request::post("/models/rollback").header("idempotency-key", "once");
            world.http(who(), request.body(axum::body::Body::empty()).unwrap()).await
        };
        let (first, again) = (roll_back().await, roll_back().await);
        assert_eq!((first.0, &first.1["version"]), (StatusCode::OK, &json!(2)));
        assert_eq!(first, again);
        assert_eq!(version_in_force(&world).await, json!(2));
    })
    .await;
}

#[tokio::test]
async fn another_tenant_sees_and_moves_nothing() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    world.value.save(&who(), report(), Promote::Now).await.unwrap();
    let other = of_tenant("other");
    for (method, path, status) in [
        ("GET", "/models/1", StatusCode::NOT_FOUND),
        ("POST", "/models/1/promote", StatusCode::NOT_FOUND),
        ("POST", "/models/rollback", StatusCode::CONFLICT),
        ("GET", "/models/compare?from=1&to=2", StatusCode::NOT_FOUND),
        ("GET", "/baseline", StatusCode::CONFLICT),
        ("GET", "/train/01a1fdc5-f67a-77fb-b661-1f6e0791435e", StatusCode::NOT_FOUND),
    ] {
        let request = Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
        assert_eq!(world.http(other.clone(), request).await.0, status, "{method} {path}");
    }
    assert_eq!(version_in_force(&world).await, json!(2));
}

#[tokio::test]
async fn whom_nobody_knows_is_answered_as_somebody_new_and_said_to_be_so() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let ask = async |path: &str, body: Json| world.call("POST", path, Some(body)).await;
        let nobody = json!({"customer_id": "nobody"});
        assert_eq!(ask("/v1/predictions", nobody.clone()).await.0, StatusCode::NOT_FOUND);
        let (status, answer) = ask("/predict-ltv", nobody.clone()).await;
        assert_eq!((status, &answer["population"]), (StatusCode::OK, &json!(true)));
        let new = json!({"history": {"frequency": 0, "recency": 0, "age": 0}});
        let (_, of_history) = ask("/predict-ltv", new).await;
        for field in ["expected_purchases", "probability_alive", "value", "expected_order_value", "history"] {
            assert_eq!(answer[field], of_history[field], "{field}");
        }
        assert_eq!(of_history["population"], json!(false));
        let strict = json!({"customer_id": "nobody", "or_population": false});
        assert_eq!(ask("/predict-ltv", strict).await.0, StatusCode::NOT_FOUND);
        let (_, known) = ask("/predict-ltv", json!({"customer_id": "0001"})).await;
        assert_eq!(known["population"], json!(false));
        let request = proto::PredictLtvRequest { or_population: true, ..about("nobody", 0.0) };
        assert!(world.predict(request).await.unwrap().population);
    })
    .await;
}

#[tokio::test]
async fn an_answers_history_and_version_give_the_answer_again() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let first = answered(&world, "POST", "/predict-ltv", json!({"customer_id": "0001"})).await;
    let mut history = first["history"].clone();
    history["monetary"] = first["monetary"].clone();
    let again = answered(&world, "POST", "/predict-ltv", json!({ "history": history })).await;
    for field in ["expected_purchases", "probability_alive", "value", "expected_order_value", "model_version"] {
        assert_eq!(first[field], again[field], "{field}");
    }
}

#[tokio::test]
async fn churn_is_the_chance_of_silence_and_grows_less_the_longer_one_waits() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let churn = async |weeks: f64| {
        answered(&world, "POST", "/churn", json!({"customer_id": "0001", "horizon_weeks": weeks})).await
    };
    let (soon, later) = (churn(4.0).await, churn(400.0).await);
    let number = |answer: &Json, field: &str| answer[field].as_f64().unwrap();
    assert!(number(&soon, "churn") > number(&later, "churn"));
    assert!(number(&later, "churn") >= 1.0 - number(&later, "probability_alive"));
    assert!(number(&soon, "probability_alive_after") < number(&soon, "probability_alive"));
    let batch =
        answered(&world, "POST", "/churn", json!({"requests": [{"customer_id": "0001", "horizon_weeks": 4.0}]})).await;
    assert_eq!(batch["churns"][0], soon);
    let grpc = world.client(who()).predict_churn(about("0001", 4.0)).await.unwrap().into_inner();
    assert_eq!(json!(grpc.churn), soon["churn"]);
}

#[tokio::test]
async fn the_baseline_is_that_of_the_log() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let baseline = answered(&world, "GET", "/baseline", json!({})).await;
        assert_eq!((&baseline["days"], &baseline["until"]), (&json!(90), &json!("1998-06-30")));
        // By awk over the rows of 1998-04-02 to 1998-06-30.
        assert_eq!(baseline["revenue"], json!({"amount": "17792.57", "currency": "USD"}));
        assert_eq!(baseline["by_weekday"].as_array().unwrap().len(), 7);
        let month = answered(&world, "GET", "/baseline?days=30", json!({})).await;
        assert_eq!(month["days"], json!(30));
        assert_eq!(world.call("GET", "/baseline?days=7", None).await.0, StatusCode::BAD_REQUEST);
        let grpc = world.client(who()).get_baseline(proto::GetBaselineRequest { days: 0 }).await.unwrap().into_inner();
        assert_eq!(json!(grpc.revenue), baseline["revenue"]["amount"]);
    })
    .await;
}

fn order(id: &str, customer: &str, at: &str, amount: &str) -> Json {
    json!({"order_id": id, "customer_id": customer, "ordered_at": at, "amount": amount})
}

#[tokio::test]
async fn an_order_changes_what_is_known_of_its_customer_at_once_and_only_once() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let ask = async || answered(&world, "POST", "/predict-ltv", json!({"customer_id": "0001"})).await;
        let before = ask().await;
        let orders = json!({"orders": [order("o1", "0001", "1997-10-21", "30.00")]});
        for _ in 0..2 {
            assert_eq!(answered(&world, "POST", "/v1/orders", orders.clone()).await, json!({"recorded": 1}));
        }
        let after = ask().await;
        let number = |answer: &Json, path: &str| answer.pointer(path).unwrap().as_f64().unwrap();
        let difference = |path| number(&after, path) - number(&before, path);
        assert!((difference("/history/frequency") - 1.0).abs() < 1e-12);
        assert!((difference("/history/age") - 3.0).abs() < 1e-12, "three weeks went by");
        let spent = |answer: &Json| number(answer, "/monetary") * number(answer, "/history/frequency");
        assert!((spent(&after) - spent(&before) - 30.0).abs() < 1e-9);
        assert!(difference("/probability_alive") > 0.0);

        // Of several words about one order the latest stands.
        let cancelled = json!({"orders": [{"order_id": "o1", "customer_id": "0001", "ordered_at": "1997-10-21", "amount": "0", "cancelled": true}]});
        answered(&world, "POST", "/v1/orders", cancelled).await;
        assert_eq!(ask().await["history"]["frequency"], before["history"]["frequency"]);

        // Whom the model does not know, their orders tell.
        let new = json!({"orders": [order("o2", "new", "1997-10-01", "5"), order("o3", "new", "1997-10-08", "7")]});
        answered(&world, "POST", "/v1/orders", new).await;
        let new = answered(&world, "POST", "/v1/predictions", json!({"customer_id": "new"})).await;
        assert_eq!((&new["history"]["frequency"], &new["population"]), (&json!(1), &json!(false)));
        let text = world.call("POST", "/v1/orders", Some(json!({"orders": [order("o", "c", "2999-01-01", "1")]}))).await.1;
        assert_eq!((&text["code"], &text["field"]), (&json!("invalid_request"), &json!("orders[0].ordered_at")));
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_orders_and_one_of_predictions_are_the_same_as_single_ones() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let mut client = OrderServiceClient::new(in_process(world.service.router(), who()));
    let orders = (0..2_500).map(|number| proto::RecordOrdersRequest {
        order_id: format!("o{number}"),
        customer_id: format!("{:04}", number % 50 + 1),
        ordered_at: "1997-10-07".to_owned(),
        amount: "1".to_owned(),
        cancelled: false,
    });
    let recorded = client.record_orders(stream::iter(orders.collect::<Vec<_>>())).await.unwrap().into_inner().recorded;
    assert_eq!(recorded, 2_500);
    let wrong = proto::RecordOrdersRequest { order_id: "x".to_owned(), ..proto::RecordOrdersRequest::default() };
    let status = client.record_orders(stream::iter(vec![wrong])).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let requests: Vec<_> = (1..=700).map(|number| about(&format!("{number:04}"), 39.0)).collect();
    let answers = world.client(who()).predict_ltv_stream(stream::iter(requests.clone())).await.unwrap().into_inner();
    let answers: Vec<proto::PredictLtvResponse> = futures::TryStreamExt::try_collect(answers).await.unwrap();
    assert_eq!(answers.len(), 700);
    assert_eq!(answers, world.batch(requests).await.unwrap());
    let all = world.pages(super::selection::everybody()).await.0;
    let of_pages = all.iter().find(|one| one.customer_id == "0001").unwrap();
    let alone = world.predict(about("0001", 52.0)).await.unwrap();
    assert_eq!(of_pages.history, alone.history, "a page knows the orders too");
}

pub(super) async fn trained(world: &World, query: &str, log: impl Into<axum::body::Body>) -> Json {
    let request = Request::post(format!("/train?{query}")).header("content-type", "text/csv");
    let (status, begun) = world.http(who(), request.body(log.into()).unwrap()).await;
    assert_eq!((status, &begun["state"]), (StatusCode::ACCEPTED, &json!("running")), "{begun}");
    let path = format!("/train/{}", begun["id"].as_str().unwrap());
    for _ in 0..3_000 {
        let (_, training) = world.call("GET", &path, None).await;
        if training["state"] != "running" {
            return training;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the training does not end");
}

const SAMPLE: &[u8] = include_bytes!("../../../../../examples/cdnow/CDNOW_sample.txt");

#[tokio::test]
async fn a_training_makes_a_version_with_its_figures_or_says_why_not() {
    on_both(async |db| {
        let world = World::new(&db.store).await;
        let done = trained(&world, "calibrate_until=1997-09-30&promote=true", SAMPLE).await;
        assert_eq!((&done["state"], &done["version"]), (&json!("done"), &json!(1)), "{done}");
        let model = answered(&world, "GET", "/models/1", json!({})).await;
        assert_eq!((&model["data_sha256"], &model["kind"]), (&json!(report().data_sha256), &json!("bg-nbd")));
        assert_eq!(model["figures"]["purchases"][0]["method"], "model");
        assert_eq!(version_in_force(&world).await, json!(1));

        let failed =
            trained(&world, "calibrate_until=1997-09-30", "customer,date,amount\nann@example.com,never,1\n").await;
        assert_eq!(
            (&failed["state"], &failed["problem"]),
            (&json!("failed"), &json!("1 rows cannot be read: line 2 (date)"))
        );
        let wrong =
            Request::post("/train?calibrate_until=1997-09-30&model=guess").body(axum::body::Body::empty()).unwrap();
        let (status, answer) = world.http(who(), wrong).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("model")));
        // The clock of this test is at February 2026.
        for (query, field) in [("2026-02-04", "calibrate_until"), ("1997-09-30&promot=true", "promot")] {
            let request = Request::post(format!("/train?calibrate_until={query}")).body(axum::body::Body::empty());
            let (status, answer) = world.http(who(), request.unwrap()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
            assert!(answer.to_string().contains(field), "{answer}");
        }
    })
    .await;
}

/// Requests ask while models are promoted and rolled back: each gets an answer, of one of the models.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_under_load_drops_nothing() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        world.value.save(&who(), report(), Promote::Later).await.unwrap();
        let asked = async || {
            let mut versions = BTreeSet::new();
            for customer in 0..100 {
                let name = format!("{:04}", customer % 900 + 1);
                let answer = world.predict(about(&name, 39.0)).await.unwrap();
                versions.insert(answer.model_version);
            }
            versions
        };
        let moved = async {
            for _ in 0..15 {
                answered(&world, "POST", "/models/2/promote", json!({})).await;
                tokio::task::yield_now().await;
                answered(&world, "POST", "/models/rollback", json!({})).await;
            }
        };
        let callers = futures::future::join_all((0..6).map(|_| asked()));
        let (versions, ()) = futures::join!(callers, moved);
        let seen: BTreeSet<i64> = versions.into_iter().flatten().collect();
        assert_eq!(seen, BTreeSet::from([1, 2]), "both were asked");
    })
    .await;
}

#[tokio::test]
async fn who_may_only_read_changes_nothing() {
    use kiki_types::Permission;
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let reader = Principal { permissions: [Permission::ValueRead].into_iter().collect(), ..who() };
    for (path, body) in [
        ("/models/1/promote", "{}"),
        ("/models/rollback", "{}"),
        ("/v1/orders", "{\"orders\":[]}"),
        ("/train?calibrate_until=1997-09-30", ""),
    ] {
        let request = Request::post(path).header("content-type", "application/json").body(body.into()).unwrap();
        assert_eq!(world.http(reader.clone(), request).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    let mut client = OrderServiceClient::new(in_process(world.service.router(), reader));
    assert_eq!(client.record_orders(stream::iter(Vec::new())).await.unwrap_err().code(), Code::PermissionDenied);
}
