//! A service on a free port, on a runtime of its own, whose every answer the test decides.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kiki_client::{Builder, Client, Currency, Money, Retry};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How long anything may take before a test gives up waiting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const ID: &str = "00000000-0000-7000-8000-000000000001";

/// What arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Such as `POST /v1/records`.
    pub(crate) what: String,
    pub(crate) key: Option<String>,
    pub(crate) body: Value,
}

/// What happens to it.
pub(crate) enum Reply {
    Json(u16, Value),
    /// The connection breaks.
    Lost,
    /// No answer ever.
    Silence,
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

pub(crate) struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Service {
    /// `script` is told what arrived, and how often the same thing had arrived before.
    pub(crate) fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (log, script) = (seen.clone(), Arc::new(script));
        runtime.spawn(async move { serve(TcpListener::from_std(listener).unwrap(), log, script).await });
        Self { address, seen, runtime: Some(runtime) }
    }

    pub(crate) fn builder(&self) -> Builder {
        let retry = Retry { wait: Duration::from_millis(1), wait_max: Duration::from_millis(5), ..Retry::default() };
        Client::builder(self.address()).retry(retry)
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What arrived, in order, without the ids.
    pub(crate) fn told(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.what.replace(ID, "{id}")).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Vec<Seen>>>, script: Arc<Script>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (seen, script) = (seen.clone(), script.clone());
        let handler = service_fn(move |request| answer(request, seen.clone(), script.clone()));
        connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), handler));
    }
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
) -> Result<Response<Full<Bytes>>, Broken> {
    let what = format!("{} {}", request.method(), request.uri());
    let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.map_err(|_| Broken)?.to_bytes();
    let now = Seen { what, key, body: serde_json::from_slice(&body).unwrap_or_default() };
    let reply = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|earlier| earlier.what == now.what).count();
        seen.push(now.clone());
        script(&now, before)
    };
    match reply {
        Reply::Json(status, body) => {
            let response = Response::builder().status(status).header("content-type", "application/json");
            Ok(response.body(Full::from(body.to_string())).unwrap())
        }
        Reply::Lost => Err(Broken),
        Reply::Silence => std::future::pending::<Result<_, Infallible>>().await.map_err(|_| Broken),
    }
}

pub(crate) fn usd(units: i64) -> Money {
    Money::new(units * 1_000_000, Currency::USD)
}

/// An authorization as the service tells it.
pub(crate) fn authorization(state: &str, units: i64) -> Value {
    json!({"id": ID, "state": state, "account": "desk", "amount": usd(units), "captured": usd(0), "refused_by": [],
        "expires_at": "2026-02-05T10:30:00.000Z"})
}

pub(crate) fn held() -> Reply {
    Reply::Json(201, authorization("held", 5))
}

/// Answers every settlement; reservations are held.
pub(crate) fn well(seen: &Seen) -> Reply {
    match seen.what.rsplit('/').next() {
        Some("capture") => Reply::Json(200, authorization("captured", 5)),
        Some("void") => Reply::Json(200, authorization("voided", 5)),
        Some("records") => Reply::Json(201, json!({"over": ["day"]})),
        _ => held(),
    }
}

pub(crate) fn away() -> Reply {
    Reply::Json(503, json!({"code": "authority_unavailable", "detail": "Nobody decided."}))
}
