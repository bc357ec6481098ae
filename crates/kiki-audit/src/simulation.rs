//! A disk in memory that fails as disks do, from one seed, so that any run can be had again.
//!
//! What is not synced is kept, lost or torn by a power loss: of the bytes, each sector (512 bytes, written whole or
//! not at all) by itself, and the length may be the old one, the new one or any between; of the names in a folder,
//! the first so many changes. After a sync that failed the same holds at once, though the cache still shows
//! everything and the next sync reports success.
//!
//! A crash is planned by [`SimDisk::crash_after`]: the operation on which it falls happens, does not, or happens in
//! part, and everything fails until [`SimDisk::restart`].

mod inode;
mod names;

use std::any::Any;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Access, Disk, DiskFile};
use inode::Inode;
use names::{Names, Node};

/// Numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `most`, both included.
    fn up_to(&mut self, most: usize) -> usize {
        let most = u64::try_from(most).unwrap_or(u64::MAX - 1);
        usize::try_from(self.next() % (most + 1)).unwrap_or(0)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

/// What ends the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process alone: the cache of the operating system stays.
    Process,
    /// The whole machine: only what is durable is sure to stay.
    Power,
}

struct Machine {
    dice: Dice,
    names: Names,
    inodes: Vec<Inode>,
    /// Bytes that all files may have together.
    capacity: usize,
    /// Operations so far that change something or make it durable.
    operations: u64,
    crash_at: Option<u64>,
    failing_syncs: u32,
    is_down: bool,
    /// Grows with each restart: what was opened before is of no use any more.
    boot: u64,
    locked: Vec<PathBuf>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Machine>>);

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk({} operations)", self.operations())
    }
}

impl SimDisk {
    /// An empty disk without a bound, whose faults follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Machine {
            dice: Dice(seed),
            names: Names::default(),
            inodes: Vec::new(),
            capacity: usize::MAX,
            operations: 0,
            crash_at: None,
            failing_syncs: 0,
            is_down: false,
            boot: 0,
            locked: Vec::new(),
        })))
    }

    /// Operations so far that change something or make it durable: the points at which a crash can fall.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.machine().operations
    }

    /// Plans a crash on the operation after `operations` more.
    pub fn crash_after(&self, operations: u64) {
        let mut machine = self.machine();
        machine.crash_at = Some(machine.operations + operations);
    }

    /// Lets the next `count` syncs fail; what they should have made durable then is or is not.
    pub fn fail_syncs(&self, count: u32) {
        self.machine().failing_syncs = count;
    }

    /// Leaves room for `bytes` more. A write that finds less writes what fits, then fails.
    pub fn leave_room(&self, bytes: usize) {
        let mut machine = self.machine();
        machine.capacity = machine.used().saturating_add(bytes);
    }

    /// Whether a crash has come.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.machine().is_down
    }

    /// Ends what runs, at once if no crash has come yet, and starts again: locks are free, old handles fail, no fault is
    /// planned.
    pub fn restart(&self, crash: Crash) {
        let mut guard = self.machine();
        let machine = &mut *guard;
        if crash == Crash::Power {
            machine.names.lose(&mut machine.dice);
            for inode in &mut machine.inodes {
                inode.lose(&mut machine.dice);
            }
        }
        (machine.is_down, machine.crash_at, machine.failing_syncs) = (false, None, 0);
        machine.boot += 1;
        machine.locked.clear();
    }

    /// The bytes of a file as a process sees them.
    #[must_use]
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let machine = self.machine();
        let Some(Node::File(inode)) = machine.names.get(path) else { return None };
        Some(machine.inodes[inode].bytes().to_vec())
    }

    /// What there is, folders too.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.machine().names.paths()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an operation has come to.
#[derive(PartialEq, Eq)]
enum Turn {
    /// It happens.
    Happens,
    /// The crash falls on it.
    Crashes,
}

impl Machine {
    fn used(&self) -> usize {
        self.names.files().map(|inode| self.inodes[inode].bytes().len()).sum()
    }

    fn up(&self) -> io::Result<()> {
        if self.is_down { Err(crashed()) } else { Ok(()) }
    }

    fn turn(&mut self) -> io::Result<Turn> {
        self.up()?;
        let crashes = self.crash_at == Some(self.operations);
        self.operations += 1;
        self.is_down = crashes;
        Ok(if crashes { Turn::Crashes } else { Turn::Happens })
    }

    /// Does `work`, or if the crash falls on it, does it or not.
    fn change(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if self.turn()? == Turn::Happens {
            return work(self);
        }
        if self.dice.coin() {
            // The process does not live to see what came of it.
            let _ = work(self);
        }
        Err(crashed())
    }

    fn sync_fails(&mut self) -> bool {
        let fails = self.failing_syncs > 0;
        self.failing_syncs -= u32::from(fails);
        fails
    }

