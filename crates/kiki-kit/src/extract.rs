//! What a handler takes from a request. Each of these refuses bad input with a [`Problem`] that names the field.
//!
//! [`Json`] is also the way to answer with JSON.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::response::{IntoResponse, Response};
use axum::{body, extract};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body_limit::{is_too_large, too_large};
use crate::context::RequestContext;
use crate::problem::Problem;

/// A JSON body, which is an object: the derived `Deserialize` of a struct would also read its fields off an array.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(pub T);

/// The query parameters. Unknown ones are ignored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

/// The parameters of the path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<T>(pub T);

/// A JSON body, or without one the same fields as query parameters. Numbers and booleans of the query arrive as the
/// text that a form has, which the derived `Deserialize` of such fields reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonOrQuery<T>(pub T);

/// A body as it came, whatever it is.
#[derive(Clone, Debug, Default)]
pub struct Raw(pub Bytes);

/// The header `Idempotency-Key`: 1 to 255 visible ASCII characters; `None` where it is absent.
#[derive(Clone, Debug, Default)]
pub struct IdempotencyKey(pub Option<String>);

/// What most answers fit into, so that they are not moved while they are written.
const ANSWER_BYTES_USUAL: usize = 512;
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut given = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = given.next() else { return Ok(Self(None)) };
        if given.any(|other| other != value) {
            return Err(Problem::invalid(IDEMPOTENCY_KEY, "came twice with different values"));
        }
        let sane = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&value.len());
        match value.to_str() {
            Ok(key) if sane && key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(Some(key.to_owned()))),
            _ => Err(Problem::invalid(IDEMPOTENCY_KEY, "must be 1 to 255 visible ASCII characters")),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = read_body(request).await?;
        parse_json(&bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read_body(request).await.map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parse_query(&parts.uri).map(Self)
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match extract::Path::from_request_parts(parts, state).await {
            Ok(extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(path_problem(parts, state, rejection).await),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonOrQuery<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        require_plain(&parts.headers)?;
        let bytes = read_body(Request::new(body)).await?;
        if bytes.is_empty() {
            return parse_query(&parts.uri).map(Self);
        }
        require_json(&parts.headers)?;
        parse_json(&bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut text = Vec::with_capacity(ANSWER_BYTES_USUAL);
        if let Err(error) = serde_json::to_writer(&mut text, &self.0) {
            tracing::error!(%error, "an answer cannot be written as JSON");
            return Problem::unexplained().into_response();
        }
        let mut response = Response::new(body::Body::from(text));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

async fn read_body(request: Request) -> Result<Bytes, Problem> {
    require_plain(request.headers())?;
    let context = RequestContext::current();
    let awaits = |awaits| context.iter().for_each(|context| context.set_awaits_body(awaits));
    awaits(true);
    // The bounds on size and time are the service layer's, which wraps every body that comes from outside.
    let read = body::to_bytes(request.into_body(), usize::MAX).await;
    awaits(false);
    read.map_err(|error| {
        if is_too_large(&error) { too_large() } else { Problem::malformed("The body broke off before its end.") }
    })
}

/// A compressed body would be read as what it is not.
fn require_plain(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get_all(CONTENT_ENCODING).iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "The body must come as it is, without the header content-encoding.";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
        .with_field("content-encoding"))
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let suffixed = essence.starts_with("application/") && essence.ends_with("+json");
    if essence == "application/json" || suffixed {
        return Ok(());
    }
    let detail = "The body must be JSON, with the header content-type: application/json.";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).with_field("content-type"))
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii_start().first().is_some_and(|&first| first != b'{') {
        return Err(Problem::malformed("The body must be a JSON object."));
    }
    match axum::Json::from_bytes(bytes) {
        Ok(axum::Json(value)) => Ok(value),
        Err(JsonRejection::JsonDataError(error)) => Err(field_problem(&error)),
        Err(error) => Err(Problem::malformed(format!("The body is not JSON: {}.", innermost(&error)))),
    }
}

fn parse_query<T: DeserializeOwned>(uri: &http::Uri) -> Result<T, Problem> {
    match extract::Query::try_from_uri(uri) {
        Ok(extract::Query(value)) => Ok(value),
        Err(QueryRejection::FailedToDeserializeQueryString(error)) => Err(field_problem(&error)),
        Err(error) => Err(Problem::malformed(error.body_text())),
    }
}

async fn path_problem<S: Send + Sync>(parts: &mut Parts, state: &S, rejection: PathRejection) -> Problem {
    let PathRejection::FailedToDeserializePathParams(rejection) = rejection else {
        return Problem::internal(&rejection);
    };
    // A lone value or a tuple is refused without its name, which the route knows.
    let params = RawPathParams::from_request_parts(parts, state).await;
    let names: Vec<&str> = params.iter().flatten().map(|(name, _)| name).collect();
    let name = |index: usize| (*names.get(index).unwrap_or(&"path")).to_owned();
    match rejection.into_kind() {
        ErrorKind::ParseErrorAtKey { key, expected_type, .. } => not_a(key, expected_type),
        ErrorKind::ParseErrorAtIndex { index, expected_type, .. } => not_a(name(index), expected_type),
        ErrorKind::ParseError { expected_type, .. } => not_a(name(0), expected_type),
        ErrorKind::DeserializeError { key, message, .. } => Problem::invalid(key, message),
        ErrorKind::Message(message) => Problem::invalid(name(0), message),
        ErrorKind::InvalidUtf8InPathParam { key } => Problem::invalid(key, "is not UTF-8"),
        kind => Problem::malformed(format!("The path is wrong: {kind}.")),
    }
}

fn not_a(field: String, expected_type: &str) -> Problem {
    Problem::invalid(field, format_args!("is not of type {expected_type}"))
}

/// The problem of a value of the wrong shape. The error's text starts with the path of the field where one is known
/// (`limits[0].amount: invalid type ...`), or names a field that is missing or not wanted in backticks.
fn field_problem(error: &(dyn std::error::Error + 'static)) -> Problem {
    let text = innermost(error);
    let (path, message) = match text.split_once(": ") {
        Some((path, message)) if is_field_path(path) => (path, message),
        _ => ("", text.as_str()),
    };
    let inner = ["missing field `", "unknown field `", "duplicate field `"]
        .into_iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    let field = match (path, inner) {
        ("", None) => return Problem::malformed(format!("The request has the wrong shape: {message}.")),
        ("", Some(inner)) => inner.to_owned(),
        (path, None) => path.to_owned(),
        // The path of a field that is not known, or twice there, already ends in it.
        (path, Some(inner)) if path == inner || path.ends_with(&format!(".{inner}")) => path.to_owned(),
        (path, Some(inner)) => format!("{path}.{inner}"),
    };
    Problem::invalid(field, message)
}

fn is_field_path(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'[' | b']' | b'?');
    !path.is_empty() && path.bytes().all(allowed)
}

/// The text of the innermost cause that tells the path, without the prefixes that each layer puts before it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let prefixes = [
        "Failed to deserialize the JSON body into the target type: ",
        "Failed to parse the request body as JSON: ",
        "Failed to deserialize query string: ",
    ];
    let stripped = prefixes.into_iter().find_map(|prefix| text.strip_prefix(prefix));
    stripped.unwrap_or(&text).to_owned()
}
