//! The one layer around every service. It is written by hand, as one future per request, because it runs for each of
//! them: what depends on the route alone is kept beside the route, and a request allocates little here.
//!
//! Order: the request gets its context; it is admitted (bound on concurrency, bound on its body); who sent it is found
//! out; the handler runs within time and its panic is caught; the answer gets its headers; what happened is counted
//! and logged. Paths and query strings are never logged, only the route's template.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use kiki_types::{IdSource, Principal};
use tonic::Status;
use tower::util::Oneshot;
use tower::{Layer, Service, ServiceExt as _};
use tracing::Instrument as _;

use super::health::Health;
use super::measure::{Endpoint, Measured};
use super::{Limits, Platform};
use crate::authorisation::Authenticator;
use crate::body_limit::{Limited, too_large};
use crate::context::RequestContext;
use crate::problem::{Problem, http_status};

/// What the layer needs, shared by all routes of a service.
pub(super) struct Stack {
    ids: Arc<dyn IdSource>,
    authenticator: Authenticator,
    limits: Limits,
    health: Arc<Health>,
}

impl Stack {
    pub(super) fn new(platform: &Platform, health: Arc<Health>) -> Self {
        Self {
            ids: Arc::clone(&platform.ids),
            authenticator: platform.authenticator.clone(),
            limits: platform.limits,
            health,
        }
    }
}

/// Puts the layer around a route.
#[derive(Clone)]
pub(super) struct StackLayer {
    stack: Arc<Stack>,
    requests_max: usize,
}

impl StackLayer {
    pub(super) fn bounded(stack: Arc<Stack>) -> Self {
        Self { requests_max: stack.limits.requests_max, stack }
    }

    pub(super) fn unbounded(stack: Arc<Stack>) -> Self {
        Self { requests_max: usize::MAX, stack }
    }
}

impl<S> Layer<S> for StackLayer {
    type Service = Stacked<S>;

    fn layer(&self, inner: S) -> Stacked<S> {
        let endpoint = Arc::new(Endpoint::new(Arc::clone(self.stack.health.counters())));
        Stacked { inner, endpoint, layer: self.clone() }
    }
}

/// A route within the layer.
#[derive(Clone)]
pub(super) struct Stacked<S> {
    inner: S,
    endpoint: Arc<Endpoint>,
    layer: StackLayer,
}

impl<S> Service<Request> for Stacked<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each request waits for a route of its own to be ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let context = RequestContext::from_headers(request.headers(), &*self.layer.stack.ids);
        let route = request.extensions().get::<MatchedPath>();
        let measured = self.endpoint.begin(request.method(), route.map(MatchedPath::as_str));
        let span = tracing::debug_span!("request", route = measured.route(), request_id = context.logged_id());
        request.extensions_mut().insert(context.clone());
        let grpc = is_grpc(request.headers());
        let work = self.admit(request, &measured, grpc);
        let time_max = self.layer.stack.limits.request_time_max;
        // One future in one place: what is nested or moved once more is copied once more for each request.
        let answer = async move {
            let mut response = match tokio::time::timeout(time_max, AssertUnwindSafe(work).catch_unwind()).await {
                Ok(Ok(Ok(response))) => response,
                Ok(Ok(Err(never))) => match never {},
                Ok(Err(panic)) => {
                    tracing::error!(panic = panic_text(&*panic), "handler panicked");
                    refuse(Problem::unexplained(), grpc)
                }
                Err(_) => refuse(too_slow(), grpc),
            };
            finish(&response, measured);
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            // How money stands, and secrets that are shown once, are nothing for caches.
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            if let Some(context) = RequestContext::current() {
                context.write_to(headers);
            }
            Ok(response)
        };
        Box::pin(context.scope(answer.instrument(span)))
    }
}

/// What answers a request: the handler, or a refusal.
type Work<S> = Either<Oneshot<S, Request>, BoxFuture<'static, Result<Response, Infallible>>>;

impl<S> Stacked<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    fn admit(&self, mut request: Request, measured: &Measured, grpc: bool) -> Work<S> {
        if measured.concurrent() > self.layer.requests_max {
            // Made when it is polled, within the request's context, whose id it tells.
            let refusal = async move {
                let detail = "Too many requests at the same time.";
                Ok(refuse(Problem::unavailable("overloaded", detail, Duration::from_secs(1)), grpc))
            };
            return Either::Right(refusal.boxed());
        }
        let stack = &self.layer.stack;
        let limit = stack.limits.body_bytes_max;
        let size = request.body().size_hint();
        if size.lower() > limit {
            return Either::Right(refuse_body(request, limit, grpc).map(Ok).boxed());
        }
        if size.upper().is_none_or(|upper| upper > limit) {
            request = request.map(|body| Body::new(Limited::new(body, limit, grpc)));
        }
        identify(&stack.authenticator, &mut request);
        Either::Left(self.inner.clone().oneshot(request))
    }
}

async fn refuse_body(request: Request, limit: u64, grpc: bool) -> Response {
    // Who asks before sending is told at once; who sends anyway must be read to hear the answer.
    if !request.headers().contains_key(EXPECT) {
        Limited::new(request.into_body(), limit, grpc).discard().await;
    }
    refuse(too_large(), grpc)
}

/// The time for the current request is over.
fn too_slow() -> Problem {
    if RequestContext::current().is_some_and(|context| context.awaits_body()) {
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "The body did not arrive in time.")
    } else {
        let detail = "The request took too long and was given up. It may have had its effect.";
        Problem::unavailable("timed_out", detail, Duration::from_secs(1))
    }
}

fn identify(authenticator: &Authenticator, request: &mut Request) {
    if request.extensions().get::<Arc<Principal>>().is_some() {
        return;
    }
    match authenticator.authenticate(request.uri(), request.headers()) {
        Ok(principal) => request.extensions_mut().insert(principal).is_some(),
        Err(refusal) => request.extensions_mut().insert(refusal).is_some(),
    };
}

fn finish(response: &Response, mut measured: Measured) {
    let status = told_status(response);
    let duration_ms = measured.answered(status).as_secs_f64() * 1_000.0;
    let (method, route) = (measured.method(), measured.route());
    let status_code = status.as_u16();
    if status.is_server_error() {
        tracing::error!(target: "kiki::access", method, route, status = status_code, duration_ms, "answered");
    } else if status.is_client_error() {
        tracing::info!(target: "kiki::access", method, route, status = status_code, duration_ms, "answered");
    } else {
        tracing::debug!(target: "kiki::access", method, route, status = status_code, duration_ms, "answered");
    }
}

/// The status that the answer means: a gRPC failure travels as HTTP 200 with its own code.
fn told_status(response: &Response) -> StatusCode {
    match response.headers().get(Status::GRPC_STATUS) {
        Some(code) => http_status(tonic::Code::from_bytes(code.as_bytes())),
        None => response.status(),
    }
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// The answer to who spoke HTTP or gRPC.
pub(super) fn refuse(problem: Problem, grpc: bool) -> Response {
    match (grpc, problem.code()) {
        (false, _) => problem.into_response(),
        (true, "unknown_path") => Status::unimplemented("There is no such method.").into_http(),
        (true, _) => Status::from(problem).into_http(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}
