//! Tiles, checkpoint and views follow the log, through restarts and damage.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiki_audit::{DeriveOptions, Durable};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{TestLog, batch_of, entries};

type Hash = [u8; 32];

/// RFC 6962, section 2.1, word for word.
fn mth(entries: &[Vec<u8>]) -> Hash {
    match entries {
        [] => Sha256::digest(b"").into(),
        [entry] => Sha256::digest([&[0], entry.as_slice()].concat()).into(),
        _ => {
            let mut k = 1;
            while k * 2 < entries.len() {
                k *= 2;
            }
            Sha256::digest([&[1], mth(&entries[..k]).as_slice(), &mth(&entries[k..])].concat()).into()
        }
    }
}

fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for file in fs::read_dir(next).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                files.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// What one run over `len` entries derives.
fn derived_at_once(len: u64) -> BTreeMap<PathBuf, Vec<u8>> {
    let test = TestLog::new(1 << 20);
    let (mut log, _) = test.open().unwrap();
    let mut deriver = test.deriver();
    log.append(&mut batch_of(0..len)).unwrap();
    while !deriver.advance(len).unwrap().caught_up() {}
    let mut files = files_below(&test.dir);
    // An index follows the segments, which differ from run to run.
    files.retain(|path, _| !path.starts_with("segments") && !path.starts_with("index"));
    files
}

#[test]
fn the_checkpoint_is_the_root_by_the_book_and_the_tiles_are_its_subtrees() {
    let len = 600;
    let files = derived_at_once(len);
    let all = entries(0..len);
    let checkpoint = String::from_utf8(files[Path::new("log/checkpoint")].clone()).unwrap();
    let lines: Vec<&str> = checkpoint.lines().collect();
    assert_eq!(lines[..2], ["kiki.local/test", "600"]);
    assert_eq!(lines[2], base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mth(&all)));
    assert!(lines[3].is_empty() && lines[4].starts_with("— kiki.local/test "));
    for (tile, level, start, width) in
        [("0/000", 0, 0, 256), ("0/001", 0, 256, 256), ("0/002.p/88", 0, 512, 88), ("1/000.p/2", 1, 0, 2)]
    {
        let span = 256_usize.pow(level);
        let hashes: Vec<Hash> = (0..width).map(|at| mth(&all[start + at * span..start + (at + 1) * span])).collect();
        assert_eq!(files[&Path::new("log/tile").join(tile)], hashes.concat(), "{tile}");
    }
    assert_eq!(files.keys().filter(|path| path.starts_with("log/tile")).count(), 4);
}

#[test]
fn the_empty_log_is_signed_before_anything_is_appended() {
    let test = TestLog::new(900);
    let (_log, _) = test.open().unwrap();
    assert_eq!(test.deriver().checkpoint().size, 0);
    let verified = test.verify_with(Some(test.vkey())).unwrap();
    assert_eq!((verified.entries, verified.checkpoint.unwrap().root), (0, mth(&[])));
}

#[test]
fn a_step_takes_a_bounded_number_of_entries() {
    let test = TestLog::with(9, 0);
    let mut deriver = test.deriver_with(DeriveOptions { retention_days: 30, entries_per_step: 4 });
    let steps: Vec<u64> = (0..4).map(|_| deriver.advance(9).unwrap().derived).collect();
    assert_eq!(steps, [4, 8, 9, 9]);
    assert_eq!(deriver.checkpoint().size, 9);
    // Nothing new, nothing written: the files are still the same ones.
    let inode = |file: &str| fs::metadata(test.dir.join(file)).unwrap().ino();
    let inodes = || ["log/checkpoint", "log/tile/0/000.p/9", "views.json"].map(inode);
    let before = inodes();
    deriver.advance(9).unwrap();
    assert_eq!(inodes(), before);
}

#[test]
fn full_tiles_replace_their_partial_versions() {
    let test = TestLog::new(1 << 20);
    let (mut log, _) = test.open().unwrap();
    let mut deriver = test.deriver();
    log.append(&mut batch_of(0..300)).unwrap();
    for len in [10, 200, 300] {
        deriver.advance(len).unwrap();
    }
    let tiles: Vec<_> = files_below(&test.dir.join("log/tile")).into_keys().collect();
    assert_eq!(tiles, ["0/000", "0/001.p/44", "1/000.p/1"].map(PathBuf::from));
}

