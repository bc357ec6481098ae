//! What the log asks of a file system. One that forgets, tears and fails can stand in for the real one:
//! `SimDisk`, behind the feature `simulation`.
//!
//! What is written is durable after [`DiskFile::sync_data`] or [`DiskFile::sync_all`], a name after
//! [`Disk::sync_dir`] of its folder, and neither before.

use std::any::Any;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

#[cfg(target_os = "linux")]
const FILES_SYNCED_ONE_BY_ONE_MAX: usize = 4;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading a file that is there.
    Read,
    /// For writing at the end of a file that is there.
    Append,
    /// For writing at the end; made if it is not there.
    AppendOrCreate,
    /// For writing from the start; made if it is not there, emptied if it is.
    Replace,
}

/// A file system. What it makes is for its owner only.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Whether there is a file or a folder.
    ///
    /// # Errors
    /// It cannot be known.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Makes a folder in one that is there. One that is there already is no error.
    ///
    /// # Errors
    /// It cannot be made.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// What is in a folder, in no order.
    ///
    /// # Errors
    /// It cannot be read.
    fn paths_in(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Who may do what with a file: the permission bits.
    ///
    /// # Errors
    /// They cannot be read.
    fn mode(&self, path: &Path) -> io::Result<u32>;
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file in its folder, over another if that is there.
    ///
    /// # Errors
    /// It cannot be renamed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all that is in it.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// They may not be durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes files below `dir` durable.
    ///
    /// # Errors
    /// Some may not be durable.
    fn sync_files(&self, files: &[PathBuf], dir: &Path) -> io::Result<()>;
    /// Takes the lock at `path` until what is returned is dropped; `None` if somebody has it.
    ///
    /// # Errors
    /// Nobody may have it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}

/// An open file.
pub trait DiskFile: Read + Write + Seek + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// It cannot be known.
    fn size(&self) -> io::Result<u64>;
    /// Cuts it, or adds zeros.
    ///
    /// # Errors
    /// It has the length that it had, or the new one.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes its bytes durable, and its length.
    ///
    /// # Errors
    /// What is durable is unknown: repeated, it may report success.
    fn sync_data(&self) -> io::Result<()>;
    /// As [`Self::sync_data`], and all else that is known of the file.
    ///
    /// # Errors
    /// As [`Self::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
    /// Lets the file be read from the disk: after a sync that failed, the cache may show what the disk does not hold.
    fn forget_cached(&self);
}

/// The real file system.
#[must_use]
pub fn real() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// The real file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        fs::exists(path)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        // Recursive only for what it says to a folder that is there.
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn paths_in(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|file| Ok(file?.path())).collect()
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::Append => options.append(true),
            Access::AppendOrCreate => options.append(true).create(true).mode(0o600),
            Access::Replace => options.write(true).create(true).truncate(true).mode(0o600),
        };
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_files(&self, files: &[PathBuf], dir: &Path) -> io::Result<()> {
        // Each fsync commits the file system's journal, and the appending thread waits for such commits: one for all.
        #[cfg(target_os = "linux")]
        if files.len() > FILES_SYNCED_ONE_BY_ONE_MAX {
            return Ok(rustix::fs::syncfs(File::open(dir)?)?);
        }
        let _ = dir;
        files.iter().try_for_each(|file| File::open(file)?.sync_all())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        Self::sync_all(self)
    }

    fn forget_cached(&self) {
        // Advice: a file system without a disk behind it does not follow it, and need not.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed);
    }
}
