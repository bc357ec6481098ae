//! Every way to tamper that `docs/audit.md` lists, tried and counted. The table there is the one that this gives.
//!
//! Two tamper: somebody who can write the files, and an insider who holds the key as well and signs anew. Three look:
//! whoever has the files and the log's verifier key; whoever kept a checkpoint besides; and whoever has the checkpoint
//! cosigned by a witness.

use std::fs;
use std::path::{Path, PathBuf};

use kiki_audit::witness::{Refusal, Submission};
use kiki_audit::{Checkpoint, DiskTiles, Kept, VerifyOptions, Witness, disk, proof};

use crate::support::{TestLog, entries, event, with_changed};

/// Entries of the log, and of the checkpoint that was kept.
const LEN: u64 = 12;
const KEPT: u64 = 9;

/// How often something was tried, and by whom it was noticed.
#[derive(Default)]
struct Count {
    tried: u32,
    by_key: u32,
    by_kept: u32,
    by_witness: u32,
}

/// Who looks.
struct Auditor {
    /// With the verifier key. To check a signature takes far longer than the rest, so it is done where a file is touched
    /// that has one.
    key: VerifyOptions,
    /// With a kept checkpoint besides.
    kept: VerifyOptions,
    /// Which cosigned that checkpoint.
    witness: Witness,
}

impl Auditor {
    /// Keeps the checkpoint of the first [`KEPT`] entries.
    fn of(test: &TestLog, checkpoint: Checkpoint) -> Self {
        assert_eq!(checkpoint.size, KEPT);
        let key = VerifyOptions { key: Some(test.vkey()), views: true, ..VerifyOptions::default() };
        let kept = vec![Kept { from: PathBuf::from("kept"), checkpoint }];
        let witness =
            Witness::open(disk::real(), &test.dir.with_file_name("witness"), "w/1", &[test.vkey()], || [9; 32].into());
        let auditor = Self { kept: VerifyOptions { kept, ..key.clone() }, key, witness: witness.unwrap() };
        assert!(auditor.is_cosigned(test, 0));
        auditor
    }

    /// Whether the witness, which is told that it cosigned `old` entries, cosigns the log's checkpoint with the best proof
    /// that the log has.
    fn is_cosigned(&self, test: &TestLog, old: u64) -> bool {
        let Ok(Some(checkpoint)) = Checkpoint::load(&test.dir, None) else { return false };
        let (disk, size) = (disk::real(), checkpoint.size);
        let old = old.min(size);
        let proof = proof::consistency(&DiskTiles::new(disk.as_ref(), &test.dir, size), old, size).unwrap_or_default();
        let note = fs::read_to_string(test.dir.join("log/checkpoint")).unwrap();
        let submission = Submission { old, proof, note }.to_string();
        match self.witness.add_checkpoint(submission.as_bytes(), 1_770_287_400) {
            // It has cosigned more meanwhile, which the log, if it is the same, can prove to continue.
            Err(Refusal::Conflict { size: cosigned }) if (old + 1..=size).contains(&cosigned) => {
                self.is_cosigned(test, cosigned)
            }
            answer => answer.is_ok(),
        }
    }

    /// `signed` unless nothing that was touched has to do with signatures.
    fn look(&self, test: &TestLog, count: &mut Count, signed: bool) {
        let finds = |options: &VerifyOptions| {
            let key = options.key.clone().filter(|_| signed);
            u32::from(test.verify_options(&VerifyOptions { key, ..options.clone() }).is_err())
        };
        let found = finds(&self.key);
        count.tried += 1;
        count.by_key += found;
        // What the key finds is found whoever else is asked.
        count.by_kept += if found == 0 { finds(&self.kept) } else { found };
        count.by_witness += if found == 0 { u32::from(!self.is_cosigned(test, KEPT)) } else { found };
    }
}

/// A log, and a copy of its files as they were at [`KEPT`].
struct Story {
    test: TestLog,
    auditor: Auditor,
    backup: PathBuf,
}

impl Story {
    fn new() -> Self {
        let test = TestLog::with(KEPT, KEPT);
        let checkpoint = Checkpoint::load(&test.dir, None).unwrap().unwrap();
        let auditor = Auditor::of(&test, checkpoint);
        let backup = test.dir.with_file_name("backup");
        copy(&test.dir, &backup);
        let (mut log, _) = test.open().unwrap();
        log.append(&mut crate::support::batch_of(KEPT..LEN)).unwrap();
        drop(log);
        test.deriver().advance(LEN).unwrap();
        test.verify_options(&auditor.kept).unwrap();
        Self { test, auditor, backup }
    }

