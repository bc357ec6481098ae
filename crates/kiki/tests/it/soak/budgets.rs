//! The budgets of the run, and what they must say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hyper::Method;
use kiki_types::money::parse_micros;
use serde_json::{Value, json};

use super::CLIENTS;
use super::world::World;
use crate::harness::PATIENCE;

/// Accounts that everybody spends from; each has limits of other kinds.
pub(crate) const SHARED: [&str; 6] = ["a/x", "a/y", "b/x", "b", "c/x", "d"];
/// Money that is already gone is booked here, so that it breaks no other account's limits.
pub(crate) const GONE: &str = "gone";
/// Budgets with such an id count all that ever moved below a topmost account.
pub(crate) const SUM: &str = "sum.";

/// The account that only one client spends from and stops.
pub(crate) fn own(client: usize) -> String {
    format!("own-{client}")
}

fn limits() -> Vec<(String, String, Value, &'static str)> {
    let row = |id: &str, account: &str, limit: Value, mode| (id.to_owned(), account.to_owned(), limit, mode);
    let mut rows = vec![
        row("a.window", "a", json!({"kind": "window", "amount": "60", "seconds": 2}), "enforce"),
        row("a.velocity", "a/x", json!({"kind": "velocity", "count": 12, "seconds": 1}), "enforce"),
        row("a.shadow", "a/y", json!({"kind": "window", "amount": "5", "seconds": 1}), "shadow"),
        row("b.total", "b/x", json!({"kind": "total", "amount": "500"}), "enforce"),
        row("b.day", "b", json!({"kind": "calendar", "amount": "100000", "unit": "day"}), "enforce"),
        row("b.payees", "b", json!({"kind": "deny", "field": "payee", "values": ["mallory"]}), "enforce"),
        row("c.big", "c", json!({"kind": "approval", "above": "12", "seconds": 5}), "enforce"),
        row("c.each", "c", json!({"kind": "each", "least": "0.02", "most": "19"}), "enforce"),
        row("c.window", "c/x", json!({"kind": "window", "amount": "150", "seconds": 3}), "enforce"),
        row("d.often", "d", json!({"kind": "occurrences", "count": 5000, "unit": "day"}), "enforce"),
        row("d.payees", "d", json!({"kind": "allow", "field": "payee", "values": ["alice", "bob"]}), "enforce"),
        row("gone.window", GONE, json!({"kind": "window", "amount": "1", "seconds": 1}), "enforce"),
    ];
    let most = json!({"kind": "total", "amount": "1000000000"});
    let owns = (0..CLIENTS).map(own);
    let tops = ["a", "b", "c", "d", GONE].map(str::to_owned).into_iter().chain(owns);
    rows.extend(tops.map(|top| (format!("{SUM}{top}"), top, most.clone(), "enforce")));
    rows
}

pub(crate) async fn define(world: &World) {
    for (id, account, limit, mode) in limits() {
        let body = json!({"account": account, "limit": limit, "mode": mode});
        let answer = world.insist(Method::PUT, &format!("/v1/budgets/{id}"), Some(&body), None).await;
        let answer = answer.expect("budgets are defined");
        assert!(answer.status.is_success(), "{id}: {}", answer.json());
    }
}

pub(crate) async fn read(world: &World) -> Vec<Value> {
    let answer = world.insist(Method::GET, "/v1/budgets?limit=1000", None, None).await;
    let budgets = answer.and_then(|answer| answer.json()["budgets"].as_array().cloned()).unwrap_or_default();
    if budgets.len() < limits().len() {
        world.violation(format!("{} budgets were defined, {} are there", limits().len(), budgets.len()));
    }
    budgets
}

/// A number of a budget, in millionths; a count is taken as if it were an amount.
pub(crate) fn number(budget: &Value, field: &str) -> Option<i64> {
    parse_micros(budget[field].as_str()?).ok()
}

/// The most that a budget allows, as [`number`].
fn most(budget: &Value) -> Option<i64> {
    let limit = &budget["limit"];
    limit["count"].as_i64().map(|count| count * 1_000_000).or_else(|| number(limit, "amount"))
}

/// Looks again and again whether a limit is exceeded.
pub(crate) async fn watch(world: std::sync::Arc<World>) {
    while !world.is_over() {
        for budget in read(&world).await {
            let (used, held) = (number(&budget, "used"), number(&budget, "held"));
            let (Some(used), Some(held), Some(most)) = (used, held, most(&budget)) else { continue };
            let is_bound = budget["mode"] == "enforce" && budget["account"] != GONE;
            if (is_bound && used + held > most) || held < 0 {
                world.violation(format!("a limit is exceeded: {budget}"));
            }
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

/// Waits until every hold has ended.
pub(crate) async fn drain(world: &World) {
    let start = Instant::now();
    loop {
        let budgets = read(world).await;
        let open: Vec<_> =
            budgets.iter().filter(|budget| number(budget, "held").is_some_and(|held| held != 0)).collect();
        if open.is_empty() {
            return;
        }
        if start.elapsed() > PATIENCE {
            return world.violation(format!("holds leak: {open:?}"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What of the budgets stays as time passes: their definitions, and of those that nothing leaves, what is used.
pub(crate) fn lasting(budgets: &[Value]) -> BTreeMap<String, [Value; 4]> {
    let row = |budget: &Value| {
        let is_lasting = ["total", "occurrences", "calendar"].iter().any(|kind| budget["limit"]["kind"] == *kind);
        let used = if is_lasting { budget["used"].clone() } else { Value::Null };
        (budget["id"].to_string(), [budget["account"].clone(), budget["limit"].clone(), budget["held"].clone(), used])
    };
    budgets.iter().map(row).collect()
}
