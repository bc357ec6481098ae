//! The verbs of every model of when customers buy and leave.

use super::parallel::map_chunks;
use super::{Fit, FitError, History};

/// A model of how often a customer buys while there, and of when they leave without saying so.
///
/// With any history and any number of weeks each prediction is a finite number: weeks that are not a positive number count
/// as none, more than [`WEEKS_MAX`](super::WEEKS_MAX) as that many.
pub trait PurchaseModel: Send + Sync {
    /// The probability that a customer with `history` is still there at the end of it.
    fn probability_alive(&self, history: &History) -> f64;

    /// The probability that they are still there `weeks` later; what is missing from 1 is the churn by then.
    fn probability_alive_after(&self, history: &History, weeks: f64) -> f64;

    /// How many purchases they are expected to make in the `weeks` after the history, were they known to be still there.
    fn expected_purchases_if_alive(&self, history: &History, weeks: f64) -> f64;

    /// How many purchases they are expected to make in the `weeks` after the history.
    fn expected_purchases(&self, history: &History, weeks: f64) -> f64 {
        self.probability_alive(history) * self.expected_purchases_if_alive(history, weeks)
    }

    /// How many repeat purchases a new customer is expected to make in the `weeks` after the first purchase.
    fn expected_by(&self, weeks: f64) -> f64;

    /// The probability that a new customer makes exactly `purchases` repeat purchases in the `weeks` after the first one; 0
    /// for more than a million of them.
    fn probability_of_purchases(&self, purchases: u32, weeks: f64) -> f64;

    /// The logarithm of the likelihood of `histories`.
    fn log_likelihood(&self, histories: &[History]) -> f64;

    /// The model made ready for many customers such as `histories`: the same numbers, sooner.
    fn prepare<'a>(&'a self, _histories: &[History]) -> Prepared<'a> {
        Prepared {
            alive: Box::new(|history: &History| self.probability_alive(history)),
            if_alive: Box::new(|history: &History, weeks: f64| self.expected_purchases_if_alive(history, weeks)),
        }
    }

    /// What to expect of each of `histories` in the `weeks` after it, computed on all processors.
    fn predict_all(&self, histories: &[History], weeks: f64) -> Vec<Expected> {
        let prepared = self.prepare(histories);
        let expected = |history: &History| {
            let probability_alive = prepared.probability_alive(history);
            let purchases = probability_alive * prepared.expected_purchases_if_alive(history, weeks);
            Expected { probability_alive, purchases }
        };
        map_chunks(histories, CUSTOMERS_A_PART, |part| part.iter().map(expected).collect())
    }

    /// The parameters of the largest likelihood.
    ///
    /// # Errors
    /// [`FitError`]; never [`FitError::InfiniteMean`].
    fn fit(histories: &[History]) -> Result<Fit<Self>, FitError>
    where
        Self: Sized;
}

/// A model made ready for many customers: see [`PurchaseModel::prepare`].
pub struct Prepared<'a> {
    pub(super) alive: OfHistory<'a>,
    pub(super) if_alive: OfHistoryAndWeeks<'a>,
}

type OfHistory<'a> = Box<dyn Fn(&History) -> f64 + Send + Sync + 'a>;
type OfHistoryAndWeeks<'a> = Box<dyn Fn(&History, f64) -> f64 + Send + Sync + 'a>;

impl Prepared<'_> {
    /// As [`PurchaseModel::probability_alive`].
    #[must_use]
    pub fn probability_alive(&self, history: &History) -> f64 {
        (self.alive)(history)
    }

    /// As [`PurchaseModel::expected_purchases_if_alive`].
    #[must_use]
    pub fn expected_purchases_if_alive(&self, history: &History, weeks: f64) -> f64 {
        (self.if_alive)(history, weeks)
    }
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

/// What is expected of a customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// The probability that they are still there at the end of the history.
    pub probability_alive: f64,
    /// Purchases within the weeks that were asked for.
    pub purchases: f64,
}

/// Customers that one thread takes at once.
pub(super) const CUSTOMERS_A_PART: usize = 4_096;

/// What counts as a number of weeks ahead.
pub(super) fn weeks_ahead(weeks: f64) -> f64 {
    if weeks > 0.0 { weeks.min(super::WEEKS_MAX) } else { 0.0 }
}

/// Customers of more parameters than this make a likelihood with a maximum.
pub(super) const CUSTOMERS_MIN: u64 = 5;

/// The probability of more purchases than this is not computed.
pub(super) const PURCHASES_MAX: u32 = 1_000_000;
