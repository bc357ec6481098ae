//! Subject requests over HTTP against all services of a real process: what a person asks, and what is left of them.

use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Http, PATIENCE, Serving, folder, kiki, request, succeed};

/// All services, and a client of theirs.
pub(super) struct World {
    pub(super) serving: Serving,
    pub(super) http: Http,
}

impl World {
    pub(super) fn start(folder: &Path) -> Self {
        let mut command = kiki(folder);
        command.args(["up", "--free-ports"]);
        Self { serving: Serving::start(command, 4), http: Http::new() }
    }

    pub(super) async fn get(&self, service: &str, path: &str) -> Value {
        let answer = self.http.get(&self.serving.url(service, path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.json());
        answer.json()
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(&self.serving.url("shield", path), &body).await;
        assert!(answer.status.is_success(), "{path}: {:?}", answer.json());
        answer.json()
    }

    /// The path of a request that was opened.
    async fn ask(&self, customer: &str, kind: &str) -> String {
        let made = self.post("/v1/subject-requests", json!({"customer_id": customer, "request_type": kind})).await;
        format!("/v1/subject-requests/{}", made["request_id"].as_str().unwrap())
    }

    /// Waits until the request at `path` is as `is_so` wants it.
    pub(super) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let seen = self.get("shield", path).await;
            if is_so(&seen) {
                return seen;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path}: {seen}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The text of a message in the mailbox that is about the request at `path`.
    async fn letter(&self, path: &str, subject: &str) -> String {
        let id = path.rsplit('/').next().unwrap();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let page = self.get("engage", "/sandbox/mailbox?limit=200").await;
            for mail in page["messages"].as_array().unwrap().iter().filter(|mail| mail["subject"] == subject) {
                let path = format!("/sandbox/mailbox/{}", mail["id"].as_str().unwrap());
                let mail = self.http.get(&self.serving.url("engage", &path)).await;
                let text = String::from_utf8_lossy(&mail.body).into_owned();
                if text.contains(id) {
                    return text;
                }
            }
            assert!(tokio::time::Instant::now() < deadline, "no {subject:?} about {path}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets the deletion at `path` wait for no copy, as soon as nobody looks at it.
    async fn go_on_without_copy(&self, path: &str) {
        let url = self.serving.url("shield", &format!("{path}/retry?without_copy=true"));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.http.send(request(Method::POST, &url, None)).await.status != StatusCode::OK {
            assert!(tokio::time::Instant::now() < deadline, "{path} is always being looked at");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Proves by the code that is mailed. Returns it.
    async fn prove(&self, path: &str) -> String {
        self.post(&format!("{path}/code"), json!({})).await;
        let letter = self.letter(path, "Your code").await;
        let mut words = letter.split_whitespace().map(|word| word.trim_end_matches('.'));
        let code = words.find(|word| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit())).unwrap();
        self.post(&format!("{path}/verify"), json!({"code": code})).await;
        code.to_owned()
    }
}

#[tokio::test]
async fn a_person_sees_all_that_is_held_and_has_it_erased() {
    let folder = folder();
    let world = World::start(folder.path());
    let customer = "ann@mail.example";
    let agreed = json!({"customer_id": customer, "purpose": "marketing", "evidence": "ticked box 7 on the form"});
    world.post("/v1/consents", agreed).await;

    let access = world.ask(customer, "ACCESS").await;
    world.letter(&access, "We received your request").await;
    world.post("/v1/webhooks", json!({"url": "http://127.0.0.1:1/"})).await;
    let code = world.prove(&access).await;
    let seen = world.until(&access, |seen| seen["status"] == "completed").await;
    assert_eq!((&seen["outcome"], &seen["verified_by"]), (&json!("whole"), &json!("code")));
    let stores: Vec<_> = seen["tasks"].as_array().unwrap().iter().map(|task| task["store"].as_str().unwrap()).collect();
    for store in ["consents", "decisions", "mailbox", "messages", "purchases", "requests"] {
        assert!(stores.contains(&store), "{store}: {stores:?}");
    }
    let url = world.serving.url("shield", &format!("{access}/export"));
    let looked = world.http.send(request(Method::HEAD, &url, None)).await;
    assert_eq!(looked.status, StatusCode::METHOD_NOT_ALLOWED, "to look is not to fetch");
    let zip = world.http.get(&url).await;
    assert_eq!(
        (&zip.headers["content-type"], &zip.headers["cache-control"]),
        (&"application/zip".parse().unwrap(), &"no-store".parse().unwrap())
    );
    let held = unzipped(folder.path(), &zip.body);
    assert!(held["consents"].contains("ticked box 7") && held["decisions"].contains("consent.grant"), "{held:?}");
    assert!(held["mailbox"].contains("withheld: it carries a code") && !held["mailbox"].contains(&code), "{held:?}");
    assert!(held["READ-ME"].contains("webhook, of the controller: events"), "{}", held["READ-ME"]);
    assert!(!held["READ-ME"].contains("127.0.0.1"), "no address of a system: {}", held["READ-ME"]);
    world.letter(&access, "Your request is completed").await;

    the_officer_sees_it_on_the_command_line(folder.path(), &world, access.rsplit('/').next().unwrap());

    let deletion = world.ask(customer, "DELETION").await;
    world.letter(&deletion, "We received your request").await;
    // Codes of one person are a minute apart, whatever they are for.
    world.post(&format!("{deletion}/vouch"), json!({})).await;
    // It was fetched a moment ago, and may be fetched again.
    world.until(&deletion, |seen| seen["awaits"] == "copy").await;
    world.go_on_without_copy(&deletion).await;
    let seen = world.until(&deletion, |seen| seen["status"] == "completed").await;
    assert!(seen["customer_id"].is_null(), "{seen}");
    let gone = world.http.get(&world.serving.url("shield", &format!("{access}/export"))).await;
    assert!(matches!(gone.status, StatusCode::NOT_FOUND | StatusCode::GONE), "{:?}", gone.json());
    let mails = world.get("engage", "/sandbox/mailbox").await;
    assert_eq!(mails["messages"], json!([]), "every message to the person is gone, the last one too");
    let consents = world.get("shield", &format!("/consent/status?customer_id={customer}")).await;
    assert_eq!(consents["consents"]["marketing"], false);
    world.serving.terminate();
    succeed(folder.path(), &["audit", "verify"]);
}

fn the_officer_sees_it_on_the_command_line(folder: &Path, world: &World, id: &str) {
    let url = world.serving.url("shield", "");
    let say = |arguments: &[&str]| succeed(folder, &[&["privacy"], arguments, &["--url", &url]].concat());
    assert!(say(&["list", "--state", "completed"]).contains(id));
    assert!(say(&["show", id]).contains("decisions"));
    let out = folder.join("fetched.zip").to_str().unwrap().to_owned();
    say(&["export", id, "--out", &out]);
    assert!(std::fs::read(&out).unwrap().starts_with(b"PK"));
    std::fs::write(folder.join("customers.txt"), "bob\n\ncem\n").unwrap();
    assert!(say(&["erase", "--file", "customers.txt", "--vouch"]).contains("2 requests"));
}

/// The JSON of each store in an export, and its sheet, after every hash was compared with the manifest.
fn unzipped(folder: &Path, zip: &[u8]) -> std::collections::BTreeMap<String, String> {
    let path = folder.join("export.zip");
    std::fs::write(&path, zip).unwrap();
    let script = "import hashlib, json, sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nheld = {}\n\
        for f in json.loads(z.read('manifest.json'))['files']:\n \
        assert hashlib.sha256(z.read(f['path'])).hexdigest() == f['sha256']\n \
        if f['path'].endswith('.json'): held[f['store']] = held.get(f['store'], '') + z.read(f['path']).decode()\n\
        held['READ-ME'] = z.read('READ-ME.txt').decode()\nprint(json.dumps(held))";
    let read = std::process::Command::new("python3").args(["-X", "utf8", "-c", script]).arg(&path).output();
    let read = read.expect("python3 is installed");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice(&read.stdout).unwrap()
}
