//! Records in chunks: read in their order by one thread, prepared by any.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Audit, Extent};
use crate::disk::RealDisk;
use crate::entry::Entry;
use crate::error::{Error, Place};
use crate::log::Torn;
use crate::reader::ended;
use crate::recover;
use crate::rows::{Format, Row};
use crate::segments::{Step, Walk};
use crate::tree::{Hash, leaf_hash};

/// A chunk is closed when it has as many records, or bytes.
const RECORDS_MAX: usize = 1024;
const BYTES_MAX: usize = 1 << 20;

/// Where a record is.
pub(super) struct Located {
    pub(super) file: Arc<PathBuf>,
    pub(super) offset: u64,
    /// Bytes of the chunk up to the end of its entry.
    end: usize,
}

/// How the records end.
pub(super) enum End {
    /// Here, between two records.
    Whole(Place),
    /// Within one, as a crash leaves it.
    Torn(Torn),
    /// With a fault.
    Failed(Error),
}

/// Records that follow one another.
pub(super) struct Chunk {
    /// The index of the first one.
    first: u64,
    records: Vec<Located>,
    entries: Vec<u8>,
    /// Bytes of segments up to here, and of all.
    bytes: u64,
    bytes_total: u64,
    end: Option<End>,
}

/// The chunks of a log from an entry on.
pub(super) struct Chunks<'a> {
    walk: Walk,
    extent: &'a Extent,
    from: u64,
    /// How many entries the checkpoint covers.
    covered: u64,
    file: Arc<PathBuf>,
    is_over: bool,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(walk: Walk, extent: &'a Extent, from: u64, covered: u64) -> Self {
        let file = Arc::new(walk.segment().path.clone());
        Self { walk, extent, from, covered, file, is_over: false }
    }

    fn end(&mut self, chunk: &mut Chunk, end: End) {
        self.is_over = true;
        chunk.end = Some(end);
    }

    /// The next record into `chunk`.
    fn step(&mut self, chunk: &mut Chunk) {
        if self.extent.is_end(&self.walk) {
            return self.end(chunk, End::Whole(self.walk.place()));
        }
        match self.walk.step() {
            Ok(Step::Entry { index, .. }) if index < self.from => {}
            Ok(Step::Entry { index, offset }) => {
                if chunk.records.is_empty() {
                    chunk.first = index;
                }
                if *self.file != self.walk.segment().path {
                    self.file = Arc::new(self.walk.segment().path.clone());
                }
                chunk.entries.extend_from_slice(self.walk.entry());
                chunk.records.push(Located { file: self.file.clone(), offset, end: chunk.entries.len() });
            }
            Ok(Step::End) => self.end(chunk, End::Whole(self.walk.place())),
            Ok(Step::Tail(fault)) => {
                let torn = recover::torn(&RealDisk, &self.walk, &fault, self.covered);
                self.end(chunk, torn.map_or_else(End::Failed, End::Torn));
            }
            Err(error) => self.end(chunk, End::Failed(error)),
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    /// The last one has an end.
    fn next(&mut self) -> Option<Chunk> {
        if self.is_over {
            return None;
        }
        let bytes_total = self.extent.bytes_total();
        let mut chunk =
            Chunk { first: self.from, records: Vec::new(), entries: Vec::new(), bytes: 0, bytes_total, end: None };
        while !self.is_over && chunk.records.len() < RECORDS_MAX && chunk.entries.len() < BYTES_MAX {
            self.step(&mut chunk);
        }
        if self.is_over && self.walk.cursor().index < self.from {
            // What was verified earlier is not all there any more.
            chunk.end = Some(End::Failed(ended(self.walk.place(), self.from)));
        }
        chunk.bytes = self.extent.bytes_before(&self.walk);
        Some(chunk)
    }
}

/// Why an entry is refused before its turn.
pub(super) enum Refused {
    NotAnEntry(serde_json::Error),
    Found(String),
}

/// An entry, ready to be compared.
pub(super) struct PreparedEntry<T> {
    /// If the checkpoint covers it.
    pub(super) leaf: Option<Hash>,
    pub(super) prepared: Result<T, Refused>,
}

/// The rows of the entries of a chunk in one view.
pub(super) struct Rows {
    pub(super) format: Format,
    rows: Vec<u8>,
    ends: Vec<usize>,
    /// How many were taken.
    taken: usize,
}

impl Rows {
    fn new(format: Format) -> Self {
        Self { format, rows: Vec::new(), ends: Vec::new(), taken: 0 }
    }

    fn push(&mut self, row: &Row<'_>) {
        self.format.write(&mut self.rows, row);
        self.ends.push(self.rows.len());
    }

    /// The next row; empty after the last.
    pub(super) fn take(&mut self) -> &[u8] {
        let start = self.taken.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        let end = self.ends.get(self.taken).copied().unwrap_or(start);
        self.taken += 1;
        self.rows.get(start..end).unwrap_or_default()
    }
}

/// A chunk whose entries are hashed and parsed.
pub(super) struct Prepared<T> {
    pub(super) records: Vec<Located>,
    pub(super) entries: Vec<PreparedEntry<T>>,
    /// If views are verified.
    pub(super) rows: Option<Vec<Rows>>,
    pub(super) bytes: u64,
    pub(super) bytes_total: u64,
    pub(super) end: Option<End>,
}

/// Prepares a chunk. What follows a refused entry is left out: the verification ends there.
pub(super) fn prepare<A: Audit>(chunk: Chunk, covered: u64, retention_days: Option<u32>) -> Prepared<A::Prepared> {
    let mut entries = Vec::with_capacity(chunk.records.len());
    let mut rows = retention_days.map(|_| Format::ALL.map(Rows::new).into());
    let mut start = 0;
    for (index, record) in (chunk.first..).zip(&chunk.records) {
        let bytes = chunk.entries.get(start..record.end).unwrap_or_default();
        start = record.end;
        let leaf = (index < covered).then(|| leaf_hash(bytes));
        let prepared = prepare_entry::<A>(index, bytes, retention_days, &mut rows);
        let is_refused = prepared.is_err();
        entries.push(PreparedEntry { leaf, prepared });
        if is_refused {
            break;
        }
    }
    let Chunk { records, bytes, bytes_total, end, .. } = chunk;
    Prepared { records, entries, rows, bytes, bytes_total, end }
}

fn prepare_entry<A: Audit>(
    index: u64,
    bytes: &[u8],
    retention_days: Option<u32>,
    rows: &mut Option<Vec<Rows>>,
) -> Result<A::Prepared, Refused> {
    let entry = Entry::parse(bytes).map_err(Refused::NotAnEntry)?;
    if let (Some(retention_days), Some(rows)) = (retention_days, rows) {
        let row = Row::new(&entry.event, retention_days);
        rows.iter_mut().for_each(|rows| rows.push(&row));
    }
    A::prepare(index, entry).map_err(Refused::Found)
}
