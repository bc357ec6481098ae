//! The tree that the entries give, compared with the tiles and the checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::RealDisk;
use crate::error::{Error, Place};
use crate::proof::{self, DiskTiles};
use crate::segments::{bytes, hex};
use crate::tiles;
use crate::tree::{Edge, HASH_BYTES, Hash, TILE_WIDTH, TileId, full_tiles, partial_tiles};
use crate::verify::{Kept, Point, Start};

/// Two hashes that should be one.
struct Disagreement {
    /// The entry whose hash it is; `None` above level 0.
    entry: Option<Place>,
    tile: Place,
    computed: Hash,
    in_tile: Hash,
}

impl Disagreement {
    /// If it was the tile that was changed.
    fn of_tile(self) -> Error {
        let found = format!("hash {}", hex(&self.in_tile));
        Error::different(self.tile, format!("hash {}", hex(&self.computed)), found)
    }

    /// If it was the entry.
    fn of_entry(self) -> Error {
        let Some(place) = self.entry else { return self.of_tile() };
        let expected = format!("the entry with hash {} ({})", hex(&self.in_tile), self.tile);
        Error::different(place, expected, format!("an entry with hash {}", hex(&self.computed)))
    }
}

pub(super) struct TreeCheck {
    dir: PathBuf,
    log: PathBuf,
    checkpoint: Option<Checkpoint>,
    edge: Edge,
    /// The tile of the current entry, as stored.
    leaves: Vec<Hash>,
    /// The first one.
    disagreement: Option<Disagreement>,
    /// Checkpoints from elsewhere that the tree has not reached yet, the smallest last.
    kept: Vec<Kept>,
}

impl TreeCheck {
    /// That the tiles have the root that was recorded where entries were pruned is known.
    pub(super) fn new(dir: &Path, checkpoint: Option<Checkpoint>, start: Start<'_>) -> Result<Self, Error> {
        let (dir, log) = (dir.to_owned(), checkpoint::log_dir(dir));
        let (edge, leaves, kept) = (Edge::default(), Vec::new(), Vec::new());
        let mut check = Self { dir, log, checkpoint, edge, leaves, disagreement: None, kept };
        match start.point {
            Some(point) => check.go_on_from(point)?,
            None if start.minimum > 0 => {
                check.edge = tiles::load_edge(&RealDisk, &check.log, start.minimum, check.size())?;
            }
            None => {}
        }
        check.check_root_at_its_size()?;
        Ok(check)
    }

    /// The tree that was verified up to there must be the one that the tiles still give.
    fn go_on_from(&mut self, point: &Point) -> Result<(), Error> {
        let size = self.size();
        if point.index > size {
            return Err(self.too_short(&checkpoint::path(&self.dir), point.index));
        }
        let edge = tiles::load_edge(&RealDisk, &self.log, point.index, size)?;
        let origin = self.checkpoint.as_ref().map_or("", |checkpoint| &checkpoint.origin);
        if !point.is_of(origin, &edge.root()) {
            let expected =
                format!("the tree verified before: {} {}, root {}", point.origin, point.index, hex(&point.root));
            let found = format!("{origin}, root {}", hex(&edge.root()));
            return Err(Error::different(Place::file(&self.log.join("tile")), expected, found));
        }
        self.edge = edge;
        Ok(())
    }

    /// The checkpoint is older than something that is known of this log.
    fn too_short(&self, file: &Path, entries: u64) -> Error {
        let found = format!("a checkpoint of {}: the log was cut or rolled back, or this is another one", self.size());
        Error::different(Place::file(file), format!("a checkpoint of {entries} entries at least"), found)
    }

