use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::ltv::newton::assert_derivatives;
use crate::ltv::{BgNbd, Purchase, PurchaseModel as _, Summary, simulate, simulate_spend};

const SAMPLE: &str = include_str!("../../../../../examples/cdnow/CDNOW_sample.txt");

/// Days as the sample has them: 1997 and 1998 have 365 each. The 1st of January 1997 is day 1.
fn day(date: &str) -> i32 {
    const BEFORE: [i32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let number = |part: &str| part.parse::<i32>().unwrap();
    let month = usize::try_from(number(&date[4..6])).unwrap();
    365 * (number(&date[..4]) - 1997) + BEFORE[month - 1] + number(&date[6..])
}

/// The sample's customers until the 30th of September 1997.
fn cdnow() -> Vec<Summary> {
    let mut customers: std::collections::BTreeMap<&str, Vec<Purchase>> = std::collections::BTreeMap::new();
    for line in SAMPLE.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let micros = kiki_types::money::parse_micros(fields[4]).unwrap();
        customers.entry(fields[1]).or_default().push(Purchase { day: day(fields[2]), micros });
    }
    customers.values().map(|purchases| Summary::of(purchases, day("19970930")).unwrap()).collect()
}

fn spends(customers: &[Summary]) -> Vec<Spend> {
    customers.iter().filter_map(|one| Spend::new(&one.history().unwrap(), one.monetary())).collect()
}

/// The figures that lifetimes 0.11.3 documents for CDNOW, from spend summed by the day; note 025 has 6.25, 3.74, 15.44 too.
#[test]
fn the_fit_of_cdnow_is_the_published_one() {
    let customers = cdnow();
    let fit = GammaGamma::fit(&spends(&customers)).unwrap();
    assert_eq!([fit.model.p, fit.model.q, fit.model.v].map(|value| format!("{value:.2}")), ["6.25", "3.74", "15.44"]);
    assert_eq!((customers.len(), fit.customers), (2_357, 946));
    // lifetimes, run on the same days: -4055.9177.
    assert_eq!(format!("{:.4}", fit.log_likelihood), "-4055.9177");
    assert!(fit.gradient < 1e-9 && fit.iterations < 30, "{fit:?}");
}

/// The sample's days give the same BG/NBD as the published summary, whose weeks are rounded.
#[test]
fn bgnbd_on_the_sample_itself_is_the_published_one() {
    let histories: Vec<History> = cdnow().iter().map(|one| one.history().unwrap()).collect();
    let fit = BgNbd::fit(&histories).unwrap();
    let model = [fit.model.r(), fit.model.alpha(), fit.model.a(), fit.model.b()];
    assert_eq!(model.map(|value| format!("{value:.3}")), ["0.243", "4.414", "0.793", "2.426"]);
    assert_eq!(format!("{:.1}", fit.log_likelihood), "-9582.4");
}

/// lifetimes 0.11.3, `conditional_expected_average_profit` with the published parameters.
#[test]
fn expected_order_values_agree_with_lifetimes() {
    let model = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
    for (frequency, monetary, should) in [
        (2, 22.35, 24.663_713_910_761_157),
        (0, 0.0, 35.218_978_102_189_78),
        (1, 11.77, 18.916_852_057_842_05),
        (29, 30.0, 30.077_721_615_305_18),
        (7, 50.0, 49.128_844_912_884_49),
    ] {
        let is = model.expected_order_value(frequency, monetary);
        assert!((is / should - 1.0).abs() < 1e-12, "{is} is not {should}");
    }
}

fn spend(frequency: f64, monetary: f64) -> Spend {
    Spend::new(&History::new(frequency, 1.0, 2.0).unwrap(), monetary).unwrap()
}

