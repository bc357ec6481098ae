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
    format!("00000000-0000-7000-8000-{number:012x}")
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

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A log of two and a half days, with entries of two actors, some denied.
fn log_of_days() -> TempDir {
    let folder = folder();
    let data = folder.path().join("data");
    let pseudonyms = Pseudonyms::open_or_create(&data.join("keys"), &mut rand::rng()).unwrap();
    let key = LogKey::open_or_create(&data.join("keys"), "kiki.local/shield", || [7; 32].into()).unwrap();
    let (mut log, _) = Log::open(&data.join("audit"), &Options::default()).unwrap();
    let options = DeriveOptions { retention_days: 2555, entries_per_step: 100 };
    let mut deriver = Deriver::open(&data.join("audit"), key, options).unwrap();
    let mut batch = Batch::new();
    for number in 0..25 {
        let at = 20_000 * DAY + number * DAY / 10;
        let (mut event, body) = entry(at, &json!({"op": "note"}), &json!({"outcome": "noted"}));
        let name = if number % 2 == 0 { "winback" } else { "desk" };
        event.actor = pseudonyms.actor(&kiki_types::TenantId::default_tenant(), name).to_string();
        if number % 5 == 0 {
            event.outcome = kiki_types::event::Outcome::Denied;
        }
        event.event_type = if number % 3 == 0 { "consent.grant" } else { "spend.authorize" }.to_owned();
        event.resource = format!("r/{number}\u{1b}[2J");
        batch.push_with(&event, &body).unwrap();
    }
    log.append(&mut batch).unwrap();
    deriver.advance(25).unwrap();
    succeed(folder.path(), &["audit", "verify"]);
    folder
}

/// The indexes of the entries that `kiki audit tail` shows.
fn shown(folder: &Path, arguments: &[&str]) -> Vec<u64> {
    let lines = succeed(folder, &[&["audit", "tail", "--json"], arguments].concat());
    let index = |line| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap();
    lines.lines().map(index).collect()
}

#[test]
fn the_tail_of_a_log_is_filtered_by_outcome_action_actor_and_time() {
    let folder = log_of_days();
    let of = |arguments: &[&str]| shown(folder.path(), arguments);
    assert_eq!(of(&["-n", "3"]), [22, 23, 24]);
    assert_eq!(of(&["-n", "0"]), [0; 0]);
    assert_eq!(of(&["--outcome", "denied"]), [0, 5, 10, 15, 20]);
    assert_eq!(of(&["--outcome", "denied", "-n", "2"]), [15, 20]);
    assert_eq!(of(&["--action", "consent.grant", "-n", "2"]), [21, 24]);
    assert_eq!(of(&["--action", "spend", "-n", "2"]), [23, 24]);
    assert_eq!(of(&["--actor", "desk", "--outcome", "denied"]), [5, 15]);
    let all = succeed(folder.path(), &["audit", "tail", "--json", "-n", "1"]);
    let actor = serde_json::from_str::<Value>(&all).unwrap()["entry"]["actor"].as_str().unwrap().to_owned();
    assert_eq!(of(&["--actor", &actor, "-n", "2"]), [22, 24]);
    assert_eq!(of(&["--actor", "nobody"]), [0; 0]);
    // Day 20,000 is 2024-10-04.
    assert_eq!(of(&["--since", "2024-10-06T00:00:00Z"]), [20, 21, 22, 23, 24]);
    assert_eq!(of(&["--since", "2024-10-04T02:24:00Z", "--until", "2024-10-04T07:12:00Z"]), [1, 2]);
    let text = succeed(folder.path(), &["audit", "tail", "-n", "1"]);
    assert!(text.contains("2024-10-06T09:36:00.000Z") && text.contains("r/24?[2J"), "{text:?}");
}

