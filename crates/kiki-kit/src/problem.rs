//! Errors as callers see them: RFC 9457 `application/problem+json`, or a gRPC status.
//!
//! A problem has a stable `code` for programs and a `detail` for people; what is wrong with one field names it. What went
//! wrong inside is logged once by [`Problem::internal`] and never told; the `request_id` in the answer leads to it, and the
//! trace's id where the caller gave an id of its own that is no UUID.

mod grpc;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::context::RequestContext;
pub(crate) use grpc::http_status;
pub use grpc::{GRPC_CODE_KEY, GRPC_FIELD_KEY, logged_status};

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done. Cheap to move: one pointer.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: String,
    field: Option<String>,
    extra: Map<String, Value>,
    headers: HeaderMap,
}

/// The JSON of a problem. `type` is always `about:blank`: the `code` says which problem it is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// Always `about:blank` (RFC 9457, 4.2.1).
    #[schema(example = "about:blank")]
    pub r#type: &'static str,
    /// The HTTP status in words.
    #[schema(example = "Bad Request")]
    pub title: &'a str,
    /// The HTTP status.
    #[schema(example = 400)]
    pub status: u16,
    /// The stable name of the problem.
    #[schema(example = "invalid_request")]
    pub code: &'a str,
    /// What is wrong, for a person.
    #[schema(example = "amount: is not a plain decimal number")]
    pub detail: &'a str,
    /// The field that is wrong, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
    /// Leads to the request in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// What else a program may want to know; depends on the code.
    #[serde(flatten)]
    #[schema(ignore)]
    pub extra: &'a Map<String, Value>,
}

impl Problem {
    /// A problem of `status` with the stable name `code`.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            detail: detail.into(),
            field: None,
            extra: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 400 `invalid_request`: `field` is wrong; `detail` goes on from its name, such as `must be positive`.
    #[must_use]
    pub fn invalid(field: impl Into<String>, detail: impl fmt::Display) -> Self {
        let field = field.into();
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", format!("{field}: {detail}")).with_field(field)
    }

    /// 400 `invalid_request` where no single field is wrong.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// 404 `not_found`. `what` names what is missing, such as `campaign`.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    /// 409 with a `code` of the service's own, such as `idempotency_conflict`.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 403 with a `code` of the service's own: who asked may ask, the rules refuse.
    #[must_use]
    pub fn denied(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 401 `unauthenticated`, with the challenge that HTTP demands.
    #[must_use]
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kiki\""))
    }

    /// 403 `permission_denied`: who asked lacks `permission`.
    #[must_use]
    pub fn permission_denied(permission: kiki_types::Permission) -> Self {
        let detail = format!("This needs the permission {permission}.");
        Self::new(StatusCode::FORBIDDEN, "permission_denied", detail).with("permission", permission.as_str())
    }

    /// 503 with a `code` of the service's own and `Retry-After` in whole seconds, rounded up.
    #[must_use]
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
            .with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// 500 `internal`. Logs `error` with its causes; the caller learns only that something failed.
    #[must_use]
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        let causes: Vec<String> = causes(error).map(ToString::to_string).collect();
        tracing::error!(error = causes.join(": "), "request failed");
        Self::unexplained()
    }

    /// 500 `internal` of which the log says more already.
    #[must_use]
    pub fn unexplained() -> Self {
        let detail = "Something failed inside. The request id leads to it in the log.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// The same, naming the field that is wrong.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The same with one more member in its JSON. Names of the standard members are ignored.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if !STANDARD_MEMBERS.contains(&name) {
            self.0.extra.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The same with one more header in its answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What is wrong, for a person.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The field that is wrong, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The members of its JSON beyond the standard ones.
    #[must_use]
    pub fn extra(&self) -> &Map<String, Value> {
        &self.0.extra
    }
}

const CAUSES_MAX: usize = 16;

/// `error` and what caused it, outermost first; at most 16.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source()).take(CAUSES_MAX)
}

const STANDARD_MEMBERS: [&str; 7] = ["type", "title", "status", "code", "detail", "field", "request_id"];

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.detail, self.0.code)
    }
}

impl Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let context = RequestContext::current();
        let parts = *self.0;
        let body = ProblemBody {
            r#type: "about:blank",
            title: parts.status.canonical_reason().unwrap_or("Error"),
            status: parts.status.as_u16(),
            code: parts.code,
            detail: &parts.detail,
            field: parts.field.as_deref(),
            request_id: context.as_ref().map(RequestContext::request_id),
            extra: &parts.extra,
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut headers = parts.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        (parts.status, headers, json).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CountingIds;

    async fn json(problem: Problem) -> Value {
        let response = RequestContext::fresh(&CountingIds::default()).scope(async { problem.into_response() }).await;
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_problem_names_its_field_and_its_request() {
        let problem = Problem::invalid("amount", "must be positive").with("limit", "500.00").with("status", 200);
        assert_eq!(
            json(problem).await,
            serde_json::json!({
                "type": "about:blank", "title": "Bad Request", "status": 400, "code": "invalid_request",
                "detail": "amount: must be positive", "field": "amount",
                "request_id": "00000000-0000-7000-8000-000000000001", "limit": "500.00",
            })
        );
    }

    #[tokio::test]
    async fn what_failed_inside_is_not_told() {
        let text = json(Problem::internal(&std::io::Error::other("password=hunter2"))).await.to_string();
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        for (wait, seconds) in [(0, "1"), (1_000, "1"), (1_001, "2")] {
            let response = Problem::unavailable("busy", "later", Duration::from_millis(wait)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
        }
    }
}
