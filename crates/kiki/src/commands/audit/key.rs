//! `kiki audit key`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use kiki_audit::{LogKey, VerifierKey, handover};
use kiki_kit::config::Config;

use crate::console::say;
use crate::services::secret_bytes;

/// What can be asked of the key that signs the log.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints the verifier key, and the handovers from the keys before it.
    Show,
    /// Replaces the key: the old one and the new one sign a handover, and the new one signs from now on.
    ///
    /// No service may have the log open. Whoever trusts the old key may follow the handover, which is kept beside the log;
    /// witnesses and policies must be told the new key. It is no cure for a key that was stolen: its thief could write a
    /// handover too.
    Rotate,
}

/// Runs the command.
///
/// # Errors
/// There is no key, the log is open, or a file cannot be read or written.
pub(super) fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show => show(config),
        Command::Rotate => rotate(config),
    }
}

fn show(config: &Config) -> anyhow::Result<ExitCode> {
    let audit = super::log_in(&config.data)?;
    let path = config.data.join("keys/log.vkey");
    let key = VerifierKey::load(&path).with_context(|| format!("cannot read the key {}", path.display()))?;
    say(&key)?;
    for handover in handover::load(&audit)? {
        say(format!("since entry {}: {}, handed over by {}", handover.size, handover.to, handover.from))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rotate(config: &Config) -> anyhow::Result<ExitCode> {
    let handover = LogKey::rotate(&config.data.join("keys"), secret_bytes)?;
    say(format!("the log is signed by {} from entry {} on", handover.to, handover.size))?;
    say(format!("{} signs nothing more; tell witnesses and policies the new key", handover.from))?;
    Ok(ExitCode::SUCCESS)
}
