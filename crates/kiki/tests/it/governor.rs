//! The governor as those who set limits, ask for money, approve and stop meet it: each verb, each kind of limit.
//!
//! Every story ends with `kiki audit verify`, which folds the log and finds each decision as it was answered.

mod approvals;
mod explanations;
mod grpc;
mod limits;
mod mandates;
mod money;
mod receipts;
mod shadows;
mod stops;
mod wrong;

use hyper::{Method, StatusCode};
use kiki_audit::{Checkpoint, Reader};
use kiki_types::UnixMillis;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Serving, folder, request, succeed};

/// The key of the second principal beside the local operator.
const KEY: &str = "a-key-of-sixteen-characters";

/// The budget of the seeds is there and never in the way.
const VARIABLES: &[(&str, &str)] =
    &[("INTERNAL_API_KEY", KEY), ("MAX_BURST_BUDGET", "1000000"), ("WINDOW_SECONDS", "3600")];

/// A running shield and the folder of its log.
struct Desk {
    // Ends before its folder goes.
    serving: Serving,
    http: Http,
    folder: tempfile::TempDir,
}

impl Desk {
    fn open() -> Self {
        let folder = folder();
        Self { serving: Serving::shield(folder.path(), VARIABLES), http: Http::new(), folder }
    }

    /// The same shield after a restart.
    fn again(self) -> Self {
        let Self { serving, folder, .. } = self;
        serving.terminate();
        Self { serving: Serving::shield(folder.path(), VARIABLES), http: Http::new(), folder }
    }

    /// The same shield after its process was killed.
    fn after_a_kill(self) -> Self {
        let Self { serving, folder, .. } = self;
        rustix::process::kill_process(serving.process(), rustix::process::Signal::KILL).unwrap();
        drop(serving);
        Self { serving: Serving::shield(folder.path(), VARIABLES), http: Http::new(), folder }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.http.send(request(method, &self.serving.url("shield", path), body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(&body)).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(&body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    /// Posts with further headers.
    async fn post_with(&self, path: &str, headers: &[(&'static str, &str)], body: Option<&Value>) -> Answer {
        let mut asked = request(Method::POST, &self.serving.url("shield", path), body);
        for (name, value) in headers {
            asked.headers_mut().insert(*name, value.parse().unwrap());
        }
        self.http.send(asked).await
    }

    /// Posts as the second principal.
    async fn post_as_other(&self, path: &str) -> Answer {
        self.post_with(path, &[("x-internal-api-key", KEY)], None).await
    }

    /// Defines a budget, which must succeed.
    async fn budget(&self, id: &str, account: &str, limit: Value) -> Value {
        let answer = self.put(&format!("/v1/budgets/{id}"), json!({"account": account, "limit": limit})).await;
        assert_eq!(answer.status, StatusCode::OK, "{id}: {}", answer.json());
        answer.json()
    }

    async fn ask(&self, account: &str, amount: &str) -> Answer {
        self.post("/v1/authorizations", ask(account, amount)).await
    }

    /// Holds money, which must succeed; the path of the authorization.
    async fn hold(&self, account: &str, amount: &str) -> String {
        let answer = self.ask(account, amount).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        path_of(&answer)
    }

    /// Holds and captures, which must succeed; the path of the authorization.
    async fn spend(&self, account: &str, amount: &str) -> String {
        let path = self.hold(account, amount).await;
        self.settles(&path, "capture", "captured").await;
        path
    }

    /// Asks for a verb without a body that must succeed and lead to `state`.
    async fn settles(&self, path: &str, verb: &str, state: &str) {
        let answer = self.call(Method::POST, &format!("{path}/{verb}"), None).await;
        assert_eq!((answer.status, &answer.json()["state"]), (StatusCode::OK, &json!(state)), "{verb}");
    }

    /// What of a budget is used, held and remains.
    async fn standing(&self, id: &str) -> [String; 3] {
        let budget = self.get(&format!("/v1/budgets/{id}")).await.json();
        ["used", "held", "remaining"].map(|name| budget[name].as_str().unwrap_or("none").to_owned())
    }

    /// Ends the shield, verifies its log, and hands out the body of each entry.
    fn end(self) -> Vec<Value> {
        let Self { serving, folder, .. } = self;
        serving.terminate();
        succeed(folder.path(), &["audit", "verify"]);
        let audit = folder.path().join("data/audit");
        let size = Checkpoint::load(&audit, None).unwrap().unwrap().size;
        let mut reader = Reader::open(&audit, 0, size).unwrap();
        let mut bodies = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            let body = record.entry().unwrap().body;
            bodies.extend(body.map(|body| serde_json::from_str::<Value>(body.get()).unwrap()));
        }
        bodies
    }
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

/// A request for money.
fn ask(account: &str, amount: &str) -> Value {
    json!({"account": account, "amount": usd(amount)})
}

/// `body` with one more field.
fn with(mut body: Value, field: &str, value: impl Into<Value>) -> Value {
    body[field] = value.into();
    body
}

/// The path of the authorization that was answered.
fn path_of(answer: &Answer) -> String {
    format!("/v1/authorizations/{}", answer.json()["id"].as_str().unwrap())
}

/// Milliseconds since 1970 of a time in an answer.
fn time(value: &Value) -> i64 {
    UnixMillis::parse_rfc3339(value.as_str().unwrap_or_else(|| panic!("{value} is no time"))).unwrap().0
}

/// A denial by exactly these, with the whole explanation.
#[track_caller]
fn assert_denied(answer: &Answer, by: &[&str]) -> Value {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["refused_by"]), (StatusCode::FORBIDDEN, &json!(by)), "{problem}");
    assert!(problem["limits"].is_array() && problem["code"].is_string(), "{problem}");
    problem
}

/// A problem of this status and code.
#[track_caller]
fn assert_problem(answer: &Answer, status: StatusCode, code: &str) -> Value {
    let problem = answer.json();
    assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{problem}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    problem
}
