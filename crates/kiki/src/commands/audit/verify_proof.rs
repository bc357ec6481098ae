//! `kiki audit verify proof`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use kiki_audit::policy::POLICY_BYTES_MAX;
use kiki_audit::tlogproof::PROOF_BYTES_MAX;
use kiki_audit::{Handover, Policy, Proof, Proven, handover};
use kiki_types::UnixMillis;

use crate::console::say;

const HANDOVER_BYTES_MAX: usize = 64 << 10;

/// What is verified, and whom to trust.
#[derive(Args, Debug)]
pub struct Options {
    /// The proof; - is stdin.
    proof: PathBuf,
    #[command(flatten)]
    trust: Trust,
    /// A handover of the log from the key given to the next one, and so on; each as the file that the log publishes.
    #[arg(long = "handover", value_name = "FILE", requires = "key")]
    handovers: Vec<PathBuf>,
}

/// Whom to trust: one of them is needed.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Trust {
    /// The verifier key of the log, or the file that holds it. No witness is asked for.
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// A policy (C2SP tlog-policy): logs, witnesses, and how many of these are enough.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, or the proof shows nothing.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let policy = match (&options.trust.key, &options.trust.policy) {
        (Some(key), _) => {
            let chain: Vec<_> = options.handovers.iter().map(|path| read_handover(path)).collect::<Result<_, _>>()?;
            Policy::of_keys(&handover::following(&super::verifier_key(key)?, &chain))
        }
        (None, Some(path)) => read_policy(path)?,
        (None, None) => anyhow::bail!("say whom to trust: --key or --policy"),
    };
    let proof: Proof = read(&options.proof, PROOF_BYTES_MAX)?.parse()?;
    let proven = proof.verify(&policy)?;
    say(told(&proven))?;
    say(String::from_utf8_lossy(&proven.entry))?;
    Ok(ExitCode::SUCCESS)
}

fn read_handover(path: &Path) -> anyhow::Result<Handover> {
    let handover = Handover::parse(&read(path, HANDOVER_BYTES_MAX)?);
    handover.with_context(|| format!("{} is not a handover, signed by both keys", path.display()))
}

/// The policy in a file.
///
/// # Errors
/// It cannot be read, or a line of it cannot be kept.
pub(super) fn read_policy(path: &Path) -> anyhow::Result<Policy> {
    Policy::parse(&read(path, POLICY_BYTES_MAX)?).with_context(|| format!("{}", path.display()))
}

fn read(path: &Path, bytes_max: usize) -> anyhow::Result<String> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?)
    };
    let mut text = String::new();
    input.take(limit).read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(text.len() <= bytes_max, "{} is longer than {bytes_max} bytes", path.display());
    Ok(text)
}

fn told(proven: &Proven) -> String {
    let Proven { index, checkpoint, cosigned_by, .. } = proven;
    let witnesses: Vec<String> =
        cosigned_by.iter().map(|(name, time_s)| format!("{name} at {}", utc(*time_s))).collect();
    let cosigned = if witnesses.is_empty() { "no witness".to_owned() } else { witnesses.join(", ") };
    format!(
        "proven: entry {index} of {}, signed by the log at {} entries, cosigned by {cosigned}",
        checkpoint.origin, checkpoint.size
    )
}

fn utc(time_s: u64) -> String {
    UnixMillis(i64::try_from(time_s).unwrap_or(i64::MAX).saturating_mul(1000)).rfc3339()
}
