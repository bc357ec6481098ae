//! The log on a disk that fails: what was answered is there, in order, whatever came in between.

use super::*;
use crate::testing::{batch_of, event};
use crate::{Batch, DeriveOptions, Deriver, Error, Log, LogKey, OpenError, Options, Reader};

const SEEDS: u64 = 24;
const DIR: &str = "data/audit";

/// What the log must hold.
#[derive(Default)]
struct Expected {
    /// Entries that were answered, or read from an open log: they stay.
    sure: Vec<Vec<u8>>,
    /// The batch whose append failed: any first part of it may be there.
    unsure: Vec<Vec<u8>>,
}

struct Story<'a> {
    seed: u64,
    disk: SimDisk,
    dice: Dice,
    keys: &'a Path,
    expected: Expected,
    written: u64,
}

impl<'a> Story<'a> {
    fn new(seed: u64, keys: &'a Path) -> Self {
        let disk = SimDisk::new(seed);
        Self { seed, disk, dice: Dice(seed ^ 0xd1ce), keys, expected: Expected::default(), written: 0 }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    /// Opens the log and appends, until a fault or the end of the round. Whether no fault came.
    fn round(&mut self, batches: usize) -> bool {
        let segment_bytes_max = [1, 700, 5_000][self.dice.up_to(2)];
        let options = Options { segment_bytes_max, ..Options::default() };
        let mut log = match Log::open_on(self.disk(), Path::new(DIR), &options) {
            Ok((log, opened)) => {
                if !self.check(opened.len) {
                    return false;
                }
                log
            }
            Err(OpenError::Failed(Error::Io { .. })) => return false,
            Err(error) => panic!("seed {}: {error}", self.seed),
        };
        let options = DeriveOptions { retention_days: 1, entries_per_step: 3 };
        // Seldom: signing is slow.
        let derives = self.dice.up_to(3) == 0;
        let open = || Deriver::open_on(self.disk(), Path::new(DIR), key(self.keys), options).ok();
        let mut deriver = derives.then(open).flatten();
        for _ in 0..batches {
            let batch = self.append(&mut log);
            // Deriving fails by itself and is taken up again with the next opening.
            deriver = deriver.filter(|_| self.dice.coin()).and_then(|mut deriver| {
                deriver.advance(log.len()).map(|_| deriver).map_err(|error| self.allow(&error)).ok()
            });
            if batch.is_err() {
                return false;
            }
        }
        true
    }

    fn allow(&self, error: &Error) {
        assert!(error.difference().is_none(), "seed {}: {error}", self.seed);
    }

    fn append(&mut self, log: &mut Log) -> io::Result<()> {
        let count = 1 + u64::try_from(self.dice.up_to(5)).unwrap();
        let mut batch = batch_of(self.written..self.written + count);
        if self.dice.up_to(3) == 0 {
            push_odd(&mut batch, self.dice.up_to(600));
        }
        self.written += count;
        let entries = batch.entries().map(<[u8]>::to_vec);
        self.expected.unsure = entries.collect();
        log.append(&mut batch)?;
        self.expected.sure.append(&mut self.expected.unsure);
        Ok(())
    }

    /// Whether the log could be read; then it holds what it must.
    fn check(&mut self, len: u64) -> bool {
        let Expected { sure, unsure } = std::mem::take(&mut self.expected);
        let mut found = Vec::new();
        let mut read = || {
            let mut reader = Reader::open_on(&self.disk(), Path::new(DIR), 0, len)?;
            while let Some(record) = reader.next_record()? {
                found.push(record.bytes.to_vec());
            }
            Ok(())
        };
        if let Err(error) = read() {
            self.allow(&error);
            self.expected = Expected { sure, unsure };
            return false;
        }
        let seed = self.seed;
        assert!(found.starts_with(&sure), "seed {seed}: {} of {} answered entries", found.len(), sure.len());
        assert!(unsure.starts_with(&found[sure.len()..]), "seed {seed}: entries that nobody wrote");
        self.expected.sure = found;
        true
    }

    fn plan_fault(&mut self) {
        match self.dice.up_to(5) {
            0 => {}
            1 => self.disk.leave_room(self.dice.up_to(4_000)),
            2 => {
                self.disk.fail_syncs(1);
                self.disk.crash_after(10 + self.dice.next() % 40);
            }
            _ => self.disk.crash_after(self.dice.next() % 60),
        }
    }

    fn crash(&mut self) {
        let crash = if self.dice.up_to(3) == 0 { Crash::Process } else { Crash::Power };
        self.disk.restart(crash);
        self.disk.leave_room(1 << 30);
    }
}

/// An entry of odd length, so that records end anywhere in a sector.
fn push_odd(batch: &mut Batch, len: usize) {
    let mut event = event(9_999);
    event.reason = "x".repeat(len);
    batch.push(&event, None).unwrap();
}

fn key(keys: &Path) -> LogKey {
    LogKey::open_or_create(keys, "test", || [7; 32].into()).unwrap()
}

#[test]
fn what_was_answered_is_there_after_any_fault() {
    let keys = tempfile::tempdir().unwrap();
    for seed in 0..SEEDS {
        let mut story = Story::new(seed, keys.path());
        for _ in 0..12 {
            story.plan_fault();
            story.round(12);
            story.crash();
        }
        assert!(story.round(1), "seed {seed}: nothing fails any more");
        assert!(story.round(0) && story.expected.unsure.is_empty());
    }
}

#[test]
fn a_crash_at_any_operation_loses_no_answer() {
    let keys = tempfile::tempdir().unwrap();
    for seed in 0..1 {
        for point in 0.. {
            let mut story = Story::new(seed, keys.path());
            story.disk.crash_after(point);
            story.round(6);
            let has_crashed = story.disk.is_down();
            story.disk.restart(Crash::Power);
            assert!(story.round(2), "seed {seed}, operation {point}");
            if !has_crashed {
                assert!(point > 30);
                break;
            }
        }
    }
}

#[test]
fn a_batch_whose_first_sector_was_never_written_is_cut() {
    let options = Options::default();
    let segment = Path::new(DIR).join("segments/00000000000000000000.seg");
    for len in 0..512 {
        let disk = SimDisk::new(1);
        let (mut log, _) = Log::open_on(Arc::new(disk.clone()), Path::new(DIR), &options).unwrap();
        let mut batch = Batch::new();
        push_odd(&mut batch, len);
        log.append(&mut batch).unwrap();
        let answered = disk.bytes(&segment).unwrap().len();
        log.append(&mut batch_of(1..5)).unwrap();
        drop(log);
        let mut bytes = disk.bytes(&segment).unwrap();
        bytes[answered..answered.next_multiple_of(512)].fill(0);
        disk.open(&segment, Access::Replace).unwrap().write_all(&bytes).unwrap();
        let (_, opened) = Log::open_on(Arc::new(disk), Path::new(DIR), &options).unwrap();
        let is_shared = !answered.is_multiple_of(512);
        assert_eq!(opened.len, if is_shared { 1 } else { 5 }, "{answered} bytes were answered");
    }
}

#[test]
fn an_answer_before_the_sync_would_be_noticed() {
    let lost = (0..100).filter(|seed| {
        let disk = SimDisk::new(*seed);
        let path = Path::new("file");
        let mut file = disk.open(path, Access::Replace).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir(Path::new(".")).unwrap();
        file.write_all(&[1; 2_000]).unwrap();
        disk.restart(Crash::Power);
        disk.bytes(path).unwrap() != [1; 2_000]
    });
    assert!(lost.count() > 30);
}

#[test]
fn what_is_synced_stays_and_a_name_only_with_its_folder() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let (one, two) = (Path::new("one"), Path::new("two"));
        disk.open(one, Access::Replace).unwrap().write_all(b"one").unwrap();
        disk.sync_files(&[one.to_owned()], Path::new(".")).unwrap();
        disk.sync_dir(Path::new(".")).unwrap();
        disk.rename(one, two).unwrap();
        disk.restart(Crash::Power);
        lost += u32::from(disk.bytes(two).is_none());
        assert_eq!(disk.bytes(one).or_else(|| disk.bytes(two)).unwrap(), b"one");
    }
    assert!((20..80).contains(&lost), "{lost}");
}