    /// Checkpoints that the tree must agree with.
    pub(super) fn keep(&mut self, kept: &[Kept]) -> Result<(), Error> {
        let origin = self.checkpoint.as_ref().map_or_else(String::new, |checkpoint| checkpoint.origin.clone());
        for kept in kept {
            if kept.checkpoint.origin != origin {
                let found = kept.checkpoint.origin.clone();
                return Err(Error::different(Place::file(&kept.from), format!("a checkpoint of {origin}"), found));
            }
            if kept.checkpoint.size > self.size() {
                return Err(self.too_short(&kept.from, kept.checkpoint.size));
            }
            if kept.checkpoint.size < self.edge.size() {
                self.prove_kept(kept)?;
            }
        }
        self.kept = kept.iter().filter(|kept| kept.checkpoint.size >= self.edge.size()).cloned().collect();
        self.kept.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.checkpoint.size));
        self.check_kept()
    }

    /// One whose entries are not looked at any more: the tiles prove that its tree is the beginning of this one.
    fn prove_kept(&self, kept: &Kept) -> Result<(), Error> {
        let Some(head) = &self.checkpoint else { return Ok(()) };
        let old = &kept.checkpoint;
        let hashes = proof::consistency(&DiskTiles::new(&RealDisk, &self.dir, head.size), old.size, head.size)?;
        if proof::verify_consistency(old.size, &old.root, head.size, &head.root, &hashes) {
            return Ok(());
        }
        let expected = format!("a checkpoint that the tree of {} entries contains", head.size);
        Err(Error::different(Place::file(&kept.from), expected, two_histories(old)))
    }

    /// Those of the tree's size.
    fn check_kept(&mut self) -> Result<(), Error> {
        while let Some(kept) = self.kept.pop_if(|kept| kept.checkpoint.size == self.edge.size()) {
            if agree(&kept, &self.edge).is_err() {
                // An entry that was changed names its own place.
                return self
                    .disagreement
                    .take()
                    .map_or_else(|| agree(&kept, &self.edge), |other| Err(other.of_entry()));
            }
        }
        Ok(())
    }

    /// The origin and the root, if the tree has that size and no entry differs so far.
    pub(super) fn root_at(&self, size: u64) -> Option<(String, Hash)> {
        let checkpoint = self.checkpoint.as_ref()?;
        let is_right = self.edge.size() == size && self.disagreement.is_none();
        is_right.then(|| (checkpoint.origin.clone(), self.edge.root()))
    }

    pub(super) fn into_checkpoint(self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// How many tiles the checkpoint needs.
    pub(super) fn tiles(&self) -> u64 {
        full_tiles(self.size()) + bytes(partial_tiles(self.size()).count())
    }

    /// The first entry that differs from its tile, if the root was not reached.
    pub(super) fn take_other_entry(&mut self) -> Option<Error> {
        self.disagreement.take().map(Disagreement::of_entry)
    }

    fn size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size)
    }

    /// Takes the hash of the next entry, which the checkpoint covers.
    pub(super) fn push(&mut self, leaf: Hash, place: &Place) -> Result<(), Error> {
        let index = self.edge.size();
        let at = usize::try_from(index % bytes(TILE_WIDTH)).unwrap_or(0);
        let tile = TileId { level: 0, index: index / bytes(TILE_WIDTH) };
        if at == 0 || self.leaves.is_empty() {
            self.leaves = self.stored(tile)?;
        }
        if let Some(in_tile) = self.leaves.get(at).filter(|in_tile| **in_tile != leaf) {
            let tile = place_in(self.stored_path(tile), at);
            let other = Disagreement { entry: Some(place.clone()), tile, computed: leaf, in_tile: *in_tile };
            self.disagreement.get_or_insert(other);
        }
        let mut full = Vec::new();
        self.edge.push(leaf, &mut full);
        for tile in full {
            if tile.id.level > 0 {
                let stored = self.stored(tile.id)?;
                self.compare(self.stored_path(tile.id), &tile.hashes, &stored);
            }
            self.check_partials(tile.id, &tile.hashes)?;
        }
        self.check_kept()?;
        self.check_root_at_its_size()
    }

    /// When the tree has the checkpoint's size: its partial tiles and its root.
    fn check_root_at_its_size(&mut self) -> Result<(), Error> {
        let Some(checkpoint) = self.checkpoint.clone().filter(|checkpoint| checkpoint.size == self.edge.size()) else {
            return Ok(());
        };
        let partials: Vec<_> = self.edge.partials().map(|(tile, hashes)| (tile, hashes.to_vec())).collect();
        for (tile, hashes) in partials {
            let stored = self.stored(tile)?;
            self.compare(self.stored_path(tile), &hashes, &stored);
            self.check_partials(tile, &hashes)?;
        }
        let root = checkpoint.check_root(&self.dir, &self.edge.root());
        match self.disagreement.take() {
            Some(other) if root.is_ok() => Err(other.of_tile()),
            Some(other) => Err(other.of_entry()),
            None => root,
        }
    }

    /// A tile that the checkpoint needs.
    fn stored(&self, tile: TileId) -> Result<Vec<Hash>, Error> {
        let width = tile.width_at(self.size());
        tiles::read(&RealDisk, &self.log, tile, width, self.size()).map_err(|error| {
            if !error.is_not_found() {
                return error;
            }
            Error::different(Place::file(&self.stored_path(tile)), format!("a tile of {width} hashes"), "no file")
        })
    }

    fn stored_path(&self, tile: TileId) -> PathBuf {
        tile.path_at_width(&self.log, tile.width_at(self.size()))
    }

    /// The versions of a tile with fewer hashes, as far as they were not removed. Wider ones belong to no checkpoint
    /// yet.
    fn check_partials(&mut self, tile: TileId, hashes: &[Hash]) -> Result<(), Error> {
        let dir = tile.partial_dir(&self.log);
        let files = match fs::read_dir(&dir) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(&dir)(error)),
        };
        for file in files {
            let path = file.map_err(Error::io(&dir))?.path();
            let width = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let Some(width) = width.filter(|width| (1..=hashes.len()).contains(width)) else { continue };
            match tiles::read_file(&RealDisk, &path, width) {
                Ok(stored) => self.compare(path, &hashes[..width], &stored),
                // It gave way to the full tile just now.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn compare(&mut self, path: PathBuf, computed: &[Hash], stored: &[Hash]) {
        let Some(at) = computed.iter().zip(stored).position(|(computed, stored)| computed != stored) else { return };
        let tile = place_in(path, at);
        let other = Disagreement { entry: None, tile, computed: computed[at], in_tile: stored[at] };
        self.disagreement.get_or_insert(other);
    }
}

