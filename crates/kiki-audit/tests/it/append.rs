//! Appending and reading back.

use kiki_audit::{Batch, Error, Log, Options, Reader};

use crate::support::{TestLog, batch_of, entries};

fn read(test: &TestLog, from: u64, to: u64) -> Result<Vec<Vec<u8>>, Error> {
    let mut reader = Reader::open(&test.dir, from, to)?;
    let mut read = Vec::new();
    while let Some(record) = reader.next_record()? {
        assert_eq!(record.index, from + u64::try_from(read.len()).unwrap());
        read.push(record.bytes.to_vec());
    }
    Ok(read)
}

#[test]
fn what_was_appended_is_read_back_from_any_entry_across_segments() {
    let test = TestLog::with(11, 0);
    assert!(test.segments().len() > 2);
    for from in 0..=11 {
        for to in from..=11 {
            assert_eq!(read(&test, from, to).unwrap(), entries(from..to), "{from}..{to}");
        }
    }
    assert!(read(&test, 0, 12).unwrap_err().to_string().contains("expected 12 entries, found the end of the log"));
    assert!(matches!(read(&test, 12, 13), Err(Error::Different(_))));
}

#[test]
fn an_entry_is_read_with_its_event_and_its_body() {
    let test = TestLog::with(4, 0);
    let mut reader = Reader::open(&test.dir, 3, 4).unwrap();
    let entry = reader.next_record().unwrap().unwrap().entry().unwrap();
    assert_eq!(entry.event, crate::support::event(3));
    assert_eq!(entry.body.unwrap().get(), r#"{"n":3}"#);
}

#[test]
fn a_batch_that_finds_its_segment_full_starts_the_next() {
    let test = TestLog::new(1);
    let (mut log, _) = test.open().unwrap();
    let mut batch = batch_of(0..3);
    assert_eq!(log.append(&mut batch).unwrap(), 0..3);
    batch.clear();
    assert_eq!(log.append(&mut Batch::new()).unwrap(), 3..3);
    assert_eq!(test.segments().len(), 1);
    assert_eq!(log.append(&mut batch_of(3..4)).unwrap(), 3..4);
    assert_eq!(test.segments().len(), 2);
    drop(log);
    let (mut log, opened) = test.open().unwrap();
    assert_eq!((opened.len, opened.torn), (4, None));
    assert_eq!(log.append(&mut batch_of(4..5)).unwrap(), 4..5);
    assert_eq!(read(&test, 0, 5).unwrap(), entries(0..5));
}

#[test]
fn with_a_snapshot_only_what_follows_is_read_and_the_log_must_reach_it() {
    let test = TestLog::with(13, 13);
    let records = test.records();
    let last_segment = records.iter().position(|(place, _)| place.file == *test.segments().last().unwrap()).unwrap();
    let options = Options { check_from: 12, ..test.options() };
    let (log, opened) = Log::open(&test.dir, &options).unwrap();
    assert_eq!((opened.len, opened.checked_from), (13, u64::try_from(last_segment).unwrap()));
    assert_eq!(opened.checkpoint.unwrap().size, 13);
    drop(log);
    let options = Options { check_from: 14, ..test.options() };
    let difference = test.open_difference(&options);
    assert_eq!((difference.place.entry, difference.expected.as_str()), (Some(13), "14 entries"));
}

#[test]
fn the_files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let test = TestLog::with(3, 3);
    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in ["shield_audit_gdpr.csv", "shield_audit_gdpr.jsonl", "views.json", "lock", "log/checkpoint"] {
        assert_eq!(mode(test.dir.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(test.segments()[0].clone()), 0o600);
    assert_eq!(mode(test.dir.join("segments")), 0o700);
}
