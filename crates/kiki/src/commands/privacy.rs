//! `kiki privacy`: what is kept of people, asked of a running service.

mod requests;

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;
use kiki_client::RetentionDue;
use kiki_kit::config::Config;

use super::spend::{List, table};
use crate::cli::runtime;
use crate::console::say;

/// Calls of one run at the most: each removes what it can within some seconds.
const CALLS_MAX: u32 = 10_000;

/// What can be asked about what is kept of people.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Subject requests.
    #[command(flatten)]
    Requests(requests::Command),
    /// Removes what was kept long enough, as the service does by itself once a day.
    ///
    /// People of whom nothing was heard for KIKI_RETENTION_CUSTOMERS_DAYS are erased, unless a legal hold, a restriction or an
    /// open request keeps them.
    Retention {
        /// Only counts what would go.
        #[arg(long)]
        dry_run: bool,
        /// How it is shown, and by whom.
        #[command(flatten)]
        list: List,
    },
}

/// Runs the command.
///
/// # Errors
/// The service does not answer, or a store failed.
pub fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        match command {
            Command::Requests(command) => requests::run(command, config).await?,
            Command::Retention { dry_run: true, list } => {
                let plan = list.client(config)?.retention().await?;
                list.print(&plan.due, due_table)?;
            }
            Command::Retention { dry_run: false, list } => remove(&list, config).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn remove(list: &List, config: &Config) -> anyhow::Result<()> {
    let client = list.client(config)?;
    for _ in 0..CALLS_MAX {
        let run = client.run_retention().await?;
        list.print(&run.removed, due_table)?;
        anyhow::ensure!(run.failed.is_empty(), "these failed and are tried again tomorrow: {}", run.failed.join(", "));
        if run.done {
            return Ok(());
        }
        say("there is more")?;
    }
    anyhow::bail!("there is more; run it again")
}

fn due_table(due: &[RetentionDue]) -> Table {
    let mut rows = table(&["store", "classes", "rows", "oldest"]);
    for due in due {
        let oldest = due.oldest.clone().unwrap_or_default();
        rows.add_row([due.store.clone(), due.classes.join(", "), due.rows.to_string(), oldest]);
    }
    rows
}
