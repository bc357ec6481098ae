//! Calls over HTTP: one place that authenticates, bounds, retries and reads answers.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::connect::Connector;
use crate::error::{Error, Transport, of_answer};
use crate::retry::{Attempt, Retry};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;
const AGENT: &str = concat!("kiki-client/", env!("CARGO_PKG_VERSION"));

/// Fills its argument with random bytes.
pub(crate) type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What all calls of a client share.
#[derive(Clone)]
pub(crate) struct Settings {
    /// Scheme, authority and the path before `/v1`, without a slash at its end.
    pub(crate) base: String,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) connector: Connector,
    /// For one attempt.
    pub(crate) timeout: Duration,
    /// For a call with all its attempts.
    pub(crate) deadline: Duration,
    pub(crate) retry: Retry,
    pub(crate) random: Random,
}

impl Settings {
    fn number(&self) -> u32 {
        let mut bytes = [0; 4];
        (self.random)(&mut bytes);
        u32::from_ne_bytes(bytes)
    }

    /// An idempotency key that nobody used before: 128 random bits.
    pub(crate) fn key(&self) -> String {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        format!("{:032x}", u128::from_be_bytes(bytes))
    }
}

/// Makes calls. Its connections live on the runtime that makes the first call.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) settings: Arc<Settings>,
    http: HttpClient<Connector, Full<Bytes>>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("base", &self.settings.base).finish_non_exhaustive()
    }
}

/// A call that can be made, more than once if need be: it reads, or a key or a state makes it count once.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Bytes>,
    key: Option<String>,
    deadline: Option<Duration>,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), body: None, key: None, deadline: None }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>, key: String) -> Self {
        Self { key: Some(key), ..Self::new(Method::POST, path) }
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        // A map of texts and numbers always has a JSON text.
        self.body = serde_json::to_vec(body).ok().map(Bytes::from);
        self
    }

    /// Tried for this long instead of the client's deadline.
    pub(crate) fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

impl Api {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        let mut builder = HttpClient::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30));
        let http = builder.build(settings.connector.clone());
        Self { settings, http }
    }

    /// Makes the call and reads its answer.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        let (status, body) = self.answer(call).await?;
        read(status, &body)
    }

    /// Makes the call until it is answered with success, or an error that repeating cannot change, or time is over.
    pub(crate) fn answer(&self, call: &Call) -> impl Future<Output = Result<(StatusCode, Bytes), Error>> + Send {
        Box::pin(async move {
            let ends = Instant::now() + call.deadline.unwrap_or(self.settings.deadline);
            let mut made = 0;
            let mut may_have_arrived = false;
            loop {
                let left = ends.saturating_duration_since(Instant::now());
                let mut error = match self.attempt(call, left.min(self.settings.timeout)).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                };
                if let Error::Transport(lost) = &mut error {
                    may_have_arrived |= lost.was_sent;
                }
                made += 1;
                let left = ends.saturating_duration_since(Instant::now());
                let attempt = Attempt { made, left, random: self.settings.number() };
                let Some(wait) = self.settings.retry.after(&error, attempt) else {
                    if let Error::Transport(lost) = &mut error {
                        lost.was_sent = may_have_arrived;
                    }
                    return Err(error);
                };
                tracing::debug!(%error, ?wait, path = call.path, "trying again");
                tokio::time::sleep(wait).await;
            }
        })
    }

    async fn attempt(&self, call: &Call, timeout: Duration) -> Result<(StatusCode, Bytes), Error> {
        let request = self.request(call)?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| {
                let was_sent = !error.is_connect();
                lost(format!("{}: {}", self.settings.base, causes(&error)), was_sent)
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| lost(error.to_string(), true))?.to_bytes();
            Ok((head, body))
        };
        let answered = tokio::time::timeout(timeout, exchange).await;
        let (head, body) =
            answered.map_err(|_| lost(format!("{}: nothing within {timeout:?}", self.settings.base), true))??;
        if head.status.is_success() {
            return Ok((head.status, body));
        }
        Err(of_answer(head.status, retry_after(&head.headers), &body))
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Error> {
        let uri = format!("{}{}", self.settings.base, call.path);
        let mut builder = Request::builder().method(&call.method).uri(uri).header(USER_AGENT, AGENT);
        builder = builder.header(ACCEPT, "application/json");
        if let Some(authorization) = &self.settings.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if let Some(key) = &call.key {
            builder = builder.header("idempotency-key", key);
        }
        if call.body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        let body = call.body.clone().unwrap_or_default();
        builder.body(Full::new(body)).map_err(|error| lost(format!("cannot be asked for: {error}"), false))
    }
}

/// Reads an answer of success.
pub(crate) fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, Error> {
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| Error::Unexpected { status, detail: error.to_string() })
}

fn lost(detail: String, was_sent: bool) -> Error {
    Error::Transport(Transport { detail, was_sent })
}

const CAUSES_MAX: usize = 8;

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (**error).source()).take(CAUSES_MAX);
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// `Retry-After` in seconds. Its other form, a date, is not sent by KIKI.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// `text` as part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Scheme, authority and path of an address, without a slash at its end.
pub(crate) fn base_of(address: &str) -> Result<String, String> {
    let uri: Uri = address.parse().map_err(|_| "is not an address such as http://127.0.0.1:8081".to_owned())?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let Some(authority) = uri.authority() else { return Err("names no host".to_owned()) };
    if uri.query().is_some() {
        return Err("has a query".to_owned());
    }
    match scheme {
        "http" => {}
        "https" if cfg!(feature = "tls") => {}
        "https" => return Err("is https, for which this was built without: turn on the feature `tls`".to_owned()),
        _ => return Err("is neither http nor https".to_owned()),
    }
    Ok(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_is_sent() {
        assert_eq!(base_of("http://127.0.0.1:8081/").unwrap(), "http://127.0.0.1:8081");
        assert_eq!(base_of("https://kiki.local").is_ok(), cfg!(feature = "tls"));
        assert_eq!(base_of("http://kiki.local/gate/").unwrap(), "http://kiki.local/gate");
        for wrong in ["", "kiki.local", "ftp://kiki.local", "http://kiki.local/?a=1", "http://"] {
            assert!(base_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert_eq!(encoded("a/../b?c=ü"), "a%2F..%2Fb%3Fc%3D%C3%BC");
    }
}