#[test]
fn after_a_failed_sync_the_next_one_succeeds_and_the_disk_has_less() {
    let mut less = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let path = Path::new("file");
        let mut file = disk.open(path, Access::Replace).unwrap();
        file.write_all(&[1; 2_000]).unwrap();
        disk.fail_syncs(1);
        assert!(file.sync_data().is_err() && file.sync_data().is_ok());
        assert_eq!(disk.bytes(path).unwrap(), [1; 2_000]);
        file.forget_cached();
        less += u32::from(disk.bytes(path).unwrap() != [1; 2_000]);
    }
    assert!((20..80).contains(&less), "{less}");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimDisk::new(1);
    disk.leave_room(3);
    let mut file = disk.open(Path::new("file"), Access::Replace).unwrap();
    assert_eq!(file.write_all(b"12345").unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.bytes(Path::new("file")).unwrap(), b"123");
    disk.leave_room(2);
    file.write_all(b"45").unwrap();
}

#[test]
fn a_lock_is_free_after_its_holder_or_a_crash() {
    let disk = SimDisk::new(1);
    let path = Path::new("lock");
    let held = disk.lock(path).unwrap();
    assert!(held.is_some() && disk.lock(path).unwrap().is_none());
    disk.restart(Crash::Process);
    let again = disk.lock(path).unwrap();
    drop(held);
    assert!(again.is_some() && disk.lock(path).unwrap().is_none());
    drop(again);
    assert!(disk.lock(path).unwrap().is_some());
}
