//! The fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): each limit on the path that
//! counts, how much of it remains, and when more does.
//!
//! A quota of money is counted in millionths of the currency. Structured fields carry integers of at most 15 digits; a
//! larger number is told as the largest.

use std::fmt::Write as _;

use axum::response::{IntoResponseParts, ResponseParts};
use http::{HeaderName, HeaderValue};
use kiki_spend::LimitKind;
use kiki_spend::owner::Decision;

use crate::names::public_name;

/// The largest integer of a structured field.
const INTEGER_MAX: i128 = 999_999_999_999_999;
/// Limits that are told at the most: a field should stay short.
const LIMITS_MAX: usize = 8;
/// What one limit mostly fits into.
const ITEM_BYTES_USUAL: usize = 64;

/// The fields, for an answer.
pub(super) struct RateLimit(Vec<(HeaderName, HeaderValue)>);

impl IntoResponseParts for RateLimit {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.headers_mut().extend(self.0);
        Ok(parts)
    }
}

pub(super) fn rate_limit(decision: &Decision) -> RateLimit {
    RateLimit(fields(decision))
}

/// `RateLimit-Policy` and `RateLimit`; none where no limit on the path counts.
pub(super) fn fields(decision: &Decision) -> Vec<(HeaderName, HeaderValue)> {
    let counting = decision.standings.iter().filter(|standing| !standing.is_shadow);
    let counting = counting.filter_map(|standing| Some((standing, standing.room?))).take(LIMITS_MAX);
    let (mut policies, mut states) = (List::default(), List::default());
    for (standing, room) in counting {
        policies.begin(&standing.limit);
        policies.parameter("q", room.most.into());
        if let LimitKind::Window { seconds, .. } | LimitKind::Velocity { seconds, .. } = standing.kind {
            policies.parameter("w", seconds.into());
        }
        states.begin(&standing.limit);
        states.parameter("r", room.remaining);
        if let Some(at) = standing.frees_at {
            let millis = u64::try_from(at.saturating_sub(decision.at)).unwrap_or_default();
            states.parameter("t", millis.div_ceil(1000).into());
        }
    }
    let named = [("ratelimit-policy", policies), ("ratelimit", states)].into_iter();
    let fields = named.filter(|(_, list)| !list.0.is_empty());
    fields.filter_map(|(name, list)| Some((HeaderName::from_static(name), list.0.try_into().ok()?))).collect()
}

/// A list of structured fields (RFC 9651), each a string with parameters.
#[derive(Default)]
struct List(String);

impl List {
    fn begin(&mut self, limit: &str) {
        let text = &mut self.0;
        if text.is_empty() {
            text.reserve(ITEM_BYTES_USUAL);
        } else {
            text.push_str(", ");
        }
        text.push('"');
        text.push_str(public_name(limit));
        text.push('"');
    }

    fn parameter(&mut self, name: &str, value: i128) {
        let value = i64::try_from(value.clamp(-INTEGER_MAX, INTEGER_MAX)).unwrap_or_default();
        // Writing to a string does not fail.
        let _ = write!(self.0, ";{name}={value}");
    }
}
