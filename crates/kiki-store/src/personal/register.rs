//! `erasures`: who was erased, in the order of the erasing, kept apart from the database.
//!
//! A database that is put back brings people back with their keys; what this file tells is then done again. A line is
//! durable before the database forgets, so it may tell of somebody whom the database still has: that erasure counts, and is
//! ended by whoever opens the database next.
//!
//! ```text
//! kiki erasures 1 <id of the database>
//! <number> <handle> <tenant> <epoch> <ms since 1970> <cause> <16 hexadecimal digits>
//! ```
//!
//! The last field of a line is the beginning of the SHA-256 of the same field of the line before (of the header for the
//! first) and the rest of the line. An unfinished last line is cut; anything else that does not check stops the start.
//! Lines of destroyed epochs are left out when an epoch begins, for nothing older can be read; the last line stays, so that
//! no number comes twice.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use kiki_types::{TenantId, UnixMillis};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::error::KeysError;
use super::files;
use super::subject::{Cause, SubjectId};

/// The file.
pub(crate) const REGISTER_FILE: &str = "erasures";
/// Bytes of the file at the most: ten million erasures within four weeks.
const BYTES_MAX: u64 = 1 << 30;

/// Somebody who was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) seq: i64,
    pub(crate) tenant: TenantId,
    pub(crate) subject: SubjectId,
    /// The epoch that the key was under.
    pub(crate) epoch: u32,
    pub(crate) at: UnixMillis,
    pub(crate) cause: Cause,
}

/// The file, and how far it was read.
pub(crate) struct Register {
    keys: PathBuf,
    path: PathBuf,
    header: String,
    read: Place,
}

/// What was read of the file with this inode.
#[derive(Clone, Default)]
struct Place {
    inode: u64,
    bytes: u64,
    last: i64,
    link: String,
}

impl Register {
    /// The register of the database `source` in the folder `keys`, made if there is none.
    pub(crate) fn new(keys: &Path, source: Uuid) -> Self {
        let header = format!("kiki erasures 1 {source}");
        Self { keys: keys.to_owned(), path: keys.join(REGISTER_FILE), header, read: Place::default() }
    }

    /// All lines.
    pub(crate) fn lines(&mut self) -> Result<Vec<Erasure>, KeysError> {
        let _guard = self.lock()?;
        self.read = Place::default();
        self.catch_up().map(|(_, lines)| lines)
    }

