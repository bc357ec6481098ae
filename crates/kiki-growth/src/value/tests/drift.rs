//! Whether what happened since agrees with the model: CDNOW's own orders after its calibration come in live.

use std::time::Duration;

use futures::stream;
use http::StatusCode;
use kiki_kit::inprocess::in_process;
use kiki_kit::shutdown::Shutdown;
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::order_service_client::OrderServiceClient;
use kiki_store::outbox;
use kiki_store::personal::Mint;
use kiki_store::testing::{TestDb, on_both};
use serde_json::{Value as Json, json};

use super::world::{SAMPLE, World, of_tenant, report, who};
use crate::value::Promote;

/// The orders after the calibration.
pub(super) fn orders_since() -> Vec<proto::RecordOrdersRequest> {
    let order = |(number, line): (usize, &str)| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (customer, day, amount) = (fields[1], fields[2], fields[4]);
        (day > "19970930").then(|| proto::RecordOrdersRequest {
            order_id: format!("o{number}"),
            customer_id: customer.to_owned(),
            ordered_at: day.to_owned(),
            amount: amount.to_owned(),
            cancelled: false,
        })
    };
    std::str::from_utf8(SAMPLE).unwrap().lines().enumerate().filter_map(order).collect()
}

impl World {
    pub(super) async fn feed(&self, orders: Vec<proto::RecordOrdersRequest>) {
        let mut client = OrderServiceClient::new(in_process(self.service.router(), who()));
        client.record_orders(stream::iter(orders)).await.unwrap();
    }

    async fn drift(&self) -> Json {
        let (status, answer) = self.call("GET", "/models/current/drift", None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }
}

fn number(answer: &Json, path: &str) -> f64 {
    answer.pointer(path).and_then(Json::as_f64).unwrap_or_else(|| panic!("{path}: {answer}"))
}

#[tokio::test]
async fn cdnow_goes_on_much_as_was_said_and_not_if_half_of_it_stays_away() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let nothing = world.drift().await;
        assert_eq!((&nothing["verdict"], &nothing["weeks"]), (&json!("too_early"), &json!(0)));
        assert_eq!((&nothing["from"], &nothing["model_version"]), (&Json::Null, &json!(1)));

        let orders = orders_since();
        world.feed(orders.clone()).await;
        let all = world.drift().await;
        assert_eq!((&all["from"], &all["until"]), (&json!("1997-10-01"), &json!("1998-06-30")));
        // What the hold-out of docs/value.md has.
        assert_eq!((&all["weeks"], &all["purchases"]["actual"]), (&json!(39), &json!(1_882.0)));
        assert!((number(&all, "/purchases/expected") - 1_653.0).abs() < 1.0, "{all}");
        assert_eq!((&all["verdict"], &all["purchases"]["customers"]), (&json!("steady"), &json!(2_357)));
        assert!(number(&all, "/purchases/z") > 1.0, "CDNOW bought more than was said");
        assert_eq!(all["spend_per_purchase"]["verdict"], "steady");
        let spent = number(&all, "/spend_per_purchase/actual") * 1_882.0;
        assert!((spent - 70_976.0).abs() < 1.0, "{spent}");
        assert_eq!((&all["newcomers"]["verdict"], &all["newcomers_per_week"]), (&json!("too_early"), &json!(0.0)));
        let groups = all["by_frequency"].as_array().unwrap();
        let customers: u64 = groups.iter().map(|group| group["customers"].as_u64().unwrap()).sum();
        assert_eq!((groups.len(), customers), (8, 2_357));

        let half =
            orders.iter().step_by(2).cloned().map(|order| proto::RecordOrdersRequest { cancelled: true, ..order });
        world.feed(half.collect()).await;
        let half = world.drift().await;
        assert_eq!((&half["verdict"], &half["purchases"]["verdict"]), (&json!("drifting"), &json!("drifting")));
        assert!(number(&half, "/purchases/z") < -3.0);
        world.feed(orders).await;
        assert_eq!(world.drift().await, all, "as it was");
    })
    .await;
}

