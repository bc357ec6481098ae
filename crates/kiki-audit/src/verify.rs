//! Recomputing everything from the entries, and naming the first place that differs.
//!
//! Checked are: each segment's header, each record's length and checksum, that no index is missing, each entry's JSON,
//! the tiles byte for byte, the root and the signature of the checkpoint, the views row for row, and what the caller
//! checks of each entry. Nothing is written and no lock is taken, so it may run beside the process that appends: it
//! looks at what was there when it started.
//!
//! Where an entry and its tile disagree, the root decides which of the two was changed.

mod tree;
mod views;

use std::fs;
use std::path::Path;

use crate::checkpoint::{self, Checkpoint};
use crate::disk::{self, RealDisk};
use crate::entry::Entry;
use crate::error::{Error, Place};
use crate::handover;
use crate::log::Torn;
use crate::note::VerifierKey;
use crate::pruned::Pruned;
use crate::reader::{ended, not_an_entry};
use crate::recover;
use crate::segments::{self, Segment, Step, Walk};
use tree::TreeCheck;
use views::ViewsCheck;

/// Entries between two reports of progress.
const REPORT_EVERY: u64 = 4096;

/// What is verified beside the entries and their tree.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// If given, there must be a checkpoint signed by it.
    pub key: Option<VerifierKey>,
    /// Whether the views are.
    pub views: bool,
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
    /// Files that they are in.
    pub segments: usize,
    /// The checkpoint that they agree with.
    pub checkpoint: Option<Checkpoint>,
    /// Whether its signature was checked.
    pub signed: bool,
    /// Entries that are not in a checkpoint yet: verified by their checksums only.
    pub beyond_checkpoint: u64,
    /// Tiles that the checkpoint needs; all were compared.
    pub tiles: u64,
    /// Rows of all views together.
    pub view_rows: u64,
    /// An incomplete record at the end, which opening the log would cut off.
    pub torn: Option<Torn>,
}

/// What the caller checks of an entry: its index, itself, its place. `Err` says what was found there instead.
pub type Visit<'a> = dyn FnMut(u64, &Entry, &Place) -> Result<(), String> + 'a;

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
    // In this order, so that a log that grows meanwhile has entries for whatever was read before them.
    let checkpoint = load_checkpoint(dir, options.key.as_ref())?;
    let minimum = check_pruned(dir, options.key.as_ref(), checkpoint.as_ref())?;
    let views = if options.views { ViewsCheck::open(dir, checkpoint.is_some(), minimum)? } else { None };
    let extent = Extent::of(dir)?;
    let covered = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let place = Place { file: Segment::new(dir, minimum).path, offset: 0, entry: Some(minimum) };
    let mut check = Check { tree: TreeCheck::new(dir, checkpoint, minimum)?, views, place, entries: minimum };
    let torn = match Walk::start(&disk::real(), extent.segments.clone(), 0)? {
        Some(mut walk) => {
            check.walk(&mut walk, &extent, covered, visit, progress).map_err(|error| check.first(error))?
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

    fn bytes_before(&self, walk: &Walk) -> u64 {
        self.bytes.iter().take(walk.position()).sum()
    }

    /// Whether the walk is where the last segment ended.
    fn is_end(&self, walk: &Walk) -> bool {
        walk.position() + 1 == self.bytes.len() && self.bytes.last().is_some_and(|bytes| walk.cursor().offset >= *bytes)
    }
}

struct Check {
    tree: TreeCheck,
    views: Option<ViewsCheck>,
    /// Where the last entry is; at the end, where the log ends.
    place: Place,
    entries: u64,
}

impl Check {
    fn walk(
        &mut self,
        walk: &mut Walk,
        extent: &Extent,
        covered: u64,
        visit: &mut Visit<'_>,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<Option<Torn>, Error> {
        let bytes_total = extent.bytes.iter().sum();
        while !extent.is_end(walk) {
            match walk.step()? {
                Step::Entry { index, offset } => self.entry(walk, index, offset, visit)?,
                Step::End => break,
                Step::Tail(fault) => return Ok(Some(recover::torn(&RealDisk, walk, &fault, covered)?)),
            }
            if self.entries.is_multiple_of(REPORT_EVERY) || extent.is_end(walk) {
                let bytes = extent.bytes_before(walk) + walk.cursor().offset;
                progress(VerifyProgress { entries: self.entries, bytes, bytes_total });
            }
        }
        self.place = walk.place();
        Ok(None)
    }

    fn entry(&mut self, walk: &Walk, index: u64, offset: u64, visit: &mut Visit<'_>) -> Result<(), Error> {
        if self.place.file != walk.segment().path {
            self.place.file.clone_from(&walk.segment().path);
        }
        self.place.offset = offset;
        self.place.entry = Some(index);
        self.tree.push(walk.entry(), &self.place)?;
        let entry = Entry::parse(walk.entry()).map_err(|error| not_an_entry(self.place.clone(), &error))?;
        visit(index, &entry, &self.place)
            .map_err(|found| Error::different(self.place.clone(), "what replaying the log gives", found))?;
        if let Some(views) = &mut self.views {
            views.entry(index, &entry.event)?;
        }
        self.entries += 1;
        Ok(())
    }

    /// `error`, unless an entry before it differs from its tile.
    fn first(&mut self, error: Error) -> Error {
        self.tree.take_other_entry().unwrap_or(error)
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
            return Err(self.first(end));
        }
        let view_rows = self.views.map_or(Ok(0), |views| views.finish(self.entries))?;
        let tiles = self.tree.tiles();
        let checkpoint = self.tree.into_checkpoint();
        Ok(Verified {
            entries: self.entries,
            segments: extent.segments.len(),
            signed: options.key.is_some() && checkpoint.is_some(),
            beyond_checkpoint: self.entries - covered,
            checkpoint,
            tiles,
            view_rows,
            torn,
        })
    }
}
