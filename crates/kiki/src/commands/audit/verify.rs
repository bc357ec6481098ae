//! `kiki audit verify`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kiki_audit::{
    Audit, Entry, Kept, Place, Point, Policy, Verified, VerifierKey, VerifyOptions, VerifyProgress, verify_with,
};
use kiki_kit::config::Config;
use kiki_spend::{Bounds, Decoded, State, decode, fold_decoded, retention, snapshot};

use super::ask;
use crate::cli::runtime;
use crate::console::say;

/// Entries between two points to go on from; each costs a snapshot of the state.
const POINT_EVERY: u64 = 1 << 20;
/// The file that names the last point, in the folder of `--resume`.
const POINT_FILE: &str = "at.json";

/// What is verified.
#[derive(Args, Debug, Default)]
pub struct Options {
    /// The verifier key to trust instead of the one beside the log.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Leaves the CSV and JSON views out.
    #[arg(long)]
    no_views: bool,
    /// Threads that hash and parse entries; as many as there are cores unless told.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// A checkpoint that was kept from earlier: the log must still be consistent with it. May be given more than once.
    #[arg(long, value_name = "FILE")]
    kept: Vec<PathBuf>,
    /// A witness that is asked for the last checkpoint that it cosigned, with which the log must be consistent too. The URL
    /// is the one before the origin's hash. May be given more than once.
    #[arg(long, value_name = "URL")]
    witness: Vec<String>,
    /// Whom to trust: what a witness shows must be cosigned as this policy wants (C2SP tlog-policy).
    #[arg(long, value_name = "FILE", requires = "witness")]
    policy: Option<PathBuf>,
    /// Keeps in this folder how far it came, every million entries, and goes on from there the next time. Whoever can write
    /// to the folder can make the next run pass over entries: keep it where the log's keeper cannot.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The log or the key cannot be read, or the log does not check.
pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let (verified, decisions) = verify_as(&config.data, options, &bar())?;
    say(summary(&verified, &decisions))?;
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

/// Verifies the log below `data`, decisions and views included, with the key beside it.
///
/// # Errors
/// The first difference and its place, or a file that cannot be read.
pub fn verify_log(data: &Path, bar: &ProgressBar) -> anyhow::Result<Verified> {
    verify_as(data, &Options::default(), bar).map(|(verified, _)| verified)
}

/// Says too, in words, which decisions were recomputed.
fn verify_as(data: &Path, options: &Options, bar: &ProgressBar) -> anyhow::Result<(Verified, String)> {
    let audit = super::log_in(data)?;
    let key_path = options.key.clone().unwrap_or_else(|| data.join("keys/log.vkey"));
    let key = VerifierKey::load(&key_path).with_context(|| format!("cannot read the key {}", key_path.display()))?;
    let mut kept = options.kept.iter().map(|path| Kept::load(path, &audit, &key)).collect::<Result<Vec<_>, _>>()?;
    for url in &options.witness {
        kept.push(
            witnessed(url, options.policy.as_deref(), &audit, &key).with_context(|| format!("the witness {url}"))?,
        );
    }
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (from, start) = match options.resume.as_deref().map(read_point).transpose()?.flatten() {
        Some((point, state)) => (Some(point), Some((0, state))),
        None => (None, retention::recomputable_from(data)?),
    };
    let decisions = match &start {
        Some((0, _)) => "every decision recomputed".to_owned(),
        Some((first, _)) => format!("every decision from entry {first} on recomputed: earlier entries were pruned"),
        None => "no decision recomputed: earlier entries were pruned, and there is no snapshot after them".to_owned(),
    };
    let (first, state) = start.unwrap_or_else(|| (u64::MAX, State::new(Bounds::default())));
    let what = VerifyOptions {
        key: Some(key),
        views: !options.no_views,
        threads: options.threads.unwrap_or_else(cores),
        kept,
        from,
        point_every: if options.resume.is_some() { POINT_EVERY } else { 0 },
    };
    let verified = verify_with(&audit, &what, &mut Recompute { first, state, folder: options.resume.as_deref(), bar });
    bar.finish_and_clear();
    Ok((verified?, decisions))
}

/// What a witness has cosigned of this log.
fn witnessed(url: &str, policy: Option<&Path>, audit: &Path, key: &VerifierKey) -> anyhow::Result<Kept> {
    let note = runtime()?.block_on(ask::checkpoint(url, key.name()))?;
    if let Some(path) = policy {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Policy::parse(&text)?.check(&note)?;
    }
    Ok(Kept::parse(Path::new(url), &note, audit, key)?)
}

/// Recomputes every decision.
struct Recompute<'a> {
    /// The first entry that `state` does not hold yet.
    first: u64,
    state: State,
    /// Where points are kept.
    folder: Option<&'a Path>,
    bar: &'a ProgressBar,
}

impl Audit for Recompute<'_> {
    type Prepared = Decoded;

    fn prepare(_: u64, entry: Entry) -> Result<Decoded, String> {
        decode(&entry)
    }

    fn visit(&mut self, index: u64, decoded: Decoded, _: &Place) -> Result<(), String> {
        if index < self.first { Ok(()) } else { fold_decoded(&mut self.state, decoded) }
    }

    fn point(&mut self, point: &Point) -> io::Result<()> {
        // Before its first entry the state is not the one of the point.
        let folder = self.folder.filter(|_| point.index >= self.first);
        folder.map_or(Ok(()), |folder| write_point(folder, point, &self.state))
    }

    fn progress(&mut self, progress: VerifyProgress) {
        self.bar.set_length(progress.bytes_total);
        self.bar.set_position(progress.bytes);
    }
}

/// The state first, then the point that needs it, each whole or not there.
fn write_point(folder: &Path, point: &Point, state: &State) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    snapshot::write(folder, point.index, point.root, state)?;
    let (path, unfinished) = (folder.join(POINT_FILE), folder.join("at.tmp"));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(point)?)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    File::open(folder)?.sync_all()
}

/// The point in the folder and the state there; `None` if there is none yet.
fn read_point(folder: &Path) -> anyhow::Result<Option<(Point, State)>> {
    let path = folder.join(POINT_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let point: Point = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let is_of_point = |entries, root| entries == point.index && root == point.root;
    let found = snapshot::newest_within(folder, Bounds::default(), point.index, is_of_point)?;
    let (_, state) = found.with_context(|| {
        format!("{}: there is no state after {} entries; begin in an empty folder", folder.display(), point.index)
    })?;
    Ok(Some((point, state)))
}

/// What was verified, in a line.
fn summary(verified: &Verified, decisions: &str) -> String {
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
    let kept = match verified.kept {
        0 => String::new(),
        kept => format!("; consistent with {kept} kept checkpoints"),
    };
    let from = match verified.from {
        0 => String::new(),
        from => format!(", looked at from entry {from} on, those before were verified earlier or pruned"),
    };
    format!(
        "verified: {} entries in {} segments{from}, {decisions}; {signed}; {} tiles, {} view rows, {} entries \
         not in a checkpoint yet{kept}{torn}",
        verified.entries, verified.segments, verified.tiles, verified.view_rows, verified.beyond_checkpoint
    )
}
