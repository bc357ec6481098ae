//! A tamperer who changes the entries.

use std::fs;

use kiki_audit::{Log, OpenError, Options};

use crate::support::{TestLog, entries, with_changed};

const LEN: u64 = 9;

fn opened(test: &TestLog) -> Result<kiki_audit::Opened, OpenError> {
    test.open().map(|(_, opened)| opened)
}

#[test]
fn every_flipped_byte_is_found_in_its_record() {
    let test = TestLog::with(LEN, LEN);
    assert!(test.segments().len() > 2);
    for (place, len) in test.records() {
        for byte in place.offset..place.offset + len {
            let at = usize::try_from(byte).unwrap();
            with_changed(
                &place.file,
                |bytes| bytes[at] ^= 1 << (at % 8),
                || {
                    assert_eq!(test.difference().place, place, "byte {byte}");
                    assert_eq!(test.open_difference(&test.options()).place, place, "byte {byte}");
                },
            );
        }
    }
}

#[test]
fn every_flipped_byte_of_a_segment_header_is_found_at_that_byte() {
    let test = TestLog::with(LEN, LEN);
    for path in test.segments() {
        for at in 0..16 {
            with_changed(
                &path,
                |bytes| bytes[at] ^= 0x10,
                || {
                    let place = test.difference().place;
                    assert_eq!((&place.file, place.offset), (&path, u64::try_from(at).unwrap()));
                    // A snapshot does not keep it from being seen.
                    let options = Options { check_from: LEN, ..test.options() };
                    assert_eq!(test.open_difference(&options).place, place);
                },
            );
        }
    }
}

#[test]
fn beyond_the_checkpoint_only_a_last_record_that_was_not_finished_is_cut() {
    let covered = 4;
    let test = TestLog::new(1 << 20).filled(LEN, covered);
    let records = test.records();
    let last = records.len() - 1;
    for (index, (place, len)) in records.iter().enumerate().skip(usize::try_from(covered).unwrap()) {
        for byte in place.offset..place.offset + len {
            let at = usize::try_from(byte).unwrap();
            with_changed(
                &place.file,
                |bytes| bytes[at] ^= 1 << (at % 8),
                || {
                    let (verified, opened) = (test.verify(), opened(&test));
                    if let Ok(opened) = opened {
                        // Its length says that there is more to come, and nothing that comes contradicts it.
                        assert!(index == last && byte < place.offset + 2, "byte {byte}");
                        assert_eq!(opened.torn.unwrap().place, *place);
                        assert_eq!(verified.unwrap().torn.unwrap().place, *place);
                    } else {
                        assert_eq!(test.difference().place, *place);
                        assert_eq!(test.open_difference(&test.options()).place, *place);
                    }
                },
            );
        }
    }
}

#[test]
fn every_cut_is_found_where_the_entries_end() {
    let covered = 3;
    let test = TestLog::with(7, covered);
    let records = test.records();
    let paths = test.segments();
    for path in &paths {
        let len = fs::metadata(path).unwrap().len();
        for cut in 16..len {
            let whole = records
                .iter()
                .filter(|(place, len)| place.file < *path || (place.file == *path && place.offset + len <= cut));
            let left = u64::try_from(whole.count()).unwrap();
            with_changed(
                path,
                |bytes| bytes.truncate(usize::try_from(cut).unwrap()),
                || {
                    if path != paths.last().unwrap() || left < covered {
                        for place in [test.difference().place, test.open_difference(&test.options()).place] {
                            assert_eq!((&place.file, place.entry), (path, Some(left)), "cut at {cut}");
                        }
                        return;
                    }
                    let at_a_border = records.iter().any(|(place, _)| place.file == *path && place.offset == cut);
                    let verified = test.verify().unwrap();
                    let opened = opened(&test).unwrap();
                    assert_eq!((verified.entries, opened.len), (left, left));
                    assert_eq!((verified.torn.is_none(), &verified.torn), (at_a_border, &opened.torn), "cut at {cut}");
                },
            );
        }
    }
}

#[test]
fn a_removed_record_is_found_whether_or_not_checksums_were_made_anew() {
    let test = TestLog::with(LEN, LEN);
    let (all, starts) = (entries(0..LEN), test.starts());
    for (index, (place, len)) in test.records().into_iter().enumerate() {
        let (start, end) = (usize::try_from(place.offset).unwrap(), usize::try_from(place.offset + len).unwrap());
        with_changed(
            &place.file,
            |bytes| drop(bytes.drain(start..end)),
            || {
                assert_eq!(test.difference().place.entry, place.entry);
                assert_eq!(test.open_difference(&test.options()).place.entry, place.entry);
            },
        );
        let mut forged = all.clone();
        forged.remove(index);
        test.forge(&starts, &forged);
        assert_eq!(test.difference().place.entry, place.entry);
        assert_eq!(test.open_difference(&test.options()).place.entry, place.entry);
        test.forge(&starts, &all);
    }
}

