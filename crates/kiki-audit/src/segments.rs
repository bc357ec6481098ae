//! The segment files in their order, and a walk over their records.
//!
//! Segments follow one another without a gap: the first starts with entry 0, or where pruning says, each other one where
//! its predecessor ends. Only the last may end within a record.

use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Place};
use crate::files::{self, UNFINISHED};
use crate::pruned;
use crate::record::{Fault, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, checksum, segment_header};

const READ_BUFFER_BYTES: usize = 128 << 10;
const SUFFIX: &str = ".seg";
const DIGITS: usize = 20;

/// Where the segments of the log at `dir` are.
pub(crate) fn directory(dir: &Path) -> PathBuf {
    dir.join("segments")
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    pub(crate) fn new(dir: &Path, first: u64) -> Self {
        Self { first, path: directory(dir).join(format!("{first:0DIGITS$}{SUFFIX}")) }
    }

    /// Opens it for reading, at its first record.
    pub(crate) fn open(&self, disk: &dyn Disk) -> Result<Box<dyn DiskFile>, Error> {
        let mut file = disk.open(&self.path, Access::Read).map_err(Error::io(&self.path))?;
        let mut found = [0; SEGMENT_HEADER_BYTES];
        let read = files::fill(&mut file, &mut found).map_err(Error::io(&self.path))?;
        let expected = segment_header(self.first);
        if found[..read] == expected {
            return Ok(file);
        }
        let offset = found.iter().zip(expected).take(read).take_while(|(found, expected)| **found == *expected).count();
        let place = Place { file: self.path.clone(), offset: bytes(offset), entry: Some(self.first) };
        Err(Error::different(place, format!("segment header {}", hex(&expected)), hex(&found[..read])))
    }
}

/// The segments of the log at `dir` that are kept, in order. A file that is none, or a first one that does not start
/// with entry 0 or where pruning says, is a difference.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, Error> {
    let mut segments = all(disk, dir)?;
    // Looked at after the segments: it is in place before the first of them goes.
    let minimum = pruned::minimum(disk, dir)?;
    segments.retain(|segment| segment.first >= minimum);
    match segments.first().map(|segment| segment.first) {
        Some(first) if first != minimum => Err(missing(first_place(dir, minimum), minimum, first)),
        None if minimum > 0 => Err(Error::different(first_place(dir, minimum), "a segment", "no file")),
        _ => Ok(segments),
    }
}

fn first_place(dir: &Path, first: u64) -> Place {
    Place { file: Segment::new(dir, first).path, offset: 0, entry: Some(first) }
}

/// As [`list`], with those that pruning left behind, wherever the first one starts.
pub(crate) fn all(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, Error> {
    let directory = directory(dir);
    let mut segments = Vec::new();
    for path in disk.paths_in(&directory).map_err(Error::io(&directory))? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(UNFINISHED) {
            continue;
        }
        match name.strip_suffix(SUFFIX).filter(|digits| digits.len() == DIGITS).and_then(|digits| digits.parse().ok()) {
            Some(first) if Segment::new(dir, first).path == path => segments.push(Segment { first, path }),
            _ => return Err(Error::different(Place::file(&path), "a segment named by its first entry", "this name")),
        }
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    Ok(segments)
}

/// Which segment holds entry `index`: the last one that does not start behind it.
fn position_of(segments: &[Segment], index: u64) -> usize {
    segments.partition_point(|segment| segment.first <= index).saturating_sub(1)
}

/// The segment that holds entry `index`, or would; `None` if there is no segment.
pub(crate) fn holding(segments: &[Segment], index: u64) -> Option<&Segment> {
    segments.get(position_of(segments, index))
}

/// `place` should be followed by the segment of entry `index`.
pub(crate) fn missing(place: Place, index: u64, next: u64) -> Error {
    Error::different(place, format!("the segment of entry {index}"), format!("the segment of entry {next}"))
}

/// Between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The first entry of the segment.
    pub(crate) segment: u64,
    /// Bytes from its start.
    pub(crate) offset: u64,
    /// The next entry.
    pub(crate) index: u64,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// The record of entry `index` at `offset`; its bytes are in [`Walk::entry`].
    Entry { index: u64, offset: u64 },
    /// Nothing: the last segment ends between two records.
    End,
    /// Something else, in the last segment.
    Tail(Fault),
}

/// Walks the records of all segments from one on, verifying each. Holds one record and one buffer.
pub(crate) struct Walk {
    disk: Arc<dyn Disk>,
    segments: Vec<Segment>,
    /// Which of them is being read.
    current: usize,
    input: BufReader<Box<dyn DiskFile>>,
    cursor: Cursor,
    entry: Vec<u8>,
}

