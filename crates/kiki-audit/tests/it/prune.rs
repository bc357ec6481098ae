//! Pruning deletes entries and nothing else: the log opens, goes on, and can be told from one that was cut.

use std::fs;
use std::sync::Arc;

use kiki_audit::pruned::{self, PRUNE_EVENT};
use kiki_audit::served::{self, Found, Part};
use kiki_audit::{Batch, Disk, Error, Log, Options, Pruned, Reader, bundle, prune_on};

use crate::support::{TestLog, batch_of, different, entries, event, key_in, with_changed};

fn disk() -> Arc<dyn Disk> {
    kiki_audit::disk::real()
}

/// Entry `index`, which records the pruning of what is before `to`.
fn recording(test: &TestLog, index: u64, to: u64) -> Batch {
    let mut recorded = event(index);
    recorded.event_type = PRUNE_EVENT.to_owned();
    recorded.resource = pruned::resource(to);
    recorded.reason = pruned::reason(&pruned::root_at(disk().as_ref(), &test.dir, to).unwrap());
    let mut batch = Batch::new();
    batch.push(&recorded, None).unwrap();
    batch
}

/// Appends the entry that records the pruning of what is before `to`, and derives it. Returns its index.
fn record(test: &TestLog, to: u64) -> u64 {
    let (mut log, opened) = test.open().unwrap();
    log.append(&mut recording(test, opened.len, to)).unwrap();
    while !test.deriver().advance(opened.len + 1).unwrap().caught_up() {}
    opened.len
}

fn prune(test: &TestLog, to: u64) -> Pruned {
    let entry = record(test, to);
    prune_on(&disk(), &test.dir, &key_in(&test.keys, 7), to, entry).unwrap()
}

/// A log of 40 entries, ten segments, and the entry that starts the sixth.
fn pruned_in_the_middle() -> (TestLog, u64) {
    let test = TestLog::with(40, 40);
    let to = u64::try_from(test.starts()[5]).unwrap();
    prune(&test, to);
    (test, to)
}

fn signed(test: &TestLog) -> Options {
    Options { key: Some(test.vkey()), ..test.options() }
}

#[test]
fn a_pruned_log_opens_goes_on_and_verifies() {
    let (test, to) = pruned_in_the_middle();
    assert_eq!(u64::try_from(test.starts()[0]).unwrap(), to);
    for check_from in [0, to, 40] {
        let (_, opened) = Log::open(&test.dir, &Options { check_from, ..signed(&test) }).unwrap();
        assert_eq!(opened.len, 41);
    }
    test.verify_with(Some(test.vkey())).unwrap();
    let (mut log, _) = test.open().unwrap();
    log.append(&mut batch_of(41..60)).unwrap();
    let mut deriver = test.deriver();
    while !deriver.advance(60).unwrap().caught_up() {}
    assert_eq!(test.verify_with(Some(test.vkey())).unwrap().entries, 60);
    let mut reader = Reader::open(&test.dir, to, 40).unwrap();
    for entry in entries(to..40) {
        assert_eq!(reader.next_record().unwrap().unwrap().bytes, entry);
    }
    drop((log, deriver));
    let to = u64::try_from(test.starts()[2]).unwrap();
    prune(&test, to);
    test.verify_with(Some(test.vkey())).unwrap();
    test.deriver().advance(61).unwrap();
    let verified = test.verify_with(Some(test.vkey())).unwrap();
    assert_eq!((verified.entries, verified.view_rows), (61, 2 * (61 - to)));
}

#[test]
fn what_was_pruned_is_not_read_as_the_end_of_the_log() {
    let (test, to) = pruned_in_the_middle();
    for from in [0, to - 1] {
        let difference = different(Reader::open(&test.dir, from, to + 1).map(drop));
        assert_eq!(difference.expected, format!("an entry from {to} on"));
    }
    different(bundle(&disk(), &test.dir, 0, 40).map(drop));
    let part = |name| Part::parse(name).unwrap();
    assert_eq!(served::bundle(&test.dir, part("000.p/40")).unwrap(), Found::Pruned(to));
    assert_eq!(served::bundle(&test.dir, part("000.p/42")).unwrap(), Found::Absent);
    assert!(served::tile(&test.dir, 0, part("000.p/40")).unwrap().is_some(), "all tiles stay");
}

#[test]
fn views_start_over_at_the_minimum_and_the_tree_does_not_wait_for_them() {
    let (test, to) = pruned_in_the_middle();
    let (mut log, _) = test.open().unwrap();
    log.append(&mut batch_of(41..61)).unwrap();
    let mut deriver = test.deriver_with(kiki_audit::DeriveOptions { retention_days: 30, entries_per_step: 3 });
    let mut steps = 0;
    while !deriver.advance(61).unwrap().caught_up() {
        steps += 1;
        assert_eq!(deriver.checkpoint().size, 61.min(41 + steps * 3));
    }
    let rows = fs::read_to_string(test.dir.join("shield_audit_gdpr.jsonl")).unwrap();
    assert_eq!(u64::try_from(rows.lines().count()).unwrap(), 61 - to);
    assert!(rows.starts_with(&format!("{{\"timestamp\":\"{}\"", event(to).at.rfc3339())));
    test.verify_with(Some(test.vkey())).unwrap();
}

