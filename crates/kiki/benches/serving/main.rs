//! Predictions over HTTP and gRPC, beside axum echoing a JSON body of 300 bytes.
//!
//! `kiki serve value` knows simulated customers from an order log that it was trained with over HTTP, and orders that came
//! since. Each prediction is about a known customer at random. The service and the echo are processes of their own, asked in
//! turns (A B A B …) by the same client, which shares the machine's cores with them. No answer may fail: not while versions of
//! the model change, and not while orders come.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark fails by panicking and tells by printing"
)]

mod grpc;
#[path = "../load/mod.rs"]
mod load;
mod requests;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grpc::Way;
use load::client::{Arrivals, Requests, latencies, measured, rate};
use load::peers::{self, ECHO_NAME};
use load::rounds::{Rounds, percentile};
use load::server::Server;
use requests::{Batch, Mixed, Moving, One, change_versions};
use world::World;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Connections, or callers over gRPC, unless it says otherwise.
const USUAL: usize = 32;
/// Connections that ask for batches.
const FEW: usize = 4;
const CUSTOMERS: [usize; 3] = [1_000, 10_000, 100_000];
const CONNECTIONS: [usize; 3] = [4, USUAL, 256];
const BATCHES: [usize; 2] = [100, 1_000];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match std::env::args().nth(1).as_deref() {
        Some(peers::ECHO) => runtime.block_on(peers::echo()),
        _ => runtime.block_on(compare()),
    }
}

async fn compare() {
    let echo = Echo { server: peers::start(&[peers::ECHO]), request: Arc::new(peers::echo_request()) };
    let [few, some, many] = CUSTOMERS;
    for customers in [few, some] {
        single(&World::new(customers).await, &echo, USUAL).await;
    }
    let world = World::new(many).await;
    for connections in CONNECTIONS {
        single(&world, &echo, connections).await;
    }
    for size in BATCHES {
        batches(&world, &echo, size).await;
    }
    for (way, callers, size) in [
        (Way::One, USUAL, format!("one a call, {USUAL} callers")),
        (Way::Batch(1_000), FEW, format!("1,000 a call, {FEW} callers")),
        (Way::Stream(1_000), FEW, format!("streams of 1,000, {FEW} callers")),
    ] {
        over_grpc(&world, &echo, way, callers, &size).await;
    }
    while_versions_change(&world).await;
    while_orders_come(&world, &echo).await;
}

/// What all stands beside.
struct Echo {
    server: Server,
    request: Arc<String>,
}

impl Echo {
    async fn measured(&self, connections: usize) -> (f64, Option<f64>) {
        measured(&self.server, &self.request, connections, ROUND).await
    }
}

/// Answers a second and the server's CPU time, each for `each` predictions, beside the echo.
async fn beside_the_echo(
    world: &World,
    echo: &Echo,
    requests: Arc<impl Requests>,
    connections: usize,
    each: f64,
) -> (Rounds, Rounds) {
    let (mut throughput, mut cpu) = (Rounds::default(), Rounds::default());
    // Warm both.
    rate(world.server.address, &requests, connections, ROUND).await;
    echo.measured(connections).await;
    for _ in 0..ROUNDS {
        let (our_rate, our_cpu) = measured(&world.server, &requests, connections, ROUND).await;
        let (peer_rate, peer_cpu) = echo.measured(connections).await;
        throughput.add(our_rate * each, peer_rate);
        if let (Some(ours), Some(peer)) = (our_cpu, peer_cpu) {
            cpu.add(ours / each, peer);
        }
    }
    (throughput, cpu)
}

/// One customer a request: throughput and CPU time, and latency at half of that throughput.
async fn single(world: &World, echo: &Echo, connections: usize) {
    let customers = world.customers;
    let size = format!("{connections} connections, {customers} customers");
    let requests = Arc::new(One { customers });
    let (throughput, cpu) = beside_the_echo(world, echo, Arc::clone(&requests), connections, 1.0).await;
    throughput.record(["predictions over HTTP, one a request", ECHO_NAME, "predictions/s", &size]);
    cpu.record(["the server's CPU time for a prediction over HTTP, one a request", ECHO_NAME, "µs", &size]);
    let (mut p50, mut p99) = (Rounds::default(), Rounds::default());
    for round in 0..ROUNDS {
        let arrivals = Arrivals::poisson(throughput.figure() / 2.0, ROUND, round);
        let ours = latencies(world.server.address, &requests, connections, &arrivals).await;
        let peer = latencies(echo.server.address, &echo.request, connections, &arrivals).await;
        p50.add(percentile(&ours, 0.5), percentile(&peer, 0.5));
        p99.add(percentile(&ours, 0.99), percentile(&peer, 0.99));
    }
    p50.record(["p50 of a prediction over HTTP at half of that rate, open loop", ECHO_NAME, "ms", &size]);
    p99.record(["p99 of a prediction over HTTP at half of that rate, open loop", ECHO_NAME, "ms", &size]);
}

async fn batches(world: &World, echo: &Echo, batch: usize) {
    let size = format!("{batch} a request, {FEW} connections, {} customers", world.customers);
    let requests = Arc::new(Batch { customers: world.customers, size: batch });
    let (throughput, cpu) = beside_the_echo(world, echo, requests, FEW, batch as f64).await;
    throughput.record(["predictions over HTTP, in batches", ECHO_NAME, "predictions/s", &size]);
    cpu.record(["the server's CPU time for a prediction over HTTP, in batches", ECHO_NAME, "µs", &size]);
}

async fn over_grpc(world: &World, echo: &Echo, way: Way, callers: usize, size: &str) {
    let ours = || grpc::rate(world.server.address, world.customers, way, callers, ROUND);
    ours().await;
    let mut throughput = Rounds::default();
    for _ in 0..ROUNDS {
        let predictions = ours().await;
        throughput.add(predictions, echo.measured(callers).await.0);
    }
    let size = format!("{size}, {} customers", world.customers);
    throughput.record(["predictions over gRPC", ECHO_NAME, "predictions/s", &size]);
}

/// Latency while another version is put in force and taken back ten times a second, beside that without.
async fn while_versions_change(world: &World) {
    let (address, customers) = (world.server.address, world.customers);
    let requests = Arc::new(Moving(One { customers }));
    let (half, _) = rate(address, &requests, USUAL, ROUND).await;
    let mut p99 = Rounds::default();
    for round in 0..ROUNDS {
        let arrivals = Arrivals::poisson(half / 2.0, ROUND, round);
        let quiet = latencies(address, &requests, USUAL, &arrivals).await;
        let is_over = AtomicBool::new(false);
        let asked = async {
            let latencies = latencies(address, &requests, USUAL, &arrivals).await;
            is_over.store(true, Ordering::Relaxed);
            latencies
        };
        let (changing, changes) = futures::join!(asked, change_versions(address, &is_over));
        assert!(changes > 2, "versions changed");
        p99.add(percentile(&changing, 0.99), percentile(&quiet, 0.99));
    }
    let size = format!("{USUAL} connections, {customers} customers");
    let what = "p99 of a prediction over HTTP while versions change ten times a second";
    p99.record([what, "the same while none changes", "ms", &size]);
}

/// Nine predictions to one order that is recorded.
async fn while_orders_come(world: &World, echo: &Echo) {
    let requests = Arc::new(Mixed { customers: world.customers });
    let (throughput, _) = beside_the_echo(world, echo, requests, USUAL, 1.0).await;
    let size = format!("{USUAL} connections, {} customers", world.customers);
    let what = "predictions over HTTP and orders that are recorded, nine to one";
    throughput.record([what, ECHO_NAME, "requests/s", &size]);
}
