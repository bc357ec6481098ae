//! Entry bundles (C2SP tlog-tiles): the entries of one tile of level 0, each with its length. They are not stored: the
//! segments hold the same bytes.

use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::Error;
use crate::reader::Reader;
use crate::segments::bytes;
use crate::tree::{TILE_WIDTH, grouped};

/// The first `width` entries of bundle `n` of the log at `dir`: for each its length (u16, big-endian), then its bytes.
/// More than 256 are not given. The caller asks for durable entries only.
///
/// # Errors
/// A segment cannot be read or does not check, the log ends before, or the bundle holds entries that were pruned.
pub fn bundle(disk: &Arc<dyn Disk>, dir: &Path, n: u64, width: usize) -> Result<Vec<u8>, Error> {
    let from = n.saturating_mul(bytes(TILE_WIDTH));
    let to = from.saturating_add(bytes(width.min(TILE_WIDTH)));
    let mut reader = Reader::open_on(disk, dir, from, to)?;
    let mut bundle = Vec::new();
    while let Some(record) = reader.next_record()? {
        push(&mut bundle, record.bytes);
    }
    Ok(bundle)
}

/// Adds an entry to a bundle.
pub(crate) fn push(bundle: &mut Vec<u8>, entry: &[u8]) {
    // No entry of a log is longer.
    let len = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend(len.to_be_bytes());
    bundle.extend(entry);
}

/// The name of a bundle beside the tiles: `tile/entries/x001/x234/067`, or `tile/entries/x001/x234/067.p/9`.
pub(crate) fn name(n: u64, width: usize) -> String {
    let path = grouped(n);
    if width == TILE_WIDTH { format!("tile/entries/{path}") } else { format!("tile/entries/{path}.p/{width}") }
}
