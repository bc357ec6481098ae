//! Proofs for strangers: `kiki audit prove` where the log is, `kiki audit verify proof` and the Python script where it is
//! not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hyper::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Http, Serving, fail, folder, here, succeed};

/// The data of a shield that decided something and has ended, and the id of the last authorization.
pub(crate) async fn decided(spends: u32) -> (TempDir, String) {
    let folder = folder();
    let id = decide_in(folder.path(), spends).await;
    (folder, id)
}

/// Lets a shield on this data decide and end.
pub(crate) async fn decide_in(folder: &Path, spends: u32) -> String {
    let serving = Serving::shield(folder, &[("MAX_BURST_BUDGET", "100000")]);
    let http = Http::new();
    let mut id = String::new();
    for amount in 1..=spends {
        let ask = json!({
            "account": "ads", "amount": {"amount": amount.to_string(), "currency": "USD"}, "ttl_seconds": 600,
        });
        let answer = http.post(&serving.url("shield", "/v1/authorizations"), &ask).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{:?}", answer.json());
        answer.json()["id"].as_str().unwrap().clone_into(&mut id);
    }
    serving.terminate();
    id
}

fn log_key(folder: &Path) -> String {
    fs::read_to_string(folder.join("data/keys/log.vkey")).unwrap().trim().to_owned()
}

/// Runs the script that verifies without KIKI; `None` where there is no Python.
fn python(arguments: &[&str]) -> Option<Output> {
    let script = here("../../docs/verify_kiki_log.py");
    match Command::new("python3").arg(script).args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("python3 is not here: the script that verifies without KIKI was NOT tested");
            None
        }
    }
}

fn assert_python(arguments: &[&str], holds: bool) {
    if let Some(output) = python(arguments) {
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert_eq!(output.status.success(), holds, "{arguments:?}: {said}");
        assert!(said.contains(if holds { "verified: " } else { "NOT VERIFIED: " }), "{said}");
    }
}

#[tokio::test]
async fn a_decision_is_proven_to_somebody_who_has_the_key_and_no_log() {
    let (folder, id) = decided(5).await;
    let by_id = succeed(folder.path(), &["audit", "prove", &id]);
    let index = by_id.lines().find_map(|line| line.strip_prefix("index ")).unwrap();
    assert_eq!(succeed(folder.path(), &["audit", "prove", index]), by_id);

    let (elsewhere, key) = (self::folder(), log_key(folder.path()));
    fs::write(elsewhere.path().join("one.tlog-proof"), &by_id).unwrap();
    let proven = succeed(elsewhere.path(), &["audit", "verify", "proof", "one.tlog-proof", "--key", &key]);
    assert!(proven.contains(&format!("proven: entry {index} of kiki.local/shield")), "{proven}");
    assert!(proven.contains(&id.replace('-', "")) && proven.contains("cosigned by no witness"), "{proven}");
    let file = elsewhere.path().join("one.tlog-proof");
    assert_python(&["proof", file.to_str().unwrap(), "--key", &key], true);
}

#[tokio::test]
async fn what_is_not_in_the_log_or_whose_tiles_are_damaged_is_not_proven() {
    let (folder, _) = decided(3).await;
    let complaint = fail(folder.path(), &["audit", "prove", "1000"]);
    assert!(complaint.contains("entry 1000 is not in the checkpoint"), "{complaint}");
    let unknown = "019b0000-0000-7000-8000-000000000000";
    assert!(fail(folder.path(), &["audit", "prove", unknown]).contains(unknown));
    assert!(fail(folder.path(), &["audit", "prove", "one"]).contains("neither"));
    assert!(fail(folder.path(), &["audit", "prove", "1", "--witnessed"]).contains("covers 0 entries"));
    let widest = |dir: PathBuf| {
        let width = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap();
        fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).max_by_key(width).unwrap()
    };
    let tile = widest(folder.path().join("data/audit/log/tile/0/000.p"));
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let complaint = fail(folder.path(), &["audit", "prove", "0"]);
    assert!(complaint.contains("tiles that give the root"), "{complaint}");
}

#[tokio::test]
async fn a_proof_that_somebody_changed_shows_nothing() {
    let (folder, id) = decided(4).await;
    let (proof, key) = (succeed(folder.path(), &["audit", "prove", &id]), log_key(folder.path()));
    let elsewhere = self::folder();
    let file = elsewhere.path().join("one.tlog-proof");
    let mut at = 0;
    for line in proof.split_inclusive('\n') {
        // The library's own test changes every byte; one in each line is enough to see that the command listens to it.
        let mut bytes = proof.clone().into_bytes();
        bytes[at + line.len() / 2] ^= 1;
        at += line.len();
        fs::write(&file, bytes).unwrap();
        fail(elsewhere.path(), &["audit", "verify", "proof", "one.tlog-proof", "--key", &key]);
        assert_python(&["proof", file.to_str().unwrap(), "--key", &key], false);
    }
    let (other, _) = decided(4).await;
    fs::write(&file, &proof).unwrap();
    let complaint =
        fail(elsewhere.path(), &["audit", "verify", "proof", "one.tlog-proof", "--key", &log_key(other.path())]);
    assert!(complaint.contains("no signature by the key"), "{complaint}");
    assert_python(&["proof", file.to_str().unwrap(), "--key", &log_key(other.path())], false);
    assert!(fail(elsewhere.path(), &["audit", "verify", "proof", "one.tlog-proof"]).contains("--key"));
}

