//! One life of a log (append, derive, seal, ship, prune, ship again), with a crash on each of its operations, on the log's
//! disk or on the shelf's. After each: what was answered is there or was pruned as recorded, no checkpoint is taken back
//! or contradicted, and the shelf holds a whole log.

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::bundle;
use crate::note::Note;
use crate::pruned::{self, PRUNE_EVENT};
use crate::testing::{batch_of, event};
use crate::tree::{Edge, Hash, TILE_WIDTH, leaf_hash};
use crate::{
    Batch, Checkpoint, DeriveOptions, Deriver, Entry, Error, Folder, Log, LogKey, OpenError, Options, Pruned, Reader,
    Shelf, ShipOptions, Shipped, Shipper, VerifierKey, VerifyOptions, prune_on, verify,
};

const DIR: &str = "data/audit";
const SHELF: &str = "shelf";
/// Ten minutes from entry to entry: a few days in all.
const STEP_MS: i64 = 600 * 1000;
const FIRST: u64 = 300;
const SECOND: u64 = 420;
const LAST: u64 = 600;
/// Entries that are appended at a time.
const BATCH: u64 = 90;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Log,
    Shelf,
}

struct Life<'a> {
    disk: SimDisk,
    shelf: SimDisk,
    keys: &'a Path,
    /// Entries that were answered.
    sure: Vec<Vec<u8>>,
    /// Roots that were signed, by size.
    signed: BTreeMap<u64, Hash>,
    /// The size of the last checkpoint that the shelf had.
    shipped: u64,
}

fn time_of(entry: &Entry) -> Option<i64> {
    Some(entry.event.at.0 % 1000 * STEP_MS)
}

fn key(keys: &Path) -> LogKey {
    LogKey::open_or_create(keys, "test", || [7; 32].into()).unwrap()
}

/// A fault of a disk is no difference.
fn allow<T>(error: &Error) -> Option<T> {
    assert!(error.difference().is_none(), "{error}");
    None
}

