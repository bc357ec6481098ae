//! Where entries are in their segments, so that one can be read without walking the segment up to it.
//!
//! `index/<first index>.idx` beside the segments: 8 bytes of magic, then for each entry of the segment whose index is a
//! multiple of 256 the offset of its record (u64 LE). An index carries no truth: it is derived, and a place that it names
//! counts only if the record there proves to be the one that was looked for. Where it is absent, malformed or wrong, the
//! segment is walked from its start.
//!
//! The file of a segment is only appended to, and durable once the next segment is begun.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::Error;
use crate::files;
use crate::record::SEGMENT_HEADER_BYTES;
use crate::segments::{self, Cursor, Segment, Step, Walk, bytes};

/// Entries from one offset to the next: as many as an entry bundle has.
pub(crate) const STRIDE: u64 = 256;

const MAGIC: &[u8; 8] = b"KIKIIX01";
const OFFSET_BYTES: usize = 8;
/// A segment of 64 MiB and a batch has far fewer; one that is larger is read without its index.
const INDEX_BYTES_MAX: usize = 8 << 20;

fn directory(dir: &Path) -> PathBuf {
    dir.join("index")
}

/// Where the index of the segment that starts with entry `first` is.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    directory(dir).join(format!("{first:020}.idx"))
}

/// The first entry of the segment that has an offset, if the segment reaches it.
const fn first_indexed(segment: u64) -> u64 {
    segment.next_multiple_of(STRIDE)
}

/// The offsets of the segment that starts with entry `first`, as far as they are known; none if the file is absent or
/// malformed. What a power loss left of it ends where offsets cease to grow.
pub(crate) fn offsets(disk: &dyn Disk, dir: &Path, first: u64) -> Vec<u64> {
    let Ok(read) = files::read(disk, &path(dir, first), INDEX_BYTES_MAX) else { return Vec::new() };
    let Some(rest) = read.strip_prefix(MAGIC) else { return Vec::new() };
    let (chunks, _) = rest.as_chunks::<OFFSET_BYTES>();
    let mut before = bytes(SEGMENT_HEADER_BYTES) - 1;
    let grows = |offset: &u64| *offset > std::mem::replace(&mut before, *offset);
    chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).take_while(grows).collect()
}

/// A walk that is at entry `from`, or before it in the same segment. `None` if there is no segment.
pub(crate) fn walk_near(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    segments: Vec<Segment>,
    from: u64,
) -> Result<Option<Walk>, Error> {
    match proven(disk, dir, &segments, from) {
        Some(cursor) => Walk::resume(disk, segments, cursor),
        None => Walk::start(disk, segments, from),
    }
}

/// The indexed place nearest before `from`, if the record there is the one that belongs there.
fn proven(disk: &Arc<dyn Disk>, dir: &Path, segments: &[Segment], from: u64) -> Option<Cursor> {
    let segment = segments::holding(segments, from)?.first;
    let at = usize::try_from(from.checked_sub(first_indexed(segment))? / STRIDE).ok()?;
    let offsets = offsets(disk.as_ref(), dir, segment);
    let at = at.min(offsets.len().checked_sub(1)?);
    let cursor = Cursor { segment, offset: offsets[at], index: first_indexed(segment) + bytes(at) * STRIDE };
    let mut walk = Walk::resume(disk, segments.to_vec(), cursor).ok()??;
    matches!(walk.record().ok()?, Step::Entry { .. }).then_some(cursor)
}

/// Writes the index of the segment that starts with entry `first` anew, from its records up to before entry `to`.
///
/// # Errors
/// The segment cannot be read or does not check, or the index cannot be written.
pub(crate) fn rebuild(disk: &Arc<dyn Disk>, dir: &Path, first: u64, to: u64) -> Result<(), Error> {
    let mut index = MAGIC.to_vec();
    let segment = Segment::new(dir, first);
    if let Some(mut walk) = Walk::start(disk, vec![segment], first)? {
        while walk.cursor().index < to
            && let Step::Entry { index: entry, offset } = walk.step()?
        {
            if entry.is_multiple_of(STRIDE) {
                index.extend(offset.to_le_bytes());
            }
        }
    }
    files::create_dirs(disk.as_ref(), &directory(dir))?;
    files::replace(disk.as_ref(), &path(dir, first), &index)
}

