//! Recomputing everything from the entries, and naming the first place that differs.
//!
//! Checked are: each segment's header, each record's length and checksum, that no index is missing, each entry's JSON,
//! the tiles byte for byte, the root and the signature of the checkpoint, the views row for row, that checkpoints kept
//! from earlier are of this history, and what the caller checks of each entry. Nothing is written and no lock is taken,
//! so it may run beside the process that appends: it looks at what was there when it started.
//!
//! One thread reads records in their order, others hash and parse them, the caller's thread compares them in their
//! order: whatever the number of threads, the first difference is the same.
//!
//! Where an entry and its tile disagree, the root decides which of the two was changed.

mod chunk;
mod parallel;
mod point;
mod tree;
mod views;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::{self, RealDisk};
use crate::entry::Entry;
use crate::error::{Error, Place};
use crate::files;
use crate::handover;
use crate::log::Torn;
use crate::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use crate::pruned::{self, Pruned};
use crate::reader::{ended, not_an_entry};
use crate::segments::{self, Segment, Walk};
use chunk::{Chunks, End, Prepared, Refused};
pub use point::{Point, ViewsPoint};
use tree::TreeCheck;
use views::ViewsCheck;

/// What is verified beside the entries and their tree, and how.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// If given, there must be a checkpoint signed by it.
    pub key: Option<VerifierKey>,
    /// Whether the views are.
    pub views: bool,
    /// Threads that hash and parse, beside one that reads and the caller's; 0 and 1: the caller's alone does all.
    pub threads: usize,
    /// Checkpoints of this log from earlier, or from elsewhere, that it must still be consistent with.
    pub kept: Vec<Kept>,
    /// Where an earlier verification was.
    pub from: Option<Point>,
    /// Every so many entries, and at the last one that the checkpoint covers, [`Audit::point`] is told a point to go on
    /// from; 0: never.
    pub point_every: u64,
}

/// A checkpoint that was kept, or asked of a witness: the log cannot deny it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where it is from: what a difference names.
    pub from: PathBuf,
    /// Its signature has been checked.
    pub checkpoint: Checkpoint,
}

impl Kept {
    /// Reads a checkpoint of the log at `dir` from a file. It may be signed by an earlier or a later key, if handovers lead
    /// there from `key`.
    ///
    /// # Errors
    /// It cannot be read, is none, or is not signed by such a key.
    pub fn load(path: &Path, dir: &Path, key: &VerifierKey) -> Result<Self, Error> {
        let note = files::read(&RealDisk, path, NOTE_BYTES_MAX)?;
        Self::parse(path, &String::from_utf8_lossy(&note), dir, key)
    }

    /// As [`Self::load`], of a note from elsewhere, which `from` names.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(from: &Path, note: &str, dir: &Path, key: &VerifierKey) -> Result<Self, Error> {
        let wrong = |expected: &str, found: String| Error::different(Place::file(from), expected, found);
        let note = Note::parse(note).map_err(|error| wrong("a checkpoint", format!("a file that {error}")))?;
        let keys = handover::keys_of(&RealDisk, dir, Some(key))?;
        note.signed_by(&keys).map_err(|error| wrong(&format!("a signature by {key}"), error.to_string()))?;
        let checkpoint =
            Checkpoint::parse(note.text).ok_or_else(|| wrong("origin, size and root", note.text.to_owned()))?;
        Ok(Self { from: from.to_owned(), checkpoint })
    }
}

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Entries that were verified.
    pub entries: u64,
    /// Bytes of segments that were.
    pub bytes: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
}

/// A log in which everything agrees.
#[derive(Debug)]
pub struct Verified {
    /// Entries in the log, those included that were pruned.
    pub entries: u64,
    /// The first one that was looked at: not 0 where entries were pruned, or verified before.
    pub from: u64,
    /// Files that they are in.
    pub segments: usize,
    /// The checkpoint that they agree with.
    pub checkpoint: Option<Checkpoint>,
    /// Whether its signature was checked.
    pub signed: bool,
    /// Entries that are not in a checkpoint yet: verified by their checksums only.
    pub beyond_checkpoint: u64,
    /// Tiles that the checkpoint needs; all were compared, or by the earlier verification.
    pub tiles: u64,
    /// Rows of all views together.
    pub view_rows: u64,
    /// Checkpoints from earlier or elsewhere that are of the same history.
    pub kept: usize,
    /// An incomplete record at the end, which opening the log would cut off.
    pub torn: Option<Torn>,
}

/// What the caller checks of each entry.
pub trait Audit {
    /// What is made of an entry before its turn comes.
    type Prepared: Send;

    /// Makes it, on any thread. `Err` says what was found instead of an entry of this log.
    ///
    /// # Errors
    /// What was found.
    fn prepare(index: u64, entry: Entry) -> Result<Self::Prepared, String>;

    /// Checks an entry, in the order of the log. `Err` says what was found there instead.
    ///
    /// # Errors
    /// What was found.
    fn visit(&mut self, index: u64, prepared: Self::Prepared, place: &Place) -> Result<(), String>;

