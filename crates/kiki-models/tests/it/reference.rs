//! Predictions against those that `tools/ltv_reference.py` computed from the papers' closed forms in many digits.

use kiki_models::ltv::{BetaGeometric, BgBb, History, Opportunities, ParetoNbd, PurchaseModel};
use serde_json::Value;

fn grid(name: &str) -> Vec<Vec<f64>> {
    let all: Value = serde_json::from_str(include_str!("../data/reference.json")).unwrap();
    let row = |row: &Value| row.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    all[name].as_array().unwrap().iter().map(row).collect()
}

fn whole(number: f64) -> u32 {
    format!("{number}").parse().unwrap()
}

/// Relative, but for what is too small to matter or to be held by a double.
fn assert_close(is: f64, should: f64, tolerance: f64, what: &str, row: &[f64]) {
    assert!((is - should).abs() <= tolerance * should.abs().max(1e-250), "{what}: {is} is not {should} for {row:?}");
}

fn beta_geometric<const FIRST: u32>(rows: &[Vec<f64>]) {
    for row in rows {
        let &[_, r, alpha, a, b, x, recency, age, weeks, alive, purchases, stays, count] = &row[..] else { panic!() };
        let model = BetaGeometric::<FIRST>::new(r, alpha, a, b).unwrap();
        let history = History::new(x, recency, age).unwrap();
        assert_close(model.probability_alive(&history), alive, 1e-12, "alive", row);
        assert_close(model.expected_purchases_if_alive(&history, weeks), purchases, 1e-12, "purchases", row);
        let quick = model.predict_all(&[history], weeks)[0].purchases;
        assert_close(quick, alive * purchases, 2e-12, "purchases of many", row);
        assert_close(model.probability_alive_after(&history, weeks), alive * stays, 2e-12, "alive after", row);
        let is = model.probability_of_purchases(whole(x.min(40.0)), weeks);
        assert!((is - count).abs() < 1e-12, "{is} is not {count} for {row:?}");
        if x < 1.0 {
            // A new customer's expectation is that of somebody known for no time.
            let new = History::new(0.0, 0.0, 0.0).unwrap();
            let by_then = model.expected_purchases(&new, weeks);
            assert_close(model.expected_by(weeks), by_then, 1e-13, "of a new one", row);
        }
    }
}

#[test]
fn beta_geometric_predictions_agree_to_twelve_digits() {
    let (without, with): (Vec<_>, Vec<_>) = grid("beta_geometric").into_iter().partition(|row| row[0] < 0.5);
    assert!(without.len() > 200 && without.len() == with.len());
    beta_geometric::<0>(&without);
    beta_geometric::<1>(&with);
}

#[test]
fn pareto_predictions_agree_to_twelve_digits() {
    let rows = grid("pareto");
    assert!(rows.len() > 100);
    for row in &rows {
        let &[r, alpha, s, beta, x, recency, age, weeks, value, alive, purchases, stays] = &row[..] else { panic!() };
        let model = ParetoNbd::new(r, alpha, s, beta).unwrap();
        let history = History::new(x, recency, age).unwrap();
        let is = model.log_likelihood(&[history]);
        assert!((is - value).abs() < 1e-12 * value.abs().max(1.0), "likelihood: {is} is not {value} for {row:?}");
        assert_close(model.probability_alive(&history), alive, 1e-12, "alive", row);
        assert_close(model.expected_purchases_if_alive(&history, weeks), purchases, 1e-12, "purchases", row);
        assert_close(model.probability_alive_after(&history, weeks), alive * stays, 2e-12, "alive after", row);
    }
}

#[test]
fn pareto_counts_agree_to_twelve_digits() {
    for row in grid("pareto_counts") {
        let &[r, alpha, s, beta, x, weeks, probability] = &row[..] else { panic!() };
        let is = ParetoNbd::new(r, alpha, s, beta).unwrap().probability_of_purchases(whole(x), weeks);
        assert!((is - probability).abs() < 1e-12, "{is} is not {probability} for {row:?}");
    }
}

#[test]
fn bgbb_predictions_agree_to_twelve_digits() {
    for row in grid("bgbb") {
        let &[alpha, beta, gamma, delta, x, last, n, ahead, alive, purchases, new, count] = &row[..] else { panic!() };
        let model = BgBb::new(alpha, beta, gamma, delta).unwrap();
        let customer = Opportunities::new(whole(x), whole(last), whole(n)).unwrap();
        assert_close(model.probability_alive(&customer), alive, 1e-12, "alive", &row);
        assert_close(model.expected_purchases(&customer, whole(ahead)), purchases, 2e-12, "purchases", &row);
        assert_close(model.expected_by(whole(n)), new, 1e-12, "of a new one", &row);
        assert_close(model.probability_of_purchases(whole(x), whole(n)), count, 2e-12, "count", &row);
    }
}
