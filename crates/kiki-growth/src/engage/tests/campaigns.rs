use http::StatusCode;
use kiki_proto::shield::v1::AuthorizationState as State;
use kiki_store::outbox;
use kiki_store::testing::{TestDb, on_both};
use serde_json::json;

use super::world::{World, customer, new_campaign, outcome};
use crate::engage::{AUDIT_TOPIC, SendError};

#[tokio::test]
async fn a_campaign_reaches_its_audience_and_pays_for_each_message() {
    on_both(async |db| {
        let world = World::new(&db.store, 70).await;
        let id = world.campaign("100").await;
        let campaign = world.run(&id).await;
        assert_eq!(campaign["status"], "completed");
        assert_eq!(campaign["messages"], json!({"captured": 70}));
        assert_eq!(campaign["spent"], json!({"amount": "70.00", "currency": "USD"}));
        assert_eq!(world.received(), 70);
        assert_eq!(world.shield.0.lock().unwrap().count(State::Captured), 70);
        let received = world.mail.received.lock().unwrap();
        let mail = received.values().find(|mail| mail.customer_id == "00007").unwrap();
        assert_eq!(mail.subject, "We miss you, 00007");
        assert_eq!(mail.body, "You are worth 7.00 (0.50).");
        assert_eq!(outcome(&campaign, "00007")["message_id"], mail.id.to_string());
    })
    .await;
}

#[tokio::test]
async fn the_audience_bounds_who_is_reached() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 40).await;
    let mut new = new_campaign("100");
    new["audience"] = json!({"value_min": 31.0});
    let (_, created) = world.post("/campaigns", &new, None).await;
    let campaign = world.run(created["id"].as_str().unwrap()).await;
    assert_eq!(campaign["messages"], json!({"captured": 10}));
    assert_eq!(campaign["audience"], json!({"value_min": 31.0}));
}

#[tokio::test]
async fn who_did_not_agree_gets_no_message_and_costs_nothing() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    world.shield.0.lock().unwrap().consented.remove("00003");
    let id = world.campaign("100").await;
    let campaign = world.run(&id).await;
    assert_eq!(campaign["messages"], json!({"captured": 4, "refused": 1}));
    assert_eq!(campaign["reasons"], json!({"consent": 1}));
    assert_eq!(outcome(&campaign, "00003")["reasons"], json!(["consent"]));
    assert!(world.mail.calls.lock().unwrap().iter().all(|mail| mail.customer_id != "00003"));
}

#[tokio::test]
async fn when_the_budget_is_spent_the_rest_is_refused_by_it() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 50).await;
    let id = world.campaign("20.50").await;
    let campaign = world.run(&id).await;
    assert_eq!(campaign["messages"], json!({"captured": 20, "refused": 30}));
    assert_eq!(campaign["reasons"], json!({format!("campaign-{id}"): 30}));
    assert_eq!(campaign["spent"]["amount"], "20.00");
    assert_eq!(world.received(), 20);
}

#[tokio::test]
async fn a_message_that_cannot_be_sent_gives_its_money_back() {
    on_both(async |db| {
        let world = World::new(&db.store, 3).await;
        let failures = [("00001".to_owned(), SendError::Rejected), ("00002".to_owned(), SendError::Unavailable)];
        world.mail.failing.lock().unwrap().extend(failures);
        let id = world.campaign("100").await;
        let campaign = world.run(&id).await;
        assert_eq!(campaign["messages"], json!({"captured": 1, "failed": 2}));
        assert_eq!(campaign["reasons"], json!({"send_rejected": 1, "send_unavailable": 1}));
        assert_eq!(campaign["spent"]["amount"], "1.00");
        assert_eq!(world.shield.0.lock().unwrap().count(State::Voided), 2);

        // A rerun tries again what may pass, under a new authorization, and leaves what was rejected.
        world.mail.failing.lock().unwrap().clear();
        let campaign = world.run(&id).await;
        assert_eq!(campaign["messages"], json!({"captured": 2, "failed": 1}));
        assert_eq!(outcome(&campaign, "00002")["attempt"], 2);
        assert_eq!(outcome(&campaign, "00001")["reasons"], json!(["send_rejected"]));
    })
    .await;
}

#[tokio::test]
async fn a_rerun_sends_nothing_twice_and_asks_again_for_who_was_refused() {
    on_both(async |db| {
        let world = World::new(&db.store, 40).await;
        world.shield.0.lock().unwrap().consented.remove("00011");
        let id = world.campaign("100").await;
        world.run(&id).await;
        let asked = world.shield.0.lock().unwrap().authorizations.len();
        let campaign = world.run(&id).await;
        assert_eq!(campaign["messages"], json!({"captured": 39, "refused": 1}));
        assert_eq!(world.mail.calls.lock().unwrap().len(), 39);
        // Only the one who was refused was asked for again.
        assert_eq!(world.shield.0.lock().unwrap().authorizations.len(), asked + 1);

        world.shield.0.lock().unwrap().consented.insert("00011".to_owned());
        let campaign = world.run(&id).await;
        assert_eq!(campaign["messages"], json!({"captured": 40}));
        assert_eq!((outcome(&campaign, "00011")["attempt"].as_i64(), campaign["runs"].as_i64()), (Some(3), Some(3)));
        assert_eq!(world.mail.calls.lock().unwrap().len(), 40);
    })
    .await;
}

