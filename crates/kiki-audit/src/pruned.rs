//! Pruning: the entries before a minimum index are deleted, and it can be told that they were, by whom and when.
//!
//! What authorises the deletion is an entry of the log (`audit.prune`, with the range as its resource and the root over
//! the entries that go as its reason), covered by the checkpoint. `pruned` is a note, signed by the log's key, that names
//! the minimum, that root and that entry; without it a log that does not start with entry 0 does not check. It is in
//! place before the first segment goes, so that no crash leaves a hole that nothing explains. What a crash leaves of
//! segments before the minimum is ignored, and removed by [`sweep`].
//!
//! All tiles stay, so every proof that was ever given still verifies, and any two sizes can still be proven consistent.
//! Tiles before the minimum cannot be grown from entries any more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::checkpoint::{self, Checkpoint};
use crate::disk::Disk;
use crate::error::{Error, Place};
use crate::files;
use crate::index::{self, STRIDE};
use crate::keys::LogKey;
use crate::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use crate::reader::Reader;
use crate::segments::{self, hex};
use crate::tiles;
use crate::tree::Hash;
use crate::views::ViewProgress;

/// The type of the entry that records a pruning.
pub const PRUNE_EVENT: &str = "audit.prune";

/// Behind the origin in the first line of the note, which is thus never a checkpoint.
const SUFFIX: &str = "/pruned";

/// What was pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The log.
    pub origin: String,
    /// The first entry that is kept.
    pub minimum: u64,
    /// The root over the entries before it.
    pub root: Hash,
    /// The entry that records it.
    pub entry: u64,
}

/// The resource of the entry that records the pruning of the entries before `minimum`.
#[must_use]
pub fn resource(minimum: u64) -> String {
    format!("0..{minimum}")
}

/// The reason of the entry that records the pruning of entries with this root.
#[must_use]
pub fn reason(root: &Hash) -> String {
    format!("root {}", hex(root))
}

/// Where it is kept for the log at `dir`.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("pruned")
}

/// The first entry that the log at `dir` keeps: 0 if nothing was pruned. Whether the note is signed is not looked at.
///
/// # Errors
/// The note cannot be read or is malformed.
pub fn minimum(disk: &dyn Disk, dir: &Path) -> Result<u64, Error> {
    Ok(Pruned::load_on(disk, dir, &[])?.map_or(0, |pruned| pruned.minimum))
}

