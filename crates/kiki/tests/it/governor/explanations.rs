//! What a denial says: how each limit stands, and when the same request passes.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Desk, ask, assert_denied, time, usd};

#[tokio::test]
async fn a_denial_shows_how_every_limit_on_the_path_stands() {
    let desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    desk.budget("hour", "growth/mail", json!({"kind": "window", "amount": "8", "seconds": 3600})).await;
    desk.budget("pace", "growth/mail", json!({"kind": "velocity", "count": 9, "seconds": 3600})).await;
    desk.budget("beside", "growth/ads", json!({"kind": "total", "amount": "1"})).await;
    desk.spend("growth/mail", "4").await;
    desk.hold("growth/mail", "3").await;
    let problem = assert_denied(&desk.ask("growth/mail/win", "2").await, &["hour"]);
    let limits: BTreeMap<_, _> =
        problem["limits"].as_array().unwrap().iter().map(|limit| (limit["id"].as_str().unwrap(), limit)).collect();
    assert_eq!(limits.keys().copied().collect::<Vec<_>>(), ["all", "burst", "hour", "pace"]);
    for (id, kind, numbers, refuses) in [
        ("all", "total", ["10.00", "4.00", "3.00", "3.00"], false),
        ("hour", "window", ["8.00", "4.00", "3.00", "1.00"], true),
        ("pace", "velocity", ["9", "1", "1", "7"], false),
    ] {
        let limit = limits[id];
        let shown = ["limit", "used", "held", "remaining"].map(|name| limit[name].as_str().unwrap());
        assert_eq!((&limit["kind"], shown, &limit["refuses"]), (&json!(kind), numbers, &json!(refuses)), "{id}");
        assert_eq!(limit["passes_at"].is_string(), refuses, "{limit}");
    }
    assert_eq!(problem["asked"], json!({"amount": "2.00", "currency": "USD"}));
    assert_eq!((&problem["remaining"], problem["entry"].is_u64()), (&json!("1.00"), true), "{problem}");
    assert_eq!(problem["passes_at"], limits["hour"]["passes_at"]);
    desk.end();
}