#[test]
fn customers_whose_mean_is_infinite_are_refused() {
    let (rare, wild) = (BgNbd::new(2.0, 60.0, 0.5, 5.0).unwrap(), GammaGamma { p: 2.0, q: 0.6, v: 5.0 });
    let mut random = StdRng::seed_from_u64(4);
    let customers = (0..3_000).map(|_| simulate(&rare, &wild, 364, &mut || random.random()));
    let spends: Vec<Spend> = customers.filter_map(|one| Spend::new(&one.history, one.monetary)).collect();
    assert!(matches!(GammaGamma::fit(&spends), Err(FitError::InfiniteMean { q }) if (0.5..0.7).contains(&q)));
}

#[test]
fn spend_is_learned_from_repeat_purchases_of_some_value_only() {
    let none = History::new(0.0, 0.0, 5.0).unwrap();
    let two = History::new(2.0, 3.0, 5.0).unwrap();
    assert!(Spend::new(&two, 0.01).is_some());
    assert_eq!(Spend::new(&none, 9.0), None);
    for useless in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e14] {
        assert_eq!(Spend::new(&two, useless), None, "{useless}");
    }
}

#[test]
fn parameters_are_read_back_and_checked() {
    let model = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
    let json = serde_json::to_string(&model).unwrap();
    assert_eq!(serde_json::from_str::<GammaGamma>(&json).unwrap(), model);
    assert!(serde_json::from_str::<GammaGamma>(r#"{"p":6.25,"q":0.5,"v":15.44}"#).is_err());
    assert_eq!(GammaGamma::new(6.25, 1.0, 15.44).unwrap_err().name, "q");
    assert_eq!(GammaGamma::new(6.25, 3.74, f64::NAN).unwrap_err().name, "v");
}

proptest! {
    #[test]
    fn the_gradient_and_the_curvature_are_those_of_the_likelihood(
        given in prop::collection::vec((1..40_u32, 0.01..500.0), 1..20),
        at in [-2.0..3.0_f64, -2.0..3.0, -2.0..5.0],
    ) {
        let spends: Vec<Spend> = given.into_iter().map(|(x, monetary)| spend(x.into(), monetary)).collect();
        let rows = Rows::group(&spends);
        assert_derivatives(|at: [f64; 3]| rows.surface(&at.map(f64::exp)), at, 1e-7);
    }

    #[test]
    fn every_order_value_is_an_amount(
        p in -13.8..13.8_f64, q in 1e-5..1e5, v in -20.0..30.0_f64, x in any::<u32>(), monetary in any::<f64>(),
    ) {
        let model = GammaGamma::new(p.exp(), 1.0 + q, v.exp()).unwrap();
        let value = model.expected_order_value(x, monetary);
        prop_assert!(value.is_finite() && value >= 0.0, "{value}");
    }
}

#[test]
fn what_purchases_are_worth_together_scatters_as_it_is_said_to() {
    let spend = GammaGamma::new(2.0, 9.0, 80.0).unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let sums: Vec<f64> = (0..40_000).map(|_| simulate_spend(&spend, 3, &mut || random.random()).iter().sum()).collect();
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    let variance = sums.iter().map(|sum| (sum - mean) * (sum - mean)).sum::<f64>() / sums.len() as f64;
    let seen = spend.seen(0.0, 3.0, (0, 0.0));
    assert!((mean / seen.expected - 1.0).abs() < 0.02, "{mean} {seen:?}");
    assert!((variance / seen.variance - 1.0).abs() < 0.1, "{variance} {seen:?}");

    // Whoever spent 4 times 30 is like somebody new of the model that knows it.
    let known = GammaGamma::new(2.0, 9.0 + 2.0 * 4.0, 80.0 + 4.0 * 30.0).unwrap();
    let (known, of_history) = (known.seen(1.0, 3.0, (0, 0.0)), spend.seen(1.0, 3.0, (4, 30.0)));
    assert!((known.expected / of_history.expected - 1.0).abs() < 1e-12);
    assert!((known.variance / of_history.variance - 1.0).abs() < 1e-12);
    let heavy = GammaGamma::new(2.0, 1.5, 80.0).unwrap();
    assert!(heavy.seen(1.0, 3.0, (0, 0.0)).variance <= 0.0, "it has none");
}
