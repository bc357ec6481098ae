//! What is above a threshold waits for somebody.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Desk, ask, assert_denied, assert_problem, path_of, usd, with};

/// A desk where more than 5 from `growth` waits for approval.
async fn desk(four_eyes: bool, seconds: u32) -> Desk {
    let desk = Desk::open();
    let limit = json!({"kind": "approval", "above": "5", "seconds": seconds, "four_eyes": four_eyes});
    desk.budget("big", "growth", limit).await;
    desk.budget("all", "growth", json!({"kind": "total", "amount": "100"})).await;
    desk
}

/// Asks for what has to wait; the path of the authorization.
async fn wait_for(desk: &Desk, amount: &str) -> String {
    let answer = desk.ask("growth", amount).await;
    assert_eq!((answer.status, &answer.json()["state"]), (StatusCode::ACCEPTED, &json!("pending")));
    path_of(&answer)
}

async fn waiting(desk: &Desk) -> Vec<String> {
    let listed = desk.get("/v1/approvals").await.json();
    let found = listed["approvals"].as_array().unwrap().iter();
    found.map(|one| format!("/v1/authorizations/{}", one["id"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn what_waits_is_held_and_may_move_only_after_its_approval() {
    let desk = desk(false, 3600).await;
    assert_eq!(desk.ask("growth", "5").await.status, StatusCode::CREATED, "not above the threshold");
    let path = wait_for(&desk, "60").await;
    assert_eq!(waiting(&desk).await, std::slice::from_ref(&path));
    assert_denied(&desk.ask("growth", "36").await, &["all"]);
    let early = desk.call(Method::POST, &format!("{path}/capture"), None).await;
    assert_problem(&early, StatusCode::CONFLICT, "approval_pending");
    let early = desk.post(&format!("{path}/increase"), json!({"amount": usd("1")})).await;
    assert_problem(&early, StatusCode::CONFLICT, "approval_pending");
    desk.settles(&path, "approve", "held").await;
    desk.settles(&path, "approve", "held").await;
    assert_eq!(waiting(&desk).await, Vec::<String>::new());
    desk.settles(&path, "capture", "captured").await;
    assert_eq!(desk.standing("all").await, ["60.00", "5.00", "35.00"]);
    desk.end();
}

#[tokio::test]
async fn what_is_rejected_or_voided_is_free_at_once() {
    let desk = desk(false, 3600).await;
    let (rejected, voided) = (wait_for(&desk, "50").await, wait_for(&desk, "50").await);
    assert_eq!(waiting(&desk).await, [rejected.clone(), voided.clone()], "the oldest first");
    let page = desk.get("/v1/approvals?limit=1").await.json();
    let next = page["next"].as_str().unwrap();
    assert!(rejected.ends_with(next), "{page}");
    let rest = desk.get(&format!("/v1/approvals?after={next}")).await.json();
    assert!(voided.ends_with(rest["approvals"][0]["id"].as_str().unwrap()) && rest["next"].is_null(), "{rest}");
    desk.settles(&rejected, "reject", "rejected").await;
    desk.settles(&rejected, "reject", "rejected").await;
    desk.settles(&voided, "void", "voided").await;
    for verb in ["approve", "capture"] {
        let late = desk.call(Method::POST, &format!("{rejected}/{verb}"), None).await;
        assert_eq!(assert_problem(&late, StatusCode::CONFLICT, "already_resolved")["state"], "rejected", "{verb}");
    }
    assert_eq!(desk.standing("all").await, ["0.00", "0.00", "100.00"]);
    let held = desk.hold("growth", "1").await;
    for verb in ["approve", "reject"] {
        let idle = desk.call(Method::POST, &format!("{held}/{verb}"), None).await;
        assert_problem(&idle, StatusCode::CONFLICT, "no_approval_needed");
    }
    desk.end();
}

#[tokio::test]
async fn under_four_eyes_somebody_else_approves() {
    let desk = desk(true, 3600).await;
    let path = wait_for(&desk, "6").await;
    let own = desk.call(Method::POST, &format!("{path}/approve"), None).await;
    let problem = assert_denied(&own, &["four_eyes"]);
    assert_eq!(problem["code"], "approval_refused");
    assert_eq!(desk.get(&path).await.json()["state"], "pending", "it still waits");
    let other = desk.post_as_other(&format!("{path}/approve")).await;
    assert_eq!((other.status, &other.json()["state"]), (StatusCode::OK, &json!("held")));
    let path = wait_for(&desk, "7").await;
    desk.settles(&path, "reject", "rejected").await;
    desk.end();
}

#[tokio::test]
async fn a_stop_and_a_revoked_consent_stand_against_an_approval() {
    let desk = desk(false, 3600).await;
    let consent = json!({"customer_id": "c", "consent_type": "marketing"});
    desk.post("/consent/grant", consent.clone()).await;
    let body = with(with(ask("growth", "6"), "customer_id", "c"), "purpose", "marketing");
    let path = path_of(&desk.post("/v1/authorizations", body).await);
    desk.post("/consent/revoke", consent.clone()).await;
    desk.post("/v1/stops", json!({"account": "growth"})).await;
    let refused = desk.call(Method::POST, &format!("{path}/approve"), None).await;
    assert_denied(&refused, &["consent", "stopped"]);
    desk.post("/consent/grant", consent).await;
    desk.delete("/v1/stops?account=growth").await;
    desk.settles(&path, "approve", "held").await;
    desk.end();
}

#[tokio::test]
async fn who_waits_too_long_gets_nothing() {
    let desk = desk(false, 1).await;
    let path = wait_for(&desk, "60").await;
    let mut state = Value::Null;
    for _ in 0..600 {
        state = desk.get(&path).await.json()["state"].clone();
        if state != "pending" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(state, "expired");
    assert_eq!(waiting(&desk).await, Vec::<String>::new());
    assert_eq!(desk.standing("all").await, ["0.00", "0.00", "100.00"]);
    for verb in ["approve", "reject"] {
        let late = desk.call(Method::POST, &format!("{path}/{verb}"), None).await;
        assert_eq!(assert_problem(&late, StatusCode::CONFLICT, "already_resolved")["state"], "expired", "{verb}");
    }
    desk.end();
}

#[tokio::test]
async fn a_spend_that_waits_is_captured_by_its_approval() {
    let desk = desk(false, 3600).await;
    let waits = desk.get("/spend?amount=6&account=growth").await;
    assert_eq!(waits.json()["status"], "pending", "{}", waits.json());
    desk.settles(&path_of(&waits), "approve", "captured").await;
    assert_eq!(desk.standing("all").await, ["6.00", "0.00", "94.00"]);
    let desk = desk.again();
    assert_eq!(desk.standing("all").await, ["6.00", "0.00", "94.00"]);
    desk.end();
}
