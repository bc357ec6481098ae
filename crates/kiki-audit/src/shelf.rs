//! Where a log is shipped to: named objects that are whole or absent.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::files::{self, Together};

/// Bytes of the longest object: a segment and the batch that found it not quite full are shorter.
pub const OBJECT_BYTES_MAX: usize = 256 << 20;

/// A store of objects. Names are those of C2SP tlog-tiles and the like, with slashes. What a call returned for is stored
/// durably and was read back.
pub trait Shelf: Send + Sync {
    /// Stores objects that are never changed. One that is there already with these bytes is fine.
    ///
    /// # Errors
    /// One is there with other bytes, or was read back with others ([`io::ErrorKind::InvalidData`]); or the store fails.
    fn put_new(&self, objects: &[(String, Vec<u8>)]) -> io::Result<()>;
    /// Stores an object over what is there.
    ///
    /// # Errors
    /// It was read back with other bytes ([`io::ErrorKind::InvalidData`]), or the store fails.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// An object; `None` if there is none.
    ///
    /// # Errors
    /// The store fails, or the object is longer than any.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Removes objects. One that is not there is fine.
    ///
    /// # Errors
    /// The store fails, or does not let anything be removed.
    fn remove(&self, names: &[String]) -> io::Result<()>;
}

/// What was to be stored under `name` is not what is there.
#[must_use]
pub fn other_bytes(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{name} is there with other bytes"))
}

/// A shelf that is a folder.
#[derive(Debug)]
pub struct Folder {
    disk: Arc<dyn Disk>,
    root: PathBuf,
}

impl Folder {
    /// The shelf in the folder `root`, which is made when something is put there.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, root: &Path) -> Self {
        Self { disk, root: root.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn is_there(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        match self.get(name)? {
            Some(found) if found == bytes => Ok(true),
            Some(_) => Err(other_bytes(name)),
            None => Ok(false),
        }
    }

    fn verify(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.is_there(name, bytes)? { Ok(()) } else { Err(io::Error::other(format!("{name} is not there"))) }
    }
}

impl Shelf for Folder {
    fn put_new(&self, objects: &[(String, Vec<u8>)]) -> io::Result<()> {
        files::create_dirs(self.disk.as_ref(), &self.root).map_err(into_io)?;
        let mut together = Together::new(self.disk.as_ref(), &self.root);
        for (name, bytes) in objects {
            if !self.is_there(name, bytes)? {
                together.prepare(self.path(name), bytes).map_err(into_io)?;
            }
        }
        together.publish().map_err(into_io)?;
        objects.iter().try_for_each(|(name, bytes)| self.verify(name, bytes))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        files::create_dirs(self.disk.as_ref(), &self.root).map_err(into_io)?;
        let mut together = Together::new(self.disk.as_ref(), &self.root);
        together.prepare(self.path(name), bytes).map_err(into_io)?;
        together.publish().map_err(into_io)?;
        self.verify(name, bytes)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        files::read_if_there(self.disk.as_ref(), &self.path(name), OBJECT_BYTES_MAX).map_err(into_io)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        names.iter().try_for_each(|name| match self.disk.remove_file(&self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io { source, path } => io::Error::new(source.kind(), format!("{}: {source}", path.display())),
        Error::Different(difference) => io::Error::new(io::ErrorKind::InvalidData, difference),
    }
}
