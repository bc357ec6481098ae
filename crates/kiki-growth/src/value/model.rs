//! What the service speaks of: models, the customers they know, questions and predictions. No database, no transport.

use std::sync::Arc;

use kiki_models::ltv::{Covariance, GammaGamma, History, HistoryError, Summary, Terms, discounted_value};
use kiki_store::StoreError;
use kiki_types::id::ModelId;
use kiki_types::{Currency, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ValueError;
use super::intervals::{ChurnIntervals, Intervals};
use super::kind::Purchases;
use super::orders::day_number;

/// The horizon of who names none.
pub(super) const HORIZON_WEEKS_DEFAULT: f64 = 52.0;
/// The monthly discount of who names none.
pub(super) const MONTHLY_DISCOUNT_DEFAULT: f64 = 0.01;
/// Questions of one batch at the most.
pub(super) const BATCH_MAX: usize = 10_000;

/// What predictions are made with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// How often a customer buys, under the name of the model.
    #[serde(flatten)]
    pub purchases: Purchases,
    /// How much they spend a time.
    pub gamma_gamma: GammaGamma,
}

/// How far the data determine the parameters of both models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covariances {
    /// Of the model of purchases.
    pub purchases: Covariance,
    /// Of Gamma-Gamma.
    pub gamma_gamma: Covariance,
}

/// A model that was saved.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedModel {
    /// Its id.
    pub id: ModelId,
    /// Its number among the tenant's models, from 1.
    pub version: i64,
    /// When it was saved.
    pub created_at: UnixMillis,
    /// When it was last put in force; 0 for one that was not, or whose promotion was taken back.
    pub promoted_at: UnixMillis,
    /// The currency of its amounts.
    pub currency: Currency,
    /// Its parameters.
    pub parameters: Parameters,
    /// How far the data determine them.
    pub covariances: Covariances,
    /// The logarithm of the likelihood of the model of purchases.
    pub purchases_log_likelihood: f64,
    /// The logarithm of the likelihood of Gamma-Gamma.
    pub gamma_gamma_log_likelihood: f64,
    /// SHA-256 of the order log, in hexadecimal.
    pub data_sha256: String,
    /// Orders in the log.
    pub orders: i64,
    /// Customers that it knows.
    pub customers: i64,
    /// The last day that counted, as `1997-09-30`.
    pub calibrate_until: String,
    /// How well it did in its hold-out; `null` where there was none.
    pub figures: Value,
}

/// A customer who is known, by a model or by their orders.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub(super) id: Arc<str>,
    pub(super) summary: Summary,
}

/// Who is asked about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Who {
    /// A customer that the model knows.
    Customer(String),
    /// Anybody with this history, and this mean value of repeat purchases.
    History(History, f64),
}

/// Over what time, and how much is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scope {
    pub(super) terms: Terms,
    /// Standard errors and intervals too.
    pub(super) intervals: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    pub(super) who: Who,
    pub(super) scope: Scope,
    /// Whether a customer that nobody knows is answered as somebody new, instead of refused.
    pub(super) or_population: bool,
}

/// What a question turned out to be about. Together with the model it makes the answer, every time the same.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct About {
    /// Empty for a history.
    pub(super) customer_id: String,
    pub(super) history: History,
    pub(super) monetary: f64,
    /// Nothing is known of them: they are taken for somebody new.
    pub(super) population: bool,
}

/// What a customer is worth.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prediction {
    pub(super) about: About,
    pub(super) terms: Terms,
    pub(super) expected_purchases: f64,
    pub(super) probability_alive: f64,
    /// Discounted, over the horizon, in units of the currency.
    pub(super) value: f64,
    /// In units of the currency.
    pub(super) expected_order_value: f64,
    /// Only where they were asked for.
    pub(super) intervals: Option<Box<Intervals>>,
}

/// Whether a customer is lost.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Churn {
    pub(super) about: About,
    pub(super) horizon_weeks: f64,
    /// Gone, or there and not buying.
    pub(super) probability_of_no_purchase: f64,
    pub(super) probability_alive: f64,
    /// At the end of the horizon.
    pub(super) probability_alive_after: f64,
    /// Only where they were asked for.
    pub(super) intervals: Option<Box<ChurnIntervals>>,
}

impl Parameters {
    /// What somebody is worth.
    pub(super) fn predict(&self, about: About, terms: &Terms) -> Prediction {
        let (purchases, gamma_gamma) = (self.purchases.model(), &self.gamma_gamma);
        let About { history, monetary, .. } = &about;
        Prediction {
            expected_purchases: purchases.expected_purchases(history, terms.horizon_weeks()),
            probability_alive: purchases.probability_alive(history),
            value: discounted_value(purchases, gamma_gamma, history, *monetary, terms),
            expected_order_value: gamma_gamma.expected_order_value(history.frequency(), *monetary),
            terms: *terms,
            intervals: None,
            about,
        }
    }

    /// Whether somebody comes back within the horizon.
    pub(super) fn churn(&self, about: About, terms: &Terms) -> Churn {
        let weeks = terms.horizon_weeks();
        let model = self.purchases.model();
        Churn {
            probability_of_no_purchase: self.purchases.probability_of_silence(&about.history, weeks),
            probability_alive: model.probability_alive(&about.history),
            probability_alive_after: model.probability_alive_after(&about.history, weeks),
            horizon_weeks: weeks,
            intervals: None,
            about,
        }
    }
}

/// The terms of a question; what is absent is the default.
pub(super) fn terms(horizon_weeks: Option<f64>, monthly_discount: Option<f64>) -> Result<Terms, ValueError> {
    let horizon_weeks = horizon_weeks.unwrap_or(HORIZON_WEEKS_DEFAULT);
    let terms = Terms::new(horizon_weeks, monthly_discount.unwrap_or(MONTHLY_DISCOUNT_DEFAULT));
    terms.map_err(|error| ValueError::invalid(error.field, error.reason))
}

/// Somebody with this history.
pub(super) fn history(frequency: f64, recency: f64, age: f64, monetary: f64) -> Result<Who, ValueError> {
    let wrong = |error: HistoryError| ValueError::invalid(&format!("history.{}", error.field), error.reason);
    let history = History::new(frequency, recency, age).map_err(wrong)?;
    if !monetary.is_finite() || !(0.0..=MONETARY_MAX).contains(&monetary) {
        return Err(ValueError::invalid("history.monetary", "must be a finite number that is not negative"));
    }
    Ok(Who::History(history, monetary))
}

const MONETARY_MAX: f64 = 1e12;

/// A customer by id.
pub(super) fn customer(id: String) -> Result<Who, ValueError> {
    use super::orders::CUSTOMER_ID_BYTES_MAX;
    if id.is_empty() || id.len() > CUSTOMER_ID_BYTES_MAX || id.chars().any(char::is_control) {
        return Err(ValueError::invalid("customer_id", "must be 1 to 256 bytes without control characters"));
    }
    Ok(Who::Customer(id))
}

impl SavedModel {
    /// The last day that counted.
    pub(super) fn until_day(&self) -> Result<i32, ValueError> {
        let date = self.calibrate_until.parse().map_err(|error: jiff::Error| StoreError::Unreadable {
            column: "calibrate_until".to_owned(),
            why: error.to_string(),
        })?;
        Ok(day_number(date))
    }
}
