//! The command line: what can be typed, and what its help says.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kiki_kit::clock::{Clock as _, SystemClock};
use kiki_kit::config::{Config, Flag, Loaded, Origin, Sources};
use kiki_kit::telemetry::{self, Output};
use std::sync::Arc;

use crate::commands;
use crate::console::complain;

/// The control plane for agents that spend money.
///
/// Every spend passes one gate that reserves the money before it moves and can prove it afterwards.
/// `kiki demo` shows the whole path on real data in under a minute; `kiki up` starts all services here.
#[derive(Debug, Parser)]
#[command(name = "kiki", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  kiki demo                                       fit, score, ask, send, prove: on the order log that ships with KIKI
  kiki up                                         all services on this machine, in ./kiki-data
  PORT=8081 kiki serve shield                     one service
  curl 'http://localhost:8081/spend?amount=100'   spend from the budget
  kiki audit verify                               recompute the whole log";

/// Flags of every command. They win over the environment, `.env` and `kiki.toml`.
#[derive(Args, Debug)]
struct Shared {
    /// Reads settings from this file instead of ./kiki.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keeps everything below this folder (KIKI_DATA; ./kiki-data).
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// What is logged, such as debug or kiki_shield=debug,info (KIKI_LOG).
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows the whole path on real data: an order log in, governed messages out, the log verified.
    Demo(commands::demo::Options),
    /// Starts all services in one process, on embedded storage unless told otherwise.
    Up(Listen),
    /// Starts one service.
    Serve {
        /// Which one.
        service: ServiceName,
        #[command(flatten)]
        listen: Listen,
        /// The HTTP port (PORT).
        #[arg(long)]
        port: Option<String>,
    },
    /// Prints the configuration in force and where each value comes from; secrets are hidden.
    Config {
        /// Prints a kiki.toml with every setting, its default and what it is for.
        #[arg(long)]
        template: bool,
    },
    /// Customer lifetime value: who is still there, and what are they worth?
    ///
    /// `fit` works on a file, without a service. Orders that come, predictions, cohorts, and which model is in force are the
    /// service's: `kiki serve value`.
    #[command(subcommand, after_long_help = commands::value::SERVICE)]
    Value(commands::value::Command),
    /// The spend governor.
    #[command(subcommand)]
    Spend(commands::spend::Command),
    /// The policy: rules over what may be done.
    #[command(subcommand)]
    Policy(commands::policy::Command),
    /// What customers agree to.
    #[command(subcommand)]
    Consent(commands::consent::Command),
    /// What is kept of people, and for how long.
    #[command(subcommand)]
    Privacy(commands::privacy::Command),
    /// The audit log.
    #[command(subcommand)]
    Audit(commands::audit::Command),
    /// The keys that everything known of people is sealed under.
    #[command(subcommand)]
    Keys(commands::keys::Command),
}

/// Where to listen.
#[derive(Args, Clone, Debug, Default)]
pub struct Listen {
    /// The address to listen on (KIKI_HOST; 127.0.0.1).
    #[arg(long)]
    host: Option<String>,
    /// `network` says that the network around this process keeps others out; needed beyond loopback (KIKI_TRUST).
    #[arg(long)]
    trust: Option<String>,
    /// Takes free ports instead of the usual ones; the log and the output say which.
    #[arg(long)]
    pub free_ports: bool,
}

/// A service that can be started alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceName {
    /// SyncShield, 8081: spend, consent, subject requests, audit.
    Shield,
    /// SyncEngage, 8083: retention campaigns.
    Engage,
    /// SyncValue, 8084 and gRPC on 50051: customer lifetime value.
    Value,
}

impl Cli {
    fn flags(&self) -> Vec<Flag> {
        let listen = match &self.command {
            Command::Up(listen) | Command::Serve { listen, .. } => Some(listen),
            Command::Demo(options) => Some(&options.listen),
            Command::Audit(command) => command.listen(),
            _ => None,
        };
        let port = match &self.command {
            Command::Serve { port, .. } => port.as_ref(),
            _ => None,
        };
        let given = [
            ("--data", "KIKI_DATA", self.shared.data.as_ref()),
            ("--log", "KIKI_LOG", self.shared.log.as_ref()),
            ("--host", "KIKI_HOST", listen.and_then(|listen| listen.host.as_ref())),
            ("--trust", "KIKI_TRUST", listen.and_then(|listen| listen.trust.as_ref())),
            ("--port", "PORT", port),
        ];
        let flag = |(flag, variable, value): (&'static str, &'static str, Option<&String>)| {
            value.map(|value| Flag { flag, variable, value: value.clone() })
        };
        given.into_iter().filter_map(flag).collect()
    }

    fn load(&self) -> anyhow::Result<Loaded> {
        let directory = std::env::current_dir()?;
        let sources = Sources::read(&directory, self.shared.config.as_deref(), std::env::vars_os(), self.flags())?;
        Ok(Config::load(&sources)?)
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(told(&error));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let loaded = cli.load()?;
    let serves = match &cli.command {
        Command::Up(_) | Command::Serve { .. } => true,
        Command::Audit(command) => command.listen().is_some(),
        _ => false,
    };
    let output = if serves { Output::Stdout } else { Output::Stderr };
    // A command speaks through what it prints; of the log it shows only failures unless asked for more.
    let is_asked = serves || loaded.origin("KIKI_LOG") != Some(&Origin::Default);
    let filter = if is_asked { loaded.config.log.as_str() } else { "error" };
    telemetry::init(filter, loaded.config.log_format, output, Arc::new(SystemClock::new()))?;
    if serves {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
    }
    match cli.command {
        Command::Config { template } => commands::config::run(&loaded, template),
        Command::Value(command) => commands::value::run(command, loaded.config, SystemClock::new().now()),
        Command::Spend(command) => commands::spend::run(command, &loaded.config),
        Command::Policy(command) => commands::policy::run(&command),
        Command::Consent(command) => commands::consent::run(command, &loaded.config),
        Command::Privacy(command) => commands::privacy::run(command, &loaded.config),
        Command::Audit(command) => commands::audit::run(command, &loaded.config),
        Command::Keys(command) => commands::keys::run(command, &loaded.config),
        Command::Up(listen) => runtime()?.block_on(commands::serve::up(loaded.config, &listen)),
        Command::Serve { service, listen, .. } => {
            runtime()?.block_on(commands::serve::one(loaded.config, service, &listen))
        }
        Command::Demo(options) => runtime()?.block_on(commands::demo::run(loaded.config, options)),
    }
}

/// The runtime of a command that waits for more than one thing.
///
/// # Errors
/// The operating system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// The error and its causes, each said once: some errors name their cause themselves.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |mut told, cause| {
        if !told.contains(&cause) {
            told.push_str(if told.is_empty() { "" } else { ": " });
            told.push_str(&cause);
        }
        told
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_hangs_together() {
        Cli::command().debug_assert();
    }
}
