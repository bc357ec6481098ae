//! Rate, errors and duration per route template, and the process-wide recorder that `/metrics` renders.
//!
//! A series' handles are kept beside its route, so that counting a request is a short scan and two atomic additions.
//! Labels come from the routes and from a closed list of methods, never from what a caller sent: their number is bounded.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

const REQUESTS: &str = "kiki_http_requests_total";
const DURATION: &str = "kiki_http_request_duration_seconds";
const BUILD_INFO: &str = "kiki_build_info";

/// Upper bounds in seconds of the buckets of every histogram whose name ends in `_seconds`.
const BUCKETS_SECONDS: [f64; 16] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The status under which a request counts whose sender did not wait for the answer.
const CLIENT_LEFT: u16 = 499;

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

fn recorder() -> &'static PrometheusHandle {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_SECONDS);
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics stays empty");
        }
        metrics::describe_counter!(REQUESTS, "Requests answered, by route template and status.");
        metrics::describe_histogram!(DURATION, "Time until the answer began, in seconds.");
        metrics::describe_gauge!(BUILD_INFO, "Always 1; the labels say which version runs.");
        handle
    })
}

/// All metrics of the process as Prometheus text.
#[must_use]
pub fn render_metrics() -> String {
    recorder().render()
}

/// Folds the samples of histograms that were not rendered lately; without it they pile up where nobody scrapes. To be
/// called every few seconds; the server does.
pub fn upkeep_metrics() {
    recorder().run_upkeep();
}

/// What `/health` says of a service's requests.
pub(super) struct Counters {
    service: &'static str,
    pub(super) total: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) concurrent: AtomicUsize,
}

impl Counters {
    pub(super) fn new(service: &'static str, version: &'static str) -> Self {
        recorder();
        metrics::gauge!(BUILD_INFO, "service" => service, "version" => version).set(1.0);
        Self { service, total: AtomicU64::new(0), failed: AtomicU64::new(0), concurrent: AtomicUsize::new(0) }
    }
}

/// The series of one route.
pub(super) struct Endpoint {
    counters: Arc<Counters>,
    route: OnceLock<String>,
    series: RwLock<Vec<Series>>,
}

struct Series {
    method: &'static str,
    status: u16,
    requests: Counter,
    duration: Histogram,
}

impl Series {
    fn count(&self, took: Duration) {
        self.requests.increment(1);
        self.duration.record(took);
    }
}

impl Endpoint {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, route: OnceLock::new(), series: RwLock::default() }
    }

    /// Counts a request in. `route` is its template; a request that matched none has none.
    pub(super) fn begin(self: &Arc<Self>, method: &Method, route: Option<&str>) -> Measured {
        self.route.get_or_init(|| route.unwrap_or("unmatched").to_owned());
        let concurrent = self.counters.concurrent.fetch_add(1, Ordering::Relaxed) + 1;
        let (endpoint, method) = (Arc::clone(self), method_label(method));
        Measured { endpoint, method, concurrent, started: Instant::now(), status: CLIENT_LEFT }
    }

    fn count(&self, method: &'static str, status: u16, took: Duration) {
        let wanted = |series: &&Series| series.status == status && series.method == method;
        if let Some(series) = self.series.read().unwrap_or_else(PoisonError::into_inner).iter().find(wanted) {
            return series.count(took);
        }
        let series = self.register(method, status);
        series.count(took);
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|other| wanted(&other)) {
            known.push(series);
        }
    }

    fn register(&self, method: &'static str, status: u16) -> Series {
        let service = self.counters.service;
        let route = self.route.get().cloned().unwrap_or_default();
        let text = status.to_string();
        let requests = metrics::counter!(REQUESTS, "service" => service, "route" => route.clone(), "method" => method, "status" => text);
        let duration = metrics::histogram!(DURATION, "service" => service, "route" => route, "method" => method);
        Series { method, status, requests, duration }
    }
}

/// A request that is being answered. Counts when it is dropped, answered or not.
pub(super) struct Measured {
    endpoint: Arc<Endpoint>,
    method: &'static str,
    concurrent: usize,
    started: Instant,
    status: u16,
}

impl Measured {
    pub(super) fn route(&self) -> &str {
        self.endpoint.route.get().map_or("", String::as_str)
    }

    pub(super) fn method(&self) -> &'static str {
        self.method
    }

    /// How many requests the service was answering when this one came, this one included.
    pub(super) fn concurrent(&self) -> usize {
        self.concurrent
    }

    /// Notes that the request was answered with `status`; how long it took.
    pub(super) fn answered(&mut self, status: StatusCode) -> Duration {
        self.status = status.as_u16();
        self.started.elapsed()
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let counters = &self.endpoint.counters;
        counters.concurrent.fetch_sub(1, Ordering::Relaxed);
        counters.total.fetch_add(1, Ordering::Relaxed);
        if self.status >= 500 {
            counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.endpoint.count(self.method, self.status, self.started.elapsed());
    }
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