#[tokio::test]
async fn both_transports_say_the_same_of_a_version_and_of_the_one_in_force() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    world.feed(orders_since()).await;
    let (http, by_number) = (world.drift().await, world.call("GET", "/models/1/drift", None).await.1);
    assert_eq!(http, by_number);
    for version in [0, 1] {
        let request = proto::GetDriftRequest { version };
        let grpc = world.client(who()).get_drift(request).await.unwrap().into_inner();
        assert_eq!(grpc.verdict(), proto::DriftVerdict::Steady);
        for (name, measure) in [
            ("purchases", grpc.purchases),
            ("spend_per_purchase", grpc.spend_per_purchase),
            ("newcomers", grpc.newcomers),
        ] {
            let (grpc, http) = (measure.unwrap(), &http[name]);
            for (field, number) in [
                ("actual", grpc.actual),
                ("expected", grpc.expected),
                ("low", grpc.low),
                ("high", grpc.high),
                ("z", grpc.z),
            ] {
                assert_eq!(json!(number), http[field], "{name} {field}");
            }
            assert_eq!(json!(grpc.customers), http["customers"]);
        }
        assert_eq!((json!(grpc.until), grpc.by_frequency.len()), (http["until"].clone(), 8));
    }
    for (path, status) in [("/models/2/drift", StatusCode::NOT_FOUND), ("/models/latest/drift", StatusCode::NOT_FOUND)]
    {
        assert_eq!(world.call("GET", path, None).await.0, status, "{path}");
    }
    let request = http::Request::get("/models/current/drift").body(axum::body::Body::empty()).unwrap();
    assert_eq!(world.http(of_tenant("other"), request).await.0, StatusCode::CONFLICT);
    let request = http::Request::get("/models/1/drift").body(axum::body::Body::empty()).unwrap();
    assert_eq!(world.http(of_tenant("other"), request).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn newcomers_are_watched_and_who_objected_is_not() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        let order = |customer: &str, day: &str, number: u32| proto::RecordOrdersRequest {
            order_id: format!("{customer}-{number}"),
            customer_id: customer.to_owned(),
            ordered_at: day.to_owned(),
            amount: "10".to_owned(),
            cancelled: false,
        };
        let mut orders: Vec<_> = (0..140).map(|number| order(&format!("new{number}"), "1997-10-01", 0)).collect();
        orders.extend((0..70).map(|number| order(&format!("new{number}"), "1997-12-01", 1)));
        orders.push(order("0001", "1998-06-30", 0));
        // Somebody of before the model's last day whom it does not know.
        orders.push(order("missing", "1997-09-29", 0));
        world.feed(orders).await;
        let all = world.drift().await;
        assert_eq!((&all["newcomers"]["customers"], &all["newcomers"]["actual"]), (&json!(140), &json!(70.0)));
        assert!((number(&all, "/newcomers_per_week") - 140.0 / 39.0).abs() < 1e-9);
        assert_eq!(all["purchases"]["actual"], 1.0);

        let who: Vec<_> = world.people.resolve_many(&tenant, &["new0", "0001"], Mint::No).await.unwrap();
        let ids: Vec<_> = who.into_iter().flatten().map(|person| person.id).collect();
        world.people.object(&tenant, &ids, true).await.unwrap();
        let fewer = world.drift().await;
        assert_eq!((&fewer["newcomers"]["customers"], &fewer["newcomers"]["actual"]), (&json!(139), &json!(69.0)));
        assert_eq!((&fewer["purchases"]["customers"], &fewer["purchases"]["actual"]), (&json!(2_356), &json!(0.0)));
    })
    .await;
}

impl World {
    async fn look(&self) {
        self.value.look_at_all(&Shutdown::new()).await.unwrap();
    }

    /// What the log is told of drift: of which model, and why.
    async fn told(&self) -> Vec<(String, String)> {
        let entries = outbox::pending(&self.value.needs.store, "audit", 100).await.unwrap();
        let entries = entries.iter().map(|entry| serde_json::from_str::<Json>(&entry.event.payload).unwrap());
        let text = |entry: &Json, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let entries = entries.filter(|entry| entry["type"] == "value.model.drift");
        entries.map(|entry| (text(&entry, "resource"), text(&entry, "reason"))).collect()
    }
}

/// Also after two looks at the same moment.
const DAY: Duration = Duration::from_secs(24 * 60 * 60 + 1);

#[tokio::test]
async fn the_watch_tells_once_when_a_model_begins_to_drift_and_once_when_it_ends() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        world.look().await;
        let orders = orders_since();
        world.feed(orders.clone()).await;
        world.look().await;
        assert_eq!(world.told().await, []);

        let half =
            orders.iter().step_by(2).cloned().map(|order| proto::RecordOrdersRequest { cancelled: true, ..order });
        world.feed(half.collect()).await;
        world.look().await;
        assert_eq!(world.told().await, [], "it was looked at today");
        world.clock.advance(DAY);
        let (one, other) = (world.look(), world.look());
        futures::join!(one, other);
        world.clock.advance(DAY);
        world.look().await;
        let told = world.told().await;
        let (model, reason) = told.first().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(reason.starts_with("drifting: purchases at 5"), "{reason}");
        let current = world.value.current(&who().tenant).await.unwrap();
        assert_eq!(*model, format!("value/model/{}", current.id));

        // Another model is looked at at once, and what was said of the one before it is not said of it.
        world.value.save(&who(), report(), Promote::Now).await.unwrap();
        world.look().await;
        let told = world.told().await;
        assert!(told.len() == 2 && told[1].0 != told[0].0, "{told:?}");
        world.feed(orders).await;
        world.clock.advance(DAY);
        world.look().await;
        assert_eq!(world.told().await[2], (told[1].0.clone(), "steady".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn a_further_whole_week_is_looked_at_when_it_is_over() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let before = |day: &'static str| move |order: &proto::RecordOrdersRequest| order.ordered_at.as_str() < day;
    let (early, late): (Vec<_>, Vec<_>) = orders_since().into_iter().partition(before("19971101"));
    let until = async || {
        world.look().await;
        let feeds = crate::value::repo::drift::feeds_after(&db.store, None, 10).await.unwrap();
        feeds[0].last.unwrap().until_day
    };
    world.feed(early).await;
    let first = until().await;
    world.feed(late.iter().filter(|order| before("19971104")(order)).cloned().collect()).await;
    assert_eq!(until().await, first, "four weeks are over, five are not");
    world.feed(late.iter().filter(|order| before("19971105")(order)).cloned().collect()).await;
    assert_eq!(until().await, first + 7);
}
