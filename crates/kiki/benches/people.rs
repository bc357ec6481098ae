//! Erasing people, beside a plain DELETE of the same rows from the same database.
//!
//! What is timed of KIKI is the whole way of a deletion, from the word of an officer to the completed request: the governor
//! is told, every store asked, the keys destroyed and registered on the disk, the log written. The DELETE removes the row of
//! each person and of each request in one transaction, and tells nobody. They take turns (A B A B …), in one process, on
//! SQLite. What is erased is made before, and not timed.
//!
//! `KIKI_BENCH_PEOPLE=100` runs the smallest size alone.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and tells by printing"
)]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use kiki::process::Process;
use kiki::services::Services;
use kiki_kit::authorisation::{ApiKey, Authenticator};
use kiki_kit::config::{Config, Flag, Sources};
use kiki_sandbox::mailbox::Faults;
use kiki_store::personal::Mint;
use kiki_store::testing::plain;
use kiki_types::{Principal, TenantId};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// How many people, and how many rounds.
const SIZES: [(usize, usize); 3] = [(100, 7), (1_000, 5), (10_000, 3)];
/// Requests in one body.
const BULK: usize = 1_000;
/// How long to wait before looking again.
const LOOK: Duration = Duration::from_millis(2);
/// How long the log has to take in what the turn before left to it.
const SETTLE: Duration = Duration::from_millis(300);
const KEY: &str = "people";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(compare());
}

async fn compare() {
    let only = std::env::var_os("KIKI_BENCH_PEOPLE").map(|text| text.to_str().unwrap().parse::<usize>().unwrap());
    let mut medians = Vec::new();
    for (people, rounds) in SIZES.into_iter().filter(|(people, _)| only.is_none_or(|only| only == *people)) {
        // A database of its own, so that no size finds what another left.
        let folder = tempfile::tempdir().unwrap();
        let world = World::start(folder.path()).await;
        let (mut ours, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let erased = world.erase(&format!("a{round}"), people).await.as_secs_f64();
            let deleted = world.delete(&format!("b{round}"), people).await.as_secs_f64();
            ours.push(erased);
            ratios.push(erased / deleted);
        }
        world.stop().await;
        ours.sort_by(f64::total_cmp);
        ratios.sort_by(f64::total_cmp);
        record(&json!({
            "what": "erase people, from an officer's word to completed requests", "size": format!("{people} people"),
            "figure": ours[rounds / 2] * 1e3, "unit": "ms", "against": "a plain DELETE of the same rows",
            "ratio_median": ratios[rounds / 2], "ratio_min": ratios[0], "ratio_max": ratios[rounds - 1],
        }));
        medians.push((people, ours[rounds / 2]));
    }
    for pair in medians.windows(2) {
        let [(fewer, short), (more, long)] = pair else { continue };
        record(&json!({
            "what": "erase people, growth of the time with their number: 1 is linear",
            "size": format!("{fewer} to {more} people"),
            "figure": (long / short).ln() / (*more as f64 / *fewer as f64).ln(), "unit": "exponent",
        }));
    }
}

/// All services in this process.
struct World {
    process: Process,
    services: Services,
    shield: Router,
}

impl World {
    async fn start(folder: &Path) -> Self {
        let data = folder.to_str().unwrap().to_owned();
        let flags = vec![Flag { flag: "--data", variable: "KIKI_DATA", value: data }];
        let config = Config::load(&Sources { flags, ..Sources::default() }).unwrap().config;
        let mut process = Process::open(config).await.unwrap();
        let key = ApiKey::new(KEY, Principal::service(TenantId::default_tenant(), KEY));
        process.platform.authenticator = Authenticator::new(vec![key], false);
        let services = Services::start(&process, Faults::default()).await.unwrap();
        let shield = services.http().into_iter().find(|http| http.name() == "shield").unwrap().router();
        Self { process, services, shield }
    }

    async fn stop(self) {
        self.process.tasks.shutdown().begin();
        self.process.tasks.ended(self.process.config.shutdown).await;
        self.services.stop().await.unwrap();
        self.process.store.close().await;
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request::builder().method(method).uri(path).header("x-internal-api-key", KEY);
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
        let response = self.shield.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{method} {path}: {}", String::from_utf8_lossy(&text));
        serde_json::from_slice(&text).unwrap()
    }

    /// Opens a deletion for each of so many people nobody knew before. Nobody is written to. Returns the requests by bulks.
    async fn ask(&self, prefix: &str, people: usize) -> Vec<Value> {
        let mut asked = Vec::new();
        for first in (0..people).step_by(BULK) {
            let one = |n| json!({"customer_id": format!("{prefix}-{n}"), "request_type": "DELETION", "notify": false});
            let requests: Vec<_> = (first..people.min(first + BULK)).map(one).collect();
            asked.push(self.call("POST", "/v1/subject-requests/bulk", &json!({"requests": requests})).await);
        }
        tokio::time::sleep(SETTLE).await;
        asked
    }

    async fn erase(&self, prefix: &str, people: usize) -> Duration {
        let asked = self.ask(prefix, people).await;
        let begin = Instant::now();
        for bulk in &asked {
            self.call("POST", "/v1/subject-requests/vouch", bulk).await;
        }
        while self.call("GET", "/v1/subject-requests?state=in_progress&limit=1", &Value::Null).await["requests"]
            != json!([])
        {
            tokio::time::sleep(LOOK).await;
        }
        let took = begin.elapsed();
        tokio::time::sleep(SETTLE).await;
        took
    }

    async fn delete(&self, prefix: &str, people: usize) -> Duration {
        self.ask(prefix, people).await;
        let names: Vec<_> = (0..people).map(|n| format!("{prefix}-{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let tenant = TenantId::default_tenant();
        let known = self.process.subjects.resolve_many(&tenant, &names, Mint::No).await.unwrap();
        let handles: Vec<_> = known.iter().map(|person| person.as_ref().unwrap().id.to_string()).collect();
        let begin = Instant::now();
        let tables = [("subject_request", "subject"), ("subject", "id")];
        let rows = plain::delete(&self.process.store, &tenant, &tables, &handles).await;
        let took = begin.elapsed();
        assert_eq!(rows, 2 * people as u64);
        took
    }
}

fn record(row: &Value) {
    println!("{row}");
    if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
        let path = Path::new(&folder).join("people.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}
