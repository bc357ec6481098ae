//! Webhooks as their receivers meet them: a real process posts to a real server, and somebody else's implementation of
//! Standard Webhooks verifies what arrives.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::sync::mpsc;

use crate::harness::{Answer, Http, PATIENCE, Serving, folder, request};

/// Denials within a minute that are told as a burst.
const DENIALS: u32 = 20;

/// What arrived.
#[derive(Debug)]
struct Arrived {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Arrived {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it is signed with `secret`, as the library of Standard Webhooks sees it.
    fn is_signed_with(&self, secret: &str) -> bool {
        Webhook::new(secret).unwrap().verify(&self.body, &self.headers).is_ok()
    }
}

type Answers = Arc<Mutex<HashMap<String, VecDeque<(u16, &'static str)>>>>;

/// A server that takes events. It answers 204, if no other answers are set for the path.
struct Receiver {
    address: SocketAddr,
    answers: Answers,
    arrived: mpsc::UnboundedReceiver<Arrived>,
}

impl Receiver {
    async fn start() -> Self {
        type Shared = (Answers, mpsc::UnboundedSender<Arrived>);
        async fn take(State((answers, sender)): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
            let path = uri.path().to_owned();
            let set = answers.lock().unwrap().get_mut(&path).and_then(VecDeque::pop_front);
            let _ = sender.send(Arrived { path, headers, body });
            let (status, header) = set.unwrap_or((204, ""));
            let mut response = StatusCode::from_u16(status).unwrap().into_response();
            if let Some((name, value)) = header.split_once(": ") {
                response.headers_mut().insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
            }
            response
        }
        let answers = Answers::default();
        let (sender, arrived) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state((answers.clone(), sender));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, answers, arrived }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next requests to `path` are answered with these statuses and headers.
    fn answer(&self, path: &str, answers: &[(u16, &'static str)]) {
        self.answers.lock().unwrap().insert(path.to_owned(), answers.iter().copied().collect());
    }

    async fn next(&mut self) -> Arrived {
        tokio::time::timeout(PATIENCE, self.arrived.recv()).await.expect("it arrives").unwrap()
    }
}

struct Shield {
    serving: Serving,
    http: Http,
}

impl Shield {
    fn start(folder: &Path) -> Self {
        let variables = [("WINDOW_SECONDS", "3600")];
        Self { serving: Serving::shield(folder, &variables), http: Http::new() }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.http.send(request(method, &self.serving.url("shield", path), body)).await
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await.json()
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(&body)).await
    }

    /// A webhook at `url`; its path and its secret.
    async fn webhook(&self, url: String, events: &[&str]) -> (String, String) {
        let made = self.post("/v1/webhooks", json!({"url": url, "events": events})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{:?}", made.json());
        let made = made.json();
        (format!("/v1/webhooks/{}", made["id"].as_str().unwrap()), made["secret"].as_str().unwrap().to_owned())
    }

    async fn test(&self, webhook: &str) -> Answer {
        self.post(&format!("{webhook}/test"), json!({})).await
    }

    /// The newest delivery, once it is as `is` says.
    async fn newest(&self, webhook: &str, is: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let newest = self.get(&format!("{webhook}/deliveries")).await["deliveries"][0].take();
            if is(&newest) {
                return newest;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{}", self.get(&format!("{webhook}/deliveries")).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_signed_and_a_failed_one_comes_again_as_the_same() {
    let folder = folder();
    let (shield, mut receiver) = (Shield::start(folder.path()), Receiver::start().await);
    let (webhook, secret) = shield.webhook(receiver.url("/hooks"), &[]).await;
    receiver.answer("/hooks", &[(500, "")]);
    assert_eq!(shield.test(&webhook).await.status, StatusCode::ACCEPTED);
    let (first, second) = (receiver.next().await, receiver.next().await);
    for arrived in [&first, &second] {
        assert!(arrived.is_signed_with(&secret), "{arrived:?}");
        assert!(!arrived.is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        assert_eq!(
            (arrived.header("content-type"), &arrived.json()["type"]),
            ("application/json", &json!("webhook.test"))
        );
    }
    assert_eq!((first.header("webhook-id"), &first.body), (second.header("webhook-id"), &second.body));
    assert_ne!(first.header("webhook-timestamp"), second.header("webhook-timestamp"), "of the attempt");
    let delivered = shield.newest(&webhook, |newest| newest["state"] == "delivered").await;
    assert_eq!((&delivered["attempts"], &delivered["last_status"]), (&json!(2), &json!(204)));
    assert_eq!(delivered["id"], first.header("webhook-id"));
    shield.serving.terminate();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_the_old_secret_still_verifies_and_no_secret_is_shown_twice() {
    let folder = folder();
    let (shield, mut receiver) = (Shield::start(folder.path()), Receiver::start().await);
    let (webhook, old) = shield.webhook(receiver.url("/hooks"), &[]).await;
    let rotated = shield.post(&format!("{webhook}/rotate"), json!({})).await.json();
    let new = rotated["secret"].as_str().unwrap();
    shield.test(&webhook).await;
    let arrived = receiver.next().await;
    assert!(new != old && arrived.is_signed_with(&old) && arrived.is_signed_with(new), "{arrived:?}");
    assert_eq!(arrived.header("webhook-signature").split(' ').count(), 2);
    for path in [webhook.as_str(), "/v1/webhooks"] {
        assert!(!shield.get(path).await.to_string().contains("whsec_"), "{path}");
    }
    let given = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let made = shield.post("/v1/webhooks", json!({"url": receiver.url("/b"), "secret": given})).await.json();
    shield.test(&format!("/v1/webhooks/{}", made["id"].as_str().unwrap())).await;
    assert!(receiver.next().await.is_signed_with(given));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_gone_is_heeded() {
    let folder = folder();
    let (shield, mut receiver) = (Shield::start(folder.path()), Receiver::start().await);
    let (webhook, _) = shield.webhook(receiver.url("/hooks"), &[]).await;
    receiver.answer("/hooks", &[(307, "location: /elsewhere"), (410, "")]);
    shield.test(&webhook).await;
    assert_eq!(receiver.next().await.path, "/hooks");
    let redirected = shield.newest(&webhook, |newest| newest["last_status"] == 307).await;
    assert_eq!(redirected["state"], "pending");
    let delivery = redirected["id"].as_str().unwrap();
    shield.post(&format!("{webhook}/deliveries/{delivery}/retry"), json!({})).await;
    assert_eq!(receiver.next().await.path, "/hooks", "not elsewhere");
    shield.newest(&webhook, |newest| newest["state"] == "failed" && newest["last_status"] == 410).await;
    let gone = shield.get(&webhook).await;
    assert_eq!((&gone["status"], &gone["disabled_because"]), (&json!("disabled"), &json!("gone")));
    let refused = shield.test(&webhook).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::CONFLICT, &json!("webhook_disabled")));
    assert_eq!(shield.post(&format!("{webhook}/enable"), json!({})).await.json()["status"], "enabled");
    let again = shield.post(&format!("{webhook}/deliveries/{delivery}/retry"), json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    assert_eq!(receiver.next().await.header("webhook-id"), delivery);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_time_gets_it() {
    let folder = folder();
    let (shield, mut receiver) = (Shield::start(folder.path()), Receiver::start().await);
    let (webhook, _) = shield.webhook(receiver.url("/hooks"), &[]).await;
    receiver.answer("/hooks", &[(429, "retry-after: 3600")]);
    shield.test(&webhook).await;
    receiver.next().await;
    let waiting = shield.newest(&webhook, |newest| newest["last_status"] == 429).await;
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let pause = time(&waiting["next_attempt_at"]).as_second() - time(&waiting["created_at"]).as_second();
    assert!(pause >= 3599, "{waiting}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_webhook_is_refused_by_field() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let good = "https://example.com/hooks";
    for (body, field) in [
        (json!({}), "url"),
        (json!({"url": "example.com"}), "url"),
        (json!({"url": "http://example.com/"}), "url"),
        (json!({"url": "https://169.254.169.254/latest/meta-data"}), "url"),
        (json!({"url": "https://10.1.2.3/"}), "url"),
        (json!({"url": "https://[::ffff:10.1.2.3]/"}), "url"),
        (json!({"url": "https://user:password@example.com/"}), "url"),
        (json!({"url": good, "events": ["spend.everything"]}), "events"),
        (json!({"url": good, "secret": "whsec_c2hvcnQ="}), "secret"),
        (json!({"url": good, "description": "a\nb"}), "description"),
        (json!({"url": good, "colour": "red"}), "colour"),
    ] {
        let answer = shield.post("/v1/webhooks", body.clone()).await;
        assert_eq!((answer.status, &answer.json()["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{body}");
    }
    assert_eq!(shield.get("/v1/webhooks").await, json!({"webhooks": []}));
    let (webhook, _) = shield.webhook(good.to_owned(), &["spend.limit.reached", "spend.limit.reached"]).await;
    assert_eq!(shield.get(&webhook).await["events"], json!(["spend.limit.reached"]));
    assert_eq!(shield.call(Method::DELETE, &webhook, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(shield.call(Method::DELETE, &webhook, None).await.status, StatusCode::NOT_FOUND);
}

/// Takes events until `count` different ones have arrived; in the order of their ids each once.
async fn different(receiver: &mut Receiver, secret: &str, count: usize) -> Vec<Value> {
    let mut seen = BTreeMap::new();
    while seen.len() < count {
        let arrived = receiver.next().await;
        assert!(arrived.is_signed_with(secret), "{arrived:?}");
        let again = seen.insert(arrived.header("webhook-id").to_owned(), arrived.json());
        assert!(again.is_none_or(|again| again == arrived.json()), "the same id, the same event");
    }
    seen.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_fills_up_is_told_at_50_80_and_100_percent_and_a_kill_loses_none() {
    let folder = folder();
    let (shield, mut receiver) = (Shield::start(folder.path()), Receiver::start().await);
    let (webhook, secret) = shield.webhook(receiver.url("/hooks"), &["spend.limit.reached"]).await;
    for amount in [100, 150, 100, 50, 100] {
        let spent = shield.call(Method::GET, &format!("/spend?amount={amount}"), None).await;
        assert_eq!(spent.status, StatusCode::OK, "{amount}");
    }
    // Killed, most likely before anybody looked at the log.
    drop(shield);
    let shield = Shield::start(folder.path());
    let mut told: Vec<_> =
        different(&mut receiver, &secret, 3).await.iter().map(|event| event["data"].clone()).collect();
    told.sort_by_key(|data| data["percent"].as_u64());
    assert_eq!(told.iter().map(|data| &data["percent"]).collect::<Vec<_>>(), [50, 80, 100]);
    assert!(told.iter().all(|data| data["limit"] == "burst" && data["amount"]["currency"] == "USD"), "{told:?}");
    shield.newest(&webhook, |newest| newest["state"] == "delivered").await;
    let deliveries = shield.get(&format!("{webhook}/deliveries")).await;
    assert_eq!(deliveries["deliveries"].as_array().unwrap().len(), 3, "{deliveries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn approvals_stops_and_bursts_of_denial_are_told() {
    let folder = folder();
    let (shield, mut receiver) = (Shield::start(folder.path()), Receiver::start().await);
    let (_, secret) = shield.webhook(receiver.url("/hooks"), &[]).await;
    let approval = json!({"account": "growth", "limit": {"kind": "approval", "above": "10"}});
    assert_eq!(shield.call(Method::PUT, "/v1/budgets/large", Some(&approval)).await.status, StatusCode::OK);
    let asked = json!({"account": "growth", "amount": {"amount": "20", "currency": "USD"}});
    let asked = shield.post("/v1/authorizations", asked).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{:?}", asked.json());
    let asked = asked.json()["id"].clone();
    let approve = format!("/v1/authorizations/{}/approve", asked.as_str().unwrap());
    assert_eq!(shield.post(&approve, json!({})).await.status, StatusCode::OK);
    assert!(shield.post("/v1/stops", json!({"account": "growth"})).await.status.is_success());
    assert!(shield.call(Method::DELETE, "/v1/stops?account=growth", None).await.status.is_success());
    for _ in 0..DENIALS {
        let denied = shield.call(Method::GET, "/spend?amount=1000", None).await;
        assert_eq!(denied.status, StatusCode::FORBIDDEN);
    }
    let told = different(&mut receiver, &secret, 5).await;
    let data = |kind: &str| told.iter().find(|event| event["type"] == kind).map(|event| &event["data"]).unwrap();
    let (waiting, resolved) = (data("spend.approval.waiting"), data("spend.approval.resolved"));
    assert_eq!((&waiting["authorization_id"], &waiting["account"]), (&asked, &json!("growth")));
    assert_eq!((&resolved["authorization_id"], &resolved["resolution"]), (&asked, &json!("approved")));
    assert_eq!(data("spend.account.stopped")["account"], "growth");
    assert_eq!(data("spend.account.resumed")["account"], "growth");
    assert_eq!(data("spend.denials.burst")["denials"], DENIALS);
}