impl<'a> Life<'a> {
    fn new(keys: &'a Path) -> Self {
        let (disk, shelf) = (SimDisk::new(11), SimDisk::new(12));
        Self { disk, shelf, keys, sure: Vec::new(), signed: BTreeMap::new(), shipped: 0 }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    fn shelf(&self) -> Folder {
        Folder::new(Arc::new(self.shelf.clone()), Path::new(SHELF))
    }

    fn verifier(&self) -> VerifierKey {
        key(self.keys).verifier().clone()
    }

    /// From wherever the log is to the end of the story; `None` if a disk failed.
    fn live(&mut self) -> Option<()> {
        let options = Options { segment_bytes_max: 30_000, key: Some(self.verifier()), ..Options::default() };
        // The deriver signs the empty log before anything is appended.
        let mut deriver = self.deriver()?;
        let (mut log, opened) = match Log::open_on(self.disk(), Path::new(DIR), &options) {
            Ok(opened) => opened,
            Err(OpenError::Failed(error)) => return allow(&error),
            Err(error) => panic!("{error}"),
        };
        self.check(opened.len)?;
        self.append(&mut log, FIRST)?;
        self.derive(&mut deriver, log.len())?;
        self.ship()?;
        log.seal();
        self.append(&mut log, SECOND)?;
        self.derive(&mut deriver, log.len())?;
        self.prune(&mut log, &mut deriver)?;
        self.derive(&mut deriver, log.len())?;
        self.append(&mut log, LAST)?;
        self.derive(&mut deriver, log.len())?;
        self.ship()
    }

    fn deriver(&mut self) -> Option<Deriver> {
        let options = DeriveOptions { retention_days: 1, entries_per_step: 200 };
        let deriver = Deriver::open_on(self.disk(), Path::new(DIR), key(self.keys), options);
        let deriver = deriver.map_err(|error| allow::<()>(&error)).ok()?;
        self.witness(deriver.checkpoint());
        Some(deriver)
    }

    /// No checkpoint contradicts another one of its size.
    fn witness(&mut self, checkpoint: &Checkpoint) {
        let last = self.signed.last_key_value().map_or(0, |(size, _)| *size);
        assert!(checkpoint.size >= last, "{} entries were signed, now {}", last, checkpoint.size);
        assert_eq!(*self.signed.entry(checkpoint.size).or_insert(checkpoint.root), checkpoint.root);
    }

    fn append(&mut self, log: &mut Log, to: u64) -> Option<()> {
        while log.len() < to {
            let next = log.len();
            self.append_batch(log, batch_of(next..(next + BATCH).min(to)))?;
        }
        Some(())
    }

    fn append_batch(&mut self, log: &mut Log, mut batch: Batch) -> Option<()> {
        log.append(&mut batch).ok()?;
        self.sure.extend(batch.entries().map(<[u8]>::to_vec));
        Some(())
    }

    fn derive(&mut self, deriver: &mut Deriver, len: u64) -> Option<()> {
        while !deriver.advance(len).map_err(|error| allow::<()>(&error)).ok()?.caught_up() {
            self.witness(deriver.checkpoint());
        }
        self.witness(deriver.checkpoint());
        Some(())
    }

    fn ship(&mut self) -> Option<()> {
        let options = ShipOptions { keys: vec![self.verifier()], to: SHELF.to_owned(), retention_days: 1, time_of };
        let mut shipper = Shipper::open_on(self.disk(), Path::new(DIR), options, Box::new(self.shelf()));
        self.shipped = shipper.advance().map_err(|error| allow::<()>(&error)).ok()?.size;
        Some(())
    }

    /// As the job does it: an entry, its checkpoint, then the deletion.
    fn prune(&mut self, log: &mut Log, deriver: &mut Deriver) -> Option<()> {
        if pruned::minimum(self.disk().as_ref(), Path::new(DIR)).map_err(|error| allow::<()>(&error)).ok()? > 0 {
            pruned::sweep(self.disk().as_ref(), Path::new(DIR)).map_err(|error| allow::<()>(&error)).ok()?;
            return Some(());
        }
        let segments =
            crate::segments::list(self.disk().as_ref(), Path::new(DIR)).map_err(|error| allow::<()>(&error)).ok()?;
        let safe = Shipped::load_on(self.disk().as_ref(), Path::new(DIR))
            .map_err(|error| allow::<()>(&error))
            .ok()??
            .safe_to();
        let to = segments.iter().rev().find(|segment| segment.first <= safe)?.first;
        assert!(to > 0);
        let root =
            pruned::root_at(self.disk().as_ref(), Path::new(DIR), to).map_err(|error| allow::<()>(&error)).ok()?;
        let mut recorded = event(log.len());
        recorded.event_type = PRUNE_EVENT.to_owned();
        (recorded.resource, recorded.reason) = (pruned::resource(to), pruned::reason(&root));
        let mut batch = Batch::new();
        batch.push(&recorded, None).unwrap();
        let index = log.len();
        self.append_batch(log, batch)?;
        self.derive(deriver, log.len())?;
        prune_on(&self.disk(), Path::new(DIR), &key(self.keys), to, index).map_err(|error| allow::<()>(&error)).ok()?;
        Some(())
    }

    /// What was answered is there, or was pruned.
    fn check(&mut self, len: u64) -> Option<()> {
        let pruned = Pruned::load_on(self.disk().as_ref(), Path::new(DIR), &[self.verifier()])
            .map_err(|error| allow::<()>(&error))
            .ok()?;
        let minimum = pruned.map_or(0, |pruned| pruned.minimum);
        let mut reader =
            Reader::open_on(&self.disk(), Path::new(DIR), minimum, len).map_err(|error| allow::<()>(&error)).ok()?;
        let mut found = Vec::new();
        while let Some(record) = reader.next_record().map_err(|error| allow::<()>(&error)).ok()? {
            found.push(record.bytes.to_vec());
        }
        let minimum = usize::try_from(minimum).unwrap();
        let kept = &self.sure[minimum..];
        assert!(found.starts_with(kept), "{} entries, {} were answered", found.len(), kept.len());
        self.sure.truncate(minimum);
        self.sure.extend(found);
        Some(())
    }

    /// The log as files, verified by whoever has them.
    fn verify(&self) {
        let copy = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).unwrap();
        for path in self.disk.paths() {
            let Some(bytes) = self.disk.bytes(&path) else { continue };
            let to = copy.path().join(&path);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, bytes).unwrap();
        }
        let options = VerifyOptions { key: Some(self.verifier()), views: true, ..VerifyOptions::default() };
        let verified = verify(&copy.path().join(DIR), &options, &mut |_, _, _| Ok(()), &mut |_| ()).unwrap();
        assert_eq!((verified.entries, verified.beyond_checkpoint), (u64::try_from(self.sure.len()).unwrap(), 0));
        let log = crate::checkpoint::log_dir(Path::new(DIR));
        for (size, root) in &self.signed {
            let edge = crate::tiles::load_edge(self.disk().as_ref(), &log, *size, verified.entries).unwrap();
            assert_eq!(edge.root(), *root, "at {size}");
        }
    }

    /// What the shelf says it has it has, in entries that give its root.
    fn check_shelf(&self) -> u64 {
        let Some(note) = self.shelf().get("checkpoint").unwrap() else { return 0 };
        let note = String::from_utf8(note).unwrap();
        let note = Note::parse(&note).unwrap();
        note.check(&self.verifier()).unwrap();
        let checkpoint = Checkpoint::parse(note.text).unwrap();
        let mut edge = Edge::default();
        let width = u64::try_from(TILE_WIDTH).unwrap();
        for n in 0..checkpoint.size.div_ceil(width) {
            let name = bundle::name(n, usize::try_from((checkpoint.size - n * width).min(width)).unwrap());
            let mut rest = &self.shelf().get(&name).unwrap().expect("a bundle")[..];
            while let Some((len, after)) = rest.split_first_chunk::<2>() {
                let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
                assert_eq!(entry, self.sure_or_pruned(edge.size()).unwrap_or(entry));
                edge.push(leaf_hash(entry), &mut Vec::new());
                rest = after;
            }
        }
        assert_eq!((edge.size(), edge.root()), (checkpoint.size, checkpoint.root));
        checkpoint.size
    }

    fn sure_or_pruned(&self, index: u64) -> Option<&[u8]> {
        self.sure.get(usize::try_from(index).unwrap()).map(Vec::as_slice)
    }

    fn crash(&self, place: Where, crash: Crash) {
        match place {
            Where::Log => self.disk.restart(crash),
            Where::Shelf => self.shelf.restart(crash),
        }
    }
}

