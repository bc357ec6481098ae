//! `kiki audit verify` on logs that somebody tampered with, and `kiki spend replay`.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kiki_audit::{Batch, DeriveOptions, Deriver, Log, LogKey, Options};
use kiki_shield::Pseudonyms;
use kiki_types::event::AuditEvent;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Http, Serving, fail, folder, kiki, run, succeed};

const HEADER_BYTES: usize = 16;

/// A log of a few decisions, of a shield that has ended.
async fn log() -> TempDir {
    let folder = folder();
    let serving = Serving::shield(folder.path(), &[]);
    let http = Http::new();
    for amount in ["10", "20", "30", "9000", "40"] {
        http.get(&serving.url("shield", &format!("/spend?amount={amount}"))).await;
    }
    serving.terminate();
    folder
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("data/audit/segments/00000000000000000000.seg")
}

/// Where the records of a segment are: length, checksum, entry.
fn records(segment: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while at < segment.len() {
        let length = u32::from_le_bytes(segment[at..at + 4].try_into().unwrap());
        found.push(at..at + 8 + usize::try_from(length).unwrap());
        at = found.last().unwrap().end;
    }
    found
}

/// Verifies the log as it is, then with its segment replaced by what `tamper` makes of it; the complaint.
async fn tampered(tamper: impl FnOnce(Vec<u8>, &[Range<usize>]) -> Vec<u8>) -> String {
    let folder = log().await;
    let verified = succeed(folder.path(), &["audit", "verify"]);
    assert!(verified.contains("6 entries in 1 segments"), "{verified}");
    let path = segment(folder.path());
    let bytes = fs::read(&path).unwrap();
    let places = records(&bytes);
    assert_eq!(places.len(), 6);
    fs::write(&path, tamper(bytes, &places)).unwrap();
    let complaint = fail(folder.path(), &["audit", "verify"]);
    assert!(complaint.contains("00000000000000000000.seg"), "{complaint}");
    let start = fail(folder.path(), &["serve", "shield", "--free-ports"]);
    assert!(start.contains("00000000000000000000.seg") || start.contains("entries"), "it must not start: {start}");
    complaint
}

#[tokio::test]
async fn a_flipped_byte_is_found_in_its_entry() {
    let complaint = tampered(|mut bytes, places| {
        bytes[places[3].start + 20] ^= 1;
        bytes
    })
    .await;
    assert!(complaint.contains("entry 3"), "{complaint}");
}

#[tokio::test]
async fn a_cut_is_found_at_its_place() {
    let complaint = tampered(|bytes, places| bytes[..places[4].start].to_vec()).await;
    assert!(complaint.contains("entry 4"), "{complaint}");
}

#[tokio::test]
async fn a_removed_record_is_found_where_it_was() {
    let complaint = tampered(|bytes, places| [&bytes[..places[2].start], &bytes[places[2].end..]].concat()).await;
    assert!(complaint.contains("entry 2"), "{complaint}");
}

#[tokio::test]
async fn two_swapped_records_are_found_at_the_first() {
    let complaint = tampered(|bytes, places| {
        let (first, second) = (places[1].clone(), places[2].clone());
        [&bytes[..first.start], &bytes[second.clone()], &bytes[first], &bytes[second.end..]].concat()
    })
    .await;
    assert!(complaint.contains("entry 1"), "{complaint}");
}

#[tokio::test]
async fn a_log_that_is_not_there_or_has_another_key_is_refused() {
    let folder = log().await;
    let elsewhere = fail(folder.path(), &["audit", "verify", "--data", "elsewhere"]);
    assert!(elsewhere.contains("elsewhere"), "{elsewhere}");
    let other = log().await;
    let key = other.path().join("data/keys/log.vkey");
    let complaint = fail(folder.path(), &["audit", "verify", "--key", key.to_str().unwrap()]);
    assert!(complaint.contains("signature"), "{complaint}");
}

/// An entry as the governor writes it.
fn entry(at: i64, command: &Value, outcome: &Value) -> (AuditEvent, Value) {
    let event = json!({
        "id": uuid(at), "at": at, "tenant": "default", "level": "INFO", "type": "spend", "actor": "", "action": "spend",
        "resource": "default", "outcome": "ALLOWED",
    });
    (serde_json::from_value(event).unwrap(), json!({"at": at, "cmd": command, "out": outcome}))
}

