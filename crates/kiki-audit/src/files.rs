//! Files that survive a crash whole: written beside their place, made durable, renamed into it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Suffix of a file that is being written. One that a crash left behind is overwritten or ignored.
pub(crate) const UNFINISHED: &str = ".tmp";

#[cfg(target_os = "linux")]
const FILES_SYNCED_ONE_BY_ONE_MAX: usize = 4;

/// Makes `dir` and what is missing above it, for the owner only, durably.
pub(crate) fn create_dirs(dir: &Path) -> Result<(), Error> {
    let mut missing = Vec::new();
    for ancestor in dir.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty()) {
        if fs::exists(ancestor).map_err(Error::io(ancestor))? {
            break;
        }
        missing.push(ancestor);
    }
    for dir in missing.iter().rev() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::io(dir))?;
        dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)?;
    }
    Ok(())
}

/// Makes durable what a process that was killed only wrote, and lets the file be read from the disk: after an fsync that
/// failed, the cache may show what the disk does not hold.
pub(crate) fn settle(path: &Path) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    file.sync_all().map_err(Error::io(path))?;
    // Advice: a file system without a disk behind it does not follow it, and need not.
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    Ok(())
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))
}

/// How every file of the log is opened for writing: for the owner only.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    PathBuf::from(name)
}

/// Writes `bytes` beside `path`, not durable yet.
pub(crate) fn prepare(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = unfinished(path);
    let write = || private().create(true).truncate(true).open(&beside)?.write_all(bytes);
    write().map_err(Error::io(&beside))
}

/// Makes what [`prepare`] wrote durable. All of it is on the file system of `dir`.
pub(crate) fn sync_prepared(paths: &[PathBuf], dir: &Path) -> Result<(), Error> {
    // Each fsync commits the file system's journal, and the appending thread waits for such commits: one for all.
    #[cfg(target_os = "linux")]
    if paths.len() > FILES_SYNCED_ONE_BY_ONE_MAX {
        return File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(dir)?)).map_err(Error::io(dir));
    }
    let _ = dir;
    paths.iter().try_for_each(|path| {
        let beside = unfinished(path);
        File::open(&beside).and_then(|file| file.sync_all()).map_err(Error::io(&beside))
    })
}

/// Renames what is durable now into place. The caller makes the directory durable.
pub(crate) fn publish(path: &Path) -> Result<(), Error> {
    fs::rename(unfinished(path), path).map_err(Error::io(path))
}

/// Replaces `path` by `bytes`: after a crash it holds the former bytes or these.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(path);
    prepare(path, bytes)?;
    sync_prepared(&[path.to_owned()], dir)?;
    publish(path)?;
    sync_dir(dir)
}

/// Reads a file of at most `bytes_max`.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let read = || {
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("is longer than {bytes_max} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(Error::io(path))
}

/// As [`read`]; `None` if there is no such file.
pub(crate) fn read_if_there(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
    match read(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fills `buffer` as far as the input goes; says how far.
pub(crate) fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
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
