//! Shield over HTTP, as the seeds' readers and the authors of agents use it.

use std::path::Path;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Serving, folder, request, succeed};

/// A window that nothing leaves while a test runs.
const HOUR: &[(&str, &str)] = &[("WINDOW_SECONDS", "3600")];

struct Shield {
    serving: Serving,
    http: Http,
}

impl Shield {
    fn start(folder: &Path) -> Self {
        Self { serving: Serving::shield(folder, HOUR), http: Http::new() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.http.get(&self.serving.url("shield", path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.http.post(&self.serving.url("shield", path), &body).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.http.send(request(Method::PUT, &self.serving.url("shield", path), Some(&body))).await
    }

    async fn authorize(&self, key: Option<&str>, body: Value) -> Answer {
        let mut asked = request(Method::POST, &self.serving.url("shield", "/v1/authorizations"), Some(&body));
        if let Some(key) = key {
            asked.headers_mut().insert("idempotency-key", key.parse().unwrap());
        }
        self.http.send(asked).await
    }
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

#[tokio::test]
async fn the_quick_start_of_the_seeds_works_as_typed() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    for n in 1..=6 {
        let answer = shield.get("/spend?amount=100").await;
        let expected = if n <= 5 { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(answer.status, expected, "spend {n}");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let refused = shield.get("/spend?amount=100").await;
    let problem = refused.json();
    assert_eq!((&problem["code"], &problem["remaining"]), (&json!("budget_exceeded"), &json!("0.00")));
    assert_eq!(problem["asked"], "100.00");
    assert!(problem["frees_at"].is_string() && refused.headers.contains_key("retry-after"), "{problem}");
    let metrics = String::from_utf8(shield.get("/metrics").await.body.to_vec()).unwrap();
    for line in [
        "kiki_spend_decisions_total{outcome=\"captured\"} 5",
        "kiki_spend_decisions_total{outcome=\"denied\"} 2",
        "kiki_http_requests_total{service=\"shield\",route=\"/spend\",method=\"GET\",status=\"200\"} 5",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let checked = shield.get("/check?ltv=600").await;
    assert_eq!((checked.status, &checked.json()["code"]), (StatusCode::FORBIDDEN, &json!("budget_spent")));
}

#[tokio::test]
async fn a_spend_is_whole_or_not_at_all() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    assert_eq!(shield.get("/spend?amount=499.99").await.json()["remaining"], "0.01");
    assert_eq!(shield.get("/spend?amount=0.02").await.status, StatusCode::FORBIDDEN);
    assert_eq!(shield.post("/spend?amount=0.01", Value::Null).await.status, StatusCode::BAD_REQUEST);
    let posted = shield.post("/spend", json!({"amount": 0.01})).await;
    assert_eq!((posted.status, &posted.json()["remaining"]), (StatusCode::OK, &json!("0.00")));
}

#[tokio::test]
async fn a_check_refuses_values_out_of_bounds() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    for (ltv, code) in [("9.999999", "ltv_too_low"), ("10000.01", "ltv_too_high"), ("-5", "ltv_too_low")] {
        let answer = shield.get(&format!("/check?ltv={ltv}")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::FORBIDDEN, &json!(code)), "{ltv}");
    }
    for ltv in ["10", "600", "10000"] {
        assert_eq!(shield.get(&format!("/check?ltv={ltv}")).await.status, StatusCode::OK, "{ltv}");
    }
}

#[tokio::test]
async fn consent_is_part_of_the_very_next_decision() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let ask = json!({"amount": usd("1.00"), "customer_id": "cust_123", "purpose": "marketing"});
    let denied = shield.authorize(None, ask.clone()).await;
    assert_eq!((denied.status, &denied.json()["refused_by"]), (StatusCode::FORBIDDEN, &json!(["consent"])));
    let granted = shield.post("/consent/grant", json!({"customer_id": "cust_123", "consent_type": "marketing"})).await;
    assert_eq!(granted.status, StatusCode::OK);
    assert_eq!(shield.authorize(None, ask.clone()).await.status, StatusCode::CREATED);
    let status = shield.get("/consent/status?customer_id=cust_123").await.json();
    assert_eq!((&status["consents"]["marketing"], &status["consents"]["profiling"]), (&json!(true), &json!(false)));
    let revoke = shield.serving.url("shield", "/consent/revoke?customer_id=cust_123&type=marketing");
    assert_eq!(shield.http.send(request(Method::POST, &revoke, None)).await.status, StatusCode::OK);
    assert_eq!(shield.authorize(None, ask).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn money_is_held_captured_and_given_back_once() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let held = shield.authorize(Some("order-1"), json!({"account": "growth", "amount": usd("300")})).await.json();
    assert_eq!((&held["state"], &held["account"]), (&json!("held"), &json!("growth")));
    assert_eq!(shield.get("/spend?amount=201").await.status, StatusCode::FORBIDDEN, "a hold counts");
    let path = format!("/v1/authorizations/{}", held["id"].as_str().unwrap());
    let whole = shield.authorize(None, json!({"amount": usd("50")})).await.json();
    let whole = shield.serving.url("shield", &format!("/v1/authorizations/{}/capture", whole["id"].as_str().unwrap()));
    let captured = shield.http.send(request(Method::POST, &whole, None)).await.json();
    assert_eq!(captured["captured"], usd("50.00"), "without a body: all of it");
    let captured = shield.post(&format!("{path}/capture"), json!({"amount": usd("100")})).await.json();
    assert_eq!((&captured["state"], &captured["captured"]), (&json!("captured"), &usd("100.00")));
    assert_eq!(shield.post(&format!("{path}/capture"), json!({"amount": usd("100")})).await.status, StatusCode::OK);
    for (verb, body) in [("capture", json!({"amount": usd("99")})), ("void", json!({}))] {
        let again = shield.post(&format!("{path}/{verb}"), body).await;
        assert_eq!((again.status, &again.json()["code"]), (StatusCode::CONFLICT, &json!("already_resolved")), "{verb}");
    }
    assert_eq!(shield.get("/spend?amount=350").await.json()["remaining"], "0.00", "the rest was free at once");
    let mut known = shield.get(&path).await.json();
    assert_ne!(known["receipt"], captured["receipt"], "the one is of the authorization, the other of its capture");
    known["receipt"] = captured["receipt"].clone();
    assert_eq!(known, captured);

    let repeat = shield.authorize(Some("order-1"), json!({"account": "growth", "amount": usd("300")})).await;
    assert_eq!(
        (repeat.status, &repeat.json()["id"]),
        (StatusCode::CREATED, &held["id"]),
        "the same key, the same answer"
    );
    let other = shield.authorize(Some("order-1"), json!({"account": "growth", "amount": usd("301")})).await;
    assert_eq!((other.status, &other.json()["code"]), (StatusCode::CONFLICT, &json!("idempotency_conflict")));
}

#[tokio::test]
async fn an_authorization_takes_every_limit_on_its_path_or_none() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let total = json!({"account": "growth", "limit": {"kind": "total", "amount": "50"}});
    assert_eq!(shield.put("/v1/budgets/growth-total", total).await.status, StatusCode::OK);
    let each = json!({"account": "growth/mail", "limit": {"kind": "each", "least": "0.10", "most": "5"}});
    assert_eq!(shield.put("/v1/budgets/mail-each", each).await.status, StatusCode::OK);
    let denied = shield.authorize(None, json!({"account": "growth/mail/win", "amount": usd("60")})).await.json();
    assert_eq!(denied["refused_by"], json!(["growth-total", "mail-each"]));
    assert_eq!(denied["limits"].as_array().unwrap().len(), 3);
    let budgets = shield.get("/v1/budgets").await.json();
    let held: Vec<_> = budgets["budgets"].as_array().unwrap().iter().map(|budget| &budget["held"]).collect();
    assert_eq!(
        held,
        [&json!("0.00"), &json!("0.00"), &Value::Null],
        "nothing was taken, and what limits each holds nothing"
    );
    assert_eq!(
        shield.authorize(None, json!({"account": "growth/mail/win", "amount": usd("5")})).await.status,
        StatusCode::CREATED
    );
    assert_eq!(shield.get("/v1/budgets/growth-total").await.json()["remaining"], "45.00");
}

#[tokio::test]
async fn a_subject_request_and_a_report_come_from_what_was_recorded() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let made = shield.post("/dsr/create", json!({"customer_id": "cust_123", "request_type": "ACCESS"})).await;
    assert_eq!((made.status, &made.json()["status"]), (StatusCode::CREATED, &json!("received")));
    let due_at = made.json()["due_at"].as_str().unwrap().to_owned();
    assert_eq!(due_at, format!("{}T23:59:59.999Z", made.json()["due_on"].as_str().unwrap()));
    shield.get("/spend?amount=500").await;
    shield.get("/spend?amount=1").await;
    // The log's derived parts are at most a second behind.
    let mut report = Value::Null;
    for _ in 0..100 {
        report = shield.get("/compliance/report?period=daily").await.json();
        if report["entries"] == 4 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(report["events"]["spend.authorize_and_capture"], json!({"ALLOWED": 1, "DENIED": 1}));
    assert_eq!(report["events"]["dsr.create"], json!({"ALLOWED": 1}));
    assert_eq!(report["denials"], json!({"default/burst": 1}));
    // The person may have been written to already.
    let stands = [json!({"ACCESS": {"received": 1}}), json!({"ACCESS": {"identity_check": 1}})];
    assert!(stands.contains(&report["subject_requests"]), "{report}");
    assert_eq!(shield.get("/compliance/report?period=yearly").await.json()["field"], "period");
    // Ending brings the views up to the log.
    shield.serving.terminate();
    let views = std::fs::read_to_string(folder.path().join("data/audit/shield_audit_gdpr.csv")).unwrap();
    assert!(views.contains("dsr.create") && !views.contains("cust_123"), "{views}");
    assert!(views.lines().any(|line| line.contains("DENIED")), "{views}");
}

#[tokio::test]
async fn bad_input_of_every_kind_is_a_problem_that_names_the_field() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    for (path, field) in [
        ("/spend", "amount"),
        ("/spend?amount=", "amount"),
        ("/spend?amount=NaN", "amount"),
        ("/spend?amount=-1", "amount"),
        ("/spend?amount=0", "amount"),
        ("/spend?amount=1e400", "amount"),
        ("/spend?amount=inf", "amount"),
        ("/spend?amount=1.0000001", "amount"),
        ("/spend?amount=99999999999999999999", "amount"),
        ("/spend?amount=1&account=a//b", "account"),
        ("/check", "ltv"),
        ("/check?ltv=lots", "ltv"),
        ("/consent/status", "customer_id"),
        ("/consent/status?customer_id=", "customer_id"),
        ("/v1/authorizations/17", "id"),
        ("/v1/budgets?limit=0", "limit"),
        ("/v1/budgets?limit=x", "limit"),
        ("/v1/budgets?after=99999999999999999999", "after"),
    ] {
        assert_problem(&shield.get(path).await, StatusCode::BAD_REQUEST, Some(field), path);
    }
    for (path, body, field) in [
        ("/spend", json!({}), "amount"),
        ("/spend", json!({"amount": "NaN"}), "amount"),
        ("/spend", json!({"amount": []}), "amount"),
        ("/spend", json!({"amount": 123_456_789_012.123_46_f64}), "amount"),
        ("/consent/grant", json!({"customer_id": "c", "consent_type": "everything"}), "consent_type"),
        ("/consent/grant", json!({"customer_id": "", "consent_type": "marketing"}), "customer_id"),
        ("/consent/grant", json!({"customer_id": 7, "consent_type": "marketing"}), "customer_id"),
        ("/consent/revoke", json!({"customer_id": "c"}), "consent_type"),
        ("/dsr/create", json!({"customer_id": "c", "request_type": "FORGET"}), "request_type"),
        ("/v1/authorizations", json!({"amount": usd("-1")}), "amount"),
        ("/v1/authorizations", json!({"amount": {"amount": 1, "currency": "USD"}}), "amount.amount"),
        ("/v1/authorizations", json!({"amount": {"amount": "1", "currency": "EUR"}}), "currency"),
        ("/v1/authorizations", json!({"amount": usd("1"), "purpose": "marketing"}), "customer_id"),
        ("/v1/authorizations", json!({"amount": usd("1"), "ttl_seconds": 0}), "ttl_seconds"),
        ("/v1/authorizations", json!({"amount": usd("1"), "colour": "red"}), "colour"),
    ] {
        assert_problem(
            &shield.post(path, body.clone()).await,
            StatusCode::BAD_REQUEST,
            Some(field),
            &format!("{path} {body}"),
        );
    }
    let budget = json!({"limit": {"kind": "window", "amount": "5", "seconds": 0}});
    assert_problem(
        &shield.put("/v1/budgets/b", budget.clone()).await,
        StatusCode::BAD_REQUEST,
        Some("limit"),
        "no window",
    );
    assert_problem(
        &shield.put("/v1/budgets/consent", budget).await,
        StatusCode::BAD_REQUEST,
        Some("id"),
        "a taken name",
    );
    assert_nothing_recorded(&shield).await;
}

#[tokio::test]
async fn asking_by_head_spends_nothing() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let answer =
        shield.http.send(request(Method::HEAD, &shield.serving.url("shield", "/spend?amount=100"), None)).await;
    assert_eq!(
        (answer.status, &answer.headers["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, POST".parse().unwrap())
    );
    assert_nothing_recorded(&shield).await;
}

#[tokio::test]
async fn a_denial_names_a_time_only_if_waiting_helps() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let ask = json!({"amount": usd("501"), "customer_id": "c", "purpose": "marketing"});
    let both = shield.authorize(Some("k"), ask.clone()).await;
    assert_eq!(both.json()["refused_by"], json!(["burst", "consent"]));
    assert!(!both.headers.contains_key("retry-after"), "{:?}", both.json());
    shield.get("/spend?amount=400").await;
    let ask = json!({"amount": usd("200"), "customer_id": "c"});
    let first = shield.authorize(Some("l"), ask.clone()).await;
    assert!(first.headers.contains_key("retry-after") && first.json()["passes_at"].is_string());
    let repeat = shield.authorize(Some("l"), ask).await;
    assert_eq!(repeat.status, StatusCode::FORBIDDEN);
    assert!(!repeat.headers.contains_key("retry-after"), "a repeat gets its first answer however long it waits");
    let other = shield.authorize(Some("l"), json!({"amount": usd("200"), "customer_id": "d"})).await;
    assert_eq!(other.status, StatusCode::CONFLICT, "another customer is another request");
}

