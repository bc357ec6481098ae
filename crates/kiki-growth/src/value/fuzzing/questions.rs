//! Questions of callers, over HTTP as JSON and over gRPC as numbers of any kind, put to the models that CDNOW gives.

use kiki_models::ltv::{Covariance, GammaGamma, History, Terms};
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::predict_ltv_request::Who as ProtoWho;
use kiki_types::{Currency, UnixMillis};
use uuid::Uuid;

use super::assert_numbers;
use crate::value::api::fuzzing as http;
use crate::value::grpc;
use crate::value::kind::Purchases;
use crate::value::model::{About, Covariances, Parameters, Prediction, Question, SavedModel, Scope, Who};

/// Asks one of the three models, chosen by the first byte, what the rest says: JSON, or where the second is no brace, numbers.
///
/// # Panics
/// An answer makes no sense.
pub fn questions(bytes: &[u8]) {
    let [which, question @ ..] = bytes else { return };
    let model = model(usize::from(*which));
    if question.first() == Some(&b'{') {
        http::orders(question);
        for (about, terms) in http::asked(question).into_iter().filter_map(about) {
            assert_answer(&model, about, &terms);
        }
        return;
    }
    let mut numbers = question.chunks(8).map(|chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        f64::from_le_bytes(bytes)
    });
    let mut next = || numbers.next().unwrap_or_default();
    let history = proto::History { frequency: next(), recency: next(), age: next(), monetary: next() };
    let asked = proto::PredictLtvRequest {
        who: Some(ProtoWho::History(history)),
        horizon_weeks: next(),
        monthly_discount: Some(next()),
        or_population: false,
        intervals: true,
    };
    let wanted = proto::SelectCustomersRequest {
        value_min: Some(next()),
        value_max: Some(next()),
        probability_alive_min: Some(next()),
        probability_alive_max: Some(next()),
        horizon_weeks: next(),
        monthly_discount: Some(next()),
        ..Default::default()
    };
    _ = grpc::selection(&wanted);
    if let Some((about, terms)) = grpc::question(asked).ok().and_then(about) {
        assert_answer(&model, about, &terms);
    }
}

/// What CDNOW gives, with the covariances that it leaves.
fn model(which: usize) -> SavedModel {
    let purchases = [
        r#"{"bgnbd":{"r":0.24259,"alpha":4.4135,"a":0.79289,"b":2.4258}}"#,
        r#"{"mbgnbd":{"r":0.52484,"alpha":6.1830,"a":0.89136,"b":1.6140}}"#,
        r#"{"pareto_nbd":{"r":0.55328,"alpha":10.578,"s":0.60621,"beta":11.668}}"#,
    ];
    let purchases: Purchases = serde_json::from_str(purchases[which % 3]).expect("a model");
    let gamma_gamma = GammaGamma::new(6.2488, 3.7446, 15.448).expect("a model");
    let covariance = |variance: f64, size: usize| {
        let row = |i: usize| (0..size).map(|j| if i == j { variance } else { variance / 2.0 }).collect();
        Covariance::try_from((0..size).map(row).collect::<Vec<Vec<f64>>>()).expect("a covariance")
    };
    SavedModel {
        id: Uuid::nil().into(),
        version: 1,
        created_at: UnixMillis(0),
        promoted_at: UnixMillis(0),
        currency: Currency::USD,
        parameters: Parameters { purchases, gamma_gamma },
        covariances: Covariances { purchases: covariance(0.02, 4), gamma_gamma: covariance(0.02, 3) },
        purchases_log_likelihood: -9_582.4,
        gamma_gamma_log_likelihood: -4_055.9,
        data_sha256: String::new(),
        orders: 6_919,
        customers: 2_357,
        calibrate_until: "1997-09-30".to_owned(),
        figures: serde_json::Value::Null,
    }
}

/// Everybody by name is somebody new.
fn about(question: Question) -> Option<(About, Terms)> {
    let new = || History::new(0.0, 0.0, 0.0).ok();
    let about = match question.who {
        Who::History(history, monetary) => About { customer_id: String::new(), history, monetary, population: false },
        Who::Customer(customer_id) => About { customer_id, history: new()?, monetary: 0.0, population: true },
    };
    Some((about, question.scope.terms))
}

/// What a caller is told, whichever way they ask.
pub(super) fn assert_answer(model: &SavedModel, about: About, terms: &Terms) {
    let context = format!("{:?} {about:?} {terms:?}", model.parameters);
    let scope = Scope { terms: *terms, intervals: true };
    let churn = model.churn(about.clone(), &scope);
    let prediction = model.predict(about, &scope);
    let [alive, after, silent] =
        [churn.probability_alive, churn.probability_alive_after, churn.probability_of_no_purchase];
    assert!([alive, after, silent].iter().all(|part| (0.0..=1.0).contains(part)), "{churn:?}: {context}");
    assert!(after <= alive * (1.0 + 1e-9), "{churn:?}: {context}");
    // Whoever buys is there, and buys at least once.
    let buys = 1.0 - silent;
    assert!(buys <= alive + 1e-9 && buys <= prediction.expected_purchases + 1e-9, "{churn:?}: {context}");
    let most = 1.0 - no_purchase(&model.parameters.purchases, &prediction.about.history, terms.horizon_weeks());
    assert!(after * most <= buys + 1e-9, "{churn:?}: who stays buys as often as they do: {context}");
    assert_numbers(&grpc_numbers(model, &prediction));
    http::assert_answers(model, prediction, churn);
}

/// The probability that somebody who stays for the whole horizon does not buy in it.
fn no_purchase(purchases: &Purchases, history: &History, weeks: f64) -> f64 {
    let (r, alpha) = match purchases {
        Purchases::BgNbd(model) => (model.r(), model.alpha()),
        Purchases::MbgNbd(model) => (model.r(), model.alpha()),
        Purchases::ParetoNbd(model) => (model.r(), model.alpha()),
    };
    (-(r + f64::from(history.frequency())) * (weeks / (alpha + history.age())).ln_1p()).exp()
}

/// What gRPC answers, as something that is JSON.
fn grpc_numbers(model: &SavedModel, prediction: &Prediction) -> [f64; 4] {
    let answer = grpc::response(model, prediction.clone());
    [answer.expected_purchases, answer.probability_alive, answer.value, answer.expected_order_value]
}