fn agree(kept: &Kept, edge: &Edge) -> Result<(), Error> {
    let Kept { from, checkpoint } = kept;
    if checkpoint.root == edge.root() {
        return Ok(());
    }
    let expected = format!("root {} of the first {} entries", hex(&edge.root()), edge.size());
    Err(Error::different(Place::file(from), expected, two_histories(checkpoint)))
}

fn two_histories(kept: &Checkpoint) -> String {
    format!("root {} of {}: this log and that checkpoint are two histories", hex(&kept.root), kept.size)
}

fn place_in(file: PathBuf, at: usize) -> Place {
    Place { file, offset: bytes(at * HASH_BYTES), entry: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::TileWriter;
    use crate::tree::leaf_hash;

    fn check(dir: &Path, checkpoint: &Checkpoint) -> Result<u64, Error> {
        let start = Start { minimum: 0, point: None };
        let mut check = TreeCheck::new(dir, Some(checkpoint.clone()), start)?;
        for index in 0..checkpoint.size {
            let place = Place { file: PathBuf::from("segment"), offset: 0, entry: Some(index) };
            check.push(leaf_hash(&index.to_le_bytes()), &place)?;
        }
        Ok(check.tiles())
    }

    #[test]
    fn full_tiles_above_the_entries_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let log = checkpoint::log_dir(dir.path());
        let (mut edge, mut full) = (Edge::default(), Vec::new());
        for index in 0..65_537_u64 {
            edge.push(leaf_hash(&index.to_le_bytes()), &mut full);
        }
        let mut writer = TileWriter::new(&RealDisk, &log);
        full.iter().try_for_each(|tile| writer.prepare(tile.id, &tile.hashes)).unwrap();
        edge.partials().try_for_each(|(tile, hashes)| writer.prepare(tile, hashes)).unwrap();
        writer.publish().unwrap();
        let checkpoint = Checkpoint { origin: "test".to_owned(), size: edge.size(), root: edge.root() };
        assert_eq!(check(dir.path(), &checkpoint).unwrap(), 256 + 1 + 2);

        let path = log.join("tile/1/000");
        let mut tile = fs::read(&path).unwrap();
        tile[100] ^= 1;
        fs::write(&path, tile).unwrap();
        let error = check(dir.path(), &checkpoint).unwrap_err();
        let place = &error.difference().unwrap().place;
        assert_eq!((&place.file, place.offset), (&path, 96));
    }
}
