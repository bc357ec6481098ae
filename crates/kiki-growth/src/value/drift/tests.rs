use kiki_models::ltv::BgNbd;
use kiki_types::id::ModelId;
use kiki_types::{Currency, UnixMillis};

use super::*;
use crate::value::Purchases;

const WEEKS: u32 = 39;

fn model() -> SavedModel {
    SavedModel {
        id: ModelId::new(&kiki_store::testing::RandomIds),
        version: 1,
        created_at: UnixMillis(1),
        promoted_at: UnixMillis(2),
        currency: Currency::USD,
        parameters: Parameters {
            purchases: Purchases::BgNbd(BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap()),
            gamma_gamma: GammaGamma::new(6.25, 3.74, 15.44).unwrap(),
        },
        covariances: Covariances {
            purchases: vec![vec![0.002, 0.0], vec![0.0, 0.008]].try_into().unwrap(),
            gamma_gamma: vec![vec![0.005]].try_into().unwrap(),
        },
        purchases_log_likelihood: -1.0,
        gamma_gamma_log_likelihood: -1.0,
        data_sha256: String::new(),
        orders: 1,
        customers: 1,
        calibrate_until: "1970-01-01".to_owned(),
        figures: serde_json::Value::Null,
    }
}

fn window() -> Window {
    Window::new(0, Some(400), 500)
}

fn drift(observed: &Observed) -> Drift {
    Drift::of(&model(), Window { weeks: WEEKS, ..window() }, observed)
}

/// So many who bought four times, of whom each bought `purchases` times since.
fn regulars(customers: usize, purchases: f64, a_purchase: f64) -> Vec<Watched> {
    let history = History::new(4.0, 30.0, 39.0).unwrap();
    vec![Watched { history, monetary: 40.0, purchases, spent: a_purchase * purchases }; customers]
}

#[test]
fn customers_who_do_what_is_expected_are_steady_and_those_who_buy_less_or_cheaper_are_not() {
    let parameters = model().parameters;
    let expected = parameters.purchases.model().expected_purchases(&regulars(1, 0.0, 0.0)[0].history, f64::from(WEEKS));
    let worth = parameters.gamma_gamma.expected_order_value(4, 40.0);
    let of =
        |purchases: f64, worth: f64| drift(&Observed { known: regulars(500, purchases, worth), ..Observed::default() });
    let steady = of(expected, worth);
    assert_eq!((steady.verdict, steady.purchases.verdict), (Verdict::Steady, Verdict::Steady));
    assert!((steady.purchases.actual - steady.purchases.expected).abs() < 1e-6);
    assert!((steady.spend_per_purchase.actual - worth).abs() < 1e-9, "units of the currency a purchase");
    assert!((steady.spend_per_purchase.expected - worth).abs() < 1e-9);
    assert!(steady.purchases.low < steady.purchases.expected && steady.purchases.expected < steady.purchases.high);
    let fewer = of(0.6 * expected, worth);
    assert_eq!((fewer.verdict, fewer.spend_per_purchase.verdict), (Verdict::Drifting, Verdict::Steady));
    assert!(fewer.purchases.z < -3.0);
    let cheaper = of(expected, 0.7 * worth);
    assert_eq!((cheaper.verdict, cheaper.purchases.verdict), (Verdict::Drifting, Verdict::Steady));
    let groups: Vec<(&str, u64)> = fewer.by_frequency.iter().map(|one| (one.group.as_str(), one.customers)).collect();
    assert_eq!(groups, [("4", 500)]);
    assert!((fewer.by_frequency[0].actual / fewer.by_frequency[0].expected - 0.6).abs() < 1e-9);
}

#[test]
fn what_parameters_do_not_determine_counts_for_all_customers_together() {
    let (mut unsure, observed) = (model(), Observed { known: regulars(10_000, 3.0, 30.0), ..Observed::default() });
    let z = |model: &SavedModel| Drift::of(model, Window { weeks: WEEKS, ..window() }, &observed).purchases.z.abs();
    let sure = z(&unsure);
    unsure.covariances.purchases = vec![vec![0.2, 0.0], vec![0.0, 0.8]].try_into().unwrap();
    assert!(z(&unsure) < 0.2 * sure, "{} {sure}", z(&unsure));
}

#[test]
fn newcomers_are_compared_with_anybody_since_their_first_purchase() {
    let newcomer = |age_days: u32, frequency: u32| Summary { frequency, recency_days: 0, age_days, repeat_micros: 0 };
    let newcomers: Vec<Summary> = (0..2_000).map(|number| newcomer(number % 270, 0)).collect();
    let observed = Observed { newcomers: newcomers.clone(), ..Observed::default() };
    let silent = drift(&observed);
    let by = |days: u32| model().parameters.purchases.model().expected_by(f64::from(days) / 7.0);
    let expected: f64 = newcomers.iter().map(|one| by(one.age_days)).sum();
    assert!((silent.newcomers.expected - expected).abs() < 1e-6);
    assert_eq!((silent.newcomers.verdict, silent.purchases.verdict), (Verdict::Drifting, Verdict::TooEarly));
    assert_eq!((silent.verdict, silent.newcomers_per_week), (Verdict::Drifting, Some(2_000.0 / f64::from(WEEKS))));
    let in_part = drift(&Observed { more_newcomers: true, ..observed });
    assert_eq!(in_part.newcomers_per_week, None);
}

#[test]
fn before_the_first_week_and_of_few_purchases_nothing_is_said() {
    let nobody = Drift::of(&model(), Window { weeks: 0, ..window() }, &Observed::default());
    assert_eq!((nobody.verdict, nobody.from, nobody.until, nobody.weeks), (Verdict::TooEarly, None, None, 0));
    let few = drift(&Observed { known: regulars(10, 0.0, 0.0), ..Observed::default() });
    assert_eq!((few.verdict, few.purchases.actual), (Verdict::TooEarly, 0.0));
    assert_eq!(few.until.as_deref(), Some("1970-10-01"));
    // Spend alone does not make a model steady.
    assert_eq!(few.spend_per_purchase.verdict, Verdict::TooEarly);
}
