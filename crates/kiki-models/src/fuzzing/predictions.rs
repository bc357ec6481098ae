//! Models and histories of any numbers, asked about any horizon.

use std::fmt;

use super::numbers::Numbers;
use super::{at_most, close, history, model};
use crate::ltv::{
    BgBb, BgNbd, Covariance, Estimate, GammaGamma, History, MbgNbd, OPPORTUNITIES_MAX, Opportunities, Parametric,
    ParetoNbd, PurchaseModel, Scale, Terms, WEEKS_MAX, discounted_value,
};

/// Asks one model, taken from `bytes`, about one customer.
///
/// # Panics
/// An answer makes no sense.
pub fn predictions(bytes: &[u8]) {
    let mut input = Numbers::new(bytes);
    match input.byte() % 5 {
        0 => purchase_model::<BgNbd>(&mut input),
        1 => purchase_model::<MbgNbd>(&mut input),
        2 => purchase_model::<ParetoNbd>(&mut input),
        3 => opportunities(&mut input),
        _ => spend(&mut input),
    }
}

fn purchase_model<M: PurchaseModel + Parametric + fmt::Debug>(input: &mut Numbers<'_>) {
    let Some(model) = model::<M>(input) else { return };
    let Some(history) = history(input) else { return };
    let (one, other) = (input.number(), input.number());
    // Weeks that are no positive number count as none.
    let weeks = |weeks: f64| if weeks > 0.0 { weeks.min(WEEKS_MAX) } else { 0.0 };
    let (soon, later) = if weeks(one) <= weeks(other) { (one, other) } else { (other, one) };
    let context = format!("{model:?} {history:?} {soon:?} {later:?}");
    assert_purchases(&model, &history, (soon, later), &context);
    let new = History::new(0.0, 0.0, 0.0).expect("a history");
    let (by_then, known) = (model.expected_by(later), model.expected_purchases(&new, later));
    assert!(close(by_then, known), "{by_then:?} is not {known:?}: {context}");
    let values = model.values();
    let rate = (values[0] + f64::from(history.frequency())) / (values[1] + history.age());
    let most = rate * weeks(later);
    let expected = model.expected_purchases_if_alive(&history, later);
    assert!(at_most(expected, most), "{expected:?} is more than {most:?}: {context}");
    let count = model.probability_of_purchases(u32::from(input.byte()), later);
    assert!((0.0..=1.0).contains(&count), "{count:?}: {context}");
    let count = model.probability_of_purchases(history.frequency(), soon);
    assert!((0.0..=1.0).contains(&count), "{count:?}: {context}");
    assert!(model.log_likelihood(&[history]).is_finite(), "{context}");
    valued(&model, &history, input, &context);
}

/// What holds of every model of purchases, `soon` being no later than `later`.
pub(super) fn assert_purchases(
    model: &dyn PurchaseModel,
    history: &History,
    (soon, later): (f64, f64),
    context: &dyn fmt::Display,
) {
    let alive = model.probability_alive(history);
    assert!((0.0..=1.0).contains(&alive), "{alive:?}: {context}");
    let stays = [soon, later].map(|weeks| model.probability_alive_after(history, weeks));
    assert!(stays.iter().all(|stays| (0.0..=1.0).contains(stays)), "{stays:?}: {context}");
    assert!(at_most(stays[0], alive) && at_most(stays[1], stays[0]), "{stays:?}: {context}");
    let buys = [soon, later].map(|weeks| model.expected_purchases(history, weeks));
    assert!(buys.iter().all(|buys| buys.is_finite() && *buys >= 0.0), "{buys:?}: {context}");
    assert!(at_most(buys[0], buys[1]), "{buys:?}: {context}");
    let many = model.predict_all(&[*history], later)[0];
    assert!(close(many.purchases, buys[1]), "{many:?} {buys:?}: {context}");
    let new = [soon, later].map(|weeks| model.expected_by(weeks));
    assert!(new.iter().all(|new| new.is_finite() && *new >= 0.0), "{new:?}: {context}");
    assert!(at_most(new[0], new[1]), "{new:?}: {context}");
}

