//! `kiki value`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use kiki_growth::value::orders::{Format, OrderOptions, day_number};
use kiki_growth::value::report::page;
use kiki_growth::value::{
    Cohorts, FitOptions, FitReport, ModelKind, Needs, Promote, Terms, TimeUnit, Value, fit_orders,
};
use kiki_kit::config::Config;
use kiki_kit::service::Platform;
use kiki_kit::shutdown::{Shutdown, Tasks};
use kiki_types::{Principal, TenantId, UnixMillis};

use crate::cli::runtime;
use crate::console::{complain, say};
use crate::process::open_store;
use crate::services::keys;

/// What a running service does beyond the file, and how it is asked.
pub const SERVICE: &str = "\
A running service, such as http://localhost:8084, is asked over HTTP or gRPC:
  POST /train?calibrate_until=DATE           fit a model to the order log in the body
  GET  /models, /models/compare              which models there are, and how they compare
  POST /models/VERSION/promote               put one in force
  POST /models/rollback                      put back the one before it
  POST /v1/orders                            orders since then, which change predictions at once
  POST /predict-ltv, /churn                  of a customer, or of many
  POST /v1/predictions/cohort                of customers together
  GET  /baseline                             what comes in without anything being done

For example:
  curl -X POST http://localhost:8084/predict-ltv -H 'Content-Type: application/json' \\
       -d '{\"customer_id\":\"0001\",\"intervals\":true}'

GET /openapi.json of the service describes them all, docs/value.md explains them.";

const EXAMPLES: &str = "\
Examples:
  kiki value fit orders.csv --calibrate-until 2025-12-31
      who bought until then, and the parameters of the models
  kiki value fit orders.csv --calibrate-until 2025-12-31 --report report.html
      how well the model tells what came after, and what each month's customers are worth
  kiki value fit orders.csv --calibrate-until 2025-12-31 --model pareto-nbd --json
      every figure, with standard errors and 95 % intervals
  kiki value fit orders_export.csv --format shopify --calibrate-until 2025-12-31 --skip-bad --save
      keep the model, so that the service predicts with it";

/// What can be asked about the value of customers without a service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fits a model of purchases and Gamma-Gamma to an order log: who is still alive, and what are they worth?
    ///
    /// Reads CSV with a header and JSON lines (customer, date and amount are found by their usual names), Shopify's export of
    /// orders, or the text of the CDNOW data. Purchases of one day count as one; a negative amount is a refund.
    #[command(after_help = EXAMPLES)]
    Fit(Fit),
}

