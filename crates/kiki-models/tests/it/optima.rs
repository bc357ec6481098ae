//! Fits against the optima that `tools/ltv_optima.py` found in fifty digits.

use kiki_models::ltv::{BgBb, BgNbd, Fit, GammaGamma, MbgNbd, Parametric, ParetoNbd, PurchaseModel as _};
use serde_json::Value;

use crate::data::{cdnow, cdnow_spends, donors};

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// Asserts that `fit` is the optimum of that name, to a part in 10^`places` of each parameter, and of the log-likelihood.
fn assert_optimum<M: Parametric>(name: &str, fit: &Fit<M>, tolerance: f64) {
    let optima: Value = serde_json::from_str(include_str!("../data/optima.json")).unwrap();
    let optimum = &optima[name];
    for estimate in fit.parameters() {
        let should = number(&optimum["parameters"][estimate.name]);
        let is = estimate.estimate.value;
        assert!((is / should - 1.0).abs() < tolerance, "{name} {}: {is} is not {should}", estimate.name);
        let error = number(&optimum["standard_errors_of_logarithms"][estimate.name]);
        let is = estimate.estimate.standard_error / is;
        assert!((is / error - 1.0).abs() < 10.0 * tolerance, "{name} {}: error {is} is not {error}", estimate.name);
    }
    let should = number(&optimum["log_likelihood"]);
    assert!((fit.log_likelihood - should).abs() < tolerance, "{name}: {} is not {should}", fit.log_likelihood);
    assert!(fit.gradient < 1e-9 && fit.iterations < 30, "{name}: {} {}", fit.gradient, fit.iterations);
}

#[test]
fn bgnbd_finds_the_optimum_of_cdnow() {
    assert_optimum("bgnbd", &BgNbd::fit(&cdnow()).unwrap(), 1e-6);
}

#[test]
fn mbgnbd_finds_the_optimum_of_cdnow() {
    assert_optimum("mbgnbd", &MbgNbd::fit(&cdnow()).unwrap(), 1e-6);
}

#[test]
fn pareto_nbd_finds_the_optimum_of_cdnow() {
    assert_optimum("pareto_nbd", &ParetoNbd::fit(&cdnow()).unwrap(), 1e-6);
}

#[test]
fn gamma_gamma_finds_the_optimum_of_cdnow() {
    assert_optimum("gamma_gamma", &GammaGamma::fit(&cdnow_spends()).unwrap(), 1e-6);
}

#[test]
fn bgbb_finds_the_optimum_of_the_donations() {
    let fit = BgBb::fit(&donors()).unwrap();
    assert_optimum("bgbb", &fit, 1e-6);
    let rounded = fit.model.values().iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>();
    assert_eq!(rounded, ["1.204", "0.750", "0.657", "2.783"]);
}

/// The papers' own figures, so that a mistake that the tool shares would show.
#[test]
fn the_optima_are_the_published_ones() {
    let (bgnbd, mbgnbd, pareto) = (BgNbd::fit(&cdnow()), MbgNbd::fit(&cdnow()), ParetoNbd::fit(&cdnow()));
    let rounded = [bgnbd.unwrap().log_likelihood, mbgnbd.unwrap().log_likelihood, pareto.unwrap().log_likelihood];
    assert_eq!(rounded.map(|value| format!("{value:.3}")), ["-9582.426", "-9582.133", "-9594.974"]);
}