#[tokio::test]
async fn a_campaign_that_is_being_run_is_not_run_beside_itself() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 100).await;
    let id = world.campaign("1000").await;
    let path = format!("/campaigns/{id}/run");
    let none = serde_json::Value::Null;
    let (one, other) = tokio::join!(world.post(&path, &none, None), world.post(&path, &none, None));
    let (accepted, refused) = if one.0 == StatusCode::ACCEPTED { (one, other) } else { (other, one) };
    assert_eq!((accepted.0, refused.0), (StatusCode::ACCEPTED, StatusCode::CONFLICT));
    assert_eq!(refused.1["code"], "run_in_progress");
    let campaign = world.ended(&id).await;
    assert_eq!(campaign["runs"], 1);
    assert_eq!(world.mail.calls.lock().unwrap().len(), 100);
    let entries = outbox::pending(&world.store, AUDIT_TOPIC, 1_000).await.unwrap();
    let started = |entry: &&outbox::Pending| entry.event.payload.contains("\"campaign.run\"");
    assert_eq!(entries.iter().filter(started).count(), 1);
}

#[tokio::test]
async fn campaigns_and_outcomes_are_paged() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.campaign("100").await);
        world.clock.advance(std::time::Duration::from_secs(1));
    }
    let (_, page) = world.get("/campaigns?limit=2").await;
    let listed = |page: &serde_json::Value| -> Vec<String> {
        page["campaigns"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&page), ids[..2]);
    let (_, page) = world.get(&format!("/campaigns?limit=2&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((listed(&page), page["next"].is_null()), (ids[2..].to_vec(), true));

    world.run(&ids[0]).await;
    let (_, first) = world.get(&format!("/campaigns/{}?limit=3", ids[0])).await;
    let next = first["next"].as_str().unwrap();
    let (_, rest) = world.get(&format!("/campaigns/{}?limit=3&after={next}", ids[0])).await;
    assert!(rest["next"].is_null());
    let shown = [&first, &rest].map(|page| page["outcomes"].as_array().unwrap().clone());
    assert_eq!(shown.each_ref().map(Vec::len), [3, 2]);
    let mut customers: Vec<_> = shown.concat().iter().map(|one| one["customer_id"].clone()).collect();
    customers.sort_by_key(ToString::to_string);
    assert_eq!(customers, (1..=5).map(|number| json!(customer(number))).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_repeat_with_the_same_key_creates_one_campaign() {
    on_both(async |db| {
        let world = World::new(&db.store, 1).await;
        let (first, one) = world.post("/campaigns", &new_campaign("10"), Some("k-1")).await;
        let (second, two) = world.post("/campaigns", &new_campaign("10"), Some("k-1")).await;
        assert_eq!((first, &one), (second, &two));
        assert_eq!(first, StatusCode::CREATED);
        let (status, problem) = world.post("/campaigns", &new_campaign("11"), Some("k-1")).await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_conflict")));
        let (_, page) = world.get("/campaigns").await;
        assert_eq!(page["campaigns"].as_array().unwrap().len(), 1);
        assert_eq!(world.shield.0.lock().unwrap().budgets.len(), 1);
    })
    .await;
}

/// A key is remembered for a day. What comes later with the same text is another key: it makes a campaign of its own.
#[tokio::test]
async fn a_key_that_comes_again_after_its_life_creates_another_campaign() {
    on_both(async |db| {
        let world = World::new(&db.store, 1).await;
        let (_, first) = world.post("/campaigns", &new_campaign("10"), Some("weekly")).await;
        world.clock.advance(std::time::Duration::from_secs(24 * 60 * 60));
        let (status, second) = world.post("/campaigns", &new_campaign("10"), Some("weekly")).await;
        assert_eq!(status, StatusCode::CREATED);
        assert_ne!(first["id"], second["id"]);
        let (_, page) = world.get("/campaigns").await;
        assert_eq!(page["campaigns"].as_array().unwrap().len(), 2);
        assert_eq!(world.shield.0.lock().unwrap().budgets.len(), 2);
        let entries = outbox::pending(&world.store, AUDIT_TOPIC, 100).await.unwrap();
        let created = entries.iter().filter(|entry| entry.event.payload.contains("\"campaign.create\""));
        assert_eq!(created.count(), 2, "one entry each");
    })
    .await;
}
