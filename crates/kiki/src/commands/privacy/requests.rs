//! `kiki privacy list`, `show`, `erase`, `export`: subject requests.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use comfy_table::Table;
use kiki_client::SubjectRequest;
use kiki_kit::config::Config;

use crate::commands::spend::{List, table};
use crate::console::say;

/// What can be asked about subject requests.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists subject requests, the oldest first.
    #[command(name = "list")]
    All {
        /// received, identity_check, in_progress, extended, completed or refused; absent: all.
        #[arg(long)]
        state: Option<String>,
        /// How many at the most.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// How it is shown, and by whom.
        #[command(flatten)]
        list: List,
    },
    /// Shows a subject request, and how far it is in each store.
    Show {
        /// Its id.
        id: String,
        /// How it is shown, and by whom.
        #[command(flatten)]
        list: List,
    },
    /// Asks for the erasure of customers, without writing to them.
    ///
    /// Without --vouch nothing is erased before somebody proves or vouches for each request.
    Erase {
        /// A file with a customer id on each line.
        #[arg(long, value_name = "IDS")]
        file: PathBuf,
        /// Takes your word that the requests come from whom they say.
        #[arg(long)]
        vouch: bool,
        /// How it is shown, and by whom.
        #[command(flatten)]
        list: List,
    },
    /// Fetches what is held of a person, as the ZIP that was made for a request of access.
    Export {
        /// The request's id.
        id: String,
        /// The file to write; it must not exist.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How it is shown, and by whom.
        #[command(flatten)]
        list: List,
    },
}

/// Runs the command.
///
/// # Errors
/// The service does not answer, or a file cannot be read or written.
pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::All { state, limit, list } => {
            let found = list.client(config)?.subject_requests(state.as_deref(), limit as usize).await?;
            list.print(&found, requests_table)
        }
        Command::Show { id, list } => {
            let found = list.client(config)?.subject_request(&id).await?;
            list.print(&[found], tasks_table)
        }
        Command::Erase { file, vouch, list } => {
            let customers = lines(&file)?;
            let ids = list.client(config)?.erase_customers(&customers, vouch).await?;
            let then = if vouch { "they are carried out now" } else { "nothing is erased before each is proven" };
            Ok(say(format_args!("{} requests were opened; {then}: kiki privacy list", ids.len()))?)
        }
        Command::Export { id, out, list } => {
            let zip = list.client(config)?.subject_export(&id).await?;
            // Nobody else reads what is held of a person.
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&out);
            let written = file.and_then(|mut file| file.write_all(&zip));
            written.with_context(|| format!("cannot write {}", out.display()))?;
            Ok(say(format_args!("{}: {} bytes", out.display(), zip.len()))?)
        }
    }
}

/// The lines of a file that are not empty.
fn lines(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    anyhow::ensure!(!lines.is_empty(), "{} names no customer", file.display());
    Ok(lines)
}

fn requests_table(requests: &[SubjectRequest]) -> Table {
    let mut rows = table(&["request", "customer", "type", "status", "came to, or awaits", "due"]);
    for request in requests {
        let came_to =
            request.outcome.as_deref().or(request.ground.as_deref()).or(request.awaits.as_deref()).unwrap_or("");
        let customer = request.customer_id.as_deref().unwrap_or("");
        let due = request.due_at.split('T').next().unwrap_or("");
        rows.add_row([&request.request_id, customer, &request.request_type, &request.status, came_to, due]);
    }
    rows
}

fn tasks_table(requests: &[SubjectRequest]) -> Table {
    let mut rows = table(&["store", "state", "rows", "error"]);
    for request in requests {
        let awaits = request.awaits.as_ref().map(|awaits| format!("awaits its {awaits}"));
        rows.add_row(["", &request.status, "", request.ground.as_deref().or(awaits.as_deref()).unwrap_or("")]);
        for task in &request.tasks {
            let count = task.rows.map(|rows| rows.to_string()).unwrap_or_default();
            rows.add_row([&task.store, &task.state, &count, &task.error]);
        }
    }
    rows
}
