//! What is on a shelf is a whole log, of one history.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kiki_audit::{Entry, Error, Folder, ShipOptions, Shipped, Shipper, disk};
use tempfile::TempDir;

use crate::support::{TestLog, batch_of, different, entries};

/// An hour for each entry.
fn time_of(entry: &Entry) -> Option<i64> {
    let body: serde_json::Value = serde_json::from_str(entry.body.as_deref()?.get()).ok()?;
    Some(body["n"].as_i64()? * 3600 * 1000)
}

fn ship(test: &TestLog, shelf: &Path) -> Result<Shipped, Error> {
    let options = ShipOptions { keys: vec![test.vkey()], to: "shelf".to_owned(), retention_days: 30, time_of };
    Shipper::open_on(disk::real(), &test.dir, options, Box::new(Folder::new(disk::real(), shelf))).advance()
}

fn files_below(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for file in fs::read_dir(next).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Fails naming the files that are not in both, or differ, but for partial tiles: those of earlier checkpoints stay until
/// the tile is full.
fn assert_same(one: &Path, other: &Path) {
    let read =
        |shelf| files_below(shelf).into_iter().filter(|(name, _)| !name.contains(".p/")).collect::<BTreeMap<_, _>>();
    let (one, other) = (read(one), read(other));
    let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ: Vec<_> = names.into_iter().filter(|name| one.get(*name) != other.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?}");
}

/// Derives up to each of `sizes`, and ships there.
fn shipped_at(test: &TestLog, sizes: &[u64]) -> (TempDir, Shipped) {
    let shelf = tempfile::tempdir().unwrap();
    let (mut log, _) = test.open().unwrap();
    let mut deriver = test.deriver();
    let mut shipped = None;
    for size in sizes {
        for from in (log.len()..*size).step_by(10) {
            log.append(&mut batch_of(from..(from + 10).min(*size))).unwrap();
        }
        deriver.advance(*size).unwrap();
        shipped = Some(ship(test, shelf.path()).unwrap());
    }
    (shelf, shipped.unwrap())
}

fn unbundled(mut bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while let Some((len, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)));
        entries.push(entry.to_vec());
        bundle = rest;
    }
    entries
}

#[test]
fn a_shelf_has_the_tiles_the_bundles_the_full_segments_and_the_days_that_are_over() {
    let test = TestLog::new(30_000);
    let (shelf, shipped) = shipped_at(&test, &[600]);
    let there = files_below(shelf.path());
    assert_eq!(there["checkpoint"], fs::read(test.dir.join("log/checkpoint")).unwrap());
    for name in ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"] {
        assert_eq!(there[name], fs::read(test.dir.join("log").join(name)).unwrap(), "{name}");
    }
    let bundles = ["000", "001", "002.p/88"].map(|name| unbundled(&there[&format!("tile/entries/{name}")]));
    assert_eq!(bundles.concat(), entries(0..600));
    let mut segments = test.segments();
    let last: u64 = segments.pop().unwrap().file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(segments.len() > 2);
    for path in &segments {
        let name = format!("segments/{}", path.file_name().unwrap().to_str().unwrap());
        assert_eq!(there[&name], fs::read(path).unwrap());
    }
    let days: Vec<_> = there.keys().filter(|name| name.starts_with("daily/") && name.ends_with(".csv")).collect();
    assert_eq!(days.len(), 24);
    assert_eq!(days[0], "daily/1970/1970-01-01.csv");
    let view = fs::read_to_string(test.dir.join("shield_audit_gdpr.csv")).unwrap();
    let rows = |name: &String| String::from_utf8(there[name].clone()).unwrap().split_inclusive('\n').skip(1).collect();
    let shipped_rows: String = days.into_iter().map(rows).collect::<Vec<String>>().concat();
    assert!(view.split_once('\n').unwrap().1.starts_with(&shipped_rows));
    assert_eq!(shipped_rows.lines().count(), 24 * 24);
    assert_eq!((shipped.size, shipped.segments_to, shipped.days_to), (600, last, 576));
    assert_eq!(there["log.vkeys"], format!("{}\n", test.vkey()).as_bytes());
    assert_eq!(there.len(), 4 + 3 + segments.len() + 48 + 2);
}