#[tokio::test]
async fn what_a_caller_calls_its_request_does_not_reach_the_log_in_the_clear() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let mut asked = request(Method::GET, &shield.serving.url("shield", "/spend?amount=1"), None);
    asked.headers_mut().insert("x-request-id", "alice.miller@example.com".parse().unwrap());
    assert_eq!(shield.http.send(asked).await.headers["x-request-id"], "alice.miller@example.com");
    shield.serving.terminate();
    let mut folders = vec![folder.path().join("data/audit")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(12).any(|part| part == b"alice.miller"), "{}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn broken_huge_and_misdirected_requests_are_problems() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let send = async |method: Method, path: &str, kind: &str, body: Vec<u8>| {
        let request =
            Request::builder().method(method).uri(shield.serving.url("shield", path)).header("content-type", kind);
        shield.http.send(request.body(Full::from(Bytes::from(body))).unwrap()).await
    };
    let json_type = "application/json";
    let broken = send(Method::POST, "/consent/grant", json_type, b"{\"customer_id\":".to_vec()).await;
    assert_problem(&broken, StatusCode::BAD_REQUEST, None, "broken JSON");
    let huge = send(Method::POST, "/consent/grant", json_type, vec![b' '; 11 << 20]).await;
    assert_problem(&huge, StatusCode::PAYLOAD_TOO_LARGE, None, "11 MB");
    let number = send(Method::POST, "/spend", json_type, b"{\"amount\": 1e400}".to_vec()).await;
    assert!(number.status.is_client_error(), "{number:?}");
    let text = send(Method::POST, "/v1/authorizations", "text/plain", b"{}".to_vec()).await;
    assert_problem(&text, StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("content-type"), "text");
    let method = send(Method::DELETE, "/spend?amount=1", json_type, Vec::new()).await;
    assert_problem(&method, StatusCode::METHOD_NOT_ALLOWED, None, "DELETE");
    assert!(method.headers.contains_key("allow"));
    assert_problem(&shield.get("/spends").await, StatusCode::NOT_FOUND, None, "no such path");
    let mut cross_site = request(Method::GET, &shield.serving.url("shield", "/spend?amount=1"), None);
    cross_site.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_problem(&shield.http.send(cross_site).await, StatusCode::FORBIDDEN, None, "cross-site");
    assert_nothing_recorded(&shield).await;
}

