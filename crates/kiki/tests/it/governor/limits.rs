//! Each kind of limit: what it lets pass, what it refuses, and what it says about it.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Desk, ask, assert_denied, assert_problem, time, usd, with};

#[tokio::test]
async fn a_calendar_budget_tells_its_zone_and_ends_at_midnight_there() {
    let desk = Desk::open();
    let limit = json!({"kind": "calendar", "amount": "10", "unit": "year", "zone": "europe/berlin"});
    let defined = desk.budget("berlin", "growth", limit).await;
    let told = json!({"kind": "calendar", "amount": "10.00", "unit": "year", "zone": "Europe/Berlin"});
    assert_eq!(defined["limit"], told);
    assert_eq!(desk.get("/v1/budgets/berlin").await.json()["limit"], told);
    desk.budget("utc", "growth", json!({"kind": "calendar", "amount": "10", "unit": "year"})).await;
    desk.spend("growth/mail", "6").await;
    let problem = assert_denied(&desk.ask("growth/mail", "5").await, &["berlin", "utc"]);
    let ends = |id: &str| {
        let limits = problem["limits"].as_array().unwrap();
        let limit = limits.iter().find(|limit| limit["id"] == id).unwrap();
        limit["passes_at"].as_str().unwrap()[5..].to_owned()
    };
    assert_eq!((ends("berlin").as_str(), ends("utc").as_str()), ("12-31T23:00:00.000Z", "01-01T00:00:00.000Z"));
    assert!(problem["passes_at"].as_str().unwrap().contains("-01-01T00:00"), "the later of the two: {problem}");
    desk.end();
}

#[tokio::test]
async fn a_zone_that_is_unknown_is_refused() {
    let desk = Desk::open();
    for zone in ["Mars/Olympus", "", "../Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"] {
        for limit in [
            json!({"kind": "calendar", "amount": "10", "unit": "day", "zone": zone}),
            json!({"kind": "occurrences", "count": 1, "unit": "day", "zone": zone}),
        ] {
            let refused = desk.put("/v1/budgets/b", json!({"limit": limit})).await;
            let problem = assert_problem(&refused, StatusCode::BAD_REQUEST, "invalid_request");
            assert_eq!(problem["field"], "limit.zone", "{zone}: {problem}");
        }
    }
    assert_eq!(desk.get("/v1/budgets/b").await.status, StatusCode::NOT_FOUND);
    desk.end();
}

#[tokio::test]
async fn the_seventh_of_six_in_an_hour_is_refused_and_told_when_to_come_back() {
    let desk = Desk::open();
    desk.budget("pace", "growth", json!({"kind": "velocity", "count": 6, "seconds": 3600})).await;
    let first = desk.hold("growth", "1").await;
    for _ in 2..=5 {
        desk.spend("growth/mail", "1").await;
    }
    desk.hold("growth", "1").await;
    assert_eq!(desk.standing("pace").await, ["4", "2", "0"]);
    let refused = desk.ask("growth", "1").await;
    let problem = assert_denied(&refused, &["pace"]);
    assert!(problem["passes_at"].is_string() && refused.headers.contains_key("retry-after"), "{problem}");
    desk.settles(&first, "void", "voided").await;
    desk.hold("growth", "1").await;
    desk.end();
}

#[tokio::test]
async fn occurrences_count_authorizations_whatever_their_amount() {
    let desk = Desk::open();
    let defined = desk.budget("once", "rent", json!({"kind": "occurrences", "count": 1, "unit": "year"})).await;
    assert_eq!(defined["limit"], json!({"kind": "occurrences", "count": 1, "unit": "year"}));
    desk.budget("twice", "trial", json!({"kind": "occurrences", "count": 2})).await;
    desk.spend("rent", "900").await;
    let again = assert_denied(&desk.ask("rent", "0.01").await, &["once"]);
    assert!(again["passes_at"].is_string(), "next year: {again}");
    let path = desk.spend("trial", "1").await;
    assert_eq!(desk.post(&format!("{path}/refund"), json!({"amount": usd("1")})).await.status, StatusCode::OK);
    desk.spend("trial", "1").await;
    let never = assert_denied(&desk.ask("trial", "1").await, &["twice"]);
    assert!(never["passes_at"].is_null(), "what was refunded still took place: {never}");
    desk.end();
}