#[test]
fn lost_or_damaged_tiles_are_grown_again_and_must_reach_the_signed_root() {
    let test = TestLog::new(30_000);
    let (mut log, _) = test.open().unwrap();
    log.append(&mut batch_of(0..300)).unwrap();
    let mut deriver = test.deriver_with(DeriveOptions { retention_days: 30, entries_per_step: 170 });
    for len in [100, 260, 270] {
        deriver.advance(len).unwrap();
    }
    drop(deriver);
    for width in [4, 14] {
        fs::write(test.dir.join(format!("log/tile/0/001.p/{width}")), vec![7; width * 32]).unwrap();
    }
    assert!(test.verify().is_err());
    let mut deriver = test.deriver_with(DeriveOptions { retention_days: 30, entries_per_step: 170 });
    while !deriver.advance(270).unwrap().caught_up() {}
    assert_eq!(deriver.checkpoint().size, 270);
    test.verify().unwrap();
    drop(deriver);
    fs::remove_dir_all(test.dir.join("log/tile")).unwrap();
    let mut deriver = test.deriver();
    while !deriver.advance(300).unwrap().caught_up() {}
    assert_eq!(test.verify().unwrap().checkpoint.unwrap().size, 300);
    drop((deriver, log));

    fs::remove_dir_all(test.dir.join("log/tile")).unwrap();
    let mut forged = entries(0..300);
    forged[7] = forged[8].clone();
    test.forge(&test.starts(), &forged);
    let mut deriver = test.deriver();
    let error = deriver.advance(300).unwrap_err();
    assert!(error.difference().unwrap().place.file.ends_with("log/checkpoint"), "{error}");
    assert!(deriver.advance(300).unwrap_err().to_string().contains("opened again"));
}

#[test]
fn views_are_reconciled_with_their_count_or_start_over() {
    let test = TestLog::with(9, 5);
    let (csv, jsonl) = (test.dir.join("shield_audit_gdpr.csv"), test.dir.join("shield_audit_gdpr.jsonl"));
    let count = test.dir.join("views.json");
    let whole = derived_at_once(9);
    let right = || {
        test.deriver().advance(9).unwrap();
        for path in [&csv, &jsonl] {
            assert!(fs::read(path).unwrap() == whole[Path::new(path.file_name().unwrap())], "{}", path.display());
        }
        test.verify().unwrap();
    };
    for path in [&csv, &jsonl] {
        let mut rows = fs::read(path).unwrap();
        rows.extend(b"half a ro");
        fs::write(path, rows).unwrap();
    }
    right();
    let rows = fs::read(&csv).unwrap();
    fs::write(&csv, &rows[..40]).unwrap();
    right();
    fs::remove_file(&jsonl).unwrap();
    right();
    fs::remove_file(&count).unwrap();
    right();
    fs::write(&count, b"{}").unwrap();
    right();
    test.deriver_with(DeriveOptions { retention_days: 90, entries_per_step: 100 }).advance(9).unwrap();
    assert!(fs::read_to_string(&csv).unwrap().lines().skip(1).all(|row| row.ends_with(",90")));
    test.verify().unwrap();
}

#[test]
fn a_thread_derives_while_another_appends_and_a_third_verifies() {
    let test = TestLog::new(20_000);
    let (mut log, opened) = test.open().unwrap();
    let mut deriver = test.deriver();
    let durable = Durable::new(opened.len);
    std::thread::scope(|scope| {
        let deriving = scope.spawn(|| deriver.run(&durable, Duration::from_millis(1), &mut |_| {}));
        let verifying = scope.spawn(|| {
            let mut last = 0;
            while last < 700 {
                let verified = test.verify_with(Some(test.vkey())).unwrap();
                assert!(verified.entries >= last && verified.torn.is_none());
                last = verified.entries;
            }
        });
        for from in (0..700).step_by(7) {
            log.append(&mut batch_of(from..from + 7)).unwrap();
            durable.set(log.len());
        }
        let verified = verifying.join();
        durable.stop();
        deriving.join().unwrap().unwrap();
        verified.unwrap();
    });
    let verified = test.verify().unwrap();
    assert_eq!((verified.checkpoint.unwrap().size, verified.view_rows), (700, 1400));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn batches_segments_steps_and_restarts_make_no_difference(
        segment_bytes_max in 1_u64..30_000,
        entries_per_step in 1_u64..200,
        runs in prop::collection::vec((prop::collection::vec(0_u64..90, 1..4), 0_u64..120), 1..6),
    ) {
        let test = TestLog::new(segment_bytes_max);
        let options = DeriveOptions { retention_days: 30, entries_per_step };
        let mut len = 0;
        for (batches, behind) in runs {
            let (mut log, opened) = test.open().unwrap();
            prop_assert_eq!((opened.len, opened.torn), (len, None));
            let mut deriver = test.deriver_with(options);
            for batch in batches {
                log.append(&mut batch_of(len..len + batch)).unwrap();
                len += batch;
                let _ = deriver.advance(len.saturating_sub(behind)).unwrap();
            }
        }
        let mut deriver = test.deriver_with(options);
        while !deriver.advance(len).unwrap().caught_up() {}
        let verified = test.verify_with(Some(test.vkey())).unwrap();
        prop_assert_eq!((verified.entries, verified.beyond_checkpoint, verified.view_rows), (len, 0, 2 * len));
        let found = files_below(&test.dir);
        for (path, bytes) in derived_at_once(len) {
            prop_assert!(found.get(&path) == Some(&bytes), "{} of {len}", path.display());
        }
    }
}
