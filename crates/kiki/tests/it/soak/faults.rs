//! The service, and what is done to it: killed, ended, paused, given a disk that fails or is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Signal, kill_process};

use super::world::{World, count};
use crate::durability::BadDisk;
use crate::harness::Serving;

/// The limit of the tenant itself is in nobody's way here, and answers that nobody decided are not told one by one.
const ALWAYS: [(&str, &str); 2] = [("MAX_BURST_BUDGET", "100000000"), ("KIKI_LOG", "info,kiki::access=off")];

/// A service on `folder`, in a thread that may wait for it.
pub(crate) async fn serve(folder: &Path, variables: &[(&'static str, String)]) -> Serving {
    let (folder, variables) = (folder.to_owned(), variables.to_owned());
    let start = move || {
        let variables = variables.iter().map(|(name, value)| (*name, value.as_str()));
        Serving::shield(&folder, &ALWAYS.into_iter().chain(variables).collect::<Vec<_>>())
    };
    tokio::task::spawn_blocking(start).await.expect("the service starts on what it left")
}

pub(crate) struct Faults {
    world: Arc<World>,
    folder: PathBuf,
    disk: BadDisk,
    rng: SmallRng,
    serving: Serving,
}

impl Faults {
    pub(crate) async fn start(world: Arc<World>, folder: &Path, seed: u64) -> Self {
        let disk = BadDisk::new(folder);
        let serving = serve(folder, &disk.variables).await;
        world.is_at(serving.address("shield"));
        Self { world, folder: folder.to_owned(), disk, rng: SmallRng::seed_from_u64(seed), serving }
    }

    /// One fault after the other; the service that runs in the end.
    pub(crate) async fn run(mut self) -> Serving {
        while !self.world.is_over() {
            self.calm().await;
            match self.rng.random_range(0..100) {
                0..50 => self = self.restart(true).await,
                50..62 => self = self.restart(false).await,
                62..78 => self.pause().await,
                _ => self.break_disk().await,
            }
        }
        self.serving
    }

    async fn calm(&mut self) {
        let end = Instant::now() + Duration::from_millis(self.rng.random_range(500..4500));
        while Instant::now() < end && !self.world.is_over() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn restart(self, is_killed: bool) -> Self {
        let Self { world, folder, disk, rng, serving } = self;
        count(if is_killed { &world.counts.kills } else { &world.counts.ends });
        // Dropping it kills it.
        let end = move || if is_killed { drop(serving) } else { serving.terminate() };
        tokio::task::spawn_blocking(end).await.expect("it ends");
        let start = Instant::now();
        let serving = serve(&folder, &disk.variables).await;
        world.is_at(serving.address("shield"));
        let took = u64::try_from(start.elapsed().as_millis()).unwrap();
        world.counts.restart_ms.fetch_add(took, Ordering::Relaxed);
        world.counts.restart_ms_max.fetch_max(took, Ordering::Relaxed);
        Self { world, folder, disk, rng, serving }
    }

    async fn pause(&mut self) {
        count(&self.world.counts.pauses);
        let process = self.serving.process();
        kill_process(process, Signal::STOP).unwrap();
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(100..1500))).await;
        kill_process(process, Signal::CONT).unwrap();
    }

    async fn break_disk(&mut self) {
        count(&self.world.counts.bad_disks);
        let file = if self.rng.random_bool(0.5) { &self.disk.broken } else { &self.disk.full };
        fs::write(file, "").unwrap();
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(50..1200))).await;
        fs::remove_file(file).unwrap();
    }
}
