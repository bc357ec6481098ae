//! Shipping: copies of the log on a [`Shelf`], so that it outlives this machine and a rollback of it is noticed.
//!
//! | name | what | changes |
//! |---|---|---|
//! | `tile/<level>/…`, `tile/entries/…` | tiles and entry bundles (C2SP tlog-tiles) | never |
//! | `segments/<first index>.seg` | segments that are full | never |
//! | `daily/<year>/<day>.csv`, `.jsonl`, further parts `<day>.2.csv` | the rows of a day that is over | if retention does |
//! | `handover/<number>` | changes of the log's key | never |
//! | `log.vkeys`, `pruned`, `witnessed` | as beside the log | replaced |
//! | `checkpoint` | the head of the tree, last of all | replaced |
//!
//! Invariants:
//! - What the shelf's checkpoint covers is on the shelf: at any moment it is a whole static log.
//! - Nothing leaves that the log's checkpoint does not prove.
//! - A shelf whose checkpoint this log does not continue is left as it is: one of the two was rolled back or forked.
//!
//! To go on after an interruption nothing is needed but the shelf's own checkpoint. `shipped.json` remembers what that
//! does not say, and what pruning may count on.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiki_types::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::bundle;
use crate::checkpoint::{self, Checkpoint};
use crate::disk::Disk;
use crate::entry::Entry;
use crate::error::{Error, Place};
use crate::files;
use crate::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use crate::pruned;
use crate::reader::Reader;
use crate::rows::{Format, Row};
use crate::segments::{self, bytes, hex};
use crate::shelf::{OBJECT_BYTES_MAX, Shelf};
use crate::tiles;
use crate::tree::{Edge, Hash, TILE_WIDTH, TileId, leaf_hash, partial_tiles, root_over};

/// Objects that are put together.
const BATCH_OBJECTS: usize = 256;
/// Bytes after which they are put.
const BATCH_BYTES: usize = 32 << 20;
/// Bytes after which a day's rows go on in another part.
const PART_BYTES: usize = 32 << 20;
const MEMO_BYTES_MAX: usize = 1 << 20;
const DAY_MS: i64 = 24 * 3600 * 1000;
const TILE_LEVELS: u32 = 8;

/// When an entry was decided, in milliseconds since 1970; `None` if it does not say. It never runs backwards.
pub type TimeOf = fn(&Entry) -> Option<i64>;

/// What is shipped, and how.
#[derive(Clone, Debug)]
pub struct ShipOptions {
    /// All keys of the log, newest first: the shelf's checkpoint must be signed by one of them.
    pub keys: Vec<VerifierKey>,
    /// The shelf's place without any secret, for messages and to know it again.
    pub to: String,
    /// What stands in the last column of the daily rows.
    pub retention_days: u32,
    /// To which day an entry belongs.
    pub time_of: TimeOf,
}

/// What is on the shelf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    /// Which shelf.
    pub to: String,
    /// Entries that its checkpoint covers.
    pub size: u64,
    /// The root over them, in hexadecimal digits.
    pub root: String,
    /// The first entry whose segment is not there.
    pub segments_to: u64,
    /// The first entry whose day is not there.
    pub days_to: u64,
    /// Tiles and bundles there that are not full; removed when the full ones are.
    partials: BTreeSet<String>,
}

impl Shipped {
    /// Where it is remembered for the log at `dir`.
    fn path(dir: &Path) -> PathBuf {
        dir.join("shipped.json")
    }

    /// What was shipped of the log at `dir`; `None` if nothing was, or it is not known.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load_on(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, Error> {
        let read = files::read_if_there(disk, &Self::path(dir), MEMO_BYTES_MAX)?;
        Ok(read.and_then(|read| serde_json::from_slice(&read).ok()))
    }

    fn save(&self, disk: &dyn Disk, dir: &Path) -> Result<(), Error> {
        let path = Self::path(dir);
        let text = serde_json::to_vec(self).map_err(|error| Error::io(&path)(io::Error::other(error)))?;
        files::replace(disk, &path, &text)
    }

    /// Entries before this one are on the shelf in every form, in bundles that are full: they are not needed here.
    #[must_use]
    pub fn safe_to(&self) -> u64 {
        let bundled = self.size / bytes(TILE_WIDTH) * bytes(TILE_WIDTH);
        bundled.min(self.segments_to).min(self.days_to)
    }
}

