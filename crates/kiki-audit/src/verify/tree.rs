//! The tree that the entries give, compared with the tiles and the checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, Checkpoint};
use crate::disk::RealDisk;
use crate::error::{Error, Place};
use crate::segments::{bytes, hex};
use crate::tiles;
use crate::tree::{Edge, HASH_BYTES, Hash, TILE_WIDTH, TileId, full_tiles, leaf_hash, partial_tiles};

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
}

impl TreeCheck {
    /// Of a log whose entries before `minimum` were pruned; that its tiles have the root that was recorded is known.
    pub(super) fn new(dir: &Path, checkpoint: Option<Checkpoint>, minimum: u64) -> Result<Self, Error> {
        let log = checkpoint::log_dir(dir);
        let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let edge = if minimum == 0 { Edge::default() } else { tiles::load_edge(&RealDisk, &log, minimum, size)? };
        let mut check = Self { dir: dir.to_owned(), log, checkpoint, edge, leaves: Vec::new(), disagreement: None };
        check.check_root_at_its_size()?;
        Ok(check)
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

    /// Takes the next entry, if the checkpoint covers it.
    pub(super) fn push(&mut self, entry: &[u8], place: &Place) -> Result<(), Error> {
        let index = self.edge.size();
        if index >= self.size() {
            return Ok(());
        }
        let at = usize::try_from(index % bytes(TILE_WIDTH)).unwrap_or(0);
        let tile = TileId { level: 0, index: index / bytes(TILE_WIDTH) };
        if at == 0 || self.leaves.is_empty() {
            self.leaves = self.stored(tile)?;
        }
        let leaf = leaf_hash(entry);
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

fn place_in(file: PathBuf, at: usize) -> Place {
    Place { file, offset: bytes(at * HASH_BYTES), entry: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::TileWriter;

    fn check(dir: &Path, checkpoint: &Checkpoint) -> Result<u64, Error> {
        let mut check = TreeCheck::new(dir, Some(checkpoint.clone()), 0)?;
        for index in 0..checkpoint.size {
            let place = Place { file: PathBuf::from("segment"), offset: 0, entry: Some(index) };
            check.push(&index.to_le_bytes(), &place)?;
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
