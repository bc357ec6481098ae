//! `kiki keys`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use kiki_kit::config::{Config, MasterChoice};
use kiki_kit::service::Platform;
use kiki_kit::shutdown::Shutdown;
use kiki_store::personal::{Moved, Subjects};
use kiki_types::UnixMillis;

use crate::cli::runtime;
use crate::console::say;
use crate::process::open_store;
use crate::services::keys;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What can be asked of the keys of people, also while services run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints the master key's name, the epochs that live, and how many people are in each.
    Status,
    /// Begins an epoch if it is time, and puts everybody into it.
    Rotate {
        /// Also if it is not time yet.
        #[arg(long)]
        now: bool,
    },
    /// Destroys the secret of an epoch that nobody is in: backups of the database that need it tell nothing of anybody.
    ///
    /// That happens by itself after twice KIKI_EPOCH_DAYS. There is no way back.
    Destroy {
        /// Its number.
        #[arg(long, value_name = "N")]
        epoch: u32,
    },
    /// Goes over to another master key, in two steps, while services run.
    ///
    /// First, with the old one configured: both open the keys afterwards. Then start every service with the new one as
    /// KIKI_MASTER, and repeat the command: only the new one opens them afterwards.
    Move {
        /// The new one, as KIKI_MASTER names it.
        #[arg(long, value_name = "MASTER", value_parser = master_choice)]
        to: MasterChoice,
    },
}

fn master_choice(text: &str) -> Result<MasterChoice, &'static str> {
    text.parse().map_err(|()| "is none of file, env, vault:https://host:8200/MOUNT/NAME, aws-kms:REGION:KEY")
}

/// Runs the command.
///
/// # Errors
/// There are no keys, they cannot be opened, or what was asked for cannot be done.
pub fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    let ring = keys::folder(config).join("ring.json");
    anyhow::ensure!(ring.exists(), "there are no keys of people in {}", keys::folder(config).display());
    runtime()?.block_on(async {
        let platform = Platform::of_process(config, Shutdown::new());
        let store = open_store(config, platform.clock.as_ref(), platform.ids.as_ref()).await?;
        let subjects = keys::open(config, &store, &platform.clock).await?;
        match command {
            Command::Status => status(&subjects, platform.clock.now()).await,
            Command::Rotate { now } => rotate(&subjects, if now { 0 } else { config.epoch_days }).await,
            Command::Destroy { epoch } => {
                subjects.destroy_epoch(epoch).await?;
                Ok(say(format!("epoch {epoch} is destroyed"))?)
            }
            Command::Move { to } => {
                let master = keys::master(config, &to, &platform.clock).await.context("the new master key")?;
                said(&subjects, subjects.move_to(&master).await?, master.name())
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn status(subjects: &Subjects, now: UnixMillis) -> anyhow::Result<()> {
    let (status, people) = (subjects.status(), subjects.by_epoch().await?);
    say(format!("master key {}", status.master))?;
    for &(n, began) in &status.living {
        let count = people.iter().find(|(epoch, _)| *epoch == n).map_or(0, |(_, count)| *count);
        let days = (now.0 - began.0).max(0) / DAY_MS;
        say(format!("epoch {n}, begun {began}, {days} days ago: {count} people"))?;
    }
    match status.trouble {
        Some(trouble) => anyhow::bail!("{trouble}"),
        None => Ok(()),
    }
}

async fn rotate(subjects: &Subjects, at_least_days: u32) -> anyhow::Result<()> {
    match subjects.rotate(at_least_days).await? {
        Some(n) => say(format!("epoch {n} has begun"))?,
        None => say("it is not time yet")?,
    }
    let rewrapped = subjects.rewrap().await?;
    say(format!("{} people were put into it", rewrapped.moved))?;
    anyhow::ensure!(rewrapped.damaged == 0, "the rows of {} people are damaged", rewrapped.damaged);
    Ok(())
}

fn said(subjects: &Subjects, moved: Moved, name: &str) -> anyhow::Result<()> {
    let old = subjects.status().master;
    let told = match moved {
        Moved::Both => {
            format!("{old} and {name} open the keys; start every service with the new one, then repeat this")
        }
        Moved::Only => format!("only {name} opens the keys"),
    };
    Ok(say(told)?)
}
