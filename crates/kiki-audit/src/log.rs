//! Appending: one writer, one write and one fdatasync for each batch.
//!
//! What [`Log::append`] returned for survives a power loss. After an error nothing more is appended: what the disk
//! holds is then unknown (an fdatasync that failed may report success when repeated), and only [`Log::open`], which
//! reads it again, may go on.

use std::any::Any;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::Batch;
use crate::checkpoint::{self, Checkpoint};
use crate::disk::{self, Access, Disk, DiskFile};
use crate::error::{Error, OpenError, Place};
use crate::files;
use crate::handover;
use crate::note::VerifierKey;
use crate::pruned::Pruned;
use crate::record::{SEGMENT_HEADER_BYTES, segment_header};
use crate::recover;
use crate::segments::{self, Segment, bytes};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// A batch that finds the segment at least this long starts the next one.
    pub segment_bytes_max: u64,
    /// Entries from this index on are read and checked, and those that the checkpoint does not cover. For a caller
    /// that has a snapshot, which the log must reach. Of earlier segments the header and the last record are checked.
    pub check_from: u64,
    /// If given, the checkpoint must be signed by it, and entries without a checkpoint are refused.
    pub key: Option<VerifierKey>,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes_max: 64 << 20, check_from: 0, key: None }
    }
}

/// What was found.
#[derive(Debug)]
pub struct Opened {
    /// Entries in the log: the index of the next one. All of them are durable.
    pub len: u64,
    /// The first entry that was read.
    pub checked_from: u64,
    /// The checkpoint, which the entries agree with.
    pub checkpoint: Option<Checkpoint>,
    /// What was cut off.
    pub torn: Option<Torn>,
}

/// An incomplete record at the end of the log: its write was never answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Where it starts.
    pub place: Place,
    /// Bytes from there to the end of the file.
    pub bytes: u64,
}

/// A log open for appending, and the lock on it.
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes_max: u64,
    /// The last segment, and how long it is.
    file: Box<dyn DiskFile>,
    segment_bytes: u64,
    segment_first: u64,
    /// Whether the next batch starts a segment, however long this one is.
    is_sealed: bool,
    next: u64,
    /// The error after which nothing is appended any more.
    failed: Option<String>,
    /// Held, not read.
    _lock: Box<dyn Any + Send + Sync>,
}

impl Log {
    /// Opens the log at `dir`; makes it if there is none. Checks what is there, cuts off an incomplete record at the
    /// end (beyond the checkpoint), and makes the rest durable.
    ///
    /// # Errors
    /// Another process has it open, a file cannot be read or written, or something does not check: the error names the
    /// segment, the byte, the entry, what was expected and what was found.
    pub fn open(dir: &Path, options: &Options) -> Result<(Self, Opened), OpenError> {
        Self::open_on(disk::real(), dir, options)
    }

    /// As [`Self::open`], on `disk`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: &Options) -> Result<(Self, Opened), OpenError> {
        let directory = segments::directory(dir);
        files::create_dirs(disk.as_ref(), &directory)?;
        let lock = lock(disk.as_ref(), &dir.join("lock"))?;
        let checkpoint = Checkpoint::load_on(disk.as_ref(), dir, options.key.as_ref())?;
        let pruned =
            Pruned::load_on(disk.as_ref(), dir, &handover::keys_of(disk.as_ref(), dir, options.key.as_ref())?)?;
        pruned.map_or(Ok(()), |pruned| pruned.check(&disk, dir, checkpoint.as_ref()))?;
        let segments = segments::list(disk.as_ref(), dir)?;
        segments.last().map_or(Ok(()), |segment| files::settle(disk.as_ref(), &segment.path))?;
        let recovered = recover::check(&disk, dir, options.check_from, checkpoint.as_ref())?;
        if options.key.is_some() && checkpoint.is_none() && recovered.len > 0 {
            let place = Place::file(&checkpoint::path(dir));
            return Err(Error::different(place, "the checkpoint of a log with entries", "no file").into());
        }
        let (file, segment_bytes) = match &recovered.end {
            Some((segment, end)) => (reopen(disk.as_ref(), segment, *end)?, *end),
            None => create(disk.as_ref(), &Segment::new(dir, 0))?,
        };
        let segment_first = recovered.end.as_ref().map_or(0, |(segment, _)| segment.first);
        // A process that was killed may have made folders and not have come to this.
        sync_names(disk.as_ref(), &directory)?;
        let log = Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes_max: options.segment_bytes_max,
            file,
            segment_bytes,
            segment_first,
            is_sealed: false,
            next: recovered.len,
            failed: None,
            _lock: lock,
        };
        let (len, checked_from, torn) = (recovered.len, recovered.checked_from, recovered.torn);
        Ok((log, Opened { len, checked_from, checkpoint, torn }))
    }

    /// Entries in the log.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.next
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// Appends the batch and returns, once it is durable, the indexes of its entries. The batch is left as it is, for
    /// the caller to clear.
    ///
    /// # Errors
    /// The batch could not be written or made durable, now or an earlier one: whether its entries are in the log is
    /// known after [`Log::open`].
    pub fn append(&mut self, batch: &mut Batch) -> io::Result<Range<u64>> {
        if let Some(reason) = &self.failed {
            return Err(io::Error::other(format!("the log takes nothing more since it failed: {reason}")));
        }
        let first = self.next;
        if !batch.is_empty() {
            self.write(batch).inspect_err(|error| self.failed = Some(error.to_string()))?;
        }
        Ok(first..self.next)
    }

    /// Bytes of the segment that is being appended to.
    #[must_use]
    pub const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The first entry of that segment.
    #[must_use]
    pub const fn segment_first(&self) -> u64 {
        self.segment_first
    }

    /// Lets the next batch start a segment, so that this one can be shipped and in time be pruned. Does nothing while
    /// the segment is empty.
    pub const fn seal(&mut self) {
        self.is_sealed = true;
    }

    fn write(&mut self, batch: &mut Batch) -> io::Result<()> {
        let is_full = self.is_sealed || self.segment_bytes >= self.segment_bytes_max;
        if is_full && self.segment_bytes > bytes(SEGMENT_HEADER_BYTES) {
            let segment = Segment::new(&self.dir, self.next);
            (self.file, self.segment_bytes) = create(self.disk.as_ref(), &segment).map_err(io::Error::other)?;
            self.segment_first = segment.first;
        }
        self.is_sealed = false;
        self.file.write_all(batch.stamp(self.next))?;
        self.file.sync_data()?;
        self.segment_bytes += bytes(batch.bytes());
        self.next += bytes(batch.len());
        Ok(())
    }
}

