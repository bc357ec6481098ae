//! Deriving from durable entries what is published: tiles, checkpoint, views.
//!
//! A step takes a bounded number of entries. Its tiles are durable before the checkpoint that needs them; its views are
//! durable before they are counted. After a restart the tree goes on from the tiles at its right edge. Where these are
//! missing or do not give the root that was signed, the tree is grown again from the entries, and must reach that root.
//! Deleting `log/tile` is thus how tiles are rebuilt, as long as nothing was pruned: then the tiles at the minimum must be
//! there. The tree does not wait for views that start over.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::{self, Checkpoint};
use crate::disk::{self, Disk};
use crate::durable::Durable;
use crate::error::{Error, Place};
use crate::files;
use crate::handover::Signer;
use crate::index::{self, IndexWriter};
use crate::keys::LogKey;
use crate::pruned::{self, Pruned};
use crate::reader::Reader;
use crate::segments::{Cursor, hex};
use crate::tiles::{self, TileWriter};
use crate::tree::{Edge, FullTile, TileId, leaf_hash, partial_tiles};
use crate::views::Views;

/// How the views look and how long a step may take.
#[derive(Clone, Copy, Debug)]
pub struct DeriveOptions {
    /// What stands in the last column of the views.
    pub retention_days: u32,
    /// Entries that one [`Deriver::advance`] takes at the most.
    pub entries_per_step: u64,
}

/// How far the derivation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries that are in the checkpoint and in the views.
    pub derived: u64,
    /// Entries that could be.
    pub durable: u64,
}

impl Progress {
    /// Whether there is nothing left to do.
    #[must_use]
    pub const fn caught_up(self) -> bool {
        self.derived >= self.durable
    }
}

/// Derives tiles, checkpoint and views of one log.
pub struct Deriver {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    key: LogKey,
    entries_per_step: u64,
    edge: Edge,
    signed: Checkpoint,
    /// Whether the tiles up to the signed size are being written again.
    rebuilding: bool,
    views: Views,
    index: IndexWriter,
    /// Segments whose index is to be written again.
    unindexed: Vec<u64>,
    /// Where the tree is in the log.
    cursor: Option<Cursor>,
    /// Where the views are that are behind it.
    views_cursor: Option<Cursor>,
    failed: bool,
}

impl Deriver {
    /// Goes on from what is there for the log at `dir`. Without a checkpoint it signs that of the empty log, so call it
    /// before the first entry is appended.
    ///
    /// # Errors
    /// A file cannot be read or written, or the checkpoint is not by `key`.
    pub fn open(dir: &Path, key: LogKey, options: DeriveOptions) -> Result<Self, Error> {
        Self::open_on(disk::real(), dir, key, options)
    }