    /// All entries before `point` were verified.
    ///
    /// # Errors
    /// It cannot be kept; the verification ends.
    fn point(&mut self, _point: &Point) -> io::Result<()> {
        Ok(())
    }

    /// Told now and then.
    fn progress(&mut self, _progress: VerifyProgress) {}
}

/// What the caller checks of an entry: its index, itself, its place. `Err` says what was found there instead.
pub type Visit<'a> = dyn FnMut(u64, &Entry, &Place) -> Result<(), String> + 'a;

struct Closures<'a, 'b> {
    visit: &'a mut Visit<'b>,
    progress: &'a mut dyn FnMut(VerifyProgress),
}

impl Audit for Closures<'_, '_> {
    type Prepared = Entry;

    fn prepare(_: u64, entry: Entry) -> Result<Entry, String> {
        Ok(entry)
    }

    fn visit(&mut self, index: u64, entry: Entry, place: &Place) -> Result<(), String> {
        (self.visit)(index, &entry, place)
    }

    fn progress(&mut self, progress: VerifyProgress) {
        (self.progress)(progress);
    }
}

/// Verifies the log at `dir`.
///
/// # Errors
/// [`Error::Different`] names the first difference; [`Error::Io`] says that something could not be read.
pub fn verify(
    dir: &Path,
    options: &VerifyOptions,
    visit: &mut Visit<'_>,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<Verified, Error> {
    verify_with(dir, options, &mut Closures { visit, progress })
}

/// As [`verify`], with the caller's own check of each entry.
///
/// # Errors
/// As [`verify`].
pub fn verify_with<A: Audit>(dir: &Path, options: &VerifyOptions, audit: &mut A) -> Result<Verified, Error> {
    // In this order, so that a log that grows meanwhile has entries for whatever was read before them.
    let checkpoint = load_checkpoint(dir, options.key.as_ref())?;
    let minimum = check_pruned(dir, options.key.as_ref(), checkpoint.as_ref())?;
    let start = Start::of(dir, minimum, options.from.as_ref())?;
    let from = start.index();
    let covered = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let is_derived = checkpoint.is_some();
    let mut tree = TreeCheck::new(dir, checkpoint, start)?;
    tree.keep(&options.kept)?;
    let views = if options.views { ViewsCheck::open(dir, is_derived, start)? } else { None };
    let extent = Extent::of(dir)?;
    let place = Place { file: Segment::new(dir, from).path, offset: 0, entry: Some(from) };
    let retention_days = views.as_ref().map(ViewsCheck::retention_days);
    let mut check =
        Check { dir, tree, views, place, audit, entries: from, from, covered, point_every: options.point_every };
    let walk = Walk::start(&disk::real(), extent.segments.clone(), from)?;
    let torn = match walk {
        Some(walk) => {
            let chunks = Chunks::new(walk, &extent, from, covered);
            let mut take = |chunk| check.chunk(chunk);
            let ended = parallel::run::<A>(chunks, options.threads, covered, retention_days, &mut take);
            ended.map_err(|error| check.tree.take_other_entry().unwrap_or(error))?
        }
        None => None,
    };
    check.finish(options, &extent, covered, torn)
}

fn load_checkpoint(dir: &Path, key: Option<&VerifierKey>) -> Result<Option<Checkpoint>, Error> {
    let checkpoint = Checkpoint::load(dir, key)?;
    let tiles = checkpoint::log_dir(dir).join("tile");
    if checkpoint.is_none() && (key.is_some() || fs::exists(&tiles).map_err(Error::io(&tiles))?) {
        return Err(Error::different(Place::file(&checkpoint::path(dir)), "a checkpoint", "no file"));
    }
    Ok(checkpoint)
}

/// The first entry that is kept, if what was pruned is as the log says.
fn check_pruned(dir: &Path, key: Option<&VerifierKey>, checkpoint: Option<&Checkpoint>) -> Result<u64, Error> {
    let disk = disk::real();
    let Some(pruned) = Pruned::load_on(disk.as_ref(), dir, &handover::keys_of(disk.as_ref(), dir, key)?)? else {
        return Ok(0);
    };
    pruned.check(&disk, dir, checkpoint)?;
    Ok(pruned.minimum)
}

/// Where a verification starts.
#[derive(Clone, Copy)]
struct Start<'a> {
    /// The first entry that is kept.
    minimum: u64,
    /// Where an earlier verification was.
    point: Option<&'a Point>,
}

impl<'a> Start<'a> {
    fn of(dir: &Path, minimum: u64, point: Option<&'a Point>) -> Result<Self, Error> {
        match point {
            Some(point) if point.index < minimum => {
                let expected = format!("the entries from {} on, where the earlier verification was", point.index);
                let found = format!("that those before {minimum} were pruned; verify from the beginning");
                Err(Error::different(Place::file(&pruned::path(dir)), expected, found))
            }
            point => Ok(Self { minimum, point }),
        }
    }

