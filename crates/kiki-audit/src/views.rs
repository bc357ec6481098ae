//! The views: one row for each entry, as CSV and as JSON lines, for people and for the tools that they use.
//!
//! Rows are appended, made durable, and then counted in `views.json`; what a crash left behind the count is cut off and
//! written again. Where the count is missing, does not fit, or the retention has changed, the views start over: they
//! are derived.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiki_types::event::AuditEvent;
use serde::{Deserialize, Serialize};

use crate::disk::{Access, Disk, DiskFile};
use crate::error::Error;
use crate::files;
use crate::rows::{Format, Row};
use crate::segments::bytes;

const PROGRESS_BYTES_MAX: usize = 4096;
/// What is written and made durable in one go. The log waits for its disk meanwhile, so it is a little at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// How far the views are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewProgress {
    /// The entry of the first row: not 0 if the log was pruned.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) first: u64,
    /// The entry that comes next: those from `first` to before it have their row in each view.
    pub(crate) entries: u64,
    /// Bytes of the CSV view up to there.
    pub(crate) csv_bytes: u64,
    /// Bytes of the JSON view up to there.
    pub(crate) jsonl_bytes: u64,
    /// What stands in each row's last column.
    pub(crate) retention_days: u32,
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ViewProgress {
    /// Where it is kept for the log at `dir`.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("views.json")
    }

    /// `None` if there is none or it is malformed.
    pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, Error> {
        let bytes = files::read_if_there(disk, &Self::path(dir), PROGRESS_BYTES_MAX)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn save(&self, disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        let path = Self::path(dir);
        let text = serde_json::to_vec(self).map_err(|error| Error::io(&path)(io::Error::other(error)))?;
        files::replace(disk, &path, &text)
    }

    /// Bytes of the view in this format.
    pub(crate) const fn bytes(&self, format: Format) -> u64 {
        match format {
            Format::Csv => self.csv_bytes,
            Format::Jsonl => self.jsonl_bytes,
        }
    }
}

/// Both views, open for appending.
pub(crate) struct Views {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    retention_days: u32,
    first: u64,
    entries: u64,
    csv: View,
    jsonl: View,
}

impl Views {
    /// Of a log whose first entry is `minimum`.
    pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path, retention_days: u32, minimum: u64) -> Result<Self, Error> {
        let progress =
            ViewProgress::load(disk.as_ref(), dir)?.filter(|progress| progress.retention_days == retention_days);
        let (first, entries) = progress.map_or((minimum, minimum), |progress| (progress.first, progress.entries));
        let csv = View::open(disk.as_ref(), dir, Format::Csv)?;
        let jsonl = View::open(disk.as_ref(), dir, Format::Jsonl)?;
        let mut views = Self { disk: disk.clone(), dir: dir.to_owned(), retention_days, first, entries, csv, jsonl };
        match progress {
            Some(progress) if views.csv.holds(progress.csv_bytes)? && views.jsonl.holds(progress.jsonl_bytes)? => {
                views.csv.cut(progress.csv_bytes)?;
                views.jsonl.cut(progress.jsonl_bytes)?;
            }
            _ => views.start_over(minimum)?,
        }
        Ok(views)
    }

    /// Empties both, for the rows from entry `first` on.
    pub(crate) fn start_over(&mut self, first: u64) -> Result<(), Error> {
        (self.first, self.entries) = (first, first);
        // Counted as empty first: a crash in between must not leave a count of rows that are gone.
        let retention_days = self.retention_days;
        let empty = ViewProgress { first, entries: first, csv_bytes: 0, jsonl_bytes: 0, retention_days };
        empty.save(self.disk.as_ref(), &self.dir)?;
        for view in [&mut self.csv, &mut self.jsonl] {
            view.cut(0)?;
            view.buffer.extend_from_slice(view.format.header());
        }
        self.save()
    }

    /// The entry of the first row.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The entry whose row comes next.
    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds the rows of the next entry.
    pub(crate) fn push(&mut self, event: &AuditEvent) -> Result<(), Error> {
        let row = Row::new(event, self.retention_days);
        for view in [&mut self.csv, &mut self.jsonl] {
            view.format.write(&mut view.buffer, &row);
            if view.buffer.len() >= BUFFER_BYTES {
                view.sync()?;
            }
        }
        self.entries += 1;
        Ok(())
    }

    /// Makes the rows durable, then counts them.
    pub(crate) fn save(&mut self) -> Result<(), Error> {
        for view in [&mut self.csv, &mut self.jsonl] {
            view.sync()?;
        }
        let progress = ViewProgress {
            first: self.first,
            entries: self.entries,
            csv_bytes: self.csv.len,
            jsonl_bytes: self.jsonl.len,
            retention_days: self.retention_days,
        };
        progress.save(self.disk.as_ref(), &self.dir)
    }
}

struct View {
    format: Format,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    len: u64,
    buffer: Vec<u8>,
}

impl View {
    fn open(disk: &dyn Disk, dir: &Path, format: Format) -> Result<Self, Error> {
        let path = format.path(dir);
        let file = disk.open(&path, Access::AppendOrCreate).map_err(Error::io(&path))?;
        Ok(Self { format, path, file, len: 0, buffer: Vec::new() })
    }

    /// Whether the file has this many bytes and the header among them.
    fn holds(&self, len: u64) -> Result<bool, Error> {
        let found = self.file.size().map_err(Error::io(&self.path))?;
        Ok(found >= len && len >= bytes(self.format.header().len()))
    }

    fn cut(&mut self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(Error::io(&self.path))?;
        self.len = len;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is buffered and makes it durable.
    fn sync(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.buffer).map_err(Error::io(&self.path))?;
        self.len += bytes(self.buffer.len());
        self.buffer.clear();
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}
