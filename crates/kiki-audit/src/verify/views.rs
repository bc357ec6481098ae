//! The views, compared row for row with what the entries give.
//!
//! A view may be behind the log. It must reach as far as `views.json` counts; what it has beyond that must agree too,
//! where a crash, or the writer at this moment, may have left a row unfinished.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::disk::RealDisk;
use crate::error::{Error, Place};
use crate::files;
use crate::rows::Format;
use crate::segments::bytes;
use crate::verify::Start;
use crate::verify::chunk::Rows;
use crate::verify::point::ViewsPoint;
use crate::views::ViewProgress;

/// Bytes of a row that an error shows.
const SHOWN_BYTES_MAX: usize = 200;

pub(super) struct ViewsCheck {
    progress: ViewProgress,
    views: Vec<ViewCheck>,
}

impl ViewsCheck {
    /// `None` if there are no views, which must not be where entries have been derived from; or if they start with an
    /// entry that was pruned: then they are about to start over.
    pub(super) fn open(dir: &Path, derived: bool, start: Start<'_>) -> Result<Option<Self>, Error> {
        let path = ViewProgress::path(dir);
        let Some(progress) = ViewProgress::load(&RealDisk, dir)? else {
            let missing = Error::different(Place::file(&path), "how far the views are", "no such file, or not that");
            return if derived || path.exists() { Err(missing) } else { Ok(None) };
        };
        if progress.first < start.minimum {
            return Ok(None);
        }
        let mut check = Self { progress, views: Vec::new() };
        for format in Format::ALL {
            let mut view = ViewCheck::open(dir, format, progress.bytes(format))?;
            view.compare(format.header(), None, true)?;
            check.views.push(view);
        }
        if progress.first > start.minimum {
            let found = format!("entry {}", progress.first);
            let expected = format!("views from entry {} on", start.minimum);
            return Err(Error::different(Place::file(&path), expected, found));
        }
        if let Some(point) = start.point {
            let same = |before: &ViewsPoint| {
                (before.first, before.retention_days) == (progress.first, progress.retention_days)
            };
            let Some(before) = point.views.filter(same) else {
                let expected = "the views that were verified so far";
                return Err(Error::different(
                    Place::file(&path),
                    expected,
                    "views that were not, or were written anew",
                ));
            };
            check.views.iter_mut().try_for_each(|view| view.skip_to(&before))?;
        }
        check.check_count(start.index())?;
        Ok(Some(check))
    }

    /// What stands in the last column.
    pub(super) const fn retention_days(&self) -> u32 {
        self.progress.retention_days
    }

    /// Where the rows of entry `index` are, if those before it are counted.
    pub(super) fn point(&self, index: u64) -> Option<ViewsPoint> {
        let [csv, jsonl] = self.views.as_slice() else { return None };
        let ViewProgress { first, retention_days, .. } = self.progress;
        let point = ViewsPoint { first, csv_bytes: csv.offset, jsonl_bytes: jsonl.offset, retention_days };
        (index <= self.progress.entries).then_some(point)
    }

    /// Compares the next of `rows`.
    pub(super) fn entry(&mut self, index: u64, rows: &mut [Rows]) -> Result<(), Error> {
        let counted = index < self.progress.entries;
        for (view, rows) in self.views.iter_mut().zip(rows) {
            view.compare(rows.take(), Some(index), counted)?;
        }
        self.check_count(index + 1)
    }

    /// After as many entries as are counted, the views are as long as counted.
    fn check_count(&self, entries: u64) -> Result<(), Error> {
        match self.views.iter().find(|view| entries == self.progress.entries && view.offset != view.counted) {
            Some(view) => {
                let place = Place { file: view.path.clone(), offset: view.offset, entry: Some(entries) };
                Err(Error::different(place, format!("{} bytes counted for {entries} entries", view.offset), {
                    format!("{} in views.json", view.counted)
                }))
            }
            None => Ok(()),
        }
    }

    /// After the last entry. Returns how many rows were compared.
    pub(super) fn finish(self, entries: u64) -> Result<u64, Error> {
        if let Some(view) = self.views.iter().find(|view| view.offset < view.len) {
            let place = Place { file: view.path.clone(), offset: view.offset, entry: Some(entries) };
            return Err(Error::different(
                place,
                "the end of the view",
                format!("{} more bytes", view.len - view.offset),
            ));
        }
        if self.progress.entries > entries {
            let place = Place::file(&self.views.first().map(|view| view.path.clone()).unwrap_or_default());
            return Err(Error::different(
                place,
                format!("{entries} rows"),
                format!("{} counted", self.progress.entries),
            ));
        }
        Ok(self.views.iter().map(|view| view.rows).sum())
    }
}

struct ViewCheck {
    format: Format,
    path: PathBuf,
    input: BufReader<File>,
    /// Bytes when the verification started.
    len: u64,
    /// Bytes that are counted.
    counted: u64,
    offset: u64,
    rows: u64,
    found: Vec<u8>,
}

impl ViewCheck {
    fn open(dir: &Path, format: Format, counted: u64) -> Result<Self, Error> {
        let path = format.path(dir);
        let place = |offset| Place { file: path.clone(), offset, entry: None };
        let expected = format!("a view of {counted} bytes at least");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::different(place(0), expected, "no file"));
            }
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let len = file.metadata().map_err(Error::io(&path))?.len();
        if len < counted {
            return Err(Error::different(place(len), expected, format!("{len} bytes")));
        }
        Ok(Self { format, path, input: BufReader::new(file), len, counted, offset: 0, rows: 0, found: Vec::new() })
    }

    /// Passes over what was verified before.
    fn skip_to(&mut self, before: &ViewsPoint) -> Result<(), Error> {
        self.offset = match self.format {
            Format::Csv => before.csv_bytes,
            Format::Jsonl => before.jsonl_bytes,
        };
        if self.offset > self.len {
            let place = Place { file: self.path.clone(), offset: self.len, entry: None };
            let found = format!("{} bytes", self.len);
            return Err(Error::different(place, format!("a view of {} bytes at least", self.offset), found));
        }
        self.input.seek(SeekFrom::Start(self.offset)).map(|_| ()).map_err(Error::io(&self.path))
    }

    /// Compares what comes next with `expected`; it may end early unless it is `whole`.
    fn compare(&mut self, expected: &[u8], entry: Option<u64>, whole: bool) -> Result<(), Error> {
        let left = usize::try_from(self.len - self.offset).unwrap_or(usize::MAX);
        self.found.resize(expected.len().min(left), 0);
        let read = files::fill(&mut self.input.by_ref(), &mut self.found).map_err(Error::io(&self.path))?;
        self.found.truncate(read);
        let same = expected.iter().zip(&self.found).take_while(|(expected, found)| expected == found).count();
        if same < self.found.len() || (whole && same < expected.len()) {
            let place = Place { file: self.path.clone(), offset: self.offset + bytes(same), entry };
            return Err(Error::different(place, shown(expected), shown(&self.found)));
        }
        self.offset += bytes(same);
        self.rows += u64::from(entry.is_some() && same == expected.len());
        Ok(())
    }
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]))
}
