use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::ltv::newton::assert_derivatives;
use crate::ltv::{GammaGamma, WEEKS_MAX, simulate};

const SUMMARY: &str = include_str!("../../../../../examples/cdnow/cdnow_customers_summary.csv");

/// Frequency, recency and age of the 2,357 customers, rounded to hundredths of a week by whoever made the file.
fn cdnow() -> Vec<History> {
    let number = |text: &str| text.parse::<f64>().unwrap();
    let rows = SUMMARY.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.trim().split(',').collect();
        History::new(number(fields[1]), number(fields[2]), number(fields[3])).unwrap()
    });
    rows.collect()
}

fn published() -> BgNbd {
    BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap()
}

/// Fader, Hardie and Lee 2005, table 2.
#[test]
fn the_fit_of_cdnow_is_the_published_one() {
    let histories = cdnow();
    let fit = BgNbd::fit(&histories).unwrap();
    let rounded = fit.model.parameters().map(|value| format!("{value:.3}"));
    assert_eq!(rounded, ["0.243", "4.414", "0.793", "2.426"]);
    assert_eq!(format!("{:.1}", fit.log_likelihood), "-9582.4");
    assert_eq!((histories.len(), fit.customers), (2_357, 2_357));
    assert!(fit.gradient < 1e-9 && fit.iterations < 20, "{fit:?}");
    assert!((fit.model.log_likelihood(&histories) - fit.log_likelihood).abs() < 1e-8);
}

#[test]
fn expected_purchases_of_new_customers_are_what_happens_to_them() {
    // So slow that two purchases of one day are rare.
    let model = BgNbd::new(2.0, 20.0, 0.4, 5.0).unwrap();
    let new = History::new(0.0, 0.0, 0.0).unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let spend = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
    let mut bought = 0.0;
    for _ in 0..40_000 {
        bought += f64::from(simulate(&model, &spend, 273, &mut || random.random()).history.frequency()) / 40_000.0;
    }
    let expected = model.expected_purchases(&new, 39.0);
    assert!((bought / expected - 1.0).abs() < 0.02, "{bought} {expected}");
}

/// lifetimes 0.11.3 with the published parameters, `conditional_expected_number_of_purchases_up_to_time` after 1, 39,
/// 52.14 and 520 weeks, and `conditional_probability_alive`. The first customer is the paper's example (section 5: 1.226
/// purchases in 39 weeks).
#[test]
fn predictions_agree_with_lifetimes() {
    let (age, recency) = (38.857_142_857_142_854, 38.428_571_428_571_43);
    #[rustfmt::skip]
    let customers = [
        ([2.0, 30.43, 38.86], 0.726_578_570_080_673,
         [0.037_447_969_741_733_936, 1.226_028_174_767_131_8, 1.562_154_231_521_284_4, 7.319_313_811_711_086]),
        ([0.0, 0.0, 38.86], 1.0,
         [0.005_595_657_889_482_763, 0.195_098_052_011_253_96, 0.252_669_575_928_841_4, 1.464_547_771_448_218_7]),
        ([1.0, 1.71, 38.86], 0.212_100_985_377_379_1,
         [0.006_062_951_798_283_454_5, 0.203_186_987_079_751_1, 0.260_410_960_895_585_35, 1.307_418_450_824_357_1]),
        ([29.0, recency, age], 0.966_305_765_214_327,
         [0.647_492_499_354_577_9, 19.679_045_628_189_243, 24.661_913_371_354_224, 99.053_526_639_611_63]),
        ([7.0, 5.0, 39.0], 0.000_165_184_903_631_692_9,
         [2.735_796_689_609_07e-5, 0.000_856_678_781_730_816_2, 0.001_080_308_217_855_946_3,
          0.004_567_608_643_355_656]),
    ];
    for ([x, recency, age], alive, purchases) in customers {
        let history = History::new(x, recency, age).unwrap();
        assert!((published().probability_alive(&history) / alive - 1.0).abs() < 1e-12, "{history:?}");
        for (weeks, should) in [1.0, 39.0, 52.14, 520.0].into_iter().zip(purchases) {
            let is = published().expected_purchases(&history, weeks);
            assert!((is / should - 1.0).abs() < 1e-9, "{history:?} {weeks}: {is} is not {should}");
        }
    }
}

#[test]
fn equal_histories_count_as_often_as_they_are_there() {
    let histories = cdnow();
    let twice: Vec<History> = histories.iter().chain(&histories).copied().collect();
    let (once, both) = (published().log_likelihood(&histories), published().log_likelihood(&twice));
    assert!((both / once - 2.0).abs() < 1e-12);
    // The likelihood of each customer alone, added up.
    let alone: f64 = histories.iter().map(|history| published().log_likelihood(&[*history])).sum();
    assert!((alone / once - 1.0).abs() < 1e-12);
}

fn parameters() -> impl Strategy<Value = BgNbd> {
    let ln = -13.8..13.8_f64;
    (ln.clone(), ln.clone(), ln.clone(), ln)
        .prop_map(|(r, alpha, a, b)| BgNbd::new(r.exp(), alpha.exp(), a.exp(), b.exp()).unwrap())
}

fn history() -> impl Strategy<Value = History> {
    let frequency = prop_oneof![0..50_u32, 0..1_000_000_u32];
    (frequency, 0.0..=1.0, prop_oneof![0.0..100.0, 0.0..=WEEKS_MAX]).prop_map(|(x, part, age): (u32, f64, f64)| {
        History::new(x.into(), if x == 0 { 0.0 } else { age * part }, age).unwrap()
    })
}

proptest! {
    #[test]
    fn the_gradient_and_the_curvature_are_those_of_the_likelihood(
        histories in prop::collection::vec((0..40_u32, 0.0..1.0, 1.0..200.0), 1..20),
        first: bool,
        at in [-2.0..2.0_f64, -2.0..4.0, -2.0..2.0, -2.0..3.0],
    ) {
        let histories: Vec<History> = histories
            .into_iter()
            .map(|(x, part, age)| History::new(x.into(), if x == 0 { 0.0 } else { age * part }, age).unwrap())
            .collect();
        let groups = Groups::new(&histories);
        let surface = |at: [f64; 4]| {
            let at = at.map(f64::exp);
            if first { likelihood::surface::<1>(&groups, &at) } else { likelihood::surface::<0>(&groups, &at) }
        };
        assert_derivatives(surface, at, 1e-8);
    }

    #[test]
    fn nobody_buys_more_than_without_ever_leaving(model in parameters(), history in history(), weeks in 0.0..=6e5) {
        let rate = (model.r + f64::from(history.frequency())) / (model.alpha + history.age());
        let expected = model.expected_purchases(&history, weeks);
        prop_assert!(expected <= rate * weeks * (1.0 + 1e-9), "{expected}");
    }

    #[test]
    fn no_number_makes_a_history_panic(x in any::<f64>(), recency in any::<f64>(), age in any::<f64>()) {
        if let Ok(history) = History::new(x, recency, age) {
            prop_assert!(published().probability_alive(&history).is_finite());
        }
    }
}
