//! Stopping a subtree.

use hyper::StatusCode;
use serde_json::json;

use super::{Desk, assert_denied};

#[tokio::test]
async fn a_stop_refuses_what_is_new_below_it_and_nothing_else() {
    let desk = Desk::open();
    let held = desk.hold("growth/mail", "5").await;
    let other = desk.hold("growth/mail", "5").await;
    for _ in 0..2 {
        let stopped = desk.post("/v1/stops", json!({"account": "growth"})).await;
        assert_eq!((stopped.status, &stopped.json()["stopped"]), (StatusCode::OK, &json!(["growth"])));
    }
    for account in ["growth", "growth/mail", "growth/new/deep"] {
        let problem = assert_denied(&desk.ask(account, "1").await, &["stopped"]);
        assert!(problem["passes_at"].is_null(), "waiting does not help: {problem}");
    }
    let grow = desk.post(&format!("{held}/increase"), json!({"amount": {"amount": "1", "currency": "USD"}})).await;
    assert_denied(&grow, &["stopped"]);
    desk.hold("growth2", "1").await;
    desk.hold("", "1").await;
    desk.settles(&held, "capture", "captured").await;

    let desk = desk.again();
    assert_eq!(desk.get("/v1/stops").await.json()["stopped"], json!(["growth"]));
    assert_denied(&desk.ask("growth/mail", "1").await, &["stopped"]);
    desk.settles(&other, "void", "voided").await;
    desk.post("/v1/stops", json!({"account": "growth/mail"})).await;
    let resumed = desk.delete("/v1/stops?account=growth").await;
    assert_eq!((resumed.status, &resumed.json()["stopped"]), (StatusCode::OK, &json!(["growth/mail"])));
    desk.hold("growth", "1").await;
    assert_denied(&desk.ask("growth/mail", "1").await, &["stopped"]);
    desk.end();
}

#[tokio::test]
async fn stops_come_in_pages() {
    let desk = Desk::open();
    for account in ["b", "", "c", "a"] {
        desk.post("/v1/stops", json!({"account": account})).await;
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = desk.get(&format!("/v1/stops?limit=1{after}")).await.json();
        seen.push(page["stopped"].clone());
        after = format!("&after={}", page["next"].as_str().expect("a full page says where the next begins"));
    }
    assert_eq!(seen, [json!([""]), json!(["a"]), json!(["b"]), json!(["c"])]);
    let last = desk.get(&format!("/v1/stops?limit=1{after}")).await.json();
    assert_eq!((&last["stopped"], last.get("next")), (&json!([]), None));
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("after=a//b", "after")] {
        let refused = desk.get(&format!("/v1/stops?{query}")).await;
        assert_eq!((refused.status, &refused.json()["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{query}");
    }
    desk.end();
}

#[tokio::test]
async fn a_stop_of_the_tenant_stops_everything() {
    let desk = Desk::open();
    desk.post("/v1/stops", json!({})).await;
    for account in ["", "growth/mail"] {
        assert_denied(&desk.ask(account, "1").await, &["stopped"]);
    }
    assert_eq!(desk.get("/spend?amount=1").await.status, StatusCode::FORBIDDEN);
    assert_eq!(desk.get("/check?ltv=600").await.status, StatusCode::FORBIDDEN);
    assert_eq!(desk.delete("/v1/stops").await.json()["stopped"], json!([]));
    desk.hold("growth/mail", "1").await;
    desk.end();
}
