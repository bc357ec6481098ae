//! Standard errors and 95 % intervals of predictions.

use futures::stream;
use http::StatusCode;
use kiki_proto::value::v1 as proto;
use kiki_store::testing::{TestDb, on_both};
use serde_json::{Value as Json, json};
use tonic::Code;

use super::serving::answered;
use super::world::{World, about, field, who};

fn with_intervals(customer: &str) -> proto::PredictLtvRequest {
    proto::PredictLtvRequest { intervals: true, ..about(customer, 39.0) }
}

fn asked(customer: &str) -> Json {
    json!({"customer_id": customer, "horizon_weeks": 39.0, "intervals": true})
}

/// As the JSON has it.
pub(super) fn numbers(estimate: Option<proto::Estimate>) -> Json {
    let proto::Estimate { value, standard_error, low, high } = estimate.unwrap();
    json!({"value": value, "standard_error": standard_error, "low": low, "high": high})
}

fn holds_what_it_is_about(interval: &Json) {
    let number = |part: &str| interval[part].as_f64().unwrap();
    assert!(number("low") < number("value") && number("value") < number("high"), "{interval}");
    assert!(number("standard_error") > 0.0 && number("high") < 2.0 * number("value"), "{interval}");
}

#[tokio::test]
async fn intervals_hold_what_is_predicted_and_are_told_when_asked_for() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let plain =
            answered(&world, "POST", "/predict-ltv", json!({"customer_id": "0001", "horizon_weeks": 39.0})).await;
        assert_eq!(plain["intervals"], Json::Null);
        let told = answered(&world, "POST", "/predict-ltv", asked("0001")).await;
        for name in ["expected_purchases", "probability_alive"] {
            assert_eq!(told["intervals"][name]["value"], plain[name], "{name}");
        }
        for name in ["expected_purchases", "probability_alive", "value"] {
            holds_what_it_is_about(&told["intervals"][name]);
        }
        let many = json!({"intervals": true, "requests": vec![json!({"customer_id": "0001"}); 1_001]});
        let (status, answer) = world.call("POST", "/predict-ltv", Some(many)).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!("requests")));
    })
    .await;
}

#[tokio::test]
async fn intervals_are_the_same_over_grpc_alone_in_a_batch_and_in_a_stream() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let http = answered(&world, "POST", "/predict-ltv", asked("0001")).await;
    let alone = world.predict(with_intervals("0001")).await.unwrap();
    let intervals = alone.intervals.unwrap();
    for (name, estimate) in [
        ("expected_purchases", intervals.expected_purchases),
        ("probability_alive", intervals.probability_alive),
        ("value", intervals.value),
    ] {
        assert_eq!(numbers(estimate), http["intervals"][name], "{name}");
    }
    let plain = about("0002", 39.0);
    let requests = vec![with_intervals("0001"), plain.clone()];
    let batch = world.batch(requests.clone()).await.unwrap();
    assert_eq!((&batch[0], batch[1].intervals), (&alone, None));
    let stream = world.client(who()).predict_ltv_stream(stream::iter(requests)).await.unwrap().into_inner();
    assert_eq!(futures::TryStreamExt::try_collect::<Vec<_>>(stream).await.unwrap(), batch);

    let status = world.batch(vec![with_intervals("0001"); 1_001]).await.unwrap_err();
    assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, "requests"));
    // Of a large batch those with intervals count.
    let most = [vec![plain; 1_001], vec![with_intervals("0001"); 2]].concat();
    assert_eq!(world.batch(most).await.unwrap().len(), 1_003);
}

#[tokio::test]
async fn churn_has_intervals_too() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let http = answered(&world, "POST", "/churn", asked("0001")).await;
    let grpc = world.client(who()).predict_churn(with_intervals("0001")).await.unwrap().into_inner();
    let intervals = grpc.intervals.unwrap();
    for (name, estimate, is) in [
        ("churn", intervals.churn, grpc.churn),
        ("probability_alive", intervals.probability_alive, grpc.probability_alive),
        ("probability_alive_after", intervals.probability_alive_after, grpc.probability_alive_after),
    ] {
        assert_eq!(
            (&numbers(estimate), &http["intervals"][name]["value"]),
            (&http["intervals"][name], &json!(is)),
            "{name}"
        );
        holds_what_it_is_about(&http["intervals"][name]);
    }
    let plain = world.client(who()).predict_churn(about("0001", 39.0)).await.unwrap().into_inner();
    assert_eq!((plain.intervals, json!(plain.churn)), (None, json!(grpc.churn)));
}