/// Ships one log to one shelf. It may run beside the process that appends.
pub struct Shipper {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: ShipOptions,
    shelf: Box<dyn Shelf>,
}

impl Shipper {
    /// Of the log at `dir`.
    #[must_use]
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: ShipOptions, shelf: Box<dyn Shelf>) -> Self {
        Self { disk, dir: dir.to_owned(), options, shelf }
    }

    /// Ships what the log's checkpoint covers and the shelf does not have. Says what is there then.
    ///
    /// # Errors
    /// [`Error::Different`]: the log does not check, or the shelf has another history, or a newer one. [`Error::Io`]: a
    /// file or the shelf cannot be read or written; called again, it goes on.
    pub fn advance(&mut self) -> Result<Shipped, Error> {
        let path = checkpoint::path(&self.dir);
        let note = files::read(self.disk.as_ref(), &path, NOTE_BYTES_MAX)?;
        let signed = self.signed(&note, &path)?;
        let log = checkpoint::log_dir(&self.dir);
        let edge = tiles::load_edge(self.disk.as_ref(), &log, signed.size, signed.size)?;
        signed.check_root(&self.dir, &edge.root())?;
        let there = self.get("checkpoint")?;
        let remote = there.as_deref().map(|there| self.continued(there, &signed)).transpose()?;
        let mut shipped = self.remembered(remote.as_ref())?;
        let before = shipped.clone();

        let from = remote.map_or(0, |remote| remote.size);
        let mut proven = ProvenTiles::new(self.disk.as_ref(), &log, signed.size, &edge);
        if from < signed.size {
            self.put_tiles(&mut proven, from, &mut shipped.partials)?;
            self.put_bundles(&mut proven, from, &mut shipped.partials)?;
        }
        shipped.segments_to = self.put_segments(shipped.segments_to, signed.size)?;
        shipped.days_to = self.put_days(shipped.days_to, signed.size)?;
        self.put_notes()?;
        if there.is_none_or(|there| there != note) {
            self.put("checkpoint", &note)?;
        }
        (shipped.size, shipped.root) = (signed.size, hex(&signed.root));
        self.remove_replaced(&mut shipped)?;
        if shipped != before {
            shipped.save(self.disk.as_ref(), &self.dir)?;
        }
        Ok(shipped)
    }

    /// How far the log may be pruned because it is on the shelf, by what is remembered.
    ///
    /// # Errors
    /// What was shipped cannot be read.
    pub fn safe_to(&self) -> Result<u64, Error> {
        let memo = Shipped::load_on(self.disk.as_ref(), &self.dir)?;
        Ok(memo.filter(|memo| memo.to == self.options.to).map_or(0, |memo| memo.safe_to()))
    }

    /// Reads back from the shelf what is to be pruned here: the shelf's checkpoint, and each segment that ends by entry
    /// `to`. What is remembered does not say that nobody emptied the shelf since.
    ///
    /// # Errors
    /// [`Error::Different`]: the shelf does not have it, or other bytes. [`Error::Io`]: it cannot be read.
    pub fn confirm(&self, to: u64) -> Result<(), Error> {
        let path = checkpoint::path(&self.dir);
        let signed = self.signed(&files::read(self.disk.as_ref(), &path, NOTE_BYTES_MAX)?, &path)?;
        let lacks = |name: &str, expected: String, found: &str| {
            Err(Error::different(Place::file(&self.place(name)), expected, format!("{found}; nothing is pruned")))
        };
        match self.get("checkpoint")? {
            None => return lacks("checkpoint", format!("a checkpoint of at least {to} entries"), "nothing"),
            Some(there) if self.continued(&there, &signed)?.size < to => {
                return lacks("checkpoint", format!("a checkpoint of at least {to} entries"), "an older one");
            }
            Some(_) => {}
        }
        let segments = segments::list(self.disk.as_ref(), &self.dir)?;
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            if next.first > to {
                break;
            }
            let name = segment_name(&segment.path);
            let here = files::read(self.disk.as_ref(), &segment.path, OBJECT_BYTES_MAX)?;
            match self.get(&name)? {
                Some(there) if there == here => {}
                Some(_) => return lacks(&name, "the segment that is here".to_owned(), "other bytes"),
                None => return lacks(&name, "the segment that is here".to_owned(), "nothing"),
            }
        }
        Ok(())
    }

    /// A checkpoint of this log.
    fn signed(&self, note: &[u8], place: &Path) -> Result<Checkpoint, Error> {
        let wrong = |found: &str| Error::different(Place::file(place), "a checkpoint signed by this log", found);
        let note = std::str::from_utf8(note).map_err(|_| wrong("a file that is no text"))?;
        let note = Note::parse(note).map_err(|error| wrong(&format!("a file that {error}")))?;
        let checkpoint = Checkpoint::parse_own(note.text).ok_or_else(|| wrong("another note"))?;
        let signs = |key: &VerifierKey| key.name() == checkpoint.origin && note.check(key).is_ok();
        if self.options.keys.iter().any(signs) { Ok(checkpoint) } else { Err(wrong("no signature by a key of it")) }
    }

    /// The shelf's checkpoint, if this log continues it.
    fn continued(&self, there: &[u8], signed: &Checkpoint) -> Result<Checkpoint, Error> {
        let place = self.place("checkpoint");
        let remote = self.signed(there, &place)?;
        if remote.size > signed.size {
            let found = format!("{}: this log was rolled back, or is another", remote.size);
            return Err(Error::different(Place::file(&place), format!("at most {} entries", signed.size), found));
        }
        let log = checkpoint::log_dir(&self.dir);
        let ours = tiles::load_edge(self.disk.as_ref(), &log, remote.size, signed.size)?.root();
        if ours != remote.root {
            let (ours, theirs) = (hex(&ours), hex(&remote.root));
            let found = format!("{theirs}: two histories were signed");
            return Err(Error::different(
                Place::file(&place),
                format!("root {ours} of {} entries", remote.size),
                found,
            ));
        }
        Ok(remote)
    }

    /// What is known of the shelf beside its checkpoint.
    fn remembered(&self, remote: Option<&Checkpoint>) -> Result<Shipped, Error> {
        let memo = Shipped::load_on(self.disk.as_ref(), &self.dir)?;
        let is_of_it =
            |memo: &Shipped| memo.to == self.options.to && remote.is_some_and(|remote| memo.size <= remote.size);
        Ok(memo.filter(is_of_it).unwrap_or_else(|| Shipped { to: self.options.to.clone(), ..Shipped::default() }))
    }

    /// Tiles that are full since the tree had `from` entries, and those at its right edge.
    fn put_tiles(&self, proven: &mut ProvenTiles<'_>, from: u64, partials: &mut BTreeSet<String>) -> Result<(), Error> {
        let mut batch = Batch::new(self);
        for level in 0..TILE_LEVELS {
            let full = |size: u64| size.checked_shr(8 * (level + 1)).unwrap_or(0);
            for index in full(from)..full(proven.size) {
                let tile = TileId { level, index };
                batch.push(tile_name(tile, TILE_WIDTH), proven.full(tile)?.as_flattened().to_vec())?;
            }
        }
        for (tile, hashes) in proven.edge.partials() {
            let name = tile_name(tile, hashes.len());
            partials.insert(name.clone());
            batch.push(name, hashes.as_flattened().to_vec())?;
        }
        batch.flush()
    }

    /// The entries of the tiles of level 0 that are new, each compared with its hash.
    fn put_bundles(
        &self,
        proven: &mut ProvenTiles<'_>,
        from: u64,
        partials: &mut BTreeSet<String>,
    ) -> Result<(), Error> {
        let mut batch = Batch::new(self);
        let width = bytes(TILE_WIDTH);
        let minimum = pruned::minimum(self.disk.as_ref(), &self.dir)?;
        // A bundle whose entries are not all here any more cannot be made.
        let first = (from / width).max(minimum.div_ceil(width));
        let mut reader = Reader::open_on(&self.disk, &self.dir, first * width, proven.size)?;
        for n in first..proven.size.div_ceil(width) {
            let hashes = proven.tile(TileId { level: 0, index: n })?;
            let mut bundle = Vec::new();
            for hash in &hashes {
                let Some(record) = reader.next_record()? else { break };
                let found = leaf_hash(record.bytes);
                if found != *hash {
                    let expected = format!("the entry with hash {}", hex(hash));
                    return Err(Error::different(
                        record.place(),
                        expected,
                        format!("an entry with hash {}", hex(&found)),
                    ));
                }
                bundle::push(&mut bundle, record.bytes);
            }
            let name = bundle::name(n, hashes.len());
            if hashes.len() < TILE_WIDTH {
                partials.insert(name.clone());
            }
            batch.push(name, bundle)?;
        }
        batch.flush()
    }

    /// Segments from the one of entry `from` on that are full and covered. Returns where the next one starts.
    fn put_segments(&self, from: u64, covered: u64) -> Result<u64, Error> {
        let segments = segments::list(self.disk.as_ref(), &self.dir)?;
        let mut to = from;
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            if segment.first < from || next.first > covered {
                continue;
            }
            let read = files::read(self.disk.as_ref(), &segment.path, OBJECT_BYTES_MAX)?;
            self.put_once(segment_name(&segment.path), read)?;
            to = next.first;
        }
        Ok(to)
    }

    /// The rows of the days that are over, from entry `from` on. Returns the first entry of the day that is not.
    fn put_days(&self, from: u64, covered: u64) -> Result<u64, Error> {
        let minimum = pruned::minimum(self.disk.as_ref(), &self.dir)?;
        let Some(last) = covered.checked_sub(1).filter(|last| from.max(minimum) < *last) else { return Ok(from) };
        let start = from.max(minimum);
        // Of the day in which pruning has cut, the rest is no whole day.
        let mut days =
            Days { shipper: self, day: self.day_at(start)?, part: 1, parts: Default::default(), skips: start > from };
        if self.day_at(last)? <= days.day {
            return Ok(from);
        }
        let mut to = from;
        let mut reader = Reader::open_on(&self.disk, &self.dir, start, covered)?;
        while let Some(record) = reader.next_record()? {
            let index = record.index;
            let entry = record.entry()?;
            let day = self.day_of(&entry);
            if day > days.day {
                days.end(day)?;
                to = index;
            }
            days.push(&entry)?;
        }
        Ok(to)
    }

    fn day_at(&self, index: u64) -> Result<i64, Error> {
        let mut reader = Reader::open_on(&self.disk, &self.dir, index, index + 1)?;
        let Some(record) = reader.next_record()? else { return Ok(0) };
        Ok(self.day_of(&record.entry()?))
    }

    fn day_of(&self, entry: &Entry) -> i64 {
        (self.options.time_of)(entry).unwrap_or(entry.event.at.0).div_euclid(DAY_MS)
    }

    /// What says who signs, and what was pruned.
    fn put_notes(&self) -> Result<(), Error> {
        let keys: String = self.options.keys.iter().map(|key| format!("{key}\n")).collect();
        self.put_changed("log.vkeys", keys.as_bytes())?;
        let log = checkpoint::log_dir(&self.dir);
        let handovers = log.join("handover");
        if self.disk.exists(&handovers).map_err(Error::io(&handovers))? {
            let mut paths = self.disk.paths_in(&handovers).map_err(Error::io(&handovers))?;
            paths.sort_unstable();
            for path in paths.iter().filter(|path| path.extension().is_none()) {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let note = files::read(self.disk.as_ref(), path, NOTE_BYTES_MAX)?;
                self.put_once(format!("handover/{name}"), note)?;
            }
        }
        for (name, path) in [("pruned", pruned::path(&self.dir)), ("witnessed", log.join("witnessed"))] {
            if let Some(note) = files::read_if_there(self.disk.as_ref(), &path, NOTE_BYTES_MAX)? {
                self.put_changed(name, &note)?;
            }
        }
        Ok(())
    }

    /// Removes tiles and bundles that full ones have replaced. A shelf may refuse: they are few and harmless.
    fn remove_replaced(&self, shipped: &mut Shipped) -> Result<(), Error> {
        let at_edge: BTreeSet<String> = partial_tiles(shipped.size)
            .flat_map(|(tile, width)| {
                let bundle = (tile.level == 0).then(|| bundle::name(tile.index, width));
                bundle.into_iter().chain([tile_name(tile, width)])
            })
            .filter_map(|name| name.split_once(".p/").map(|(full, _)| full.to_owned()))
            .collect();
        let is_replaced = |name: &&String| name.split_once(".p/").is_some_and(|(full, _)| !at_edge.contains(full));
        let replaced: Vec<String> = shipped.partials.iter().filter(is_replaced).cloned().collect();
        if replaced.is_empty() {
            return Ok(());
        }
        shipped.partials.retain(|name| !replaced.contains(name));
        match self.shelf.remove(&replaced) {
            Err(error)
                if error.kind() != io::ErrorKind::PermissionDenied && error.kind() != io::ErrorKind::Unsupported =>
            {
                Err(Error::io(&self.place(&replaced[0]))(error))
            }
            _ => Ok(()),
        }
    }

    /// Where an object is, for messages.
    fn place(&self, name: &str) -> PathBuf {
        Path::new(&self.options.to).join(name)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.shelf.get(name).map_err(Error::io(&self.place(name)))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.shelf.put(name, bytes).map_err(Error::io(&self.place(name)))
    }

    /// Puts an object that is never changed.
    fn put_once(&self, name: String, bytes: Vec<u8>) -> Result<(), Error> {
        let place = self.place(&name);
        self.shelf.put_new(&[(name, bytes)]).map_err(Error::io(&place))
    }

    /// Puts an object that may be there with these bytes.
    fn put_changed(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        if self.get(name)?.is_some_and(|there| there == bytes) { Ok(()) } else { self.put(name, bytes) }
    }
}

