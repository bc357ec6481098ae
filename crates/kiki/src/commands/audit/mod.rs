//! `kiki audit`: what can be done with the log below `--data`, without a service. A file per subcommand.

mod ask;
mod export;
mod key;
mod outbox;
mod prove;
mod prune;
mod select;
mod ship;
mod tail;
mod verify;
mod verify_proof;
mod witness;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use kiki_audit::VerifierKey;
use kiki_audit::note::Kind;
use kiki_kit::config::Config;

pub use verify::verify_log;

use crate::cli::{Listen, runtime};

/// What can be asked of the audit log without a service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recomputes everything from the entries: checksums, order, decisions, tiles, checkpoint, signature, views.
    ///
    /// Names the place of the first difference and exits with 1. It may run beside a live service. `verify proof` needs no log.
    #[command(args_conflicts_with_subcommands = true)]
    Verify {
        /// How all of the log is verified.
        #[command(flatten)]
        options: verify::Options,
        /// What else is verified.
        #[command(subcommand)]
        only: Option<Only>,
    },
    /// Prints a proof that an entry is in the log: a .tlog-proof, which anybody can verify without this log.
    ///
    /// It may run beside a live service, whose checkpoint covers an entry within about a second.
    Prove(prove::Options),
    /// The key that signs the log.
    #[command(subcommand)]
    Key(key::Command),
    /// The audit entries that wait in the database to be handed over to the log.
    #[command(subcommand)]
    Outbox(outbox::Command),
    /// Runs a witness (C2SP tlog-witness): it cosigns the checkpoints of logs as long as each continues the last one.
    ///
    /// Best on another machine, under another hand, than the logs: its word is worth what its independence is.
    Witness(witness::Options),
    /// Prints the newest entries, and those to come.
    Tail(tail::Options),
    /// Writes entries as CSV or JSON lines: a span of time, or a file a day.
    Export(export::Options),
    /// Copies what a checkpoint covers to a folder or an object store, where nothing is ever changed.
    ///
    /// Goes on where it ended, reads back what it wrote, and exits with 1 if the place holds another history. A running
    /// service does so by itself when KIKI_SHIP_TO is set.
    Ship(ship::Options),
    /// Deletes the entries that are older than RETENTION_DAYS, as an entry of the log tells; proofs of them stay valid.
    ///
    /// A running service does so by itself; this is for one that is stopped.
    Prune(prune::Options),
}

/// What is verified instead of the log below `--data`.
#[derive(Debug, Subcommand)]
pub enum Only {
    /// Verifies a proof: the entry, the path to the root, the signature of the log, the cosignatures of witnesses.
    ///
    /// Needs no log. Prints what was proven and the entry, or says what does not hold and exits with 1.
    Proof(verify_proof::Options),
}

impl Command {
    /// Where it listens, if it is one that serves.
    #[must_use]
    pub const fn listen(&self) -> Option<&Listen> {
        match self {
            Self::Witness(options) => Some(&options.listen),
            _ => None,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What the subcommand says.
pub fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Verify { only: Some(Only::Proof(options)), .. } => verify_proof::run(&options),
        Command::Verify { options, only: None } => verify::run(&options, config),
        Command::Prove(options) => prove::run(&options, config),
        Command::Key(command) => key::run(&command, config),
        Command::Outbox(command) => runtime()?.block_on(outbox::run(&command, config)),
        Command::Witness(options) => runtime()?.block_on(witness::run(&options, config)),
        Command::Tail(options) => tail::run(&options, config),
        Command::Export(options) => export::run(&options, config),
        Command::Ship(options) => ship::run(&options, config),
        Command::Prune(options) => prune::run(&options, config),
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

/// The verifier key of a log, given as it is or as the file that holds it.
///
/// # Errors
/// It is neither, or the key of a witness.
fn verifier_key(given: &str) -> anyhow::Result<VerifierKey> {
    let key = match given.parse() {
        Ok(key) => key,
        Err(_) => VerifierKey::load(Path::new(given)).with_context(|| format!("cannot read the key {given}"))?,
    };
    anyhow::ensure!(key.kind() == Kind::Note, "{key} is the key of a witness, not of a log");
    Ok(key)
}
