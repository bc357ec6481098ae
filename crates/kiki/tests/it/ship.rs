//! The log on a shelf: `kiki audit ship`, to a folder and to a store that speaks as S3 does, and by the service itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use kiki_audit::{DeriveOptions, Deriver, LogKey};
use kiki_kit::clock::SystemClock;
use kiki_kit::ids::SystemIds;
use kiki_shield::Pseudonyms;
use kiki_spend::shard::Shard;
use kiki_spend::{Command, Settings};
use kiki_types::UnixMillis;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Http, Serving, fail, folder, kiki, succeed};

/// A store in memory. What it does wrong on purpose is for a test to say.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    objects: BTreeMap<String, Vec<u8>>,
    /// Objects whose name ends so are stored with another first byte.
    spoils: Option<&'static str>,
    /// Answers 501 to a request to create.
    lacks_conditions: bool,
    unsigned: usize,
}

impl Store {
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(
            async move { axum::serve(listener, router.layer(axum::extract::DefaultBodyLimit::disable())).await },
        );
        format!("http://{address}")
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }

    fn object(&self, name: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().objects.get(name).cloned()
    }
}

async fn answer(State(store): State<Store>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 28).await.unwrap();
    let name = parts.uri.path().trim_start_matches('/').to_owned();
    let mut stored = store.0.lock().unwrap();
    let signature = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signature.starts_with("AWS4-HMAC-SHA256 Credential=the-key-of-the-test/") {
        stored.unsigned += 1;
    }
    match parts.method {
        Method::PUT => stored.put(name, &parts.headers, &body),
        Method::GET | Method::HEAD => stored.get(&name),
        Method::DELETE => {
            stored.objects.remove(&name);
            StatusCode::NO_CONTENT.into_response()
        }
        Method::POST => stored.delete(&name, std::str::from_utf8(&body).unwrap()),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

impl Stored {
    fn put(&mut self, name: String, headers: &HeaderMap, body: &Bytes) -> Response {
        if headers.contains_key(header::IF_NONE_MATCH) {
            if self.lacks_conditions {
                return StatusCode::NOT_IMPLEMENTED.into_response();
            }
            if self.objects.contains_key(&name) {
                return StatusCode::PRECONDITION_FAILED.into_response();
            }
        }
        let mut bytes = body.to_vec();
        if self.spoils.is_some_and(|ending| name.ends_with(ending)) {
            bytes[0] ^= 1;
        }
        self.objects.insert(name, bytes);
        [(header::ETAG, "\"one\"")].into_response()
    }

    fn get(&self, name: &str) -> Response {
        let Some(bytes) = self.objects.get(name) else { return StatusCode::NOT_FOUND.into_response() };
        let headers = [(header::ETAG, "\"one\""), (header::LAST_MODIFIED, "Sat, 21 Nov 2026 10:00:00 GMT")];
        (headers, bytes.clone()).into_response()
    }

    /// Several at once, named in XML.
    fn delete(&mut self, bucket: &str, request: &str) -> Response {
        for key in request.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            self.objects.remove(&format!("{}/{key}", bucket.trim_end_matches('/')));
        }
        "<?xml version=\"1.0\"?><DeleteResult></DeleteResult>".into_response()
    }
}

/// A shield that has answered `spends` requests more, and has ended.
async fn live(folder: &Path, spends: usize) {
    let serving = Serving::shield(folder, &[]);
    let http = Http::new();
    for _ in 0..spends {
        http.get(&serving.url("shield", "/spend?amount=1")).await;
    }
    serving.terminate();
}

async fn log() -> TempDir {
    let folder = folder();
    live(folder.path(), 5).await;
    folder
}

