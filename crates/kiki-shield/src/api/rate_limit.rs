//! The fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): each limit on the path that
//! counts, how much of it remains, and when more does.
//!
//! A quota of money is counted in millionths of the currency. Structured fields carry integers of at most 15 digits; a
//! larger number is told as the largest.

use axum::response::{IntoResponseParts, ResponseParts};
use http::{HeaderName, HeaderValue};
use kiki_spend::owner::Decision;
use kiki_spend::{LimitKind, Standing};

use crate::names::public_name;

/// The largest integer of a structured field.
const INTEGER_MAX: i128 = 999_999_999_999_999;
/// Limits that are told at the most: a field should stay short.
const LIMITS_MAX: usize = 8;

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
    let counting = decision.standings.iter().filter(|standing| !standing.is_shadow && standing.room.is_some());
    let (policies, states): (Vec<_>, Vec<_>) =
        counting.take(LIMITS_MAX).map(|standing| (policy(standing), state(standing, decision.at))).unzip();
    let named = [("ratelimit-policy", policies), ("ratelimit", states)].into_iter();
    let fields = named
        .filter(|(_, items)| !items.is_empty())
        .map(|(name, items)| Some((HeaderName::from_static(name), HeaderValue::from_str(&items.join(", ")).ok()?)));
    fields.flatten().collect()
}

fn policy(standing: &Standing) -> String {
    let most = standing.room.map_or(0, |room| i128::from(room.most).min(INTEGER_MAX));
    let name = public_name(&standing.limit);
    match standing.kind {
        LimitKind::Window { seconds, .. } | LimitKind::Velocity { seconds, .. } => {
            format!("\"{name}\";q={most};w={seconds}")
        }
        _ => format!("\"{name}\";q={most}"),
    }
}

fn state(standing: &Standing, now: i64) -> String {
    let remaining = standing.room.map_or(0, |room| room.remaining.min(INTEGER_MAX));
    let name = public_name(&standing.limit);
    match standing.frees_at {
        Some(at) => {
            let seconds = u64::try_from(at.saturating_sub(now)).unwrap_or_default().div_ceil(1000);
            format!("\"{name}\";r={remaining};t={seconds}")
        }
        None => format!("\"{name}\";r={remaining}"),
    }
}
