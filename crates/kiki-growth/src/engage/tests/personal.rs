use kiki_store::personal::{Cause, Cutoffs, Mint, PersonalStore as _, Rectified};
use kiki_store::testing::on_both;
use kiki_types::{TenantId, UnixMillis};
use serde_json::{Map, Value, json};

use super::world::World;
use crate::engage::personal::Messages;

/// Cutoffs of which only the one for messages counts.
fn cutoffs(marketing: i64) -> Cutoffs {
    let never = UnixMillis(0);
    Cutoffs { now: never, sessions: never, marketing: UnixMillis(marketing), customers: never, audit: never }
}

async fn expired(store: &Messages, before: i64, limit: u32, dry: bool) -> u64 {
    store.expire(&TenantId::default_tenant(), &cutoffs(before), limit, dry).await.unwrap().rows
}

#[tokio::test]
async fn a_person_is_told_their_messages_and_then_forgotten_without_a_campaign_losing_its_sums() {
    on_both(async |db| {
        let (world, tenant) = (World::new(&db.store, 3).await, TenantId::default_tenant());
        let store = Messages(db.store.clone());
        let id = world.campaign("100").await;
        world.run(&id).await;
        let ann = world.people.resolve(&tenant, "00002", Mint::No).await.unwrap().unwrap();
        let documents = store.export(&ann).await.unwrap();
        assert_eq!((documents.len(), documents[0].rows.len()), (1, 1));
        let row = &documents[0].rows[0];
        assert_eq!(
            (&row["state"], &row["value"], &row["campaign_id"]),
            (&json!("captured"), &json!("2.00"), &json!(id))
        );
        assert_eq!(store.rectify(&ann, &Map::new()).await.unwrap(), Rectified::Derived);

        let elsewhere = "globex".parse().unwrap();
        assert_eq!(store.erase(&elsewhere, &[ann.id]).await.unwrap(), 0);
        assert_eq!(store.erase(&tenant, &[ann.id]).await.unwrap(), 1);
        assert_eq!(store.erase(&tenant, &[ann.id]).await.unwrap(), 0, "again changes nothing");
        assert_eq!(store.export(&ann).await.unwrap(), []);
        assert_eq!(store.rectify(&ann, &Map::new()).await.unwrap(), Rectified::NotHeld);
        let (_, campaign) = world.get(&format!("/campaigns/{id}")).await;
        assert_eq!(campaign["messages"], json!({"captured": 3}));
        let named = |campaign: &Value| -> Vec<Value> {
            let mut named: Vec<_> =
                campaign["outcomes"].as_array().unwrap().iter().map(|one| one["customer_id"].clone()).collect();
            named.sort_by_key(ToString::to_string);
            named
        };
        assert_eq!(named(&campaign), [json!("00001"), json!("00003"), Value::Null]);
        // Who is written to again is written to anew: nobody knows that they were before.
        world.people.destroy(&tenant, &[ann.id], Cause::Request, "").await.unwrap();
        assert_eq!(world.run(&id).await["messages"], json!({"captured": 4}));
    })
    .await;
}

#[tokio::test]
async fn messages_that_are_old_or_whose_person_was_erased_become_nobodys_and_a_dry_run_counts_them() {
    on_both(async |db| {
        let (world, tenant) = (World::new(&db.store, 5).await, TenantId::default_tenant());
        let store = Messages(db.store.clone());
        let id = world.campaign("100").await;
        world.run(&id).await;
        assert_eq!(expired(&store, 0, 10, true).await, 0);
        let ann = world.people.resolve(&tenant, "00002", Mint::No).await.unwrap().unwrap();
        world.people.destroy(&tenant, &[ann.id], Cause::Request, "").await.unwrap();
        for dry in [true, false] {
            assert_eq!(expired(&store, 0, 10, dry).await, 1, "the one who has no key any more");
        }
        for (dry, rows) in [(true, 4), (false, 3), (true, 1), (false, 1), (false, 0), (true, 0)] {
            assert_eq!(expired(&store, i64::MAX, 3, dry).await, rows);
        }
        let (_, campaign) = world.get(&format!("/campaigns/{id}")).await;
        assert_eq!(campaign["messages"], json!({"captured": 5}));
        assert!(campaign["outcomes"].as_array().unwrap().iter().all(|one| one["customer_id"].is_null()));
    })
    .await;
}

#[tokio::test]
async fn a_campaign_passes_over_who_restricted_what_is_done_with_their_data_or_objects() {
    on_both(async |db| {
        let (world, tenant) = (World::new(&db.store, 3).await, TenantId::default_tenant());
        let ann = world.people.resolve(&tenant, "00002", Mint::Yes).await.unwrap().unwrap();
        world.people.restrict(&tenant, &[ann.id], true).await.unwrap();
        let id = world.campaign("100").await;
        assert_eq!(world.run(&id).await["messages"], json!({"captured": 2}));
        world.people.restrict(&tenant, &[ann.id], false).await.unwrap();
        world.people.object(&tenant, &[ann.id], true).await.unwrap();
        assert_eq!(world.run(&id).await["messages"], json!({"captured": 2}));
        assert_eq!(Messages(db.store.clone()).export(&ann).await.unwrap(), []);
        world.people.object(&tenant, &[ann.id], false).await.unwrap();
        assert_eq!(world.run(&id).await["messages"], json!({"captured": 3}));
    })
    .await;
}
