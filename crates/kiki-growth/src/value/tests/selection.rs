//! Customers, a page at a time.

use std::collections::BTreeSet;

use kiki_models::ltv::Summary;
use kiki_proto::value::v1 as proto;
use kiki_store::personal::Mint;
use kiki_store::testing::{TestDb, on_both};
use serde_json::json;
use tonic::{Code, Status};

use super::serving::answered;
use super::world::{World, about, field, of_tenant, report, who};
use crate::value::FitReport;
use crate::value::Promote;

pub(super) fn everybody() -> proto::SelectCustomersRequest {
    proto::SelectCustomersRequest::default()
}

impl World {
    async fn page(&self, request: proto::SelectCustomersRequest) -> Result<proto::SelectCustomersResponse, Status> {
        self.client(who()).select_customers(request).await.map(tonic::Response::into_inner)
    }

    /// All pages, and the sizes that they had.
    pub(super) async fn pages(
        &self,
        request: proto::SelectCustomersRequest,
    ) -> (Vec<proto::PredictLtvResponse>, Vec<usize>) {
        let (mut customers, mut sizes, mut request) = (Vec::new(), Vec::new(), request);
        for _ in 0..1_000 {
            let page = self.page(request.clone()).await.unwrap();
            assert_eq!(page.customers_known, 2_357);
            sizes.push(page.customers.len());
            customers.extend(page.customers);
            if page.next_page_token.is_empty() {
                return (customers, sizes);
            }
            request.page_token = page.next_page_token;
        }
        panic!("the pages do not end");
    }
}

#[tokio::test]
async fn every_customer_is_on_one_page_in_the_order_of_ids() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        for (page_size, first) in [(0, 500), (1_000, 1_000), (999, 999)] {
            let (customers, sizes) = world.pages(proto::SelectCustomersRequest { page_size, ..everybody() }).await;
            let ids: Vec<&str> = customers.iter().map(|one| one.customer_id.as_str()).collect();
            let expected: Vec<String> = (1..=2_357).map(|number| format!("{number:04}")).collect();
            assert_eq!(ids, expected);
            assert_eq!(sizes[0], first);
        }
    })
    .await;
}

#[tokio::test]
async fn who_is_selected_is_predicted_alike_and_within_the_bounds() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let (all, _) = world.pages(proto::SelectCustomersRequest { horizon_weeks: 26.0, ..everybody() }).await;
    assert_eq!(all[0], world.predict(about("0001", 26.0)).await.unwrap());
    let at_risk = proto::SelectCustomersRequest {
        value_min: Some(5.0),
        value_max: Some(40.0),
        probability_alive_min: Some(0.2),
        probability_alive_max: Some(0.7),
        horizon_weeks: 26.0,
        page_size: 100,
        ..everybody()
    };
    let (selected, sizes) = world.pages(at_risk).await;
    let wanted = |one: &&proto::PredictLtvResponse| {
        (5.0..=40.0).contains(&one.value) && (0.2..=0.7).contains(&one.probability_alive)
    };
    let expected: Vec<proto::PredictLtvResponse> = all.iter().filter(wanted).cloned().collect();
    assert!(expected.len() > 100 && sizes[0] == 100, "{} {sizes:?}", expected.len());
    assert_eq!(selected, expected);
    let nobody = proto::SelectCustomersRequest { value_min: Some(1e9), ..everybody() };
    assert_eq!(world.page(nobody).await.unwrap().customers, []);
}

#[tokio::test]
async fn pages_go_on_in_the_model_in_which_they_began() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let first = world.page(everybody()).await.unwrap();
    let next = proto::SelectCustomersRequest { page_token: first.next_page_token, ..everybody() };
    for _ in 0..2 {
        world.value.save(&who(), report(), Promote::Now).await.unwrap();
        let page = world.page(next.clone()).await.unwrap();
        assert_eq!(
            (page.customers[0].customer_id.as_str(), &page.customers[0].model),
            ("0501", &first.customers[0].model)
        );
    }
    world.value.save(&who(), report(), Promote::Now).await.unwrap();
    let status = world.page(next.clone()).await.unwrap_err();
    assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, "page_token"));
    let status = world.client(of_tenant("other")).select_customers(next).await.unwrap_err();
    assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, "page_token"));
}

#[tokio::test]
async fn a_selection_that_cannot_be_is_refused_by_its_field() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    for (request, wrong) in [
        (proto::SelectCustomersRequest { page_size: -1, ..everybody() }, "page_size"),
        (proto::SelectCustomersRequest { page_size: 1_001, ..everybody() }, "page_size"),
        (proto::SelectCustomersRequest { page_token: "7".to_owned(), ..everybody() }, "page_token"),
        (
            proto::SelectCustomersRequest {
                page_token: "01a1fdc5-f67a-77fb-b661-1f6e0791435e.o7".to_owned(),
                ..everybody()
            },
            "page_token",
        ),
        (proto::SelectCustomersRequest { value_min: Some(f64::NAN), ..everybody() }, "value_min"),
        (proto::SelectCustomersRequest { horizon_weeks: -1.0, ..everybody() }, "horizon_weeks"),
        (proto::SelectCustomersRequest { monthly_discount: Some(2.0), ..everybody() }, "monthly_discount"),
    ] {
        let status = world.page(request).await.unwrap_err();
        assert_eq!((status.code(), field(&status)), (Code::InvalidArgument, wrong), "{status}");
    }
}

