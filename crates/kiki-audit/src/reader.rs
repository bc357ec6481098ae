//! Reading entries back, each verified, with bounded memory.

use std::path::Path;
use std::sync::Arc;

use kiki_types::event::AuditEvent;

use crate::checkpoint::Checkpoint;
use crate::disk::{self, Disk};
use crate::entry::Entry;
use crate::error::{Error, Place};
use crate::index;
use crate::recover;
use crate::segments::{self, Cursor, Segment, Step, Walk};

/// Reads the entries of a range in their order. It may run beside the process that appends, as long as the range ends
/// at a durable length: what is behind it is not interpreted.
pub struct Reader {
    /// `None` for an empty range.
    walk: Option<Walk>,
    to: u64,
}

/// One entry and where it is.
pub struct Record<'a> {
    /// The entry's index.
    pub index: u64,
    /// Its JSON.
    pub bytes: &'a [u8],
    /// The first entry of its segment.
    pub(crate) segment: u64,
    file: &'a Path,
    pub(crate) offset: u64,
}

impl Record<'_> {
    /// The parsed entry.
    ///
    /// # Errors
    /// The bytes are not the JSON of an entry.
    pub fn entry(&self) -> Result<Entry, Error> {
        Entry::parse(self.bytes).map_err(|error| not_an_entry(self.place(), &error))
    }

    /// The event alone, for those who do not need the body.
    pub(crate) fn event(&self) -> Result<AuditEvent, Error> {
        serde_json::from_slice(self.bytes).map_err(|error| not_an_entry(self.place(), &error))
    }

    /// Where its record starts.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { file: self.file.to_owned(), offset: self.offset, entry: Some(self.index) }
    }
}

/// The bytes at `place` are no entry.
pub(crate) fn not_an_entry(place: Place, error: &serde_json::Error) -> Error {
    Error::different(place, "the JSON of an entry", error.to_string())
}

impl Reader {
    /// Reads the entries from `from` to before `to`, of the log at `dir`.
    ///
    /// # Errors
    /// A segment cannot be read or does not check, or the log ends before `from`.
    pub fn open(dir: &Path, from: u64, to: u64) -> Result<Self, Error> {
        Self::open_on(&disk::real(), dir, from, to)
    }

    /// As [`Self::open`], on `disk`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(disk: &Arc<dyn Disk>, dir: &Path, from: u64, to: u64) -> Result<Self, Error> {
        if from >= to {
            return Ok(Self { walk: None, to });
        }
        let mut reader = Self::over(dir, start_near(disk, dir, from)?, to)?;
        while reader.cursor().is_some_and(|cursor| cursor.index < from) {
            reader.next_record()?;
        }
        Ok(reader)
    }

    /// Goes on where an earlier reader was, up to `to`.
    ///
    /// # Errors
    /// The segment of `cursor` cannot be read, or is not there any more.
    pub fn resume(dir: &Path, cursor: Cursor, to: u64) -> Result<Self, Error> {
        Self::resume_on(&disk::real(), dir, cursor, to)
    }

    /// As [`Self::resume`], on `disk`.
    ///
    /// # Errors
    /// As [`Self::resume`].
    pub fn resume_on(disk: &Arc<dyn Disk>, dir: &Path, cursor: Cursor, to: u64) -> Result<Self, Error> {
        Self::over(dir, Walk::resume(disk, segments::list(disk.as_ref(), dir)?, cursor)?, to)
    }

    fn over(dir: &Path, walk: Option<Walk>, to: u64) -> Result<Self, Error> {
        let first = || Place { file: Segment::new(dir, 0).path, offset: 0, entry: Some(0) };
        Ok(Self { walk: Some(walk.ok_or_else(|| ended(first(), to))?), to })
    }

    /// Between the last record and the next; `None` for an empty range.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        self.walk.as_ref().map(Walk::cursor)
    }

    /// The next entry, or `None` after the last of the range.
    ///
    /// # Errors
    /// A segment cannot be read or does not check, or the log ends before the range does.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        let Some(walk) = &mut self.walk else { return Ok(None) };
        if walk.cursor().index >= self.to {
            return Ok(None);
        }
        match walk.step()? {
            Step::Entry { index, offset } => {
                let Segment { first, path } = walk.segment();
                Ok(Some(Record { index, bytes: walk.entry(), segment: *first, file: path, offset }))
            }
            Step::End => Err(ended(walk.place(), self.to)),
            Step::Tail(fault) => Err(walk.fault(&fault)),
        }
    }
}

/// A walk that is at entry `from` or before it in its segment.
fn start_near(disk: &Arc<dyn Disk>, dir: &Path, from: u64) -> Result<Option<Walk>, Error> {
    let start = || {
        let segments = segments::list(disk.as_ref(), dir)?;
        match segments.first().filter(|segment| from < segment.first) {
            Some(Segment { first, path }) => {
                let place = Place { file: path.clone(), offset: 0, entry: Some(from) };
                Err(Error::different(place, format!("an entry from {first} on"), "one that was pruned"))
            }
            None => index::walk_near(disk, dir, segments, from),
        }
    };
    match start() {
        // It was pruned after it was listed.
        Err(error) if error.is_not_found() => start(),
        started => started,
    }
}

/// How many entries the log at `dir` has now. Only its last segment is read. It may run beside the process that appends;
/// an incomplete record at the end does not count.
///
/// # Errors
/// The last segment cannot be read or does not check, or the log ends before its checkpoint does.
pub fn entries(dir: &Path) -> Result<u64, Error> {
    let disk = disk::real();
    let covered = Checkpoint::load(dir, None)?.map_or(0, |checkpoint| checkpoint.size);
    let first = || Place { file: Segment::new(dir, 0).path, offset: 0, entry: Some(0) };
    let Some(mut walk) = Walk::start(&disk, segments::list(disk.as_ref(), dir)?, u64::MAX)? else {
        return if covered == 0 { Ok(0) } else { Err(ended(first(), covered)) };
    };
    loop {
        match walk.step()? {
            Step::Entry { .. } => {}
            Step::End => break,
            Step::Tail(fault) => {
                recover::torn(disk.as_ref(), &walk, &fault, covered)?;
                break;
            }
        }
    }
    let entries = walk.cursor().index;
    if entries < covered { Err(ended(walk.place(), covered)) } else { Ok(entries) }
}

/// The log ends at `place`, before entry `to`.
pub(crate) fn ended(place: Place, to: u64) -> Error {
    Error::different(place, format!("{to} entries"), "the end of the log")
}