/// The value of the customer, and its interval by a covariance of any numbers.
fn valued<M: PurchaseModel + Parametric>(model: &M, history: &History, input: &mut Numbers<'_>, context: &str) {
    let Ok(terms) = Terms::new(input.number(), input.number()) else { return };
    let Ok(spend) = GammaGamma::new(input.number(), input.number(), input.number()) else { return };
    let monetary = input.number();
    let value = discounted_value(model, &spend, history, monetary, &terms);
    let order = spend.expected_order_value(history.frequency(), monetary);
    let most = model.expected_purchases(history, terms.horizon_weeks()) * order * (1.0 + 1e-6) + 1e-300;
    assert!(value.is_finite() && 0.0 <= value && value <= most, "{value:?} {most:?} {spend:?} {terms:?}: {context}");
    let Some(covariance) = covariance(input) else { return };
    let weeks = terms.horizon_weeks();
    assert_estimate(covariance.estimate(model, Scale::Positive, |model| model.expected_purchases(history, weeks)));
    assert_estimate(covariance.estimate(model, Scale::Probability, |model| model.probability_alive(history)));
}

/// A covariance of any numbers, as one is read from where models are kept.
fn covariance(input: &mut Numbers<'_>) -> Option<Covariance> {
    let rows = (0..4).map(|_| (0..4).map(|_| input.number()).collect()).collect::<Vec<Vec<f64>>>();
    Covariance::try_from(rows).ok()
}

pub(super) fn assert_estimate(estimate: Estimate) {
    let Estimate { value, standard_error, low, high } = estimate;
    assert!(standard_error.is_finite() && standard_error >= 0.0 && high.is_finite(), "{estimate:?}");
    assert!(0.0 <= low && low <= value && value <= high, "{estimate:?}");
}

fn opportunities(input: &mut Numbers<'_>) {
    let Some(model) = model::<BgBb>(input) else { return };
    let mut whole = || u32::from(input.byte()) * u32::from(input.byte() % 5);
    let (x, last, n, ahead) = (whole(), whole(), whole(), whole());
    let fits = (1..=OPPORTUNITIES_MAX).contains(&n) && last <= n && x <= last && (x > 0 || last == 0);
    let customer = Opportunities::new(x, last, n);
    assert_eq!(customer.is_ok(), fits, "{x} {last} {n}: {customer:?}");
    let Ok(customer) = customer else { return };
    let context = format!("{model:?} {customer:?} {ahead}");
    let alive = model.probability_alive(&customer);
    let after = model.probability_alive_after(&customer, ahead);
    assert!((0.0..=1.0).contains(&alive) && (0.0..=alive).contains(&after), "{alive:?} {after:?}: {context}");
    let (soon, later) = (model.expected_purchases(&customer, ahead), model.expected_purchases(&customer, ahead + 1));
    assert!(0.0 <= soon && soon <= later && later <= f64::from(ahead + 1), "{soon:?} {later:?}: {context}");
    assert!((0.0..=1.0).contains(&model.probability_of_purchases(x, n)), "{context}");
    assert!((0.0..=f64::from(n)).contains(&model.expected_by(n)), "{context}");
    assert!(model.log_likelihood(&[customer]).is_finite(), "{context}");
}

/// What a purchase is worth lies between the customer's own mean and that of all.
fn spend(input: &mut Numbers<'_>) {
    let (p, q, v) = (input.number(), input.number(), input.number());
    let Ok(model) = GammaGamma::new(p, q, v) else { return };
    let Some(history) = history(input) else { return };
    let monetary = input.number();
    let is = model.expected_order_value(history.frequency(), monetary);
    let own = if monetary.is_nan() { 0.0 } else { monetary.clamp(0.0, 1e13) };
    let all = model.expected_order_value(0, 0.0);
    let (least, most) = if history.frequency() == 0 { (all, all) } else { (own.min(all), own.max(all)) };
    let within = at_most(least, is) && at_most(is, most);
    assert!(is.is_finite() && within, "{is:?} is not between {least:?} and {most:?}: {model:?} {history:?} {monetary}");
}
