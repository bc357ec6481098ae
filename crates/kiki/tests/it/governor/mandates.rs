//! Mandates of the Agent Payments Protocol, kept by budgets.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Desk, ask, assert_denied, assert_problem, with};

async fn put(desk: &Desk, constraints: Value) -> super::Answer {
    desk.put("/v1/mandates/m1", json!({"account": "shopping/agent-7", "constraints": constraints})).await
}

fn ids(answer: &super::Answer) -> Vec<String> {
    let json = answer.json();
    let budgets = json["budgets"].as_array().unwrap_or_else(|| panic!("{json}")).iter();
    budgets.map(|budget| budget["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_agent_pays_within_its_mandate() {
    let desk = Desk::open();
    let defined = put(
        &desk,
        json!([
            {"type": "payment.amount_range", "currency": "USD", "min": 100, "max": 2000},
            {"type": "payment.budget", "currency": "USD", "max": 30},
            {"type": "payment.allowed_payees", "allowed": [{"id": "shop-1", "name": "One"}]},
            {"type": "payment.agent_recurrence", "frequency": "ON_DEMAND", "max_occurrences": 3},
            {"type": "payment.execution_date", "not_before": "2020-01-01", "not_after": "2999-12-31"}
        ]),
    )
    .await;
    assert_eq!(ids(&defined), ["m1.amount", "m1.budget", "m1.payees", "m1.occurrences", "m1.dates"]);
    let pay = async |account: &str, amount: &str, payee: &str| {
        desk.post("/v1/authorizations", with(ask(account, amount), "payee", payee)).await
    };
    let agent = "shopping/agent-7";
    assert_eq!(pay(agent, "20", "shop-1").await.status, StatusCode::CREATED);
    assert_denied(&pay(agent, "20.01", "shop-1").await, &["m1.amount", "m1.budget"]);
    assert_denied(&pay(agent, "0.99", "shop-1").await, &["m1.amount"]);
    assert_denied(&pay(agent, "1", "shop-2").await, &["m1.payees"]);
    for _ in 0..2 {
        assert_eq!(pay(agent, "1", "shop-1").await.status, StatusCode::CREATED);
    }
    assert_denied(&pay(agent, "1", "shop-1").await, &["m1.occurrences"]);
    assert_eq!(pay("shopping/agent-8", "500", "shop-2").await.status, StatusCode::CREATED, "not of this mandate");
    desk.end();
}

#[tokio::test]
async fn a_further_version_of_a_mandate_takes_the_place_of_the_former() {
    let desk = Desk::open();
    desk.budget("m1.other", "", json!({"kind": "total", "amount": "900"})).await;
    put(
        &desk,
        json!([
            {"type": "payment.budget", "currency": "USD", "max": 30},
            {"type": "payment.amount_range", "currency": "USD", "max": 2000}
        ]),
    )
    .await;
    desk.spend("shopping/agent-7", "20").await;
    let second = json!([{"type": "payment.budget", "currency": "USD", "max": "25.50"}]);
    assert_eq!(ids(&put(&desk, second.clone()).await), ["m1.budget"]);
    assert_eq!(desk.get("/v1/budgets/m1.amount").await.status, StatusCode::NOT_FOUND);
    assert_eq!(desk.get("/v1/budgets/m1.other").await.status, StatusCode::OK, "no budget of a mandate");
    assert_eq!(desk.standing("m1.budget").await, ["20.00", "0.00", "5.50"], "what was paid stays paid");
    assert_eq!(ids(&put(&desk, second).await), ["m1.budget"]);
    desk.end();
}

#[tokio::test]
async fn a_constraint_that_nothing_keeps_refuses_the_whole_mandate() {
    let desk = Desk::open();
    let budget = json!({"type": "payment.budget", "currency": "USD", "max": 30});
    let unknown = put(&desk, json!([budget, {"type": "payment.allowed_pisps", "allowed": []}])).await;
    let problem = assert_problem(&unknown, StatusCode::UNPROCESSABLE_ENTITY, "unknown_constraint");
    assert_eq!(problem["field"], "constraints[1].type", "{problem}");
    for (constraints, field) in [
        (json!([]), "constraints"),
        (json!([budget, budget]), "constraints"),
        (json!([{"type": "payment.budget", "currency": "EUR", "max": 30}]), "constraints.currency"),
        (json!([{"type": "payment.budget", "currency": "USD", "max": -1}]), "constraints.max"),
        (json!([{"type": "payment.agent_recurrence", "frequency": "BIWEEKLY"}]), "constraints.frequency"),
        (json!([{"type": "payment.allowed_payees", "allowed": []}]), "constraints.allowed"),
        (json!([{"type": "payment.execution_date", "not_before": "soon"}]), "constraints.not_before"),
        (json!([{"type": "payment.budget", "currency": "USD", "max": 30, "soft": true}]), "constraints[0].soft"),
        (json!([{"currency": "USD", "max": 30}]), "constraints[0].type"),
        (json!({}), "constraints"),
    ] {
        let refused = put(&desk, constraints.clone()).await;
        let problem = assert_problem(&refused, StatusCode::BAD_REQUEST, "invalid_request");
        assert_eq!(problem["field"], field, "{constraints}: {problem}");
    }
    assert_eq!(desk.get("/v1/budgets/m1.budget").await.status, StatusCode::NOT_FOUND, "nothing was defined");
    desk.end();
}
