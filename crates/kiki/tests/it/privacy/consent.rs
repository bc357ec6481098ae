//! Consent over HTTP: what is taken back is refused at once, by channel, by its end, and by what a browser signals.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::requests::World;
use crate::harness::{Answer, Http, PATIENCE, Serving, fail, folder, request, succeed};

/// Clients that load the service while consent is given and taken back.
const CLIENTS: usize = if cfg!(debug_assertions) { 16 } else { 64 };
/// People who give and take back at the same time.
const PEOPLE: u64 = 8;
/// Rounds of giving and taking back of all of them, unless `KIKI_CONSENT_ROUNDS` says.
const ROUNDS: u64 = if cfg!(debug_assertions) { 100 } else { 10_000 };

#[derive(Clone)]
struct Shield {
    url: String,
    http: Http,
}

impl Shield {
    fn start(folder: &Path) -> (Serving, Self) {
        let serving = Serving::shield(folder, &[("WINDOW_SECONDS", "3600")]);
        let url = serving.url("shield", "");
        (serving, Self { url, http: Http::new() })
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Answer {
        let mut asked: Request<Full<Bytes>> = request(method, &format!("{}{path}", self.url), Some(body));
        for (name, value) in headers {
            asked.headers_mut().append(*name, value.parse().unwrap());
        }
        self.http.send(asked).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], &body).await
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(&format!("{}{path}", self.url)).await.json()
    }

    /// An entry of the log, once a checkpoint covers it.
    async fn entry(&self, index: &Value) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let entry = self.get(&format!("/v1/audit/entries/{index}")).await;
            if entry["status"] != 404 || tokio::time::Instant::now() > deadline {
                return entry;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// The least money, for a customer and a purpose; whether it was had.
    async fn authorize(&self, customer: &str, purpose: &str, channel: Option<&str>) -> bool {
        let mut body = json!({"amount": usd("0.000001"), "customer_id": customer, "purpose": purpose});
        if let Some(channel) = channel {
            body["channel"] = json!(channel);
        }
        let answer = self.post("/v1/authorizations", body).await;
        let problem = answer.json();
        match answer.status {
            StatusCode::CREATED => true,
            StatusCode::FORBIDDEN if problem["refused_by"] == json!(["consent"]) => false,
            _ => panic!("{} {problem}", answer.status),
        }
    }

    async fn give(&self, body: Value) -> Value {
        let answer = self.post("/v1/consents", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        answer.json()
    }

    async fn revoke(&self, body: Value) {
        let answer = self.post("/v1/consents/revoke", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    }
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

fn rounds() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "whoever runs a test sets how long it runs")]
    let given = std::env::var("KIKI_CONSENT_ROUNDS");
    given.map_or(ROUNDS, |given| given.parse().unwrap())
}

