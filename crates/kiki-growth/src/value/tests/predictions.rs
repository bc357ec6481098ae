//! Questions about one customer, and batches of them.

use http::StatusCode;
use kiki_proto::value::v1 as proto;
use kiki_store::testing::{TestDb, on_both};
use serde_json::json;
use tonic::Code;

use super::world::{World, about, field, with_history};

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
