//! What identifies a request while it travels: its `X-Request-ID` and its W3C trace (`traceparent`).
//!
//! Both are taken from the caller when they are well formed and made otherwise, so a context is always valid. The
//! service layer runs each request within its context ([`RequestContext::scope`]); what happens inside finds it with
//! [`RequestContext::current`], and calls to others carry it with [`outgoing_headers`].
//!
//! A caller may put anything into its request's id, a person's address too. It goes back to the caller as it came; what is
//! written down has [`RequestContext::logged_id`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use kiki_types::IdSource;
use uuid::Uuid;
use uuid::fmt::{Hyphenated, Simple};

/// The header that carries a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header that carries a request's place in a trace (W3C Trace Context, 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const REQUEST_ID_BYTES_MAX: usize = 128;
const TRACEPARENT_BYTES: usize = 55;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The identity of one request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    request_id: HeaderValue,
    traceparent: HeaderValue,
    awaits_body: AtomicBool,
}

impl RequestContext {
    /// The identity that `headers` ask for, completed with fresh ids.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, ids: &dyn IdSource) -> Self {
        let given_id = headers.get(REQUEST_ID).filter(|id| is_sane_request_id(id.as_bytes()));
        let request_id = given_id.cloned().unwrap_or_else(|| fresh_id(ids.uuid()));
        let given_trace = headers.get(TRACEPARENT).and_then(|value| parse_traceparent(value.as_bytes()));
        let span = ids.uuid();
        let traceparent = match given_trace {
            Some((trace_id, flags)) => traceparent(trace_id, span, flags),
            None => traceparent(ids.uuid().simple().encode_lower(&mut [0; Simple::LENGTH]), span, "01"),
        };
        Self(Arc::new(Identity { request_id, traceparent, awaits_body: AtomicBool::new(false) }))
    }

    /// The identity of work that nobody asked for, such as a job that runs by itself.
    #[must_use]
    pub fn fresh(ids: &dyn IdSource) -> Self {
        Self::from_headers(&HeaderMap::new(), ids)
    }

    /// The context of the request that is being answered by this task, if there is one.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs `future` within this context.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// The request's id: visible ASCII, at most 128 bytes.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.0.request_id.to_str().unwrap_or_default()
    }

    /// The request's id as the log may show it: as it is if it is a UUID, otherwise `-`. The trace's id, which a caller
    /// cannot choose freely, leads to the same lines.
    #[must_use]
    pub fn logged_id(&self) -> &str {
        let id = self.request_id();
        if Uuid::try_parse(id).is_ok() { id } else { "-" }
    }

    /// The trace's id: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        self.0.traceparent.to_str().ok().and_then(|text| text.get(3..35)).unwrap_or_default()
    }

    /// Notes whether the request waits for its own body, so that a lack of time is laid to who is slow.
    pub(crate) fn set_awaits_body(&self, awaits: bool) {
        self.0.awaits_body.store(awaits, Ordering::Relaxed);
    }

    /// Whether the request waits for its own body.
    pub(crate) fn awaits_body(&self) -> bool {
        self.0.awaits_body.load(Ordering::Relaxed)
    }

    /// Writes both headers into `headers`, for an answer or for a call to somebody else.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.0.request_id.clone());
        headers.insert(TRACEPARENT, self.0.traceparent.clone());
    }
}

/// The headers that carry the current context on; empty outside a request.
#[must_use]
pub fn outgoing_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(context) = RequestContext::current() {
        context.write_to(&mut headers);
    }
    headers
}

fn is_sane_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn text_header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

fn fresh_id(id: Uuid) -> HeaderValue {
    text_header(id.hyphenated().encode_lower(&mut [0; Hyphenated::LENGTH]))
}

fn traceparent(trace_id: &str, span: Uuid, flags: &str) -> HeaderValue {
    // The last eight bytes of a UUIDv7 are random but for the two bits of its variant, and so never all zero.
    let mut digits = [0; Simple::LENGTH];
    let (_, span_id) = span.simple().encode_lower(&mut digits).split_at(Simple::LENGTH / 2);
    let mut text = String::with_capacity(TRACEPARENT_BYTES);
    for part in ["00-", trace_id, "-", span_id, "-", flags] {
        text.push_str(part);
    }
    text_header(&text)
}