    /// Writes other entries with right checksums, at the places of those that were there.
    fn forge(&self, forged: &[Vec<u8>]) {
        self.test.forge(&self.test.starts(), forged);
    }

    /// As an insider: derives and signs everything anew.
    fn sign_anew(&self) {
        fs::remove_dir_all(self.test.dir.join("log")).unwrap();
        let _ = fs::remove_file(self.test.dir.join("views.json"));
        let len = u64::try_from(self.test.records().len()).unwrap();
        while !self.test.deriver().advance(len).unwrap().caught_up() {}
    }

    /// Looks at the log with `change` made, by an outsider or an insider, and puts it back.
    fn with(&self, count: &mut [Count; 2], change: impl Fn(&Self)) {
        let whole = self.test.dir.with_file_name("whole");
        copy(&self.test.dir, &whole);
        for (insider, count) in [false, true].into_iter().zip(count) {
            change(self);
            if insider {
                self.sign_anew();
            }
            self.auditor.look(&self.test, count, insider);
            restore(&whole, &self.test.dir);
        }
        fs::remove_dir_all(whole).unwrap();
    }

    /// With these entries instead.
    fn with_entries(&self, count: &mut [Count; 2], forged: &[Vec<u8>]) {
        self.with(count, |story| story.forge(forged));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(|file| file.unwrap().path()) {
        let target = to.join(file.file_name().unwrap());
        if file.is_dir() {
            copy(&file, &target);
        } else {
            fs::copy(&file, target).unwrap();
        }
    }
}

fn restore(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

/// The files below `dir` that say something, in order. Where entries are in a segment (`index`) only helps to find them.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()) {
        if path.ends_with("index") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// An entry that could have been.
fn another(number: u64) -> Vec<u8> {
    let mut batch = kiki_audit::Batch::new();
    let mut event = event(number);
    event.resource = "r/forged".to_owned();
    batch.push_with(&event, &serde_json::json!({"n": number})).unwrap();
    batch.entries().next().unwrap().to_vec()
}

/// One bit of each byte of each file.
fn flips(story: &Story) -> [Count; 2] {
    let mut count = Count::default();
    for file in files(&story.test.dir) {
        for at in 0..fs::read(&file).unwrap().len() {
            with_changed(
                &file,
                |bytes| bytes[at] ^= 1 << (at % 8),
                || story.auditor.look(&story.test, &mut count, file.ends_with("checkpoint")),
            );
        }
    }
    [count, Count::default()]
}

/// Changed, removed, doubled, added, swapped entries, with right checksums at their indexes.
fn histories(story: &Story) -> Vec<(&'static str, [Count; 2])> {
    let all = entries(0..LEN);
    let [mut edited, mut removed, mut doubled, mut added, mut swapped] =
        std::array::from_fn(|_| <[Count; 2]>::default());
    let kept = usize::try_from(KEPT).unwrap();
    for at in 0..kept {
        let of = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut forged = all.clone();
            change(&mut forged);
            forged
        };
        let number = u64::try_from(at).unwrap();
        story.with_entries(&mut edited, &of(&|all| all[at] = another(number)));
        story.with_entries(&mut removed, &of(&|all| drop(all.remove(at))));
        if at + 1 < kept {
            story.with_entries(&mut doubled, &of(&|all| all.insert(at, all[at].clone())));
        }
        story.with_entries(&mut added, &of(&|all| all.insert(at, another(number))));
        for other in at + 1..kept {
            story.with_entries(&mut swapped, &of(&|all| all.swap(at, other)));
        }
    }
    vec![
        ("an entry changed, its checksum made anew", edited),
        ("an entry removed, those behind it moved up", removed),
        ("an entry doubled", doubled),
        ("an entry added between others", added),
        ("two entries swapped", swapped),
    ]
}

/// The end cut off: at each byte before the end of the last entry that the checkpoint covers.
fn cuts(story: &Story) -> [Count; 2] {
    let mut count = <[Count; 2]>::default();
    let records = story.test.records();
    // What is left ends between two records, or an insider could not sign it.
    for left in 1..usize::try_from(KEPT).unwrap() {
        story.with(&mut count, |story| story.forge(&entries(0..u64::try_from(left).unwrap())));
    }
    for (place, len) in &records {
        for cut in place.offset..place.offset + len {
            let (mut bytes, whole) = (fs::read(&place.file).unwrap(), fs::read(&place.file).unwrap());
            bytes.truncate(usize::try_from(cut).unwrap());
            fs::write(&place.file, bytes).unwrap();
            story.auditor.look(&story.test, &mut count[0], false);
            fs::write(&place.file, whole).unwrap();
        }
    }
    count
}

/// Each segment taken away.
fn gaps(story: &Story) -> [Count; 2] {
    let mut count = Count::default();
    for path in story.test.segments() {
        let aside = story.test.dir.with_file_name("aside");
        fs::rename(&path, &aside).unwrap();
        story.auditor.look(&story.test, &mut count, true);
        fs::rename(&aside, &path).unwrap();
    }
    [count, Count::default()]
}

/// Each file replaced by the one of another log of the same name and key, by the one from the backup, by nothing, and
/// by each other file of its folder.
fn replaced(story: &Story) -> [Count; 2] {
    let mut count = Count::default();
    let other = TestLog::new(600);
    let (mut log, _) = other.open().unwrap();
    let mut deriver = other.deriver();
    log.append(&mut crate::support::batch_of(100..100 + LEN)).unwrap();
    deriver.advance(LEN).unwrap();
    let mut unnoticed = Vec::new();
    for path in files(&story.test.dir) {
        let name = path.strip_prefix(&story.test.dir).unwrap();
        let whole = fs::read(&path).unwrap();
        let beside = files(path.parent().unwrap()).into_iter().map(fs::read);
        let elsewhere = [fs::read(other.dir.join(name)), fs::read(story.backup.join(name)), Ok(Vec::new())];
        for bytes in elsewhere.into_iter().chain(beside).filter_map(Result::ok).filter(|bytes| *bytes != whole) {
            fs::write(&path, bytes).unwrap();
            let before = count.by_kept;
            story.auditor.look(&story.test, &mut count, true);
            if count.by_kept == before {
                unnoticed.push(name.to_owned());
            }
            fs::write(&path, &whole).unwrap();
        }
    }
    // Put back alone, these two say less than before and nothing wrong.
    assert_eq!(unnoticed, ["log/checkpoint", "views.json"].map(PathBuf::from));
    [count, Count::default()]
}

/// All files put back to an earlier state: consistent, but older than what was kept.
fn rollbacks() -> [Count; 2] {
    let mut count = Count::default();
    for len in 1..KEPT {
        let story = Story::new();
        let older = TestLog::with(len, len);
        restore(&older.dir, &story.test.dir);
        story.auditor.look(&story.test, &mut count, true);
    }
    [count, Count::default()]
}

/// Two histories with one beginning, both signed by the key: the auditor kept a checkpoint of the other one.
fn forks(story: &Story) -> [Count; 2] {
    let mut count = <[Count; 2]>::default();
    for at in 0..KEPT {
        let mut branch = entries(0..at);
        branch.extend((at..LEN + 5).map(another));
        let whole = story.test.dir.with_file_name("whole");
        copy(&story.test.dir, &whole);
        story.forge(&branch);
        story.sign_anew();
        story.auditor.look(&story.test, &mut count[1], true);
        restore(&whole, &story.test.dir);
        fs::remove_dir_all(whole).unwrap();
    }
    count
}

fn shown(Count { tried, by_key, by_kept, by_witness }: &Count) -> String {
    if *tried == 0 { " | | | ".to_owned() } else { format!("{tried} | {by_key} | {by_kept} | {by_witness}") }
}

/// The table of `docs/audit.md`.
fn table() -> String {
    let story = Story::new();
    let mut rows = vec![("one bit of each byte of each file", flips(&story))];
    rows.extend(histories(&story));
    rows.extend([
        ("the end cut off within what a checkpoint covers, at each byte", cuts(&story)),
        ("a segment taken away", gaps(&story)),
        ("a file replaced by that of another log, of a backup, of its folder, or by nothing", replaced(&story)),
        ("all files put back to an earlier state", rollbacks()),
        ("another history from some entry on", forks(&story)),
    ]);
    story.test.verify_options(&story.auditor.kept).unwrap();
    let mut table = String::from(
        "| what was done | without the key | found | kept | witness | with the key | found | kept | witness |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (what, [outsider, insider]) in &rows {
        table.push_str(&format!("| {what} | {} | {} |\n", shown(outsider), shown(insider)));
    }
    table
}

#[test]
fn every_way_to_tamper_is_noticed_as_often_as_the_page_says() {
    let table = table();
    let page = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../docs/audit.md");
    let text = fs::read_to_string(page).unwrap_or_default();
    assert!(text.contains(&table), "docs/audit.md should have this table:\n{table}");
}