#[test]
fn shipping_goes_on_and_leaves_what_shipping_at_once_leaves() {
    let (once, _) = shipped_at(&TestLog::new(20_000), &[700]);
    let test = TestLog::new(20_000);
    let (often, _) = shipped_at(&test, &[10, 30, 200, 250, 260, 300, 510, 520, 640, 700]);
    assert_same(once.path(), often.path());
    let partial: Vec<_> = files_below(often.path()).into_keys().filter(|name| name.contains(".p/")).collect();
    assert!(partial.iter().all(|name| name.contains("/002.p/") || name.contains("tile/1/")), "{partial:?}");
    // What is remembered is only remembered.
    fs::remove_file(test.dir.join("shipped.json")).unwrap();
    ship(&test, often.path()).unwrap();
    let empty = tempfile::tempdir().unwrap();
    ship(&test, empty.path()).unwrap();
    for shelf in [&often, &empty] {
        assert_same(once.path(), shelf.path());
    }
}

#[test]
fn a_shelf_of_another_history_or_a_newer_one_is_left_as_it_is() {
    let (shelf, _) = shipped_at(&TestLog::new(20_000), &[300]);
    let before = files_below(shelf.path());
    let newer = TestLog::new(20_000).filled(200, 200);
    let difference = different(ship(&newer, shelf.path()));
    assert!(difference.found.contains("rolled back"), "{difference}");
    let forked = TestLog::new(20_000).filled(400, 400);
    let mut other = entries(0..400);
    other[7] = other[8].clone();
    forked.forge(&forked.starts(), &other);
    fs::remove_dir_all(forked.dir.join("log")).unwrap();
    while !forked.deriver().advance(400).unwrap().caught_up() {}
    let difference = different(ship(&forked, shelf.path()));
    assert!(difference.found.contains("two histories"), "{difference}");
    assert!(files_below(shelf.path()) == before);
}

#[test]
fn a_shelf_with_a_checkpoint_that_nobody_of_the_log_signed_is_left_as_it_is() {
    let test = TestLog::new(20_000);
    let (shelf, _) = shipped_at(&test, &[300]);
    let path = shelf.path().join("checkpoint");
    let note = fs::read(&path).unwrap();
    for at in (0..note.len()).step_by(9) {
        let mut forged = note.clone();
        forged[at] ^= 1;
        fs::write(&path, &forged).unwrap();
        different(ship(&test, shelf.path()));
        assert_eq!(fs::read(&path).unwrap(), forged);
    }
}

#[test]
fn what_is_on_the_shelf_is_never_changed() {
    let test = TestLog::new(20_000);
    let (shelf, _) = shipped_at(&test, &[600]);
    fs::remove_file(shelf.path().join("checkpoint")).unwrap();
    fs::remove_file(test.dir.join("shipped.json")).unwrap();
    let names = ["tile/0/001", "tile/entries/000", "segments/00000000000000000000.seg"];
    for path in names.map(|name| shelf.path().join(name)) {
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let Err(Error::Io { source, .. }) = ship(&test, shelf.path()) else { panic!("shipped over {path:?}") };
        assert_eq!(source.kind(), std::io::ErrorKind::InvalidData, "{path:?}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert!(!shelf.path().join("checkpoint").exists());
        bytes[40] ^= 1;
        fs::write(&path, &bytes).unwrap();
    }
    ship(&test, shelf.path()).unwrap();
}

#[test]
fn nothing_leaves_that_the_checkpoint_does_not_prove() {
    let test = TestLog::new(1 << 20).filled(600, 600);
    let segment = test.segments()[0].clone();
    let damage: [(PathBuf, usize); 4] = [
        (segment, 90),
        (test.dir.join("log/tile/0/000"), 70),
        (test.dir.join("log/tile/0/002.p/88"), 70),
        (test.dir.join("log/tile/1/000.p/2"), 40),
    ];
    for (path, at) in damage {
        let shelf = tempfile::tempdir().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        different(ship(&test, shelf.path()));
        let damaged = files_below(shelf.path()).into_values().any(|object| object == bytes);
        assert!(!damaged && !shelf.path().join("checkpoint").exists(), "{}", path.display());
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
    }
    ship(&test, tempfile::tempdir().unwrap().path()).unwrap();
}