#[test]
fn two_swapped_records_are_found_at_the_first_whether_or_not_checksums_were_made_anew() {
    let test = TestLog::with(LEN, LEN);
    let (all, starts) = (entries(0..LEN), test.starts());
    let records = test.records();
    for first in 0..all.len() {
        for second in first + 1..all.len() {
            let mut forged = all.clone();
            forged.swap(first, second);
            test.forge(&starts, &forged);
            assert_eq!(test.difference().place, records[first].0);
            assert_eq!(test.open_difference(&test.options()).place, records[first].0);
            test.forge(&starts, &all);
        }
        let (place, next) = (&records[first].0, records.get(first + 1).map(|(place, _)| place));
        if let Some(next) = next.filter(|next| next.file == place.file) {
            let lens = [&records[first], &records[first + 1]].map(|(_, len)| usize::try_from(*len).unwrap());
            let start = usize::try_from(place.offset).unwrap();
            let swap = |bytes: &mut Vec<u8>| bytes[start..start + lens[0] + lens[1]].rotate_left(lens[0]);
            with_changed(&next.file, swap, || assert_eq!(test.difference().place, *place));
        }
    }
}

#[test]
fn a_changed_entry_with_a_right_checksum_is_found_by_its_tile() {
    let test = TestLog::with(LEN, LEN);
    let (all, records, starts) = (entries(0..LEN), test.records(), test.starts());
    for index in 0..all.len() {
        let mut forged = all.clone();
        let text = String::from_utf8(forged[index].clone()).unwrap().replace("authorize", "authorise");
        forged[index] = text.into_bytes();
        test.forge(&starts, &forged);
        let difference = test.difference();
        assert_eq!(difference.place, records[index].0);
        assert!(difference.expected.contains("tile/0/000.p/9"), "{difference}");
        assert_eq!(test.open_difference(&test.options()).place, records[index].0);
        // Not JSON any more: the tile still names it.
        forged[index].pop();
        test.forge(&starts, &forged);
        assert_eq!(test.difference().place, records[index].0);
        test.forge(&starts, &all);
    }
    test.verify().unwrap();
}

#[test]
fn an_entry_that_is_no_json_is_found_before_a_checkpoint_covers_it() {
    let test = TestLog::with(LEN, 0);
    let mut forged = entries(0..LEN);
    forged[4] = b"{}".to_vec();
    test.forge(&test.starts(), &forged);
    assert_eq!(test.difference().place, test.records()[4].0);
}

#[test]
fn a_missing_or_renamed_segment_is_found() {
    let test = TestLog::with(LEN, LEN);
    let (paths, records) = (test.segments(), test.records());
    let aside = test.dir.join("aside");
    for (at, path) in paths.iter().enumerate() {
        let first = records.iter().find(|(place, _)| place.file == *path).unwrap().0.entry;
        fs::rename(path, &aside).unwrap();
        assert_eq!(test.difference().place.entry, first);
        for check_from in [0, LEN] {
            let options = Options { check_from, ..test.options() };
            let found = test.open_difference(&options).place.entry.unwrap();
            assert!([first.unwrap(), first.unwrap().saturating_sub(1)].contains(&found), "segment {at}: {found}");
        }
        for name in ["00000000000000000003.seg", "00000000000000000099.seg", "3.seg", "x"] {
            let renamed = test.dir.join("segments").join(name);
            if !renamed.exists() {
                fs::rename(&aside, &renamed).unwrap();
                assert!(test.verify().is_err() && Log::open(&test.dir, &test.options()).is_err(), "{at} as {name}");
                fs::rename(&renamed, &aside).unwrap();
            }
        }
        fs::rename(&aside, path).unwrap();
    }
    test.verify().unwrap();
}

#[test]
fn what_the_caller_finds_is_named_with_its_place() {
    let test = TestLog::with(LEN, LEN);
    let mut seen = Vec::new();
    let mut visit = |index: u64, entry: &kiki_audit::Entry, _: &kiki_audit::Place| {
        seen.push((index, entry.body.as_ref().unwrap().get().to_owned()));
        if index == 5 { Err("another outcome".to_owned()) } else { Ok(()) }
    };
    let options = kiki_audit::VerifyOptions::default();
    let difference = crate::support::different(kiki_audit::verify(&test.dir, &options, &mut visit, &mut |_| ()));
    assert_eq!((difference.place, difference.found.as_str()), (test.records()[5].0.clone(), "another outcome"));
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[2], (2, r#"{"n":2}"#.to_owned()));
}
