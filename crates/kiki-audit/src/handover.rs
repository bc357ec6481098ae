//! Handovers: how a log goes over from one key to the next.
//!
//! A handover is a signed note, in `log/handover/<number, 4 digits>`:
//!
//! ```text
//! <origin>/handover
//! <the old verifier key>
//! <the new verifier key>
//! <entries>
//! <root over them, base64>
//! ```
//!
//! Both keys sign it, so whoever trusts the old one may trust the new one. Its first line is not the origin: no handover
//! can be taken for a checkpoint. It does not help against a stolen key, whose thief could write one too; then the new
//! key must be made known by another way.
//!
//! Invariant: the handovers of a log are one chain, each from the key that the one before it went over to.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::checkpoint::{self, Checkpoint, decimal, hash_of};
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Place};
use crate::files::{self, UNFINISHED};
use crate::note::{Kind, NOTE_BYTES_MAX, Note, SignerKey, VerifierKey};
use crate::tree::Hash;

const DIGITS: usize = 4;
/// Handovers that a log can have: as many as there are names.
const HANDOVERS_MAX: usize = 9999;
const SUFFIX: &str = "/handover";

/// A log went over from one key to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The old key.
    pub from: VerifierKey,
    /// The new key.
    pub to: VerifierKey,
    /// Entries that the old key has signed for.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Where the handovers of the log at `dir` are.
fn directory(dir: &Path) -> PathBuf {
    checkpoint::log_dir(dir).join("handover")
}

impl Handover {
    fn text(&self) -> String {
        let root = BASE64.encode(self.root);
        format!("{}{SUFFIX}\n{}\n{}\n{}\n{root}\n", self.from.name(), self.from, self.to, self.size)
    }

    fn parse_text(text: &str) -> Option<Self> {
        let mut lines = text.split('\n').skip(1);
        let (from, to) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
        let handover = Self { from, to, size: decimal(lines.next()?)?, root: hash_of(lines.next()?)? };
        let of_a_log = |key: &VerifierKey| key.kind() == Kind::Note && key.name() == handover.from.name();
        let is_right = of_a_log(&handover.from) && of_a_log(&handover.to) && handover.text() == text;
        is_right.then_some(handover)
    }

    /// Reads a handover and checks both signatures.
    #[must_use]
    pub fn parse(note: &str) -> Option<Self> {
        let note = Note::parse(note).ok()?;
        let handover = Self::parse_text(note.text)?;
        [&handover.from, &handover.to].iter().all(|key| note.check(key).is_ok()).then_some(handover)
    }

    /// The note, signed by both.
    pub(crate) fn signed(from: &SignerKey, to: &SignerKey, head: &Checkpoint) -> String {
        let (old, new) = (from.verifier().clone(), to.verifier().clone());
        let text = Self { from: old, to: new, size: head.size, root: head.root }.text();
        format!("{}{}", from.sign(&text), to.line(&text))
    }
}

/// The handovers of the log at `dir`, in order.
///
/// # Errors
/// One cannot be read, is not signed by both, or they are no chain.
pub fn load(dir: &Path) -> Result<Vec<Handover>, Error> {
    load_on(&RealDisk, dir)
}

/// As [`load`], on `disk`.
///
/// # Errors
/// As [`load`].
pub fn load_on(disk: &dyn Disk, dir: &Path) -> Result<Vec<Handover>, Error> {
    Ok(notes_on(disk, dir)?.into_iter().map(|(handover, _)| handover).collect())
}

/// The handovers of the log at `dir`, in order, each with its note.
///
/// # Errors
/// As [`load`].
pub fn notes(dir: &Path) -> Result<Vec<(Handover, String)>, Error> {
    notes_on(&RealDisk, dir)
}

