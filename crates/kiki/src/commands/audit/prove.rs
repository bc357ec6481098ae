//! `kiki audit prove`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use kiki_audit::{Checkpoint, Policy, VerifierKey, Which, disk, handover, prove};
use kiki_kit::config::Config;
use kiki_spend::find;
use kiki_types::id::AuthorizationId;

use crate::console::say;

/// What is proven.
#[derive(Args, Debug)]
pub struct Options {
    /// The index of the entry, or the id of the authorization that it decided.
    entry: String,
    /// Leads to a checkpoint that enough witnesses have cosigned, or fails; otherwise to the best that covers the entry.
    #[arg(long)]
    witnessed: bool,
}

/// Runs the command.
///
/// # Errors
/// There is no such entry, no checkpoint covers it, or the log cannot be read or does not check.
pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let audit = super::log_in(&config.data)?;
    let index = index_of(&audit, &options.entry)?;
    let which = if options.witnessed { Which::Witnessed } else { Which::BestThatCovers };
    let proof = prove(&disk::real(), &audit, index, which)?;
    let key_path = config.data.join("keys/log.vkey");
    let key = VerifierKey::load(&key_path).with_context(|| format!("cannot read the key {}", key_path.display()))?;
    // A checkpoint that was cosigned before a rotation is by a former key.
    let keys = handover::all_keys(&key, &handover::load(&audit)?);
    proof.verify(&Policy::of_keys(&keys)).context("this log gives no proof that holds")?;
    say(proof.to_string().trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn index_of(audit: &Path, entry: &str) -> anyhow::Result<u64> {
    if let Ok(index) = entry.parse() {
        return Ok(index);
    }
    let id: AuthorizationId =
        entry.parse().with_context(|| format!("`{entry}` is neither an index nor the id of an authorization"))?;
    let covered = Checkpoint::load(audit, None)?.map_or(0, |checkpoint| checkpoint.size);
    let found = find::decided(audit, covered, id.uuid())?;
    found.with_context(|| format!("no entry before {covered}, where the checkpoint ends, decides {id}"))
}
