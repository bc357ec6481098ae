use proptest::prelude::*;

use super::*;
use crate::ltv::newton::assert_derivatives;

#[test]
fn parameters_are_read_back_and_checked() {
    let model = ParetoNbd::new(0.553, 10.578, 0.606, 11.669).unwrap();
    let json = serde_json::to_string(&model).unwrap();
    assert_eq!(json, r#"{"r":0.553,"alpha":10.578,"s":0.606,"beta":11.669}"#);
    assert_eq!(serde_json::from_str::<ParetoNbd>(&json).unwrap(), model);
    assert!(serde_json::from_str::<ParetoNbd>(r#"{"r":0.553,"alpha":10.578,"s":0,"beta":11.669}"#).is_err());
    assert_eq!(ParetoNbd::new(0.5, 10.0, 0.6, f64::NAN).unwrap_err().name, "beta");
}

/// s = 1 is where the papers' expectation divides by zero.
#[test]
fn expectations_pass_smoothly_through_a_shape_of_one() {
    let history = History::new(2.0, 30.0, 39.0).unwrap();
    let at = |s: f64| ParetoNbd::new(0.5, 10.0, s, 12.0).unwrap().expected_purchases_if_alive(&history, 52.0);
    let mean = 0.5 * (at(1.0 - 1e-6) + at(1.0 + 1e-6));
    assert!((at(1.0) / mean - 1.0).abs() < 1e-11, "{} {mean}", at(1.0));
    for s in [1.0 - 1e-13, 1.0 + 1e-13] {
        assert!((at(s) / at(1.0) - 1.0).abs() < 1e-12);
    }
}

/// Those without a repeat purchase are looked up by age, which must be their own.
#[test]
fn many_customers_are_predicted_as_each_of_them() {
    let model = ParetoNbd::new(0.553, 10.578, 0.606, 11.669).unwrap();
    let history = |i: u32| {
        let (age, x) = (f64::from(i % 41) + 1.0, f64::from(i % 3));
        History::new(x, if x > 0.0 { age * 0.7 } else { 0.0 }, age).unwrap()
    };
    let histories: Vec<History> = (0..10_000).map(history).collect();
    for (is, history) in model.predict_all(&histories, 52.0).iter().zip(&histories) {
        assert_eq!(is.probability_alive.to_bits(), model.probability_alive(history).to_bits(), "{history:?}");
        assert_eq!(is.purchases.to_bits(), model.expected_purchases(history, 52.0).to_bits(), "{history:?}");
    }
}

#[test]
fn the_shortest_time_that_a_number_can_tell_is_answered() {
    let model = ParetoNbd::new(0.553, 10.578, 0.606, 11.669).unwrap();
    for weeks in [5e-324, f64::MIN_POSITIVE, 1e-301] {
        assert_eq!(model.probability_of_purchases(0, weeks).to_bits(), 1.0_f64.to_bits());
        assert!(model.probability_of_purchases(1, weeks) < 1e-300);
    }
}

/// A history that takes an updated parameter out of its range is no different.
#[test]
fn no_purchase_of_frequent_and_of_old_customers() {
    let at = |x: f64, age: f64| {
        let model = ParetoNbd::new(0.553, 10.578, 0.606, 11.669).unwrap();
        model.probability_of_no_purchase_if_alive(&History::new(x, age, age).unwrap(), 1e-6 * age)
    };
    assert!((at(1e6, 1e6) / (-1.0_f64).exp() - 1.0).abs() < 1e-4, "{}", at(1e6, 1e6));
    assert!((at(1e6, 1e6) / at(999_999.0, 999_980.0) - 1.0).abs() < 1e-4);
}

/// More purchases than the papers' form can raise a number to.
#[test]
fn frequent_customers_overflow_nothing() {
    let model = ParetoNbd::new(0.553, 10.578, 0.606, 11.669).unwrap();
    let faithful = History::new(5_000.0, 99.99, 100.0).unwrap();
    let silent = History::new(5_000.0, 50.0, 100.0).unwrap();
    assert!(model.probability_alive(&faithful) > 0.99 && model.probability_alive(&silent) < 1e-300);
    assert!(model.log_likelihood(&[faithful, silent]).is_finite());
}

proptest! {
    #[test]
    fn the_gradient_and_the_curvature_are_those_of_the_likelihood(
        histories in prop::collection::vec((0..40_u32, 0.0..1.0, 1.0..200.0), 1..20),
        at in [-2.0..2.0_f64, -2.0..4.0, -2.0..2.0, -2.0..4.0],
    ) {
        let histories: Vec<History> = histories
            .into_iter()
            .map(|(x, part, age)| History::new(x.into(), if x == 0 { 0.0 } else { age * part }, age).unwrap())
            .collect();
        let groups = Groups::new(&histories);
        let surface = |at: [f64; 4]| likelihood::surface(&groups, &at.map(f64::exp));
        assert_derivatives(surface, at, 1e-8);
    }
}
