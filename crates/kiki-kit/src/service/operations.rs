//! The public paths that every service has: health, metrics, the API's description.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::health::{Health, HealthReport, HealthStatus};
use super::measure::render_metrics;
use crate::extract::Json;

/// The media type of the Prometheus text format.
const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What these paths need.
#[derive(Clone)]
pub(super) struct Operations {
    health: Arc<Health>,
    open_api: Bytes,
}

impl Operations {
    pub(super) fn new(health: Arc<Health>, open_api: &OpenApi) -> Self {
        Self { health, open_api: serde_json::to_vec(open_api).unwrap_or_default().into() }
    }
}

pub(super) fn router() -> OpenApiRouter<Operations> {
    OpenApiRouter::default()
        .routes(routes!(report))
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(startup))
        .routes(routes!(metrics))
        .route("/openapi.json", axum::routing::get(open_api))
}

/// The answer to a probe.
#[derive(Serialize, utoipa::ToSchema)]
struct Probe {
    /// `ok`, or what is not.
    status: &'static str,
}

fn probe(passed: bool, otherwise: &'static str) -> Response {
    let (code, status) = if passed { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, otherwise) };
    (code, [(CACHE_CONTROL, "no-store")], Json(Probe { status })).into_response()
}

/// How the service is, and those that it depends on.
#[utoipa::path(get, path = "/health", tag = "operations", security(()),
    responses((status = 200, body = HealthReport, description = "Healthy or degraded."),
              (status = 503, body = HealthReport, description = "Unhealthy.")))]
async fn report(State(operations): State<Operations>) -> Response {
    let report = operations.health.report().await;
    let code = if report.status == HealthStatus::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, [(CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

/// Whether the process answers at all.
#[utoipa::path(get, path = "/health/live", tag = "operations", security(()),
    responses((status = 200, body = Probe, description = "It does.")))]
async fn live() -> Response {
    probe(true, "")
}

/// Whether requests should be sent here.
#[utoipa::path(get, path = "/health/ready", tag = "operations", security(()),
    responses((status = 200, body = Probe, description = "They should."),
              (status = 503, body = Probe, description = "It is shutting down, or something that it needs is down.")))]
async fn ready(State(operations): State<Operations>) -> Response {
    probe(operations.health.is_ready().await, "not ready")
}

/// Whether everything that the service needs has been there once.
#[utoipa::path(get, path = "/health/startup", tag = "operations", security(()),
    responses((status = 200, body = Probe, description = "It has."),
              (status = 503, body = Probe, description = "It has not.")))]
async fn startup(State(operations): State<Operations>) -> Response {
    probe(operations.health.has_started().await, "starting")
}

/// The metrics of the process for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, body = String, content_type = "text/plain", description = "Prometheus text.")))]
async fn metrics() -> Response {
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], render_metrics()).into_response()
}

async fn open_api(State(operations): State<Operations>) -> Response {
    ([(CONTENT_TYPE, "application/json")], operations.open_api).into_response()
}
