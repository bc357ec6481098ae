//! Endpoints and deliveries, and what an attempt makes of a delivery.

use std::str::FromStr;

use kiki_types::UnixMillis;
use kiki_types::id::{DeliveryId, WebhookId};

use super::event::EventKind;
use super::secret::SigningSecret;

/// Endpoints of a tenant at the most.
pub(crate) const ENDPOINTS_MAX: usize = 100;
/// Deliveries that wait for one endpoint at the most; what comes then is dropped and counted.
pub(crate) const ENDPOINT_WAITING_MAX: i64 = 10_000;
/// Deliveries that wait for all endpoints of a tenant at the most.
pub(crate) const TENANT_WAITING_MAX: i64 = 100_000;
/// How long a replaced secret signs as well: 24 hours.
pub(crate) const OLD_SECRET_MS: i64 = 24 * 60 * 60 * 1000;

/// Seconds between an attempt and the next: the example of Standard Webhooks 1.0.0, "Deliverability and reliability".
const PAUSES_S: [i64; 9] = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600];
/// The longest time that a receiver may ask us to wait: a day.
const RETRY_AFTER_MS_MAX: i64 = 24 * 3600 * 1000;
/// An endpoint is disabled when for so long, and at so many attempts, nothing but failures came.
const FAILING_MS_MAX: i64 = 5 * 24 * 3600 * 1000;
const FAILURES_MIN: i64 = 10;

/// Why nothing is sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disabled {
    /// It answered 410 Gone.
    Gone,
    /// It failed for days.
    Failing,
}

impl Disabled {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

impl FromStr for Disabled {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "gone" => Ok(Self::Gone),
            "failing" => Ok(Self::Failing),
            _ => Err("is no reason"),
        }
    }
}

/// Who is told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) id: WebhookId,
    pub(crate) url: String,
    pub(crate) description: String,
    /// Empty: all.
    pub(crate) events: Vec<EventKind>,
    pub(crate) secret: SigningSecret,
    /// Signs as well until then.
    pub(crate) old_secret: Option<(SigningSecret, UnixMillis)>,
    pub(crate) created_at: UnixMillis,
    pub(crate) active_since: UnixMillis,
    pub(crate) disabled: Option<Disabled>,
    pub(crate) failures: Failures,
    pub(crate) dropped: i64,
}

impl Endpoint {
    /// Whether it is told of an event of `kind` that happened at `at`.
    pub(crate) fn wants(&self, kind: EventKind, at: UnixMillis) -> bool {
        let is_named = self.events.is_empty() || self.events.contains(&kind);
        self.disabled.is_none() && is_named && at >= self.active_since
    }

    /// The header `webhook-signature`: under its secret, and while that is fresh under the one before.
    pub(crate) fn signatures(&self, id: DeliveryId, now: UnixMillis, body: &str) -> String {
        let (id, seconds) = (id.to_string(), now.0.div_euclid(1000));
        let signature = self.secret.sign(&id, seconds, body);
        match &self.old_secret {
            Some((old, until)) if now < *until => format!("{signature} {}", old.sign(&id, seconds, body)),
            _ => signature,
        }
    }
}

/// The failures of an endpoint since its last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) count: i64,
    /// 0 if there is none.
    pub(crate) since: UnixMillis,
}

impl Failures {
    /// One more.
    pub(crate) fn and_now(self, now: UnixMillis) -> Self {
        let since = if self.count == 0 { now } else { self.since };
        Self { count: self.count.saturating_add(1), since }
    }