fn tile_name(tile: TileId, width: usize) -> String {
    tile.path_at_width(Path::new(""), width).to_string_lossy().into_owned()
}

/// What the segment at `path` is called on a shelf.
fn segment_name(path: &Path) -> String {
    format!("segments/{}", path.file_name().and_then(|name| name.to_str()).unwrap_or_default())
}

/// Objects that wait to be put together.
struct Batch<'a> {
    shipper: &'a Shipper,
    objects: Vec<(String, Vec<u8>)>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    const fn new(shipper: &'a Shipper) -> Self {
        Self { shipper, objects: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, name: String, bytes: Vec<u8>) -> Result<(), Error> {
        self.bytes += bytes.len();
        self.objects.push((name, bytes));
        if self.objects.len() >= BATCH_OBJECTS || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let Some((name, _)) = self.objects.first() else { return Ok(()) };
        self.shipper.shelf.put_new(&self.objects).map_err(Error::io(&self.shipper.place(name)))?;
        self.objects.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// The rows of a day.
struct Days<'a> {
    shipper: &'a Shipper,
    day: i64,
    part: u32,
    /// Of each view.
    parts: [Vec<u8>; Format::ALL.len()],
    /// Whether this day is left out.
    skips: bool,
}

impl Days<'_> {
    fn push(&mut self, entry: &Entry) -> Result<(), Error> {
        let row = Row::new(&entry.event, self.shipper.options.retention_days);
        for (format, part) in Format::ALL.into_iter().zip(&mut self.parts) {
            if part.is_empty() {
                part.extend(format.header());
            }
            format.write(part, &row);
        }
        if self.parts.iter().any(|part| part.len() >= PART_BYTES) { self.put() } else { Ok(()) }
    }

    /// The day is over; the next one is `day`.
    fn end(&mut self, day: i64) -> Result<(), Error> {
        self.put()?;
        (self.day, self.part, self.skips) = (day, 1, false);
        Ok(())
    }

    fn put(&mut self) -> Result<(), Error> {
        let date = UnixMillis(self.day.saturating_mul(DAY_MS)).rfc3339();
        let (year, date) = (date.get(..4).unwrap_or_default(), date.get(..10).unwrap_or_default());
        for (format, part) in Format::ALL.into_iter().zip(&mut self.parts) {
            let part = std::mem::take(part);
            let number = if self.part == 1 { String::new() } else { format!(".{}", self.part) };
            if !part.is_empty() && !self.skips {
                self.shipper.put_changed(&format!("daily/{year}/{date}{number}.{}", format.extension()), &part)?;
            }
        }
        self.part += 1;
        Ok(())
    }
}

