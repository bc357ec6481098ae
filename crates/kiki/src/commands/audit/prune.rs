//! `kiki audit prune`.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use kiki_audit::Shipper;
use kiki_kit::clock::{Clock, SystemClock};
use kiki_kit::config::Config;
use kiki_kit::ids::SystemIds;
use kiki_kit::shutdown::Shutdown;
use kiki_spend::OpenError;
use kiki_spend::retention::{self, Due};

use crate::cli::runtime;
use crate::console::say;
use crate::services::{governor_settings, shipping};

/// What is done.
#[derive(Args, Debug)]
pub struct Options {
    /// Says what would be deleted and deletes nothing. It may run beside a live service.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// The service runs, or the log does not open, or a file cannot be read or written.
pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    super::log_in(&config.data)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let settings = governor_settings(config, clock.clone(), Arc::new(SystemIds::new(clock.clone())));
    let disk = kiki_audit::disk::real();
    let runtime = runtime()?;
    let _guard = runtime.enter();
    let shipper = shipping::configured(config, &Shutdown::new())?;
    let mut shipped = shipper.as_ref().map(Shipper::safe_to).transpose()?;
    let days = config.retention_days;
    let due = retention::due(&disk, &settings, clock.now(), shipped)?;
    if let Some(shipper) = &shipper {
        // The log's own time may be later than this clock's: nothing goes then that the shelf was not asked for.
        shipped = Some(match due {
            Due::Nothing => 0,
            Due::To(to) | Due::AfterSnapshots(to) => shipper.confirm(to).map(|()| to)?,
        });
    }
    if options.dry_run {
        return say(match due {
            Due::Nothing => format!("nothing to prune: no segment is older than {days} days and may go"),
            Due::To(to) | Due::AfterSnapshots(to) => format!("the entries before {to} are older than {days} days"),
        })
        .map(|()| ExitCode::SUCCESS)
        .map_err(Into::into);
    }
    let pruned = match retention::prune_stopped(&disk, &settings, shipped) {
        Err(error @ OpenError::Log(kiki_audit::OpenError::InUse { .. })) => {
            Err(error).context("a running service prunes by itself every hour; stop it first, or pass --dry-run")
        }
        pruned => pruned.map_err(Into::into),
    }?;
    say(match pruned {
        None => format!("nothing pruned: no segment is older than {days} days and may go"),
        Some(pruned) => {
            format!("pruned: the entries before {} are deleted, as entry {} tells", pruned.minimum, pruned.entry)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