fn notes_on(disk: &dyn Disk, dir: &Path) -> Result<Vec<(Handover, String)>, Error> {
    let directory = directory(dir);
    if !disk.exists(&directory).map_err(Error::io(&directory))? {
        return Ok(Vec::new());
    }
    let is_finished = |path: &PathBuf| !path.to_string_lossy().ends_with(UNFINISHED);
    let mut files = disk.paths_in(&directory).map_err(Error::io(&directory))?;
    files.retain(is_finished);
    files.sort_unstable();
    let mut chain: Vec<(Handover, String)> = Vec::new();
    for (number, file) in (1..).zip(files) {
        let wrong = |expected: &str| Error::different(Place::file(&file), expected, "another file");
        if file != path(dir, number) || number > HANDOVERS_MAX {
            return Err(wrong(&format!("the handover {number:0DIGITS$}")));
        }
        let note = String::from_utf8(files::read(disk, &file, NOTE_BYTES_MAX)?).ok();
        let handover = note.and_then(|note| Some((Handover::parse(&note)?, note)));
        let (handover, note) = handover.ok_or_else(|| wrong("a handover, signed by both keys"))?;
        if chain.last().is_some_and(|(last, _)| last.to != handover.from) {
            return Err(wrong("a handover from the key of the one before"));
        }
        chain.push((handover, note));
    }
    Ok(chain)
}

/// Where handover `number` is, counted from 1.
fn path(dir: &Path, number: usize) -> PathBuf {
    directory(dir).join(format!("{number:0DIGITS$}"))
}

/// Writes the next handover of the log at `dir`, after those of `chain`.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, chain: &[Handover], note: &str) -> Result<(), Error> {
    let (number, directory) = (chain.len() + 1, directory(dir));
    if number > HANDOVERS_MAX {
        // Nobody could read it.
        let expected = format!("fewer than {HANDOVERS_MAX} handovers");
        return Err(Error::different(Place::file(&directory), expected, chain.len().to_string()));
    }
    files::create_dirs(disk, &directory)?;
    files::replace(disk, &path(dir, number), note.as_bytes())
}

/// The keys that may be trusted by whoever trusts `key`: itself, and those that it was handed over to, in order.
#[must_use]
pub fn following(key: &VerifierKey, chain: &[Handover]) -> Vec<VerifierKey> {
    let mut keys = vec![key.clone()];
    let onward = chain.iter().skip_while(|handover| handover.from != *key);
    for handover in onward {
        if keys.last() != Some(&handover.from) {
            break;
        }
        keys.push(handover.to.clone());
    }
    keys
}

/// All keys that the log of `key` has had, the newest first; `key` alone if no handover names it.
#[must_use]
pub fn all_keys(key: &VerifierKey, chain: &[Handover]) -> Vec<VerifierKey> {
    if !chain.iter().any(|handover| [&handover.from, &handover.to].contains(&key)) {
        return vec![key.clone()];
    }
    let mut keys: Vec<_> = chain.iter().rev().map(|handover| handover.to.clone()).collect();
    keys.extend(chain.first().map(|handover| handover.from.clone()));
    keys
}

/// The keys of which one must have signed what the log at `dir` kept from former times, as whoever trusts `key` sees it;
/// none if nobody checks.
pub(crate) fn keys_of(disk: &dyn Disk, dir: &Path, key: Option<&VerifierKey>) -> Result<Vec<VerifierKey>, Error> {
    key.map_or_else(|| Ok(Vec::new()), |key| Ok(all_keys(key, &load_on(disk, dir)?)))
}

/// Who signed a checkpoint, as whoever trusts one key sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    /// That key.
    Key,
    /// One that it was handed over to.
    Successor,
    /// The one before it, for exactly what it handed over: the new key has not signed yet.
    Predecessor,
}

/// Who signed `note`, whose text is `checkpoint`, if it was not `key`, as whoever trusts that sees it; `None` if nobody
/// that is to be trusted.
pub(crate) fn other_signer(
    note: &Note<'_>,
    checkpoint: &Checkpoint,
    key: &VerifierKey,
    chain: &[Handover],
) -> Option<Signer> {
    if following(key, chain).iter().skip(1).any(|successor| note.check(successor).is_ok()) {
        return Some(Signer::Successor);
    }
    let handed = |handover: &&Handover| {
        handover.to == *key && (handover.size, handover.root) == (checkpoint.size, checkpoint.root)
    };
    let before = chain.iter().find(handed)?;
    note.check(&before.from).is_ok().then_some(Signer::Predecessor)
}