    /// As [`Self::open`], on `disk`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, key: LogKey, options: DeriveOptions) -> Result<Self, Error> {
        let log = checkpoint::log_dir(dir);
        files::create_dirs(disk.as_ref(), &log)?;
        let minimum = pruned::minimum(disk.as_ref(), dir)?;
        let views = Views::open(&disk, dir, options.retention_days, minimum)?;
        let signed = match Checkpoint::load_signed(disk.as_ref(), dir, key.verifier())? {
            Some((checkpoint, Signer::Key)) => checkpoint,
            // The key before this one signed last.
            Some((checkpoint, _)) => {
                key.sign_checkpoint(disk.as_ref(), dir, &checkpoint)?;
                checkpoint
            }
            None => sign(disk.as_ref(), dir, &key, &Edge::default())?,
        };
        let edge = match tiles::load_edge(disk.as_ref(), &log, signed.size, signed.size) {
            Ok(edge) if edge.root() == signed.root => Some(edge),
            Ok(_) | Err(Error::Different(_)) => None,
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let rebuilding = edge.is_none();
        let edge = edge.map_or_else(|| first_edge(disk.as_ref(), dir, &signed), Ok)?;
        let index = IndexWriter::new(disk.clone(), dir);
        let unindexed = index::missing(disk.as_ref(), dir, edge.size())?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            key,
            entries_per_step: options.entries_per_step.max(1),
            rebuilding,
            edge,
            signed,
            views,
            index,
            unindexed,
            cursor: None,
            views_cursor: None,
            failed: false,
        })
    }

    /// The last checkpoint that was signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.signed
    }

    /// Takes the next entries before `durable_len`, at most [`DeriveOptions::entries_per_step`].
    ///
    /// # Errors
    /// A file cannot be read or written, or the entries do not check. After an error it must be opened again.
    pub fn advance(&mut self, durable_len: u64) -> Result<Progress, Error> {
        if self.failed {
            let source = io::Error::other("deriving has failed before: it must be opened again");
            return Err(Error::Io { path: self.dir.clone(), source });
        }
        self.step(durable_len).inspect_err(|_| self.failed = true)?;
        Ok(Progress { derived: self.derived(), durable: durable_len })
    }

    /// Derives until `durable` is stopped, then what is left, and returns. Rests for `pace` after each round, so that a
    /// checkpoint covers what came meanwhile. Tells `signed` each step's checkpoint.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn run(&mut self, durable: &Durable, pace: Duration, signed: &mut dyn FnMut(&Checkpoint)) -> Result<(), Error> {
        yield_to_others();
        loop {
            let state = durable.wait_beyond(self.derived());
            loop {
                let progress = self.advance(state.len)?;
                signed(&self.signed);
                if progress.caught_up() {
                    break;
                }
            }
            if state.stopped {
                return Ok(());
            }
            durable.pause(pace);
        }
    }

    fn derived(&self) -> u64 {
        self.edge.size().min(self.views.entries())
    }

    fn step(&mut self, durable_len: u64) -> Result<(), Error> {
        let minimum = pruned::minimum(self.disk.as_ref(), &self.dir)?;
        if self.views.entries() > durable_len || self.views.first() < minimum {
            self.views.start_over(minimum)?;
            // It may stand behind the last entry of a segment that was pruned.
            self.views_cursor = None;
        }
        // The tree does not wait for views that are being written anew.
        let are_views_behind = !self.rebuilding && self.views.entries() < self.edge.size();
        let from = if are_views_behind { self.edge.size() } else { self.derived() };
        let mut to = durable_len.min(from.saturating_add(self.entries_per_step));
        if self.rebuilding {
            // Stops where the root is known.
            to = to.min(self.signed.size.max(self.edge.size()));
        }
        let had_rows = self.views.entries();
        let full = self.read(from, to)?;
        self.publish(&full)?;
        if are_views_behind {
            self.fill_views()?;
        }
        if self.views.entries() > had_rows {
            self.views.save()?;
        }
        self.index_again()
    }

    /// Grows the tree by the entries of a range, and the views where they are next; returns the tiles that became full.
    fn read(&mut self, from: u64, to: u64) -> Result<Vec<FullTile>, Error> {
        let mut reader = self.reader(self.cursor, from, to)?;
        let mut full = Vec::new();
        while let Some(record) = reader.next_record()? {
            self.index.note(record.segment, record.index, record.offset)?;
            if record.index >= self.edge.size() {
                self.edge.push(leaf_hash(record.bytes), &mut full);
            }
            if record.index == self.views.entries() {
                self.views.push(&record.event()?)?;
            }
        }
        self.index.flush()?;
        self.cursor = reader.cursor().or(self.cursor);
        Ok(full)
    }

    /// Adds to the views entries that the tree has already.
    fn fill_views(&mut self) -> Result<(), Error> {
        let from = self.views.entries();
        let to = self.edge.size().min(from.saturating_add(self.entries_per_step));
        let mut reader = self.reader(self.views_cursor, from, to)?;
        while let Some(record) = reader.next_record()? {
            self.views.push(&record.event()?)?;
        }
        self.views_cursor = reader.cursor().or(self.views_cursor);
        Ok(())
    }

    /// A reader of a range, which may start where an earlier one ended.
    fn reader(&self, ended: Option<Cursor>, from: u64, to: u64) -> Result<Reader, Error> {
        match ended.filter(|cursor| cursor.index == from) {
            Some(cursor) if from < to => Reader::resume_on(&self.disk, &self.dir, cursor, to),
            _ => Reader::open_on(&self.disk, &self.dir, from, to),
        }
    }

    /// Writes the index of a segment that lost it.
    fn index_again(&mut self) -> Result<(), Error> {
        let Some(segment) = self.unindexed.last().copied() else { return Ok(()) };
        self.index.end_segment()?;
        match index::rebuild(&self.disk, &self.dir, segment, u64::MAX) {
            // Pruned meanwhile, or damaged: the index is not what tells.
            Err(Error::Different(_)) => {}
            Err(error) if error.is_not_found() => {}
            rebuilt => rebuilt?,
        }
        self.unindexed.pop();
        Ok(())
    }

    /// Writes tiles, then the checkpoint that needs them, then removes partial tiles that full ones replace.
    fn publish(&mut self, full: &[FullTile]) -> Result<(), Error> {
        let size = self.edge.size();
        let (rebuilt, grown) = (self.rebuilding && size == self.signed.size, size > self.signed.size);
        if rebuilt {
            self.signed.check_root(&self.dir, &self.edge.root())?;
        }
        self.write_tiles(full, rebuilt, grown)?;
        if rebuilt {
            self.rebuilding = false;
        }
        if grown {
            self.signed = sign(self.disk.as_ref(), &self.dir, &self.key, &self.edge)?;
        }
        let log = checkpoint::log_dir(&self.dir);
        full.iter().try_for_each(|tile| remove_dir(self.disk.as_ref(), &tile.id.partial_dir(&log)))
    }

    fn write_tiles(&self, full: &[FullTile], rebuilt: bool, grown: bool) -> Result<(), Error> {
        let log = checkpoint::log_dir(&self.dir);
        let mut writer = TileWriter::new(self.disk.as_ref(), &log);
        for tile in full {
            writer.prepare(tile.id, &tile.hashes)?;
        }
        let there: Vec<(TileId, usize)> = partial_tiles(self.signed.size).collect();
        for (tile, hashes) in self.edge.partials() {
            if rebuilt {
                remove_dir(self.disk.as_ref(), &tile.partial_dir(&log))?;
            }
            if rebuilt || (grown && !there.contains(&(tile, hashes.len()))) {
                writer.prepare(tile, hashes)?;
            }
        }
        writer.publish()
    }
}

