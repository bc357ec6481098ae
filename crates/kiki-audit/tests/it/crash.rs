//! What a crash leaves behind.

use std::fs;

use kiki_audit::Options;
use sha2::{Digest, Sha256};

use crate::support::{TestLog, batch_of, entries, with_changed};

/// A log of one segment: six entries that were answered, then a batch of three that was not.
fn interrupted() -> (TestLog, u64) {
    let test = TestLog::new(1 << 20);
    let (mut log, _) = test.open().unwrap();
    log.append(&mut batch_of(0..6)).unwrap();
    test.deriver().advance(4).unwrap();
    let answered = fs::metadata(&test.segments()[0]).unwrap().len();
    log.append(&mut batch_of(6..9)).unwrap();
    (test, answered)
}

#[test]
fn a_batch_cut_anywhere_leaves_its_whole_records_and_appending_goes_on() {
    let (test, answered) = interrupted();
    let path = test.segments()[0].clone();
    let records = test.records();
    for cut in answered..fs::metadata(&path).unwrap().len() {
        with_changed(
            &path,
            |bytes| bytes.truncate(usize::try_from(cut).unwrap()),
            || {
                let whole = records.iter().filter(|(place, len)| place.offset + len <= cut).count();
                let whole = u64::try_from(whole).unwrap();
                let (mut log, opened) = test.open().unwrap();
                assert_eq!(opened.len, whole);
                let end = opened.torn.as_ref().map_or(cut, |torn| torn.place.offset);
                assert_eq!(opened.torn.map_or(0, |torn| torn.bytes), cut - end);
                assert_eq!(log.append(&mut batch_of(whole..whole + 2)).unwrap(), whole..whole + 2);
                drop(log);
                let verified = test.verify().unwrap();
                assert_eq!((verified.entries, verified.torn), (whole + 2, None));
                assert_eq!(test.records().len(), entries(0..whole + 2).len());
            },
        );
    }
}

#[test]
fn a_sector_that_was_never_written_ends_the_log() {
    let test = TestLog::new(1 << 20);
    let (mut log, _) = test.open().unwrap();
    log.append(&mut batch_of(0..4)).unwrap();
    test.deriver().advance(4).unwrap();
    let answered = fs::metadata(&test.segments()[0]).unwrap().len();
    log.append(&mut batch_of(4..40)).unwrap();
    drop(log);
    let path = test.segments()[0].clone();
    let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let first = usize::try_from(answered).unwrap().div_ceil(512) * 512;
    for sector in (first..len).step_by(512) {
        let hole = sector..len.min(sector + 512);
        with_changed(
            &path,
            |bytes| bytes[hole.clone()].fill(0),
            || {
                let (_, opened) = test.open().unwrap();
                let torn = opened.torn.unwrap();
                assert!(torn.place.offset < u64::try_from(hole.end).unwrap() && opened.len >= 4 && opened.len < 40);
            },
        );
    }
    // From the middle of a sector on: the batch was never written at all, only the file's length.
    let start = usize::try_from(answered).unwrap();
    with_changed(
        &path,
        |bytes| bytes[start..].fill(0),
        || {
            let (_, opened) = test.open().unwrap();
            assert_eq!((opened.len, opened.torn.unwrap().place.offset), (4, answered));
        },
    );
    // What the checkpoint covers is no crash, whatever it looks like.
    with_changed(&path, |bytes| bytes[512..1024].fill(0), || test.open_difference(&test.options()));
}

#[test]
fn a_crash_between_two_files_is_no_difference() {
    let (test, _) = interrupted();
    let segments = test.dir.join("segments");
    fs::write(segments.join("00000000000000000009.seg.tmp"), b"KIK").unwrap();
    fs::write(test.dir.join("log/checkpoint.tmp"), b"kiki").unwrap();
    fs::create_dir_all(test.dir.join("log/tile/0/000.p")).unwrap();
    fs::write(test.dir.join("log/tile/0/000.p/6.tmp"), b"").unwrap();
    // A tile whose checkpoint was not written any more.
    let leaf = |entry: &Vec<u8>| -> [u8; 32] { Sha256::digest([&[0], entry.as_slice()].concat()).into() };
    let hashes: Vec<_> = entries(0..8).iter().map(leaf).collect();
    fs::write(test.dir.join("log/tile/0/000.p/8"), hashes.concat()).unwrap();
    test.verify().unwrap();
    let (_log, opened) = test.open().unwrap();
    assert_eq!((opened.len, opened.torn), (9, None));
    test.deriver().advance(9).unwrap();
    test.verify().unwrap();
}

#[test]
fn a_segment_without_records_is_where_appending_goes_on() {
    let test = TestLog::with(6, 6);
    let next = test.dir.join("segments/00000000000000000006.seg");
    fs::write(next, [b"KIKI".as_slice(), &[1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]].concat()).unwrap();
    for check_from in [0, 6] {
        let options = Options { check_from, ..test.options() };
        let (mut log, opened) = kiki_audit::Log::open(&test.dir, &options).unwrap();
        assert_eq!((opened.len, opened.torn), (6 + check_from / 6, None));
        log.append(&mut batch_of(opened.len..opened.len + 1)).unwrap();
    }
    assert_eq!(test.verify().unwrap().entries, 8);
}
