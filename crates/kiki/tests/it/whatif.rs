//! Other limits on a log that a service writes.

use std::fs;
use std::path::Path;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Http, Serving, fail, folder, here, request, succeed};

/// Three of 30 are captured under a total of 100, and a fourth is denied.
async fn spend(serving: &Serving) {
    let (http, url) = (Http::new(), |path: &str| serving.url("shield", path));
    let budget = json!({"account": "growth", "limit": {"kind": "total", "amount": "100"}});
    let put = http.send(request(Method::PUT, &url("/v1/budgets/growth"), Some(&budget))).await;
    assert_eq!(put.status, StatusCode::OK);
    let ask = json!({"account": "growth/winback", "amount": {"amount": "30", "currency": "USD"}});
    for _ in 0..3 {
        let held = http.post(&url("/v1/authorizations"), &ask).await;
        assert_eq!(held.status, StatusCode::CREATED);
        let id = held.json()["id"].as_str().unwrap().to_owned();
        let captured = http.post(&url(&format!("/v1/authorizations/{id}/capture")), &json!({})).await;
        assert_eq!(captured.status, StatusCode::OK);
    }
    assert_eq!(http.post(&url("/v1/authorizations"), &ask).await.status, StatusCode::FORBIDDEN);
}

fn limits(folder: &Path, text: &str) -> String {
    let path = folder.join(if text.starts_with('{') { "limits.json" } else { "limits.toml" });
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn told(folder: &Path, text: &str) -> Value {
    let file = limits(folder, text);
    serde_json::from_str(&succeed(folder, &["spend", "whatif", "--limits", &file, "--json"])).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_limits_are_tried_on_the_log_of_a_running_service() {
    let folder = folder();
    let serving = Serving::shield(folder.path(), &[]);
    spend(&serving).await;
    let smaller = "[[budgets]]\nid = 'growth'\naccount = 'growth'\nlimit = { kind = 'total', amount = '60.00' }\n";
    let file = limits(folder.path(), smaller);
    let text = succeed(folder.path(), &["spend", "whatif", "--limits", &file]);
    for part in ["4 decisions about 120.00 USD", "newly denied", "growth/winback", "30.00", "Assumed:"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report = told(folder.path(), smaller);
    assert_eq!(report["newly_denied"], json!({"count": 1, "amount": "30.00"}));
    assert_eq!(report["changes"][0]["refused_by"], json!(["growth"]));
    assert_eq!(report["changes"][0]["account"], "growth/winback");

    let report = told(folder.path(), r#"{"remove": ["growth"]}"#);
    assert_eq!((&report["newly_allowed"]["count"], &report["newly_denied"]["count"]), (&1.into(), &0.into()));

    // The same from a snapshot, after a clean end; and a span in which nothing happened.
    serving.terminate();
    assert_eq!(told(folder.path(), smaller)["newly_denied"]["count"], 1);
    let text = succeed(folder.path(), &["spend", "whatif", "--limits", &file, "--from", "2199-01-01T00:00:00Z"]);
    assert!(text.contains("Nothing changes") && text.contains("0 decisions"), "{text}");
}

#[test]
fn the_example_is_a_list_of_limits_and_mistakes_are_named() {
    let folder = folder();
    let example = here("../../examples/whatif/limits.toml");
    let whatif = |file: &str| fail(folder.path(), &["spend", "whatif", "--limits", file]);
    assert!(whatif(example.to_str().unwrap()).contains("there is no log"));
    Serving::shield(folder.path(), &[]).terminate();
    let told = told(folder.path(), &fs::read_to_string(example).unwrap());
    assert_eq!((&told["decisions"]["count"], &told["never_there"]), (&0.into(), &json!(["old-total"])));
    let wrong = |text: &str| whatif(&limits(folder.path(), text));
    assert!(
        wrong("[[budgets]]\nid = 'a'\nlimit = { kind = 'total', amount = 'ten' }").contains("budget a: limit.amount")
    );
    assert!(wrong("[[budgets]]\nid = 'a'\nlimit = { kind = 'totall', amount = '1' }").contains("totall"));
    assert!(wrong(r#"{"remove": ["stopped"]}"#).contains("budget stopped: id"));
    let negative = "[[budgets]]\nid = 'a'\nlimit = { kind = 'total', amount = '-1' }";
    assert!(wrong(negative).contains("budget a: limit: amounts must not be negative"));
    assert!(wrong("remove = ['a', 'a']").contains("twice"));
}
