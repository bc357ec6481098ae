//! The sender: takes deliveries that are due and posts them, a few at the same time.
//!
//! A delivery is taken under a lease before it is sent. After a crash it is due again when the lease ends, with the
//! attempt counted: the receiver may get it twice and knows it by its id.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use kiki_kit::egress::{Answer, Target};
use kiki_kit::shutdown::Tasks;
use kiki_store::StoreError;
use kiki_types::id::WebhookId;
use kiki_types::{TenantId, UnixMillis};

use super::{PAUSE, PAUSE_AFTER_FAILURE};
use crate::webhooks::model::{Attempt, Delivery, Disabled, Endpoint, Failures, Next, State};
use crate::webhooks::repo::{self, Busy};
use crate::webhooks::service::Webhooks;

/// Requests at the same time.
const SENDING_MAX: usize = 16;
/// Requests to one endpoint at the same time, so that a slow one does not keep the others waiting.
const SENDING_TO_ONE_MAX: usize = 2;
/// How long an attempt may take, the time for its request and for writing down what came of it.
const LEASE_MS: i64 = 60_000;
/// How long what has ended is kept: 30 days if it was delivered, 90 if it failed.
const KEPT_MS: [(State, i64); 2] = [(State::Delivered, 30 * DAY_MS), (State::Failed, 90 * DAY_MS)];
const DAY_MS: i64 = 24 * 3600 * 1000;
const PRUNE_EVERY_MS: i64 = 60_000;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Sends what is due until shutdown; each request is one of `tasks`, which the end waits for.
pub async fn deliver(webhooks: Webhooks, tasks: Tasks) {
    let shutdown = tasks.shutdown().clone();
    let mut sending = FuturesUnordered::new();
    let mut to: Vec<(TenantId, WebhookId)> = Vec::new();
    let mut pruned_at = UnixMillis(0);
    while !shutdown.is_draining() {
        let mut pause = PAUSE;
        match webhooks.claim_next(&to, &mut pruned_at).await {
            Ok(Some((tenant, delivery))) => {
                let receiver = (tenant.clone(), delivery.endpoint);
                to.push(receiver.clone());
                // A task of its own: taking the next one must not keep it from going on, since both write to SQL.
                let sent = tasks.spawn("webhook delivery", webhooks.clone().attempt(tenant, delivery));
                sending.push(async move {
                    drop(sent.await);
                    receiver
                });
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "deliveries wait");
                pause = PAUSE_AFTER_FAILURE;
            }
        }
        tokio::select! {
            () = shutdown.draining() => {}
            () = tokio::time::sleep(pause) => {}
            Some(receiver) = sending.next() => forget(&mut to, &receiver),
        }
    }
}

fn forget(to: &mut Vec<(TenantId, WebhookId)>, receiver: &(TenantId, WebhookId)) {
    if let Some(at) = to.iter().position(|one| one == receiver) {
        to.swap_remove(at);
    }
}

/// Who of `to` has as many requests under way as may be: a tenant no more than there are places left, so that the more are
/// taken, the fewer one with slow endpoints gets, and the others find some.
fn busy(to: &[(TenantId, WebhookId)]) -> Busy {
    let mut busy = Busy::default();
    let left = SENDING_MAX.saturating_sub(to.len());
    for (tenant, endpoint) in to {
        let to_endpoint = to.iter().filter(|(_, other)| other == endpoint).count();
        let for_tenant = to.iter().filter(|(other, _)| other == tenant).count();
        if to_endpoint >= SENDING_TO_ONE_MAX && !busy.endpoints.contains(endpoint) {
            busy.endpoints.push(*endpoint);
        }
        if for_tenant >= left && !busy.tenants.contains(tenant) {
            busy.tenants.push(tenant.clone());
        }
    }
    busy
}

impl Webhooks {
    /// Takes a delivery that is due, unless as many are being sent `to` endpoints as may be.
    async fn claim_next(
        &self,
        to: &[(TenantId, WebhookId)],
        pruned_at: &mut UnixMillis,
    ) -> Result<Option<(TenantId, Delivery)>, StoreError> {
        let now = self.now();
        if now >= pruned_at.plus(PRUNE_EVERY_MS) || now < *pruned_at {
            *pruned_at = now;
            for (state, kept_ms) in KEPT_MS {
                repo::prune(self.store(), state, now.plus(-kept_ms)).await?;
            }
        }
        if to.len() >= SENDING_MAX || !repo::any_due(self.store(), now).await? {
            return Ok(None);
        }
        repo::claim(self.store(), now, now.plus(LEASE_MS), &busy(to)).await
    }

    /// Sends `delivery` and writes down what came of it.
    async fn attempt(self, tenant: TenantId, delivery: Delivery) {
        let endpoint = delivery.endpoint;
        if let Err(error) = self.try_attempt(&tenant, delivery).await {
            // It is due again when its lease ends.
            tracing::warn!(%error, %endpoint, "what came of a delivery was not kept");
        }
    }

