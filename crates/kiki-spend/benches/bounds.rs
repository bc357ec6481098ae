//! The state at its bounds: 100,000 limits, 1,000,000 open holds and 10,000,000 kept keys. What they take in memory and
//! on the disk, and how long a snapshot takes to write and to read, which a start waits for.
//!
//! Prints rows, and writes them where `KIKI_BENCH_DIR` names a folder. Wants about 6 GB of memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, unreachable_pub, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is told where to write by the environment")]

#[path = "../tests/support/load.rs"]
mod load;

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Instant;

use allocation_counter::measure;
use kiki_spend::{Bounds, snapshot};
use load::{authorizations, empty, limits};
use serde_json::{Value, json};

const LIMITS: u32 = 100_000;
const HOLDS: u32 = 1_000_000;
const KEYS: u32 = 10_000_000;

fn main() {
    let mut state = empty();
    let both = measure(|| limits(&mut state, "day", LIMITS)).bytes_current;
    record("memory, a limit on an account of its own", "100,000 limits", per(both, LIMITS), "bytes");
    let holds = measure(|| authorizations(&mut state, 0, HOLDS, false)).bytes_current;
    record("memory, an open hold", "1,000,000 holds", per(holds, HOLDS), "bytes");
    let keys = measure(|| authorizations(&mut state, HOLDS, KEYS, true)).bytes_current;
    record("memory, a kept key", "10,000,000 keys", per(keys, KEYS), "bytes");
    let all = "100,000 limits, 1,000,000 holds, 10,000,000 keys";
    record("memory, all of the state", all, (both + holds + keys) as f64 / 1e6, "MB");

    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    snapshot::write(folder.path(), 1, [0; 32], &state).unwrap();
    record("snapshot, written and synced", all, begun.elapsed().as_secs_f64(), "s");
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    record("snapshot, size", all, file.metadata().unwrap().len() as f64 / 1e6, "MB");
    drop(state);
    let begun = Instant::now();
    let (_, restored) = snapshot::newest(folder.path(), Bounds::default(), |_, _| true).unwrap().unwrap();
    record("snapshot, read and indexed", all, begun.elapsed().as_secs_f64(), "s");
    assert_eq!(restored.counts("t"), (HOLDS, HOLDS + KEYS));
}

fn per(bytes: i64, many: u32) -> f64 {
    bytes as f64 / f64::from(many)
}

fn record(what: &str, size: &str, figure: f64, unit: &str) {
    let row: Value =
        json!({ "what": format!("governor at its bounds, {what}"), "size": size, "figure": figure, "unit": unit });
    println!("{row}");
    if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
        let path = std::path::Path::new(&folder).join("bounds.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}