impl Walk {
    /// Starts at the beginning of the segment that holds entry `from`. `None` if there is no segment.
    pub(crate) fn start(disk: &Arc<dyn Disk>, segments: Vec<Segment>, from: u64) -> Result<Option<Self>, Error> {
        let current = position_of(&segments, from);
        let Some(segment) = segments.get(current) else { return Ok(None) };
        let input = BufReader::with_capacity(READ_BUFFER_BYTES, segment.open(disk.as_ref())?);
        let cursor = start_of(segment);
        Ok(Some(Self { disk: disk.clone(), segments, current, input, cursor, entry: Vec::new() }))
    }

    /// Goes on from a cursor that an earlier walk gave.
    pub(crate) fn resume(disk: &Arc<dyn Disk>, segments: Vec<Segment>, cursor: Cursor) -> Result<Option<Self>, Error> {
        let Some(mut walk) = Self::start(disk, segments, cursor.segment)? else { return Ok(None) };
        if walk.cursor.segment != cursor.segment {
            return Err(missing(walk.place(), cursor.segment, walk.cursor.segment));
        }
        walk.input.seek(SeekFrom::Start(cursor.offset)).map_err(Error::io(&walk.segment().path))?;
        walk.cursor = cursor;
        Ok(Some(walk))
    }

    pub(crate) const fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segments[self.current]
    }

    /// Which segment it is in, counted from the first.
    pub(crate) const fn position(&self) -> usize {
        self.current
    }

    /// The bytes of the entry that the last step found.
    pub(crate) fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// Where the walk is.
    pub(crate) fn place(&self) -> Place {
        Place { file: self.segment().path.clone(), offset: self.cursor.offset, entry: Some(self.cursor.index) }
    }

    /// The next record. A fault before the last segment is a difference.
    pub(crate) fn step(&mut self) -> Result<Step, Error> {
        loop {
            match self.record()? {
                Step::End if self.is_last() => return Ok(Step::End),
                Step::End => self.next_segment()?,
                Step::Tail(fault) if !self.is_last() => return Err(self.fault(&fault)),
                step => return Ok(step),
            }
        }
    }

    /// `fault` at the place of the walk.
    pub(crate) fn fault(&self, fault: &Fault) -> Error {
        Error::different(self.place(), fault.expected(), fault.found())
    }

    fn is_last(&self) -> bool {
        self.current + 1 == self.segments.len()
    }

    fn next_segment(&mut self) -> Result<(), Error> {
        let next = &self.segments[self.current + 1];
        if next.first != self.cursor.index {
            return Err(missing(self.place(), self.cursor.index, next.first));
        }
        self.input = BufReader::with_capacity(READ_BUFFER_BYTES, next.open(self.disk.as_ref())?);
        self.cursor = start_of(next);
        self.current += 1;
        Ok(())
    }

    /// What comes next in this segment.
    pub(crate) fn record(&mut self) -> Result<Step, Error> {
        let mut header = [0; RECORD_HEADER_BYTES];
        let read = self.fill(|input, _| files::fill(input, &mut header))?;
        if read == 0 {
            return Ok(Step::End);
        }
        if read < RECORD_HEADER_BYTES {
            let expected = bytes(RECORD_HEADER_BYTES + 1);
            return Ok(Step::Tail(Fault::Short { expected, found: bytes(read) }));
        }
        let header = RecordHeader::from_bytes(header);
        let Some(len) = header.entry_len() else { return Ok(Step::Tail(Fault::Length(header.len))) };
        let read = self.fill(|input, entry| {
            entry.resize(len, 0);
            files::fill(input, entry)
        })?;
        if read < len {
            let (expected, found) = (bytes(RECORD_HEADER_BYTES + len), bytes(RECORD_HEADER_BYTES + read));
            return Ok(Step::Tail(Fault::Short { expected, found }));
        }
        let found = checksum(self.cursor.index, &self.entry);
        if found != header.checksum {
            return Ok(Step::Tail(Fault::Checksum { expected: header.checksum, found }));
        }
        let step = Step::Entry { index: self.cursor.index, offset: self.cursor.offset };
        self.cursor.index += 1;
        self.cursor.offset += bytes(RECORD_HEADER_BYTES + len);
        Ok(step)
    }

    fn fill(
        &mut self,
        read: impl FnOnce(&mut BufReader<Box<dyn DiskFile>>, &mut Vec<u8>) -> std::io::Result<usize>,
    ) -> Result<usize, Error> {
        read(&mut self.input, &mut self.entry).map_err(Error::io(&self.segments[self.current].path))
    }
}

fn start_of(segment: &Segment) -> Cursor {
    Cursor { segment: segment.first, offset: bytes(SEGMENT_HEADER_BYTES), index: segment.first }
}

/// A length in memory as a length in a file.
pub(crate) fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Bytes in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