/// The trace id and the flags of a valid header. A version later than 00 is read as 00, as the standard demands (3.2.2.1).
fn parse_traceparent(value: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(value).ok()?;
    let known = text.get(..TRACEPARENT_BYTES)?;
    let later = &text[TRACEPARENT_BYTES..];
    let mut parts = known.split('-');
    let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = match version {
        "00" => later.is_empty(),
        "ff" => false,
        _ => later.is_empty() || later.starts_with('-'),
    };
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    let valid = whole
        && hex(version, 2)
        && hex(trace_id, 32)
        && hex(span_id, 16)
        && hex(flags, 2)
        && some(trace_id)
        && some(span_id)
        && parts.next().is_none();
    valid.then_some((trace_id, flags))
}

impl fmt::Display for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.request_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CountingIds;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(headers: &[(HeaderName, &str)]) -> RequestContext {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        RequestContext::from_headers(&headers, &CountingIds::default())
    }

    #[test]
    fn a_sane_request_id_is_kept_and_another_is_replaced() {
        assert_eq!(context(&[(REQUEST_ID, "order-17")]).request_id(), "order-17");
        for bad in ["", "two words", "tab\there", &"x".repeat(129)] {
            assert_eq!(context(&[(REQUEST_ID, bad)]).request_id(), "00000000-0000-7000-8000-000000000001", "{bad:?}");
        }
    }

    #[test]
    fn only_an_id_that_is_a_uuid_is_written_down() {
        let uuid = "0190d3b0-0000-7000-8000-000000000001";
        assert_eq!(context(&[(REQUEST_ID, uuid)]).logged_id(), uuid);
        for named in ["ann.miller@example.com", "order-17", "00042"] {
            assert_eq!(context(&[(REQUEST_ID, named)]).logged_id(), "-", "{named}");
        }
    }

    #[test]
    fn a_valid_trace_is_continued_with_a_span_of_its_own() {
        let mut headers = HeaderMap::new();
        context(&[(TRACEPARENT, TRACE)]).write_to(&mut headers);
        let sent = headers[TRACEPARENT].to_str().unwrap();
        assert!(sent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && sent.ends_with("-01"), "{sent}");
        assert!(!sent.contains("00f067aa0ba902b7"), "{sent}");
    }

    #[test]
    fn an_invalid_trace_starts_a_new_one() {
        let later = format!("{TRACE}-more");
        for bad in [
            "",
            "00-0",
            &TRACE.to_uppercase(),
            &TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &TRACE.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &TRACE.replacen("00", "ff", 1),
            &later,
        ] {
            let trace_id = context(&[(TRACEPARENT, bad)]).trace_id().to_owned();
            assert!(trace_id.len() == 32 && trace_id != "4bf92f3577b34da6a3ce929d0e0e4736", "{bad}: {trace_id}");
        }
        let newer = later.replacen("00", "cc", 1);
        assert_eq!(context(&[(TRACEPARENT, &newer)]).trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[tokio::test]
    async fn calls_made_within_a_request_carry_its_context() {
        assert!(outgoing_headers().is_empty());
        let sent = context(&[(REQUEST_ID, "a")]).scope(async { outgoing_headers() }).await;
        assert_eq!(sent[REQUEST_ID], "a");
        assert!(sent.contains_key(TRACEPARENT));
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_an_invalid_context(
            id in proptest::collection::vec(0x20..=0x7eu8, 0..200),
            trace in "\\PC{0,80}|00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,3}",
        ) {
            let mut headers = HeaderMap::new();
            for (name, value) in [(REQUEST_ID, id.as_slice()), (TRACEPARENT, trace.as_bytes())] {
                headers.extend(HeaderValue::from_bytes(value).ok().map(|value| (name, value)));
            }
            let context = RequestContext::from_headers(&headers, &CountingIds::default());
            proptest::prop_assert!(is_sane_request_id(context.request_id().as_bytes()));
            proptest::prop_assert!(parse_traceparent(context.0.traceparent.as_bytes()).is_some());
        }
    }
}
