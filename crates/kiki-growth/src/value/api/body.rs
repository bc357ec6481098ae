//! What HTTP reads and writes.

use kiki_models::ltv::History;
use kiki_types::{Currency, Money};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::value::baseline::Baseline;
use crate::value::error::ValueError;
use crate::value::intervals::{ChurnIntervals, Intervals};
use crate::value::model::{
    BATCH_MAX, Churn, Parameters, Prediction, Question, SavedModel, Scope, customer, history, terms,
};

/// A purchase history in the sense of BG/NBD: times in weeks since the first purchase.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryBody {
    /// Repeat purchases.
    #[schema(example = 2.0)]
    frequency: f64,
    /// Age at the last purchase.
    #[schema(example = 30.43)]
    recency: f64,
    /// Age at the end of observation.
    #[schema(example = 38.86)]
    age: f64,
    /// Mean value of the repeat purchases, in units of the currency; 0 when there are none.
    #[serde(default)]
    #[schema(example = 22.35)]
    monetary: f64,
}

/// A question about a known customer or about a history.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuestionBody {
    /// A customer that the model knows.
    customer_id: Option<String>,
    /// Anybody with this history.
    history: Option<HistoryBody>,
    /// Weeks ahead.
    horizon_weeks: Option<f64>,
    /// Discount a month.
    monthly_discount: Option<f64>,
    /// Answer for somebody new where nobody knows the customer.
    or_population: Option<bool>,
}

/// One question, or a batch of them.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictionsBody {
    /// A customer that the model knows.
    #[schema(example = "0001")]
    customer_id: Option<String>,
    /// Anybody with this history.
    history: Option<HistoryBody>,
    /// Weeks ahead.
    #[schema(example = 52.0)]
    horizon_weeks: Option<f64>,
    /// Discount a month.
    #[schema(example = 0.01)]
    monthly_discount: Option<f64>,
    /// Answer for somebody new where nobody knows the customer.
    or_population: Option<bool>,
    /// Tell standard errors and 95 % intervals too, of at most 1,000 customers at once.
    intervals: Option<bool>,
    /// A batch.
    #[schema(max_items = 10_000)]
    requests: Option<Vec<QuestionBody>>,
}

/// What was asked.
pub(super) enum Asked {
    One(Question),
    Batch(Vec<Question>),
}

/// What all questions of a body share.
#[derive(Clone, Copy)]
struct Told {
    or_population: bool,
    intervals: bool,
}

impl PredictionsBody {
    /// What it asks; `or_population` where it does not say.
    pub(super) fn asked(self, or_population: bool) -> Result<Asked, ValueError> {
        let Self { customer_id, history, horizon_weeks, monthly_discount, or_population: all, intervals, requests } =
            self;
        let told = Told { or_population: all.unwrap_or(or_population), intervals: intervals.unwrap_or(false) };
        let Some(requests) = requests else {
            let one = QuestionBody { customer_id, history, horizon_weeks, monthly_discount, or_population: all };
            return one.question(told).map(Asked::One);
        };
        if customer_id.is_some() || history.is_some() || horizon_weeks.is_some() || monthly_discount.is_some() {
            return Err(ValueError::invalid("requests", "must stand alone: each of them says who, and for how long"));
        }
        if requests.len() > BATCH_MAX {
            return Err(ValueError::invalid("requests", "must be at most 10000"));
        }
        let questions = requests.into_iter().enumerate();
        let questions = questions.map(|(index, one)| one.question(told).map_err(|error| error.within_batch(index)));
        questions.collect::<Result<_, _>>().map(Asked::Batch)
    }
}