    /// Adds `erasures`, numbered after the last line unless they have a number (0 is none), durably. Returns them as they
    /// are written. After an error some may be there all the same.
    pub(crate) fn append(&mut self, mut erasures: Vec<Erasure>) -> Result<Vec<Erasure>, KeysError> {
        let _guard = self.lock()?;
        let (mut file, _) = self.catch_up()?;
        let mut place = self.read.clone();
        let mut text = String::new();
        for erasure in &mut erasures {
            erasure.seq = erasure.seq.max(place.last + 1);
            place.last = erasure.seq;
            text.push_str(&spelled(erasure, &mut place.link));
        }
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // What is left of it is read again, and cut where it ends within a line.
            let _ = file.set_len(self.read.bytes);
            return Err(self.failed(error));
        }
        place.bytes += text.len() as u64;
        self.read = place;
        Ok(erasures)
    }

    /// Leaves out what tells of epochs before `lowest`. Returns how many lines went.
    pub(crate) fn compact(&mut self, lowest: u32) -> Result<usize, KeysError> {
        let _guard = self.lock()?;
        self.read = Place::default();
        let (_, lines) = self.catch_up()?;
        let last = self.read.last;
        let kept: Vec<_> = lines.iter().filter(|line| line.epoch >= lowest || line.seq == last).collect();
        let gone = lines.len() - kept.len();
        if gone > 0 {
            let mut text = format!("{}\n", self.header);
            let mut link = link("", &self.header);
            for line in kept {
                text.push_str(&spelled(line, &mut link));
            }
            files::replace(&self.path, text.as_bytes()).map_err(|error| self.failed(error))?;
            self.read = Place::default();
        }
        Ok(gone)
    }

    fn lock(&self) -> Result<File, KeysError> {
        files::lock(&self.keys).map_err(|error| self.failed(error))
    }

    /// Reads what was added since the last time. The file stands at its end afterwards.
    fn catch_up(&mut self) -> Result<(File, Vec<Erasure>), KeysError> {
        let path = self.path.clone();
        let failed = |error| KeysError::file(&path, error);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.ino() != self.read.inode || metadata.len() < self.read.bytes {
            self.read = Place { inode: metadata.ino(), ..Place::default() };
        }
        if metadata.len() > BYTES_MAX {
            return Err(KeysError::form(&self.path, &"is longer than any register can be"));
        }
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.read.bytes)).map_err(failed)?;
        file.read_to_string(&mut text).map_err(failed)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines = self.take_in(&text[..whole])?;
        if self.read.bytes == 0 {
            let header = format!("{}\n", self.header);
            file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
            file.write_all(header.as_bytes()).and_then(|()| self.make_durable(&file)).map_err(failed)?;
            self.read.bytes = header.len() as u64;
            self.read.link = link("", &self.header);
        } else if whole < text.len() {
            tracing::warn!(file = %self.path.display(), bytes = text.len() - whole, "cut an unfinished last line");
            file.set_len(self.read.bytes).and_then(|()| file.sync_data()).map_err(failed)?;
        }
        file.seek(SeekFrom::Start(self.read.bytes)).map_err(failed)?;
        Ok((file, lines))
    }

    fn make_durable(&self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        File::open(&self.keys)?.sync_all()
    }

    /// Checks whole lines that follow what was read.
    fn take_in(&mut self, text: &str) -> Result<Vec<Erasure>, KeysError> {
        let mut lines = Vec::new();
        for line in text.lines() {
            let place = &mut self.read;
            if place.bytes == 0 {
                if line != self.header {
                    return Err(KeysError::form(&self.path, &"is not the register of this database"));
                }
                place.link = link("", line);
            } else {
                let at = place.bytes;
                let erasure = parsed(line, &mut place.link).filter(|erasure| erasure.seq > place.last);
                let erasure = erasure.ok_or_else(|| {
                    KeysError::form(&self.path, &format!("the line at byte {at} does not follow from the one before"))
                })?;
                place.last = erasure.seq;
                lines.push(erasure);
            }
            place.bytes += line.len() as u64 + 1;
        }
        Ok(lines)
    }

    fn failed(&self, error: io::Error) -> KeysError {
        KeysError::file(&self.path, error)
    }
}

/// The line of `erasure` after one with the field `before`, which becomes that of this line.
fn spelled(erasure: &Erasure, before: &mut String) -> String {
    let Erasure { seq, tenant, subject, epoch, at, cause } = erasure;
    let body = format!("{seq} {subject} {tenant} {epoch} {} {}", at.0, cause.as_str());
    *before = link(before, &body);
    format!("{body} {before}\n")
}

/// The erasure of a line after one with the field `before`, which becomes that of this line.
fn parsed(line: &str, before: &mut String) -> Option<Erasure> {
    let (body, found) = line.rsplit_once(' ')?;
    let expected = link(before, body);
    if found != expected {
        return None;
    }
    *before = expected;
    let fields: Vec<_> = body.split(' ').collect();
    let [seq, subject, tenant, epoch, at, cause] = fields[..] else { return None };
    Some(Erasure {
        seq: seq.parse().ok()?,
        tenant: tenant.parse().ok()?,
        subject: subject.parse().ok()?,
        epoch: epoch.parse().ok()?,
        at: UnixMillis(at.parse().ok()?),
        cause: cause.parse().ok()?,
    })
}

/// The first eight bytes of SHA-256 of both.
fn link(before: &str, body: &str) -> String {
    let sum = Sha256::new().chain_update(before).chain_update(body).finalize();
    sum[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
