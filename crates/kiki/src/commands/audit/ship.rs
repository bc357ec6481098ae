//! `kiki audit ship`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use kiki_kit::config::Config;
use kiki_kit::shutdown::Shutdown;

use crate::cli::runtime;
use crate::console::say;
use crate::services::shipping;

/// Where it is copied to.
#[derive(Args, Debug)]
pub struct Options {
    /// A path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, instead of the configured one.
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// No place is named, it cannot be written, or it holds another history.
pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    super::log_in(&config.data)?;
    let to = options.to.as_ref().or(config.ship_to.as_ref()).context("name a place: --to, or KIKI_SHIP_TO")?;
    let runtime = runtime()?;
    let _guard = runtime.enter();
    let shipped = shipping::shipper(to, config, Shutdown::new())?.advance()?;
    say(format!(
        "shipped: {} holds the log up to entry {}, its segments up to {}, its days up to {}",
        shipped.to, shipped.size, shipped.segments_to, shipped.days_to
    ))?;
    Ok(ExitCode::SUCCESS)
}
