//! An answer means that the disk has it: under load, under `kill -9`, on a disk that is slow or broken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::{Method, StatusCode};

use crate::harness::{Http, PATIENCE, Serving, folder, here, request, succeed};

const CLIENTS: usize = 64;

/// Sends `requests` spends of 1.01 from 64 clients; how many were accepted and how many refused. Requests that get no
/// answer count as neither.
async fn spend(serving: &Serving, requests: usize, accepted: Arc<AtomicUsize>) -> usize {
    let url = serving.url("shield", "/spend?amount=1.01");
    let (http, sent) = (Http::new(), Arc::new(AtomicUsize::new(0)));
    let clients = (0..CLIENTS).map(|_| {
        let (http, url, sent, accepted) = (http.clone(), url.clone(), sent.clone(), accepted.clone());
        tokio::spawn(async move {
            let mut refused = 0;
            while sent.fetch_add(1, Ordering::Relaxed) < requests {
                match http.try_send(request(Method::GET, &url, None)).await.map(|answer| answer.status) {
                    Some(StatusCode::OK) => _ = accepted.fetch_add(1, Ordering::Relaxed),
                    Some(StatusCode::FORBIDDEN) => refused += 1,
                    Some(other) => panic!("{other}"),
                    None => break,
                }
            }
            refused
        })
    });
    let mut refused = 0;
    for client in clients.collect::<Vec<_>>() {
        refused += client.await.unwrap();
    }
    refused
}

/// A window that nothing leaves while a test runs.
const HOUR: &[(&str, &str)] = &[("WINDOW_SECONDS", "3600")];

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_spends_at_once_are_accepted_exactly_as_far_as_the_budget_goes() {
    for _ in 0..3 {
        let folder = folder();
        let serving = Serving::shield(folder.path(), HOUR);
        let accepted = Arc::new(AtomicUsize::new(0));
        let refused = spend(&serving, 2000, accepted.clone()).await;
        assert_eq!((accepted.load(Ordering::Relaxed), refused), (495, 1505));
        serving.terminate();
        succeed(folder.path(), &["audit", "verify"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_as_accepted_still_counts_after_a_kill() {
    for kill_at in [1, 40, 120, 250] {
        let folder = folder();
        let serving = Serving::shield(folder.path(), HOUR);
        let accepted = Arc::new(AtomicUsize::new(0));
        let killed = tokio::spawn({
            let (accepted, process) = (accepted.clone(), serving.process());
            async move {
                while accepted.load(Ordering::Relaxed) < kill_at {
                    tokio::time::sleep(Duration::from_micros(100)).await;
                }
                rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
            }
        });
        spend(&serving, 2000, accepted.clone()).await;
        killed.await.unwrap();
        drop(serving);
        let before = accepted.load(Ordering::Relaxed);
        assert!((kill_at..=495).contains(&before), "{before}");

        let serving = Serving::shield(folder.path(), HOUR);
        spend(&serving, 2000, accepted.clone()).await;
        let after = accepted.load(Ordering::Relaxed);
        // A spend that was decided and never answered counts, too: at most one for each client.
        assert!((495 - CLIENTS..=495).contains(&after), "{before} before, {after} in all");
        drop(serving);
        succeed(folder.path(), &["audit", "verify"]);
    }
}

/// A disk that waits, fails or is full while a file exists.
pub(crate) struct BadDisk {
    /// Gives the disk to a process.
    pub(crate) variables: Vec<(&'static str, String)>,
    held: PathBuf,
    pub(crate) broken: PathBuf,
    pub(crate) full: PathBuf,
}

impl BadDisk {
    pub(crate) fn new(folder: &Path) -> Self {
        let library = folder.join("slow_disk.so");
        let source = here("tests/it/slow_disk.c");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl").status();
        assert!(compiled.expect("a C compiler, as linking needs one").success());
        let [held, broken, full] = ["held", "broken", "full"].map(|name| folder.join(name));
        let files = [("LD_PRELOAD", &library), ("DISK_HELD", &held), ("DISK_BROKEN", &broken), ("DISK_FULL", &full)];
        let variables = files.map(|(name, path)| (name, path.to_str().unwrap().to_owned())).to_vec();
        Self { variables, held, broken, full }
    }
}

/// Shield on such a disk.
fn on_a_bad_disk(folder: &Path) -> (Serving, BadDisk) {
    let disk = BadDisk::new(folder);
    let variables: Vec<_> = disk.variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    (Serving::shield(folder, &[HOUR, &variables].concat()), disk)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spend_is_answered_before_the_disk_has_it() {
    let folder = folder();
    let (serving, BadDisk { held, .. }) = on_a_bad_disk(folder.path());
    let url = serving.url("shield", "/spend?amount=1");
    let http = Http::new();
    assert_eq!(http.get(&url).await.status, StatusCode::OK);
    std::fs::write(&held, "").unwrap();
    let mut waiting: Vec<_> = (0..8)
        .map(|_| {
            let (http, url) = (http.clone(), url.clone());
            tokio::spawn(async move { http.get(&url).await.status })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(waiting.iter().all(|one| !one.is_finished()), "answered while the disk was still writing");
    std::fs::remove_file(&held).unwrap();
    for one in waiting.drain(..) {
        assert_eq!(tokio::time::timeout(PATIENCE, one).await.unwrap().unwrap(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_and_views_catch_up_after_they_could_not_be_written() {
    let folder = folder();
    let serving = Serving::shield(folder.path(), HOUR);
    let http = Http::new();
    let tiles = folder.path().join("data/audit/log");
    std::fs::rename(&tiles, folder.path().join("aside")).unwrap();
    std::fs::write(&tiles, "in the way").unwrap();
    assert_eq!(http.get(&serving.url("shield", "/spend?amount=1")).await.status, StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(700)).await;
    std::fs::remove_file(&tiles).unwrap();
    std::fs::rename(folder.path().join("aside"), &tiles).unwrap();
    let checkpoint = || std::fs::read_to_string(tiles.join("checkpoint")).unwrap();
    for look in 0.. {
        if checkpoint().lines().nth(1) == Some("2") {
            break;
        }
        assert!(look < 600, "{}", checkpoint());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    succeed(folder.path(), &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_broken_disk_nobody_decides_and_afterwards_the_log_is_whole() {
    // Failing to sync leaves whole entries that may count; a full disk leaves half of one.
    for file in [|disk: BadDisk| disk.broken, |disk: BadDisk| disk.full] {
        nobody_decides_while(file).await;
    }
}

async fn nobody_decides_while(file: fn(BadDisk) -> PathBuf) {
    let folder = folder();
    let (serving, disk) = on_a_bad_disk(folder.path());
    let broken = file(disk);
    let url = serving.url("shield", "/spend?amount=100");
    let http = Http::new();
    assert_eq!(http.get(&url).await.status, StatusCode::OK);
    std::fs::write(&broken, "").unwrap();
    for _ in 0..3 {
        let answer = http.get(&url).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"authority_unavailable".into())
        );
        assert!(answer.headers.contains_key("retry-after"));
    }
    std::fs::remove_file(&broken).unwrap();
    let mut accepted = 1;
    let last = loop {
        let answer = http.get(&url).await;
        match answer.status {
            StatusCode::OK => accepted += 1,
            StatusCode::FORBIDDEN => break answer.json(),
            StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other}"),
        }
    };
    // A spend whose sync failed may be on the disk after all; then it counts.
    assert!((2..=5).contains(&accepted), "{accepted}");
    assert_eq!(last["remaining"], "0.00");
    serving.terminate();
    succeed(folder.path(), &["audit", "verify"]);
}