impl QuestionBody {
    fn question(self, told: Told) -> Result<Question, ValueError> {
        let who = match (self.customer_id, self.history) {
            (Some(id), None) => customer(id)?,
            (None, Some(HistoryBody { frequency, recency, age, monetary })) => {
                history(frequency, recency, age, monetary)?
            }
            (None, None) => return Err(ValueError::invalid("customer_id", "is missing; give it or a history")),
            (Some(_), Some(_)) => return Err(ValueError::invalid("history", "must not be given with customer_id")),
        };
        let terms = terms(self.horizon_weeks, self.monthly_discount)?;
        let scope = Scope { terms, intervals: told.intervals };
        Ok(Question { who, scope, or_population: self.or_population.unwrap_or(told.or_population) })
    }
}

/// What a customer is worth.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PredictionAnswer {
    /// Absent for a history.
    #[serde(skip_serializing_if = "String::is_empty")]
    customer_id: String,
    /// Over the horizon.
    expected_purchases: f64,
    /// Whether they are still there.
    probability_alive: f64,
    /// Discounted value over the horizon.
    #[schema(value_type = Object, example = json!({"amount": "36.29", "currency": "USD"}))]
    value: Money,
    /// Expected value of one purchase.
    #[schema(value_type = Object, example = json!({"amount": "24.66", "currency": "USD"}))]
    expected_order_value: Money,
    /// The history that says so. The same history and version give the same answer.
    #[schema(value_type = Object, example = json!({"frequency": 2, "recency": 30.43, "age": 38.86}))]
    history: History,
    /// Mean value of the repeat purchases in it.
    monetary: f64,
    /// Whether nobody knows the customer, so that this is what somebody new is worth.
    population: bool,
    /// Of expected_purchases, probability_alive and value, in units of the currency: value, standard_error, low, high.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<Box<Intervals>>,
    /// The model that says so.
    model: String,
    /// Its version.
    model_version: i64,
}

impl PredictionAnswer {
    pub(super) fn new(model: &SavedModel, prediction: Prediction) -> Self {
        Self {
            intervals: prediction.intervals,
            customer_id: prediction.about.customer_id,
            expected_purchases: prediction.expected_purchases,
            probability_alive: prediction.probability_alive,
            value: money(prediction.value, model.currency),
            expected_order_value: money(prediction.expected_order_value, model.currency),
            history: prediction.about.history,
            monetary: prediction.about.monetary,
            population: prediction.about.population,
            model: model.id.to_string(),
            model_version: model.version,
        }
    }
}

/// An estimate as money, to the millionth; what is beyond the largest amount is the largest amount.
#[expect(clippy::cast_possible_truncation, reason = "rounded, and meant to stop at the largest amount")]
pub(super) fn money(estimate: f64, currency: Currency) -> Money {
    Money::new((estimate * 1e6).round() as i64, currency)
}

/// The answer to one question, or to a batch in the order of its questions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum PredictionsAnswer {
    /// To one.
    One(PredictionAnswer),
    /// To a batch.
    Batch {
        /// In the order of the requests.
        predictions: Vec<PredictionAnswer>,
    },
}

/// Whether a customer comes back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ChurnAnswer {
    /// Absent for a history.
    #[serde(skip_serializing_if = "String::is_empty")]
    customer_id: String,
    /// Weeks ahead.
    horizon_weeks: f64,
    /// The probability that no purchase comes within the horizon.
    churn: f64,
    /// Whether they are still there now.
    probability_alive: f64,
    /// Whether they are still there when the horizon ends.
    probability_alive_after: f64,
    /// The history that says so.
    #[schema(value_type = Object)]
    history: History,
    /// Whether nobody knows the customer, so that this is about somebody new.
    population: bool,
    /// Of churn, probability_alive and probability_alive_after: value, standard_error, low, high.
    #[schema(value_type = Option<Object>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<Box<ChurnIntervals>>,
    /// The model that says so.
    model: String,
    /// Its version.
    model_version: i64,
}

impl ChurnAnswer {
    pub(super) fn new(model: &SavedModel, churn: Churn) -> Self {
        Self {
            customer_id: churn.about.customer_id,
            horizon_weeks: churn.horizon_weeks,
            churn: churn.probability_of_no_purchase,
            probability_alive: churn.probability_alive,
            probability_alive_after: churn.probability_alive_after,
            intervals: churn.intervals,
            history: churn.about.history,
            population: churn.about.population,
            model: model.id.to_string(),
            model_version: model.version,
        }
    }
}

