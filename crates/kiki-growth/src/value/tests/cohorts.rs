//! What customers are worth together.

use http::{Request, StatusCode};
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::predict_cohort_request::Who;
use kiki_store::personal::Mint;
use kiki_store::testing::{TestDb, on_both};
use serde_json::{Value as Json, json};
use tonic::Code;

use super::intervals::numbers;
use super::serving::answered;
use super::world::{World, about, field, of_tenant, who};

const COHORT: &str = "/v1/predictions/cohort";

async fn cohort(world: &World, body: Json) -> Json {
    answered(world, "POST", COHORT, body).await
}

fn first_bought(from: Option<&str>, until: Option<&str>) -> Json {
    json!({"first_purchase": {"from": from, "until": until}})
}

async fn customers(world: &World, from: Option<&str>, until: Option<&str>) -> Json {
    cohort(world, first_bought(from, until)).await["customers"].clone()
}

#[tokio::test]
async fn a_cohort_is_worth_the_sum_of_its_customers() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let ids: Vec<String> = (1..=60).map(|number| format!("{number:04}")).collect();
        let alone = world.batch(ids.iter().map(|id| about(id, 26.0)).collect()).await.unwrap();
        // Who is named twice counts once.
        let named = [ids.clone(), ids[..5].to_vec()].concat();
        let answer = cohort(&world, json!({"customer_ids": named, "horizon_weeks": 26.0})).await;
        assert_eq!((&answer["customers"], &answer["model_version"]), (&json!(60), &json!(1)));
        let sum = |of: fn(&proto::PredictLtvResponse) -> f64| alone.iter().map(of).sum::<f64>();
        let value = |answer: &Json| answer["value"]["amount"].as_str().unwrap().parse::<f64>().unwrap();
        for (is, should) in [
            (answer["expected_purchases"].as_f64().unwrap(), sum(|one| one.expected_purchases)),
            (answer["expected_alive"].as_f64().unwrap(), sum(|one| one.probability_alive)),
            (value(&answer), sum(|one| one.value)),
        ] {
            assert!((is / should - 1.0).abs() < 1e-6, "{is} is not {should}");
        }
        for name in ["expected_purchases", "expected_alive", "value"] {
            let number = |part: &str| answer["intervals"][name][part].as_f64().unwrap();
            assert!(number("low") < number("value") && number("value") < number("high"), "{answer}");
        }

        let customers = proto::Customers { customer_ids: ids };
        let request = proto::PredictCohortRequest {
            who: Some(Who::Customers(customers)),
            horizon_weeks: 26.0,
            ..proto::PredictCohortRequest::default()
        };
        let grpc = world.client(who()).predict_cohort(request).await.unwrap().into_inner();
        assert_eq!((grpc.customers, grpc.currency.as_str(), json!(grpc.model)), (60, "USD", answer["model"].clone()));
        assert_eq!(numbers(grpc.expected_purchases), answer["intervals"]["expected_purchases"]);
        assert_eq!(numbers(grpc.expected_alive), answer["intervals"]["expected_alive"]);
        assert_eq!(numbers(grpc.value), answer["intervals"]["value"]);
        let nobody = cohort(&world, json!({"customer_ids": []})).await;
        assert_eq!((&nobody["customers"], value(&nobody).to_string()), (&json!(0), "0".to_owned()));
    })
    .await;
}

/// Counted by awk over the log up to 1997-09-30.
#[tokio::test]
async fn a_cohort_of_a_month_is_who_bought_first_in_it_by_the_models_log_and_by_orders_since() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        assert_eq!(customers(&world, None, None).await, json!(2_357));
        let february = (Some("1997-02-01"), Some("1997-02-28"));
        assert_eq!(customers(&world, february.0, february.1).await, json!(857));
        assert_eq!(customers(&world, None, Some("1997-01-31")).await, json!(781));
        assert_eq!(customers(&world, Some("1997-03-01"), None).await, json!(719));
        let before = cohort(&world, first_bought(february.0, february.1)).await;

        let order = |id: &str, customer: &str, day: &str| {
            json!({"order_id": id, "customer_id": customer, "ordered_at": day, "amount": "5"})
        };
        let new = json!({"orders": [order("1", "new", "1997-10-07"), order("2", "0001", "1998-01-07")]});
        answered(&world, "POST", "/v1/orders", new).await;
        assert_eq!(customers(&world, None, None).await, json!(2_358));
        assert_eq!(customers(&world, Some("1997-10-07"), Some("1997-10-07")).await, json!(1));
        let after = cohort(&world, first_bought(february.0, february.1)).await;
        assert_eq!(after["customers"], json!(857));
        let alive = |answer: &Json| answer["expected_alive"].as_f64().unwrap();
        assert!(alive(&after) < alive(&before), "a quarter went by without an order of theirs");

        let tenant = who().tenant;
        let ann = world.people.resolve(&tenant, "0001", Mint::No).await.unwrap().unwrap();
        world.people.restrict(&tenant, &[ann.id], true).await.unwrap();
        assert_eq!(customers(&world, None, None).await, json!(2_357));
    })
    .await;
}

#[tokio::test]
async fn a_cohort_that_cannot_be_is_refused_by_its_field() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    for (body, wrong) in [
        (json!({}), "customer_ids"),
        (json!({"customer_ids": ["0001"], "first_purchase": {}}), "first_purchase"),
        (json!({"customer_ids": vec!["0001"; 10_001]}), "customer_ids"),
        (json!({"customer_ids": ["0001", ""]}), "customer_ids[1]"),
        (first_bought(Some("March"), None), "first_purchase.from"),
        (first_bought(Some("1997-02-01"), Some("1997-01-31")), "first_purchase.until"),
        (json!({"customer_ids": ["0001"], "horizon_weeks": 0.0}), "horizon_weeks"),
        (json!({"customer_ids": ["0001"], "intervals": true}), "intervals"),
        (json!({"first_purchase": {}, "horizon_weeks": 5_200.0, "monthly_discount": 2.0}), "monthly_discount"),
    ] {
        let (status, answer) = world.call("POST", COHORT, Some(body)).await;
        assert_eq!((status, &answer["field"]), (StatusCode::BAD_REQUEST, &json!(wrong)), "{answer}");
    }
    let (status, answer) = world.call("POST", COHORT, Some(json!({"customer_ids": ["0001", "0001", "9999"]}))).await;
    assert_eq!((status, &answer["field"]), (StatusCode::NOT_FOUND, &json!("customer_ids[2]")));
    let status = world.client(who()).predict_cohort(proto::PredictCohortRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, "who"));
    let request = Request::post(COHORT).header("content-type", "application/json");
    let request = request.body(first_bought(None, None).to_string().into()).unwrap();
    assert_eq!(world.http(of_tenant("other"), request).await.0, StatusCode::CONFLICT, "another tenant has no model");
}
