//! From an order log to a fitted model, without a database: what `kiki value fit` does.

use std::io::BufRead;
use std::sync::Arc;

use jiff::civil::Date;
use kiki_models::ltv::{Fit, FitError, GammaGamma, History, HistoryError, ParameterEstimate, Spend, Summary};
use kiki_types::Currency;
use serde::{Serialize, Serializer};

use super::baseline::Revenue;
use super::by_month::Cohorts;
use super::holdout::{HoldOut, HoldOutError};
use super::kind::{ModelKind, PurchasesFit};
use super::model::{Covariances, Parameters};
use super::orders::{BadRows, OrderLog, OrderOptions, OrdersError, Progress, Refunds, date_of, day_number};
use super::unit::TimeUnit;

/// What to fit, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitOptions {
    /// How to read the log.
    pub orders: OrderOptions,
    /// The last day that counts, in UTC.
    pub calibrate_until: Date,
    /// The currency of the log's amounts.
    pub currency: Currency,
    /// The unit that times are told in.
    pub time_unit: TimeUnit,
    /// The model of purchases.
    pub model: ModelKind,
    /// Whether the model is compared with what the log has after the last day that counts.
    pub hold_out: bool,
}

/// Why no model came of an order log.
#[derive(Debug, thiserror::Error)]
pub enum FitOrdersError {
    /// The log cannot be read.
    #[error(transparent)]
    Orders(#[from] OrdersError),
    /// Nobody had bought by the last day that counts.
    #[error("no customer bought before the end of {until}: the first order is of {first}")]
    NothingUntil {
        /// The last day that counts.
        until: Date,
        /// The day of the first order.
        first: String,
    },
    /// Times in the log do not make a history.
    #[error("the orders of customer {customer} make no history")]
    History {
        /// Whose.
        customer: Arc<str>,
        /// What is wrong.
        source: HistoryError,
    },
    /// The log's purchases do not determine the model.
    #[error("{} cannot be fitted", .0.title())]
    Purchases(ModelKind, #[source] FitError),
    /// The log's amounts do not determine Gamma-Gamma.
    #[error("Gamma-Gamma cannot be fitted")]
    Spend(#[source] FitError),
}

/// A fitted model, the customers that it was fitted to, and what there is to say about it.
#[derive(Clone, Debug, Serialize)]
pub struct FitReport {
    /// The last day that counted.
    #[serde(serialize_with = "as_text")]
    pub calibrate_until: Date,
    /// The currency of the amounts.
    pub currency: Currency,
    /// SHA-256 of the order log, in hexadecimal.
    pub data_sha256: String,
    /// Orders in the log, those after the last day that counted among them.
    pub orders: u64,
    /// Days of the first and the last order.
    pub order_days: Option<(String, String)>,
    /// Customers who had bought by the last day that counted.
    pub customers: u64,
    /// Of those, who had bought again.
    pub customers_with_repeats: u64,
    /// Repeat purchases; those of one day are one.
    pub repeat_purchases: u64,
    /// Rows that were left out.
    pub bad_rows: BadRows,
    /// What became of refunds.
    pub refunds: Refunds,
    /// The unit that the table tells times in. Parameters are in weeks, whatever it is.
    pub time_unit: TimeUnit,
    /// Purchases, under the name of the model.
    #[serde(flatten)]
    pub purchases: PurchasesFit,
    /// Spend: p, q, v (units of the currency).
    pub gamma_gamma: Fit<GammaGamma>,
    /// Each parameter of both, with its standard error and 95 % interval; times in weeks.
    pub estimates: Vec<ParameterEstimate>,
    /// What the model said of the days after the last one that counted, beside what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<HoldOut>,
    /// Why there is no hold-out although it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_reason")]
    pub no_hold_out: Option<HoldOutError>,
    /// What customers are worth by the month of their first purchase, where somebody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cohorts: Option<Cohorts>,
    /// What was bought a day, by all together. Not in the JSON.
    #[serde(skip)]
    pub revenue: Revenue,
    /// The customers, in the order of their ids' bytes. Not in the JSON.
    #[serde(skip)]
    pub summaries: Vec<(Arc<str>, Summary)>,
}

fn as_text<S: Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(date)
}

fn as_reason<S: Serializer>(reason: &Option<HoldOutError>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&reason.map(|reason| reason.to_string()).unwrap_or_default())
}

/// Reads an order log and fits a model of purchases and Gamma-Gamma to what was known at the end of `calibrate_until`. `progress` is told
/// now and then how far reading has come. Computes for a while: on an async runtime, call it from a blocking task.
///
/// # Errors
/// [`FitOrdersError`].
pub fn fit_orders(
    reader: impl BufRead,
    options: &FitOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<FitReport, FitOrdersError> {
    let log = OrderLog::read(reader, &options.orders, progress)?;
    let text = |day: i32| date_of(day).map_or_else(|| day.to_string(), |date| date.to_string());
    let order_days = log.days().map(|(first, last)| (text(first), text(last)));
    let summaries = log.summaries(day_number(options.calibrate_until));
    if summaries.is_empty() {
        let first = order_days.map_or_else(|| "no day".to_owned(), |(first, _)| first);
        return Err(FitOrdersError::NothingUntil { until: options.calibrate_until, first });
    }
    let mut histories: Vec<History> = Vec::with_capacity(summaries.len());
    let mut spends = Vec::new();
    for (customer, summary) in &summaries {
        let wrong = |source| FitOrdersError::History { customer: Arc::clone(customer), source };
        let history = summary.history().map_err(wrong)?;
        spends.extend(Spend::new(&history, summary.monetary()));
        histories.push(history);
    }
    let repeats = || histories.iter().map(History::frequency);
    let wrong = |error| FitOrdersError::Purchases(options.model, error);
    let purchases = PurchasesFit::fit(options.model, &histories).map_err(wrong)?;
    let gamma_gamma = GammaGamma::fit(&spends).map_err(FitOrdersError::Spend)?;
    let fitted = (&purchases.purchases(), &gamma_gamma.model);
    let compare = || HoldOut::of(&log, day_number(options.calibrate_until), fitted, options.time_unit);
    let revenue = log.revenue();
    let (hold_out, no_hold_out) = match options.hold_out.then(compare) {
        None => (None, None),
        Some(Ok(hold_out)) => (Some(hold_out), None),
        Some(Err(why)) => (None, Some(why)),
    };
    Ok(FitReport {
        calibrate_until: options.calibrate_until,
        currency: options.currency,
        orders: log.orders() as u64,
        order_days,
        customers: summaries.len() as u64,
        customers_with_repeats: repeats().filter(|&frequency| frequency > 0).count() as u64,
        repeat_purchases: repeats().map(u64::from).sum(),
        estimates: [purchases.parameters(), gamma_gamma.parameters()].concat(),
        purchases,
        gamma_gamma,
        hold_out,
        no_hold_out,
        cohorts: None,
        data_sha256: log.sha256,
        bad_rows: log.bad_rows,
        refunds: log.refunds,
        time_unit: options.time_unit,
        revenue,
        summaries,
    })
}

impl FitReport {
    /// What predictions are made with.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        Parameters { purchases: self.purchases.purchases(), gamma_gamma: self.gamma_gamma.model }
    }

    /// How far the data determine the parameters.
    #[must_use]
    pub fn covariances(&self) -> Covariances {
        let purchases = self.purchases.covariance().clone();
        Covariances { purchases, gamma_gamma: self.gamma_gamma.covariance.clone() }
    }

    /// The report as a table for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let days = self.order_days.as_ref().map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
        let mut lines = vec![line("orders", &format!("{}{days}", self.orders))];
        let Refunds { rows, returned, unmatched } = self.refunds;
        if self.refunds != Refunds::default() {
            let told = format!("{rows}; {returned} orders returned, {unmatched} refunds of no purchase");
            lines.push(line("refunds", &told));
        }
        lines.extend([
            line("calibrated until", &self.calibrate_until.to_string()),
            line("customers", &format!("{}, of whom {} bought again", self.customers, self.customers_with_repeats)),
            line("repeat purchases", &self.repeat_purchases.to_string()),
            String::new(),
        ]);
        self.parameter_lines(&mut lines);
        if let Some(hold_out) = &self.hold_out {
            lines.push(String::new());
            hold_out_lines(hold_out, self.currency, &mut lines);
        }
        if let Some(why) = self.no_hold_out {
            lines.extend([String::new(), line("hold-out", &format!("none: {why}"))]);
        }
        if self.bad_rows.count > 0 {
            lines.push(String::new());
            lines.push(line("rows left out", &format!("{}{}", self.bad_rows.count, self.bad_rows)));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn parameter_lines(&self, lines: &mut Vec<String>) {
        let likelihood = |value: f64| format!("log-likelihood {value:.1}");
        lines.push(line(self.purchases.purchases().kind().title(), &likelihood(self.purchases.log_likelihood())));
        for one in self.purchases.parameters() {
            let value = one.estimate.value;
            // Scales are times.
            lines.push(match one.name {
                "alpha" | "beta" => {
                    line(&format!("  {} ({}s)", one.name, self.time_unit), &number(self.time_unit.of_weeks(value)))
                }
                name => line(&format!("  {name}"), &number(value)),
            });
        }
        lines.push(line("Gamma-Gamma", &likelihood(self.gamma_gamma.log_likelihood)));
        let spend = &self.gamma_gamma.model;
        lines.push(line("  p", &number(spend.p())));
        lines.push(line("  q", &number(spend.q())));
        lines.push(line(&format!("  v ({})", self.currency), &number(spend.v())));
    }
}

/// How far the model was off in the hold-out, beside the best of the rules that need none.
fn hold_out_lines(hold_out: &HoldOut, currency: Currency, lines: &mut Vec<String>) {
    let (from, to) = &hold_out.days;
    lines.push(line("hold-out", &format!("{from} to {to}, {:.1} weeks", hold_out.weeks)));
    for (what, methods) in [("purchases", &hold_out.purchases), (currency.as_str(), &hold_out.spend)] {
        for one in methods {
            let gini = one.gini.map_or_else(|| "-".to_owned(), |gini| format!("{gini:.3}"));
            let told = format!("{:.0} of {:.0}, MAE {:.3}, Gini {gini}", one.expected, one.actual, one.mae);
            lines.push(line(&format!("  {what}"), &format!("{:<12}{told}", one.method)));
        }
    }
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<18}{value}")
}

/// Three places, and for numbers too small for them three digits.
fn number(value: f64) -> String {
    if value >= 0.01 { format!("{value:.3}") } else { format!("{value:.2e}") }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../../../examples/cdnow/CDNOW_sample.txt");

    fn options(until: &str) -> FitOptions {
        FitOptions {
            orders: OrderOptions::default(),
            calibrate_until: until.parse().unwrap(),
            currency: Currency::USD,
            time_unit: TimeUnit::Week,
            model: ModelKind::BgNbd,
            hold_out: false,
        }
    }

    #[test]
    fn the_cdnow_sample_gives_the_published_fits() {
        let report = fit_orders(SAMPLE, &options("1997-09-30"), &mut |_| ()).unwrap();
        let expected = "\
orders            6919, 1997-01-01 to 1998-06-30
calibrated until  1997-09-30
customers         2357, of whom 946 bought again
repeat purchases  2457

BG/NBD            log-likelihood -9582.4
  r               0.243
  alpha (weeks)   4.414
  a               0.793
  b               2.426
Gamma-Gamma       log-likelihood -4055.9
  p               6.250
  q               3.744
  v (USD)         15.444
";
        assert_eq!(report.table(), expected);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["calibrate_until"], "1997-09-30");
        assert_eq!(json["bgnbd"]["customers"], 2_357);
        assert_eq!(json["gamma_gamma"]["customers"], 946);
        assert!((json["bgnbd"]["model"]["r"].as_f64().unwrap() - 0.243).abs() < 5e-4);
        assert!(json.get("summaries").is_none());
    }

