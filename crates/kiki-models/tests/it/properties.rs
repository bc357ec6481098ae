//! Whatever the history and the model: numbers, and such as make sense.

use kiki_models::ltv::{
    BgBb, BgNbd, Estimate, GammaGamma, History, MbgNbd, OPPORTUNITIES_MAX, Opportunities, Parametric, ParetoNbd,
    PurchaseModel, Scale, Terms, WEEKS_MAX, discounted_value,
};
use proptest::prelude::*;

fn model<M: Parametric + std::fmt::Debug>() -> impl Strategy<Value = M> {
    // The ends of the range are as likely as any part of it.
    let parameter =
        || prop_oneof![4 => (-13.8..13.8_f64).prop_map(f64::exp), 1 => Just(1e-6), 1 => Just(1e6), 2 => 0.1..10.0];
    [parameter(), parameter(), parameter(), parameter()].prop_map(|values| M::with_values(&values).unwrap())
}

fn history() -> impl Strategy<Value = History> {
    let frequency = prop_oneof![Just(0), 0..50_u32, 0..=1_000_000_u32];
    let part = prop_oneof![0.0..=1.0, Just(0.0), Just(1.0), Just(1.0 - 1e-15)];
    let age = prop_oneof![Just(0.0), 0.0..100.0, 0.0..=WEEKS_MAX, Just(1e-300), Just(WEEKS_MAX)];
    (frequency, part, age).prop_map(|(x, part, age): (u32, f64, f64)| {
        History::new(x.into(), if x == 0 { 0.0 } else { age * part }, age).unwrap()
    })
}

fn assert_sense(model: &dyn PurchaseModel, history: &History, weeks: f64) -> Result<(), TestCaseError> {
    let alive = model.probability_alive(history);
    prop_assert!((0.0..=1.0).contains(&alive), "{alive}");
    let (soon, later) =
        (model.probability_alive_after(history, weeks), model.probability_alive_after(history, weeks * 1.5));
    prop_assert!(
        (0.0..=1.0).contains(&later) && later <= soon * (1.0 + 1e-9) && soon <= alive * (1.0 + 1e-9),
        "{later} {soon} {alive}"
    );
    let (soon, later) = (model.expected_purchases(history, weeks), model.expected_purchases(history, weeks * 1.5));
    prop_assert!(soon.is_finite() && soon >= 0.0 && later.is_finite(), "{soon} {later}");
    prop_assert!(later >= soon * (1.0 - 1e-9), "{later} after {soon}");
    let many = model.predict_all(&[*history], weeks)[0];
    prop_assert!((many.purchases - soon).abs() <= 1e-10 * soon.max(f64::MIN_POSITIVE), "{many:?} {soon}");
    let (soon, later) = (model.expected_by(weeks), model.expected_by(weeks * 1.5));
    prop_assert!(soon.is_finite() && soon >= 0.0 && later >= soon * (1.0 - 1e-9), "{soon} {later}");
    let count = model.probability_of_purchases(history.frequency(), weeks);
    prop_assert!((0.0..=1.0).contains(&count), "{count}");
    let ln = model.log_likelihood(&[*history]);
    prop_assert!(ln.is_finite(), "{ln}");
    Ok(())
}

/// Any number at all, those that are none included.
fn assert_number(model: &dyn PurchaseModel, history: &History, weeks: f64) -> Result<(), TestCaseError> {
    for number in [
        model.probability_alive_after(history, weeks),
        model.expected_purchases(history, weeks),
        model.expected_by(weeks),
        model.probability_of_purchases(history.frequency(), weeks),
    ] {
        prop_assert!(number.is_finite() && number >= 0.0, "{number}");
    }
    let spend = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
    let value = discounted_value(model, &spend, history, weeks, &Terms::new(52.0, 0.01).unwrap());
    prop_assert!(value.is_finite() && value >= 0.0, "{value}");
    Ok(())
}

