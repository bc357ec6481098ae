use http::StatusCode;
use kiki_proto::shield::v1::AuthorizationState as State;
use kiki_store::testing::{TestDb, on_both};
use serde_json::{Value, json};

use super::world::World;
use crate::engage::SendError;

fn own(customer_id: &str) -> Value {
    json!({
        "customer_id": customer_id,
        "template": {"subject": "Hello", "body": "Only for you, worth {value}"},
        "cost_per_message": {"amount": "0.35", "currency": "USD"},
    })
}

#[tokio::test]
async fn a_trigger_sends_one_message_and_pays_for_it() {
    on_both(async |db| {
        let world = World::new(&db.store, 5).await;
        let (status, outcome) = world.post("/trigger", &own("00002"), None).await;
        assert_eq!((status, &outcome["state"]), (StatusCode::OK, &json!("captured")), "{outcome}");
        let received = world.mail.received.lock().unwrap();
        assert_eq!(received.values().next().unwrap().body, "Only for you, worth 2.00");
        let rules = world.shield.0.lock().unwrap();
        assert_eq!((rules.count(State::Captured), rules.authorizations[0].account.as_str()), (1, "growth/triggers"));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_with_the_same_key_sends_nothing_and_gets_the_same_answer() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    let first = world.post("/trigger", &own("00002"), Some("k")).await;
    let second = world.post("/trigger", &own("00002"), Some("k")).await;
    assert_eq!(first, second);
    assert_eq!(world.mail.calls.lock().unwrap().len(), 1);
    let (status, problem) = world.post("/trigger", &own("00003"), Some("k")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("idempotency_conflict")));
    // Another key is another message.
    world.post("/trigger", &own("00002"), Some("k-2")).await;
    assert_eq!(world.received(), 2);
}

/// A key is remembered for a day. What comes later with the same text is another key, and not answered by a message of then.
#[tokio::test]
async fn a_key_that_comes_again_after_its_life_sends_another_message() {
    on_both(async |db| {
        let world = World::new(&db.store, 5).await;
        let (_, first) = world.post("/trigger", &own("00002"), Some("weekly")).await;
        world.clock.advance(std::time::Duration::from_secs(24 * 60 * 60 - 1));
        assert_eq!(world.post("/trigger", &own("00002"), Some("weekly")).await.1, first);
        world.clock.advance(std::time::Duration::from_secs(1));
        let (status, second) = world.post("/trigger", &own("00002"), Some("weekly")).await;
        assert_eq!(status, StatusCode::OK);
        assert_ne!(first["message_id"], second["message_id"]);
        assert_eq!((world.received(), world.shield.0.lock().unwrap().count(State::Captured)), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn a_key_of_a_request_that_was_wrong_is_free_for_the_right_one() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    let mut wrong = own("00002");
    wrong["cost_per_message"]["amount"] = json!("0");
    assert_eq!(world.post("/trigger", &wrong, Some("k")).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.post("/trigger", &own("00002"), Some("k")).await.0, StatusCode::OK);
    let nowhere = json!({"customer_id": "00002", "campaign_id": "01a1fdc5-f67a-77fb-b661-1f6e0791435e"});
    assert_eq!(world.post("/trigger", &nowhere, Some("j")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.post("/trigger", &own("00002"), Some("j")).await.0, StatusCode::OK);
    assert_eq!(world.received(), 2);
}

#[tokio::test]
async fn a_refused_trigger_says_by_what_and_sends_nothing() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    world.shield.0.lock().unwrap().consented.clear();
    for key in [Some("k"), Some("k"), None] {
        let (status, problem) = world.post("/trigger", &own("00002"), key).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("refused")));
        assert_eq!(problem["reasons"], json!(["consent"]));
    }
    assert_eq!(world.mail.calls.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn without_shield_a_trigger_sends_nothing_and_may_be_repeated() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    world.shield.0.lock().unwrap().away = true;
    let (status, problem) = world.post("/trigger", &own("00002"), Some("k")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("shield_unavailable")));
    assert_eq!(world.mail.calls.lock().unwrap().len(), 0);
    world.shield.0.lock().unwrap().away = false;
    assert_eq!(world.post("/trigger", &own("00002"), Some("k")).await.0, StatusCode::OK);
    assert_eq!(world.received(), 1);
}

#[tokio::test]
async fn a_trigger_that_cannot_be_sent_gives_the_money_back() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    world.mail.failing.lock().unwrap().insert("00002".to_owned(), SendError::Rejected);
    let (status, problem) = world.post("/trigger", &own("00002"), None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_GATEWAY, &json!("send_failed")));
    assert_eq!(world.shield.0.lock().unwrap().count(State::Voided), 1);
}

#[tokio::test]
async fn a_customer_id_may_be_as_long_as_at_shield() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 0).await;
    let customer = "é".repeat(128);
    world.shield.0.lock().unwrap().consented.insert(customer.clone());
    let mut plain = own(&customer);
    plain["template"]["body"] = json!("Hello");
    assert_eq!(world.post("/trigger", &plain, None).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_trigger_that_shield_does_not_take_says_that_no_money_was_held() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    world.shield.0.lock().unwrap().rejecting = true;
    for key in [Some("k"), Some("k"), None] {
        let (status, problem) = world.post("/trigger", &own("00002"), key).await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("shield_rejected")));
        assert!(problem["detail"].as_str().unwrap().ends_with("No money was held."), "{problem}");
    }
    assert_eq!(world.mail.calls.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_campaigns_message_is_sent_once_by_trigger_or_run() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    let id = world.campaign("100").await;
    let trigger = json!({"customer_id": "00004", "campaign_id": id});
    let (status, first) = world.post("/trigger", &trigger, None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(world.run(&id).await["messages"], json!({"captured": 5}));
    let (_, again) = world.post("/trigger", &trigger, None).await;
    assert_eq!(first, again);
    assert_eq!(world.mail.calls.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn a_template_with_a_prediction_needs_a_known_customer_and_another_does_not() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    world.shield.0.lock().unwrap().consented.insert("stranger".to_owned());
    let (status, problem) = world.post("/trigger", &own("stranger"), None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    let mut plain = own("stranger");
    plain["template"]["body"] = json!("Hello {customer_id}");
    *world.value.0.lock().unwrap() = None;
    assert_eq!(world.post("/trigger", &plain, None).await.0, StatusCode::OK);
    let (status, problem) = world.post("/trigger", &own("00001"), None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("value_unavailable")));
}
