//! What clients, faults and watchers share: where the service is, what was counted, what was found wrong.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use kiki_kit::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::harness::{Answer, Http, PATIENCE, request};

/// Counts what happens.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) answered: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) undecided: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) repeats: AtomicU64,
    pub(crate) kills: AtomicU64,
    pub(crate) ends: AtomicU64,
    pub(crate) pauses: AtomicU64,
    pub(crate) bad_disks: AtomicU64,
    pub(crate) restart_ms: AtomicU64,
    pub(crate) restart_ms_max: AtomicU64,
}

/// One more.
pub(crate) fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

pub(crate) struct World {
    http: Http,
    clock: SystemClock,
    address: Mutex<SocketAddr>,
    is_over: AtomicBool,
    violations: Mutex<Vec<String>>,
    pub(crate) counts: Counts,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            http: Http::new(),
            clock: SystemClock::new(),
            address: Mutex::new(SocketAddr::from(([127, 0, 0, 1], 1))),
            is_over: AtomicBool::new(false),
            violations: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn is_at(&self, address: SocketAddr) {
        *self.address.lock().unwrap() = address;
    }

    /// Whether clients and faults are to end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) || self.is_violated()
    }

    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().0
    }

    pub(crate) fn violation(&self, what: String) {
        self.violations.lock().unwrap().push(what);
    }

    pub(crate) fn is_violated(&self) -> bool {
        !self.violations.lock().unwrap().is_empty()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// Asks once. `None`: nobody answered, or nobody decided; it may count all the same.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let address = *self.address.lock().unwrap();
        let mut request = request(method, &format!("http://{address}{path}"), body);
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        }
        let Some(answer) = tokio::time::timeout(PATIENCE, self.http.try_send(request)).await.ok().flatten() else {
            count(&self.counts.unanswered);
            return None;
        };
        match answer.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                count(&self.counts.undecided);
                return None;
            }
            StatusCode::FORBIDDEN => count(&self.counts.denied),
            _ => {}
        }
        count(&self.counts.answered);
        Some(answer)
    }

    /// Asks until somebody answers. Only for what may be asked twice.
    pub(crate) async fn insist(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(answer) = self.ask(method.clone(), path, body, key).await {
                return Some(answer);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.violation(format!("{method} {path}: no answer within {} s", PATIENCE.as_secs()));
        None
    }

    /// How far it is, in a line.
    pub(crate) fn told(&self) -> String {
        let counts = &self.counts;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let starts = (of(&counts.kills) + of(&counts.ends)).max(1);
        format!(
            "{} answered ({} denied, {} repeats), {} unanswered, {} undecided; {} kills, {} ends, {} pauses, {} bad disks; restarts \
             {} ms on average, {} ms at most",
            of(&counts.answered),
            of(&counts.denied),
            of(&counts.repeats),
            of(&counts.unanswered),
            of(&counts.undecided),
            of(&counts.kills),
            of(&counts.ends),
            of(&counts.pauses),
            of(&counts.bad_disks),
            of(&counts.restart_ms) / starts,
            of(&counts.restart_ms_max),
        )
    }
}
