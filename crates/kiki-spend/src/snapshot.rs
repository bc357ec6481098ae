//! Snapshots: states on disk, so that a start need not replay the whole log. They are derived: one that does not
//! check is passed over, and the log alone gives the same state.
//!
//! `<20 digits>.snap` holds the state after that many entries: 8 bytes of magic, CRC-32C and length of the rest
//! (both little-endian, 4 and 8 bytes), then the SHA-256 of the last of these entries, by which a snapshot of another
//! log is told, and the state. The two newest are kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::image::Image;
use crate::limit::Limit;
use crate::record::Records;
use crate::state::{Bounds, State};

const MAGIC: &[u8; 8] = b"kikisn08";
const HEADER_BYTES: usize = 20;
const KEPT: usize = 2;
/// Bytes that are read and written at a time.
const BUFFER: usize = 1 << 20;
/// Room for the longest text in a snapshot: the definition of a limit.
const SCRATCH: usize = 1 << 20;

/// Writes the state after `entries` entries, the last of which has the hash `last`, into `dir` and removes all but the newest snapshots. Atomic: a crash
/// leaves the snapshot whole or absent.
///
/// # Errors
/// What the file system says.
pub fn write(dir: &Path, entries: u64, last: [u8; 32], state: &State) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let path = path_in(dir, entries);
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&[0; HEADER_BYTES])?;
    // Summed up behind the buffer: most values that are written are a byte or two.
    let mut body = BufWriter::with_capacity(BUFFER, Summed { inner: &mut file, crc: 0, bytes: 0 });
    postcard::to_io(&(last, state.to_image()), &mut body).map_err(io::Error::other)?;
    let Summed { crc, bytes, .. } = body.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(MAGIC)?;
    file.write_all(&crc.to_le_bytes())?;
    file.write_all(&bytes.to_le_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(dir)?.sync_all()?;
    for (_, old) in list(dir)?.into_iter().skip(KEPT) {
        fs::remove_file(old)?;
    }
    Ok(())
}

/// Sums up what passes through, so that a snapshot need not be held in memory beside the state.
struct Summed<T> {
    inner: T,
    crc: u32,
    bytes: u64,
}

impl<T: Write> Write for Summed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// After how many entries there are snapshots in `dir`, the newest first. Whether they check is not looked at.
///
/// # Errors
/// The folder cannot be read.
pub fn kept(dir: &Path) -> io::Result<Vec<u64>> {
    Ok(list(dir)?.into_iter().map(|(entries, _)| entries).collect())
}

/// As [`newest`], of the snapshots after at most `most` entries.
///
/// # Errors
/// As [`newest`].
pub fn newest_within(
    dir: &Path,
    bounds: Bounds,
    most: u64,
    fits: impl Fn(u64, [u8; 32]) -> bool,
) -> io::Result<Option<(u64, State)>> {
    for (entries, path) in list(dir)?.into_iter().filter(|(entries, _)| *entries <= most) {
        match read(&path, bounds)? {
            Some((last, state)) if fits(entries, last) => return Ok(Some((entries, state))),
            _ => tracing::warn!(path = %path.display(), "snapshot does not check and is passed over"),
        }
    }
    Ok(None)
}

/// The newest snapshot in `dir` that checks: after how many entries, and the state. `fits` is told the number of
/// entries and the hash of the last one. Those that do not check or fit are named in the log of the process and
/// passed over.
///
/// # Errors
/// The folder cannot be read.
pub fn newest(dir: &Path, bounds: Bounds, fits: impl Fn(u64, [u8; 32]) -> bool) -> io::Result<Option<(u64, State)>> {
    newest_within(dir, bounds, u64::MAX, fits)
}

/// Whether the snapshot after `entries` entries in `dir` is there and whole. It is not decoded.
///
/// # Errors
/// It cannot be read.
pub fn is_whole(dir: &Path, entries: u64) -> io::Result<bool> {
    match File::open(path_in(dir, entries)) {
        Ok(file) => Ok(body(&file)?.is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn path_in(dir: &Path, entries: u64) -> PathBuf {
    dir.join(format!("{entries:020}.snap"))
}

/// Checks what a snapshot's header says of the rest, and leaves the file before it.
fn body(mut file: &File) -> io::Result<Option<()>> {
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (magic, rest) = header.split_at(8);
    let (crc, bytes) = rest.split_at(4);
    let mut sum = Summed { inner: io::sink(), crc: 0, bytes: 0 };
    io::copy(&mut BufReader::with_capacity(BUFFER, file), &mut sum)?;
    if magic != MAGIC || bytes != sum.bytes.to_le_bytes() || crc != sum.crc.to_le_bytes() {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
    Ok(Some(()))
}

/// Reads a snapshot: once to check it, once to decode it.
fn read(path: &Path, bounds: Bounds) -> io::Result<Option<([u8; 32], State)>> {
    let file = File::open(path)?;
    if body(&file)?.is_none() {
        return Ok(None);
    }
    let mut scratch = vec![0; SCRATCH];
    let source = (BufReader::with_capacity(BUFFER, &file), &mut scratch[..]);
    let decoded = postcard::from_io::<([u8; 32], Image<Vec<Limit>, Records>), _>(source);
    Ok(decoded.ok().and_then(|((last, image), _)| Some((last, State::from_image(image, bounds)?))))
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
