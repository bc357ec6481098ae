//! Entries go when their time is over, not before, and the governor starts from what is left.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kiki_audit::simulation::{Crash, SimDisk};
use kiki_audit::{Disk, Pruned, Reader, VerifyOptions, pruned, verify};
use kiki_spend::retention::{self, Due};
use kiki_spend::shard::{Shard, governor_time};
use kiki_spend::{Command, OpenError, Settings};
use kiki_types::UnixMillis;
use support::shard::{draft, settings};

const DAY_MS: i64 = 24 * 3600 * 1000;
const DAYS: i64 = 30;
const A_DAY: u64 = 20;
const RETENTION_DAYS: u32 = 9;

fn kept_for_days(data: &Path, clock: &Arc<AtomicI64>) -> Settings {
    Settings { retention_days: RETENTION_DAYS, ..settings(data, clock) }
}

/// Some entries every day.
fn live(disk: &Arc<dyn Disk>, settings: &Settings, clock: &AtomicI64) -> Result<(), OpenError> {
    let mut shard = Shard::open_on(disk, settings)?;
    // The first checkpoint, which the log does not open without.
    let audit = settings.data.join("audit");
    let key = kiki_audit::LogKey::open_or_create(&settings.data.join("keys"), &settings.origin, settings.key_seed);
    let options = kiki_audit::DeriveOptions { retention_days: RETENTION_DAYS, entries_per_step: 1000 };
    kiki_audit::Deriver::open_on(disk.clone(), &audit, key.unwrap(), options)?;
    for day in 0..DAYS {
        clock.store(day * DAY_MS + 1000, Ordering::Relaxed);
        for _ in 0..A_DAY {
            shard.decide(&Command::Note { from: None }, draft()).unwrap();
        }
        shard.commit().unwrap();
    }
    Ok(())
}

fn time_of(disk: &Arc<dyn Disk>, settings: &Settings, index: u64) -> i64 {
    let mut reader = Reader::open_on(disk, &settings.data.join("audit"), index, index + 1).unwrap();
    governor_time(&reader.next_record().unwrap().unwrap().entry().unwrap()).unwrap()
}

fn verified(settings: &Settings) -> u64 {
    let options = VerifyOptions { views: true, ..VerifyOptions::default() };
    let audit = settings.data.join("audit");
    verify(&audit, &options, &mut |_, _, _| Ok(()), &mut |_| ()).unwrap().entries
}

fn assert_is_right(disk: &Arc<dyn Disk>, settings: &Settings, pruned: &Pruned, now: i64) {
    let oldest = now - i64::from(RETENTION_DAYS) * DAY_MS;
    // Segments end after a week: what goes ends with one, and within a week after its time.
    assert!(pruned.minimum > 0 && pruned.minimum.is_multiple_of(7 * A_DAY), "{}", pruned.minimum);
    assert!(time_of(disk, settings, pruned.minimum) - DAY_MS < oldest);
    assert!(time_of(disk, settings, pruned.minimum + 7 * A_DAY) >= oldest);
}

#[test]
fn what_is_older_than_it_must_be_kept_goes_and_the_governor_starts_from_the_rest() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicI64::new(0));
    let settings = kept_for_days(data.path(), &clock);
    let disk = kiki_audit::disk::real();
    live(&disk, &settings, &clock).unwrap();
    let now = clock.load(Ordering::Relaxed);
    assert_eq!(retention::prune_stopped(&disk, &settings, Some(0)).unwrap(), None);
    let kept = Settings { retention_days: 400, ..settings.clone() };
    assert_eq!(retention::prune_stopped(&disk, &kept, None).unwrap(), None);
    let pruned = retention::prune_stopped(&disk, &settings, None).unwrap().unwrap();
    assert_is_right(&disk, &settings, &pruned, now);
    assert_eq!(retention::due(&disk, &settings, UnixMillis(now), None).unwrap(), Due::Nothing);
    assert_eq!(retention::prune_stopped(&disk, &settings, None).unwrap(), None);
    let entries = Shard::open_on(&disk, &settings).unwrap().entries();
    assert_eq!(verified(&settings), entries);

    let snapshots = || {
        let paths = fs::read_dir(data.path().join("spend")).unwrap().map(|file| file.unwrap().path());
        let mut paths: Vec<_> = paths.collect();
        paths.sort();
        paths
    };
    assert_eq!(snapshots().len(), 2);
    fs::write(&snapshots()[1], b"damaged").unwrap();
    assert_eq!(Shard::open_on(&disk, &settings).unwrap().entries(), entries);
    fs::write(&snapshots()[0], b"damaged").unwrap();
    assert!(matches!(Shard::open_on(&disk, &settings), Err(OpenError::Pruned { .. })));
}

#[test]
fn nothing_goes_while_one_snapshot_alone_could_start_the_governor_without_it() {
    let data = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicI64::new(0));
    let settings = kept_for_days(data.path(), &clock);
    let disk = kiki_audit::disk::real();
    live(&disk, &settings, &clock).unwrap();
    let now = UnixMillis(clock.load(Ordering::Relaxed));
    // Derives what there is.
    retention::prune_stopped(&disk, &settings, Some(0)).unwrap();
    let Due::AfterSnapshots(to) = retention::due(&disk, &settings, now, None).unwrap() else { panic!("no snapshot") };
    retention::snapshot_behind(&disk, &settings).unwrap();
    assert_eq!(retention::due(&disk, &settings, now, None).unwrap(), Due::AfterSnapshots(to));
    let mut shard = Shard::open_on(&disk, &settings).unwrap();
    shard.decide(&Command::Note { from: None }, draft()).unwrap();
    shard.commit().unwrap();
    drop(shard);
    retention::prune_stopped(&disk, &settings, Some(0)).unwrap();
    retention::snapshot_behind(&disk, &settings).unwrap();
    assert_eq!(retention::due(&disk, &settings, now, None).unwrap(), Due::To(to));
    assert_eq!(retention::due(&disk, &settings, now, Some(to - 1)).unwrap(), Due::To(7 * A_DAY));
    assert_eq!(retention::due(&disk, &settings, now, Some(7 * A_DAY - 1)).unwrap(), Due::Nothing);
}

#[test]
fn a_crash_while_pruning_leaves_a_log_that_opens_and_is_pruned_the_next_time() {
    let mut point = 0;
    loop {
        let data = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let settings = kept_for_days(data.path(), &clock);
        let sim = SimDisk::new(point);
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        live(&disk, &settings, &clock).unwrap();
        sim.crash_after(point);
        let pruned = retention::prune_stopped(&disk, &settings, None);
        let has_crashed = sim.is_down();
        assert_eq!(pruned.is_err(), has_crashed, "operation {point}: {pruned:?}");
        sim.restart(if point.is_multiple_of(3) { Crash::Process } else { Crash::Power });
        let again = retention::prune_stopped(&disk, &settings, None).unwrap();
        let audit = settings.data.join("audit");
        let minimum = pruned::minimum(disk.as_ref(), &audit).unwrap();
        if let Some(pruned) = again.or(pruned.ok().flatten()) {
            assert_is_right(&disk, &settings, &pruned, clock.load(Ordering::Relaxed));
            assert_eq!(pruned.minimum, minimum);
        }
        assert!(minimum > 0, "operation {point}");
        assert!(Shard::open_on(&disk, &settings).unwrap().entries() > A_DAY * 30);
        assert_eq!(pruned::sweep(disk.as_ref(), &audit).unwrap(), 0, "operation {point}");
        if !has_crashed {
            break;
        }
        point += 1;
    }
    assert!(point > 30, "{point}");
}
