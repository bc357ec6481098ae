//! What callers are told when a call did not do what was asked.
//!
//! The one distinction that matters most: a **denial** is an answer ([`Error::Denied`]), decided by the rules and on the
//! disk; **unavailable** ([`Error::Unavailable`], [`Error::Transport`]) means that nobody decided, or that the decision is not
//! known here.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use kiki_types::UnixMillis;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{Authorization, LimitStanding};

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The rules refuse. Asking again with the same key gets the same answer; [`Denial::passes_at`] says when a new
    /// request of this kind would pass.
    #[error("denied by {}", .0.refused_by.join(", "))]
    Denied(Box<Denial>),
    /// A person must approve first. The money is held meanwhile; see [`crate::Client::approve`].
    #[error("authorization {} waits for approval", .0.id)]
    Pending(Box<Authorization>),
    /// A person refused, or the wait for one ended. The state says which: `rejected`, `expired` or `voided`.
    #[error("authorization {} was not approved: it is {}", .0.id, .0.state)]
    NotApproved(Box<Authorization>),
    /// A policy grants less than the work needs; it was given back. [`crate::Spend::at_least`] says what it needs.
    #[error("only {} is granted by authorization {}", .0.amount, .0.id)]
    Degraded(Box<Authorization>),
    /// The request's key belongs to an authorization that has ended: what it was for has been done, or given up.
    #[error("authorization {} is {} already", .0.id, .0.state)]
    Ended(Box<Authorization>),
    /// The request contradicts what happened before: the key was used for another request, or the authorization has
    /// ended already ([`Problem::state`]).
    #[error("{0}")]
    Conflict(Box<Problem>),
    /// A field is wrong; [`Problem::field`] names it.
    #[error("{0}")]
    Invalid(Box<Problem>),
    /// There is no such thing for this tenant.
    #[error("{0}")]
    NotFound(Box<Problem>),
    /// The API key is missing or wrong, or does not permit this.
    #[error("{0}")]
    Unauthorized(Box<Problem>),
    /// Nobody decided: the service, or what it needs, is away or busy, and was at each attempt.
    #[error("nobody decided: {problem}")]
    Unavailable {
        /// What the service said.
        problem: Box<Problem>,
        /// When it asks to be called again.
        retry_after: Option<Duration>,
    },
    /// No answer came. What was asked may have been done unless [`Transport::was_sent`] is false.
    #[error("no answer: {0}")]
    Transport(Transport),
    /// An answer that this version of the SDK does not understand.
    #[error("unexpected answer {status}: {detail}")]
    Unexpected {
        /// Its HTTP status.
        status: StatusCode,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// The problem that the service told, if it told one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Denied(denial) => Some(&denial.problem),
            Self::Conflict(problem)
            | Self::Invalid(problem)
            | Self::NotFound(problem)
            | Self::Unauthorized(problem)
            | Self::Unavailable { problem, .. } => Some(problem),
            Self::Pending(_)
            | Self::NotApproved(_)
            | Self::Ended(_)
            | Self::Degraded(_)
            | Self::Transport(_)
            | Self::Unexpected { .. } => None,
        }
    }

    /// The stable name of the problem, such as `authority_unavailable`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.problem().map(|problem| problem.code.as_str())
    }

    /// Leads to the request in the service's log.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.problem()?.request_id.as_deref()
    }

    /// Whether it is not known here what became of the request. Repeating it with the same idempotency key is safe.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Unexpected { .. } => true,
            Self::Transport(transport) => transport.was_sent,
            _ => false,
        }
    }

    /// The state that the authorization has ended in, if that is the conflict.
    pub(crate) fn ended_as(&self) -> Option<&str> {
        match self {
            Self::Conflict(problem) => problem.state(),
            _ => None,
        }
    }
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// What failed, for a person.
    pub detail: String,
    /// Whether the request may have reached the service.
    pub was_sent: bool,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

/// An RFC 9457 problem.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(skip)]
    pub status: StatusCode,
    /// The stable name, for programs.
    #[serde(default)]
    pub code: String,
    /// What is wrong, for a person.
    #[serde(default)]
    pub detail: String,
    /// The field that is wrong, if it is one.
    #[serde(default)]
    pub field: Option<String>,
    /// Leads to the request in the service's log.
    #[serde(default)]
    pub request_id: Option<String>,
    /// What else was told; depends on the code.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Problem {
    /// The state of an authorization that has ended already.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.extra.get("state").and_then(Value::as_str)
    }

    fn time(&self, name: &str) -> Option<UnixMillis> {
        UnixMillis::parse_rfc3339(self.extra.get(name)?.as_str()?).ok()
    }

    fn list<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Vec<T> {
        let value = self.extra.get(name).cloned().unwrap_or_default();
        serde_json::from_value(value).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.detail, self.status.as_u16(), self.code)
    }
}

