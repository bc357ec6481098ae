//! The Merkle tree of RFC 6962 (section 2.1), grown at its right edge, in tiles of height 8 (C2SP tlog-tiles).
//!
//! An [`Edge`] is all that is needed to add leaves and to know the root: the hashes of the partial tile of each level,
//! at most 255 each.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; HASH_BYTES];
/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// Hashes in a full tile.
pub const TILE_WIDTH: usize = 256;

const TILE_HEIGHT: u32 = 8;

/// The hash of an entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The hash of two subtrees.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over subtrees that are perfect and of one height, but for the last, which may be lower.
pub(crate) fn root_over(subtrees: &[Hash]) -> Hash {
    match subtrees {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        _ => {
            // The largest power of two below their number.
            let middle = 1 << (subtrees.len() - 1).ilog2();
            let (left, right) = subtrees.split_at(middle);
            node_hash(&root_over(left), &root_over(right))
        }
    }
}

/// The name of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileId {
    /// 0: its hashes are those of entries.
    pub level: u32,
    /// Counted from the left within the level.
    pub index: u64,
}

impl TileId {
    /// How many hashes it has in a tree of `size` entries, at most [`TILE_WIDTH`].
    #[must_use]
    pub fn width_at(self, size: u64) -> usize {
        let hashes = hashes_at(self.level, size).saturating_sub(self.index << TILE_HEIGHT);
        usize::try_from(hashes).unwrap_or(TILE_WIDTH).min(TILE_WIDTH)
    }

    /// Its file below `log` when it is full: `tile/<level>/x001/x234/067`.
    pub(crate) fn path(self, log: &Path) -> PathBuf {
        log.join("tile").join(self.level.to_string()).join(grouped(self.index))
    }

    /// The directory of its partial versions: `tile/<level>/x001/x234/067.p`.
    pub(crate) fn partial_dir(self, log: &Path) -> PathBuf {
        let mut path = self.path(log).into_os_string();
        path.push(".p");
        PathBuf::from(path)
    }

    /// Its file with `width` hashes.
    pub(crate) fn path_at_width(self, log: &Path, width: usize) -> PathBuf {
        if width == TILE_WIDTH { self.path(log) } else { self.partial_dir(log).join(width.to_string()) }
    }
}

/// A tile's index as its path has it: `x001/x234/067`.
pub(crate) fn grouped(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// How many hashes a level has, full and partial tiles together.
fn hashes_at(level: u32, size: u64) -> u64 {
    size.checked_shr(level * TILE_HEIGHT).unwrap_or(0)
}

/// The tiles at the right edge of a tree of `size` entries that are not full, with their widths.
pub(crate) fn partial_tiles(size: u64) -> impl Iterator<Item = (TileId, usize)> {
    (0..u64::BITS / TILE_HEIGHT).filter_map(move |level| {
        let tile = TileId { level, index: hashes_at(level + 1, size) };
        let width = tile.width_at(size);
        (width > 0).then_some((tile, width))
    })
}

/// How many full tiles a tree of `size` entries has.
pub(crate) fn full_tiles(size: u64) -> u64 {
    (1..=u64::BITS / TILE_HEIGHT).map(|level| hashes_at(level, size)).sum()
}

/// A full tile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FullTile {
    pub(crate) id: TileId,
    pub(crate) hashes: Vec<Hash>,
}

/// The right edge of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edge {
    size: u64,
    /// For each level the hashes of its partial tile.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree of `size` entries whose partial tiles are `partials`, in the order of [`partial_tiles`].
    pub(crate) fn of(size: u64, partials: impl IntoIterator<Item = (TileId, Vec<Hash>)>) -> Self {
        let mut edge = Self { size, levels: Vec::new() };
        for (tile, hashes) in partials {
            *edge.level(tile.level) = hashes;
        }
        edge
    }

    /// How many entries the tree has.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry. Tiles that become full are pushed to `full`.
    pub(crate) fn push(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0.. {
            let hashes = self.level(level);
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(hashes);
            hash = root_over(&hashes);
            full.push(FullTile { id: TileId { level, index: hashes_at(level + 1, self.size) - 1 }, hashes });
        }
    }

    /// The root of the tree.
    pub(crate) fn root(&self) -> Hash {
        let mut below: Option<Hash> = None;
        for hashes in &self.levels {
            if hashes.is_empty() {
                continue;
            }
            let subtrees: Vec<Hash> = hashes.iter().copied().chain(below).collect();
            below = Some(root_over(&subtrees));
        }
        below.unwrap_or_else(|| root_over(&[]))
    }

    /// The tiles that are not full, with their hashes.
    pub(crate) fn partials(&self) -> impl Iterator<Item = (TileId, &[Hash])> {
        partial_tiles(self.size).map(|(tile, _)| {
            let level = usize::try_from(tile.level).unwrap_or(usize::MAX);
            (tile, self.levels.get(level).map_or(&[][..], Vec::as_slice))
        })
    }

    fn level(&mut self, level: u32) -> &mut Vec<Hash> {
        let level = usize::try_from(level).unwrap_or(usize::MAX);
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        &mut self.levels[level]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::hex;

    /// RFC 6962, section 2.1, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => Sha256::digest([]).into(),
            1 => leaves[0],
            n => {
                let mut k = 1;
                while k * 2 < n {
                    k *= 2;
                }
                node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    fn leaf(index: usize) -> Hash {
        leaf_hash(&index.to_le_bytes())
    }

    #[test]
    fn the_roots_are_those_of_the_certificate_transparency_test_vectors() {
        let entries: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut edge = Edge::default();
        assert_eq!(hex(&edge.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (entry, root) in entries.into_iter().zip(roots) {
            edge.push(leaf_hash(entry), &mut Vec::new());
            assert_eq!(hex(&edge.root()), root);
        }
    }

    #[test]
    fn the_root_is_the_recursive_one_at_every_size_around_tile_borders() {
        let leaves: Vec<Hash> = (0..66_100).map(leaf).collect();
        let (mut edge, mut full) = (Edge::default(), Vec::new());
        for (index, leaf) in leaves.iter().enumerate() {
            edge.push(*leaf, &mut full);
            let size = index + 1;
            if size < 520 || (65_535..65_538).contains(&size) || size == leaves.len() {
                assert_eq!(edge.root(), mth(&leaves[..size]), "size {size}");
            }
        }
        assert_eq!(u64::try_from(full.len()).unwrap(), full_tiles(edge.size()));
        for tile in full {
            let span = 1 << (8 * tile.id.level);
            let start = usize::try_from(tile.id.index).unwrap() * span * TILE_WIDTH;
            for (at, hash) in tile.hashes.iter().enumerate() {
                assert_eq!(*hash, mth(&leaves[start + at * span..start + (at + 1) * span]), "{:?} {at}", tile.id);
            }
        }
    }

    #[test]
    fn the_tiles_of_a_tree_are_those_of_the_example_in_tlog_tiles() {
        let partial =
            |size| partial_tiles(size).map(|(tile, width)| (tile.level, tile.index, width)).collect::<Vec<_>>();
        assert_eq!(partial(70_000), [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
        assert_eq!(full_tiles(70_000), 274);
        assert_eq!(partial(256), [(1, 0, 1)]);
        assert_eq!(partial(0), []);
        let tile = TileId { level: 3, index: 1_234_067 };
        assert_eq!(tile.path(Path::new("log")), Path::new("log/tile/3/x001/x234/067"));
        assert_eq!(tile.path_at_width(Path::new(""), 9), Path::new("tile/3/x001/x234/067.p/9"));
    }
}
