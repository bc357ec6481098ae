//! The log of the governor: appended beside a plain file, provable after how long, verified how fast.
//!
//! - Appending: entries encoded and made durable in batches, in turns (A B A B …) with a plain file that gets the same
//!   bytes by one write and one fdatasync a batch.
//! - A proof: while entries come at a fixed rate, the time from when one is durable until a signed checkpoint covers it
//!   and its proof is made.
//! - Verifying: as `kiki audit verify` does, every decision recomputed, views included; by one thread, and by as many as
//!   the machine has cores.
//!
//! `KIKI_BENCH_ENTRIES_MAX` bounds the largest log (10,000,000 unless told, about 14 GB); a size for which the disk has no
//! room is left out, and said.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, unreachable_pub, reason = "a benchmark")]
#![allow(clippy::disallowed_methods, reason = "a benchmark is told where to write by the environment")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with a few digits")]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kiki_audit::{
    Audit, Batch, Checkpoint, DeriveOptions, Deriver, Durable, Entry, Log, LogKey, Options, Place, VerifyOptions,
    Which, prove, verify_with,
};
use kiki_spend::shard::Shard;
use kiki_spend::{Authorize, Bounds, Command, Decoded, Digest, Settings, State, decode, fold_decoded};
use kiki_types::event::AuditEvent;
use kiki_types::{IdSource, UnixMillis};
use serde_json::{Value, json};
use uuid::Uuid;

const START: i64 = 1_770_287_400_000;
const BATCH_ENTRIES: u64 = 4_096;
const APPENDED: [u64; 3] = [1_000, 10_000, 100_000];
const APPEND_ROUNDS: usize = 9;
const RATES: [u64; 3] = [1_000, 10_000, 50_000];
const RATE_TIME: Duration = Duration::from_secs(8);
/// Entries come in batches as often.
const TICK: Duration = Duration::from_millis(10);
/// As the governor derives.
const DERIVE_PACE: Duration = Duration::from_millis(250);
const DERIVE_ENTRIES: u64 = 50_000;
/// Logs to verify, and how often.
const VERIFIED: [(u64, usize); 3] = [(100_000, 5), (1_000_000, 3), (10_000_000, 1)];
/// Segments, views, tiles; rounded up.
const BYTES_PER_ENTRY: u64 = 2_000;
/// What must stay free on the disk.
const BYTES_FREE: u64 = 5 << 30;

fn main() {
    append();
    provable();
    verify();
}

fn append() {
    for entries in APPENDED {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(&folder.path().join("audit"), &Options::default()).unwrap();
        let mut plain = File::create(folder.path().join("plain")).unwrap();
        let mut rounds = Rounds::default();
        for round in 0..=APPEND_ROUNDS {
            let (ours, bytes) = ours(&mut log, entries);
            let plain = timed(|| {
                for batch in &bytes {
                    plain.write_all(batch).unwrap();
                    plain.sync_data().unwrap();
                }
            });
            // The first one warms both.
            if round > 0 {
                rounds.add(entries as f64 / ours, entries as f64 / plain);
            }
        }
        let what = "append to the log, durable, in batches of up to 4,096";
        rounds.record(what, "one write and one fdatasync of the same bytes", "entries/s", &size(entries));
    }
}

/// The time to encode and append, and the bytes of each batch.
fn ours(log: &mut Log, entries: u64) -> (f64, Vec<Vec<u8>>) {
    let (mut seconds, mut bytes) = (0.0, Vec::new());
    for from in (0..entries).step_by(usize::try_from(BATCH_ENTRIES).unwrap()) {
        let mut batch = Batch::new();
        seconds += timed(|| {
            fill(&mut batch, from..entries.min(from + BATCH_ENTRIES));
            log.append(&mut batch).unwrap();
        });
        bytes.push(batch.entries().flat_map(|entry| [&[0; 8], entry].concat()).collect());
    }
    (seconds, bytes)
}

fn fill(batch: &mut Batch, numbers: std::ops::Range<u64>) {
    let mut event = event();
    for number in numbers {
        event.id = Uuid::from_u128(u128::from(number) << 64);
        let body = json!({"at": START, "cmd": authorize(number), "out": {"outcome": "captured"}});
        batch.push_with(&event, &body).unwrap();
    }
}

