//! What a repeat, a rollback or the end of a training must not do: bring back who is gone, answer twice, or name people.

use std::sync::Arc;

use axum::body::Body;
use futures::stream;
use http::{Request, StatusCode};
use kiki_kit::inprocess::in_process;
use kiki_kit::problem::GRPC_FIELD_KEY;
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::order_service_client::OrderServiceClient;
use kiki_store::personal::{Cause, Mint};
use kiki_store::testing::on_both;
use serde_json::{Value as Json, json};

use super::serving::{answered, trained};
use super::world::{SAMPLE, World, report, who};
use crate::value::Promote;

async fn with_key(world: &World, path: &str, key: &str, body: impl Into<Body>) -> (StatusCode, Json) {
    let request = Request::post(path).header("content-type", "application/json").header("idempotency-key", key);
    world.http(who(), request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn no_version_without_customers_is_put_in_force_and_a_repeat_of_its_promotion_gets_its_answer() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let promoted = with_key(&world, "/models/1/promote", "once", "").await;
        assert_eq!(promoted.0, StatusCode::OK);
        for promote in [Promote::Now, Promote::Now, Promote::Later, Promote::Later, Promote::Later] {
            world.value.save(&who(), report(), promote).await.unwrap();
        }
        // Three is in force, two before it, and of the rest the three newest know their customers.
        let back = answered(&world, "POST", "/models/rollback", json!({})).await;
        assert_eq!(back["version"], 2);
        for path in ["/models/rollback", "/models/1/promote"] {
            let (status, refused) = world.call("POST", path, None).await;
            assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("customers_gone")), "{path}");
        }
        assert_eq!(world.model(who()).await.1["version"], 2);
        assert_eq!(with_key(&world, "/models/1/promote", "once", "").await, promoted);
        assert_eq!(world.model(who()).await.1["version"], 2);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_of_orders_makes_nobody_known_again_who_was_erased() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        let order = json!({"order_id": "1", "customer_id": "ann", "ordered_at": "1998-07-01", "amount": "5"});
        let orders = json!({"orders": [order]}).to_string();
        let recorded = with_key(&world, "/v1/orders", "once", orders.clone()).await;
        assert_eq!(recorded, (StatusCode::OK, json!({"recorded": 1})));
        let ann = world.people.resolve(&tenant, "ann", Mint::No).await.unwrap().unwrap();
        world.people.destroy(&tenant, &[ann.id], Cause::Request, "").await.unwrap();
        assert_eq!(with_key(&world, "/v1/orders", "once", orders).await, recorded);
        assert!(world.people.resolve(&tenant, "ann", Mint::No).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_repeat_of_a_training_is_answered_while_others_run() {
    on_both(async |db| {
        let world = World::new(&db.store).await;
        let train = async |key| with_key(&world, "/train?calibrate_until=1997-09-30", key, SAMPLE).await;
        let begun = train("once").await;
        assert_eq!(begun.0, StatusCode::ACCEPTED);
        // Its own place comes back when it ends.
        let _busy = Arc::clone(&world.value.trainings.places).acquire_many_owned(2).await.unwrap();
        assert_eq!(train("once").await, begun);
        let (status, refused) = train("another").await;
        assert_eq!((status, &refused["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("too_many_trainings")));
    })
    .await;
}

#[tokio::test]
async fn a_training_that_cannot_be_saved_names_nobody() {
    on_both(async |db| {
        let world = World::new(&db.store).await;
        let too_much = "ann@example.com,1997-01-01,1\n".to_owned()
            + &(2..=4).map(|day| format!("ann@example.com,1997-01-0{day},9000000000000\n")).collect::<String>();
        let rows =
            String::from_utf8_lossy(SAMPLE).lines().fold(format!("customer,date,amount\n{too_much}"), |rows, line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{rows}{},{},{}\n", words[1], words[2], words[4])
            });
        let failed = trained(&world, "calibrate_until=1997-09-30", rows.into_bytes()).await;
        assert_eq!(failed["state"], "failed");
        let problem = failed["problem"].as_str().unwrap();
        assert_eq!(problem, "amount: a customer bought for more than can be kept, 9.2 * 10^12");
    })
    .await;
}

#[tokio::test]
async fn an_order_of_the_future_is_told_by_its_place_in_the_stream() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let order = |index: u32| proto::RecordOrdersRequest {
            order_id: index.to_string(),
            customer_id: "0004".to_owned(),
            ordered_at: if index == 1_001 { "2100-01-01".to_owned() } else { "1998-07-01".to_owned() },
            amount: "1".to_owned(),
            cancelled: false,
        };
        let orders: Vec<_> = (0..1_010).map(order).collect();
        let mut client = OrderServiceClient::new(in_process(world.service.router(), who()));
        let status = client.record_orders(stream::iter(orders)).await.unwrap_err();
        let field = status.metadata().get(GRPC_FIELD_KEY).unwrap().to_str().unwrap();
        assert_eq!(field, "orders[1001].ordered_at");
    })
    .await;
}