fn a_crash_at_any_operation_of(place: Where) {
    let keys = tempfile::tempdir().unwrap();
    let mut whole = Life::new(keys.path());
    whole.live().unwrap();
    whole.verify();
    assert_eq!(whole.check_shelf(), LAST);
    let operations = if place == Where::Log { &whole.disk } else { &whole.shelf }.operations();
    assert!(operations > 50, "{operations}");
    for point in 0..operations {
        let crash = if point % 4 == 3 { Crash::Process } else { Crash::Power };
        let mut life = Life::new(keys.path());
        if place == Where::Log { &life.disk } else { &life.shelf }.crash_after(point);
        assert!(life.live().is_none(), "operation {point} never came");
        life.crash(place, crash);
        let had = life.check_shelf();
        assert!(had >= life.shipped, "operation {point}: the shelf had {} entries, now {had}", life.shipped);
        life.live().unwrap_or_else(|| panic!("operation {point}: nothing fails any more"));
        life.verify();
        assert_eq!(life.check_shelf(), LAST, "operation {point}");
    }
}

#[test]
fn a_crash_at_any_operation_of_a_log_leaves_what_was_answered_signed_and_shipped() {
    a_crash_at_any_operation_of(Where::Log);
}

#[test]
fn a_crash_at_any_operation_of_a_shelf_leaves_a_whole_log_there() {
    a_crash_at_any_operation_of(Where::Shelf);
}
