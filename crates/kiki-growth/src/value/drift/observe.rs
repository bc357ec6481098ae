//! Who is watched, read from the database: customers of the model, and newcomers.
//!
//! A person's handle is random, so those whose handles come first are a sample that nothing but chance draws, and nearly the
//! same one each time. Who restricted what is done with their data, or objected to being profiled, is in none.

use kiki_models::ltv::{Purchase, Summary};
use kiki_store::personal::{Subject, SubjectId};
use kiki_types::TenantId;
use tokio::sync::Semaphore;

use super::{Drift, Observed, Watched, Window};
use crate::value::aside::Asker;
use crate::value::error::ValueError;
use crate::value::model::SavedModel;
use crate::value::repo::drift::known_after;
use crate::value::repo::live;
use crate::value::service::{CHUNK, Value};

/// Customers of the model who are watched at the most, and newcomers.
const WATCHED_MAX: usize = 20_000;
/// People with orders who are looked at for newcomers at the most.
const ORDERING_MAX: usize = 100_000;
/// Of each customer: what is expected, and how it moves with each parameter.
const PREDICTIONS_OF_ONE: f64 = 9.0;
/// Watches of one process at once: each reads some megabytes.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

impl Value {
    /// What happened since the last day of `model`, beside what it said.
    pub(in crate::value) async fn drift(
        &self,
        tenant: &TenantId,
        model: SavedModel,
    ) -> Result<(SavedModel, Window, Drift), ValueError> {
        let _place = AT_ONCE.acquire().await.map_err(|_| ValueError::Ending)?;
        self.still_knows_customers(tenant, &model).await?;
        let observed_until = live::observed_until(&self.needs.store, tenant).await?;
        let window = Window::new(model.until_day()?, observed_until, self.today());
        let observed = self.observed(tenant, &model, window).await?;
        let watched = observed.known.len() + observed.newcomers.len();
        let compare = move |_: &Asker| {
            let drift = Drift::of(&model, window, &observed);
            (model, window, drift)
        };
        self.aside(PREDICTIONS_OF_ONE * watched as f64, compare).await
    }

    async fn observed(&self, tenant: &TenantId, model: &SavedModel, window: Window) -> Result<Observed, ValueError> {
        let mut observed = Observed::default();
        if window.is_empty() {
            return Ok(observed);
        }
        let (store, subjects) = (&self.needs.store, &self.needs.subjects);
        let mut after = None;
        while observed.known.len() < WATCHED_MAX {
            let known = known_after(store, subjects, tenant, model.id, after, CHUNK).await?;
            let (people, known): (Vec<Subject>, Vec<Summary>) = known.into_iter().unzip();
            let orders = live::of(store, tenant, &people).await?;
            for (person, summary) in people.iter().zip(&known) {
                let orders = orders.get(&person.id).map_or(&[][..], Vec::as_slice);
                observed.known.push(window.watched(summary, orders)?);
            }
            after = people.last().map(|person| person.id);
            if people.len() < CHUNK {
                break;
            }
        }
        observed.more_newcomers = self.newcomers(tenant, model, window, &mut observed.newcomers).await?;
        Ok(observed)
    }

    /// Whether there may be more than those who were found.
    async fn newcomers(
        &self,
        tenant: &TenantId,
        model: &SavedModel,
        window: Window,
        found: &mut Vec<Summary>,
    ) -> Result<bool, ValueError> {
        let (store, subjects) = (&self.needs.store, &self.needs.subjects);
        let mut after: Option<SubjectId> = None;
        for _ in 0..ORDERING_MAX / CHUNK {
            let people = live::who_ordered(store, tenant, after, CHUNK).await?;
            let unknown = live::unknown_to(store, subjects, tenant, model.id, &people).await?;
            let orders = live::of(store, tenant, &unknown).await?;
            found.extend(orders.values().filter_map(|orders| window.newcomer(orders)));
            after = people.last().copied();
            if people.len() < CHUNK {
                return Ok(false);
            }
            if found.len() >= WATCHED_MAX {
                break;
            }
        }
        Ok(true)
    }
}

impl Window {
    /// What a customer whom the model knew as `summary` did in it. `orders` are in the order of their days.
    fn watched(self, summary: &Summary, orders: &[Purchase]) -> Result<Watched, ValueError> {
        let (mut last, mut purchases, mut micros) = (self.until, 0.0, 0_i128);
        for order in orders.iter().filter(|order| order.day > self.until && order.day <= self.last_day()) {
            if order.day > last {
                purchases += 1.0;
                last = order.day;
            }
            micros += i128::from(order.micros);
        }
        let (history, monetary) = (summary.history()?, summary.monetary());
        Ok(Watched { history, monetary, purchases, spent: micros as f64 / 1e6 })
    }

    /// What is known at its end of somebody whose first order came in it.
    fn newcomer(self, orders: &[Purchase]) -> Option<Summary> {
        orders.first().filter(|first| first.day > self.until)?;
        Summary::of(orders, self.last_day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purchases(of: &[(i32, i64)]) -> Vec<Purchase> {
        of.iter().map(|&(day, micros)| Purchase { day, micros: micros * 1_000_000 }).collect()
    }

    #[test]
    fn a_window_is_of_whole_weeks_and_ends_before_a_day_that_is_not_over() {
        let days = |observed, today| {
            let window = Window::new(100, observed, today);
            (window.weeks, window.last_day())
        };
        assert_eq!(days(None, 500), (0, 100));
        assert_eq!(days(Some(106), 500), (0, 100));
        assert_eq!(days(Some(107), 500), (1, 107));
        assert_eq!(days(Some(107), 107), (0, 100), "the seventh day is not over");
        assert_eq!(days(Some(121), 121), (2, 114));
        assert_eq!(days(Some(90), 500), (0, 100), "all orders are older than the model");
    }

    #[test]
    fn purchases_count_once_a_day_and_only_within_the_window() {
        let window = Window::new(100, Some(115), 500);
        let summary = Summary { frequency: 2, recency_days: 14, age_days: 21, repeat_micros: 50_000_000 };
        let orders = purchases(&[(99, 1), (100, 2), (101, 4), (101, 8), (114, 16), (115, 32)]);
        let watched = window.watched(&summary, &orders).unwrap();
        assert_eq!((watched.purchases, watched.spent, watched.monetary), (2.0, 28.0, 25.0));
        assert_eq!(watched.history, summary.history().unwrap(), "as it was on the model's last day");
    }

    #[test]
    fn a_newcomers_first_order_is_in_the_window() {
        let window = Window::new(100, Some(114), 500);
        assert_eq!(window.newcomer(&purchases(&[(100, 1), (105, 1)])), None, "before it");
        assert_eq!(window.newcomer(&purchases(&[(115, 1)])), None, "after it");
        let newcomer = window.newcomer(&purchases(&[(101, 1), (105, 2), (105, 2), (115, 4)])).unwrap();
        assert_eq!((newcomer.frequency, newcomer.age_days), (1, 13));
        assert_eq!(window.newcomer(&[]), None);
    }
}
