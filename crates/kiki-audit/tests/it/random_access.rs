//! Entries are found by the index, and without it.

use std::fs;
use std::sync::Arc;

use kiki_audit::{Disk, Reader, bundle};

use crate::support::{TestLog, batch_of, entries};

const LEN: u64 = 2_000;

/// A log of several segments that are longer than the stride of the index.
fn indexed() -> TestLog {
    let test = TestLog::new(90_000);
    let (mut log, _) = test.open().unwrap();
    let mut deriver = test.deriver();
    for from in (0..LEN).step_by(100) {
        log.append(&mut batch_of(from..from + 100)).unwrap();
        deriver.advance(from + 70).unwrap();
    }
    while !deriver.advance(LEN).unwrap().caught_up() {}
    test
}

fn disk() -> Arc<dyn Disk> {
    kiki_audit::disk::real()
}

fn entry(test: &TestLog, index: u64) -> Vec<u8> {
    let mut reader = Reader::open(&test.dir, index, index + 1).unwrap();
    let entry = reader.next_record().unwrap().unwrap().bytes.to_vec();
    assert!(reader.next_record().unwrap().is_none());
    entry
}

fn assert_all_are_found(test: &TestLog) {
    let all = entries(0..LEN);
    for index in (0..LEN).step_by(37).chain([0, 255, 256, 257, LEN - 1]) {
        assert_eq!(entry(test, index), all[usize::try_from(index).unwrap()], "entry {index}");
    }
}

fn index_files(test: &TestLog) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = fs::read_dir(test.dir.join("index")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn each_multiple_of_256_has_the_offset_of_its_record() {
    let test = indexed();
    assert!(test.segments().len() > 3);
    let mut named = 0;
    for (path, bytes) in index_files(&test) {
        let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(bytes[..8], *b"KIKIIX01");
        for (at, offset) in bytes[8..].chunks(8).enumerate() {
            let index = usize::try_from(first.next_multiple_of(256)).unwrap() + at * 256;
            let (place, _) = &test.records()[index];
            assert_eq!(u64::from_le_bytes(offset.try_into().unwrap()), place.offset, "entry {index}");
            assert_eq!(place.file.file_stem(), path.file_stem());
            named += 1;
        }
    }
    assert_eq!(named, LEN.div_ceil(256));
    assert_all_are_found(&test);
}

#[test]
fn an_index_that_is_damaged_hides_no_entry_and_invents_none() {
    let test = indexed();
    let files = index_files(&test);
    for (path, bytes) in &files {
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x11;
            fs::write(path, damaged).unwrap();
            let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            for index in [first, first.next_multiple_of(256) + 256] {
                if index < LEN {
                    assert_eq!(entry(&test, index), entries(index..index + 1)[0], "byte {at}");
                }
            }
        }
        fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
    }
    assert_all_are_found(&test);
    fs::remove_dir_all(test.dir.join("index")).unwrap();
    assert_all_are_found(&test);
}

#[test]
fn an_index_that_was_lost_is_written_again() {
    let test = indexed();
    let (mut log, _) = test.open().unwrap();
    let whole = index_files(&test);
    fs::remove_dir_all(test.dir.join("index")).unwrap();
    let mut deriver = test.deriver();
    for from in (LEN..LEN + 600).step_by(100) {
        log.append(&mut batch_of(from..from + 100)).unwrap();
        deriver.advance(from + 100).unwrap();
    }
    let again = index_files(&test);
    for ((path, bytes), (path_again, bytes_again)) in whole.iter().zip(&again) {
        assert_eq!(path, path_again);
        assert!(bytes_again.starts_with(bytes), "{}", path.display());
    }
    drop(deriver);
    fs::write(&again[0].0, b"KIKIIX01").unwrap();
    test.deriver().advance(LEN + 600).unwrap();
    assert_eq!(index_files(&test), again);
}

#[test]
fn a_bundle_is_its_entries_each_with_its_length() {
    let test = indexed();
    let all = entries(0..LEN);
    for (n, width) in [(0, 256), (3, 256), (LEN / 256, 256), (LEN / 256, 1), (LEN / 256, 208)] {
        let from = usize::try_from(n).unwrap() * 256;
        let built = bundle(&disk(), &test.dir, n, width);
        if from + width > all.len() {
            built.unwrap_err().difference().unwrap();
            continue;
        }
        let mut rest = &built.unwrap()[..];
        for entry in &all[from..from + width] {
            let (len, after) = rest.split_at(2);
            let len = usize::from(u16::from_be_bytes(len.try_into().unwrap()));
            assert_eq!(&after[..len], entry);
            rest = &after[len..];
        }
        assert!(rest.is_empty());
    }
}
