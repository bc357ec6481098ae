//! Verifiers that others wrote, and that know nothing of KIKI, accept its log: `sumdb/note` and `sumdb/tlog` of Go's
//! `golang.org/x/mod`, and Tessera's fsck. What feeds them is in `tests/strangers/`.
//!
//! They want Go and, once, its module proxy. Without these the test says so on the terminal and passes, unless
//! `KIKI_STRANGERS=required` is set.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use hyper::Method;
use kiki_audit::{
    Batch, DeriveOptions, Deriver, Folder, Log, LogKey, Options, ShipOptions, Shipper, VerifierKey, Which, prove,
};
use kiki_shield::Pseudonyms;
use kiki_spend::shard::governor_time;
use kiki_types::event::AuditEvent;
use serde_json::{Value, json};

use crate::harness::{Http, Serving, folder, here, request};

/// The last tile is partial on each level but the topmost.
const ENTRIES: u64 = 100_123;
/// How long it may take to download and compile the strangers, and how long one may look at a log.
const PATIENCE: Duration = Duration::from_secs(600);

/// A program that was built from a folder of `tests/strangers/`.
struct Stranger {
    name: &'static str,
    program: PathBuf,
}

impl Stranger {
    fn build(name: &'static str) -> Result<Self, String> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("strangers");
        let program = target.join(name);
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg(".").current_dir(here("tests/strangers").join(name));
        build.envs([("GOFLAGS", "-mod=readonly -buildvcs=false"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]);
        let built = output(build.env("GOCACHE", target.join("cache"))).map_err(|error| format!("go: {error}"))?;
        let complaint = String::from_utf8_lossy(&built.stderr).into_owned();
        if built.status.success() { Ok(Self { name, program }) } else { Err(complaint) }
    }

    /// Lets it look at the log in a folder or at a URL, at which it presents `bearer`.
    fn look(&self, log: &Served<'_>) -> Output {
        let mut command = Command::new(&self.program);
        if self.name == "xmod" {
            for proof in log.proofs {
                command.arg("-proof").arg(proof);
            }
        }
        output(command.arg(log.vkey).arg(log.place).env("BEARER", log.bearer)).unwrap()
    }

    fn assert_accepts(&self, log: &Served<'_>) {
        let Output { status, stdout, stderr } = self.look(log);
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(status.success() && said.contains("accepted: "), "{}: {said}", self.name);
    }

    fn assert_refuses(&self, log: &Served<'_>, why: &str) {
        let Output { status, stderr, .. } = self.look(log);
        let said = String::from_utf8(stderr).unwrap();
        assert!(!status.success() && said.contains("refused: "), "{} accepts {why}: {said}", self.name);
    }
}

/// A log as strangers see it.
#[derive(Clone, Copy)]
struct Served<'a> {
    vkey: &'a str,
    place: &'a str,
    bearer: &'a str,
    /// Proofs that it gave out.
    proofs: &'a [PathBuf],
}

/// What a program says, which is killed if it takes too long.
fn output(command: &mut Command) -> std::io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let process = rustix::process::Pid::from_child(&child);
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    end.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        rustix::process::kill_process(process, rustix::process::Signal::KILL)?;
        Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
    })
}

/// Those that can be built here, built once; for each other one a line on the terminal.
fn strangers() -> &'static [Stranger] {
    static BUILT: OnceLock<Vec<Stranger>> = OnceLock::new();
    BUILT.get_or_init(build_all)
}

fn build_all() -> Vec<Stranger> {
    let is_required = std::env::var_os("KIKI_STRANGERS").is_some_and(|value| value == "required");
    let built = ["xmod", "tessera"].map(|name| {
        Stranger::build(name).map_err(|reason| {
            let notice = format!("\nNOT TRIED: the verifier tests/strangers/{name} cannot be built here: {reason}\n");
            assert!(!is_required, "{notice}");
            // Not by a macro, whose output is only shown when a test fails.
            let _ = std::io::stderr().write_all(notice.as_bytes());
        })
    });
    built.into_iter().filter_map(Result::ok).collect()
}

/// An entry as the governor writes it.
fn entry(event: &mut AuditEvent, number: u64) -> Value {
    event.resource = "a/b/".repeat(usize::try_from(number % 7).unwrap());
    let at = 1_770_287_400_000 + number;
    let command = json!({"op": "authorize", "id": format!("{:032x}", number + 1), "path": "default", "amount": 1, "ttl_ms": 0, "capture": true});
    json!({"at": at, "cmd": command, "out": {"outcome": "captured"}})
}