/// The answer to one question, or to a batch in the order of its questions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(super) enum ChurnsAnswer {
    /// To one.
    One(ChurnAnswer),
    /// To a batch.
    Batch {
        /// In the order of the requests.
        churns: Vec<ChurnAnswer>,
    },
}

/// What comes in without anything being done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BaselineAnswer {
    /// Days that it is made of.
    #[schema(example = 90)]
    days: u32,
    /// The last of them.
    #[schema(example = "1998-06-30")]
    until: String,
    /// Of those days.
    #[schema(value_type = Object, example = json!({"amount": "32131.38", "currency": "USD"}))]
    revenue: Money,
    /// Of a mean day.
    #[schema(value_type = Object)]
    per_day: Money,
    /// By how much of itself it grows from week to week.
    #[schema(example = -0.01)]
    trend_per_week: f64,
    /// How each weekday is beside a mean day, Monday first.
    by_weekday: [f64; 7],
    /// Of as many days ahead, if the trend goes on.
    #[schema(value_type = Object)]
    expected: Money,
    /// The model whose order log it is from.
    model: String,
    /// Its version.
    model_version: i64,
}

impl BaselineAnswer {
    pub(super) fn new(model: &SavedModel, baseline: Baseline) -> Self {
        Self {
            days: baseline.days,
            until: baseline.until,
            revenue: baseline.revenue,
            per_day: baseline.per_day,
            trend_per_week: baseline.trend_per_week,
            by_weekday: baseline.by_weekday,
            expected: baseline.expected,
            model: model.id.to_string(),
            model_version: model.version,
        }
    }
}

/// A model and what it was fitted to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ModelAnswer {
    /// Its id.
    id: String,
    /// Its number among the models, from 1.
    version: i64,
    /// The model of purchases: `bg-nbd`, `mbg-nbd` or `pareto-nbd`.
    kind: String,
    /// When it was last put in force; absent for one that was not, or whose promotion was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    promoted_at: Option<String>,
    /// When it was saved.
    #[schema(example = "2026-02-05T10:30:00.000Z")]
    created_at: String,
    /// The currency of its amounts.
    #[schema(value_type = String, example = "USD")]
    currency: Currency,
    /// Of the model of purchases: `bgnbd` and `mbgnbd` with r, alpha (weeks), a, b, or `pareto_nbd` with r, alpha (weeks), s,
    /// beta (weeks); and `gamma_gamma`'s p, q, v (units of the currency).
    #[schema(value_type = Object)]
    parameters: Parameters,
    /// Of the model of purchases.
    purchases_log_likelihood: f64,
    /// Of Gamma-Gamma.
    gamma_gamma_log_likelihood: f64,
    /// SHA-256 of the order log.
    data_sha256: String,
    /// Orders in the log.
    orders: i64,
    /// Customers that it knows.
    customers: i64,
    /// The last day that counted.
    #[schema(example = "1997-09-30")]
    calibrate_until: String,
    /// How well it did in its hold-out; absent where there was none.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Json::is_null")]
    figures: Json,
}

impl From<SavedModel> for ModelAnswer {
    fn from(model: SavedModel) -> Self {
        Self {
            id: model.id.to_string(),
            version: model.version,
            kind: model.parameters.purchases.kind().to_string(),
            promoted_at: (model.promoted_at.0 > 0).then(|| model.promoted_at.rfc3339()),
            created_at: model.created_at.rfc3339(),
            currency: model.currency,
            parameters: model.parameters,
            purchases_log_likelihood: model.purchases_log_likelihood,
            gamma_gamma_log_likelihood: model.gamma_gamma_log_likelihood,
            data_sha256: model.data_sha256,
            orders: model.orders,
            customers: model.customers,
            calibrate_until: model.calibrate_until,
            figures: model.figures,
        }
    }
}