#[test]
fn an_export_holds_the_rows_of_the_views_by_span_and_by_day() {
    let folder = log_of_days();
    let view = |ending| fs::read_to_string(folder.path().join("data/audit/shield_audit_gdpr").with_extension(ending));
    let (csv, jsonl) = (view("csv").unwrap(), view("jsonl").unwrap());
    assert_eq!(succeed(folder.path(), &["audit", "export"]), csv);
    assert_eq!(succeed(folder.path(), &["audit", "export", "--format", "jsonl"]), jsonl);
    let (header, rows) = csv.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    let day = format!("{header}\n{}\n", rows[10..20].join("\n"));
    assert_eq!(succeed(folder.path(), &["audit", "export", "--day", "2024-10-05"]), day);
    let span = ["--since", "2024-10-05T00:00:00Z", "--until", "2024-10-06T00:00:00Z", "--out", "span.csv"];
    let told = succeed(folder.path(), &[&["audit", "export"][..], &span].concat());
    assert!(told.contains("10 entries in span.csv"), "{told}");
    assert_eq!(fs::read_to_string(folder.path().join("span.csv")).unwrap(), day);
    let told = succeed(folder.path(), &["audit", "export", "--daily", "days"]);
    assert!(told.contains("20 entries of 2 days"), "{told}");
    assert_eq!(fs::read_to_string(folder.path().join("days/2024-10-05.csv")).unwrap(), day);
    // The day of the last entry is not over.
    let mut files: Vec<_> =
        fs::read_dir(folder.path().join("days")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["2024-10-04.csv", "2024-10-05.csv"]);
}

#[test]
fn a_followed_tail_shows_what_comes() {
    use std::io::BufRead;

    let folder = log_of_days();
    let mut child = kiki(folder.path())
        .args(["audit", "tail", "-n", "1", "--follow", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["index"].clone();
    assert_eq!(next(), 24);
    let data = folder.path().join("data");
    let (mut log, _) = Log::open(&data.join("audit"), &Options::default()).unwrap();
    let (event, body) = entry(20_003 * DAY, &json!({"op": "note"}), &json!({"outcome": "noted"}));
    let mut batch = Batch::new();
    batch.push_with(&event, &body).unwrap();
    log.append(&mut batch).unwrap();
    let key = LogKey::open_or_create(&data.join("keys"), "kiki.local/shield", || [7; 32].into()).unwrap();
    let options = DeriveOptions { retention_days: 2555, entries_per_step: 100 };
    Deriver::open(&data.join("audit"), key, options).unwrap().advance(26).unwrap();
    assert_eq!(next(), 25);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_kept_checkpoint_finds_a_log_that_was_rolled_back_or_forked() {
    let folder = log_of_days();
    let checkpoint = folder.path().join("data/audit/log/checkpoint");
    fs::copy(&checkpoint, folder.path().join("kept")).unwrap();
    let told = succeed(folder.path(), &["audit", "verify", "--kept", "kept", "--threads", "3"]);
    assert!(told.contains("consistent with 1 kept checkpoints"), "{told}");
    // Going on from an earlier run.
    let first = succeed(folder.path(), &["audit", "verify", "--resume", "audits"]);
    assert!(!first.contains("looked at from"), "{first}");
    let again = succeed(folder.path(), &["audit", "verify", "--resume", "audits"]);
    assert!(again.contains("25 entries in 1 segments, looked at from entry 25 on"), "{again}");
    // Another log by the same key, and longer.
    let data = folder.path().join("data");
    fs::remove_dir_all(data.join("audit")).unwrap();
    for (entries, found) in [(10, "25 entries at least"), (30, "two histories")] {
        let key = LogKey::open_or_create(&data.join("keys"), "kiki.local/shield", || [7; 32].into()).unwrap();
        let (mut log, opened) = Log::open(&data.join("audit"), &Options::default()).unwrap();
        let options = DeriveOptions { retention_days: 2555, entries_per_step: 100 };
        let mut deriver = Deriver::open(&data.join("audit"), key, options).unwrap();
        let mut batch = Batch::new();
        for number in opened.len..entries {
            let at = i64::try_from(number).unwrap();
            let (event, body) = entry(at, &json!({"op": "note"}), &json!({"outcome": "noted"}));
            batch.push_with(&event, &body).unwrap();
        }
        log.append(&mut batch).unwrap();
        deriver.advance(entries).unwrap();
        drop(log);
        succeed(folder.path(), &["audit", "verify"]);
        let complaint = fail(folder.path(), &["audit", "verify", "--kept", "kept"]);
        assert!(complaint.contains("kept") && complaint.contains(found), "{complaint}");
        fail(folder.path(), &["audit", "verify", "--resume", "audits"]);
    }
}