    pub(in crate::webhooks) async fn try_attempt(
        &self,
        tenant: &TenantId,
        mut delivery: Delivery,
    ) -> Result<(), StoreError> {
        let Some(endpoint) = repo::endpoint(self.store(), tenant, delivery.endpoint).await? else { return Ok(()) };
        let attempt = match endpoint.disabled {
            Some(_) => Attempt::Unanswered("the webhook was disabled".to_owned()),
            None => self.send(&endpoint, &delivery).await,
        };
        let now = self.now();
        let random = (self.0.random)();
        let next = match endpoint.disabled {
            Some(_) => Next::Failed,
            None => attempt.next(delivery.attempts, now, u16::from_be_bytes([random[0], random[1]])),
        };
        metrics::counter!("kiki_webhook_attempts_total", "outcome" => name_of(next)).increment(1);
        (delivery.state, delivery.due_at) = match next {
            Next::Delivered => (State::Delivered, now),
            Next::Again(at) => (State::Pending, at),
            Next::Failed | Next::Gone => (State::Failed, now),
        };
        delivery.ended_at = if delivery.state == State::Pending { UnixMillis(0) } else { now };
        delivery.last = Some(attempt);
        self.keep(tenant, &endpoint, &delivery, next, now).await
    }

    async fn keep(
        &self,
        tenant: &TenantId,
        endpoint: &Endpoint,
        delivery: &Delivery,
        next: Next,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut tx = self.store().begin().await?;
        let is_kept = repo::record(&mut tx, tenant, delivery).await?;
        let failures = match next {
            Next::Delivered => Failures::default(),
            Next::Again(_) | Next::Failed | Next::Gone => endpoint.failures.and_now(now),
        };
        if is_kept && failures != endpoint.failures {
            repo::set_failures(&mut tx, tenant, endpoint.id, failures).await?;
        }
        let why = match next {
            Next::Gone => Some(Disabled::Gone),
            _ if failures.are_too_many(now) => Some(Disabled::Failing),
            _ => None,
        };
        if let Some(why) = why.filter(|_| is_kept && endpoint.disabled.is_none()) {
            tracing::warn!(endpoint = %endpoint.id, why = why.as_str(), "a webhook was disabled");
            repo::disable(&mut tx, tenant, endpoint.id, why, now).await?;
        }
        tx.commit().await
    }

    async fn send(&self, endpoint: &Endpoint, delivery: &Delivery) -> Attempt {
        let egress = &self.0.egress;
        let target = match Target::parse(&endpoint.url, egress.reach()) {
            Ok(target) => target,
            Err(error) => return Attempt::Unanswered(format!("the URL {error}")),
        };
        let now = self.now();
        let Ok(headers) = headers(endpoint, delivery, now) else {
            return Attempt::Unanswered("the headers cannot be sent".to_owned());
        };
        match egress.post(&target, headers, delivery.body.clone().into()).await {
            Ok(answer) => {
                let retry_after_ms = retry_after_ms(&answer, self.now());
                Attempt::Answered { status: answer.status.as_u16(), retry_after_ms }
            }
            Err(error) => Attempt::Unanswered(error.to_string()),
        }
    }
}

const fn name_of(next: Next) -> &'static str {
    match next {
        Next::Delivered => "delivered",
        Next::Again(_) => "again",
        Next::Failed => "failed",
        Next::Gone => "gone",
    }
}

fn headers(
    endpoint: &Endpoint,
    delivery: &Delivery,
    now: UnixMillis,
) -> Result<HeaderMap, http::header::InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kiki/", env!("CARGO_PKG_VERSION"))));
    headers.insert(WEBHOOK_ID, HeaderValue::from_str(&delivery.id.to_string())?);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now.0.div_euclid(1000)));
    let signatures = endpoint.signatures(delivery.id, now, &delivery.body);
    headers.insert(WEBHOOK_SIGNATURE, HeaderValue::from_str(&signatures)?);
    Ok(headers)
}

/// How long the header `retry-after` asks us to wait: seconds or a date (RFC 9110, 10.2.3).
fn retry_after_ms(answer: &Answer, now: UnixMillis) -> Option<i64> {
    let text = answer.headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * 1000);
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().as_millisecond().saturating_sub(now.0))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn neither_an_endpoint_nor_a_few_tenants_take_all_requests() {
        let tenant = |name: &str| name.parse::<TenantId>().unwrap();
        let endpoint = |number: u128| WebhookId::from(uuid::Uuid::from_u128(number));
        let mut to = vec![(tenant("a"), endpoint(1)), (tenant("b"), endpoint(2))];
        assert_eq!(busy(&to), Busy::default());
        to.push((tenant("a"), endpoint(1)));
        assert_eq!(busy(&to), Busy { endpoints: vec![endpoint(1)], tenants: vec![] });
        forget(&mut to, &(tenant("a"), endpoint(1)));
        assert_eq!(busy(&to), Busy::default());
        to.clear();
        // Each has more slow endpoints than there are places.
        for (name, taken) in [("a", 8), ("b", 4), ("c", 2), ("d", 1), ("e", 1)] {
            let before = to.len();
            while to.len() < SENDING_MAX && !busy(&to).tenants.contains(&tenant(name)) {
                to.push((tenant(name), endpoint(10 + to.len() as u128)));
            }
            assert_eq!(to.len() - before, taken, "{name}");
        }
    }

    #[test]
    fn a_receiver_asks_for_time_in_seconds_or_by_a_date() {
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            let answer = Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers, body: "".into(), is_whole: true };
            retry_after_ms(&answer, UnixMillis(784_111_777_000))
        };
        assert_eq!(asked("120"), Some(120_000));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60_000));
        assert_eq!(asked("soon"), None);
    }
}
