//! Snapshots: states on disk, so that a start need not replay the whole log. They are derived: one that does not
//! check is passed over, and the log alone gives the same state.
//!
//! `<20 digits>.snap` holds the state after that many entries: 8 bytes of magic, CRC-32C and length of the rest
//! (both little-endian, 4 and 8 bytes), then the SHA-256 of the last of these entries, by which a snapshot of another
//! log is told, and the state. The two newest are kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::image::Image;
use crate::state::{Bounds, State};

const MAGIC: &[u8; 8] = b"kikisn02";
const HEADER_BYTES: usize = 20;
const KEPT: usize = 2;

/// Writes the state after `entries` entries, the last of which has the hash `last`, into `dir` and removes all but the newest snapshots. Atomic: a crash
/// leaves the snapshot whole or absent.
///
/// # Errors
/// What the file system says.
pub fn write(dir: &Path, entries: u64, last: [u8; 32], state: &State) -> io::Result<()> {
    let body = postcard::to_stdvec(&(last, state.to_image())).map_err(io::Error::other)?;
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("{entries:020}.snap"));
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(MAGIC)?;
    file.write_all(&crc32c::crc32c(&body).to_le_bytes())?;
    file.write_all(&(body.len() as u64).to_le_bytes())?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(dir)?.sync_all()?;
    for (_, old) in list(dir)?.into_iter().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(())
}

/// The newest snapshot in `dir` that checks: after how many entries, and the state. `fits` is told the number of
/// entries and the hash of the last one. Those that do not check or fit are named in the log of the process and
/// passed over.
///
/// # Errors
/// The folder cannot be read.
pub fn newest(dir: &Path, bounds: Bounds, fits: impl Fn(u64, [u8; 32]) -> bool) -> io::Result<Option<(u64, State)>> {
    for (entries, path) in list(dir)? {
        let bytes = fs::read(&path)?;
        match decode(&bytes, bounds) {
            Some((last, state)) if fits(entries, last) => return Ok(Some((entries, state))),
            _ => tracing::warn!(path = %path.display(), "snapshot does not check and is passed over"),
        }
    }
    Ok(None)
}

fn decode(bytes: &[u8], bounds: Bounds) -> Option<([u8; 32], State)> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let crc = u32::from_le_bytes(header[8..12].try_into().ok()?);
    let length = u64::from_le_bytes(header[12..].try_into().ok()?);
    if &header[..8] != MAGIC || length != body.len() as u64 || crc != crc32c::crc32c(body) {
        return None;
    }
    let (last, image): ([u8; 32], Image) = postcard::from_bytes(body).ok()?;
    Some((last, State::from_image(image, bounds)?))
}

/// Snapshots in `dir`, newest first.
fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (Some(number), Some("snap")) = (number, path.extension().and_then(|ending| ending.to_str())) {
            found.push((number, path));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}
