//! `kiki audit outbox`.

use std::process::ExitCode;

use clap::Subcommand;
use kiki_kit::config::Config;
use kiki_kit::service::Platform;
use kiki_kit::shutdown::Shutdown;
use kiki_shield::jobs::AUDIT_TOPIC;
use kiki_store::outbox;

use crate::console::say;
use crate::process::open_store;

/// What can be asked of the audit entries that wait in the database.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Moves the entries that wait, and all that follow, beyond a position.
    ///
    /// For a database that was put back to an earlier state: the log knows its positions already, so nothing is handed over
    /// and the service says which position that is. What the database lost with its later state stays in the log.
    Advance {
        /// The last position that the log has, as the service says it.
        #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
        beyond: i64,
    },
}

/// Runs the command.
///
/// # Errors
/// The database does not answer.
pub(super) async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    let Command::Advance { beyond } = command;
    let platform = Platform::of_process(config, Shutdown::new());
    let store = open_store(config, platform.clock.as_ref(), platform.ids.as_ref()).await?;
    let last = outbox::advance(&store, AUDIT_TOPIC, *beyond).await?;
    say(format!("positions go on from {last}; what waits is handed over within seconds"))?;
    Ok(ExitCode::SUCCESS)
}
