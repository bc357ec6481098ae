//! What HTTP reads and writes.

use kiki_types::{Currency, Money};
use serde::{Deserialize, Serialize};

use crate::value::error::ValueError;
use crate::value::model::{BATCH_MAX, Parameters, Prediction, Question, SavedModel, customer, history, terms};

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
    /// A batch.
    #[schema(max_items = 10_000)]
    requests: Option<Vec<QuestionBody>>,
}

/// What was asked.
pub(super) enum Asked {
    One(Question),
    Batch(Vec<Question>),
}

impl PredictionsBody {
    pub(super) fn asked(self) -> Result<Asked, ValueError> {
        let Self { customer_id, history, horizon_weeks, monthly_discount, requests } = self;
        let Some(requests) = requests else {
            let one = QuestionBody { customer_id, history, horizon_weeks, monthly_discount };
            return one.question().map(Asked::One);
        };
        if customer_id.is_some() || history.is_some() || horizon_weeks.is_some() || monthly_discount.is_some() {
            return Err(ValueError::invalid("requests", "must stand alone: each of them says who, and for how long"));
        }
        if requests.len() > BATCH_MAX {
            return Err(ValueError::invalid("requests", "must be at most 10000"));
        }
        let questions = requests.into_iter().enumerate();
        let questions = questions.map(|(index, one)| one.question().map_err(|error| error.within_batch(index)));
        questions.collect::<Result<_, _>>().map(Asked::Batch)
    }
}

impl QuestionBody {
    fn question(self) -> Result<Question, ValueError> {
        let who = match (self.customer_id, self.history) {
            (Some(id), None) => customer(id)?,
            (None, Some(HistoryBody { frequency, recency, age, monetary })) => {
                history(frequency, recency, age, monetary)?
            }
            (None, None) => return Err(ValueError::invalid("customer_id", "is missing; give it or a history")),
            (Some(_), Some(_)) => return Err(ValueError::invalid("history", "must not be given with customer_id")),
        };
        Ok(Question { who, terms: terms(self.horizon_weeks, self.monthly_discount)? })
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
    /// The model that says so.
    model: String,
}

impl PredictionAnswer {
    pub(super) fn new(model: &SavedModel, prediction: Prediction) -> Self {
        Self {
            customer_id: prediction.customer_id,
            expected_purchases: prediction.expected_purchases,
            probability_alive: prediction.probability_alive,
            value: money(prediction.value, model.currency),
            expected_order_value: money(prediction.expected_order_value, model.currency),
            model: model.id.to_string(),
        }
    }
}

/// An estimate as money, to the millionth; what is beyond the largest amount is the largest amount.
#[expect(clippy::cast_possible_truncation, reason = "rounded, and meant to stop at the largest amount")]
fn money(estimate: f64, currency: Currency) -> Money {
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

/// A model and what it was fitted to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ModelAnswer {
    /// Its id.
    id: String,
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
}

impl From<SavedModel> for ModelAnswer {
    fn from(model: SavedModel) -> Self {
        Self {
            id: model.id.to_string(),
            created_at: model.created_at.rfc3339(),
            currency: model.currency,
            parameters: model.parameters,
            purchases_log_likelihood: model.purchases_log_likelihood,
            gamma_gamma_log_likelihood: model.gamma_gamma_log_likelihood,
            data_sha256: model.data_sha256,
            orders: model.orders,
            customers: model.customers,
            calibrate_until: model.calibrate_until,
        }
    }
}
