//! The folder of the keys: its lock, and files that are replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// The file whose lock whoever changes the ring or the register holds.
const LOCK_FILE: &str = "ring.lock";
/// Tries to take the lock, and the time between them: ten seconds in all.
const LOCK_TRIES_MAX: u32 = 1_000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Makes the folder, for its owner alone.
pub(crate) fn make_folder(keys: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(keys)
}

/// The lock of the folder; released when dropped. It blocks: never on a thread of the runtime. Whoever has it never waits
/// for the database, for whoever waits for it may hold a transaction.
pub(crate) fn lock(keys: &Path) -> io::Result<File> {
    let path = keys.join(LOCK_FILE);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
    for _ in 0..LOCK_TRIES_MAX {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => std::thread::sleep(LOCK_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("{}: another process keeps this lock", path.display())))
}

/// What `path` holds; `None` if it is not there. A file that others may read is refused.
pub(crate) fn read_private(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "its mode lets others read it; it must be 600"))
        }
        Ok(_) => fs::read(path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces `path` by `bytes`, durably: whoever reads it sees the old or the new. The blocks of the old are overwritten, as
/// far as the file system writes in place.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = OpenOptions::new().write(true).open(path).ok();
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    if let Some(before) = before {
        // The new file counts by now, so a failure here is none of the replacement.
        let _ = overwrite(before);
    }
    Ok(())
}

fn overwrite(mut file: File) -> io::Result<()> {
    let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    file.write_all(&vec![0; bytes])?;
    file.sync_all()
}