/// A page looks at 20,000 customers at the most, so that one question cannot keep the service busy for long.
#[tokio::test]
async fn a_page_that_finds_nobody_yet_says_where_to_go_on() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store).await;
    let once = Summary { frequency: 0, recency_days: 0, age_days: 270, repeat_micros: 0 };
    let often = Summary { frequency: 9, recency_days: 269, age_days: 270, repeat_micros: 900_000_000 };
    let ids = (0..20_500).map(|number| format!("{number:05}").into());
    let mut summaries: Vec<_> = ids.map(|id| (id, once)).collect();
    summaries[20_100].1 = often;
    world.value.save(&who(), &FitReport { summaries, ..report().clone() }, Promote::Now).await.unwrap();
    let rich = proto::SelectCustomersRequest { value_min: Some(50.0), horizon_weeks: 4.0, ..everybody() };
    let first = world.page(rich.clone()).await.unwrap();
    assert_eq!((first.customers.len(), first.customers_known), (0, 20_500));
    let next = proto::SelectCustomersRequest { page_token: first.next_page_token, ..rich };
    let last = world.page(next).await.unwrap();
    assert_eq!((last.customers[0].customer_id.as_str(), last.customers.len()), ("20100", 1));
    assert_eq!(last.next_page_token, "");
}

/// Orders of customers, a day each, that count or do not.
async fn ordered(world: &World, customers: &[String], cancelled: bool) {
    let order = |customer: &String| {
        json!({"order_id": format!("of {customer}"), "customer_id": customer, "ordered_at": "1997-10-07",
            "amount": "5", "cancelled": cancelled})
    };
    let orders: Vec<_> = customers.iter().map(order).collect();
    answered(world, "POST", "/v1/orders", json!({ "orders": orders })).await;
}

fn names(prefix: &str, count: u32) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number:02}")).collect()
}

#[tokio::test]
async fn whom_only_orders_know_come_after_those_whom_the_model_knows() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let new = names("new", 30);
        ordered(&world, &new, false).await;
        ordered(&world, &["0001".to_owned()], false).await;
        ordered(&world, &names("cancelled", 3), true).await;
        let shy = names("shy", 2);
        ordered(&world, &shy, false).await;
        let tenant = who().tenant;
        for (name, restricts) in [(&shy[0], true), (&shy[1], false)] {
            let handle = world.people.resolve(&tenant, name, Mint::No).await.unwrap().unwrap().id;
            let who = [handle];
            if restricts {
                world.people.restrict(&tenant, &who, true).await.unwrap();
            } else {
                world.people.object(&tenant, &who, true).await.unwrap();
            }
        }
        let (all, _) = world.pages(proto::SelectCustomersRequest { page_size: 997, ..everybody() }).await;
        let (known, since) = all.split_at(2_357);
        assert!(known.iter().all(|one| one.customer_id.parse::<u32>().is_ok()));
        let names =
            |of: &[proto::PredictLtvResponse]| of.iter().map(|one| one.customer_id.clone()).collect::<BTreeSet<_>>();
        assert_eq!((since.len(), names(since)), (30, new.iter().cloned().collect()));
        assert_eq!(since[0], world.predict(about(&since[0].customer_id, 52.0)).await.unwrap());
        let rich = proto::SelectCustomersRequest { value_min: Some(since[0].value + 1.0), ..everybody() };
        assert!(world.pages(rich).await.0.iter().all(|one| one.customer_id.parse::<u32>().is_ok()));
        let again = world.pages(proto::SelectCustomersRequest { page_size: 340, ..everybody() }).await.0;
        assert_eq!(again, all);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_missed_or_comes_twice_when_orders_come_between_pages() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let first = names("first", 40);
        ordered(&world, &first, false).await;
        let mut request = proto::SelectCustomersRequest { page_size: 150, ..everybody() };
        let mut seen = Vec::new();
        for round in 0..100 {
            let page = world.page(request.clone()).await.unwrap();
            seen.extend(page.customers.into_iter().map(|one| one.customer_id));
            if page.next_page_token.is_empty() {
                break;
            }
            // Of somebody new, of whom the model knows, and again of whom only orders know.
            ordered(&world, &names(&format!("later{round:02}-"), 5), false).await;
            ordered(&world, &[format!("{:04}", round + 1), first[0].clone()], false).await;
            request.page_token = page.next_page_token;
            request.page_size = if round < 14 { 150 } else { 6 };
        }
        let once: BTreeSet<&str> = seen.iter().map(String::as_str).collect();
        assert_eq!(once.len(), seen.len(), "nobody twice");
        assert!((1..=2_357).all(|number| once.contains(format!("{number:04}").as_str())));
        assert!(first.iter().all(|name| once.contains(name.as_str())), "nobody missed");
    })
    .await;
}