fn event() -> AuditEvent {
    let event = json!({
        "id": Uuid::nil(), "at": START, "tenant": "default", "level": "INFO", "type": "spend.authorize",
        "actor": "0123456789abcdef0123456789abcdef", "customer": "fedcba9876543210fedcba9876543210",
        "action": "authorize", "resource": "t/ads/search", "outcome": "ALLOWED",
        "request": "01890000-0000-7000-8000-000000000000",
    });
    serde_json::from_value(event).unwrap()
}

fn authorize(number: u64) -> Command {
    let id = Digest::of(&number.to_string());
    Command::Authorize(Authorize { capture: true, ..Authorize::of(id, "t/ads/search", 1_010_000, 0) })
}

fn provable() {
    for rate in RATES {
        let folder = tempfile::tempdir().unwrap();
        let audit = folder.path().join("audit");
        let (mut log, _) = Log::open(&audit, &Options::default()).unwrap();
        let mut deriver = deriver(folder.path());
        let durable = Durable::new(0);
        let (ask, asked) = channel();
        let times = std::thread::scope(|scope| {
            scope.spawn(|| deriver.run(&durable, DERIVE_PACE, &mut |_| ()).unwrap());
            let audit = &audit;
            let prover = scope.spawn(move || wait_for_each(audit, &asked));
            let per_tick = rate * u64::try_from(TICK.as_millis()).unwrap() / 1_000;
            let begin = Instant::now();
            for tick in 1.. {
                let mut batch = Batch::new();
                fill(&mut batch, log.len()..log.len() + per_tick);
                log.append(&mut batch).unwrap();
                durable.set(log.len());
                ask.send((log.len() - 1, Instant::now())).unwrap();
                if begin.elapsed() >= RATE_TIME {
                    break;
                }
                std::thread::sleep((TICK * tick).saturating_sub(begin.elapsed()));
            }
            let came = log.len() as f64 / begin.elapsed().as_secs_f64();
            drop(ask);
            let times = prover.join().unwrap();
            durable.stop();
            (times, came)
        });
        let (mut times, came) = times;
        times.sort_by(f64::total_cmp);
        let size = format!("{} entries/s came, {came:.0} taken", digits(rate));
        for (share, name) in [(0.5, "p50"), (0.99, "p99"), (1.0, "longest")] {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
            let place = ((times.len() as f64 * share) as usize).min(times.len() - 1);
            let what = format!("from durable to proven under a signed checkpoint, {name}");
            record(&json!({"what": what, "size": size, "figure": times[place], "unit": "ms"}));
        }
    }
}

/// How long each had to wait until a checkpoint covered it and it was proven, in milliseconds.
fn wait_for_each(audit: &Path, asked: &Receiver<(u64, Instant)>) -> Vec<f64> {
    let (mut times, mut covered, disk) = (Vec::new(), 0, kiki_audit::disk::real());
    while let Ok((index, since)) = asked.recv() {
        while covered <= index {
            covered = Checkpoint::load(audit, None).unwrap().map_or(0, |checkpoint| checkpoint.size);
            if covered <= index {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        prove(&disk, audit, index, Which::Newest).unwrap();
        times.push(since.elapsed().as_secs_f64() * 1e3);
    }
    times
}

fn verify() {
    let most = std::env::var_os("KIKI_BENCH_ENTRIES_MAX").and_then(|most| most.to_str()?.parse().ok());
    let most: u64 = most.unwrap_or(u64::MAX);
    let cores = std::thread::available_parallelism().unwrap().get();
    for (entries, rounds) in VERIFIED.into_iter().filter(|(entries, _)| *entries <= most) {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path());
        if free < entries * BYTES_PER_ENTRY + BYTES_FREE {
            println!("LEFT OUT: {} entries need more room than the {free} bytes that are free", digits(entries));
            continue;
        }
        decide(folder.path(), entries);
        let (mut one, mut all) = (Vec::new(), Rounds::default());
        for _ in 0..rounds {
            let alone = entries as f64 / timed(|| verify_once(folder.path(), entries, 1));
            let together = entries as f64 / timed(|| verify_once(folder.path(), entries, cores));
            one.push(alone);
            all.add(together, alone);
        }
        one.sort_by(f64::total_cmp);
        let what = "audit verify, every decision recomputed, views compared";
        let (figure, size) = (one[one.len() / 2], size(entries));
        record(&json!({"what": format!("{what}, one thread"), "size": size, "figure": figure, "unit": "entries/s"}));
        all.record(&format!("{what}, {cores} threads"), "one thread", "entries/s", &size);
    }
}

/// Makes a log of so many decisions below `data`, derived whole.
fn decide(data: &Path, entries: u64) {
    let disk = kiki_audit::disk::real();
    let mut shard = Shard::open_on(&disk, &settings(data)).unwrap();
    // Signs the empty log, which must come before the first entry.
    let mut deriver = deriver(data);
    while shard.entries() < entries {
        let from = shard.entries();
        for number in from..entries.min(from + BATCH_ENTRIES) {
            shard.decide(&authorize(number), event()).unwrap();
        }
        shard.commit().unwrap();
        assert!(shard.entries() > from);
    }
    drop(shard);
    while !deriver.advance(entries).unwrap().caught_up() {}
}

struct Ids;

impl IdSource for Ids {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(7)
    }
}

