//! Growing a hold, taking back what was captured, booking what is already gone.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Desk, ask, assert_denied, assert_problem, path_of, usd};

#[tokio::test]
async fn a_hold_grows_as_far_as_every_limit_allows() {
    let desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    desk.budget("each", "growth", json!({"kind": "each", "most": "8"})).await;
    desk.budget("big", "growth", json!({"kind": "approval", "above": "7"})).await;
    desk.budget("pace", "growth", json!({"kind": "velocity", "count": 1, "seconds": 3600})).await;
    let path = desk.hold("growth/mail", "3").await;
    let increase = async |amount: &str| desk.post(&format!("{path}/increase"), json!({"amount": usd(amount)})).await;
    let grown = increase("4").await;
    assert_eq!((grown.status, &grown.json()["amount"]), (StatusCode::OK, &usd("7.00")), "no further authorization");
    let problem = assert_denied(&increase("4").await, &["all", "big", "each"]);
    let all = problem["limits"].as_array().unwrap().iter().find(|limit| limit["id"] == "all").unwrap();
    assert_eq!((&all["used"], &all["held"], &all["refuses"]), (&json!("0.00"), &json!("7.00"), &json!(true)));
    assert_denied(&increase("0.01").await, &["big"]);
    assert_eq!(desk.get(&path).await.json()["amount"], usd("7.00"), "the hold stands as it was");
    desk.settles(&path, "capture", "captured").await;
    assert_problem(&increase("1").await, StatusCode::CONFLICT, "already_resolved");
    assert_eq!(desk.standing("all").await, ["7.00", "0.00", "3.00"]);
    desk.end();
}

#[tokio::test]
async fn a_refund_gives_back_to_totals_and_calendars_and_not_to_windows() {
    let desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    desk.budget("year", "growth", json!({"kind": "calendar", "amount": "10", "unit": "year"})).await;
    desk.budget("hour", "growth", json!({"kind": "window", "amount": "10", "seconds": 3600})).await;
    let path = desk.spend("growth", "8").await;
    let refund = async |amount: &str| desk.post(&format!("{path}/refund"), json!({"amount": usd(amount)})).await;
    assert_eq!(refund("5").await.json()["refunded"], usd("5.00"));
    let known = refund("2").await.json();
    assert_eq!((&known["captured"], &known["refunded"]), (&usd("8.00"), &usd("7.00")));
    let more = assert_problem(&refund("1.01").await, StatusCode::UNPROCESSABLE_ENTITY, "refund_too_large");
    assert_eq!((&more["field"], &more["refundable"]), (&json!("amount"), &json!("1.00")));
    for (id, used) in [("all", "1.00"), ("year", "1.00"), ("hour", "8.00")] {
        assert_eq!(desk.standing(id).await[0], used, "{id}");
    }
    let held = desk.hold("growth", "1").await;
    let early = desk.post(&format!("{held}/refund"), json!({"amount": usd("1")})).await;
    assert_problem(&early, StatusCode::UNPROCESSABLE_ENTITY, "refund_too_large");
    assert_denied(&desk.ask("growth", "2").await, &["hour"]);
    desk.end();
}

#[tokio::test]
async fn a_change_with_a_key_is_made_once_also_after_a_kill_and_from_a_snapshot() {
    let mut desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    let path = desk.hold("growth", "3").await;
    let grow = async |desk: &Desk| change(desk, &format!("{path}/increase"), "more", "2").await;
    let refund = async |desk: &Desk| change(desk, &format!("{path}/refund"), "back", "5").await;
    let grown = grow(&desk).await;
    assert_eq!(grown["amount"], usd("5.00"));
    assert_eq!(grow(&desk).await, grown, "the same answer, as long as nothing else happens");
    desk.settles(&path, "capture", "captured").await;
    let refunded = refund(&desk).await;
    assert_eq!(refunded["refunded"], usd("5.00"));
    for end in ["none", "kill", "terminate"] {
        desk = match end {
            "kill" => desk.after_a_kill(),
            "terminate" => desk.again(),
            _ => desk,
        };
        assert_eq!(refund(&desk).await, refunded, "{end}");
        let grown = grow(&desk).await;
        assert_eq!((&grown["state"], &grown["amount"]), (&json!("captured"), &usd("5.00")), "{end}");
        assert_eq!(desk.standing("all").await, ["0.00", "0.00", "10.00"], "{end}");
    }
    let body = json!({"amount": usd("4")});
    let other = desk.post_with(&format!("{path}/refund"), &[("idempotency-key", "back")], Some(&body)).await;
    assert_problem(&other, StatusCode::CONFLICT, "idempotency_conflict");
    let keyless = desk.post(&format!("{path}/refund"), json!({"amount": usd("5")})).await;
    assert_problem(&keyless, StatusCode::UNPROCESSABLE_ENTITY, "refund_too_large");
    desk.end();
}

/// The answer to an increase or a refund of `amount` under `key`.
async fn change(desk: &Desk, path: &str, key: &str, amount: &str) -> Value {
    let body = json!({"amount": usd(amount)});
    let answer = desk.post_with(path, &[("idempotency-key", key)], Some(&body)).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    answer.json()
}

#[tokio::test]
async fn what_is_gone_is_booked_whatever_the_limits_say() {
    let desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    desk.budget("each", "growth", json!({"kind": "each", "most": "8"})).await;
    let record = async |key: &str, amount: &str| {
        desk.post_with("/v1/records", &[("idempotency-key", key)], Some(&ask("growth/mail", amount))).await
    };
    let first = record("invoice-1", "7").await;
    assert_eq!((first.status, &first.json()["over"]), (StatusCode::CREATED, &json!([])));
    let second = record("invoice-2", "9").await;
    assert_eq!((second.status, &second.json()["over"]), (StatusCode::CREATED, &json!(["all", "each"])));
    assert!(second.json()["entry"].is_u64());
    let repeat = record("invoice-2", "9").await;
    for field in ["id", "state", "account", "amount", "over"] {
        assert_eq!(repeat.json()[field], second.json()[field], "{field}");
    }
    assert!(repeat.json()["entry"].is_null(), "nothing was booked again");
    assert_problem(&record("invoice-2", "8").await, StatusCode::CONFLICT, "idempotency_conflict");
    assert_eq!(desk.standing("all").await, ["16.00", "0.00", "0.00"]);
    assert_denied(&desk.ask("growth", "0.01").await, &["all"]);
    let path = path_of(&second);
    assert_eq!(desk.get(&path).await.json()["state"], "captured");
    let refunded = desk.post(&format!("{path}/refund"), json!({"amount": usd("9")})).await;
    assert_eq!((refunded.status, &refunded.json()["refunded"]), (StatusCode::OK, &usd("9.00")));
    assert_eq!(desk.standing("all").await, ["7.00", "0.00", "3.00"]);
    let stopped = desk.post("/v1/stops", Value::Object(Default::default())).await;
    assert_eq!(stopped.status, StatusCode::OK);
    assert_eq!(record("invoice-3", "1").await.status, StatusCode::CREATED, "a stop does not undo what happened");
    assert_eq!(desk.call(Method::POST, &format!("{path}/void"), None).await.status, StatusCode::CONFLICT);
    desk.end();
}