/// Gives this thread less of a busy machine: who waits for a decision goes first. Only Linux has priorities of threads;
/// there each may lower its own.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 5);
}

/// The edge from which the tree can be grown again: none, or that of what was pruned.
fn first_edge(disk: &dyn Disk, dir: &Path, signed: &Checkpoint) -> Result<Edge, Error> {
    let Some(pruned) = Pruned::load_on(disk, dir, &[])? else { return Ok(Edge::default()) };
    let edge = tiles::load_edge(disk, &checkpoint::log_dir(dir), pruned.minimum, signed.size)?;
    if edge.root() == pruned.root {
        return Ok(edge);
    }
    let (expected, found) = (hex(&pruned.root), hex(&edge.root()));
    Err(Error::different(
        Place::file(&pruned::path(dir)),
        format!("root {expected}"),
        format!("tiles with root {found}"),
    ))
}

fn sign(disk: &dyn Disk, dir: &Path, key: &LogKey, edge: &Edge) -> Result<Checkpoint, Error> {
    let origin = key.verifier().name().to_owned();
    let checkpoint = Checkpoint { origin, size: edge.size(), root: edge.root() };
    key.sign_checkpoint(disk, dir, &checkpoint)?;
    Ok(checkpoint)
}

fn remove_dir(disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
    match disk.remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(dir)(error)),
        _ => Ok(()),
    }
}