/// A model whose parameters have intervals, or a reason.
fn assert_fits_or_refuses<M: PurchaseModel + Parametric>(histories: &[History]) -> Result<(), TestCaseError> {
    let Ok(fit) = M::fit(histories) else { return Ok(()) };
    prop_assert!(fit.log_likelihood.is_finite() && fit.gradient <= 1e-9);
    for parameter in fit.parameters() {
        let Estimate { value, low, high, .. } = parameter.estimate;
        prop_assert!(0.0 < low && low <= value && value <= high && high.is_finite(), "{parameter:?}");
    }
    let expected = fit.estimate(Scale::Positive, |model| model.expected_by(52.0));
    prop_assert!(expected.low <= expected.value && expected.value <= expected.high, "{expected:?}");
    Ok(())
}

proptest! {
    #[test]
    fn fitting_anything_ends_with_a_model_or_a_reason(histories in prop::collection::vec(history(), 0..40)) {
        assert_fits_or_refuses::<BgNbd>(&histories)?;
        assert_fits_or_refuses::<MbgNbd>(&histories)?;
        assert_fits_or_refuses::<ParetoNbd>(&histories)?;
    }

    #[test]
    fn bgnbd_makes_sense(model in model::<BgNbd>(), history in history(), weeks in 0.0..=6e5) {
        assert_sense(&model, &history, weeks)?;
    }

    #[test]
    fn mbgnbd_makes_sense(model in model::<MbgNbd>(), history in history(), weeks in 0.0..=6e5) {
        assert_sense(&model, &history, weeks)?;
    }

    #[test]
    fn pareto_nbd_makes_sense(model in model::<ParetoNbd>(), history in history(), weeks in 0.0..=6e5) {
        assert_sense(&model, &history, weeks)?;
    }

    #[test]
    fn any_weeks_are_answered(
        models in (model::<BgNbd>(), model::<MbgNbd>(), model::<ParetoNbd>()), history in history(), weeks in any::<f64>(),
    ) {
        assert_number(&models.0, &history, weeks)?;
        assert_number(&models.1, &history, weeks)?;
        assert_number(&models.2, &history, weeks)?;
    }

    #[test]
    fn bgbb_makes_sense(
        model in model::<BgBb>(), n in 1..=OPPORTUNITIES_MAX, last in 0.0..=1.0, x in 0.0..=1.0, ahead in 0..2_000_u32,
    ) {
        let part = |of: u32, share: f64| (0..of).take_while(|&i| f64::from(i) < share * f64::from(of)).count();
        let last = u32::try_from(part(n, last)).unwrap();
        let x = u32::try_from(part(last, x)).unwrap().max(last.min(1));
        let customer = Opportunities::new(x, last, n).unwrap();
        let alive = model.probability_alive(&customer);
        let after = model.probability_alive_after(&customer, ahead);
        prop_assert!((0.0..=1.0).contains(&alive) && (0.0..=alive).contains(&after), "{alive} {after}");
        let (soon, later) = (model.expected_purchases(&customer, ahead), model.expected_purchases(&customer, ahead + 1));
        prop_assert!(soon >= 0.0 && later >= soon && later <= f64::from(ahead + 1), "{soon} {later}");
        prop_assert!((0.0..=1.0).contains(&model.probability_of_purchases(x, n)));
        prop_assert!((0.0..=f64::from(n)).contains(&model.expected_by(n)));
        prop_assert!(model.log_likelihood(&[customer]).is_finite());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn counts_of_a_new_customer_are_a_distribution(
        at in [-2.0..1.0_f64, 0.0..3.0, -2.0..1.0, 0.0..3.0], weeks in 0.1..10.0,
    ) {
        let at = at.map(f64::exp);
        let models: [&dyn PurchaseModel; 3] =
            [&BgNbd::with_values(&at).unwrap(), &MbgNbd::with_values(&at).unwrap(), &ParetoNbd::with_values(&at).unwrap()];
        for model in models {
            let (mut whole, mut mean) = (0.0, 0.0);
            for x in 0..400_u32 {
                let probability = model.probability_of_purchases(x, weeks);
                whole += probability;
                mean += probability * f64::from(x);
            }
            prop_assert!((whole - 1.0).abs() < 1e-8, "{whole}");
            let expected = model.expected_by(weeks);
            prop_assert!((mean / expected - 1.0).abs() < 1e-6, "{mean} {expected} {whole}");
        }
    }
}
