use super::*;
use crate::ltv::{BgNbd, GammaGamma, History, PurchaseModel as _};

const SUMMARY: &str = include_str!("../../../../../examples/cdnow/cdnow_customers_summary.csv");

fn cdnow() -> Vec<History> {
    let number = |text: &str| text.trim().parse::<f64>().unwrap();
    let fields = |line: &str| line.split(',').skip(1).map(number).collect::<Vec<f64>>();
    SUMMARY.lines().skip(1).map(fields).map(|row| History::new(row[0], row[1], row[2]).unwrap()).collect()
}

/// The standard errors that CLVTools and others print for CDNOW come from numerical second derivatives; these are exact, so
/// the test is what they mean: how far the likelihood falls off the optimum.
#[test]
fn the_likelihood_falls_as_the_standard_errors_say() {
    let (histories, step) = (cdnow(), 0.01);
    let fit = BgNbd::fit(&histories).unwrap();
    for (i, of) in fit.parameters().iter().enumerate() {
        // Along the direction in which only this parameter's estimate and what is correlated with it move.
        let row = &fit.covariance.rows()[i];
        let moved = |by: f64| {
            let values: Vec<f64> = fit
                .model
                .values()
                .iter()
                .zip(row)
                .map(|(value, entry)| value * (by * entry / row[i].sqrt()).exp())
                .collect();
            BgNbd::with_values(&values).unwrap().log_likelihood(&histories)
        };
        // By half the square of the standard errors moved.
        let fall = fit.log_likelihood - 0.5 * (moved(step) + moved(-step));
        assert!((fall / (0.5 * step * step) - 1.0).abs() < 1e-3, "{}: {fall}", of.name);
        assert!((of.estimate.standard_error / of.estimate.value / row[i].sqrt() - 1.0).abs() < 1e-12);
    }
}

#[test]
fn the_slope_of_an_estimate_is_that_of_the_function() {
    let covariance = Covariance::new(&[[0.04, 0.0, 0.0], [0.0, 0.09, 0.0], [0.0, 0.0, 0.0]]);
    let model = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
    // p^2 q: slopes by the logarithms 2 and 1 times the value.
    let estimate = covariance.estimate(&model, Scale::Positive, |model| model.p() * model.p() * model.q());
    let (value, error) = (6.25 * 6.25 * 3.74, (4.0 * 0.04_f64 + 0.09).sqrt());
    assert!((estimate.value / value - 1.0).abs() < 1e-14);
    assert!((estimate.standard_error / (value * error) - 1.0).abs() < 1e-7, "{estimate:?}");
    assert!((estimate.high / estimate.value).ln() / error - DEVIATIONS_95 < 1e-7);
    assert!((estimate.high * estimate.low / (value * value) - 1.0).abs() < 1e-12);
}

#[test]
fn an_interval_keeps_to_its_scale() {
    let positive = Estimate::new(2.0, 5.0, Scale::Positive);
    assert!(positive.low > 0.0 && positive.high > 2.0);
    let likely = Estimate::new(0.999, 0.5, Scale::Probability);
    assert!(likely.low > 0.0 && likely.low < 0.999 && likely.high > 0.999 && likely.high <= 1.0, "{likely:?}");
    let even = Estimate::new(0.5, 0.05, Scale::Probability);
    assert!((even.low + even.high - 1.0).abs() < 1e-12 && even.low > 0.40 && even.low < 0.41, "{even:?}");
    // What does not move has no interval: such as being alive without a chance to leave.
    for scale in [Scale::Positive, Scale::Probability] {
        let certain = Estimate::new(1.0, 0.0, scale);
        assert_eq!((certain.low, certain.high, certain.standard_error), (1.0, 1.0, 0.0));
    }
    for (value, error) in [(1e-300, 1e300), (1e300, 1e300), (0.0, 1.0), (0.0, 0.0), (1.0, f64::NAN)] {
        for scale in [Scale::Positive, Scale::Probability] {
            let Estimate { low, high, .. } = Estimate::new(value, error, scale);
            assert!(!low.is_nan() && !high.is_nan() && low <= high, "{value} {error}: {low} {high}");
        }
    }
}

#[test]
fn a_sum_over_customers_is_less_certain_than_they_are_apart_only_where_they_hang_together() {
    let histories = cdnow();
    let fit = BgNbd::fit(&histories).unwrap();
    let sum = |model: &BgNbd| model.predict_all(&histories, 39.0).iter().map(|one| one.purchases).sum::<f64>();
    let cohort = fit.estimate(Scale::Positive, sum);
    let one = fit.estimate(Scale::Positive, |model| model.expected_purchases(&histories[0], 39.0));
    // One customer's purchases are 1.226 in the paper.
    assert_eq!(format!("{:.3}", one.value), "1.226");
    assert!(one.low < 1.226 && one.high > 1.226 && one.standard_error < 0.1, "{one:?}");
    assert!(cohort.value > 1_000.0 && cohort.standard_error / cohort.value < 0.1, "{cohort:?}");
}

#[test]
fn the_variance_of_a_value_is_what_both_models_add() {
    let purchases = BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap();
    let spend = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
    let of_purchases = Covariance::new(&[[0.01, 0.0, 0.0, 0.0], [0.0; 4], [0.0; 4], [0.0; 4]]);
    let of_spend = Covariance::new(&[[0.0; 3], [0.0; 3], [0.0, 0.0, 0.03]]);
    let product = joint_estimate((&purchases, &of_purchases), (&spend, &of_spend), |one, other| one.r() * other.v());
    let relative = product.standard_error / product.value;
    assert!((relative - 0.2).abs() < 1e-7, "{product:?}");
}

#[test]
fn a_fit_is_read_back_and_what_is_no_covariance_refused() {
    let fit = BgNbd::fit(&cdnow()).unwrap();
    let json = serde_json::to_string(&fit).unwrap();
    assert_eq!(serde_json::from_str::<Fit<BgNbd>>(&json).unwrap(), fit);
    for wrong in ["[[1.0,2.0]]", "[[-1.0]]", "[[1,0,0,0,0],[0,1,0,0,0],[0,0,1,0,0],[0,0,0,1,0],[0,0,0,0,1]]"] {
        assert!(serde_json::from_str::<Covariance>(wrong).is_err(), "{wrong}");
    }
}
