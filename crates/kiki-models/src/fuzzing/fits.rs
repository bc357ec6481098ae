//! Fits to a few customers of any histories.

use std::fmt;

use super::history;
use super::numbers::Numbers;
use super::predictions::{assert_estimate, assert_purchases};
use crate::ltv::{
    BgBb, BgNbd, Fit, FitError, GammaGamma, History, MbgNbd, Opportunities, PARAMETER_RANGE, Parametric, ParetoNbd,
    PurchaseModel, Scale, Spend,
};

/// Different histories of one input at the most.
const HISTORIES_MAX: usize = 48;
/// What summing up a likelihood may cost, as part of it.
const LIKELIHOOD_ROUNDING: f64 = 1e-9;
/// The search's own bound.
const ITERATIONS_MAX: u32 = 200;

/// Fits one model to the customers that `bytes` tell of.
///
/// # Panics
/// The fit is neither a maximum of the likelihood nor refused.
pub fn fits(bytes: &[u8]) {
    let mut input = Numbers::new(bytes);
    match input.byte() % 5 {
        0 => purchases::<BgNbd>(&mut input),
        1 => purchases::<MbgNbd>(&mut input),
        2 => purchases::<ParetoNbd>(&mut input),
        3 => opportunities(&mut input),
        _ => spend(&mut input),
    }
}

fn purchases<M: PurchaseModel + Parametric + fmt::Debug>(input: &mut Numbers<'_>) {
    let histories = customers(input, customer);
    let Some(fit) = assert_fit(M::fit(&histories)) else { return };
    assert_highest(&fit, |model| model.log_likelihood(&histories));
    for history in histories.chunk_by(|one, other| one == other).map(|alike| alike[0]) {
        assert_purchases(&fit.model, &history, (13.0, 52.0), &format_args!("{:?} {history:?}", fit.model));
        assert_estimate(fit.estimate(Scale::Positive, |model| model.expected_purchases(&history, 52.0)));
        assert_estimate(fit.estimate(Scale::Probability, |model| model.probability_alive(&history)));
    }
}

fn opportunities(input: &mut Numbers<'_>) {
    let donors = customers(input, |input| {
        let (n, last, x) = (input.byte() % 60 + 1, input.byte(), input.byte());
        let last = if last == 0 { 0 } else { (last - 1) % n + 1 };
        let x = if last == 0 { 0 } else { x % last + 1 };
        Opportunities::new(x.into(), last.into(), n.into()).ok()
    });
    let Some(fit) = assert_fit(BgBb::fit(&donors)) else { return };
    assert_highest(&fit, |model| model.log_likelihood(&donors));
    for donor in donors.chunk_by(|one, other| one == other).map(|alike| alike[0]) {
        assert_estimate(fit.estimate(Scale::Probability, |model| model.probability_alive(&donor)));
        assert_estimate(fit.estimate(Scale::Positive, |model| model.expected_purchases(&donor, 10)));
    }
}

fn spend(input: &mut Numbers<'_>) {
    let spends = customers(input, |input| {
        let x = u16::from(input.byte() % 32) + u16::from(input.byte() % 3) * 500;
        let history = History::new(x.into(), 0.0, 1.0).ok()?;
        Spend::new(&history, if input.byte() % 4 > 0 { f64::from(input.byte()) / 4.0 } else { input.number() })
    });
    let Some(fit) = assert_fit(GammaGamma::fit(&spends)) else { return };
    assert!(fit.model.q() > 1.0);
    assert_highest(&fit, |model| model.log_likelihood(&spends));
    assert_estimate(fit.estimate(Scale::Positive, |model| model.expected_order_value(3, 20.0)));
}

/// Customers, some of them many times over.
fn customers<T: Clone>(input: &mut Numbers<'_>, mut one: impl FnMut(&mut Numbers<'_>) -> Option<T>) -> Vec<T> {
    let mut customers = Vec::new();
    for _ in 0..HISTORIES_MAX {
        if input.is_empty() {
            break;
        }
        let times = usize::from(input.byte() % 16) + 1;
        customers.extend(one(input).into_iter().flat_map(|one| std::iter::repeat_n(one, times)));
    }
    customers
}

/// Mostly a history of weeks such as a log has; now and then one of any numbers.
fn customer(input: &mut Numbers<'_>) -> Option<History> {
    let frequency = input.byte();
    if frequency >= 240 {
        return history(input);
    }
    let age = f64::from(input.byte()) + 0.25;
    let part = f64::from(input.byte()) / 255.0;
    let frequency = f64::from(frequency % 24);
    History::new(frequency, if frequency > 0.0 { age * part } else { 0.0 }, age).ok()
}

/// What holds of every fit, if there is one.
fn assert_fit<M: Parametric + fmt::Debug>(fit: Result<Fit<M>, FitError>) -> Option<Fit<M>> {
    let fit = match fit {
        Ok(fit) => fit,
        Err(FitError::NotConverged { iterations, .. }) => {
            assert!(iterations <= ITERATIONS_MAX, "{iterations}");
            return None;
        }
        Err(_) => return None,
    };
    assert!(fit.log_likelihood.is_finite() && fit.iterations <= ITERATIONS_MAX, "{fit:?}");
    assert!((0.0..=1e-9).contains(&fit.gradient), "{fit:?}");
    // The scale of money has a range of its own.
    let within = |(name, value): (&&str, f64)| *name == "v" || PARAMETER_RANGE.contains(&value);
    assert!(M::names().iter().zip(fit.model.values()).all(within), "{fit:?}");
    for parameter in fit.parameters() {
        assert_estimate(parameter.estimate);
        assert!(parameter.estimate.low > 0.0, "{parameter:?}");
    }
    Some(fit)
}

/// No parameters nearby are likelier.
fn assert_highest<M: Parametric + fmt::Debug>(fit: &Fit<M>, likelihood: impl Fn(&M) -> f64) {
    let highest = likelihood(&fit.model);
    let rounding = LIKELIHOOD_ROUNDING * highest.abs().max(1.0);
    assert!((highest - fit.log_likelihood).abs() <= rounding, "{highest}: {fit:?}");
    let values = fit.model.values();
    for place in 0..values.len() {
        for factor in [0.99, 1.01] {
            let mut moved = values.clone();
            moved[place] *= factor;
            let Ok(nearby) = M::with_values(&moved) else { continue };
            let value = likelihood(&nearby);
            assert!(value <= highest + rounding, "{value} at {nearby:?} is above {highest}: {fit:?}");
        }
    }
}
