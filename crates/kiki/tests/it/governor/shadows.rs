//! Budgets that only tell, and dry runs.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Desk, ask, assert_denied, with};

/// Limits, and a history in which each refusal changes nothing of what comes after.
const HISTORY: [(&str, &str, &str); 7] = [
    ("a", "3", "shop"),
    ("a", "6", "shop"),
    ("a", "4", "casino"),
    ("a", "9", "casino"),
    ("b", "6", "shop"),
    ("b", "4", "shop"),
    ("b", "1", "shop"),
];

/// What each request of the history is refused by, or would be, as told by the log.
async fn refusals(mode: &str) -> Vec<Vec<String>> {
    let desk = Desk::open();
    for (id, account, limit) in [
        ("each", "a", json!({"kind": "each", "most": "5"})),
        ("never", "a", json!({"kind": "deny", "field": "payee", "values": ["casino"]})),
        ("all", "b", json!({"kind": "total", "amount": "10"})),
        ("twice", "b", json!({"kind": "occurrences", "count": 2})),
    ] {
        let body = json!({"account": account, "limit": limit, "mode": mode});
        let defined = desk.put(&format!("/v1/budgets/{id}"), body).await.json();
        assert_eq!(defined["mode"], mode);
    }
    for (account, amount, payee) in HISTORY {
        let answer = desk.post("/v1/authorizations", with(ask(account, amount), "payee", payee)).await;
        let is_shadow = mode == "shadow";
        assert!(answer.status == StatusCode::CREATED || !is_shadow, "a shadow refuses nothing: {}", answer.json());
    }
    let asked = desk.end().into_iter().filter(|body| body["cmd"]["op"] == "authorize");
    let names = |body: Value| {
        let by = body["out"]["refused_by"].as_array().cloned().unwrap_or_default();
        let told = body["notices"].as_array().cloned().unwrap_or_default();
        let told = told.iter().map(|notice| notice["would_refuse"].clone());
        let names = by.into_iter().chain(told).filter_map(|name| name.as_str().map(str::to_owned));
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    asked.map(names).collect()
}

#[tokio::test]
async fn in_force_exactly_those_are_refused_that_a_shadow_would_have_refused() {
    let shadow = refusals("shadow").await;
    let enforced = refusals("enforce").await;
    assert_eq!(shadow, enforced);
    let counts: Vec<_> = shadow.iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 1, 1, 2, 0, 0, 2]);
}

#[tokio::test]
async fn a_shadow_is_told_by_a_dry_run_and_refuses_nothing() {
    let desk = Desk::open();
    let shadow = json!({"account": "growth", "limit": {"kind": "total", "amount": "5"}, "mode": "shadow"});
    desk.put("/v1/budgets/planned", shadow).await;
    let dry = desk.post("/v1/authorizations", with(ask("growth", "6"), "dry_run", true)).await.json();
    assert_eq!((&dry["would_be"], &dry["would_refuse"]), (&json!("held"), &json!(["planned"])), "{dry}");
    assert_eq!(dry["refused_by"], json!([]));
    let planned = dry["limits"].as_array().unwrap().iter().find(|limit| limit["id"] == "planned").unwrap();
    assert_eq!((&planned["mode"], &planned["refuses"]), (&json!("shadow"), &json!(true)));
    desk.spend("growth", "6").await;
    assert_eq!(desk.standing("planned").await, ["6.00", "0.00", "0.00"], "what it let pass counts");
    let waits = json!({"account": "growth", "limit": {"kind": "approval", "above": "1"}, "mode": "shadow"});
    desk.put("/v1/budgets/planned", waits).await;
    desk.hold("growth", "2").await;
    let last = desk.end().pop().unwrap();
    assert_eq!(last["notices"], json!([{"would_refuse": "default/planned"}]), "{last}");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_the_request_gets() {
    let desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    desk.budget("big", "growth", json!({"kind": "approval", "above": "4"})).await;
    for (amount, would_be) in [("3", "held"), ("5", "pending"), ("3", "denied")] {
        let before = desk.standing("all").await;
        let dry = desk.post("/v1/authorizations", with(ask("growth", amount), "dry_run", true)).await;
        assert_eq!((dry.status, &dry.json()["would_be"]), (StatusCode::OK, &json!(would_be)), "{}", dry.json());
        assert!(dry.json()["id"].is_null());
        assert_eq!(desk.standing("all").await, before);
        let real = desk.ask("growth", amount).await;
        if would_be == "denied" {
            let problem = assert_denied(&real, &["all"]);
            assert_eq!(dry.json()["refused_by"], problem["refused_by"]);
            assert_eq!(dry.json()["limits"], problem["limits"]);
        } else {
            assert_eq!(real.json()["state"], would_be);
            assert_eq!(dry.json()["refused_by"], json!([]));
        }
    }
    assert_eq!(desk.get("/v1/approvals").await.json()["approvals"].as_array().unwrap().len(), 1);
    let asked = desk.end().into_iter().filter(|body| body["cmd"]["op"] == "authorize");
    assert_eq!(asked.count(), 3, "a dry run is no entry");
}

#[tokio::test]
async fn a_dry_run_uses_up_no_key_and_knows_a_used_one() {
    let desk = Desk::open();
    desk.budget("hour", "growth", json!({"kind": "window", "amount": "5", "seconds": 3600})).await;
    let send = async |key: &str, amount: &str, is_dry: bool| {
        let body = with(ask("growth", amount), "dry_run", is_dry);
        desk.post_with("/v1/authorizations", &[("idempotency-key", key)], Some(&body)).await
    };
    assert_eq!(send("k", "4", true).await.json()["would_be"], "held");
    assert_eq!(send("k", "5", false).await.status, StatusCode::CREATED, "another request under the same key");
    assert_eq!(send("k", "5", true).await.json()["would_be"], "held", "what its repeat is answered");
    assert_eq!(send("k", "4", true).await.status, StatusCode::CONFLICT);
    let dry = send("l", "1", true).await.json();
    assert!(dry["would_be"] == "denied" && dry["passes_at"].is_string(), "{dry}");
    assert_eq!(send("l", "1", false).await.status, StatusCode::FORBIDDEN);
    let dry = send("l", "1", true).await.json();
    assert!(dry["would_be"] == "denied" && dry["passes_at"].is_null(), "waiting does not help a repeat: {dry}");
    desk.end();
}
