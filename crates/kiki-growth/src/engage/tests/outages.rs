use axum::body::Body;
use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use kiki_proto::shield::v1::AuthorizationState as State;
use kiki_store::testing::{TestDb, on_both};
use kiki_types::Principal;
use serde_json::{Value, json};

use super::world::{Receipt, World, new_campaign, outcome};

#[tokio::test]
async fn when_shield_is_away_nothing_is_sent_and_the_campaign_says_so() {
    on_both(async |db| {
        let world = World::new(&db.store, 40).await;
        let id = world.campaign("100").await;
        world.shield.0.lock().unwrap().away = true;
        let campaign = world.run(&id).await;
        assert_eq!(campaign["status"], "shield_unavailable");
        assert_eq!(world.mail.calls.lock().unwrap().len(), 0);
        assert_eq!(campaign["spent"]["amount"], "0.00");
        assert_eq!(outcome(&campaign, "00001")["state"], "blocked_unavailable");

        world.shield.0.lock().unwrap().away = false;
        let campaign = world.run(&id).await;
        assert_eq!((&campaign["status"], &campaign["messages"]), (&json!("completed"), &json!({"captured": 40})));
        // Nobody had decided, so the first attempt is still the first.
        assert_eq!(outcome(&campaign, "00001")["attempt"], 1);
    })
    .await;
}

#[tokio::test]
async fn without_shield_no_campaign_is_created() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    world.shield.0.lock().unwrap().away = true;
    let (status, problem) = world.post("/campaigns", &new_campaign("10"), Some("k")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("shield_unavailable")));
    assert_eq!(world.get("/campaigns").await.1["campaigns"], json!([]));
    // The key is free again.
    world.shield.0.lock().unwrap().away = false;
    assert_eq!(world.post("/campaigns", &new_campaign("10"), Some("k")).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn when_the_value_service_is_away_the_campaign_says_so() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 5).await;
    let id = world.campaign("100").await;
    *world.value.0.lock().unwrap() = None;
    assert_eq!(world.run(&id).await["status"], "value_unavailable");
    *world.value.0.lock().unwrap() = Some(5);
    assert_eq!(world.run(&id).await["messages"], json!({"captured": 5}));
}

#[tokio::test]
async fn what_was_sent_and_not_yet_paid_is_paid_by_the_rerun_and_not_sent_again() {
    on_both(async |db| {
        let world = World::new(&db.store, 40).await;
        let id = world.campaign("100").await;
        world.shield.0.lock().unwrap().captures_away = true;
        let campaign = world.run(&id).await;
        assert_eq!(campaign["status"], "shield_unavailable");
        let sent = world.received();
        assert!(sent > 0 && campaign["messages"]["sent"] == json!(sent), "{}", campaign["messages"]);

        world.shield.0.lock().unwrap().captures_away = false;
        let campaign = world.run(&id).await;
        assert_eq!(campaign["messages"], json!({"captured": 40}));
        assert_eq!(world.mail.calls.lock().unwrap().len(), 40);
        assert_eq!(world.shield.0.lock().unwrap().count(State::Captured), 40);
    })
    .await;
}

#[tokio::test]
async fn a_sent_message_whose_hold_ended_is_paid_under_a_new_authorization() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 2).await;
    let id = world.campaign("2").await;
    world.shield.0.lock().unwrap().captures_away = true;
    world.run(&id).await;
    world.shield.expire_holds();
    {
        // Consent may be gone by now: the customer has the message all the same, and it has to be paid for.
        let mut rules = world.shield.0.lock().unwrap();
        rules.captures_away = false;
        rules.consented.clear();
    }
    let campaign = world.run(&id).await;
    assert_eq!(campaign["messages"], json!({"captured": 2}));
    assert_eq!(world.mail.calls.lock().unwrap().len(), 2);
    let rules = world.shield.0.lock().unwrap();
    assert_eq!((rules.count(State::Captured), rules.count(State::Expired)), (2, 2));
}