#[tokio::test]
async fn each_amount_keeps_between_the_least_and_the_most() {
    let desk = Desk::open();
    desk.budget("each", "growth", json!({"kind": "each", "least": "0.10", "most": "5"})).await;
    for amount in ["0.10", "5"] {
        desk.spend("growth", amount).await;
    }
    for amount in ["0.099999", "5.000001"] {
        let refused = desk.ask("growth", amount).await;
        let problem = assert_denied(&refused, &["each"]);
        assert!(problem["passes_at"].is_null() && !refused.headers.contains_key("retry-after"), "{problem}");
    }
    desk.end();
}

#[tokio::test]
async fn a_list_decides_by_category_or_payee() {
    let desk = Desk::open();
    let allow = json!({"kind": "allow", "field": "category", "values": ["model", "ads", "ads"]});
    let defined = desk.budget("only", "growth", allow).await;
    assert_eq!(defined["limit"]["values"], json!(["ads", "model"]), "in order, each once");
    desk.budget("never", "growth", json!({"kind": "deny", "field": "payee", "values": ["casino"]})).await;
    let asked = async |category: Option<&str>, payee: Option<&str>| {
        let mut body = ask("growth", "1");
        for (field, value) in [("category", category), ("payee", payee)] {
            if let Some(value) = value {
                body = with(body, field, value);
            }
        }
        desk.post("/v1/authorizations", body).await
    };
    for (category, payee) in [("ads", None), ("model", Some("shop"))] {
        assert_eq!(asked(Some(category), payee).await.status, StatusCode::CREATED, "{category} {payee:?}");
    }
    for (category, payee, by) in [
        (None, None, &["only"][..]),
        (Some("Ads"), None, &["only"]),
        (Some("travel"), Some("shop"), &["only"]),
        (Some("ads"), Some("casino"), &["never"]),
        (None, Some("casino"), &["never", "only"]),
    ] {
        let problem = assert_denied(&asked(category, payee).await, by);
        assert!(problem["passes_at"].is_null(), "{problem}");
    }
    desk.end();
}

#[tokio::test]
async fn outside_its_dates_an_account_spends_nothing() {
    let desk = Desk::open();
    for (id, account, from, until) in [
        ("later", "later", json!("2999-01-01T00:00:00Z"), Value::Null),
        ("over", "over", Value::Null, json!("2020-01-01T00:00:00Z")),
        ("now", "now", json!("2020-01-01T00:00:00Z"), json!("2999-01-01T00:00:00Z")),
    ] {
        let limit = json!({"kind": "between", "from": from, "until": until});
        let defined = desk.budget(id, account, limit).await["limit"].clone();
        assert_eq!(defined["from"].is_null(), from.is_null(), "{defined}");
        assert_eq!(defined["until"].is_null(), until.is_null(), "{defined}");
    }
    let problem = assert_denied(&desk.ask("later", "1").await, &["later"]);
    assert_eq!(problem["passes_at"], "2999-01-01T00:00:00.000Z");
    assert!(time(&problem["passes_at"]) > 0);
    assert!(assert_denied(&desk.ask("over", "1").await, &["over"])["passes_at"].is_null());
    desk.hold("now", "1").await;
    desk.end();
}

#[tokio::test]
async fn a_removed_budget_refuses_nothing_and_is_unknown() {
    let desk = Desk::open();
    desk.budget("b", "growth", json!({"kind": "total", "amount": "1"})).await;
    assert_denied(&desk.ask("growth", "2").await, &["b"]);
    assert_eq!(desk.delete("/v1/budgets/b").await.status, StatusCode::NO_CONTENT);
    for answer in [desk.get("/v1/budgets/b").await, desk.delete("/v1/budgets/b").await] {
        assert_problem(&answer, StatusCode::NOT_FOUND, "not_found");
    }
    desk.spend("growth", "2").await;
    let listed = desk.get("/v1/budgets").await.json();
    assert!(listed["budgets"].as_array().unwrap().iter().all(|budget| budget["id"] != "b"), "{listed}");
    desk.budget("b", "growth", json!({"kind": "total", "amount": "1"})).await;
    assert_eq!(desk.standing("b").await, ["0.00", "0.00", "1.00"], "it starts from nothing");
    desk.end();
}
