//! Bodies of requests and of answers, for fuzzing.

use super::body::{Asked, ChurnAnswer, PredictionAnswer, PredictionsBody};
use super::orders::OrdersBody;
use crate::value::fuzzing::assert_numbers;
use crate::value::model::{Churn, Prediction, Question, SavedModel};

/// Questions of a body, as many as an answer is worth computing for.
pub(in crate::value) fn asked(body: &[u8]) -> Vec<Question> {
    let Ok(body) = serde_json::from_slice::<PredictionsBody>(body) else { return Vec::new() };
    let mut questions = match body.asked(true) {
        Ok(Asked::One(question)) => vec![question],
        Ok(Asked::Batch(questions)) => questions,
        Err(_) => Vec::new(),
    };
    questions.truncate(4);
    questions
}

/// The body of orders, taken as far as the database.
pub(in crate::value) fn orders(body: &[u8]) {
    if let Ok(body) = serde_json::from_slice::<OrdersBody>(body) {
        _ = body.orders();
    }
}

/// That answers hold numbers, their intervals too, each about its value.
pub(in crate::value) fn assert_answers(model: &SavedModel, prediction: Prediction, churn: Churn) {
    let churn = assert_numbers(&ChurnAnswer::new(model, churn));
    let prediction = assert_numbers(&PredictionAnswer::new(model, prediction));
    for (json, what) in [
        (&churn, "churn"),
        (&churn, "probability_alive"),
        (&churn, "probability_alive_after"),
        (&prediction, "expected_purchases"),
        (&prediction, "probability_alive"),
        (&prediction, "value"),
    ] {
        let of = |name: &str| json["intervals"][what][name].as_f64().expect("a number");
        assert!(0.0 <= of("low") && of("low") <= of("value") && of("value") <= of("high"), "{what}: {json}");
    }
}
