//! What the log shows strangers, by the names of C2SP tlog-tiles: checkpoint, tiles, entry bundles.
//!
//! A name below `tile/<level>/` or `tile/entries/` says which tile and how many hashes or entries of it: `x001/x234/067`
//! is all of number 1,234,067, `x001/x234/067.p/8` its first 8. A narrower version of a tile is the beginning of a wider
//! one, so whatever the checkpoint covers can be cut from what is stored. Names that the format does not have, and what
//! the checkpoint does not cover, are not there.

use std::path::Path;

use crate::checkpoint::{self, Checkpoint};
use crate::disk::{self, RealDisk};
use crate::error::Error;
use crate::pruned;
use crate::ship::ProvenTiles;
use crate::tiles;
use crate::tree::{TILE_WIDTH, TileId};

/// What is found of the log.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It.
    There(T),
    /// It holds entries that were pruned: those before this index.
    Pruned(u64),
    /// The checkpoint does not cover it, or nobody may see it.
    Absent,
}

/// Levels that a tree can have.
const LEVELS: u32 = 64 / 8;
/// Entries of a whole bundle.
const BUNDLE_ENTRIES: u64 = 256;
/// Digits of a group in a name.
const GROUP_DIGITS: usize = 3;

/// Which tile, or which entry bundle, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Counted from the left.
    pub index: u64,
    /// Hashes or entries: 256 for all, fewer for a partial version.
    pub width: usize,
}

impl Part {
    /// Reads the end of a name, behind the level or `entries`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (groups, width) = match name.split_once(".p/") {
            Some((groups, width)) => (groups, number(width).filter(|width| (1..TILE_WIDTH).contains(width))?),
            None => (name, TILE_WIDTH),
        };
        let mut index: u64 = 0;
        let (above, last) = groups.rsplit_once('/').map_or((None, groups), |(above, last)| (Some(above), last));
        for group in above.into_iter().flat_map(|above| above.split('/')) {
            index = append(index, group.strip_prefix('x')?)?;
        }
        // One name for each: no leading group of zeros.
        let is_shortest = above.is_none_or(|above| !above.starts_with("x000"));
        let index = append(index, last)?;
        is_shortest.then_some(Self { index, width })
    }

    /// Whether the first `size` entries have this much of a tile of `level`.
    #[must_use]
    pub fn is_covered(self, level: u32, size: u64) -> bool {
        level < LEVELS && TileId { level, index: self.index }.width_at(size) >= self.width
    }
}

fn append(index: u64, group: &str) -> Option<u64> {
    let is_group = group.len() == GROUP_DIGITS && group.bytes().all(|byte| byte.is_ascii_digit());
    let group: u64 = if is_group { group.parse().ok()? } else { return None };
    // What is shifted out by levels must stay within 64 bits.
    index.checked_mul(1000)?.checked_add(group).filter(|index| *index <= u64::MAX >> 8)
}

/// Reads a level.
#[must_use]
pub fn level(text: &str) -> Option<u32> {
    let level = if text == "0" { 0 } else { number(text)? };
    u32::try_from(level).ok().filter(|level| *level < LEVELS)
}

/// A positive number in decimal digits, as it is written.
fn number(text: &str) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// The entries of `part` of a bundle of the log at `dir`, each behind its length.
///
/// # Errors
/// A file cannot be read or does not check.
pub fn bundle(dir: &Path, part: Part) -> Result<Found<Vec<u8>>, Error> {
    let (disk, size) = (disk::real(), Checkpoint::load(dir, None)?.map_or(0, |checkpoint| checkpoint.size));
    let minimum = pruned::minimum(disk.as_ref(), dir)?;
    match part {
        part if !part.is_covered(0, size) => Ok(Found::Absent),
        Part { index, .. } if index.saturating_mul(BUNDLE_ENTRIES) < minimum => Ok(Found::Pruned(minimum)),
        Part { index, width } => Ok(Found::There(crate::bundle::bundle(&disk, dir, index, width)?)),
    }
}

/// The hashes of `part` of a tile of `level` of the log at `dir`, one after another; `None` if the checkpoint does not
/// cover it.
///
/// # Errors
/// A file cannot be read, or the tile is not that of the checkpoint's root.
pub fn tile(dir: &Path, level: u32, part: Part) -> Result<Option<Vec<u8>>, Error> {
    let covers = |checkpoint: &Checkpoint| part.is_covered(level, checkpoint.size);
    let Some(checkpoint) = Checkpoint::load(dir, None)?.filter(covers) else { return Ok(None) };
    let (log, size) = (checkpoint::log_dir(dir), checkpoint.size);
    // It is kept for long where it goes: a damaged one must not leave.
    let edge = tiles::load_edge(&RealDisk, &log, size, size)?;
    checkpoint.check_root(dir, &edge.root())?;
    let mut hashes = ProvenTiles::new(&RealDisk, &log, size, &edge).tile(TileId { level, index: part.index })?;
    hashes.truncate(part.width);
    Ok(Some(hashes.as_flattened().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_the_format_writes_it_and_in_no_other_way() {
        let part = |index, width| Some(Part { index, width });
        for (name, expected) in [
            ("000", part(0, 256)),
            ("067", part(67, 256)),
            ("x001/000", part(1000, 256)),
            ("x001/x234/067", part(1_234_067, 256)),
            ("x001/x234/067.p/8", part(1_234_067, 8)),
            ("000.p/255", part(0, 255)),
            ("000.p/256", None),
            ("000.p/0", None),
            ("000.p/08", None),
            ("000.p/", None),
            ("000.p/+8", None),
            ("0000", None),
            ("67", None),
            ("x067", None),
            ("x000/067", None),
            ("001/067", None),
            ("x1/067", None),
            ("/067", None),
            ("../067", None),
            ("067/", None),
            ("", None),
            ("x999/x999/x999/x999/x999/x999/x999/999", None),
        ] {
            assert_eq!(Part::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn every_tile_is_found_under_the_name_that_it_has_on_the_disk() {
        for index in [0, 1, 999, 1000, 999_999, 1_000_000, 1_234_067, u64::MAX >> 8] {
            let tile = TileId { level: 0, index };
            for width in [1, 255, 256] {
                let path = tile.path_at_width(Path::new(""), width);
                let name = path.to_str().unwrap().strip_prefix("tile/0/").unwrap();
                assert_eq!(Part::parse(name), Some(Part { index, width }), "{name}");
            }
        }
    }

    #[test]
    fn what_is_not_in_the_tree_is_not_covered() {
        let covered = |level, index, width, size| Part { index, width }.is_covered(level, size);
        assert!(covered(0, 0, 256, 256) && !covered(0, 0, 256, 255) && covered(0, 0, 255, 255));
        assert!(covered(1, 0, 1, 256) && !covered(1, 0, 1, 255) && !covered(1, 0, 2, 256));
        assert!(covered(0, 273, 112, 70_000) && !covered(0, 273, 113, 70_000) && !covered(0, 274, 1, 70_000));
        assert!(!covered(8, 0, 1, u64::MAX) && !covered(u32::MAX, 0, 1, u64::MAX) && !covered(0, u64::MAX >> 8, 1, 9));
    }
}