fn uuid(number: i64) -> String {
    format!("00000000-0000-7000-8000-{number:012}")
}

#[test]
fn a_decision_that_the_rules_do_not_give_is_found_although_the_log_is_signed() {
    let folder = folder();
    let data = folder.path().join("data");
    Pseudonyms::open_or_create(&data.join("keys"), &mut rand::rng()).unwrap();
    let limit = json!({"op": "limit", "id": "default/burst", "path": "default", "kind": "window", "amount": 500, "seconds": 60});
    let spend = json!({"op": "authorize", "id": "1".repeat(32), "path": "default", "amount": 501, "ttl_ms": 0, "capture": true});
    let key = || LogKey::open_or_create(&data.join("keys"), "kiki.local/shield", || [7; 32].into()).unwrap();
    let (mut log, _) = Log::open(&data.join("audit"), &Options::default()).unwrap();
    let options = DeriveOptions { retention_days: 1, entries_per_step: 100 };
    let mut deriver = Deriver::open(&data.join("audit"), key(), options).unwrap();
    let mut batch = Batch::new();
    for (event, body) in [
        entry(1, &limit, &json!({"outcome": "defined"})),
        entry(2, &spend, &json!({"outcome": "denied", "refused_by": ["default/burst"]})),
        entry(3, &spend, &json!({"outcome": "captured"})),
    ] {
        batch.push_with(&event, &body).unwrap();
    }
    log.append(&mut batch).unwrap();
    deriver.advance(3).unwrap();
    drop(log);
    let complaint = fail(folder.path(), &["audit", "verify"]);
    assert!(complaint.contains("entry 2") && complaint.contains("the rules give"), "{complaint}");
    let start = fail(folder.path(), &["serve", "shield", "--free-ports"]);
    assert!(start.contains("entry 2"), "{start}");
}

#[test]
fn a_file_of_commands_is_replayed_and_a_bad_line_named() {
    let folder = folder();
    let commands = "{\"at\": 1, \"op\": \"limit\", \"id\": \"w\", \"path\": \"t\", \"kind\": \"window\", \"amount\": 5, \"seconds\": 60}\n\
        {\"at\": 2, \"op\": \"authorize\", \"id\": \"a\", \"key\": \"k\", \"path\": \"t/x\", \"amount\": 6, \"ttl_ms\": 10}\n";
    fs::write(folder.path().join("commands.jsonl"), commands).unwrap();
    let expected =
        "{\"n\": 1, \"outcome\": \"defined\"}\n{\"n\": 2, \"outcome\": \"denied\", \"refused_by\": [\"w\"]}\n";
    assert_eq!(succeed(folder.path(), &["spend", "replay", "commands.jsonl"]), expected);
    fs::write(folder.path().join("bad.jsonl"), format!("{commands}{{\"at\": 3}}\n")).unwrap();
    let complaint = fail(folder.path(), &["spend", "replay", "bad.jsonl"]);
    assert!(complaint.contains("bad.jsonl: line 3: missing field `op`"), "{complaint}");
    assert!(fail(folder.path(), &["spend", "replay", "none.jsonl"]).contains("none.jsonl"));
}

#[test]
fn a_wrong_configuration_is_told_all_at_once() {
    let folder = folder();
    fs::write(folder.path().join("kiki.toml"), "[spend]\nwindow_secs = 60\n").unwrap();
    let output =
        kiki(folder.path()).args(["config"]).envs([("MAX_BURST_BUDGET", "lots"), ("PORT", "99999")]).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    for part in ["MAX_BURST_BUDGET", "PORT", "window_secs"] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let folder = folder();
    fs::write(folder.path().join(".env"), "INTERNAL_API_KEY=a-key-of-sixteen-characters\nWINDOW_SECONDS=60.0\n")
        .unwrap();
    let shown = succeed(folder.path(), &["config"]);
    assert!(shown.contains("INTERNAL_API_KEY") && !shown.contains("sixteen"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("WINDOW_SECONDS") && line.contains(".env")), "{shown}");
    let public = run(folder.path(), &["serve", "shield", "--free-ports", "--host", "0.0.0.0"]);
    assert!(!public.status.success());
    let complaint = String::from_utf8(public.stderr).unwrap();
    assert!(complaint.contains("--trust network"), "{complaint}");
}
