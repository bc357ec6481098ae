//! How a service becomes a router: its API in, everything that all services share around it.
//!
//! ```text
//! let service = HttpService::builder("shield", env!("CARGO_PKG_VERSION"), &platform)
//!     .api(OpenApiRouter::new().routes(routes!(authorize)).with_state(state))
//!     .grpc(Routes::new(ShieldServer::new(shield)))
//!     .depends_on(Dependency::required("journal", move || journal.ping()))
//!     .build();
//! ```
//!
//! One layer does what every request needs: ids, trace, metrics, log, limits, authentication. Each path below
//! `/health`, `/metrics` and `/openapi.json` is public and outside the bound on concurrent requests, so that a busy
//! service can still say that it is alive. HTTP and gRPC share the port and the layer.

pub mod health;
mod layer;
mod measure;
mod open_api;
mod operations;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Response;
use http::{Method, StatusCode};
use kiki_types::{IdSource, Principal, TenantId};
use tonic::service::Routes;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use health::Dependency;
pub use measure::{render_metrics, upkeep_metrics};
pub use open_api::Operation;

use crate::authorisation::{ApiKey, Authenticator};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Environment};
use crate::ids::SystemIds;
use crate::problem::Problem;
use crate::shutdown::Shutdown;
use health::Health;
use layer::{Stack, StackLayer};
use operations::Operations;

/// What all services of a process share.
#[derive(Clone)]
pub struct Platform {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Who finds out who asks.
    pub authenticator: Authenticator,
    /// Whether the end has begun.
    pub shutdown: Shutdown,
    /// The bounds on requests.
    pub limits: Limits,
}

impl Platform {
    /// The platform of a process with `config`: the machine's clock, random ids, the configured key. The local operator is
    /// assumed in development on loopback.
    #[must_use]
    pub fn of_process(config: &Config, shutdown: Shutdown) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let caller = Principal::service(TenantId::default_tenant(), "internal");
        let keys = config.internal_api_key.iter().map(|key| ApiKey::new(key.expose(), caller.clone()));
        let is_development = config.environment == Environment::Development;
        let local_operator = is_development && config.host.to_canonical().is_loopback();
        Self {
            ids: Arc::new(SystemIds::new(Arc::clone(&clock))),
            clock,
            authenticator: Authenticator::new(keys.collect(), local_operator),
            shutdown,
            limits: Limits { body_bytes_max: config.body_limit_bytes, ..Limits::default() },
        }
    }
}

/// The bounds on the requests of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in a body at the most.
    pub body_bytes_max: u64,
    /// How long one request may take until its answer begins.
    pub request_time_max: Duration,
    /// Requests at the same time at the most; more are refused with 503.
    pub requests_max: usize,
}

impl Default for Limits {
    /// 10 MiB, 30 s, 4,096 requests.
    fn default() -> Self {
        Self { body_bytes_max: 10 << 20, request_time_max: Duration::from_secs(30), requests_max: 4_096 }
    }
}

/// A service, ready to be served or called.
#[derive(Clone)]
pub struct HttpService {
    name: &'static str,
    router: Router,
    open_api: Arc<OpenApi>,
    operations: Arc<[Operation]>,
    health: Arc<Health>,
}

impl HttpService {
    /// Starts to put a service together.
    #[must_use]
    pub fn builder(name: &'static str, version: &'static str, platform: &Platform) -> HttpServiceBuilder {
        HttpServiceBuilder {
            api: OpenApiRouter::default(),
            grpc: None,
            health: Health::new(name, version, platform),
            platform: platform.clone(),
        }
    }

    /// The service's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The router: serve it, call it with `tower::ServiceExt::oneshot`, or make a client's transport of it.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The description of the API, as `/openapi.json` gives it.
    #[must_use]
    pub fn open_api(&self) -> &OpenApi {
        &self.open_api
    }

    /// Every operation of the API, for the test that asks each of them without permission. The public ones that every
    /// service has are not among them.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// How the service is.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }
}

/// A service being put together; see [`HttpService::builder`].
pub struct HttpServiceBuilder {
    api: OpenApiRouter,
    grpc: Option<Routes>,
    health: Health,
    platform: Platform,
}

impl HttpServiceBuilder {
    /// Adds HTTP operations. Those added with `routes!` are in the description and among [`HttpService::operations`].
    #[must_use]
    pub fn api(mut self, api: OpenApiRouter) -> Self {
        self.api = self.api.merge(api);
        self
    }

    /// Adds gRPC services.
    #[must_use]
    pub fn grpc(mut self, routes: Routes) -> Self {
        self.grpc = Some(routes);
        self
    }

    /// Adds something that the service needs, to be asked by `/health` and `/health/ready`.
    #[must_use]
    pub fn depends_on(mut self, dependency: Dependency) -> Self {
        self.health.add_dependency(dependency);
        self
    }

    /// Adds a number to the `metrics` of `/health`.
    #[must_use]
    pub fn health_metric(mut self, name: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.health.add_metric(name, Box::new(read));
        self
    }

    /// Puts the layer around everything.
    #[must_use]
    pub fn build(self) -> HttpService {
        let name = self.health.name();
        let health = Arc::new(self.health);
        let stack = Arc::new(Stack::new(&self.platform, Arc::clone(&health)));

        let (mut api, mut open_api) = self.api.split_for_parts();
        let operations = open_api::operations(&open_api);
        let (public, public_api) = operations::router().split_for_parts();
        open_api.merge(public_api);
        open_api::complete(&mut open_api, name, health.version());
        let open_api = Arc::new(open_api);

        if let Some(routes) = self.grpc {
            api = api.merge(routes.into_axum_router());
        }
        let public = public.with_state(Operations::new(Arc::clone(&health), &open_api));
        let api = finish(api.fallback(unknown_path), StackLayer::bounded(Arc::clone(&stack)));
        let router = api.merge(finish(public, StackLayer::unbounded(stack)));
        HttpService { name, router, open_api, operations: operations.into(), health }
    }
}

fn finish(router: Router, layer: StackLayer) -> Router {
    // The layer bounds bodies itself. Giving the state last resolves the handlers once and not for each request.
    let layers = tower::ServiceBuilder::new().layer(layer).layer(DefaultBodyLimit::disable());
    router.method_not_allowed_fallback(wrong_method).layer(layers).with_state(())
}

async fn unknown_path(request: Request) -> Response {
    let problem = Problem::new(StatusCode::NOT_FOUND, "unknown_path", "There is nothing at this path.");
    layer::refuse(problem, layer::is_grpc(request.headers()))
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("This path does not answer {method}; the header allow lists what it answers.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail)
}