    #[test]
    fn a_period_before_the_first_order_is_an_error_that_says_when_it_was() {
        let error = fit_orders(SAMPLE, &options("1996-12-31"), &mut |_| ()).unwrap_err().to_string();
        assert_eq!(error, "no customer bought before the end of 1996-12-31: the first order is of 1997-01-01");
    }

    #[test]
    fn orders_that_determine_no_model_say_which_and_why() {
        let error = fit_orders(SAMPLE, &options("1997-01-01"), &mut |_| ()).unwrap_err();
        // Each of the chain tells its own part, as the whole chain is printed.
        let chain = (error.to_string(), error.source().map(ToString::to_string).unwrap_or_default());
        let cause = "no customer has a repeat purchase within the calibration period";
        assert_eq!((chain.0.as_str(), chain.1.as_str()), ("BG/NBD cannot be fitted", cause));
    }

    #[test]
    fn the_unit_of_time_changes_what_is_told_and_nothing_that_is_found() {
        let weeks = fit_orders(SAMPLE, &options("1997-09-30"), &mut |_| ()).unwrap();
        let days = FitOptions { time_unit: TimeUnit::Day, ..options("1997-09-30") };
        let days = fit_orders(SAMPLE, &days, &mut |_| ()).unwrap();
        assert_eq!(days.purchases, weeks.purchases);
        assert!(days.table().contains("  alpha (days)    30.895\n"), "{}", days.table());
    }

    #[test]
    fn refunds_are_in_the_report() {
        let with_refund = [SAMPLE, b" 00004 0001 19970901  1   -1000000.00\r\n"].concat();
        let report = fit_orders(&*with_refund, &options("1997-09-30"), &mut |_| ()).unwrap();
        assert!(report.table().contains("\nrefunds           1; "), "{}", report.table());
        assert_eq!((report.orders, report.customers), (6_919, 2_356), "nothing is left of the purchases before");
    }

    #[test]
    fn rows_left_out_are_in_the_report() {
        let with_bad_row = [SAMPLE, b" 00004 0001 19970231  1   14.96\r\n"].concat();
        let mut options = options("1997-09-30");
        assert!(matches!(
            fit_orders(&*with_bad_row, &options, &mut |_| ()),
            Err(FitOrdersError::Orders(OrdersError::BadRows(_)))
        ));
        options.orders.skip_bad_rows = true;
        let report = fit_orders(&*with_bad_row, &options, &mut |_| ()).unwrap();
        assert!(
            report.table().contains("rows left out     1\n  line 6920: date: \"19970231\" is not"),
            "{}",
            report.table()
        );
    }
}
