//! Orders that come after a model was fitted: they change what is known of their customers at once, and the model when it is
//! fitted anew.
//!
//! A customer is what the model knew of them at the end of its calibration, and their own orders after it. Nothing is rewritten,
//! so an order that comes twice, late or while another model is promoted counts exactly once. The latest word about an order id
//! stands. Orders up to the model's last day change nothing: the model's log has them, or a new fit will.

use std::collections::HashMap;

use http::StatusCode;
use kiki_models::ltv::{Purchase, Summary};
use kiki_store::idempotency::{self, Key, Response};
use kiki_store::personal::Mint;
use kiki_types::Principal;
use kiki_types::money::parse_micros;
use serde_json::json;

use super::audit::Entry;
use super::error::ValueError;
use super::orders::{CUSTOMER_ID_BYTES_MAX, day_of};
use super::repo;
use super::repo::live::Ordered;
use super::service::{Value, json};

/// Orders that are taken in one transaction at the most.
pub(super) const ORDERS_PER_CALL_MAX: usize = 1_000;
/// Bytes of an order's id at the most.
const ORDER_ID_BYTES_MAX: usize = 256;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// An order that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewOrder {
    order_id: String,
    customer_id: String,
    ordered: Ordered,
}

impl NewOrder {
    /// `ordered_at` as in an order log, `amount` a decimal of what is left of it after refunds. A cancelled order counts no more.
    pub(super) fn new(
        order_id: String,
        customer_id: String,
        ordered_at: &str,
        amount: &str,
        cancelled: bool,
    ) -> Result<Self, ValueError> {
        named("order_id", &order_id, ORDER_ID_BYTES_MAX)?;
        named("customer_id", &customer_id, CUSTOMER_ID_BYTES_MAX)?;
        let wrong_day = || ValueError::invalid("ordered_at", "is not a date such as 1997-09-30 or an RFC 3339 time");
        let day = day_of(ordered_at).ok_or_else(wrong_day)?;
        let micros = parse_micros(amount).map_err(|error| ValueError::invalid("amount", error))?;
        if micros < 0 {
            return Err(ValueError::invalid("amount", "must not be negative: it is what is left after refunds"));
        }
        Ok(Self { order_id, customer_id, ordered: Ordered { purchase: Purchase { day, micros }, counts: !cancelled } })
    }
}

fn named(field: &str, text: &str, bytes_max: usize) -> Result<(), ValueError> {
    if text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control) {
        let rule = format_args!("must be 1 to {bytes_max} bytes without control characters");
        return Err(ValueError::invalid(field, rule));
    }
    Ok(())
}