/// `kiki audit ship` to a bucket at `endpoint`.
fn ship(folder: &Path, endpoint: &str) -> Result<String, String> {
    let mut command = kiki(folder);
    command.args(["audit", "ship", "--to", "s3://bucket/a/log"]);
    command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_ACCESS_KEY_ID", "the-key-of-the-test");
    let output = command.env("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-test").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_gets_the_log_object_by_object_signed_and_never_changed() {
    let folder = log().await;
    for lacks_conditions in [false, true] {
        let store = Store::default();
        store.0.lock().unwrap().lacks_conditions = lacks_conditions;
        let endpoint = store.serve().await;
        ship(folder.path(), &endpoint).unwrap();
        let checkpoint = std::fs::read(folder.path().join("data/audit/log/checkpoint")).unwrap();
        assert_eq!(store.object("bucket/a/log/checkpoint").unwrap(), checkpoint);
        assert!(store.names().iter().any(|name| name.starts_with("bucket/a/log/tile/entries/000.p/")));
        let before = store.names();
        ship(folder.path(), &endpoint).unwrap();
        assert_eq!(store.names(), before);
        assert_eq!(store.0.lock().unwrap().unsigned, 0);
        live(folder.path(), 3).await;
        ship(folder.path(), &endpoint).unwrap();
        assert_ne!(store.object("bucket/a/log/checkpoint").unwrap(), checkpoint);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_stored_otherwise_is_noticed_before_the_checkpoint_says_it_is_there() {
    let folder = log().await;
    let store = Store::default();
    store.0.lock().unwrap().spoils = Some("/log.vkeys");
    let endpoint = store.serve().await;
    let complaint = ship(folder.path(), &endpoint).unwrap_err();
    assert!(complaint.contains("log.vkeys") && complaint.contains("other bytes"), "{complaint}");
    assert_eq!(store.object("bucket/a/log/checkpoint"), None);
    store.0.lock().unwrap().spoils = None;
    let name = store.names().into_iter().find(|name| name.contains("/entries/")).unwrap();
    store.0.lock().unwrap().objects.insert(name.clone(), b"another".to_vec());
    assert!(ship(folder.path(), &endpoint).unwrap_err().contains("other bytes"));
    assert_eq!(store.object(&name).unwrap(), b"another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_with_another_history_is_left_alone_and_a_place_that_is_none_is_refused() {
    let (folder, other) = (log().await, log().await);
    let shelf = tempfile::tempdir().unwrap();
    let to = shelf.path().join("log").to_str().unwrap().to_owned();
    assert!(succeed(folder.path(), &["audit", "ship", "--to", &to]).contains("shipped"));
    let checkpoint = std::fs::read(shelf.path().join("log/checkpoint")).unwrap();
    let complaint = fail(other.path(), &["audit", "ship", "--to", &to]);
    assert!(complaint.contains("signed by this log"), "{complaint}");
    assert_eq!(std::fs::read(shelf.path().join("log/checkpoint")).unwrap(), checkpoint);
    for (to, said) in [("s3://bucket/log", "AWS_ACCESS_KEY_ID"), ("ftp://there", "expected"), ("s3://", "bucket")] {
        let complaint = fail(folder.path(), &["audit", "ship", "--to", to]);
        assert!(complaint.contains(said), "{complaint}");
    }
    assert!(fail(folder.path(), &["audit", "ship"]).contains("KIKI_SHIP_TO"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_ships_by_itself_and_says_when_it_cannot() {
    let folder = folder();
    let shelf = tempfile::tempdir().unwrap();
    let to = shelf.path().join("log").to_str().unwrap().to_owned();
    let serving = Serving::shield(folder.path(), &[("KIKI_SHIP_TO", to.as_str()), ("KIKI_SHIP_SECONDS", "0")]);
    let http = Http::new();
    http.get(&serving.url("shield", "/spend?amount=1")).await;
    let path = shelf.path().join("log/checkpoint");
    let size = || std::fs::read_to_string(&path).ok().and_then(|note| note.lines().nth(1)?.parse::<u64>().ok());
    wait_until(|| size().is_some_and(|size| size >= 2)).await;
    // Somebody puts another history there.
    std::fs::write(&path, b"nothing that anybody signed").unwrap();
    for looks in 0.. {
        let health = http.get(&serving.url("shield", "/health")).await.json();
        if health["status"] == "degraded" {
            break;
        }
        assert!(looks < 200, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    serving.terminate();
}

/// A log of 600 entries, 20 a day, that are years old.
fn old_log() -> TempDir {
    let folder = folder();
    let data = folder.path().join("data");
    Pseudonyms::open_or_create(&data.join("keys"), &mut rand::rng()).unwrap();
    let time = Arc::new(AtomicI64::new(1_262_304_000_000));
    let clock = time.clone();
    let settings = Settings {
        data: data.clone(),
        origin: "kiki.local/shield".to_owned(),
        retention_days: 2555,
        clock: Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed))),
        ids: Arc::new(SystemIds::new(Arc::new(SystemClock::new()))),
        key_seed: || [7; 32].into(),
    };
    let disk = kiki_audit::disk::real();
    let mut shard = Shard::open_on(&disk, &settings).unwrap();
    let key = LogKey::open_or_create(&data.join("keys"), &settings.origin, settings.key_seed).unwrap();
    let options = DeriveOptions { retention_days: 2555, entries_per_step: 1000 };
    let mut deriver = Deriver::open(&data.join("audit"), key, options).unwrap();
    let draft = json!({
        "id": "00000000-0000-0000-0000-000000000000", "at": 0, "tenant": "default", "level": "INFO", "type": "t", "actor": "a",
        "action": "act", "resource": "r", "outcome": "ALLOWED",
    });
    for _ in 0..30 {
        for _ in 0..20 {
            shard.decide(&Command::Note { from: None }, serde_json::from_value(draft.clone()).unwrap()).unwrap();
        }
        shard.commit().unwrap();
        time.fetch_add(24 * 3600 * 1000, Ordering::Relaxed);
    }
    deriver.advance(600).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_log_verifies_serves_and_proves_what_went() {
    let folder = old_log();
    let proof = succeed(folder.path(), &["audit", "prove", "3"]);
    let before = std::fs::read(folder.path().join("data/audit/log/checkpoint")).unwrap();
    std::fs::write(folder.path().join("before"), before).unwrap();
    std::fs::write(folder.path().join("proof"), proof).unwrap();
    let due = succeed(folder.path(), &["audit", "prune", "--dry-run"]);
    assert!(due.contains("entries before 420"), "{due}");
    // Not before it is on the shelf, where there is to be one.
    let shelf = folder.path().join("shelf").to_str().unwrap().to_owned();
    let prune = |variables: &[(&str, &str)]| {
        let output = kiki(folder.path()).args(["audit", "prune"]).envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(prune(&[("KIKI_SHIP_TO", &shelf)]).starts_with("nothing"));
    succeed(folder.path(), &["audit", "ship", "--to", &shelf]);
    // Nor when it was there once: the shelf is asked.
    let lost = folder.path().join("lost");
    let segment = std::fs::read_dir(folder.path().join("shelf/segments")).unwrap().next().unwrap().unwrap().path();
    for (there, wrong) in [(folder.path().join("shelf"), "checkpoint"), (segment.clone(), "nothing is pruned")] {
        std::fs::rename(&there, &lost).unwrap();
        let refused = kiki(folder.path()).args(["audit", "prune"]).env("KIKI_SHIP_TO", &shelf).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && told.contains(wrong), "{told}");
        assert!(folder.path().join("data/audit/segments/00000000000000000000.seg").exists());
        std::fs::rename(&lost, &there).unwrap();
    }
    let pruned = prune(&[("KIKI_SHIP_TO", &shelf)]);
    assert!(pruned.contains("entries before 420 are deleted"), "{pruned}");
    let verified = succeed(folder.path(), &["audit", "verify", "--kept", "before"]);
    assert!(verified.contains("earlier entries were pruned") && verified.contains("consistent"), "{verified}");
    assert!(
        succeed(folder.path(), &["audit", "verify", "proof", "proof", "--key", "data/keys/log.vkey"]).contains('3')
    );
    assert!(fail(folder.path(), &["audit", "prove", "3"]).contains("pruned"));
    let shown = succeed(folder.path(), &["audit", "tail", "--lines", "1000", "--action", "act", "--json"]);
    assert_eq!(shown.lines().count(), 180, "those from 420 on");
    assert_eq!(succeed(folder.path(), &["audit", "export", "--format", "jsonl"]).lines().count(), 181);
    live(folder.path(), 2).await;
    succeed(folder.path(), &["audit", "verify"]);
    succeed(folder.path(), &["audit", "ship", "--to", &shelf]);
}

async fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..400 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never was so");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_prunes_by_itself_and_a_stopped_one_by_command() {
    let folder = log().await;
    for arguments in [&["audit", "prune", "--dry-run"][..], &["audit", "prune"]] {
        assert!(succeed(folder.path(), arguments).starts_with("nothing"));
    }
    let serving = Serving::shield(folder.path(), &[]);
    succeed(folder.path(), &["audit", "prune", "--dry-run"]);
    assert!(fail(folder.path(), &["audit", "prune"]).contains("by itself"));
    serving.terminate();
}

#[tokio::test]
async fn a_place_that_can_be_no_copy_is_refused() {
    let folder = log().await;
    for (place, why) in [("", "no place"), ("s3:/bucket", "s3://"), ("data/audit/log", "within the data folder")] {
        let told = fail(folder.path(), &["audit", "ship", "--to", place]);
        assert!(told.contains(why), "{place}: {told}");
    }
}