/// Makes a log below `data`, derived whole; its verifier key.
fn make_log(data: &Path) -> String {
    let event = json!({
        "id": "00000000-0000-7000-8000-000000000000", "at": 1, "tenant": "default", "level": "INFO", "type": "spend",
        "actor": "", "action": "spend", "resource": "", "outcome": "ALLOWED",
    });
    let mut event: AuditEvent = serde_json::from_value(event).unwrap();
    let key = LogKey::open_or_create(&data.join("keys"), "kiki.local/shield", || [7; 32].into()).unwrap();
    let vkey = key.verifier().to_string();
    let audit = data.join("audit");
    let (mut log, _) = Log::open(&audit, &Options { segment_bytes_max: 1 << 20, ..Options::default() }).unwrap();
    let options = DeriveOptions { retention_days: 2555, entries_per_step: 10_000 };
    let mut deriver = Deriver::open(&audit, key, options).unwrap();
    for from in (0..ENTRIES).step_by(4_096) {
        let mut batch = Batch::new();
        for number in from..ENTRIES.min(from + 4_096) {
            let body = entry(&mut event, number);
            batch.push_with(&event, &body).unwrap();
        }
        log.append(&mut batch).unwrap();
    }
    while !deriver.advance(ENTRIES).unwrap().caught_up() {}
    vkey
}

/// Ships the log below `data`; where it is then.
fn ship(data: &Path) -> PathBuf {
    let shelf = data.join("shelf");
    let key = VerifierKey::load(&data.join("keys/log.vkey")).unwrap();
    let options = ShipOptions { keys: vec![key], to: "shelf".to_owned(), retention_days: 2555, time_of: governor_time };
    let disk = kiki_audit::disk::real();
    let folder = Folder::new(disk.clone(), &shelf);
    let shipped = Shipper::open_on(disk, &data.join("audit"), options, Box::new(folder)).advance().unwrap();
    assert_eq!(shipped.size, ENTRIES);
    shelf
}

/// Proofs of entries at the edges and between, below `data`.
fn proofs(data: &Path) -> Vec<PathBuf> {
    let prove = |index: u64| {
        let proof = prove(&kiki_audit::disk::real(), &data.join("audit"), index, Which::Newest).unwrap();
        let path = data.join(format!("{index}.tlog-proof"));
        fs::write(&path, proof.to_string()).unwrap();
        path
    };
    [0, 1, 255, 256, 65_535, 65_536, 77_777, 100_095, 100_096, ENTRIES - 1].map(prove).into()
}

#[test]
fn verifiers_that_others_wrote_accept_a_log_of_100k_entries_and_refuse_it_with_one_bit_changed() {
    let strangers = strangers();
    if strangers.is_empty() {
        return;
    }
    let folder = folder();
    let vkey = make_log(folder.path());
    let (shelf, proofs) = (ship(folder.path()), proofs(folder.path()));
    let log = Served { vkey: &vkey, place: shelf.to_str().unwrap(), bearer: "", proofs: &proofs };
    let files =
        ["checkpoint", "tile/0/200", "tile/0/391.p/27", "tile/1/000", "tile/entries/100", "tile/entries/391.p/27"];
    for stranger in strangers {
        stranger.assert_accepts(&log);
    }
    for file in files {
        let path = shelf.join(file);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        for stranger in strangers {
            stranger.assert_refuses(&Served { proofs: &[], ..log }, file);
        }
        fs::write(&path, whole).unwrap();
    }
    let other = LogKey::open_or_create(&folder.path().join("other"), "kiki.local/shield", || [8; 32].into()).unwrap();
    let other = other.verifier().to_string();
    for stranger in strangers {
        stranger.assert_refuses(&Served { vkey: &other, ..log }, "a signature by another key");
    }
}

#[tokio::test]
async fn verifiers_that_others_wrote_accept_the_log_as_a_service_gives_it_out() {
    const KEY: &str = "a-key-of-sixteen-characters";
    let strangers = strangers();
    if strangers.is_empty() {
        return;
    }
    let folder = folder();
    let data = folder.path().join("data");
    Pseudonyms::open_or_create(&data.join("keys"), &mut rand::rng()).unwrap();
    let vkey = make_log(&data);
    let serving = Serving::shield(folder.path(), &[("INTERNAL_API_KEY", KEY)]);
    let http = Http::new();
    let ask = async |method: Method, path: &str, body: Option<&Value>| {
        let mut request = request(method, &serving.url("shield", path), body);
        request.headers_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
        http.send(request).await
    };
    let body = json!({"account": "growth", "amount": {"amount": "1.00", "currency": "USD"}});
    let id = ask(Method::POST, "/v1/authorizations", Some(&body)).await.json()["id"].as_str().unwrap().to_owned();
    let mut proofs = Vec::new();
    for (name, path) in
        [("one", format!("/v1/authorizations/{id}/proof")), ("two", "/v1/audit/entries/77777/proof".into())]
    {
        let answer = ask(Method::GET, &path, None).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        proofs.push(folder.path().join(name));
        fs::write(&proofs[proofs.len() - 1], answer.body).unwrap();
    }
    let place = serving.url("shield", "/v1/audit/log");
    let log = Served { vkey: &vkey, place: &place, bearer: KEY, proofs: &proofs };
    for stranger in strangers {
        stranger.assert_accepts(&log);
        stranger.assert_refuses(&Served { bearer: "another-key-of-some-length", ..log }, "nothing, with a wrong key");
    }
    serving.terminate();
}
