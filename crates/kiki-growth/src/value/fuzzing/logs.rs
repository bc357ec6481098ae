//! Order logs in every format: read, fitted, compared, reported, and asked about.

use std::io::BufReader;

use kiki_models::ltv::{History, Terms};
use kiki_types::Currency;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::questions::assert_answer;
use super::{KINDS, assert_numbers};
use crate::value::fit::{FitOptions, FitReport, fit_orders};
use crate::value::model::About;
use crate::value::orders::{Format, OrderLog, OrderOptions, OrdersError, date_of};
use crate::value::report;
use crate::value::service::saved_model;
use crate::value::unit::TimeUnit;

const FORMATS: [Option<Format>; 5] =
    [None, Some(Format::Csv), Some(Format::JsonLines), Some(Format::Cdnow), Some(Format::Shopify)];
const UNITS: [TimeUnit; 3] = [TimeUnit::Day, TimeUnit::Week, TimeUnit::Month];
/// Customers of a log that are asked about.
const ASKED_MAX: usize = 8;

/// Reads a log, of which the first three bytes say how: its format; the model, the unit and whether bad rows are left out; and
/// where the calibration ends. What follows a line feed is the log.
///
/// # Panics
/// Something in the report or in an answer makes no sense.
pub fn logs(bytes: &[u8]) {
    let [format, how, end, b'\n', log @ ..] = bytes else { return };
    let how = usize::from(*how);
    let options = OrderOptions {
        format: FORMATS[usize::from(*format) % FORMATS.len()],
        skip_bad_rows: how % 4 > 0,
        currency: (how % 5 == 0).then_some(Currency::USD),
        ..OrderOptions::default()
    };
    let read = OrderLog::read(log, &options, &mut |_| ());
    assert_read_alike(&read, log, &options, how % 7 + 1);
    let Ok(read) = read else { return };
    assert_eq!(read.sha256, hex(log), "what was read is not the file");
    let Some((first, last)) = read.days() else { return };
    assert!(first <= last && read.orders() > 0);
    let span = i64::from(last) - i64::from(first);
    let until = i32::try_from(i64::from(first) + span * i64::from(*end) / 255).expect("a day between two others");
    assert_summaries(&read, until);
    assert_line_ends_do_not_matter(&read, log, &options, until);
    if let Some(baseline) = read.revenue().baseline(90, Currency::USD) {
        let shares = baseline.by_weekday.iter().all(|share| share.is_finite());
        assert!(shares && baseline.trend_per_week.is_finite(), "{baseline:?}");
    }
    let options = FitOptions {
        orders: options,
        calibrate_until: date_of(until).expect("a day of a log is a date"),
        currency: Currency::USD,
        time_unit: UNITS[how / 4 % 3],
        model: KINDS[how / 12 % 3],
        hold_out: true,
    };
    if let Ok(report) = fit_orders(log, &options, &mut |_| ()) {
        assert_report(&report);
        assert_answers(&report);
    }
}

/// However few bytes come at once.
fn assert_read_alike(read: &Result<OrderLog, OrdersError>, log: &[u8], options: &OrderOptions, at_once: usize) {
    let again = OrderLog::read(BufReader::with_capacity(at_once, log), options, &mut |_| ());
    match (read, &again) {
        (Ok(one), Ok(other)) => assert_eq!(format!("{one:?}"), format!("{other:?}")),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => assert_eq!(read.is_ok(), again.is_ok(), "{read:?} {again:?}"),
    }
}

fn assert_summaries(log: &OrderLog, until: i32) {
    let summaries = log.summaries(until);
    assert!(summaries.len() <= log.customers() && summaries.is_sorted_by(|(one, _), (other, _)| one < other));
    for (_, summary) in &summaries {
        let history = summary.history().expect("days make a history");
        assert!(
            summary.monetary().is_finite() && summary.monetary() >= 0.0 && summary.repeat_micros >= 0,
            "{summary:?}"
        );
        assert!(f64::from(history.frequency()) <= history.recency() * 7.0 + 1e-6, "{summary:?}");
    }
}

/// CRLF ends a line as LF does, where neither is within quotes nor makes a line too long.
fn assert_line_ends_do_not_matter(read: &OrderLog, log: &[u8], options: &OrderOptions, until: i32) {
    let lines = log.split(|&byte| byte == b'\n');
    if log.iter().any(|byte| b"\r\"".contains(byte)) || lines.clone().any(|line| line.len() > 65_000) {
        return;
    }
    let other = lines.collect::<Vec<_>>().join(&b"\r\n"[..]);
    let other = OrderLog::read(&*other, options, &mut |_| ()).expect("it is read with LF");
    assert_eq!(other.summaries(until), read.summaries(until));
    assert_eq!(other.bad_rows.count, read.bad_rows.count);
}

fn assert_report(report: &FitReport) {
    assert_numbers(report);
    assert!(!report.table().is_empty());
    let Some(hold_out) = &report.hold_out else { return };
    let page = report::page(report, hold_out);
    for word in ["NaN", "inf"] {
        assert!(!page.contains(word), "{word} is on the page");
    }
    assert!(hold_out.tracking.iter().all(|step| step.expected >= -1e-6), "{:?}", hold_out.tracking);
}

/// Predictions of the log's customers by the model as it would be kept.
fn assert_answers(report: &FitReport) {
    let Ok(model) = saved_model(Uuid::nil().into(), report) else { return };
    let terms = Terms::new(52.0, 0.01).expect("terms");
    let each = report.summaries.len().div_ceil(ASKED_MAX);
    for (_, summary) in report.summaries.iter().step_by(each.max(1)) {
        let history: History = summary.history().expect("days make a history");
        let monetary = summary.monetary();
        let about = About { customer_id: String::new(), history, monetary, population: false };
        assert_answer(&model, about, &terms);
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
