//! Files that survive a crash whole: written beside their place, made durable, renamed into it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::disk::{Access, Disk};
use crate::error::Error;

/// Suffix of a file that is being written. One that a crash left behind is overwritten or ignored.
pub(crate) const UNFINISHED: &str = ".tmp";

/// Makes `dir` and what is missing above it, for the owner only, durably.
pub(crate) fn create_dirs(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    let mut missing = Vec::new();
    for ancestor in dir.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty()) {
        if disk.exists(ancestor).map_err(Error::io(ancestor))? {
            break;
        }
        missing.push(ancestor);
    }
    for dir in missing.iter().rev() {
        disk.create_dir(dir).map_err(Error::io(dir))?;
        sync_dir(disk, folder_of(dir))?;
    }
    Ok(())
}

/// The folder that `path` is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Makes durable what a process that was killed only wrote, and lets the file be read from the disk: after an fsync that
/// failed, the cache may show what the disk does not hold.
pub(crate) fn settle(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    let file = disk.open(path, Access::Read).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))?;
    file.forget_cached();
    Ok(())
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    disk.sync_dir(dir).map_err(Error::io(dir))
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Writes `bytes` beside `path`, not durable yet.
pub(crate) fn prepare(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = unfinished(path);
    let write = || disk.open(&beside, Access::Replace)?.write_all(bytes);
    write().map_err(Error::io(&beside))
}

/// Makes what [`prepare`] wrote durable. All of it is on the file system of `dir`.
pub(crate) fn sync_prepared(disk: &dyn Disk, paths: &[PathBuf], dir: &Path) -> Result<(), Error> {
    let beside: Vec<PathBuf> = paths.iter().map(|path| unfinished(path)).collect();
    disk.sync_files(&beside, dir).map_err(Error::io(beside.first().map_or(dir, PathBuf::as_path)))
}

/// Renames what is durable now into place. The caller makes the directory durable.
pub(crate) fn publish(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    disk.rename(&unfinished(path), path).map_err(Error::io(path))
}

/// Replaces `path` by `bytes`: after a crash it holds the former bytes or these.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(path);
    prepare(disk, path, bytes)?;
    sync_prepared(disk, &[path.to_owned()], dir)?;
    publish(disk, path)?;
    sync_dir(disk, dir)
}

/// Files on one file system that are put in place together: a reader sees each whole or not at all.
pub(crate) struct Together<'a> {
    disk: &'a dyn Disk,
    root: &'a Path,
    files: Vec<PathBuf>,
    dirs: BTreeSet<PathBuf>,
}

impl<'a> Together<'a> {
    /// None yet; all will be below `root`.
    pub(crate) const fn new(disk: &'a dyn Disk, root: &'a Path) -> Self {
        Self { disk, root, files: Vec::new(), dirs: BTreeSet::new() }
    }

    /// Writes a file beside its place.
    pub(crate) fn prepare(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), Error> {
        if let Some(dir) = path.parent().filter(|dir| !self.dirs.contains(*dir)) {
            create_dirs(self.disk, dir)?;
            self.dirs.insert(dir.to_owned());
        }
        prepare(self.disk, &path, bytes)?;
        self.files.push(path);
        Ok(())
    }

    /// Makes all of them durable, then visible.
    pub(crate) fn publish(self) -> Result<(), Error> {
        sync_prepared(self.disk, &self.files, self.root)?;
        self.files.iter().try_for_each(|path| publish(self.disk, path))?;
        self.dirs.iter().try_for_each(|dir| sync_dir(self.disk, dir))
    }
}

/// Reads a file of at most `bytes_max`.
pub(crate) fn read(disk: &dyn Disk, path: &Path, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let read = || {
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        disk.open(path, Access::Read)?.take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("is longer than {bytes_max} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(Error::io(path))
}

/// As [`read`]; `None` if there is no such file.
pub(crate) fn read_if_there(disk: &dyn Disk, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
    match read(disk, path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fills `buffer` as far as the input goes; says how far.
pub(crate) fn fill(input: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
