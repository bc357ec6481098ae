//! Whoever sits at the keyboard, talking to the services inside this process.

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use kiki_kit::inprocess::{Transport, in_process};
use kiki_types::Principal;
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt as _;

use crate::services::Services;

/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Calls the services as the local operator.
pub(super) struct Operator {
    engage: Router,
    shield_router: Router,
    pub(super) shield: Transport,
    pub(super) value: Transport,
}

/// Which service a call goes to.
#[derive(Clone, Copy)]
pub(super) enum To {
    Shield,
    Engage,
}

impl Operator {
    pub(super) fn new(services: &Services) -> Self {
        let principal = Principal::local_operator();
        Self {
            engage: services.engage_http.router(),
            shield_router: services.shield.http.router(),
            shield: in_process(services.shield.http.router(), principal.clone()),
            value: in_process(services.value_http.router(), principal),
        }
    }

    /// The JSON answer, whatever its status.
    pub(super) async fn call(
        &self,
        to: To,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let router = match to {
            To::Shield => &self.shield_router,
            To::Engage => &self.engage,
        };
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json").body(body)?;
        request.extensions_mut().insert(Arc::new(Principal::local_operator()));
        let response = router.clone().oneshot(request).await?;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await?;
        Ok((status, serde_json::from_slice(&bytes).with_context(|| format!("{path} answers {status} without JSON"))?))
    }

    /// The JSON answer of a call that must succeed.
    pub(super) async fn expect(
        &self,
        to: To,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let (status, answer) = self.call(to, method.clone(), path, body).await?;
        anyhow::ensure!(
            status.is_success(),
            "{method} {path}: {}",
            answer["detail"].as_str().unwrap_or(status.as_str())
        );
        Ok(answer)
    }
}