/// A denial with all that explains it.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// What refused: ids of budgets, or `stopped`, `consent`, `policy`, `four_eyes`.
    pub refused_by: Vec<String>,
    /// Each limit that was looked at: used, held, what remains, whether it refuses.
    pub limits: Vec<LimitStanding>,
    /// When the same request would pass, if nothing else happens; absent where waiting does not help.
    pub passes_at: Option<UnixMillis>,
    /// When more frees up under the tightest limit.
    pub frees_at: Option<UnixMillis>,
    /// How long to wait before a new request.
    pub retry_after: Option<Duration>,
    /// The problem as told.
    pub problem: Problem,
}

impl Denial {
    pub(crate) fn new(problem: Problem, retry_after: Option<Duration>) -> Self {
        Self {
            refused_by: problem.list("refused_by"),
            limits: problem.list("limits"),
            passes_at: problem.time("passes_at"),
            frees_at: problem.time("frees_at"),
            retry_after,
            problem,
        }
    }

    /// Whether `name` is among what refused.
    #[must_use]
    pub fn is_by(&self, name: &str) -> bool {
        self.refused_by.iter().any(|refused| refused == name)
    }
}

/// The code of an answer to a request whose first try has not ended.
const IN_PROGRESS: &str = "idempotency_in_progress";

/// The error of an answer that is no success.
pub(crate) fn of_answer(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Error {
    let Ok(mut problem) = serde_json::from_slice::<Problem>(body) else {
        return of_a_stranger(status, retry_after);
    };
    problem.status = status;
    match status {
        StatusCode::FORBIDDEN if problem.extra.contains_key("refused_by") => {
            Error::Denied(Box::new(Denial::new(problem, retry_after)))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Unauthorized(Box::new(problem)),
        StatusCode::NOT_FOUND => Error::NotFound(Box::new(problem)),
        // What it comes to is not known yet.
        StatusCode::CONFLICT if problem.code == IN_PROGRESS => {
            Error::Unavailable { problem: Box::new(problem), retry_after }
        }
        StatusCode::CONFLICT => Error::Conflict(Box::new(problem)),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            Error::Unavailable { problem: Box::new(problem), retry_after }
        }
        status if status.is_client_error() => Error::Invalid(Box::new(problem)),
        status => Error::Unexpected { status, detail: problem.to_string() },
    }
}

/// An answer that is no problem document comes from something in between, such as a load balancer.
fn of_a_stranger(status: StatusCode, retry_after: Option<Duration>) -> Error {
    let detail = "the answer is not from KIKI".to_owned();
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            let problem =
                Problem { status, code: String::new(), detail, field: None, request_id: None, extra: Map::new() };
            Error::Unavailable { problem: Box::new(problem), retry_after }
        }
        status => Error::Unexpected { status, detail },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(status: u16, body: &Value) -> Error {
        of_answer(StatusCode::from_u16(status).unwrap(), Some(Duration::from_secs(7)), body.to_string().as_bytes())
    }

    #[test]
    fn a_denial_tells_what_refused_and_when_it_would_pass() {
        let body = json!({"code": "denied", "detail": "no", "request_id": "r1", "refused_by": ["burst"],
            "passes_at": "2026-02-05T10:30:00.000Z",
            "limits": [{"id": "burst", "kind": "window", "limit": "5.00", "used": "1.00", "held": "4.00",
                "remaining": "0.00", "refuses": true, "of_tomorrow": 1}]});
        let Error::Denied(denial) = told(403, &body) else { panic!("not denied") };
        assert!(denial.is_by("burst") && denial.limits[0].refuses);
        assert_eq!(denial.passes_at.unwrap().rfc3339(), "2026-02-05T10:30:00.000Z");
        assert_eq!(denial.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(Error::Denied(denial).request_id(), Some("r1"));
    }

    #[test]
    fn a_missing_permission_is_no_denial_of_money() {
        assert!(matches!(told(403, &json!({"code": "permission_denied"})), Error::Unauthorized(_)));
    }

    #[test]
    fn nobody_decided_is_told_apart_from_denied() {
        let away = told(503, &json!({"code": "authority_unavailable", "detail": "nobody"}));
        assert!(away.is_undecided() && away.code() == Some("authority_unavailable"));
        assert!(!told(403, &json!({"refused_by": []})).is_undecided());
        assert!(matches!(of_answer(StatusCode::BAD_GATEWAY, None, b"<html>"), Error::Unexpected { .. }));
        assert!(matches!(of_answer(StatusCode::SERVICE_UNAVAILABLE, None, b"busy"), Error::Unavailable { .. }));
    }

    #[test]
    fn a_conflict_says_how_the_authorization_ended() {
        let ended = told(409, &json!({"code": "already_resolved", "state": "expired"}));
        assert_eq!(ended.ended_as(), Some("expired"));
        assert_eq!(told(409, &json!({"code": "idempotency_conflict"})).ended_as(), None);
    }
}
