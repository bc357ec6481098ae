//! A verification that goes on where an earlier one was.

use std::fs;
use std::io;

use kiki_audit::{Audit, Entry, Error, Place, Point, Verified, VerifyOptions, verify_with};

use crate::support::{TestLog, batch_of, different, with_changed};

const LEN: u64 = 21;

/// Keeps the points that it is told and counts what it sees.
#[derive(Default)]
struct Auditor {
    points: Vec<Point>,
    seen: Vec<u64>,
}

impl Audit for Auditor {
    type Prepared = u64;

    fn prepare(index: u64, _: Entry) -> Result<u64, String> {
        Ok(index)
    }

    fn visit(&mut self, index: u64, prepared: u64, place: &Place) -> Result<(), String> {
        assert_eq!((index, Some(index)), (prepared, place.entry));
        self.seen.push(index);
        Ok(())
    }

    fn point(&mut self, point: &Point) -> io::Result<()> {
        assert_eq!(self.seen.last(), Some(&(point.index - 1)));
        self.points.push(point.clone());
        Ok(())
    }
}

fn go_on(test: &TestLog, from: Option<&Point>) -> (Result<Verified, Error>, Auditor) {
    let mut auditor = Auditor::default();
    let options = VerifyOptions {
        key: Some(test.vkey()),
        views: true,
        threads: 2,
        from: from.cloned(),
        point_every: 4,
        ..VerifyOptions::default()
    };
    (verify_with(&test.dir, &options, &mut auditor), auditor)
}

/// A log that grew after it had been verified to its middle; the points up to there.
fn grown() -> (TestLog, Vec<Point>) {
    let test = TestLog::with(10, 10);
    let (verified, first) = go_on(&test, None);
    assert_eq!(verified.unwrap().from, 0);
    assert_eq!(first.points.iter().map(|point| point.index).collect::<Vec<_>>(), [4, 8, 10]);
    let (mut log, _) = test.open().unwrap();
    log.append(&mut batch_of(10..LEN)).unwrap();
    drop(log);
    test.deriver().advance(LEN).unwrap();
    (test, first.points)
}

#[test]
fn it_looks_at_the_rest_only_and_ends_as_one_that_looks_at_all() {
    let (test, points) = grown();
    let whole = go_on(&test, None).0.unwrap();
    for point in &points {
        let (verified, auditor) = go_on(&test, Some(point));
        let verified = verified.unwrap();
        assert_eq!((verified.from, verified.entries, verified.tiles), (point.index, LEN, whole.tiles));
        assert_eq!(verified.checkpoint, whole.checkpoint);
        assert_eq!(verified.view_rows, 2 * (LEN - point.index));
        assert!(auditor.seen.into_iter().eq(point.index..LEN));
        assert_eq!(auditor.points.last(), go_on(&test, None).1.points.last());
    }
}

#[test]
fn it_finds_what_was_changed_behind_the_point_at_its_place() {
    let (test, points) = grown();
    for point in &points {
        for (place, _) in test.records().into_iter().skip(usize::try_from(point.index).unwrap()) {
            let at = usize::try_from(place.offset).unwrap() + 20;
            with_changed(
                &place.file,
                |bytes| bytes[at] ^= 1,
                || assert_eq!(different(go_on(&test, Some(point)).0).place, place),
            );
        }
        for view in ["shield_audit_gdpr.csv", "shield_audit_gdpr.jsonl"] {
            let path = test.dir.join(view);
            let last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
            with_changed(&path, last, || assert_eq!(different(go_on(&test, Some(point)).0).place.file, path));
        }
    }
}

#[test]
fn it_goes_on_only_in_the_log_that_was_verified() {
    let (test, points) = grown();
    let other = TestLog::new(600);
    let (mut log, _) = other.open().unwrap();
    let mut deriver = other.deriver();
    log.append(&mut batch_of(100..130)).unwrap();
    deriver.advance(30).unwrap();
    let shorter = TestLog::with(3, 3);
    for point in &points {
        let found = different(go_on(&other, Some(point)).0);
        assert!(found.expected.contains("the tree verified before"), "{found}");
        let found = different(go_on(&shorter, Some(point)).0);
        assert!(found.found.contains("cut or rolled back"), "{found}");
        for wrong in [Point { origin: "x".to_owned(), ..point.clone() }, Point { root: [1; 32], ..point.clone() }] {
            different(go_on(&test, Some(&wrong)).0);
        }
        different(go_on(&test, Some(&Point { views: None, ..point.clone() })).0);
    }
}

#[test]
fn a_tile_that_was_changed_before_the_point_is_noticed_by_the_root() {
    let (test, points) = grown();
    let path = test.dir.join("log/tile/0/000.p/21");
    assert!(fs::exists(&path).unwrap());
    for point in &points {
        with_changed(&path, |bytes| bytes[32] ^= 1, || drop(different(go_on(&test, Some(point)).0)));
    }
}

#[test]
fn a_kept_checkpoint_from_before_the_point_is_proven_by_the_tiles() {
    let (test, points) = grown();
    let kept = |log: &TestLog, size| {
        log.deriver().advance(size).unwrap();
        let checkpoint = kiki_audit::Checkpoint::load(&log.dir, None).unwrap().unwrap();
        assert_eq!(checkpoint.size, size);
        kiki_audit::Kept { from: "kept".into(), checkpoint }
    };
    let fork = TestLog::new(600);
    let (mut log, _) = fork.open().unwrap();
    log.append(&mut batch_of(100..105)).unwrap();
    fork.deriver();
    let point = points.last().unwrap();
    let verify = |kept| {
        let options = VerifyOptions { key: Some(test.vkey()), views: true, ..VerifyOptions::default() };
        let options = VerifyOptions { from: Some(point.clone()), kept: vec![kept], ..options };
        verify_with(&test.dir, &options, &mut Auditor::default())
    };
    for size in [3, 7, 9] {
        assert_eq!(verify(kept(&TestLog::with(size, size), size)).unwrap().kept, 1);
    }
    let found = different(verify(kept(&fork, 5)));
    assert!(found.found.contains("two histories"), "{found}");
}
