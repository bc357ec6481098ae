//! `kiki demo`: the whole path on real data, offline.
//!
//! The steps go through the services' own HTTP and gRPC interfaces, inside this process: what the demo shows is what
//! the services do. Everything is kept in a folder of its own, so that a run does not depend on the ones before.

mod operator;
mod people;
mod report;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use indicatif::ProgressBar;
use kiki_growth::value::{FitOptions, FitReport, ModelKind, Promote, TimeUnit, fit_orders};
use kiki_kit::config::Config;
use kiki_sandbox::mailbox::Faults;
use kiki_types::money::MICROS_PER_UNIT;
use kiki_types::{Currency, Principal};

use crate::cli::Listen;
use crate::commands::audit::verify_log;
use crate::commands::serve::{listen_all, until_signalled};
use crate::console::say;
use crate::process::Process;
use crate::services::Services;
use operator::Operator;
use report::Outcome;

/// The CDNOW sample: 2,357 customers, 6,919 orders of 1997 and 1998.
const ORDERS: &[u8] = include_bytes!("../../../../../examples/cdnow/CDNOW_sample.txt");
/// Calibrated on the first nine months, as in the literature.
const CALIBRATE_UNTIL: jiff::civil::Date = jiff::civil::date(1997, 9, 30);
/// The burst budget of the demo: what may be spent within any minute.
const BURST: i64 = 500 * MICROS_PER_UNIT;
/// Every so many deliveries the sandbox's provider is unavailable, as real ones are now and then.
const FAULTS: &str = "every=60";

/// `kiki demo`.
#[derive(Args, Debug)]
pub struct Options {
    /// Keeps all services up afterwards, on their usual ports, until Ctrl-C.
    #[arg(long)]
    serve: bool,
    /// Where to listen with --serve.
    #[command(flatten)]
    pub listen: Listen,
}

/// Runs the demo and prints what came of it.
///
/// # Errors
/// A step failed; the message says which.
pub async fn run(config: Config, options: Options) -> anyhow::Result<ExitCode> {
    let config = own_config(config)?;
    let data = config.data.clone();
    let process = Process::open(config).await?;
    let services = Services::start(&process, FAULTS.parse::<Faults>()?).await?;
    let outcome = go(&services).await?;
    if options.serve {
        process.heed_signals()?;
        let verified = verify(data.clone()).await?;
        say(report::table(&outcome, &verified))?;
        say(format_args!("All services are up; Ctrl-C ends them. Data: {}", data.display()))?;
        for (service, address) in listen_all(&process, &services, &options.listen)? {
            say(format_args!("  {service:8} http://{address}"))?;
        }
        return until_signalled(process, services).await;
    }
    process.tasks.shutdown().begin();
    process.ended().await;
    services.stop().await?;
    let verified = verify(data.clone()).await?;
    say(report::table(&outcome, &verified))?;
    say(report::look_further(&data))?;
    Ok(ExitCode::SUCCESS)
}

/// Embedded storage in a new folder, and the budget that the demo is about, whatever else is configured.
fn own_config(mut config: Config) -> anyhow::Result<Config> {
    let runs = config.data.join("demo");
    std::fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display()))?;
    let free = (1..10_000).map(|number| runs.join(format!("run-{number}"))).find(|folder| !folder.exists());
    config.data = free.with_context(|| format!("{} is full: remove it", runs.display()))?;
    config.database_url = None;
    config.currency = Currency::USD;
    config.max_burst_budget_micros = BURST;
    config.window_seconds = 60;
    Ok(config)
}

async fn go(services: &Services) -> anyhow::Result<Outcome> {
    let fitted = tokio::task::spawn_blocking(fit).await??;
    let operator = Operator::new(services);
    services.value.save(&Principal::local_operator(), &fitted, Promote::Now).await.context("saving the model")?;
    let ids: Vec<_> = fitted.summaries.iter().map(|(id, _)| id.clone()).collect();
    let consented = people::grant(&operator, &ids).await.context("recording consent")?;
    let population = people::score(&operator).await.context("scoring the customers")?;
    let campaign = steps::campaign(&operator, population.at_risk).await.context("the campaign")?;
    let singles = steps::single_messages(&operator, &consented).await.context("single messages")?;
    Ok(Outcome { fitted, consented: consented.len(), population, campaign, singles })
}

fn fit() -> anyhow::Result<FitReport> {
    let bar = people::bar("fitting the model", ORDERS.len() as u64);
    let options = FitOptions {
        orders: Default::default(),
        calibrate_until: CALIBRATE_UNTIL,
        currency: Currency::USD,
        time_unit: TimeUnit::Week,
        model: ModelKind::BgNbd,
        hold_out: false,
    };
    let fitted = fit_orders(ORDERS, &options, &mut |progress| bar.set_position(progress.bytes))?;
    bar.finish();
    Ok(fitted)
}

async fn verify(data: PathBuf) -> anyhow::Result<kiki_audit::Verified> {
    let verified = tokio::task::spawn_blocking(move || {
        let bar: ProgressBar = people::bar("verifying the log", 0);
        verify_log(&data, &bar)
    });
    verified.await?.context("the log does not verify")
}
