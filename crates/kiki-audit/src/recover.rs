//! What is checked before a log is appended to, and where it ends.
//!
//! An incomplete record is cut only where a crash can have left it: at the end of the last segment, beyond the
//! checkpoint, no further from the end than one batch is long, and either with nothing intact behind it or with a
//! sector that was never written. Everything else that does not check is a difference.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;

use crate::batch::BATCH_BYTES_MAX;
use crate::checkpoint::{self, Checkpoint};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Place};
use crate::files;
use crate::log::Torn;
use crate::reader::ended;
use crate::record::{Fault, RECORD_BYTES_MAX, find};
use crate::segments::{self, Cursor, Segment, Step, Walk, bytes, hex, missing};
use crate::tiles;
use crate::tree::{Edge, TILE_WIDTH, TileId, leaf_hash};

/// The smallest piece of a file that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;

/// A log that checks.
pub(crate) struct Recovered {
    pub(crate) len: u64,
    pub(crate) checked_from: u64,
    /// The last segment and where its last complete record ends; `None` if there is no segment.
    pub(crate) end: Option<(Segment, u64)>,
    pub(crate) torn: Option<Torn>,
}

/// Checks the log at `dir` from entry `from` on, which it must reach, and against its checkpoint.
pub(crate) fn check(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    from: u64,
    checkpoint: Option<&Checkpoint>,
) -> Result<Recovered, Error> {
    let recovered = check_any(disk, dir, from, checkpoint)?;
    if recovered.len >= from {
        return Ok(recovered);
    }
    let (file, offset) = recovered.end.map_or((segments::directory(dir), 0), |(segment, end)| (segment.path, end));
    Err(ended(Place { file, offset, entry: Some(recovered.len) }, from))
}

fn check_any(disk: &Arc<dyn Disk>, dir: &Path, from: u64, checkpoint: Option<&Checkpoint>) -> Result<Recovered, Error> {
    let segments = segments::list(disk.as_ref(), dir)?;
    let from = checkpoint.map_or(from, |checkpoint| from.min(checkpoint.size));
    match check_from(disk, dir, &segments, from, checkpoint) {
        // The tiles may be damaged, which are derived: only the entries decide.
        Err(_) if from > 0 => check_from(disk, dir, &segments, 0, checkpoint),
        checked => checked,
    }
}

fn check_from(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segments: &[Segment],
    from: u64,
    checkpoint: Option<&Checkpoint>,
) -> Result<Recovered, Error> {
    let covered = checkpoint.map_or(0, |checkpoint| checkpoint.size);
    let Some(mut walk) = Walk::start(disk, segments.to_vec(), from)? else {
        let place = Place { file: Segment::new(dir, 0).path, offset: 0, entry: Some(0) };
        let empty = Recovered { len: 0, checked_from: 0, end: None, torn: None };
        return if covered == 0 { Ok(empty) } else { Err(ended(place, covered)) };
    };
    let checked_from = walk.cursor().index;
    check_ends_before(disk.as_ref(), segments, checked_from)?;
    let mut edge = tiles::load_edge(disk.as_ref(), &checkpoint::log_dir(dir), checked_from.min(covered), covered)?;
    let torn = loop {
        match walk.step()? {
            Step::Entry { index, .. } if index < covered => edge.push(leaf_hash(walk.entry()), &mut Vec::new()),
            Step::Entry { .. } => {}
            Step::End => break None,
            Step::Tail(fault) => break Some(torn(disk.as_ref(), &walk, &fault, covered)?),
        }
    };
    let Cursor { index: len, offset, .. } = walk.cursor();
    if len < covered {
        let other = first_other_leaf(disk, dir, segments, covered)?;
        return Err(other.unwrap_or_else(|| ended(walk.place(), covered)));
    }
    if let Some(checkpoint) = checkpoint {
        check_root(disk, dir, segments, checkpoint, &edge)?;
    }
    Ok(Recovered { len, checked_from, end: Some((walk.segment().clone(), offset)), torn })
}

/// Checks that each segment whose records are not read ends where the next one starts: with an intact record of the
/// entry before it.
fn check_ends_before(disk: &dyn Disk, segments: &[Segment], from: u64) -> Result<(), Error> {
    for pair in segments.windows(2) {
        let [segment, next] = pair else { continue };
        if next.first > from {
            break;
        }
        let mut file = segment.open(disk)?;
        let (start, tail) = read_tail(file.as_mut(), RECORD_BYTES_MAX).map_err(Error::io(&segment.path))?;
        if find(&tail, next.first - 1).is_none_or(|(_, end)| end != tail.len()) {
            let offset = start + bytes(tail.len());
            let place = Place { file: segment.path.clone(), offset, entry: Some(next.first - 1) };
            return Err(missing(place, next.first - 1, next.first));
        }
    }
    Ok(())
}

