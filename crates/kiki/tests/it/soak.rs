//! Real processes under load that are killed, paused and given a bad disk, for minutes: `cargo xtask soak`.
//!
//! Each client keeps a ledger of what it was answered. What holds, while it runs and at the end: what was answered stays,
//! a repeated key gets its first answer, no limit is exceeded, no hold leaks, the ledgers add up to what the budgets say.
//! A seed gives the plan of clients and faults; how the two fall together is up to the machine.

mod budgets;
mod client;
mod faults;
mod ledger;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Serving, run};
use client::Client;
use faults::Faults;
use ledger::Ledger;
use world::World;

const CLIENTS: usize = 8;
/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

struct Plan {
    length: Duration,
    seed: u64,
}

impl Plan {
    fn read() -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).unwrap_or_else(|_| "1".to_owned());
            text.parse::<u64>().unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        Self { length: Duration::from_secs(60 * number("KIKI_SOAK_MINUTES")), seed: number("KIKI_SOAK_SEED") }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo xtask soak"]
async fn nothing_is_lost_or_overspent_however_processes_and_disks_fail() {
    let plan = Plan::read();
    let folder = std::env::temp_dir().join(format!("kiki-soak-{}-{}", plan.seed, std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    println!("soak: {} s, {CLIENTS} clients, seed {}", plan.length.as_secs(), plan.seed);
    // In a task of its own, so that what panics in it leaves the evidence, too.
    let violations = tokio::spawn(soak(plan, folder.clone())).await;
    let violations = violations.unwrap_or_else(|error| vec![format!("the run itself failed: {error}")]);
    if violations.is_empty() {
        std::fs::remove_dir_all(&folder).unwrap();
        println!("soak: nothing was lost, nothing overspent");
        return;
    }
    let evidence = folder.join("violations.txt");
    std::fs::write(&evidence, violations.join("\n")).unwrap();
    violations.iter().take(20).for_each(|violation| println!("soak: VIOLATION {violation}"));
    panic!("{} violations; the evidence is in {}", violations.len(), folder.display());
}

async fn soak(plan: Plan, folder: PathBuf) -> Vec<String> {
    let world = Arc::new(World::new());
    let faults = Faults::start(world.clone(), &folder, plan.seed).await;
    budgets::define(&world).await;
    let clients: Vec<_> =
        (0..CLIENTS).map(|number| tokio::spawn(Client::new(world.clone(), plan.seed, number).run())).collect();
    let faults = tokio::spawn(faults.run());
    let watch = tokio::spawn(budgets::watch(world.clone()));
    tell_while(&world, plan.length).await;
    world.end();
    let serving = faults.await.expect("the faults end");
    let mut ledger = Ledger::default();
    for client in clients {
        ledger.add(&client.await.expect("a client ends"));
    }
    watch.await.expect("the watch ends");
    budgets::drain(&world).await;
    let before = budgets::read(&world).await;
    ledger.compare(&world, &before);
    check_log(&world, &folder, serving, &before).await;
    println!("soak: {}", world.told());
    world.violations()
}

async fn tell_while(world: &World, length: Duration) {
    let start = Instant::now();
    let mut told = start;
    while start.elapsed() < length && !world.is_violated() {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            println!("soak: {:>4} s: {}", start.elapsed().as_secs(), world.told());
        }
    }
}

/// The whole log decided again, under the limits it has: nothing changes.
fn decide_again(world: &World, folder: &Path) {
    let limits = folder.join("no-limits.toml");
    std::fs::write(&limits, "").unwrap();
    let again = ["spend", "whatif", "--from", "1970-01-01T00:00:00Z", "--json", "--limits", limits.to_str().unwrap()];
    let again = run(folder, &again);
    let told: Value = serde_json::from_slice(&again.stdout).unwrap_or_default();
    let is_same = told["same"]["count"].as_u64().is_some_and(|same| same > 0 && told["decisions"]["count"] == same);
    if !is_same
        || [&told["not_compared"], &told["records_over_others"], &told["denied_by_others"]].iter().any(|n| **n != 0)
    {
        world.violation(format!("decided again: {told} {}", String::from_utf8_lossy(&again.stderr)));
    }
}

/// The log verifies, is decided alike again, and gives the same budgets from a snapshot and from the entries alone.
async fn check_log(world: &World, folder: &Path, serving: Serving, before: &[Value]) {
    serving.terminate();
    let verified = run(folder, &["audit", "verify"]);
    if verified.status.success() {
        println!("soak: {}", String::from_utf8_lossy(&verified.stdout).trim());
    } else {
        world.violation(format!("audit verify: {}", String::from_utf8_lossy(&verified.stderr)));
    }
    decide_again(world, folder);
    for from in ["a snapshot", "the entries alone"] {
        let serving = faults::serve(folder, &[]).await;
        world.is_at(serving.address("shield"));
        let after = budgets::read(world).await;
        if budgets::lasting(&after) != budgets::lasting(before) {
            world.violation(format!("from {from} the budgets are {after:?}, and were {before:?}"));
        }
        drop(serving);
        let _ = std::fs::remove_dir_all(folder.join("data/spend"));
    }
}