#[tokio::test]
async fn what_was_sent_but_cannot_be_paid_says_why_and_is_tried_again() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    let id = world.campaign("1").await;
    world.shield.0.lock().unwrap().captures_away = true;
    world.run(&id).await;
    world.shield.expire_holds();
    let budget = format!("campaign-{id}");
    {
        let mut rules = world.shield.0.lock().unwrap();
        rules.captures_away = false;
        rules.budgets.get_mut(&budget).unwrap().amount.as_mut().unwrap().micros = 0;
    }
    let campaign = world.run(&id).await;
    assert_eq!((&campaign["messages"], &campaign["reasons"]), (&json!({"sent": 1}), &json!({budget.clone(): 1})));
    world.shield.0.lock().unwrap().budgets.get_mut(&budget).unwrap().amount.as_mut().unwrap().micros = 1_000_000;
    let campaign = world.run(&id).await;
    assert_eq!((&campaign["messages"], &campaign["reasons"]), (&json!({"captured": 1}), &json!({})));
    assert_eq!(world.mail.calls.lock().unwrap().len(), 1);
}

/// The process dies while it sends the first wave, before or after the provider has the messages.
async fn crashed(world: &World, id: &str, receipt: Receipt) {
    *world.mail.crash.lock().unwrap() = Some((world.shutdown.clone(), receipt));
    let (status, _) = world.post(&format!("/campaigns/{id}/run"), &Value::Null, None).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    world.shutdown.aborted().await;
    world.tasks.ended(std::time::Duration::ZERO).await;
}

#[tokio::test]
async fn after_a_crash_between_send_and_payment_each_customer_has_one_message_paid_once() {
    on_both(async |db| {
        let world = World::new(&db.store, 40).await;
        let id = world.campaign("100").await;
        crashed(&world, &id, Receipt::Before).await;

        let world = world.restarted();
        let (_, campaign) = world.get(&format!("/campaigns/{id}")).await;
        assert_eq!(campaign["status"], "running");
        // The process cannot know whether another one is still at it.
        world.clock.advance(std::time::Duration::from_secs(100));
        let again = Request::post(format!("/campaigns/{id}/run")).body(Body::empty()).unwrap();
        let refused = world.answer(again, Principal::local_operator()).await;
        assert_eq!((refused.status(), &refused.headers()[RETRY_AFTER]), (StatusCode::CONFLICT, &"20".parse().unwrap()));
        world.outlast_the_lease();
        let (_, campaign) = world.get(&format!("/campaigns/{id}")).await;
        assert_eq!(campaign["status"], "interrupted");

        let campaign = world.run(&id).await;
        assert_eq!((&campaign["status"], &campaign["messages"]), (&json!("completed"), &json!({"captured": 40})));
        assert_eq!(world.received(), 40);
        let rules = world.shield.0.lock().unwrap();
        assert_eq!((rules.count(State::Captured), rules.count(State::Held)), (40, 0));
    })
    .await;
}

#[tokio::test]
async fn after_a_crash_and_the_end_of_its_hold_a_message_is_decided_anew() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 3).await;
    let id = world.campaign("3").await;
    crashed(&world, &id, Receipt::Before).await;
    world.shield.expire_holds();
    let world = world.restarted();
    world.outlast_the_lease();
    let campaign = world.run(&id).await;
    assert_eq!(campaign["messages"], json!({"captured": 3}));
    assert_eq!(outcome(&campaign, "00001")["attempt"], 2);
    assert_eq!(world.received(), 3);
}

#[tokio::test]
async fn consent_that_was_withdrawn_while_the_process_was_down_holds_for_what_was_not_sent() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 3).await;
    let id = world.campaign("3").await;
    crashed(&world, &id, Receipt::Never).await;
    world.shield.expire_holds();
    world.shield.0.lock().unwrap().consented.remove("00002");
    let world = world.restarted();
    world.outlast_the_lease();
    let campaign = world.run(&id).await;
    assert_eq!(campaign["messages"], json!({"captured": 2, "refused": 1}));
    assert_eq!(outcome(&campaign, "00002")["reasons"], json!(["consent"]));
    assert_eq!(world.received(), 2);
}

#[tokio::test]
async fn a_run_ends_between_waves_when_the_process_ends() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 40).await;
    let id = world.campaign("100").await;
    world.shutdown.begin();
    let campaign = world.run(&id).await;
    assert_eq!(campaign["status"], "interrupted");
    assert_eq!(world.received(), 0);
    let world = world.restarted();
    assert_eq!(world.run(&id).await["messages"], json!({"captured": 40}));
}