/// The last bytes of a file, and where they start.
fn read_tail(file: &mut dyn DiskFile, len_max: usize) -> std::io::Result<(u64, Vec<u8>)> {
    let len = file.size()?;
    let start = len.saturating_sub(bytes(len_max));
    file.seek(SeekFrom::Start(start))?;
    let mut tail = vec![0; usize::try_from(len - start).unwrap_or(len_max).min(len_max)];
    let read = files::fill(file, &mut tail)?;
    tail.truncate(read);
    Ok((start, tail))
}

fn check_root(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segments: &[Segment],
    checkpoint: &Checkpoint,
    edge: &Edge,
) -> Result<(), Error> {
    let root = edge.root();
    if root == checkpoint.root {
        return Ok(());
    }
    match first_other_leaf(disk, dir, segments, checkpoint.size)? {
        Some(other) => Err(other),
        None => checkpoint.check_root(dir, &root),
    }
}

/// The first entry whose hash is not the one in its tile, as the difference.
fn first_other_leaf(disk: &Arc<dyn Disk>, dir: &Path, segments: &[Segment], size: u64) -> Result<Option<Error>, Error> {
    let log = checkpoint::log_dir(dir);
    let Some(mut walk) = Walk::start(disk, segments.to_vec(), 0)? else { return Ok(None) };
    let mut leaves = None;
    while let Step::Entry { index, offset } = walk.step()? {
        let at = usize::try_from(index % bytes(TILE_WIDTH)).unwrap_or(0);
        if index >= size {
            break;
        }
        if at == 0 || leaves.is_none() {
            let tile = TileId { level: 0, index: index / bytes(TILE_WIDTH) };
            // Damaged tiles cannot name the entry; the root speaks for itself.
            leaves = Some(tiles::read(disk.as_ref(), &log, tile, TILE_WIDTH, size).unwrap_or_default());
        }
        let found = leaf_hash(walk.entry());
        let expected = leaves.as_ref().and_then(|leaves| leaves.get(at));
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            let place = Place { file: walk.segment().path.clone(), offset, entry: Some(index) };
            let found = format!("an entry with hash {}", hex(&found));
            return Ok(Some(Error::different(place, format!("the entry with hash {}", hex(expected)), found)));
        }
    }
    Ok(None)
}

/// What a crash left at the end of the walk; a difference if it was no crash.
pub(crate) fn torn(disk: &dyn Disk, walk: &Walk, fault: &Fault, covered: u64) -> Result<Torn, Error> {
    let Cursor { offset, index, .. } = walk.cursor();
    let path = &walk.segment().path;
    let read = || {
        let mut file = disk.open(path, Access::Read)?;
        let len = file.size()?.saturating_sub(offset);
        Ok((len, read_tail_from(file.as_mut(), offset)?))
    };
    let (len, rest) = read().map_err(Error::io(path))?;
    let by_crash = match fault {
        Fault::Short { .. } => find(rest.get(1..).unwrap_or_default(), index + 1).is_none(),
        Fault::Length(_) | Fault::Checksum { .. } => has_unwritten_sector(&rest, offset),
    };
    if index < covered || len > bytes(BATCH_BYTES_MAX) || !by_crash {
        return Err(walk.fault(fault));
    }
    Ok(Torn { place: walk.place(), bytes: len })
}

/// What is behind `offset`, as far as one batch reaches.
fn read_tail_from(file: &mut dyn DiskFile, offset: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    file.seek(SeekFrom::Start(offset))?;
    let mut rest = Vec::new();
    file.take(bytes(BATCH_BYTES_MAX)).read_to_end(&mut rest)?;
    Ok(rest)
}

/// Whether a sector of what is behind `offset` is all zeros, as a power loss leaves those that it caught unwritten. In
/// the sector shared with the record before, the part of this record counts, however short: its length starts there.
fn has_unwritten_sector(rest: &[u8], offset: u64) -> bool {
    let in_sector = usize::try_from(offset % bytes(SECTOR_BYTES)).unwrap_or(0);
    let (shared, sectors) = rest.split_at((SECTOR_BYTES - in_sector).min(rest.len()));
    let is_zero = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    (!shared.is_empty() && is_zero(shared)) || sectors.chunks(SECTOR_BYTES).any(is_zero)
}
