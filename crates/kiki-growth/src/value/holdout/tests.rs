use super::*;
use crate::value::kind::ModelKind;
use crate::value::orders::OrderOptions;
use crate::value::{FitOptions, FitReport, fit_orders};
use kiki_types::Currency;

const SAMPLE: &[u8] = include_bytes!("../../../../../examples/cdnow/CDNOW_sample.txt");

fn options(until: &str, unit: TimeUnit) -> FitOptions {
    FitOptions {
        orders: OrderOptions::default(),
        calibrate_until: until.parse().unwrap(),
        currency: Currency::USD,
        time_unit: unit,
        model: ModelKind::BgNbd,
        hold_out: true,
    }
}

fn fitted(until: &str, unit: TimeUnit) -> FitReport {
    fit_orders(SAMPLE, &options(until, unit), &mut |_| ()).unwrap()
}

#[test]
fn the_weeks_after_the_calibration_are_those_of_the_literature() {
    let report = fitted("1997-09-30", TimeUnit::Week);
    let hold_out = report.hold_out.as_ref().unwrap();
    assert_eq!(hold_out.days, ("1997-10-01".to_owned(), "1998-06-30".to_owned()));
    assert!((hold_out.weeks - 39.0).abs() < 1e-12);
    let steps = &hold_out.tracking;
    assert_eq!((steps.len(), steps[38].until.as_str(), steps[77].until.as_str()), (78, "1997-09-30", "1998-06-30"));
    assert!(steps[38].calibration && !steps[39].calibration);
    assert_eq!(steps[38].cumulative_actual, report.repeat_purchases);
    let made: u64 = steps.iter().map(|step| step.actual).sum();
    assert_eq!(made, steps[77].cumulative_actual);
    let after = steps[77].cumulative_actual - steps[38].cumulative_actual;
    assert!((hold_out.purchases[0].actual - after as f64).abs() < 1e-9);

    // Within some percent, as figure 3 of Fader, Hardie and Lee (2005) shows.
    let off = steps[77].cumulative_expected / steps[77].cumulative_actual as f64 - 1.0;
    assert!(off.abs() < 0.05, "{off}");
    let groups: Vec<&str> = hold_out.by_frequency.iter().map(|group| group.group.as_str()).collect();
    assert_eq!(groups, ["0", "1", "2", "3", "4", "5", "6", "7+"]);
    assert_eq!(hold_out.by_frequency.iter().map(|group| group.customers).sum::<u64>(), 2_357);
    assert_eq!(hold_out.by_frequency[0].customers, 2_357 - 946);
    assert_eq!(hold_out.by_value.iter().map(|group| group.customers).sum::<u64>(), 2_357);
    assert!(hold_out.by_value.is_sorted_by(|one, other| one.expected >= other.expected));
}

/// Each model was fitted to these customers, so what it expects of them must be near, and all of them must be in a group.
#[test]
fn each_model_expects_the_customers_that_it_was_fitted_to() {
    for model in [ModelKind::BgNbd, ModelKind::MbgNbd, ModelKind::ParetoNbd] {
        let options = FitOptions { model, ..options("1997-09-30", TimeUnit::Week) };
        let calibration = fit_orders(SAMPLE, &options, &mut |_| ()).unwrap().hold_out.unwrap().calibration;
        let groups = &calibration.by_repeats;
        // This and the correlation were counted in the data by Python.
        let actual: Vec<u64> = groups.iter().map(|one| one.actual).collect();
        assert_eq!(actual, [1_411, 439, 214, 100, 62, 38, 29, 64]);
        let expected: f64 = groups.iter().map(|one| one.expected).sum();
        assert!((expected - 2_357.0).abs() < 1e-6, "{expected}");
        for one in groups {
            let deviations = (one.actual as f64 - one.expected) / one.expected.sqrt();
            assert!(deviations.abs() < 3.0, "{model} {one:?}");
        }
        assert!((calibration.spend_correlation.unwrap() - 0.113_887_919).abs() < 1e-6, "{calibration:?}");
    }
}

#[test]
fn the_model_tells_more_than_rules_that_need_none() {
    let report = fitted("1997-09-30", TimeUnit::Week);
    let hold_out = report.hold_out.unwrap();
    for accuracies in [&hold_out.purchases, &hold_out.spend] {
        let [model, others @ ..] = accuracies.as_slice() else { panic!() };
        assert_eq!(model.method, "model");
        for other in others {
            assert!(model.rmse < other.rmse, "{model:?} {other:?}");
            assert!(model.correlation > other.correlation, "{model:?} {other:?}");
        }
    }
    // The published correlation is 0.626.
    assert!((hold_out.purchases[0].correlation.unwrap() - 0.626).abs() < 5e-3, "{:?}", hold_out.purchases[0]);
}

#[test]
fn what_comes_later_changes_nothing_that_was_expected() {
    let whole = fitted("1997-09-30", TimeUnit::Week);
    let cut: Vec<u8> = SAMPLE
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| !String::from_utf8_lossy(line).contains(" 199806"))
        .flatten()
        .copied()
        .collect();
    // The same end, so that the same time is compared.
    let cut = [cut, b" 00004 0001 19980630  1   1.00\r\n".to_vec()].concat();
    let cut = fit_orders(&*cut, &options("1997-09-30", TimeUnit::Week), &mut |_| ()).unwrap();
    let expected = |report: &FitReport| report.hold_out.as_ref().unwrap().purchases[0].expected;
    assert_eq!(expected(&whole).to_bits(), expected(&cut).to_bits());
}

#[test]
fn a_log_that_ends_with_the_calibration_has_nothing_to_compare() {
    let report = fitted("1998-06-30", TimeUnit::Week);
    assert_eq!((report.hold_out, report.no_hold_out), (None, Some(HoldOutError::NothingAfter)));
}