/// Up to where the log at `dir` can be pruned: the first entries of its segments but the first one, as far as the
/// checkpoint and the views are.
///
/// # Errors
/// A file cannot be read or does not check.
pub fn boundaries(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, Error> {
    let covered = Checkpoint::load_on(disk, dir, None)?.map_or(0, |checkpoint| checkpoint.size);
    let viewed = ViewProgress::load(disk, dir)?.map_or(0, |progress| progress.entries);
    // By C2SP tlog-tiles a bundle is served until all of it was pruned: the last one is not complete yet.
    let is_covered = |first: &u64| first.next_multiple_of(STRIDE) <= covered && *first <= viewed;
    let segments = segments::list(disk, dir)?;
    Ok(segments.iter().skip(1).map(|segment| segment.first).filter(is_covered).collect())
}

/// The root over the first `size` entries of the log at `dir`, from its tiles; its checkpoint covers them.
///
/// # Errors
/// A tile cannot be read, or the checkpoint is of fewer entries.
pub fn root_at(disk: &dyn Disk, dir: &Path, size: u64) -> Result<Hash, Error> {
    let covered = Checkpoint::load_on(disk, dir, None)?.map_or(0, |checkpoint| checkpoint.size);
    if covered < size {
        let place = Place::file(&checkpoint::path(dir));
        return Err(Error::different(place, format!("at least {size} entries"), covered.to_string()));
    }
    root_from_tiles(disk, dir, size, covered)
}

fn root_from_tiles(disk: &dyn Disk, dir: &Path, size: u64, covered: u64) -> Result<Hash, Error> {
    match tiles::load_edge(disk, &checkpoint::log_dir(dir), size, covered) {
        Err(Error::Io { path, source }) if source.kind() == io::ErrorKind::NotFound => {
            Err(Error::different(Place::file(&path), "a tile", "no file"))
        }
        edge => Ok(edge?.root()),
    }
}

impl Pruned {
    fn text(&self) -> String {
        let Self { origin, minimum, root, entry } = self;
        format!("{origin}{SUFFIX}\n{minimum}\n{}\n{entry}\n", BASE64.encode(root))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = lines.next()?.strip_suffix(SUFFIX)?.to_owned();
        let minimum = lines.next()?.parse().ok()?;
        let root = Hash::try_from(BASE64.decode(lines.next()?).ok()?).ok()?;
        let pruned = Self { origin, minimum, root, entry: lines.next()?.parse().ok()? };
        // One way to write each: what differs was not written by this log.
        (pruned.text() == text && pruned.entry >= pruned.minimum && pruned.minimum > 0).then_some(pruned)
    }

    /// What was pruned of the log at `dir`; `None` if nothing was. One of `keys` must have signed it, unless there are
    /// none.
    ///
    /// # Errors
    /// The note cannot be read, is malformed, or is not signed.
    pub fn load_on(disk: &dyn Disk, dir: &Path, keys: &[VerifierKey]) -> Result<Option<Self>, Error> {
        let path = path(dir);
        let Some(bytes) = files::read_if_there(disk, &path, NOTE_BYTES_MAX)? else { return Ok(None) };
        let wrong = |expected: &str, found: String| Error::different(Place::file(&path), expected, found);
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong("what was pruned", error.to_string()))?;
        let note = Note::parse(text).map_err(|error| wrong("what was pruned", format!("a file that {error}")))?;
        let pruned = Self::parse(note.text)
            .ok_or_else(|| wrong("origin, minimum, root and entry", hex(note.text.as_bytes())))?;
        let signs = |key: &VerifierKey| key.name() == pruned.origin && note.check(key).is_ok();
        if keys.is_empty() || keys.iter().any(signs) {
            return Ok(Some(pruned));
        }
        Err(wrong("a signature by a key of this log", "none".to_owned()))
    }

    /// Whether the log at `dir`, whose checkpoint is given, agrees: its tiles give the root, and it has the entry.
    ///
    /// # Errors
    /// It does not, or it cannot be read.
    pub fn check(&self, disk: &Arc<dyn Disk>, dir: &Path, checkpoint: Option<&Checkpoint>) -> Result<(), Error> {
        let wrong = |expected: String, found: String| Err(Error::different(Place::file(&path(dir)), expected, found));
        let covered = checkpoint.map_or(0, |checkpoint| checkpoint.size);
        if checkpoint.is_some_and(|checkpoint| checkpoint.origin != self.origin) || self.entry >= covered {
            let found = format!("entry {} of {}", self.entry, self.origin);
            return wrong(format!("an entry among the {covered} of the checkpoint"), found);
        }
        let root = root_from_tiles(disk.as_ref(), dir, self.minimum, covered)?;
        if root != self.root {
            return wrong(format!("root {} of {} entries", hex(&root), self.minimum), hex(&self.root));
        }
        let mut reader = Reader::open_on(disk, dir, self.entry, self.entry + 1)?;
        let Some(record) = reader.next_record()? else { return wrong("an entry".to_owned(), "none".to_owned()) };
        let event = record.entry()?.event;
        let found = (event.event_type.as_str(), event.resource.as_str(), event.reason.as_str());
        let expected = (PRUNE_EVENT, &*resource(self.minimum), &*reason(&self.root));
        if found == expected {
            return Ok(());
        }
        Err(Error::different(record.place(), format!("the entry {expected:?} that pruned names"), format!("{found:?}")))
    }
}

/// Deletes the entries before `to`, the first of a segment, as entry `recorded_in` has it. Where a crash interrupted it,
/// it is called again.
///
/// # Errors
/// `to` is not where a segment starts, goes back, or is not what the entry says; or a file cannot be read or written.
pub fn prune_on(disk: &Arc<dyn Disk>, dir: &Path, key: &LogKey, to: u64, recorded_in: u64) -> Result<Pruned, Error> {
    let segments = segments::list(disk.as_ref(), dir)?;
    if !segments.iter().any(|segment| segment.first == to) {
        let place = Place::file(&segments::directory(dir));
        return Err(Error::different(place, "the first entry of a segment", to.to_string()));
    }
    let checkpoint = Checkpoint::load_on(disk.as_ref(), dir, Some(key.verifier()))?;
    let root = root_at(disk.as_ref(), dir, to)?;
    let pruned = Pruned { origin: key.verifier().name().to_owned(), minimum: to, root, entry: recorded_in };
    pruned.check(disk, dir, checkpoint.as_ref())?;
    files::replace(disk.as_ref(), &path(dir), key.sign(&pruned.text()).as_bytes())?;
    sweep(disk.as_ref(), dir)?;
    Ok(pruned)
}

/// Removes what is left of segments before the minimum, oldest first. Says how many there were.
///
/// # Errors
/// A file cannot be removed.
pub fn sweep(disk: &dyn Disk, dir: &Path) -> Result<usize, Error> {
    let minimum = minimum(disk, dir)?;
    let mut removed = 0;
    for segment in segments::all(disk, dir)?.into_iter().filter(|segment| segment.first < minimum) {
        disk.remove_file(&segment.path).map_err(Error::io(&segment.path))?;
        index::remove(disk, dir, segment.first)?;
        removed += 1;
    }
    if removed > 0 {
        files::sync_dir(disk, &segments::directory(dir))?;
    }
    Ok(removed)
}
