//! When a call is tried again: pure decisions, without a clock and without a wire.
//!
//! Only what nobody decided is tried again; an answer of the rules never is. A wait grows exactly twofold with full jitter,
//! so that callers who failed together do not come back together, and is never shorter than what the service asks for.
//! What does not fit into the deadline is not begun.

use std::time::Duration;

use http::StatusCode;

use crate::error::Error;

/// How often, how soon and how long calls are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts of one call, the first included.
    pub attempts_max: u32,
    /// The longest wait before the second attempt; it doubles from there.
    pub wait: Duration,
    /// No wait grows beyond this, unless the service asks for more.
    pub wait_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 6, wait: Duration::from_millis(100), wait_max: Duration::from_secs(5) }
    }
}

impl Retry {
    /// Each call is made once.
    pub const NEVER: Self = Self { attempts_max: 1, wait: Duration::ZERO, wait_max: Duration::ZERO };
}

/// Where a call stands after a failed attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Attempts made, at least 1.
    pub(crate) made: u32,
    /// What is left of the call's deadline.
    pub(crate) left: Duration,
    /// 0 to `u32::MAX`, evenly.
    pub(crate) random: u32,
}

impl Retry {
    /// How long to wait before the next attempt; `None` ends the call with `error`.
    pub(crate) fn after(&self, error: &Error, attempt: Attempt) -> Option<Duration> {
        if attempt.made >= self.attempts_max {
            return None;
        }
        let asked_for = match error {
            Error::Unavailable { retry_after, .. } => retry_after.unwrap_or_default(),
            Error::Transport(_) => Duration::ZERO,
            Error::Unexpected { status: StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, .. } => Duration::ZERO,
            _ => return None,
        };
        let wait = asked_for.saturating_add(self.jittered(attempt));
        (wait < attempt.left).then_some(wait)
    }

    fn jittered(&self, attempt: Attempt) -> Duration {
        let doubled = self.wait.saturating_mul(1 << (attempt.made - 1).min(20));
        let most = u64::try_from(doubled.min(self.wait_max).as_nanos()).unwrap_or(u64::MAX);
        let part = u128::from(most) * u128::from(attempt.random) / u128::from(u32::MAX);
        Duration::from_nanos(u64::try_from(part).unwrap_or(most))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::{Transport, of_answer};

    const LONG: Duration = Duration::from_secs(3600);

    fn answered(status: u16, retry_after: Option<u64>) -> Error {
        let body = json!({"code": "x", "refused_by": ["b"]}).to_string();
        of_answer(StatusCode::from_u16(status).unwrap(), retry_after.map(Duration::from_secs), body.as_bytes())
    }

    fn lost() -> Error {
        Error::Transport(Transport { detail: String::new(), was_sent: true })
    }

    fn after(error: &Error) -> Option<Duration> {
        Retry::default().after(error, Attempt { made: 1, left: LONG, random: 0 })
    }

    #[test]
    fn only_what_nobody_decided_is_tried_again() {
        for status in [400, 401, 403, 404, 409, 413, 500] {
            assert_eq!(after(&answered(status, None)), None, "{status}");
        }
        for status in [429, 502, 503, 504] {
            assert!(after(&answered(status, None)).is_some(), "{status}");
        }
        assert!(after(&lost()).is_some());
        let body = json!({"code": "idempotency_in_progress"}).to_string();
        let in_progress = of_answer(StatusCode::CONFLICT, Some(Duration::from_secs(1)), body.as_bytes());
        assert_eq!(after(&in_progress), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_service_is_not_asked_before_it_wants_to_be() {
        assert_eq!(after(&answered(503, Some(3))), Some(Duration::from_secs(3)));
        let late = Attempt { made: 1, left: Duration::from_secs(3), random: 0 };
        assert_eq!(Retry::default().after(&answered(503, Some(3)), late), None);
    }

    #[test]
    fn waits_double_up_to_a_bound_and_attempts_end() {
        let retry = Retry { attempts_max: 40, ..Retry::default() };
        let wait = |made| {
            let attempt = Attempt { made, left: LONG, random: u32::MAX };
            retry.after(&lost(), attempt).map(|wait| wait.as_millis())
        };
        assert_eq!(
            [wait(1), wait(2), wait(3), wait(39), wait(40)],
            [Some(100), Some(200), Some(400), Some(5000), None]
        );
    }
}
