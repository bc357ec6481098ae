//! What makes no sense is a problem that names the field, and changes nothing.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Desk, ask, assert_problem, usd, with};

/// Sends each body and expects a problem that names the field.
async fn refuses(desk: &Desk, method: Method, path: &str, cases: Vec<(Value, &str)>) {
    for (body, field) in cases {
        let answer = desk.call(method.clone(), path, Some(&body)).await;
        let what = format!("{method} {path} {}", body.to_string().chars().take(200).collect::<String>());
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {}", answer.json());
        assert_eq!(answer.json()["field"], field, "{what}: {}", answer.json());
    }
}

#[tokio::test]
async fn a_name_that_points_to_a_person_is_refused_by_its_field() {
    let desk = Desk::open();
    let mail = "somebody@example.org";
    let denied = json!({"account": "growth", "limit": {"kind": "deny", "field": "payee", "values": [mail]}});
    let answers = [
        (desk.put("/v1/budgets/b", denied).await, "limit.values"),
        (desk.post("/v1/authorizations", with(ask("growth", "1"), "payee", mail)).await, "payee"),
        (desk.post("/v1/records", with(ask("growth", "1"), "payee", mail)).await, "payee"),
    ];
    for (answer, field) in answers {
        let problem = assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, "personal_name");
        assert!(problem["field"] == field && !problem.to_string().contains(mail), "{problem}");
    }
}

#[tokio::test]
async fn a_limit_that_makes_no_sense_is_refused_by_its_field() {
    let desk = Desk::open();
    let limit = |limit: Value| json!({"account": "growth", "limit": limit});
    let many: Vec<_> = (0..1001).map(|n| format!("v{n}")).collect();
    let long = "v".repeat(129);
    let cases = vec![
        (limit(json!({"kind": "window", "amount": "5"})), "limit.seconds"),
        (limit(json!({"kind": "window", "amount": 5, "seconds": 60})), "limit.amount"),
        (limit(json!({"kind": "window", "amount": "five", "seconds": 60})), "limit.amount"),
        (limit(json!({"kind": "window", "amount": "5", "seconds": "60"})), "limit.seconds"),
        (limit(json!({"kind": "window", "amount": "5", "seconds": -1})), "limit.seconds"),
        (limit(json!({"kind": "window", "amount": "5", "seconds": 31_622_401})), "limit"),
        (limit(json!({"kind": "window", "amount": "5", "seconds": 60, "unit": "day"})), "limit.unit"),
        (limit(json!({"kind": "total", "amount": "-5"})), "limit"),
        (limit(json!({"kind": "total", "amount": "99999999999999999999"})), "limit.amount"),
        (limit(json!({"kind": "calendar", "amount": "5", "unit": "decade"})), "limit.unit"),
        (limit(json!({"kind": "each", "least": "6", "most": "5"})), "limit"),
        (limit(json!({"kind": "velocity", "count": -1, "seconds": 60})), "limit.count"),
        (limit(json!({"kind": "occurrences", "count": 4_294_967_296_u64})), "limit.count"),
        (limit(json!({"kind": "allow", "field": "colour", "values": ["red"]})), "limit.field"),
        (limit(json!({"kind": "allow", "field": "category", "values": []})), "limit"),
        (limit(json!({"kind": "allow", "field": "category", "values": "ads"})), "limit.values"),
        (limit(json!({"kind": "allow", "field": "category", "values": many})), "limit"),
        (limit(json!({"kind": "deny", "field": "payee", "values": [long]})), "limit"),
        (limit(json!({"kind": "between", "from": "tomorrow"})), "limit.from"),
        (limit(json!({"kind": "between", "until": "2020-01-01"})), "limit.until"),
        (limit(json!({"kind": "between", "from": "2020-01-02T00:00:00Z", "until": "2020-01-01T00:00:00Z"})), "limit"),
        (limit(json!({"kind": "approval", "above": "5", "seconds": 2_678_401})), "limit"),
        (limit(json!({"kind": "approval", "above": "5", "four_eyes": "yes"})), "limit.four_eyes"),
        (limit(json!({"kind": "magic"})), "limit.kind"),
        (limit(json!({"amount": "5"})), "limit.kind"),
        (json!({"account": "growth"}), "limit"),
        (with(limit(json!({"kind": "total", "amount": "5"})), "mode", "loud"), "mode"),
        (with(limit(json!({"kind": "total", "amount": "5"})), "colour", "red"), "colour"),
        (json!({"account": "a//b", "limit": {"kind": "total", "amount": "5"}}), "account"),
    ];
    refuses(&desk, Method::PUT, "/v1/budgets/b", cases).await;
    let good = limit(json!({"kind": "total", "amount": "5"}));
    for id in ["consent", "stopped", "policy", "four_eyes", "a%20b", &"b".repeat(65)] {
        let answer = desk.put(&format!("/v1/budgets/{id}"), good.clone()).await;
        assert_eq!(assert_problem(&answer, StatusCode::BAD_REQUEST, "invalid_request")["field"], "id", "{id}");
    }
    assert_eq!(desk.get("/v1/budgets").await.json()["budgets"].as_array().unwrap().len(), 1, "the seeds' own");
    desk.end();
}