impl Value {
    /// The day that it is, in UTC.
    pub(super) fn today(&self) -> i32 {
        i32::try_from(self.needs.clock.now().0.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
    }

    /// Takes orders in. The answer to `key`, if there is one, is given again to a repeat; orders that come twice count once
    /// also without it. Errors tell the place of an order, of which the first is `first`.
    pub(super) async fn record(
        &self,
        principal: &Principal,
        (first, orders): (usize, Vec<NewOrder>),
        key: Option<Key>,
    ) -> Result<Response, ValueError> {
        let (needs, tenant) = (&*self.needs, &principal.tenant);
        if orders.is_empty() || orders.len() > ORDERS_PER_CALL_MAX {
            return Err(ValueError::invalid("orders", format_args!("must be 1 to {ORDERS_PER_CALL_MAX}")));
        }
        let (now, today) = (needs.clock.now(), self.today());
        // A day of the future would make everybody look as if they were silent until then.
        if let Some(index) = orders.iter().position(|order| order.ordered.purchase.day > today.saturating_add(1)) {
            let wrong = ValueError::invalid("ordered_at", "must not be in the future");
            return Err(wrong.within("orders", first.saturating_add(index)));
        }
        // Whoever was erased since must not become known again by a repeat.
        if let Some(answer) = self.answered(key.as_ref()).await? {
            return Ok(answer);
        }
        let names: Vec<&str> = orders.iter().map(|order| order.customer_id.as_str()).collect();
        let subjects = needs.subjects.resolve_many(tenant, &names, Mint::Yes).await?;
        let mut latest = HashMap::new();
        for (order, subject) in orders.iter().zip(&subjects) {
            let Some(subject) = subject else { continue };
            let hashed = (needs.request_key)(tenant, &format!("order\0{}", order.order_id));
            latest.insert(hashed, (subject, order.ordered));
        }
        let rows: Vec<_> = latest.into_iter().map(|(key, (subject, ordered))| (key, subject, ordered)).collect();
        let mut tx = needs.store.begin().await?;
        if let Some(answer) = self.replay(&mut tx, key.as_ref()).await? {
            return Ok(answer);
        }
        repo::live::put(&mut tx, tenant, now, &rows).await?;
        if let Some(last) = orders.iter().map(|order| order.ordered.purchase.day).max() {
            repo::live::observed(&mut tx, tenant, last).await?;
        }
        let resource = format!("value/orders/{}", orders.len());
        self.audit(
            &mut tx,
            principal,
            Entry { event_type: "value.orders.record", action: "record", resource, ..Entry::default() },
        )?;
        let response = json(StatusCode::OK, &json!({ "recorded": orders.len() }))?;
        if let Some(key) = &key {
            idempotency::finish(&mut tx, key, &response).await?;
        }
        tx.commit().await?;
        Ok(response)
    }
}

/// What is known at the end of the day `observed` of a customer of whom a model knew `summary` at the end of the day `until`,
/// and whose orders in the order of their days are `orders`. Whom the model does not know, their orders alone tell.
pub(super) fn caught_up(summary: Option<Summary>, until: i32, orders: &[Purchase], observed: i32) -> Option<Summary> {
    let observed = observed.max(until);
    let Some(mut summary) = summary else { return Summary::of(orders, observed) };
    let first = until.saturating_sub_unsigned(summary.age_days);
    summary.age_days = observed.abs_diff(first);
    let mut last = until;
    for order in orders.iter().filter(|order| order.day > until && order.day <= observed) {
        if order.day > last {
            summary.frequency = summary.frequency.saturating_add(1);
            summary.recency_days = order.day.abs_diff(first);
            last = order.day;
        }
        summary.repeat_micros = summary.repeat_micros.saturating_add(order.micros.into());
    }
    Some(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purchases(of: &[(i32, i64)]) -> Vec<Purchase> {
        of.iter().map(|&(day, micros)| Purchase { day, micros }).collect()
    }

    #[test]
    fn a_customer_who_is_caught_up_is_as_if_the_model_had_known_all() {
        let all = purchases(&[(10, 5), (12, 7), (20, 9), (21, 1), (21, 2), (30, 4)]);
        for until in 10..=30 {
            let (before, since): (Vec<Purchase>, Vec<Purchase>) = all.iter().copied().partition(|one| one.day <= until);
            for observed in [30, 33] {
                let is = caught_up(Summary::of(&before, until), until, &since, observed);
                assert_eq!(is, Summary::of(&all, observed), "{until} {observed}");
            }
        }
    }

    #[test]
    fn orders_that_the_model_could_know_are_not_counted_twice() {
        let known = Summary::of(&purchases(&[(10, 5), (12, 7)]), 15);
        assert_eq!(caught_up(known, 15, &purchases(&[(12, 7), (15, 3)]), 15), known);
    }

    #[test]
    fn whom_the_model_does_not_know_their_orders_tell() {
        assert_eq!(caught_up(None, 15, &[], 20), None);
        let orders = purchases(&[(14, 5), (18, 7)]);
        assert_eq!(caught_up(None, 15, &orders, 20), Summary::of(&orders, 20));
    }
}