    /// The first entry that is looked at.
    fn index(self) -> u64 {
        self.point.map_or(self.minimum, |point| point.index)
    }
}

/// The segments when the verification started.
struct Extent {
    segments: Vec<Segment>,
    /// The length of each.
    bytes: Vec<u64>,
}

impl Extent {
    fn of(dir: &Path) -> Result<Self, Error> {
        let segments = segments::list(&RealDisk, dir)?;
        let len = |segment: &Segment| Ok(fs::metadata(&segment.path).map_err(Error::io(&segment.path))?.len());
        let bytes = segments.iter().map(len).collect::<Result<_, Error>>()?;
        Ok(Self { segments, bytes })
    }

    fn bytes_total(&self) -> u64 {
        self.bytes.iter().sum()
    }

    fn bytes_before(&self, walk: &Walk) -> u64 {
        self.bytes.iter().take(walk.position()).sum::<u64>() + walk.cursor().offset
    }

    /// Whether the walk is where the last segment ended.
    fn is_end(&self, walk: &Walk) -> bool {
        walk.position() + 1 == self.bytes.len() && self.bytes.last().is_some_and(|bytes| walk.cursor().offset >= *bytes)
    }
}

/// Compares prepared entries in their order.
struct Check<'a, A> {
    dir: &'a Path,
    tree: TreeCheck,
    views: Option<ViewsCheck>,
    /// Where the last entry is; at the end, where the log ends.
    place: Place,
    audit: &'a mut A,
    /// The index of the next one.
    entries: u64,
    /// The first one that was looked at.
    from: u64,
    /// How many entries the checkpoint covers.
    covered: u64,
    point_every: u64,
}

impl<A: Audit> Check<'_, A> {
    /// Goes on, or ends with what is incomplete at the end.
    fn chunk(&mut self, chunk: Prepared<A::Prepared>) -> Result<ControlFlow<Option<Torn>>, Error> {
        let mut rows = chunk.rows;
        for (record, entry) in chunk.records.into_iter().zip(chunk.entries) {
            if self.place.file != *record.file {
                record.file.as_path().clone_into(&mut self.place.file);
            }
            self.place.offset = record.offset;
            self.place.entry = Some(self.entries);
            if let Some(leaf) = entry.leaf {
                self.tree.push(leaf, &self.place)?;
            }
            let prepared = entry.prepared.map_err(|refused| self.refuse(refused))?;
            self.audit
                .visit(self.entries, prepared, &self.place)
                .map_err(|found| self.refuse(Refused::Found(found)))?;
            if let (Some(views), Some(rows)) = (&mut self.views, &mut rows) {
                views.entry(self.entries, rows)?;
            }
            self.entries += 1;
            self.tell_point()?;
        }
        self.audit.progress(VerifyProgress {
            entries: self.entries,
            bytes: chunk.bytes,
            bytes_total: chunk.bytes_total,
        });
        match chunk.end {
            None => Ok(ControlFlow::Continue(())),
            Some(End::Whole(place)) => {
                self.place = place;
                Ok(ControlFlow::Break(None))
            }
            Some(End::Torn(torn)) => Ok(ControlFlow::Break(Some(torn))),
            Some(End::Failed(error)) => Err(error),
        }
    }

    fn refuse(&self, refused: Refused) -> Error {
        match refused {
            Refused::NotAnEntry(error) => not_an_entry(self.place.clone(), &error),
            Refused::Found(found) => Error::different(self.place.clone(), "what replaying the log gives", found),
        }
    }

    fn tell_point(&mut self) -> Result<(), Error> {
        let is_due = self.entries == self.covered || self.entries.is_multiple_of(self.point_every.max(1));
        if self.point_every == 0 || !is_due {
            return Ok(());
        }
        let Some((origin, root)) = self.tree.root_at(self.entries) else { return Ok(()) };
        let views = match &self.views {
            None => None,
            Some(views) => match views.point(self.entries) {
                // Not counted yet: whoever goes on from here could not tell what to expect.
                None => return Ok(()),
                point => point,
            },
        };
        let point = Point { origin, index: self.entries, root, views };
        self.audit.point(&point).map_err(Error::io(self.dir))
    }

    fn finish(
        mut self,
        options: &VerifyOptions,
        extent: &Extent,
        covered: u64,
        torn: Option<Torn>,
    ) -> Result<Verified, Error> {
        if self.entries < covered {
            let end = ended(self.place.clone(), covered);
            return Err(self.tree.take_other_entry().unwrap_or(end));
        }
        let view_rows = self.views.map_or(Ok(0), |views| views.finish(self.entries))?;
        let tiles = self.tree.tiles();
        let checkpoint = self.tree.into_checkpoint();
        Ok(Verified {
            entries: self.entries,
            from: self.from,
            segments: extent.segments.len(),
            signed: options.key.is_some() && checkpoint.is_some(),
            beyond_checkpoint: self.entries - covered,
            checkpoint,
            tiles,
            view_rows,
            kept: options.kept.len(),
            torn,
        })
    }
}