#[test]
fn views_that_caught_up_where_a_segment_ends_start_over_behind_it() {
    let (test, _) = pruned_in_the_middle();
    let (mut log, _) = test.open().unwrap();
    let mut deriver = test.deriver();
    while !deriver.advance(41).unwrap().caught_up() {}
    log.seal();
    log.append(&mut batch_of(41..60)).unwrap();
    while !deriver.advance(60).unwrap().caught_up() {}
    log.append(&mut recording(&test, 60, 41)).unwrap();
    while !deriver.advance(61).unwrap().caught_up() {}
    prune_on(&disk(), &test.dir, &key_in(&test.keys, 7), 41, 60).unwrap();
    while !deriver.advance(61).unwrap().caught_up() {}
    test.verify_with(Some(test.vkey())).unwrap();
}

#[test]
fn a_log_that_lost_its_beginning_without_a_signed_reason_does_not_open() {
    let (test, _) = pruned_in_the_middle();
    let path = test.dir.join("pruned");
    let note = fs::read(&path).unwrap();
    for at in 0..note.len() {
        with_changed(&path, |bytes| bytes[at] ^= 1, || test.open_difference(&signed(&test)));
        with_changed(&path, |bytes| bytes.truncate(at), || test.open_difference(&signed(&test)));
    }
    fs::remove_file(&path).unwrap();
    test.open_difference(&signed(&test));
    different(test.verify());
    different(Reader::open(&test.dir, 40, 41).map(drop));
    let other = key_in(&test.dir.join("other"), 9);
    fs::write(&path, &note).unwrap();
    let options = Options { key: Some(other.verifier().clone()), ..test.options() };
    test.open_difference(&options);
}

#[test]
fn only_what_an_entry_of_the_log_says_is_pruned() {
    let test = TestLog::with(40, 40);
    let starts: Vec<u64> = test.starts().into_iter().map(|start| u64::try_from(start).unwrap()).collect();
    let entry = record(&test, starts[3]);
    let before = test.segments();
    let key = key_in(&test.keys, 7);
    for (to, recorded_in) in
        [(starts[4], entry), (starts[3], entry - 1), (starts[3], entry + 1), (starts[3] + 1, entry), (0, entry)]
    {
        different(prune_on(&disk(), &test.dir, &key, to, recorded_in).map(drop));
    }
    assert_eq!(test.segments(), before);
    assert!(!test.dir.join("pruned").exists());
    assert!(matches!(
        prune_on(&disk(), &test.dir, &key_in(&test.dir.join("other"), 9), starts[3], entry),
        Err(Error::Different(_))
    ));
    prune_on(&disk(), &test.dir, &key, starts[3], entry).unwrap();
    // Nothing comes back.
    let entry = record(&test, starts[3]);
    different(prune_on(&disk(), &test.dir, &key, starts[2], entry).map(drop));
}

#[test]
fn what_a_crash_left_of_pruned_segments_is_ignored_then_swept() {
    let test = TestLog::with(40, 40);
    let to = u64::try_from(test.starts()[5]).unwrap();
    let old: Vec<_> = test.segments().into_iter().take(5).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    prune(&test, to);
    for (path, bytes) in &old[2..] {
        fs::write(path, bytes).unwrap();
    }
    let (_, opened) = Log::open(&test.dir, &signed(&test)).unwrap();
    assert_eq!(opened.len, 41);
    test.verify_with(Some(test.vkey())).unwrap();
    different(Reader::open(&test.dir, to - 1, to).map(drop));
    assert_eq!(pruned::sweep(disk().as_ref(), &test.dir).unwrap(), 3);
    assert_eq!(pruned::sweep(disk().as_ref(), &test.dir).unwrap(), 0);
    assert_eq!(u64::try_from(test.starts()[0]).unwrap(), to);
}

#[test]
fn tiles_are_grown_again_from_the_minimum_on() {
    let test = TestLog::new(20_000).filled(600, 600);
    let to = u64::try_from(test.starts()[3]).unwrap();
    assert!(to > 256 && to < 512, "{to}");
    prune(&test, to);
    for tile in ["0/001", "0/002.p/89"] {
        fs::remove_file(test.dir.join("log/tile").join(tile)).unwrap();
    }
    // The tile with the hashes of entries around the minimum is gone: they cannot be had from entries.
    different(test.verify());
    assert!(Log::open(&test.dir, &signed(&test)).is_err());
}

#[test]
fn a_sealed_segment_is_followed_by_another_with_the_next_batch() {
    let test = TestLog::new(1 << 20);
    let (mut log, _) = test.open().unwrap();
    log.seal();
    log.append(&mut batch_of(0..2)).unwrap();
    assert_eq!((log.segment_first(), test.starts()), (0, vec![0]));
    log.seal();
    log.append(&mut Batch::new()).unwrap();
    log.append(&mut batch_of(2..4)).unwrap();
    log.append(&mut batch_of(4..6)).unwrap();
    assert_eq!((log.segment_first(), test.starts()), (2, vec![0, 2]));
    drop(log);
    assert_eq!(test.open().unwrap().0.segment_first(), 2);
}

#[test]
fn a_damaged_tile_is_not_served() {
    let test = TestLog::with(300, 300);
    let served = |level, name| served::tile(&test.dir, level, Part::parse(name).unwrap());
    let whole = served(0, "000").unwrap().unwrap();
    assert_eq!(served(0, "000.p/9").unwrap().unwrap(), whole[..9 * 32]);
    assert!(served(0, "001.p/44").unwrap().is_some() && served(1, "000.p/1").unwrap().is_some());
    for (path, level, name) in [("0/000", 0, "000.p/9"), ("0/001.p/44", 0, "001.p/1"), ("1/000.p/1", 1, "000.p/1")] {
        let path = test.dir.join("log/tile").join(path);
        with_changed(&path, |bytes| bytes[3] ^= 1, || different(served(level, name).map(drop)));
    }
}