/// Makes durable the names that lead to the segments: in their folder, the log's, and the two above, the upper of which
/// may be another's.
fn sync_names(disk: &dyn Disk, segments: &Path) -> Result<(), Error> {
    let log = files::folder_of(segments);
    let data = files::folder_of(log);
    [segments, log, data].into_iter().try_for_each(|dir| files::sync_dir(disk, dir))?;
    match files::sync_dir(disk, files::folder_of(data)) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<Box<dyn Any + Send + Sync>, OpenError> {
    let lock = disk.lock(path).map_err(Error::io(path))?;
    lock.ok_or_else(|| OpenError::InUse { path: path.to_owned() })
}

/// Opens a segment for appending after its first `end` bytes. What is behind them is cut, durably.
fn reopen(disk: &dyn Disk, segment: &Segment, end: u64) -> Result<Box<dyn DiskFile>, Error> {
    let open = || {
        let file = disk.open(&segment.path, Access::Append)?;
        file.set_len(end)?;
        file.sync_all()?;
        Ok(file)
    };
    open().map_err(Error::io(&segment.path))
}

/// Makes an empty segment and opens it for appending.
fn create(disk: &dyn Disk, segment: &Segment) -> Result<(Box<dyn DiskFile>, u64), Error> {
    if disk.exists(&segment.path).map_err(Error::io(&segment.path))? {
        return Err(Error::different(Place::file(&segment.path), "no such segment yet", "a file"));
    }
    files::replace(disk, &segment.path, &segment_header(segment.first))?;
    let file = disk.open(&segment.path, Access::Append).map_err(Error::io(&segment.path))?;
    Ok((file, bytes(SEGMENT_HEADER_BYTES)))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::testing::{batch_of, event};

    #[test]
    fn after_a_failed_write_nothing_is_appended_until_the_log_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), &Options::default()).unwrap();
        assert_eq!(log.append(&mut batch_of(0..2)).unwrap(), 0..2);
        let working =
            std::mem::replace(&mut log.file, Box::new(File::options().write(true).open("/dev/full").unwrap()));
        let full = log.append(&mut batch_of(2..3)).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        log.file = working;
        assert!(log.append(&mut batch_of(2..3)).is_err());
        assert!(log.append(&mut Batch::new()).is_err());
        drop(log);
        let (mut log, opened) = Log::open(dir.path(), &Options::default()).unwrap();
        assert_eq!(opened.len, 2);
        assert_eq!(log.append(&mut batch_of(2..3)).unwrap(), 2..3);
    }

    #[test]
    fn a_segment_that_cannot_be_made_is_a_failed_write() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(dir.path(), &Options { segment_bytes_max: 1, ..Options::default() }).unwrap();
        log.append(&mut batch_of(0..1)).unwrap();
        let segments = segments::directory(dir.path());
        let aside = dir.path().join("aside");
        fs::rename(&segments, &aside).unwrap();
        assert!(log.append(&mut batch_of(1..2)).is_err());
        fs::rename(&aside, &segments).unwrap();
        assert!(log.append(&mut batch_of(1..2)).is_err());
    }

    #[test]
    fn a_log_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(dir.path(), &Options::default()).unwrap();
        assert!(matches!(Log::open(dir.path(), &Options::default()), Err(OpenError::InUse { .. })));
        drop(log);
        assert!(Log::open(dir.path(), &Options::default()).is_ok());
    }

    #[test]
    fn an_entry_too_long_leaves_the_batch_as_it_was() {
        let mut batch = batch_of(0..1);
        let before = batch.bytes();
        let mut long = event(1);
        long.reason = "x".repeat(crate::ENTRY_BYTES_MAX);
        assert!(matches!(batch.push(&long, None), Err(crate::PushError::TooLong { .. })));
        assert_eq!((batch.len(), batch.bytes()), (1, before));
        long.reason.truncate(60_000);
        while batch.push(&long, None).is_ok() {}
        assert!(matches!(batch.push(&long, None), Err(crate::PushError::Full)));
        assert!(batch.bytes() <= crate::batch::BATCH_BYTES_MAX);
    }
}
