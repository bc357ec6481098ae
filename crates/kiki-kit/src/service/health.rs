//! How a service is, and how those are that it depends on.
//!
//! Healthy: all dependencies answer. Degraded: an optional one does not. Unhealthy: a required one does not. The checks run
//! at the same time, each within [`CHECK_TIME_MAX`], and callers that ask at the same time share one run, so that asking
//! often does not load the dependencies.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared, join_all};
use serde::Serialize;

use super::Platform;
use super::measure::Counters;
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// How long a dependency may take to say that it is there.
pub const CHECK_TIME_MAX: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;
type Reports = Arc<[DependencyReport]>;

/// How a service or a dependency is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Everything works.
    Healthy,
    /// It works without something optional.
    Degraded,
    /// It does not work.
    Unhealthy,
}

/// Something that a service needs in order to work, or to work well.
#[derive(Clone)]
pub struct Dependency {
    name: &'static str,
    required: bool,
    check: Check,
}

impl Dependency {
    /// Without it the service cannot work: it is unhealthy and not ready.
    pub fn required<F, E>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        Self { name, required: true, check: boxed(check) }
    }

    /// Without it the service works, but less well: it is degraded.
    pub fn optional<F, E>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        Self { name, required: false, check: boxed(check) }
    }
}

fn boxed<F, E>(check: impl Fn() -> F + Send + Sync + 'static) -> Check
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    Arc::new(move || check().map(|outcome| outcome.map_err(|error| error.to_string())).boxed())
}

/// How one dependency is.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DependencyReport {
    /// Its name.
    pub name: &'static str,
    /// How it is: healthy or unhealthy.
    pub status: HealthStatus,
    /// How long it took to answer, in milliseconds.
    pub response_time_ms: f64,
    #[serde(skip)]
    required: bool,
}

/// How a service is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct HealthReport {
    /// The service's name.
    pub service: &'static str,
    /// How it is.
    pub status: HealthStatus,
    /// Its version.
    pub version: &'static str,
    /// Whole seconds since it was started.
    pub uptime_seconds: u64,
    /// When this was said, RFC 3339.
    pub timestamp: String,
    /// How those are that it depends on.
    #[schema(value_type = Vec<DependencyReport>)]
    pub dependencies: Reports,
    /// What it did since it was started.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub metrics: serde_json::Map<String, serde_json::Value>,
}

type Metric = Box<dyn Fn() -> u64 + Send + Sync>;

/// Knows how a service is.
pub struct Health {
    name: &'static str,
    version: &'static str,
    clock: Arc<dyn Clock>,
    started_at: Duration,
    shutdown: Shutdown,
    counters: Arc<Counters>,
    dependencies: Vec<Dependency>,
    metrics: Vec<(&'static str, Metric)>,
    was_complete: AtomicBool,
    running: Mutex<Option<WeakShared<BoxFuture<'static, Reports>>>>,
}

impl Health {
    pub(super) fn new(name: &'static str, version: &'static str, platform: &Platform) -> Self {
        Self {
            name,
            version,
            clock: Arc::clone(&platform.clock),
            started_at: platform.clock.monotonic(),
            shutdown: platform.shutdown.clone(),
            counters: Arc::new(Counters::new(name, version)),
            dependencies: Vec::new(),
            metrics: Vec::new(),
            was_complete: AtomicBool::new(false),
            running: Mutex::new(None),
        }
    }

    pub(super) fn add_dependency(&mut self, dependency: Dependency) {
        self.dependencies.push(dependency);
    }

    pub(super) fn add_metric(&mut self, name: &'static str, read: Metric) {
        self.metrics.push((name, read));
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn version(&self) -> &'static str {
        self.version
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Asks all dependencies and says how the service is.
    pub async fn report(&self) -> HealthReport {
        let dependencies = self.checked().await;
        let down = |required| {
            dependencies.iter().any(|report| report.required == required && report.status == HealthStatus::Unhealthy)
        };
        let status = match (down(true), down(false)) {
            (true, _) => HealthStatus::Unhealthy,
            (false, true) => HealthStatus::Degraded,
            (false, false) => HealthStatus::Healthy,
        };
        HealthReport {
            service: self.name,
            status,
            version: self.version,
            uptime_seconds: self.clock.monotonic().saturating_sub(self.started_at).as_secs(),
            timestamp: self.clock.now().rfc3339(),
            dependencies,
            metrics: self.metrics(),
        }
    }

    /// Whether requests should be sent here: every required dependency answers, and the end has not begun.
    pub async fn is_ready(&self) -> bool {
        !self.shutdown.is_draining() && self.is_complete().await
    }

    /// Whether every required dependency has answered once.
    pub async fn has_started(&self) -> bool {
        self.was_complete.load(Ordering::Relaxed) || self.is_complete().await
    }

    async fn is_complete(&self) -> bool {
        let up = |report: &DependencyReport| !report.required || report.status == HealthStatus::Healthy;
        let complete = self.checked().await.iter().all(up);
        self.was_complete.fetch_or(complete, Ordering::Relaxed);
        complete
    }

    fn metrics(&self) -> serde_json::Map<String, serde_json::Value> {
        let counters = &self.counters;
        let concurrent = counters.concurrent.load(Ordering::Relaxed) as u64;
        let own = [
            ("requests_total", counters.total.load(Ordering::Relaxed)),
            ("requests_failed_total", counters.failed.load(Ordering::Relaxed)),
            ("requests_in_flight", concurrent),
        ];
        let added = self.metrics.iter().map(|(name, read)| (*name, read()));
        own.into_iter().chain(added).map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    fn checked(&self) -> Shared<BoxFuture<'static, Reports>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Only those who wait keep a run alive: what is over is not told again, what was left is not taken up again.
        if let Some(run) = running.as_ref().and_then(WeakShared::upgrade) {
            return run;
        }
        let run = check_all(self.dependencies.clone(), Arc::clone(&self.clock)).boxed().shared();
        *running = run.downgrade();
        run
    }
}

async fn check_all(dependencies: Vec<Dependency>, clock: Arc<dyn Clock>) -> Reports {
    let clock = &*clock;
    join_all(dependencies.into_iter().map(|dependency| check(dependency, clock))).await.into()
}

async fn check(dependency: Dependency, clock: &dyn Clock) -> DependencyReport {
    let started = clock.monotonic();
    let outcome = tokio::time::timeout(CHECK_TIME_MAX, (dependency.check)()).await;
    let took = clock.monotonic().saturating_sub(started);
    let status = match outcome.unwrap_or_else(|_| Err("did not answer in time".to_owned())) {
        Ok(()) => HealthStatus::Healthy,
        Err(error) => {
            tracing::warn!(dependency = dependency.name, error, "dependency is down");
            HealthStatus::Unhealthy
        }
    };
    // Hundredths of a millisecond, as the rest is noise.
    let response_time_ms = (took.as_secs_f64() * 100_000.0).round() / 100.0;
    DependencyReport { name: dependency.name, status, response_time_ms, required: dependency.required }
}
