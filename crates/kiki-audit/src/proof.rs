//! Proofs in the Merkle tree: that an entry is in it (RFC 6962, section 2.1.1), and that a tree is the beginning of
//! another (section 2.1.2). Computed from tiles, in at most 63 hashes; verified as RFC 9162 says (sections 2.1.3.2 and
//! 2.1.4.2), which needs nothing but the proof.
//!
//! What a [`SignedTree`] hands out was verified against the root that is signed: a damaged tile gives an error, never a
//! proof that does not hold.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::Disk;
use crate::error::{Error, Place};
use crate::segments::hex;
use crate::tiles;
use crate::tree::{Hash, TILE_WIDTH, TileId, node_hash, root_over};

/// Hashes in the longest proof that is read or made.
pub const PROOF_HASHES_MAX: usize = 63;
/// Levels of the tree in a tile.
const TILE_HEIGHT: u32 = 8;
/// Tiles that are kept while proofs are computed: a proof needs two of each level at the most, consistency four.
const TILES_KEPT_MAX: usize = 64;

/// Whether the entry with hash `leaf` is number `index` of the tree of `size` entries with this root.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut first, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for beside in path {
        if last == 0 {
            return false;
        }
        if first & 1 == 1 || first == last {
            hash = node_hash(beside, &hash);
            (first, last) = up_to_right_child(first, last);
        } else {
            hash = node_hash(&hash, beside);
        }
        (first, last) = (first >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether the tree of `old` entries is the beginning of the tree of `new` entries.
#[must_use]
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == root_over(&[]);
    }
    // A tree that is perfect is its own first node, and is left out of the proof.
    let (start, rest) = match proof.split_first() {
        Some(_) if old.is_power_of_two() => (old_root, proof),
        Some((start, rest)) => (start, rest),
        None => return false,
    };
    if old > new {
        return false;
    }
    let ones = (old - 1).trailing_ones();
    let (mut first, mut last) = ((old - 1) >> ones, (new - 1) >> ones);
    let (mut old_hash, mut new_hash) = (*start, *start);
    for beside in rest {
        if last == 0 {
            return false;
        }
        if first & 1 == 1 || first == last {
            old_hash = node_hash(beside, &old_hash);
            new_hash = node_hash(beside, &new_hash);
            (first, last) = up_to_right_child(first, last);
        } else {
            new_hash = node_hash(&new_hash, beside);
        }
        (first, last) = (first >> 1, last >> 1);
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// Past the levels on which the node has no sibling.
const fn up_to_right_child(mut first: u64, mut last: u64) -> (u64, u64) {
    while first & 1 == 0 && first != 0 {
        (first, last) = (first >> 1, last >> 1);
    }
    (first, last)
}

/// Where the hashes of a tree are.
pub trait TileSource {
    /// The first `width` hashes of a tile.
    ///
    /// # Errors
    /// It cannot be read, or has fewer.
    fn hashes(&self, tile: TileId, width: usize) -> Result<Vec<Hash>, Error>;
}

/// The root of the first `size` entries.
///
/// # Errors
/// A tile cannot be read.
pub fn root(tiles: &dyn TileSource, size: u64) -> Result<Hash, Error> {
    if size == 0 { Ok(root_over(&[])) } else { subtree(tiles, 0, size) }
}

/// The path from entry `index` to the root of the first `size` entries, from the leaf's sibling up. Nothing is proven for
/// an entry that is not among them.
///
/// # Errors
/// A tile cannot be read.
pub fn inclusion(tiles: &dyn TileSource, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + power_below(high - low);
        if index < middle {
            path.push(subtree(tiles, middle, high)?);
            high = middle;
        } else {
            path.push(subtree(tiles, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of the first `old` entries is the beginning of that of the first `new`. It is empty where
/// nothing needs one: from the empty tree, and for a tree and itself.
///
/// # Errors
/// A tile cannot be read.
pub fn consistency(tiles: &dyn TileSource, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut low, mut high) = (0, new);
    while old != high {
        let middle = low + power_below(high - low);
        if old <= middle {
            proof.push(subtree(tiles, middle, high)?);
            high = middle;
        } else {
            proof.push(subtree(tiles, low, middle)?);
            low = middle;
        }
    }
    // What starts at 0 is the old tree, whose root the verifier has.
    if low > 0 {
        proof.push(subtree(tiles, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below `len`, which is 2 at least.
const fn power_below(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

/// The hash over the entries from `low` to before `high`, as RFC 6962 (section 2.1) defines it. `low` is a multiple of
/// the power of two that `high - low` reaches, as it is wherever the definition divides a tree.
fn subtree(tiles: &dyn TileSource, low: u64, high: u64) -> Result<Hash, Error> {
    let len = high - low;
    if len.is_power_of_two() {
        return node(tiles, len.ilog2(), low / len);
    }
    let middle = low + power_below(len);
    Ok(node_hash(&subtree(tiles, low, middle)?, &subtree(tiles, middle, high)?))
}

/// The root of the perfect subtree number `index` among those of `height` levels.
fn node(tiles: &dyn TileSource, height: u32, index: u64) -> Result<Hash, Error> {
    // A node between two levels of tiles is the root over an aligned part of one tile.
    let span = 1_usize << (height % TILE_HEIGHT);
    let (per_tile, width) = (as_u64(TILE_WIDTH / span), as_u64(span));
    let tile = TileId { level: height / TILE_HEIGHT, index: index / per_tile };
    let start = usize::try_from(index % per_tile * width).unwrap_or(0);
    let hashes = tiles.hashes(tile, start + span)?;
    hashes
        .get(start..start + span)
        .map(root_over)
        .ok_or_else(|| short(&tile.path(Path::new("")), start + span, hashes.len()))
}

fn as_u64(small: usize) -> u64 {
    u64::try_from(small).unwrap_or(u64::MAX)
}

fn short(path: &Path, expected: usize, found: usize) -> Error {
    Error::different(Place::file(path), format!("a tile of {expected} hashes"), format!("{found} hashes"))
}

/// The tiles of a log on a disk. It may be read beside the process that writes them.
#[derive(Debug)]
pub struct DiskTiles<'a> {
    disk: &'a dyn Disk,
    log: PathBuf,
    size: u64,
    /// Those that were read last, the newest first.
    kept: RefCell<VecDeque<(TileId, Vec<Hash>)>>,
}

impl<'a> DiskTiles<'a> {
    /// The tiles of the log at `dir` whose newest checkpoint has `size` entries.
    #[must_use]
    pub fn new(disk: &'a dyn Disk, dir: &Path, size: u64) -> Self {
        Self { disk, log: checkpoint::log_dir(dir), size, kept: RefCell::default() }
    }
}

impl TileSource for DiskTiles<'_> {
    fn hashes(&self, tile: TileId, width: usize) -> Result<Vec<Hash>, Error> {
        let stored = tile.width_at(self.size);
        if width > stored {
            return Err(short(&tile.path(&self.log), width, stored));
        }
        let mut kept = self.kept.borrow_mut();
        if let Some((_, hashes)) = kept.iter().find(|(id, _)| *id == tile) {
            return Ok(hashes[..width].to_vec());
        }
        let hashes = tiles::read(self.disk, &self.log, tile, stored, self.size)?;
        let first = hashes[..width].to_vec();
        kept.truncate(TILES_KEPT_MAX - 1);
        kept.push_front((tile, hashes));
        Ok(first)
    }
}

/// The tree under a checkpoint, read from the log's tiles. Each answer was verified against the checkpoint's root.
#[derive(Debug)]
pub struct SignedTree<'a> {
    tiles: DiskTiles<'a>,
    dir: PathBuf,
    head: Checkpoint,
}

impl<'a> SignedTree<'a> {
    /// The tree under `head`, which must be the newest checkpoint of the log at `dir`, as it is now or was just before.
    #[must_use]
    pub fn new(disk: &'a dyn Disk, dir: &Path, head: Checkpoint) -> Self {
        Self { tiles: DiskTiles::new(disk, dir, head.size), dir: dir.to_owned(), head }
    }

    /// The tree under the newest checkpoint of the log at `dir`, whose signature is not checked; `None` before there is one.
    ///
    /// # Errors
    /// The checkpoint cannot be read.
    pub fn open(disk: &'a dyn Disk, dir: &Path) -> Result<Option<Self>, Error> {
        Ok(Checkpoint::load_on(disk, dir, None)?.map(|head| Self::new(disk, dir, head)))
    }

    /// The checkpoint.
    #[must_use]
    pub const fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// The root of the first `size` entries.
    ///
    /// # Errors
    /// There are not so many, or a tile cannot be read or does not give the root that is signed.
    pub fn root(&self, size: u64) -> Result<Hash, Error> {
        self.demand(size <= self.head.size, size)?;
        let root = root(&self.tiles, size)?;
        let proof = consistency(&self.tiles, size, self.head.size)?;
        let holds = verify_consistency(size, &root, self.head.size, &self.head.root, &proof);
        if holds { Ok(root) } else { Err(self.damaged()) }
    }

    /// The hash of entry `index`, and the path from it to the root of the first `size` entries.
    ///
    /// # Errors
    /// There are not so many entries, or the tiles do not check.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<(Hash, Vec<Hash>), Error> {
        self.demand(index < size && size <= self.head.size, size.max(index.saturating_add(1)))?;
        let root = self.root(size)?;
        let leaf = node(&self.tiles, 0, index)?;
        let path = inclusion(&self.tiles, index, size)?;
        if verify_inclusion(&leaf, index, size, &path, &root) { Ok((leaf, path)) } else { Err(self.damaged()) }
    }

    /// The proof that the tree of the first `old` entries is the beginning of that of the first `new`.
    ///
    /// # Errors
    /// There are not so many entries, or the tiles do not check.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        self.demand(old <= new, old)?;
        let (old_root, new_root) = (self.root(old)?, self.root(new)?);
        let proof = consistency(&self.tiles, old, new)?;
        if verify_consistency(old, &old_root, new, &new_root, &proof) { Ok(proof) } else { Err(self.damaged()) }
    }

    fn demand(&self, is_met: bool, size: u64) -> Result<(), Error> {
        if is_met {
            return Ok(());
        }
        let place = Place::file(&checkpoint::path(&self.dir));
        Err(Error::different(place, format!("{size} entries"), format!("{} entries", self.head.size)))
    }

    fn damaged(&self) -> Error {
        let place = Place::file(&checkpoint::log_dir(&self.dir).join("tile"));
        let expected = format!("tiles that give the root {} of {} entries", hex(&self.head.root), self.head.size);
        Error::different(place, expected, "others; the command verify names the first")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Edge, FullTile, leaf_hash};
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// The tiles of a tree in memory, which counts nothing and keeps all.
    struct MemoryTiles(HashMap<(u32, u64), Vec<Hash>>);

    impl MemoryTiles {
        fn of(leaves: &[Hash]) -> Self {
            let (mut edge, mut full) = (Edge::default(), Vec::new());
            leaves.iter().for_each(|leaf| edge.push(*leaf, &mut full));
            let full = full.into_iter().map(|FullTile { id, hashes }| ((id.level, id.index), hashes));
            let partial = edge.partials().map(|(id, hashes)| ((id.level, id.index), hashes.to_vec()));
            Self(full.chain(partial.collect::<Vec<_>>()).collect())
        }
    }

    impl TileSource for MemoryTiles {
        fn hashes(&self, tile: TileId, width: usize) -> Result<Vec<Hash>, Error> {
            Ok(self.0[&(tile.level, tile.index)][..width].to_vec())
        }
    }

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|index| leaf_hash(&index.to_le_bytes())).collect()
    }

    /// RFC 6962, section 2.1, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => root_over(&[]),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    /// RFC 6962, section 2.1.1.
    fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut path, beside) = if m < k { (path(m, left), mth(right)) } else { (path(m - k, right), mth(left)) };
        path.push(beside);
        path
    }

    /// RFC 6962, section 2.1.2.
    fn subproof(m: usize, leaves: &[Hash], is_whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if is_whole { Vec::new() } else { vec![mth(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut proof, beside) =
            if m <= k { (subproof(m, left, is_whole), mth(right)) } else { (subproof(m - k, right, false), mth(left)) };
        proof.push(beside);
        proof
    }

    fn size(count: usize) -> u64 {
        u64::try_from(count).unwrap()
    }

    #[test]
    fn every_proof_of_a_small_tree_is_that_of_the_definition_and_holds() {
        let leaves = leaves(300);
        let tiles = MemoryTiles::of(&leaves);
        // Every pair below 50; around a tile's border and far beyond it, one in five.
        for n in (0..50).chain([255, 256, 257, 300]) {
            let new = mth(&leaves[..n]);
            assert_eq!(root(&tiles, size(n)).unwrap(), new);
            for m in (0..n).step_by(if n < 50 { 1 } else { 5 }) {
                let found = inclusion(&tiles, size(m), size(n)).unwrap();
                assert_eq!(found, path(m, &leaves[..n]), "entry {m} of {n}");
                assert!(verify_inclusion(&leaves[m], size(m), size(n), &found, &new));
                let found = consistency(&tiles, size(m), size(n)).unwrap();
                assert_eq!(found, if m == 0 { Vec::new() } else { subproof(m, &leaves[..n], true) }, "{m} in {n}");
                assert!(verify_consistency(size(m), &mth(&leaves[..m]), size(n), &new, &found), "{m} in {n}");
            }
        }
    }

    #[test]
    fn proofs_cross_the_borders_of_tiles_on_three_levels() {
        let leaves = leaves(65_536 + 300);
        let tiles = MemoryTiles::of(&leaves);
        let at = [1, 255, 256, 257, 511, 65_279, 65_280, 65_535, 65_536, 65_537, 65_536 + 256, 65_536 + 300];
        let roots: HashMap<usize, Hash> = at.iter().map(|n| (*n, mth(&leaves[..*n]))).collect();
        for n in at {
            for m in at.into_iter().filter(|m| *m <= n) {
                let found = inclusion(&tiles, size(m - 1), size(n)).unwrap();
                assert!(verify_inclusion(&leaves[m - 1], size(m - 1), size(n), &found, &roots[&n]), "{m} of {n}");
                let found = consistency(&tiles, size(m), size(n)).unwrap();
                assert!(verify_consistency(size(m), &roots[&m], size(n), &roots[&n], &found), "{m} in {n}");
            }
        }
    }

    /// The proof with one bit changed, a hash less, a hash more, two hashes exchanged.
    fn spoilt(proof: &[Hash]) -> Vec<Vec<Hash>> {
        let mut spoilt = vec![[proof, &[[7; 32]]].concat(), [&[[7; 32]], proof].concat()];
        for at in 0..proof.len() {
            let mut flipped = proof.to_vec();
            flipped[at][at % 32] ^= 1 << (at % 8);
            spoilt.push(flipped);
            spoilt.push([&proof[..at], &proof[at + 1..]].concat());
            if at > 0 && proof[at] != proof[at - 1] {
                let mut swapped = proof.to_vec();
                swapped.swap(at, at - 1);
                spoilt.push(swapped);
            }
        }
        spoilt
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_proof_holds_for_anything_else(n in 2_usize..600, of in any::<prop::sample::Index>()) {
            let (leaves, m) = (leaves(n + 1), of.index(n - 1) + 1);
            let tiles = MemoryTiles::of(&leaves);
            let (old, new) = (mth(&leaves[..m]), mth(&leaves[..n]));
            let (m, n) = (size(m), size(n));

            let found = inclusion(&tiles, m, n).unwrap();
            let leaf = leaf_hash(&usize::try_from(m).unwrap().to_le_bytes());
            prop_assert_eq!(verify_inclusion(&leaf, m, n, &found, &new), m < n);
            for wrong in spoilt(&found) {
                prop_assert!(!verify_inclusion(&leaf, m, n, &wrong, &new));
            }
            prop_assert!(!verify_inclusion(&leaf, m - 1, n, &found, &new));
            prop_assert!(!verify_inclusion(&leaf, m, n, &found, &old));
            prop_assert!(!verify_inclusion(&new, m, n, &found, &new));

            let found = consistency(&tiles, m, n).unwrap();
            prop_assert!(verify_consistency(m, &old, n, &new, &found));
            for wrong in spoilt(&found) {
                prop_assert!(!verify_consistency(m, &old, n, &new, &wrong));
            }
            prop_assert!(!verify_consistency(m, &[3; 32], n, &new, &found));
            prop_assert!(!verify_consistency(m, &old, n, &[3; 32], &found));
            prop_assert!(!verify_consistency(n, &new, m, &old, &found) || m == n);
        }
    }

    #[test]
    fn nothing_is_proven_about_the_empty_tree_but_that_it_is_empty() {
        let (empty, one) = (root_over(&[]), [1; 32]);
        assert!(verify_consistency(0, &empty, 5, &one, &[]));
        assert!(!verify_consistency(0, &one, 5, &one, &[]));
        assert!(!verify_consistency(0, &empty, 5, &one, &[one]));
        assert!(!verify_consistency(3, &one, 5, &one, &[]));
        assert!(!verify_inclusion(&one, 0, 0, &[], &one));
        assert!(verify_inclusion(&one, 0, 1, &[], &one));
        // The root of two entries is not itself one of them.
        assert!(!verify_inclusion(&one, 0, 2, &[], &one));
    }
}
