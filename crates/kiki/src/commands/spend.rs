//! `kiki spend`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use kiki_spend::replay::replay;

/// What can be asked of the governor without a service.
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
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or a line of it is no command.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Replay { commands } = command;
    let reader: Box<dyn BufRead> = if commands == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(&commands).with_context(|| format!("cannot open {}", commands.display()))?))
    };
    match replay(reader, BufWriter::new(io::stdout().lock())) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(kiki_spend::replay::ReplayError::Io(error)) => Err(error.into()),
        Err(error) => Err(anyhow::Error::from(error).context(format!("{}", commands.display()))),
    }
}