/// 100 rounds beside 16 clients; in release, as the full run has it, 10,000 beside 64. `KIKI_CONSENT_ROUNDS` sets another
/// number.
#[tokio::test(flavor = "multi_thread")]
async fn once_a_revocation_is_answered_the_next_decision_refuses() {
    let folder = folder();
    let (_serving, shield) = Shield::start(folder.path());
    let ends = Arc::new(AtomicBool::new(false));
    let load = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (shield, ends, load) = (shield.clone(), ends.clone(), load.clone());
            tokio::spawn(async move {
                let customer = format!("other-{client}");
                let agrees = client % 2 == 0;
                if agrees {
                    shield.give(json!({"customer_id": customer, "purpose": "marketing"})).await;
                }
                while !ends.load(Ordering::Relaxed) {
                    assert_eq!(shield.authorize(&customer, "marketing", None).await, agrees, "{customer}");
                    load.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let people = (0..PEOPLE).map(|person| {
        let shield = shield.clone();
        tokio::spawn(async move {
            let customer = format!("ann-{person}");
            let about = json!({"customer_id": customer, "purpose": "marketing"});
            for round in 0..rounds().div_ceil(PEOPLE) {
                shield.give(about.clone()).await;
                assert!(shield.authorize(&customer, "marketing", None).await, "round {round}: agreed to");
                shield.revoke(about.clone()).await;
                assert!(!shield.authorize(&customer, "marketing", None).await, "round {round}: taken back");
            }
        })
    });
    for person in people.collect::<Vec<_>>() {
        person.await.unwrap();
    }
    ends.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert!(load.load(Ordering::Relaxed) > 0);
}

/// People who confirm what they take back in the same moment.
const UNDECIDED: usize = 40;

/// The token that was mailed to `customer`.
async fn token(world: &World, customer: &str) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let page = world.get("engage", "/sandbox/mailbox?limit=200").await;
        let to = |mail: &&Value| mail["to"].as_str().unwrap().starts_with(customer);
        if let Some(mail) = page["messages"].as_array().unwrap().iter().find(to) {
            let path = format!("/sandbox/mailbox/{}", mail["id"].as_str().unwrap());
            let mail = world.http.get(&world.serving.url("engage", &path)).await;
            let text = String::from_utf8_lossy(&mail.body).into_owned();
            let (_, token) = text.split_once("Your confirmation is ").unwrap();
            return token.split_whitespace().next().unwrap().to_owned();
        }
        assert!(tokio::time::Instant::now() < deadline, "{customer} is not asked");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_confirmed_and_taken_back_in_the_same_moment_does_not_stand() {
    let folder = folder();
    let world = Arc::new(World::start(folder.path()));
    let customers: Vec<_> = (0..UNDECIDED).map(|number| format!("p{number:02}")).collect();
    for customer in &customers {
        let asked = json!({"customer_id": customer, "purpose": "marketing", "double_opt_in": true});
        assert_eq!(world.post("/v1/consents", asked).await["state"], "awaiting");
    }
    let mut confirmed = 0;
    for customer in customers {
        let token = token(&world, &customer).await;
        let send = |path: &str, body: Value| {
            let (http, url) = (world.http.clone(), world.serving.url("shield", path));
            tokio::spawn(async move { http.post(&url, &body).await.status })
        };
        let confirm = send("/v1/consents/confirm", json!({"token": token}));
        let revoke = send("/v1/consents/revoke", json!({"customer_id": customer, "purpose": "marketing"}));
        let (confirm, revoke) = (confirm.await.unwrap(), revoke.await.unwrap());
        assert!(matches!(confirm, StatusCode::OK | StatusCode::NOT_FOUND) && revoke == StatusCode::OK, "{confirm}");
        confirmed += usize::from(confirm == StatusCode::OK);
        let standing = world.get("shield", &format!("/v1/consents?customer_id={customer}")).await;
        let stands = standing["consents"].as_array().unwrap().iter().any(|consent| consent["stands"] == true);
        assert!(!stands, "{customer}: {confirm} {standing}");
    }
    eprintln!("{confirmed} of {UNDECIDED} were confirmed before they were taken back");
}

#[tokio::test]
async fn consent_is_asked_by_channel_and_ends_by_itself() {
    let folder = folder();
    let (_serving, shield) = Shield::start(folder.path());
    let about = |channel: &str| json!({"customer_id": "ann", "purpose": "marketing", "channel": channel});
    let by = async |channel: &'static str| shield.authorize("ann", "marketing", Some(channel)).await;
    shield.give(about("email")).await;
    assert!(by("email").await && !by("sms").await, "one channel");
    assert!(!shield.authorize("ann", "marketing", None).await, "not all of them");
    shield.give(json!({"customer_id": "ann", "purpose": "marketing"})).await;
    shield.revoke(about("sms")).await;
    assert!(by("email").await && !by("sms").await && by("post").await, "all but one");

    let in_a_second = from_now(std::time::Duration::from_millis(1500));
    let made = shield.give(json!({"customer_id": "bob", "purpose": "marketing", "expires_at": in_a_second})).await;
    assert_eq!(made["state"], "standing");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while shield.authorize("bob", "marketing", None).await {
        assert!(tokio::time::Instant::now() < deadline, "it never ends");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let standing = shield.get("/v1/consents?customer_id=bob").await;
    assert_eq!((&standing["consents"][0]["stands"], &standing["bars"]), (&json!(false), &json!([])));
    for (body, field) in [
        (json!({"customer_id": "bob", "purpose": "marketing", "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
        (json!({"customer_id": "bob", "purpose": "marketing", "channel": "pigeon"}), "channel"),
        (json!({"customer_id": "bob", "purpose": "fun"}), "purpose"),
        (json!({"customer_id": "bob", "purpose": "marketing", "basis": "because"}), "basis"),
        (json!({"customer_id": "bob", "purpose": "marketing", "valid_days": 0}), "valid_days"),
        (json!({"customer_id": "bob", "purpose": "marketing", "text_version": "v9"}), "text_version"),
        (json!({"customer_id": "", "purpose": "marketing"}), "customer_id"),
    ] {
        let answer = shield.post("/v1/consents", body).await;
        assert_eq!((answer.status, &answer.json()["field"]), (StatusCode::BAD_REQUEST, &json!(field)));
    }
}

/// A time from now, as RFC 3339 has it.
fn from_now(later: std::time::Duration) -> String {
    use kiki_kit::clock::{Clock as _, SystemClock};
    SystemClock::new().now().plus(i64::try_from(later.as_millis()).unwrap()).rfc3339()
}

#[tokio::test]
async fn what_a_browser_signals_opts_out_of_sale_and_silence_takes_nothing_back() {
    let folder = folder();
    let (_serving, shield) = Shield::start(folder.path());
    let sharing = json!({"customer_id": "ann", "purpose": "data_sharing"});
    shield.give(sharing.clone()).await;
    assert!(shield.authorize("ann", "data_sharing", None).await);
    let signal = async |lines: &[&str]| {
        let headers: Vec<_> = lines.iter().map(|line| ("sec-gpc", *line)).collect();
        let body = json!({"customer_id": "ann"});
        shield.send(Method::POST, "/v1/consents/signals", &headers, &body).await.json()
    };
    for none in [&[][..], &["0"], &["1, 1"], &["1", "1"], &["true"]] {
        assert_eq!(signal(none).await["gpc"], false, "{none:?}");
    }
    assert!(shield.authorize("ann", "data_sharing", None).await, "nothing else is the signal");
    let heeded = signal(&["1"]).await;
    assert_eq!((&heeded["gpc"], &heeded["bars"]), (&json!(true), &json!(["do_not_sell"])));
    assert!(heeded["receipt"]["index"].is_u64());
    assert!(!shield.authorize("ann", "data_sharing", None).await);
    assert_eq!(signal(&[]).await["bars"], json!(["do_not_sell"]), "silence takes nothing back");
    for path in ["/v1/consents", "/consent/grant"] {
        let body =
            if path.starts_with("/v1") { &sharing } else { &json!({"customer_id": "ann", "type": "data_sharing"}) };
        let refused = shield.post(path, body.clone()).await;
        let problem = refused.json();
        assert_eq!((refused.status, &problem["code"]), (StatusCode::CONFLICT, &json!("barred")), "{path}");
        assert_eq!(problem["bar"], "do_not_sell");
    }
    let asked = json!({
        "customer_id": "ann", "purpose": "data_sharing", "lift": true, "at_their_request": true, "evidence": "a form",
    });
    let contradicts = shield.send(Method::POST, "/v1/consents", &[("sec-gpc", "1")], &asked).await;
    assert_eq!(contradicts.status, StatusCode::CONFLICT);
    shield.give(asked).await;
    assert!(shield.authorize("ann", "data_sharing", None).await);
    let statement = shield.http.get(&format!("{}/.well-known/gpc.json", shield.url)).await;
    assert_eq!((statement.status, &statement.json()["gpc"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn each_act_of_a_customer_is_told_with_its_entry_which_the_log_proves() {
    let folder = folder();
    let (serving, shield) = Shield::start(folder.path());
    let text = json!({"purpose": "marketing", "text": "We write to you once a week."});
    assert_eq!(shield.send(Method::PUT, "/v1/consent-texts/v1", &[], &text).await.status, StatusCode::OK);
    let other = json!({"purpose": "marketing", "text": "We write to you."});
    assert_eq!(shield.send(Method::PUT, "/v1/consent-texts/v1", &[], &other).await.status, StatusCode::CONFLICT);
    shield.give(json!({
        "customer_id": "zoe-17", "purpose": "marketing", "channel": "email", "text_version": "v1", "source": "checkout",
        "evidence": "ticked the box", "valid_days": 30,
    })).await;
    shield.give(json!({"customer_id": "zoe-17", "purpose": "analytics", "basis": "legitimate_interests"})).await;
    assert!(!shield.authorize("zoe-17", "analytics", None).await, "another basis is recorded and lets nothing pass");
    shield.revoke(json!({"customer_id": "zoe-17", "purpose": "marketing"})).await;
    let granted = shield.post("/consent/grant", json!({"customer_id": "zoe-17", "consent_type": "profiling"})).await;
    assert_eq!(granted.status, StatusCode::OK);

    let page = shield.get("/v1/consents/history?customer_id=zoe-17&limit=3").await;
    let next = page["next"].as_str().unwrap();
    let rest = shield.get(&format!("/v1/consents/history?customer_id=zoe-17&after={next}")).await;
    let records: Vec<_> = [&page, &rest].iter().flat_map(|page| page["records"].as_array().unwrap()).collect();
    let word = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    let told: Vec<_> = records.iter().map(|record| word(record, "act") + " " + &word(record, "purpose")).collect();
    assert_eq!(told, ["grant marketing", "grant analytics", "revoke marketing", "grant profiling"]);
    assert_eq!((&records[0]["evidence"], &records[0]["source"]), (&json!("ticked the box"), &json!("checkout")));
    for record in records {
        assert_eq!(record["state"], "standing");
        let entry = shield.entry(&record["receipt"]["index"]).await;
        assert!(entry.to_string().contains(record["id"].as_str().unwrap()), "{entry}");
        assert!(!entry.to_string().contains("zoe-17") && !entry.to_string().contains("ticked"), "{entry}");
    }
    assert_eq!(shield.get("/v1/consents/history?customer_id=nobody").await["records"], json!([]));

    let url = serving.url("shield", "");
    let status = succeed(folder.path(), &["consent", "status", "zoe-17", "--url", &url]);
    assert!(status.contains("profiling") && !status.contains("marketing"), "{status}");
    let history = succeed(folder.path(), &["consent", "history", "zoe-17", "--url", &url]);
    assert!(history.contains("revoke") && history.contains("legitimate_interests"), "{history}");
    let away = fail(folder.path(), &["consent", "status", "zoe-17", "--url", "http://127.0.0.1:1"]);
    assert!(!away.is_empty());
}

#[tokio::test]
async fn a_name_that_looks_like_a_persons_is_refused_where_the_log_would_keep_it() {
    let folder = folder();
    let (_serving, shield) = Shield::start(folder.path());
    let total = json!({"limit": {"kind": "total", "amount": "5"}});
    let rules = "@id(\"a\") permit(principal, action, resource);";
    for (method, path, body) in [
        (Method::POST, "/v1/authorizations", json!({"amount": usd("1"), "account": "growth/203.0.113.7"})),
        (Method::POST, "/v1/authorizations", json!({"amount": usd("1"), "account": "growth/ann@mail.example"})),
        (Method::POST, "/v1/authorizations", json!({"amount": usd("1"), "payee": "ann@mail.example"})),
        (Method::POST, "/v1/authorizations", json!({"amount": usd("1"), "payee": "+15551234567"})),
        (Method::POST, "/v1/records", json!({"amount": usd("1"), "category": "2001:db8::7"})),
        (Method::PUT, "/v1/budgets/203.0.113.7", total.clone()),
        (Method::POST, "/v1/stops", json!({"account": "203.0.113.7"})),
        (Method::POST, "/v1/webhooks", json!({"url": "http://127.0.0.1:1/", "description": "for ann@mail.example"})),
        (Method::PUT, "/v1/policy", json!({"rule_sets": {"203.0.113.7": rules}})),
        (Method::POST, "/v1/consents", json!({"customer_id": "c", "purpose": "marketing", "source": "203.0.113.7"})),
        (
            Method::PUT,
            "/v1/budgets/list",
            json!({"limit": {"kind": "allow", "field": "payee", "values": ["ann@mail.example"]}}),
        ),
    ] {
        let answer = shield.send(method, path, &[], &body).await;
        let problem = answer.json();
        let expected = (StatusCode::UNPROCESSABLE_ENTITY, &json!("personal_name"));
        assert_eq!((answer.status, &problem["code"]), expected, "{path} {body}: {problem}");
        assert!(problem["field"].is_string(), "{problem}");
    }
    let free = json!({"amount": usd("1"), "customer_id": "ann@mail.example"});
    assert_eq!(
        shield.post("/v1/authorizations", free).await.status,
        StatusCode::CREATED,
        "customers are called anything"
    );
}