/// The log as it would be published: its tiles, and the entries in bundles (C2SP tlog-tiles), of one partial tile.
fn published(folder: &Path) -> TempDir {
    let published = self::folder();
    let log = folder.join("data/audit/log");
    copy(&log, published.path());
    let segment = fs::read(folder.join("data/audit/segments/00000000000000000000.seg")).unwrap();
    let (mut bundle, mut at, mut width) = (Vec::new(), 16, 0);
    while at < segment.len() {
        let len = u32::from_le_bytes(segment[at..at + 4].try_into().unwrap());
        let entry = &segment[at + 8..at + 8 + usize::try_from(len).unwrap()];
        bundle.extend(u16::try_from(len).unwrap().to_be_bytes());
        bundle.extend(entry);
        at += 8 + entry.len();
        width += 1;
    }
    let dir = published.path().join("tile/entries/000.p");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(width.to_string()), bundle).unwrap();
    published
}

/// Copies what is in a folder into one that is there.
pub(crate) fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_whole_log_is_verified_without_kiki() {
    let (folder, _) = decided(3).await;
    let key = log_key(folder.path());
    let kept = folder.path().join("kept");
    fs::copy(folder.path().join("data/audit/log/checkpoint"), &kept).unwrap();
    decide_in(folder.path(), 4).await;
    let published = published(folder.path());
    let arguments = |dir: &Path| {
        let texts = ["log", dir.to_str().unwrap(), "--key", &key, "--kept", kept.to_str().unwrap()];
        texts.map(str::to_owned)
    };
    let verify = |dir: &Path, holds: bool| assert_python(&arguments(dir).each_ref().map(String::as_str), holds);
    verify(published.path(), true);
    verify(&folder.path().join("data/audit/log"), true);

    let bundles = published.path().join("tile/entries/000.p");
    let bundle = fs::read_dir(bundles).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&bundle).unwrap();
    for spoil in [
        |bytes: &mut Vec<u8>| bytes[100] ^= 1,
        |bytes: &mut Vec<u8>| bytes.truncate(200),
        |bytes: &mut Vec<u8>| bytes.push(0),
    ] {
        let mut bytes = whole.clone();
        spoil(&mut bytes);
        fs::write(&bundle, bytes).unwrap();
        verify(published.path(), false);
    }
    fs::write(&bundle, whole).unwrap();
    // A log that was put back to a former state has fewer entries than it had.
    let newest = published.path().join("checkpoint");
    let (now, before) = (fs::read(&newest).unwrap(), fs::read(&kept).unwrap());
    fs::write(&newest, &before).unwrap();
    fs::write(&kept, &now).unwrap();
    verify(published.path(), false);
}

#[tokio::test]
async fn after_a_rotation_the_old_key_and_the_handover_are_enough() {
    let (folder, _) = decided(3).await;
    let old = log_key(folder.path());
    let serving = Serving::shield(folder.path(), &[]);
    assert!(fail(folder.path(), &["audit", "key", "rotate"]).contains("lock"), "the log is open");
    serving.terminate();
    let rotated = succeed(folder.path(), &["audit", "key", "rotate"]);
    let new = log_key(folder.path());
    assert!(old != new && rotated.contains(&old) && rotated.contains(&new), "{rotated}");
    let shown = succeed(folder.path(), &["audit", "key", "show"]);
    assert!(shown.starts_with(&new) && shown.contains(&format!("handed over by {old}")), "{shown}");

    let id = decide_in(folder.path(), 2).await;
    let elsewhere = self::folder();
    fs::write(elsewhere.path().join("one"), succeed(folder.path(), &["audit", "prove", &id])).unwrap();
    fs::write(elsewhere.path().join("old.vkey"), &old).unwrap();
    let verify = ["audit", "verify", "proof", "one", "--key", "old.vkey"];
    fail(elsewhere.path(), &verify);
    fs::copy(folder.path().join("data/audit/log/handover/0001"), elsewhere.path().join("handover")).unwrap();
    succeed(elsewhere.path(), &[&verify[..], &["--handover", "handover"]].concat());
    fs::copy(elsewhere.path().join("old.vkey"), folder.path().join("old.vkey")).unwrap();
    succeed(folder.path(), &["audit", "verify", "--key", "old.vkey"]);
    succeed(folder.path(), &["audit", "verify"]);
}