/// Asks for the same until it passes; the moment that each denial named.
async fn until_it_passes(desk: &Desk, account: &str, amount: &str) -> Vec<i64> {
    let mut named = Vec::new();
    for _ in 0..600 {
        let answer = desk.ask(account, amount).await;
        if answer.status == StatusCode::CREATED {
            return named;
        }
        named.push(time(&answer.json()["passes_at"]));
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    panic!("it never passes: {named:?}");
}

/// The moments at which the log says that `amount` millionths were asked for, and what came of it.
fn decided(bodies: &[Value], amount: i64) -> Vec<(i64, String)> {
    let asked = bodies.iter().filter(|body| body["cmd"]["op"] == "authorize" && body["cmd"]["amount"] == amount);
    asked.map(|body| (body["at"].as_i64().unwrap(), body["out"]["outcome"].as_str().unwrap().to_owned())).collect()
}

#[tokio::test]
async fn the_same_request_passes_at_the_moment_that_its_denial_names_and_not_before() {
    let desk = Desk::open();
    desk.budget("window", "a", json!({"kind": "window", "amount": "10", "seconds": 1})).await;
    desk.budget("pace", "b", json!({"kind": "velocity", "count": 1, "seconds": 1})).await;
    desk.budget("all", "c", json!({"kind": "total", "amount": "10"})).await;
    let mut told = Vec::new();
    for (account, first, amount) in [("a", "8", "3"), ("b", "1", "4"), ("c", "8", "5")] {
        if account == "c" {
            let body = json!({"account": account, "amount": usd(first), "ttl_seconds": 1});
            assert_eq!(desk.post("/v1/authorizations", body).await.status, StatusCode::CREATED);
        } else {
            desk.spend(account, first).await;
        }
        let named = until_it_passes(&desk, account, amount).await;
        assert!(!named.is_empty() && named.iter().all(|at| *at == named[0]), "{account}: {named:?}");
        told.push((amount.parse::<i64>().unwrap() * 1_000_000, named[0]));
    }
    let bodies = desk.end();
    for (amount, passes_at) in told {
        for (at, outcome) in decided(&bodies, amount) {
            let expected = if at < passes_at { "denied" } else { "held" };
            assert_eq!(outcome, expected, "at {at}, told {passes_at}");
        }
    }
}

/// A structured field (RFC 9651) that is a list of strings with integers as parameters.
fn list(headers: &HeaderMap, name: &str) -> BTreeMap<String, BTreeMap<char, i64>> {
    let text = headers[name].to_str().unwrap();
    let item = |item: &str| {
        let mut parts = item.split(';');
        let id = parts.next().unwrap().strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'), "{id}");
        let parameters = parts.map(|part| {
            let (key, value) = part.split_once('=').unwrap();
            let [key] = key.chars().collect::<Vec<_>>()[..] else { panic!("{key}") };
            assert!(key.is_ascii_lowercase() && value.len() <= 15, "{part}");
            (key, value.parse().unwrap())
        });
        (id.to_owned(), parameters.collect())
    };
    text.split(", ").map(item).collect()
}

/// Millionths of a decimal, or a whole number where it counts.
fn number(text: &Value) -> i64 {
    let text = text.as_str().unwrap();
    match text.split_once('.') {
        None => text.parse().unwrap(),
        Some((whole, part)) => format!("{whole}{part:0<6}").parse().unwrap(),
    }
}

#[tokio::test]
async fn the_rate_limit_fields_say_what_the_body_says() {
    let desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10.50"})).await;
    desk.budget("hour", "growth", json!({"kind": "window", "amount": "8", "seconds": 3600})).await;
    desk.budget("pace", "growth", json!({"kind": "velocity", "count": 2, "seconds": 60})).await;
    desk.budget("each", "growth", json!({"kind": "each", "most": "8"})).await;
    let shadow = json!({"account": "growth", "limit": {"kind": "total", "amount": "1"}, "mode": "shadow"});
    desk.put("/v1/budgets/planned", shadow).await;
    let held = desk.ask("growth", "7").await;
    assert_eq!(held.status, StatusCode::CREATED);
    let remaining = list(&held.headers, "ratelimit");
    assert_eq!((remaining["all"][&'r'], remaining["hour"][&'r'], remaining["pace"][&'r']), (3_500_000, 1_000_000, 1));
    let refused = desk.ask("growth", "2").await;
    let problem = assert_denied(&refused, &["hour"]);
    let (policy, state) = (list(&refused.headers, "ratelimit-policy"), list(&refused.headers, "ratelimit"));
    let counting = ["all", "burst", "hour", "pace"];
    assert_eq!(policy.keys().collect::<Vec<_>>(), counting, "neither shadows nor what counts nothing");
    assert_eq!(state.keys().collect::<Vec<_>>(), counting);
    for limit in problem["limits"].as_array().unwrap() {
        let id = limit["id"].as_str().unwrap();
        let Some(policy) = policy.get(id) else { continue };
        assert_eq!((policy[&'q'], state[id][&'r']), (number(&limit["limit"]), number(&limit["remaining"])), "{id}");
        assert_eq!(state[id].contains_key(&'t'), limit["frees_at"].is_string(), "{limit}");
    }
    let windows = ["all", "hour", "pace"].map(|id| policy[id].get(&'w').copied());
    assert_eq!(windows, [None, Some(3600), Some(60)]);
    let repeat =
        async || desk.post_with("/v1/authorizations", &[("idempotency-key", "k")], Some(&ask("growth", "9"))).await;
    let (first, again) = (repeat().await, repeat().await);
    assert_eq!((first.status, again.status), (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN));
    assert!(again.json()["entry"].is_null() && !again.headers.contains_key("retry-after"));
    desk.end();
}