    fn sync_inode(&mut self, inode: usize) -> io::Result<()> {
        if self.sync_fails() {
            self.inodes[inode].sync_in_part(&mut self.dice);
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        self.inodes[inode].sync();
        Ok(())
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn make_file(&mut self, path: &Path) -> io::Result<()> {
        self.inodes.push(Inode::default());
        self.names.put(path, Node::File(self.inodes.len() - 1))
    }

    /// Writes what fits of `bytes` at the end, or at `offset`.
    fn write(&mut self, inode: usize, offset: Option<usize>, bytes: &[u8]) -> io::Result<usize> {
        let fits = self.capacity.saturating_sub(self.used()).min(bytes.len());
        let crashes = self.turn()? == Turn::Crashes;
        let written = if crashes { self.dice.up_to(fits) } else { fits };
        let offset = offset.unwrap_or_else(|| self.inodes[inode].bytes().len());
        self.inodes[inode].write(offset, &bytes[..written]);
        match (crashes, written) {
            (true, _) => Err(crashed()),
            (false, 0) if !bytes.is_empty() => Err(io::ErrorKind::StorageFull.into()),
            (false, _) => Ok(written),
        }
    }
}

fn crashed() -> io::Error {
    io::Error::other("the machine has crashed")
}

impl Disk for SimDisk {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let machine = self.machine();
        machine.up()?;
        Ok(machine.names.get(path).is_some())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.machine().change(|machine| match machine.names.get(dir) {
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => machine.names.put(dir, Node::Dir),
        })
    }

    fn paths_in(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let machine = self.machine();
        machine.up()?;
        machine.names.within(dir)
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        let machine = self.machine();
        machine.up()?;
        machine.file(path).map(|_| 0o600)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut machine = self.machine();
        machine.up()?;
        let is_missing = machine.names.get(path).is_none();
        if is_missing && matches!(access, Access::AppendOrCreate | Access::Replace) {
            machine.change(|machine| machine.make_file(path))?;
        }
        let inode = machine.file(path)?;
        if access == Access::Replace && !machine.inodes[inode].bytes().is_empty() {
            machine.change(|machine| {
                machine.inodes[inode].set_len(0);
                Ok(())
            })?;
        }
        let boot = machine.boot;
        drop(machine);
        let appends = matches!(access, Access::Append | Access::AppendOrCreate);
        Ok(Box::new(SimFile { disk: self.clone(), boot, inode, appends, offset: 0 }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.machine().change(|machine| machine.names.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.machine().change(|machine| {
            machine.file(path)?;
            machine.names.remove(path);
            Ok(())
        })
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.machine().change(|machine| {
            machine.names.within(dir)?;
            machine.names.remove(dir);
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.machine().change(|machine| {
            machine.names.within(dir)?;
            if machine.sync_fails() {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            machine.names.sync(dir);
            Ok(())
        })
    }

    fn sync_files(&self, files: &[PathBuf], _dir: &Path) -> io::Result<()> {
        let mut machine = self.machine();
        files.iter().try_for_each(|file| {
            let inode = machine.file(file)?;
            machine.change(|machine| machine.sync_inode(inode))
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let mut machine = self.machine();
        machine.up()?;
        if machine.locked.iter().any(|locked| locked == path) {
            return Ok(None);
        }
        machine.locked.push(path.to_owned());
        let boot = machine.boot;
        drop(machine);
        Ok(Some(Box::new(SimLock { disk: self.clone(), boot, path: path.to_owned() })))
    }
}

struct SimLock {
    disk: SimDisk,
    boot: u64,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut machine = self.disk.machine();
        if machine.boot == self.boot {
            machine.locked.retain(|locked| *locked != self.path);
        }
    }
}

struct SimFile {
    disk: SimDisk,
    boot: u64,
    inode: usize,
    appends: bool,
    offset: usize,
}

impl SimFile {
    fn machine(&self) -> io::Result<MutexGuard<'_, Machine>> {
        let machine = self.disk.machine();
        machine.up()?;
        if machine.boot == self.boot { Ok(machine) } else { Err(crashed()) }
    }
}

impl Read for SimFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let machine = self.machine()?;
        let rest = machine.inodes[self.inode].bytes().get(self.offset..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        drop(machine);
        self.offset += read;
        Ok(read)
    }
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.machine()?.write(self.inode, (!self.appends).then_some(self.offset), bytes)?;
        self.offset += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SimFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = self.size()?;
        let (base, by) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::End(by) => (len, by),
            SeekFrom::Current(by) => (u64::try_from(self.offset).unwrap_or(u64::MAX), by),
        };
        let offset = base.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?;
        self.offset = usize::try_from(offset).map_err(io::Error::other)?;
        Ok(offset)
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let len = self.machine()?.inodes[self.inode].bytes().len();
        u64::try_from(len).map_err(io::Error::other)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.machine()?.change(|machine| {
            machine.inodes[self.inode].set_len(len);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.machine()?.change(|machine| machine.sync_inode(self.inode))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget_cached(&self) {
        if let Ok(mut machine) = self.machine() {
            machine.inodes[self.inode].forget_cached();
        }
    }
}

#[cfg(test)]
mod story;
#[cfg(test)]
mod tests;
