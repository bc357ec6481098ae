//! A tamperer who changes what was derived from the entries.

use std::fs;

use kiki_audit::{Log, Options};

use crate::support::{TestLog, key_in, with_changed};

const LEN: u64 = 9;

#[test]
fn every_flipped_byte_of_a_tile_is_found_in_its_hash() {
    let test = TestLog::with(LEN, 4);
    test.deriver().advance(LEN).unwrap();
    for (tile, width) in [("log/tile/0/000.p/9", 9), ("log/tile/0/000.p/4", 4)] {
        let path = test.dir.join(tile);
        for at in 0..width * 32 {
            with_changed(
                &path,
                |bytes| bytes[at] ^= 1 << (at % 8),
                || {
                    let place = test.difference().place;
                    assert_eq!((&place.file, place.offset), (&path, u64::try_from(at / 32 * 32).unwrap()));
                },
            );
        }
        with_changed(&path, |bytes| bytes.truncate(32), || assert_eq!(test.difference().place.file, path));
    }
    let path = test.dir.join("log/tile/0/000.p/9");
    fs::remove_file(&path).unwrap();
    assert_eq!(test.difference().place.file, path);
}

#[test]
fn full_tiles_and_tiles_above_are_compared_too() {
    let test = TestLog::new(20_000);
    let (mut log, _) = test.open().unwrap();
    let mut deriver = test.deriver();
    log.append(&mut crate::support::batch_of(0..600)).unwrap();
    deriver.advance(600).unwrap();
    assert_eq!(test.verify().unwrap().tiles, 4);
    for tile in ["0/000", "0/001", "0/002.p/88", "1/000.p/2"] {
        let path = test.dir.join("log/tile").join(tile);
        with_changed(
            &path,
            |bytes| bytes[40] ^= 4,
            || {
                let difference = test.difference();
                assert_eq!((&difference.place.file, difference.place.offset), (&path, 32), "{difference}");
            },
        );
    }
}

#[test]
fn every_flipped_byte_of_the_checkpoint_is_found() {
    let test = TestLog::with(LEN, LEN);
    let path = test.dir.join("log/checkpoint");
    let key = test.vkey();
    let options = Options { key: Some(key.clone()), ..test.options() };
    for at in 0..fs::read(&path).unwrap().len() {
        with_changed(
            &path,
            |bytes| bytes[at] ^= 1 << (at % 8),
            || {
                let difference = crate::support::different(test.verify_with(Some(key.clone())));
                assert_eq!(difference.place.file, path);
                assert_eq!(test.open_difference(&options).place.file, path);
            },
        );
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(crate::support::different(test.verify_with(Some(key))).place.file, path);
    assert_eq!(test.difference().place.file, path);
    assert_eq!(test.open_difference(&options).place.file, path);
}

#[test]
fn a_checkpoint_by_another_key_is_refused() {
    let test = TestLog::with(LEN, LEN);
    let other = key_in(&test.dir.join("other"), 8).verifier().clone();
    let difference = crate::support::different(test.verify_with(Some(other.clone())));
    assert!(difference.found.contains("no signature by the key of this log"), "{difference}");
    let options = Options { key: Some(other), ..test.options() };
    test.open_difference(&options);
    let verified = test.verify_with(Some(test.vkey())).unwrap();
    assert!(verified.signed);
    assert_eq!((verified.entries, verified.beyond_checkpoint), (LEN, 0));
}

#[test]
fn an_older_checkpoint_with_its_tiles_gone_does_not_hide_a_shorter_log() {
    let test = TestLog::with(LEN, LEN);
    let path = test.segments().last().unwrap().clone();
    fs::remove_file(path).unwrap();
    fs::remove_dir_all(test.dir.join("log/tile")).unwrap();
    test.difference();
    assert!(Log::open(&test.dir, &test.options()).is_err());
}

#[test]
fn every_flipped_byte_of_a_view_is_found_at_that_byte() {
    let test = TestLog::with(LEN, LEN);
    for view in ["shield_audit_gdpr.csv", "shield_audit_gdpr.jsonl"] {
        let path = test.dir.join(view);
        let len = fs::read(&path).unwrap().len();
        for at in 0..len {
            with_changed(
                &path,
                |bytes| bytes[at] ^= 1 << (at % 8),
                || {
                    let place = test.difference().place;
                    assert_eq!((&place.file, place.offset), (&path, u64::try_from(at).unwrap()));
                },
            );
        }
        for cut in [0, 1, len / 2, len - 1] {
            with_changed(&path, |bytes| bytes.truncate(cut), || assert_eq!(test.difference().place.file, path));
        }
        with_changed(&path, |bytes| bytes.extend(b"x"), || assert_eq!(test.difference().place.file, path));
        let aside = test.dir.join("aside");
        fs::rename(&path, &aside).unwrap();
        assert_eq!(test.difference().place.file, path);
        fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(test.verify().unwrap().view_rows, 2 * LEN);
}

#[test]
fn every_flipped_byte_of_the_count_of_the_views_is_found() {
    let test = TestLog::with(LEN, LEN);
    let path = test.dir.join("views.json");
    for at in 0..fs::read(&path).unwrap().len() {
        for flip in [1, 2, 4, 0x80] {
            with_changed(&path, |bytes| bytes[at] ^= flip, || test.difference());
        }
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(test.difference().place.file, path);
}

#[test]
fn views_may_be_behind_the_log() {
    let test = TestLog::with(LEN, 4);
    let verified = test.verify().unwrap();
    assert_eq!((verified.view_rows, verified.beyond_checkpoint, verified.entries), (8, 5, LEN));
}
