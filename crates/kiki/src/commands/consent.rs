//! `kiki consent`: what a customer agrees to, asked of a running service.

use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::Table;
use kiki_client::{ConsentRecord, ConsentStanding};
use kiki_kit::config::Config;

use super::spend::{List, table};
use crate::cli::runtime;

/// What can be asked about consent.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows what a customer agrees to now, and what stands against it.
    Status {
        /// The customer's id.
        customer: String,
        /// How it is shown, and by whom.
        #[command(flatten)]
        list: List,
    },
    /// Shows all that a customer agreed to and took back, each with its entry in the log.
    History {
        /// The customer's id.
        customer: String,
        /// How it is shown, and by whom.
        #[command(flatten)]
        list: List,
    },
}

/// Runs the command.
///
/// # Errors
/// The service does not answer.
pub fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        match command {
            Command::Status { customer, list } => {
                let standing = list.client(config)?.consent_standing(&customer).await?;
                list.print(&[standing], standing_table)?;
            }
            Command::History { customer, list } => {
                let history = list.client(config)?.consent_history(&customer).await?;
                list.print(&history, history_table)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn standing_table(standing: &[ConsentStanding]) -> Table {
    let mut rows = table(&["purpose", "channel", "stands", "until"]);
    for one in standing {
        for consent in &one.consents {
            let stands = if consent.stands { "yes" } else { "no" };
            let until = consent.expires_at.as_deref().unwrap_or("");
            rows.add_row([consent.purpose.as_str(), &consent.channel, stands, until]);
        }
        for bar in &one.bars {
            rows.add_row([bar.as_str(), "", "barred", ""]);
        }
    }
    rows
}

fn history_table(history: &[ConsentRecord]) -> Table {
    let mut rows = table(&["at", "act", "about", "channel", "state", "basis", "source", "entry"]);
    for record in history {
        let about = record.purpose.map(kiki_client::Purpose::as_str).or(record.bar.as_deref());
        rows.add_row([
            record.at.clone(),
            record.act.clone(),
            about.unwrap_or_default().to_owned(),
            record.channel.clone().unwrap_or_default(),
            record.state.clone(),
            record.basis.clone(),
            record.source.clone(),
            record.receipt.as_ref().map(|receipt| receipt.index.to_string()).unwrap_or_default(),
        ]);
    }
    rows
}
