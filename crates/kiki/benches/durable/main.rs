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

mod append;
#[path = "../load/mod.rs"]
mod load;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use load::client::{Arrivals, latencies, measured, rate};
use load::peers;
use load::rounds::{Rounds, percentile};
use load::server::Server;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
const CONNECTIONS: [usize; 3] = [4, 32, 256];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(peers::ECHO) => runtime.block_on(peers::echo()),
        Some(append::APPEND) => runtime.block_on(append::append(&arguments.next().expect("a file to append to"))),
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
    let echo = peers::start(&[peers::ECHO]);
    let append = peers::start(&[append::APPEND, folder.path().join("appended").to_str().unwrap()]);
    let spend = "POST /spend?amount=0.01 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let (spend, same) = (Arc::new(spend.to_owned()), Arc::new(peers::echo_request()));
    for connections in CONNECTIONS {
        let size = format!("{connections} connections");
        let throughput = beside_the_echo(&shield, &spend, &echo, &same, connections, &size).await;
        beside_the_append(&shield, &append, &spend, connections, throughput / 2.0, &size).await;
    }
}

/// Throughput and CPU time beside the echo. Returns the median of the throughput, in requests a second.
async fn beside_the_echo(
    shield: &Server,
    spend: &Arc<String>,
    echo: &Server,
    same: &Arc<String>,
    connections: usize,
    size: &str,
) -> f64 {
    // Warm both.
    rate(shield.address, spend, connections, ROUND).await;
    rate(echo.address, same, connections, ROUND).await;
    let (mut throughput, mut cpu) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        let (our_rate, our_cpu) = measured(shield, spend, connections, ROUND).await;
        let (peer_rate, peer_cpu) = measured(echo, same, connections, ROUND).await;
        throughput.add(our_rate, peer_rate);
        if let (Some(ours), Some(peer)) = (our_cpu, peer_cpu) {
            cpu.add(ours, peer);
        }
    }
    let what = "spend over HTTP, fsync before the answer, one hot budget";
    throughput.record([what, peers::ECHO_NAME, "requests/s", size]);
    cpu.record(["the server's CPU time for a spend over HTTP", peers::ECHO_NAME, "µs", size]);
    throughput.figure()
}

/// The 99th percentile of latency at `rate` requests a second that come whether or not earlier ones are answered.
async fn beside_the_append(
    shield: &Server,
    append: &Server,
    spend: &Arc<String>,
    connections: usize,
    rate: f64,
    size: &str,
) {
    let mut p99 = Rounds::default();
    for round in 0..ROUNDS {
        let arrivals = Arrivals::poisson(rate, ROUND, round);
        let ours = latencies(shield.address, spend, connections, &arrivals).await;
        let peer = latencies(append.address, spend, connections, &arrivals).await;
        p99.add(percentile(&ours, 0.99), percentile(&peer, 0.99));
    }
    p99.record(["p99 of a spend at half of that rate, open loop", "a bare group commit over HTTP", "ms", size]);
}