/// The segments whose index does not have all its offsets of entries before `len`.
pub(crate) fn missing(disk: &dyn Disk, dir: &Path, len: u64) -> Result<Vec<u64>, Error> {
    let segments = match segments::list(disk, dir) {
        // Nothing was ever appended.
        Err(error) if error.is_not_found() => Vec::new(),
        segments => segments?,
    };
    let nexts = segments.iter().skip(1).map(|segment| segment.first).chain([len]);
    let pairs = segments.iter().map(|segment| segment.first).zip(nexts);
    Ok(pairs.filter(|(first, next)| !is_complete(disk, dir, *first, *next)).map(|(first, _)| first).collect())
}

/// Whether the index of a segment has all its offsets of entries before `next`.
fn is_complete(disk: &dyn Disk, dir: &Path, first: u64, next: u64) -> bool {
    let expected = next.saturating_sub(first_indexed(first)).div_ceil(STRIDE);
    expected == 0 || bytes(offsets(disk, dir, first).len()) >= expected
}

/// Removes the index of a segment, if there is one.
pub(crate) fn remove(disk: &dyn Disk, dir: &Path, first: u64) -> Result<(), Error> {
    let path = path(dir, first);
    match disk.remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path)(error)),
        _ => Ok(()),
    }
}

/// Writes indexes while somebody reads the log in order.
pub(crate) struct IndexWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    open: Option<Open>,
}

/// The index of the segment that is being read.
struct Open {
    segment: u64,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
}

impl IndexWriter {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned(), open: None }
    }

    /// Entry `index` of the segment that starts with entry `segment` is at `offset`. Entries come in their order; a
    /// writer that failed is of no more use.
    pub(crate) fn note(&mut self, segment: u64, index: u64, offset: u64) -> Result<(), Error> {
        if !index.is_multiple_of(STRIDE) {
            return Ok(());
        }
        let at = (index - first_indexed(segment)) / STRIDE;
        if self.open.as_ref().is_none_or(|open| open.segment != segment) {
            self.end_segment()?;
            self.open = Some(self.open_at(segment, index, at)?);
        }
        if let Some(open) = &mut self.open {
            open.buffer.extend(offset.to_le_bytes());
        }
        Ok(())
    }

    /// Opens the index of a segment behind its first `at` offsets. What it has behind them is written again: the log
    /// may be another than the one that it was written for.
    fn open_at(&self, segment: u64, index: u64, at: u64) -> Result<Open, Error> {
        let path = path(&self.dir, segment);
        if bytes(offsets(self.disk.as_ref(), &self.dir, segment).len()) < at {
            rebuild(&self.disk, &self.dir, segment, index)?;
        }
        files::create_dirs(self.disk.as_ref(), &directory(&self.dir))?;
        let file = self.disk.open(&path, Access::AppendOrCreate).map_err(Error::io(&path))?;
        let (len, buffer) = match at {
            0 => (0, MAGIC.to_vec()),
            at => (bytes(MAGIC.len()) + at * bytes(OFFSET_BYTES), Vec::new()),
        };
        file.set_len(len).map_err(Error::io(&path))?;
        Ok(Open { segment, file, buffer })
    }

    /// Writes what was noted. It is not durable.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if !open.buffer.is_empty() {
            let path = path(&self.dir, open.segment);
            open.file.write_all(&open.buffer).map_err(Error::io(&path))?;
            open.buffer.clear();
        }
        Ok(())
    }

    /// Nothing more comes in the segment, or something else writes its index.
    pub(crate) fn end_segment(&mut self) -> Result<(), Error> {
        self.flush()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        open.file.sync_data().map_err(Error::io(&path(&self.dir, open.segment)))?;
        files::sync_dir(self.disk.as_ref(), &directory(&self.dir))
    }
}