/// `kiki value fit`.
#[derive(Args, Debug)]
pub struct Fit {
    /// The order log.
    file: PathBuf,
    /// The last day that counts, such as 1997-09-30.
    #[arg(long, value_name = "DATE")]
    calibrate_until: Date,
    /// Prints the report as JSON, with the comparison and the cohorts that --report shows.
    #[arg(long)]
    json: bool,
    /// Compares the model with what came after the last day that counts, and writes the report there, as one HTML page.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The model of purchases: bg-nbd, mbg-nbd or pareto-nbd.
    #[arg(long, default_value = "bg-nbd")]
    model: ModelKind,
    /// Keeps the model and its customers, so that the value service predicts with it.
    #[arg(long)]
    save: bool,
    /// Leaves rows out that cannot be read, and counts them, instead of refusing the file.
    #[arg(long, alias = "skip-bad-rows")]
    skip_bad: bool,
    /// How the file is written: csv, jsonl, shopify or cdnow; found out unless given.
    #[arg(long)]
    format: Option<Format>,
    /// The unit of times in what is shown: day, week or month.
    #[arg(long, default_value = "week", value_name = "UNIT")]
    time_unit: TimeUnit,
    /// Weeks ahead that --json and --report tell the worth of cohorts for: customers by the month of their first purchase.
    #[arg(long, default_value = "52", value_name = "WEEKS")]
    horizon_weeks: f64,
    /// The discount a month of that worth.
    #[arg(long, default_value = "0.01", value_name = "PART")]
    monthly_discount: f64,
    /// The column that names the customer: in CSV, or a key of JSON.
    #[arg(long, value_name = "NAME")]
    customer_column: Option<String>,
    /// The column of the date.
    #[arg(long, value_name = "NAME")]
    date_column: Option<String>,
    /// The column of the amount.
    #[arg(long, value_name = "NAME")]
    amount_column: Option<String>,
    /// The column of what was refunded of the order.
    #[arg(long, value_name = "NAME")]
    refund_column: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// The file is no order log, or its orders do not determine a model.
pub fn run(command: Command, config: Config, now: UnixMillis) -> anyhow::Result<ExitCode> {
    let Command::Fit(fit) = command;
    let today = now.0.div_euclid(24 * 60 * 60 * 1_000);
    // Everybody would look as if they were silent until then. Somewhere it is tomorrow already.
    if i64::from(day_number(fit.calibrate_until)) > today + 1 {
        bail!(
            "--calibrate-until {} is in the future: name the last day that the order log has in full",
            fit.calibrate_until
        );
    }
    let options = FitOptions {
        orders: OrderOptions {
            customer_column: fit.customer_column,
            date_column: fit.date_column,
            amount_column: fit.amount_column,
            refund_column: fit.refund_column,
            format: fit.format,
            currency: Some(config.currency),
            skip_bad_rows: fit.skip_bad,
        },
        calibrate_until: fit.calibrate_until,
        currency: config.currency,
        time_unit: fit.time_unit,
        model: fit.model,
        hold_out: fit.json || fit.report.is_some(),
    };
    let terms = Terms::new(fit.horizon_weeks, fit.monthly_discount)?;
    let bar = bar("reading orders");
    let mut report = fit_file(&fit.file, &options, &bar)?;
    bar.finish_and_clear();
    if options.hold_out {
        report.cohorts = Some(Cohorts::of(&report, &terms)?);
    }
    if report.bad_rows.count > 0 {
        complain(format_args!("left out {} rows that cannot be read:{}", report.bad_rows.count, report.bad_rows));
    }
    if let Some(file) = &fit.report {
        write_page(file, &report)?;
    }
    if fit.json {
        say(serde_json::to_string_pretty(&report)?)?;
    } else {
        say(report.table().trim_end())?;
    }
    if fit.save {
        let saved = runtime()?.block_on(save(config, &report))?;
        complain(format_args!("saved as model {saved}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the hold-out report.
fn write_page(file: &Path, report: &FitReport) -> anyhow::Result<()> {
    let named = || file.display().to_string();
    match (&report.hold_out, report.no_hold_out) {
        (Some(hold_out), _) => std::fs::write(file, page(report, hold_out)).with_context(named),
        (None, Some(why)) => Err(why).with_context(named),
        (None, None) => Ok(()),
    }
}

/// Fits the order log at `file`; `bar` shows how far reading is.
///
/// # Errors
/// As [`run`].
pub fn fit_file(file: &Path, options: &FitOptions, bar: &ProgressBar) -> anyhow::Result<FitReport> {
    let named = || file.display().to_string();
    let opened = File::open(file).with_context(named)?;
    bar.set_length(opened.metadata().with_context(named)?.len());
    fit_orders(BufReader::new(opened), options, &mut |progress| bar.set_position(progress.bytes)).with_context(named)
}

/// A bar over bytes that is shown on a terminal only.
#[must_use]
pub fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg:28} {bar:30} {bytes}/{total_bytes}") {
        bar.set_style(style);
    }
    bar
}

async fn save(config: Config, report: &FitReport) -> anyhow::Result<String> {
    let shutdown = Shutdown::new();
    let platform = Platform::of_process(&config, shutdown.clone());
    let store = open_store(&config, platform.clock.as_ref(), platform.ids.as_ref()).await?;
    let subjects = keys::open(&config, &store, &platform.clock).await?;
    let pseudonyms = keys::pseudonyms(&config)?;
    let value = Value::new(Needs {
        store,
        clock: platform.clock,
        ids: platform.ids,
        tasks: Tasks::new(shutdown),
        currency: config.currency,
        subjects,
        request_key: Arc::new({
            let pseudonyms = pseudonyms.clone();
            move |tenant, text| pseudonyms.request_key(tenant, text).to_string()
        }),
        pseudonym: Arc::new(move |tenant, name| pseudonyms.actor(tenant, name).to_string()),
    });
    let principal = Principal { tenant: TenantId::default_tenant(), ..Principal::local_operator() };
    Ok(value.save(&principal, report, Promote::Now).await?.id.to_string())
}
