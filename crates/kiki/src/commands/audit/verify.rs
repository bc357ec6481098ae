//! `kiki audit verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kiki_audit::{Verified, VerifierKey, VerifyOptions, verify};
use kiki_kit::config::Config;
use kiki_spend::{Bounds, State, fold};

use crate::console::say;

/// What is verified.
#[derive(Args, Debug)]
pub struct Options {
    /// The verifier key to trust instead of the one beside the log.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Leaves the CSV and JSON views out.
    #[arg(long)]
    no_views: bool,
}

/// Runs the command.
///
/// # Errors
/// The log or the key cannot be read, or the log does not check.
pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let verified = verify_log(&config.data, options.key.as_deref(), !options.no_views, &bar())?;
    say(summary(&verified))?;
    Ok(ExitCode::SUCCESS)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("verifying {bar:30} {bytes}/{total_bytes} {eta}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Verifies the log below `data`, decisions included.
///
/// # Errors
/// The first difference and its place, or a file that cannot be read.
pub fn verify_log(data: &Path, key: Option<&Path>, views: bool, bar: &ProgressBar) -> anyhow::Result<Verified> {
    let audit = super::log_in(data)?;
    let key_path = key.map_or_else(|| data.join("keys/log.vkey"), Path::to_owned);
    let key = VerifierKey::load(&key_path).with_context(|| format!("cannot read the key {}", key_path.display()))?;
    let mut state = State::new(Bounds::default());
    let verified = verify(
        &audit,
        &VerifyOptions { key: Some(key), views },
        &mut |_, entry, _| fold(&mut state, entry),
        &mut |progress| {
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes);
        },
    );
    bar.finish_and_clear();
    Ok(verified?)
}

/// What was verified, in a line.
fn summary(verified: &Verified) -> String {
    let signed = match &verified.checkpoint {
        Some(checkpoint) => {
            let root: String = checkpoint.root.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            format!("signed checkpoint {} at {} entries, root {root}…", checkpoint.origin, checkpoint.size)
        }
        None => "no checkpoint yet".to_owned(),
    };
    let torn = match &verified.torn {
        Some(torn) => format!("; an incomplete record at the end ({}) is cut at the next start", torn.place),
        None => String::new(),
    };
    format!(
        "verified: {} entries in {} segments, every decision recomputed; {signed}; {} tiles, {} view rows, {} entries not \
         in a checkpoint yet{torn}",
        verified.entries, verified.segments, verified.tiles, verified.view_rows, verified.beyond_checkpoint
    )
}