/// Tiles of a tree whose root is known, each checked against the one above it and so against the root.
pub(crate) struct ProvenTiles<'a> {
    disk: &'a dyn Disk,
    log: &'a Path,
    size: u64,
    /// The tree's right edge.
    edge: &'a Edge,
    /// The last tile of each level from 1 on that was read: tiles are asked for in their order.
    above: Vec<(TileId, Vec<Hash>)>,
}

impl<'a> ProvenTiles<'a> {
    /// Of the tree of `size` entries whose right edge, with the root that is known, is `edge`.
    pub(crate) const fn new(disk: &'a dyn Disk, log: &'a Path, size: u64, edge: &'a Edge) -> Self {
        Self { disk, log, size, edge, above: Vec::new() }
    }

    /// A tile, full or at the right edge.
    pub(crate) fn tile(&mut self, tile: TileId) -> Result<Vec<Hash>, Error> {
        match self.edge.partials().find(|(partial, _)| *partial == tile) {
            Some((_, hashes)) => Ok(hashes.to_vec()),
            None => self.full(tile),
        }
    }

    fn full(&mut self, tile: TileId) -> Result<Vec<Hash>, Error> {
        let hashes = tiles::read(self.disk, self.log, tile, TILE_WIDTH, self.size)?;
        let (found, expected) = (root_over(&hashes), self.hash(tile.level + 1, tile.index)?);
        if found == expected {
            return Ok(hashes);
        }
        let place = Place::file(&tile.path(self.log));
        Err(Error::different(place, format!("a tile with hash {}", hex(&expected)), format!("hash {}", hex(&found))))
    }

    /// The hash at a position of a level.
    fn hash(&mut self, level: u32, position: u64) -> Result<Hash, Error> {
        let tile = TileId { level, index: position / bytes(TILE_WIDTH) };
        let at = usize::try_from(position % bytes(TILE_WIDTH)).unwrap_or(0);
        if !self.above.iter().any(|(read, _)| *read == tile) {
            let hashes = self.tile(tile)?;
            self.above.retain(|(read, _)| read.level != level);
            self.above.push((tile, hashes));
        }
        let read = self.above.iter().find(|(read, _)| *read == tile);
        read.and_then(|(_, hashes)| hashes.get(at)).copied().ok_or_else(|| {
            Error::different(Place::file(&tile.path(self.log)), format!("more than {at} hashes"), "fewer")
        })
    }
}