fn settings(data: &Path) -> Settings {
    let now = AtomicI64::new(START * 64);
    Settings {
        data: data.to_owned(),
        origin: "kiki.local/bench".to_owned(),
        retention_days: 2_555,
        // A millisecond passes every 64 decisions.
        clock: Arc::new(move || UnixMillis(now.fetch_add(1, Ordering::Relaxed) / 64)),
        ids: Arc::new(Ids),
        key_seed: || [7; 32].into(),
    }
}

fn deriver(data: &Path) -> Deriver {
    let key = LogKey::open_or_create(&data.join("keys"), "kiki.local/bench", || [7; 32].into()).unwrap();
    let options = DeriveOptions { retention_days: 2_555, entries_per_step: DERIVE_ENTRIES };
    Deriver::open(&data.join("audit"), key, options).unwrap()
}

struct Recomputed(State);

impl Audit for Recomputed {
    type Prepared = Decoded;

    fn prepare(_: u64, entry: Entry) -> Result<Decoded, String> {
        decode(&entry)
    }

    fn visit(&mut self, _: u64, decoded: Decoded, _: &Place) -> Result<(), String> {
        fold_decoded(&mut self.0, decoded)
    }
}

fn verify_once(data: &Path, entries: u64, threads: usize) {
    let key = kiki_audit::VerifierKey::load(&data.join("keys/log.vkey")).unwrap();
    let options = VerifyOptions { key: Some(key), views: true, threads, ..VerifyOptions::default() };
    let mut recomputed = Recomputed(State::new(Bounds::default()));
    let verified = verify_with(&data.join("audit"), &options, &mut recomputed).unwrap();
    assert_eq!((verified.entries, verified.beyond_checkpoint), (entries, 0));
}

fn timed(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

/// What the file system of `folder` has left.
fn free_bytes(folder: &Path) -> u64 {
    let about = rustix::fs::statvfs(folder).unwrap();
    about.f_bavail * about.f_frsize
}

fn size(entries: u64) -> String {
    format!("{} entries", digits(entries))
}

/// `1,000,000`
fn digits(number: u64) -> String {
    let text = number.to_string();
    let groups: Vec<&str> = text.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// Our figure of each round, and its ratio to the other's.
#[derive(Default)]
struct Rounds {
    ours: Vec<f64>,
    ratios: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, ours: f64, other: f64) {
        self.ours.push(ours);
        self.ratios.push(ours / other);
        self.ours.sort_by(f64::total_cmp);
        self.ratios.sort_by(f64::total_cmp);
    }

    fn record(&self, what: &str, against: &str, unit: &str, size: &str) {
        let (Some(least), Some(most)) = (self.ratios.first(), self.ratios.last()) else { return };
        record(&json!({
            "what": what, "against": against, "figure": self.ours[self.ours.len() / 2], "unit": unit, "size": size,
            "ratio_median": self.ratios[self.ratios.len() / 2], "ratio_min": least, "ratio_max": most,
        }));
    }
}

fn record(row: &Value) {
    println!("{row}");
    if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
        let path = Path::new(&folder).join("audit.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}