fn assert_problem(answer: &Answer, status: StatusCode, field: Option<&str>, what: &str) {
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}: {answer:?}");
    let problem = answer.json();
    assert_eq!(answer.status, status, "{what}: {problem}");
    assert!(problem["code"].is_string() && problem["request_id"].is_string(), "{what}: {problem}");
    if let Some(field) = field {
        assert_eq!(problem["field"], field, "{what}: {problem}");
    }
}

async fn assert_nothing_recorded(shield: &Shield) {
    assert_eq!(shield.get("/v1/budgets/burst").await.json()["remaining"], "500.00");
    let status = shield.get("/consent/status?customer_id=c").await.json();
    assert!(status["consents"].as_object().unwrap().values().all(|granted| granted == &json!(false)), "{status}");
}

#[tokio::test]
async fn two_processes_do_not_share_a_log() {
    let folder = folder();
    let first = Shield::start(folder.path());
    let second = crate::harness::fail(folder.path(), &["serve", "shield", "--free-ports"]);
    assert!(second.contains("another process"), "{second}");
    assert_eq!(first.get("/spend?amount=1").await.status, StatusCode::OK);
    succeed(folder.path(), &["audit", "verify"]);
}

#[tokio::test]
async fn a_changed_window_is_in_force_after_a_restart() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    shield.get("/spend?amount=400").await;
    shield.serving.terminate();
    let variables = [("WINDOW_SECONDS", "7200"), ("MAX_BURST_BUDGET", "450.0")];
    let shield = Shield { serving: Serving::shield(folder.path(), &variables), http: Http::new() };
    assert_eq!(shield.get("/v1/budgets/burst").await.json()["remaining"], "50.00");
    assert_eq!(shield.get("/spend?amount=51").await.status, StatusCode::FORBIDDEN);
}