#[tokio::test]
async fn a_verb_with_a_field_that_makes_no_sense_is_refused_by_it() {
    let desk = Desk::open();
    let long = "c".repeat(129);
    let money = |body: &Value| {
        vec![
            (with(body.clone(), "amount", usd("0")), "amount"),
            (with(body.clone(), "amount", usd("-1")), "amount"),
            (with(body.clone(), "amount", usd("0.0000001")), "amount"),
            (with(body.clone(), "amount", json!({"amount": "1", "currency": "EUR"})), "currency"),
            (with(body.clone(), "amount", json!({"amount": "1"})), "amount.currency"),
            (with(body.clone(), "amount", "1"), "amount"),
            (with(body.clone(), "amont", usd("1")), "amont"),
        ]
    };
    let whole = ask("growth", "1");
    for path in ["/v1/authorizations", "/v1/records"] {
        let mut cases = money(&whole);
        cases.extend([
            (with(whole.clone(), "category", ""), "category"),
            (with(whole.clone(), "category", long.as_str()), "category"),
            (with(whole.clone(), "payee", 7), "payee"),
            (with(whole.clone(), "account", "a/b/c/d/e/f/g/h"), "account"),
            (with(whole.clone(), "account", 7), "account"),
        ]);
        refuses(&desk, Method::POST, path, cases).await;
    }
    let cases = vec![
        (with(whole.clone(), "ttl_seconds", 0), "ttl_seconds"),
        (with(whole.clone(), "ttl_seconds", 2_678_401), "ttl_seconds"),
        (with(whole.clone(), "ttl_seconds", "60"), "ttl_seconds"),
        (with(whole.clone(), "dry_run", "yes"), "dry_run"),
        (with(whole.clone(), "purpose", "spying"), "purpose"),
        (with(whole.clone(), "purpose", "marketing"), "customer_id"),
    ];
    refuses(&desk, Method::POST, "/v1/authorizations", cases).await;
    let held = desk.hold("growth", "5").await;
    for verb in ["increase", "refund"] {
        refuses(&desk, Method::POST, &format!("{held}/{verb}"), money(&json!({}))).await;
    }
    refuses(
        &desk,
        Method::POST,
        "/v1/stops",
        vec![(json!({"account": "a//b"}), "account"), (json!({"path": "a"}), "path")],
    )
    .await;
    for (method, path, field) in [
        (Method::DELETE, "/v1/stops?account=a//b", "account"),
        (Method::GET, "/v1/approvals?limit=0", "limit"),
        (Method::GET, "/v1/approvals?limit=1001", "limit"),
        (Method::GET, "/v1/approvals?after=yesterday", "after"),
        (Method::GET, "/v1/budgets?limit=1001", "limit"),
        (Method::POST, "/v1/authorizations/7/approve", "id"),
    ] {
        let answer = desk.call(method.clone(), path, None).await;
        assert_eq!(assert_problem(&answer, StatusCode::BAD_REQUEST, "invalid_request")["field"], field, "{path}");
    }
    let id = "01a1fdc5-f67a-77fb-b661-1f6e0791435e";
    for verb in ["increase", "refund", "approve", "reject", "capture", "void"] {
        let body = matches!(verb, "increase" | "refund").then(|| json!({"amount": usd("1")}));
        let answer = desk.call(Method::POST, &format!("/v1/authorizations/{id}/{verb}"), body.as_ref()).await;
        assert_problem(&answer, StatusCode::NOT_FOUND, "not_found");
    }
    let burst = desk.standing("burst").await;
    assert_eq!(burst[..2], ["0.00", "5.00"], "only the hold");
    desk.end();
}
