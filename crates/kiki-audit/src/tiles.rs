//! Tiles on disk: written whole, read back, checked for their form.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, Place};
use crate::files::{self, Together};
use crate::tree::{Edge, HASH_BYTES, Hash, TILE_WIDTH, TileId, partial_tiles};

/// The first `width` hashes of a tile of a tree of `size` entries.
pub(crate) fn read(disk: &dyn Disk, log: &Path, tile: TileId, width: usize, size: u64) -> Result<Vec<Hash>, Error> {
    let stored = tile.width_at(size);
    match read_file(disk, &tile.path_at_width(log, stored), stored) {
        // The tree may have grown meanwhile: then the partial tile has given way to the full one.
        Err(error) if error.is_not_found() && stored < TILE_WIDTH => read_file(disk, &tile.path(log), TILE_WIDTH),
        read => read,
    }
    .map(|mut hashes| {
        hashes.truncate(width);
        hashes
    })
}

/// The `width` hashes of the tile at `path`.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path, width: usize) -> Result<Vec<Hash>, Error> {
    let bytes = files::read(disk, path, TILE_WIDTH * HASH_BYTES)?;
    if bytes.len() != width * HASH_BYTES {
        let expected = format!("{} bytes", width * HASH_BYTES);
        return Err(Error::different(Place::file(path), expected, format!("{} bytes", bytes.len())));
    }
    let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
    Ok(hashes.to_vec())
}

/// The right edge of the tree of the first `at` entries, from the tiles of the tree of `size` entries.
pub(crate) fn load_edge(disk: &dyn Disk, log: &Path, at: u64, size: u64) -> Result<Edge, Error> {
    let partials: Result<Vec<_>, Error> =
        partial_tiles(at).map(|(tile, width)| Ok((tile, read(disk, log, tile, width, size)?))).collect();
    Ok(Edge::of(at, partials?))
}

/// Puts tiles in place together: a reader sees each whole or not at all.
pub(crate) struct TileWriter<'a> {
    log: &'a Path,
    files: Together<'a>,
}

impl<'a> TileWriter<'a> {
    pub(crate) const fn new(disk: &'a dyn Disk, log: &'a Path) -> Self {
        Self { log, files: Together::new(disk, log) }
    }

    /// Writes a tile beside its place.
    pub(crate) fn prepare(&mut self, tile: TileId, hashes: &[Hash]) -> Result<(), Error> {
        self.files.prepare(tile.path_at_width(self.log, hashes.len()), hashes.as_flattened())
    }

    /// Makes all of them durable, then visible.
    pub(crate) fn publish(self) -> Result<(), Error> {
        self.files.publish()
    }
}
