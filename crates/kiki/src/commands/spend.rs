//! `kiki spend`.

mod live;
mod top;
mod whatif;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use kiki_kit::config::Config;
use kiki_spend::replay::replay;

pub(crate) use live::{List, table};

/// What can be asked of the governor: of a running service, or of its rules without one.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a file of commands through the rules and prints an outcome line for each.
    ///
    /// A line is a JSON object such as
    /// {"at": 1700000000000, "op": "authorize", "id": "a1", "key": "k1", "path": "t/desk", "amount": 5000000, "ttl_ms": 60000}
    /// with amounts in millionths. Other operations: limit (window, total, each), capture, void, consent.
    #[command(verbatim_doc_comment)]
    Replay {
        /// The file; - is stdin.
        commands: PathBuf,
    },
    /// Decides what the log has once more, under other limits, and prints what would change.
    ///
    /// Needs no service and may run beside one: it reads the log below --data and writes nothing. Only decisions are
    /// known, so what would have followed other ones is assumed: what is newly denied has no follow-up, what is newly
    /// allowed is captured in full at once, what newly waits for approval is approved at once.
    Whatif(whatif::Options),
    /// What is asked of a running service.
    #[command(flatten)]
    Live(live::Command),
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or a line of it is no command; a service does not do what it is asked.
pub fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Replay { commands } => replayed(&commands),
        Command::Whatif(options) => whatif::run(&options, config),
        Command::Live(command) => live::run(command, config),
    }
}

fn replayed(commands: &Path) -> anyhow::Result<ExitCode> {
    let reader: Box<dyn BufRead> = if commands == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(commands).with_context(|| format!("cannot open {}", commands.display()))?))
    };
    match replay(reader, BufWriter::new(io::stdout().lock())) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(kiki_spend::replay::ReplayError::Io(error)) => Err(error.into()),
        Err(error) => Err(anyhow::Error::from(error).context(format!("{}", commands.display()))),
    }
}