    /// Whether nothing more is to be sent there.
    pub(crate) fn are_too_many(self, now: UnixMillis) -> bool {
        self.count >= FAILURES_MIN && now >= self.since.plus(FAILING_MS_MAX)
    }
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is, or will be, tried.
    Pending,
    /// The endpoint answered 2xx.
    Delivered,
    /// It is not tried any more by itself.
    Failed,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for State {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        [Self::Pending, Self::Delivered, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or("is no state")
    }
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The header `webhook-id`.
    pub(crate) id: DeliveryId,
    pub(crate) endpoint: WebhookId,
    pub(crate) event: EventKind,
    pub(crate) body: String,
    pub(crate) created_at: UnixMillis,
    pub(crate) state: State,
    /// Attempts that were begun.
    pub(crate) attempts: i64,
    pub(crate) due_at: UnixMillis,
    pub(crate) last: Option<Attempt>,
    /// 0 while it is pending.
    pub(crate) ended_at: UnixMillis,
}

impl Delivery {
    /// A delivery that is due at once.
    pub(crate) fn new(id: DeliveryId, endpoint: WebhookId, event: EventKind, body: String, now: UnixMillis) -> Self {
        Self {
            id,
            endpoint,
            event,
            body,
            created_at: now,
            state: State::Pending,
            attempts: 0,
            due_at: now,
            last: None,
            ended_at: UnixMillis(0),
        }
    }
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It was answered, with the time that the receiver asks us to wait.
    Answered { status: u16, retry_after_ms: Option<i64> },
    /// It was not, and why.
    Unanswered(String),
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It arrived.
    Delivered,
    /// It is tried again then.
    Again(UnixMillis),
    /// It has failed for good.
    Failed,
    /// It has failed, and the endpoint wants nothing any more.
    Gone,
}

impl Attempt {
    /// What follows from this attempt, the `attempts`th, that ended `now`. `jitter` spreads those that failed together.
    pub(crate) fn next(&self, attempts: i64, now: UnixMillis, jitter: u16) -> Next {
        let asked_ms = match self {
            Self::Answered { status: 200..=299, .. } => return Next::Delivered,
            Self::Answered { status: 410, .. } => return Next::Gone,
            Self::Answered { retry_after_ms, .. } => retry_after_ms.unwrap_or(0).clamp(0, RETRY_AFTER_MS_MAX),
            Self::Unanswered(_) => 0,
        };
        let pause = usize::try_from(attempts - 1).ok().and_then(|index| PAUSES_S.get(index));
        pause.map_or(Next::Failed, |pause| Next::Again(now.plus(spread(pause * 1000, jitter).max(asked_ms))))
    }
}

/// `pause_ms` and up to a fifth more.
const fn spread(pause_ms: i64, jitter: u16) -> i64 {
    pause_ms + pause_ms / 5 * jitter as i64 / u16::MAX as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_770_287_400_000);

    fn answered(status: u16) -> Attempt {
        Attempt::Answered { status, retry_after_ms: None }
    }

    #[test]
    fn a_delivery_is_tried_ten_times_over_three_days_and_then_fails() {
        let (mut at, mut attempts) = (NOW, 1);
        while let Next::Again(next) = answered(500).next(attempts, at, 0) {
            (at, attempts) = (next, attempts + 1);
        }
        assert_eq!((attempts, at.0 - NOW.0), (10, (75 * 3600 + 35 * 60 + 5) * 1000));
        assert_eq!(answered(500).next(2, NOW, u16::MAX), Next::Again(NOW.plus(6 * 60_000)), "at most a fifth later");
    }

    #[test]
    fn only_2xx_is_delivered_and_410_is_the_end() {
        for status in [200, 204, 299] {
            assert_eq!(answered(status).next(1, NOW, 0), Next::Delivered);
        }
        for status in [199, 301, 302, 308, 400, 404, 429, 500, 503] {
            assert_eq!(answered(status).next(1, NOW, 0), Next::Again(NOW.plus(5_000)), "{status}");
        }
        assert_eq!(answered(410).next(1, NOW, 0), Next::Gone);
        assert_eq!(Attempt::Unanswered(String::new()).next(10, NOW, 0), Next::Failed);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_less_or_for_ever() {
        let next =
            |retry_after_ms| Attempt::Answered { status: 503, retry_after_ms: Some(retry_after_ms) }.next(1, NOW, 0);
        assert_eq!(next(60_000), Next::Again(NOW.plus(60_000)));
        assert_eq!(next(1_000), Next::Again(NOW.plus(5_000)));
        assert_eq!(next(-1), Next::Again(NOW.plus(5_000)));
        assert_eq!(next(i64::MAX), Next::Again(NOW.plus(RETRY_AFTER_MS_MAX)));
    }

    #[test]
    fn an_endpoint_that_fails_for_five_days_has_failed_too_often() {
        let mut failures = Failures::default();
        for _ in 0..FAILURES_MIN - 1 {
            failures = failures.and_now(NOW);
        }
        let late = NOW.plus(FAILING_MS_MAX);
        assert!(!failures.are_too_many(late), "few attempts say little");
        failures = failures.and_now(late);
        assert!(failures.are_too_many(late) && !failures.are_too_many(late.plus(-1)));
    }
}
