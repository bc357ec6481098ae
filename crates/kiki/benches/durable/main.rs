//! Spending over HTTP with the disk in the path, beside peers that do less.
//!
//! All load is on ONE budget, and each answer waits until the decision is on the disk. Throughput and CPU time stand
//! beside axum echoing a JSON body of 300 bytes; latency at half of that throughput stands beside a bare group commit:
//! axum, an append, an fdatasync, an answer. Each server is a process of its own; the same client asks them in turn
//! (A B A B …). The client and the servers share the machine's cores.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and tells by printing"
)]

mod client;
mod peers;
mod server;

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

use client::{Arrivals, latencies, rate};
use server::Server;

const ROUNDS: usize = 7;
const CONNECTIONS: [usize; 3] = [4, 32, 256];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(peers::ECHO) => runtime.block_on(peers::echo()),
        Some(peers::APPEND) => runtime.block_on(peers::append(&arguments.next().expect("a file to append to"))),
        _ => runtime.block_on(compare()),
    }
}

async fn compare() {
    let folder = tempfile::tempdir().unwrap();
    let shield = Server::start(
        Command::new(env!("CARGO_BIN_EXE_kiki"))
            .args(["serve", "shield", "--free-ports"])
            .env("KIKI_DATA", folder.path())
            .env("KIKI_LOG_FORMAT", "json")
            .env("MAX_BURST_BUDGET", "9000000000000"),
    );
    let peer = |arguments: &[&str]| Server::start(Command::new(std::env::current_exe().unwrap()).args(arguments));
    let echo = peer(&[peers::ECHO]);
    let append = peer(&[peers::APPEND, folder.path().join("appended").to_str().unwrap()]);
    let spend = "POST /spend?amount=0.01 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let body = json!({"text": "x".repeat(300 - 11)}).to_string();
    let same = format!(
        "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for connections in CONNECTIONS {
        let size = format!("{connections} connections");
        let throughput = beside_the_echo(&shield, spend, &echo, &same, connections, &size).await;
        beside_the_append(&shield, &append, spend, connections, throughput / 2.0, &size).await;
    }
}

/// Throughput and CPU time beside the echo. Returns the median of the throughput, in requests a second.
async fn beside_the_echo(
    shield: &Server,
    spend: &str,
    echo: &Server,
    same: &str,
    connections: usize,
    size: &str,
) -> f64 {
    // Warm both.
    rate(shield.address, spend, connections).await;
    rate(echo.address, same, connections).await;
    let (mut throughput, mut cpu) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        let (our_rate, our_cpu) = measured(shield, spend, connections).await;
        let (peer_rate, peer_cpu) = measured(echo, same, connections).await;
        throughput.add(our_rate, peer_rate);
        if let (Some(ours), Some(peer)) = (our_cpu, peer_cpu) {
            cpu.add(ours, peer);
        }
    }
    let peer = "axum JSON echo, 300 B";
    throughput.record("spend over HTTP, fsync before the answer, one hot budget", peer, "requests/s", size);
    cpu.record("the server's CPU time for a spend over HTTP", peer, "µs", size);
    throughput.figure()
}

/// Requests a second, and the server's CPU time for one in microseconds where the machine tells it.
async fn measured(server: &Server, request: &str, connections: usize) -> (f64, Option<f64>) {
    let before = server.cpu_time();
    let (rate, answered) = rate(server.address, request, connections).await;
    let spent = before.and_then(|before| Some(server.cpu_time()? - before));
    (rate, spent.map(|spent| spent.as_secs_f64() * 1e6 / f64::from(answered)))
}

/// The 99th percentile of latency at `rate` requests a second that come whether or not earlier ones are answered.
async fn beside_the_append(shield: &Server, append: &Server, spend: &str, connections: usize, rate: f64, size: &str) {
    let mut p99 = Rounds::default();
    for round in 0..ROUNDS {
        let arrivals = Arrivals::poisson(rate, round);
        let ours = latencies(shield.address, spend, connections, &arrivals).await;
        let peer = latencies(append.address, spend, connections, &arrivals).await;
        p99.add(percentile(&ours, 0.99), percentile(&peer, 0.99));
    }
    p99.record("p99 of a spend at half of that rate, open loop", "a bare group commit over HTTP", "ms", size);
}

/// The value of `sorted` below which that share of them is.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length is a place")]
    let place = (sorted.len() as f64 * share) as usize;
    sorted[place.min(sorted.len() - 1)]
}

/// Our figure of each round, and its ratio to the peer's.
#[derive(Default)]
struct Rounds {
    ours: Vec<f64>,
    ratios: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, ours: f64, peer: f64) {
        self.ours.push(ours);
        self.ratios.push(ours / peer);
        self.ours.sort_by(f64::total_cmp);
        self.ratios.sort_by(f64::total_cmp);
    }

    /// The median.
    fn figure(&self) -> f64 {
        self.ours[self.ours.len() / 2]
    }

    fn record(&self, what: &str, against: &str, unit: &str, size: &str) {
        let (Some(least), Some(most)) = (self.ratios.first(), self.ratios.last()) else { return };
        record(&json!({
            "what": what, "against": against, "figure": self.figure(), "unit": unit, "size": size,
            "ratio_median": self.ratios[self.ratios.len() / 2], "ratio_min": least, "ratio_max": most,
        }));
    }
}

fn record(row: &Value) {
    println!("{row}");
    if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
        let path = std::path::Path::new(&folder).join("durable.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}
