use super::*;
use crate::ltv::{BgNbd, Fit, ParetoNbd, Spend, discounted_values, joint_estimate};

const SUMMARY: &str = include_str!("../../../../../examples/cdnow/cdnow_customers_summary.csv");

/// With made-up amounts, of which those of equal histories differ.
fn cdnow() -> Vec<(History, f64)> {
    let number = |text: &str| text.trim().parse::<f64>().unwrap();
    let fields = |line: &str| line.split(',').skip(1).map(number).collect::<Vec<f64>>();
    let rows = SUMMARY.lines().skip(1).map(fields).zip(0_u32..);
    let monetary = |frequency: f64, row: u32| if frequency > 0.0 { 3.0 + f64::from(row * row % 97) } else { 0.0 };
    rows.map(|(row, at)| (History::new(row[0], row[1], row[2]).unwrap(), monetary(row[0], at))).collect()
}

fn agrees(is: &Estimate, should: &Estimate) {
    let pairs = [
        (is.value, should.value),
        (is.standard_error, should.standard_error),
        (is.low, should.low),
        (is.high, should.high),
    ];
    // The slopes are differences, of sums in another order.
    assert!(pairs.iter().all(|(is, should)| (is / should - 1.0).abs() < 1e-7), "{is:?} is not {should:?}");
}

/// Beside what is computed for each customer by themselves.
fn is_the_sum<P: PurchaseModel + Parametric>(
    fit: &Fit<P>,
    spend: &Fit<GammaGamma>,
    customers: &[(History, f64)],
    terms: &Terms,
) {
    let histories: Vec<History> = customers.iter().map(|(history, _)| *history).collect();
    let of_spend = (&spend.model, &spend.covariance);
    let cohort = cohort_estimate((&fit.model, &fit.covariance), of_spend, customers, terms);
    assert_eq!(cohort.customers, 2_357);
    let bought = |model: &P| histories.iter().map(|history| model.expected_purchases(history, 39.0)).sum();
    agrees(&cohort.expected_purchases, &fit.estimate(Scale::Positive, bought));
    let worth = |model: &P, spend: &GammaGamma| discounted_values(model, spend, customers, terms).iter().sum();
    agrees(&cohort.value, &joint_estimate((&fit.model, &fit.covariance), of_spend, worth));
    let alive = |model: &P| histories.iter().map(|history| model.probability_alive(history)).sum::<f64>();
    let alive = fit.estimate(Scale::Positive, alive);
    assert!((cohort.alive.value / alive.value - 1.0).abs() < 1e-12);
    assert!((cohort.alive.standard_error / alive.standard_error - 1.0).abs() < 1e-7);
    assert!(cohort.alive.low < alive.value && alive.value < cohort.alive.high && cohort.alive.high < 2_357.0);
    // Added up as if every customer had parameters of their own, it would look settled.
    let apart = |(history, _): &(History, f64)| {
        fit.estimate(Scale::Positive, |model| model.expected_purchases(history, 39.0)).standard_error.powi(2)
    };
    let apart = customers.iter().map(apart).sum::<f64>().sqrt();
    assert!(cohort.expected_purchases.standard_error > 10.0 * apart, "{apart}");
}

#[test]
fn a_cohort_is_the_sum_of_its_customers_and_as_uncertain_as_that_sum() {
    let customers = cdnow();
    let histories: Vec<History> = customers.iter().map(|(history, _)| *history).collect();
    let spends: Vec<Spend> =
        customers.iter().filter_map(|(history, monetary)| Spend::new(history, *monetary)).collect();
    let spend = GammaGamma::fit(&spends).unwrap();
    let terms = Terms::new(39.0, 0.01).unwrap();
    let bgnbd = BgNbd::fit(&histories).unwrap();
    let pareto = ParetoNbd::fit(&histories).unwrap();
    is_the_sum(&bgnbd, &spend, &customers, &terms);
    is_the_sum(&pareto, &spend, &customers, &terms);
}

#[test]
fn one_customer_is_a_cohort_and_nobody_is_worth_nothing() {
    let (purchases, spend) =
        (BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap(), GammaGamma::new(6.25, 3.74, 15.44).unwrap());
    let covariance = |entry: f64, size: usize| {
        let rows: Vec<Vec<f64>> =
            (0..size).map(|i| (0..size).map(|j| if i == j { entry } else { 0.0 }).collect()).collect();
        Covariance::try_from(rows).unwrap()
    };
    let (own, of_spend) = (covariance(0.01, 4), covariance(0.02, 3));
    let terms = Terms::new(52.0, 0.01).unwrap();
    let history = History::new(2.0, 30.43, 38.86).unwrap();
    let estimate =
        |customers: &[(History, f64)]| cohort_estimate((&purchases, &own), (&spend, &of_spend), customers, &terms);
    let one = estimate(&[(history, 22.35)]);
    let alive = own.estimate(&purchases, Scale::Probability, |model| model.probability_alive(&history));
    agrees(&one.alive, &alive);
    let twice = estimate(&[(history, 22.35); 2]);
    assert!((twice.value.standard_error / one.value.standard_error - 2.0).abs() < 1e-9);
    let nobody = estimate(&[]);
    for estimate in [nobody.expected_purchases, nobody.alive, nobody.value] {
        let numbers = [estimate.value, estimate.standard_error, estimate.low, estimate.high];
        assert!(numbers.iter().all(|number| number.abs() < f64::MIN_POSITIVE), "{estimate:?}");
    }
}
