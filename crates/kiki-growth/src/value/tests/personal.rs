use kiki_store::personal::{Cause, Cutoffs, Mint, PersonalStore as _, Rectified};
use kiki_store::testing::on_both;
use kiki_types::UnixMillis;
use serde_json::{Map, json};
use tonic::Code;

use super::selection::everybody;
use super::world::{World, about, report, who};
use crate::value::Promote;
use crate::value::personal::Purchases;

/// The fourth customer of the sample.
const ANN: &str = "0004";

fn cutoffs(customers: i64) -> Cutoffs {
    let never = UnixMillis(0);
    Cutoffs { now: never, sessions: never, marketing: never, customers: UnixMillis(customers), audit: never }
}

#[tokio::test]
async fn a_person_is_told_what_they_bought_and_then_no_model_knows_them() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        let store = Purchases(db.store.clone());
        let ann = world.people.resolve(&tenant, ANN, Mint::No).await.unwrap().unwrap();
        let documents = store.export(&ann).await.unwrap();
        let names: Vec<_> = documents.iter().map(|one| (one.name.as_str(), one.provided)).collect();
        assert_eq!(names, [("purchases", true), ("predictions", false)]);
        let bought = &documents[0].rows[0];
        assert_eq!(
            (&bought["repeat_purchases"], &bought["until"]),
            (&json!(report().summaries[3].1.frequency), &json!("1997-09-30"))
        );
        assert!(world.predict(about(ANN, 39.0)).await.is_ok());
        assert_eq!(store.rectify(&ann, &Map::new()).await.unwrap(), Rectified::Derived);

        assert_eq!(store.erase(&"globex".parse().unwrap(), &[ann.id]).await.unwrap(), 0);
        assert_eq!(store.erase(&tenant, &[ann.id]).await.unwrap(), 1);
        assert_eq!(store.erase(&tenant, &[ann.id]).await.unwrap(), 0, "again changes nothing");
        assert_eq!(store.export(&ann).await.unwrap(), []);
        assert_eq!(store.rectify(&ann, &Map::new()).await.unwrap(), Rectified::NotHeld);
        assert_eq!(world.predict(about(ANN, 39.0)).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn orders_that_came_are_told_forgotten_and_go_when_their_time_is_over() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        let store = Purchases(db.store.clone());
        let order = |id: &str, customer: &str| {
            json!({"order_id": id, "customer_id": customer, "ordered_at": "1998-07-01", "amount": "5"})
        };
        let orders = json!({"orders": [order("1", ANN), order("2", "new"), order("3", "new")]});
        assert_eq!(world.call("POST", "/v1/orders", Some(orders)).await.0, http::StatusCode::OK);
        let of = async |name| world.people.resolve(&tenant, name, Mint::No).await.unwrap().unwrap();
        let (ann, new) = (of(ANN).await, of("new").await);
        let documents = store.export(&new).await.unwrap();
        assert_eq!((documents.len(), documents[0].name.as_str(), documents[0].provided), (1, "orders", true));
        assert_eq!(json!(documents[0].rows[0]), json!({"day": "1998-07-01", "amount": "5.00"}));
        assert_eq!(store.rectify(&new, &Map::new()).await.unwrap(), Rectified::Derived);

        assert_eq!(store.erase(&tenant, &[ann.id]).await.unwrap(), 2, "what the model knew, and an order");
        assert_eq!(world.predict(about(ANN, 39.0)).await.unwrap_err().code(), Code::NotFound);
        assert!(world.predict(about("new", 39.0)).await.is_ok());
        for (dry, rows) in [(true, 2), (false, 2), (false, 0)] {
            assert_eq!(store.expire(&tenant, &cutoffs(i64::MAX), 10, dry).await.unwrap().rows, rows);
        }
        assert_eq!(world.predict(about("new", 39.0)).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn who_restricted_is_neither_predicted_nor_selected_until_they_take_it_back() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        let ann = world.people.resolve(&tenant, ANN, Mint::No).await.unwrap().unwrap();
        let replica = world.people.another(&db.store).await.unwrap();
        for (restricted, code) in [(true, Some(Code::NotFound)), (false, None)] {
            replica.restrict(&tenant, &[ann.id], restricted).await.unwrap();
            assert_eq!(world.predict(about(ANN, 39.0)).await.err().map(|status| status.code()), code);
            let (selected, _) = world.pages(everybody()).await;
            assert_eq!(selected.iter().any(|one| one.customer_id == ANN), !restricted);
            assert_eq!(selected.len(), report().summaries.len() - usize::from(restricted));
        }
    })
    .await;
}

#[tokio::test]
async fn whom_another_replica_erased_is_nobody_at_once() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        assert!(world.predict(about(ANN, 39.0)).await.is_ok());
        let replica = world.people.another(&db.store).await.unwrap();
        let ann = replica.resolve(&tenant, ANN, Mint::No).await.unwrap().unwrap();
        replica.destroy(&tenant, &[ann.id], Cause::Request, "").await.unwrap();
        assert_eq!(world.predict(about(ANN, 39.0)).await.unwrap_err().code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn who_objects_is_profiled_no_more_until_they_take_it_back() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        let ann = world.people.resolve(&tenant, ANN, Mint::No).await.unwrap().unwrap();
        let replica = world.people.another(&db.store).await.unwrap();
        for (objects, code) in [(true, Some(Code::NotFound)), (false, None)] {
            replica.object(&tenant, &[ann.id], objects).await.unwrap();
            assert_eq!(world.predict(about(ANN, 39.0)).await.err().map(|status| status.code()), code);
            let (selected, _) = world.pages(everybody()).await;
            assert_eq!(selected.len(), report().summaries.len() - usize::from(objects));
        }
    })
    .await;
}

#[tokio::test]
async fn models_that_were_replaced_long_ago_go_with_what_they_know_and_the_newest_stays() {
    on_both(async |db| {
        let (world, tenant) = (World::fitted(&db.store).await, who().tenant);
        let store = Purchases(db.store.clone());
        let customers = u64::try_from(report().summaries.len()).unwrap();
        let expire =
            async |before: i64, limit, dry| store.expire(&tenant, &cutoffs(before), limit, dry).await.unwrap().rows;
        assert_eq!(expire(i64::MAX, 10, true).await, 0, "the newest stays however old it is");
        world.value.save(&who(), report(), Promote::Now).await.unwrap();
        assert_eq!(expire(0, 10, true).await, 0);
        assert_eq!(expire(i64::MAX, 10, true).await, customers + 1);
        let mut gone = 0;
        loop {
            match expire(i64::MAX, 1_000, false).await {
                0 => break,
                rows => gone += rows,
            }
        }
        assert_eq!(gone, customers + 1);
        assert!(world.predict(about(ANN, 39.0)).await.is_ok());

        let ann = world.people.resolve(&tenant, ANN, Mint::No).await.unwrap().unwrap();
        world.people.destroy(&tenant, &[ann.id], Cause::Request, "").await.unwrap();
        for (dry, rows) in [(true, 1), (false, 1), (false, 0)] {
            assert_eq!(expire(0, 10, dry).await, rows, "what nobody can read any more");
        }
    })
    .await;
}
