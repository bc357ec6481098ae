//! `kiki audit`: what can be done with the log below `--data`, without a service. A file per subcommand.

mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use kiki_kit::config::Config;

pub use verify::verify_log;

/// What can be asked of the audit log without a service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recomputes everything from the entries: checksums, order, decisions, tiles, checkpoint, signature, views.
    ///
    /// Names the place of the first difference and exits with 1. It may run beside a live service.
    Verify(verify::Options),
}

/// Runs the command.
///
/// # Errors
/// What the subcommand says.
pub fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Verify(options) => verify::run(&options, config),
    }
}

/// The folder of the log below `data`.
///
/// # Errors
/// There is none.
fn log_in(data: &Path) -> anyhow::Result<PathBuf> {
    let audit = data.join("audit");
    anyhow::ensure!(audit.is_dir(), "there is no log at {}: is --data right?", audit.display());
    Ok(audit)
}
