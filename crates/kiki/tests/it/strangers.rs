//! Verifiers that others wrote, and that know nothing of KIKI, accept its log: `sumdb/note` and `sumdb/tlog` of Go's
//! `golang.org/x/mod`, and Tessera's fsck. What feeds them is in `tests/strangers/`.
//!
//! They want Go and, once, its module proxy. Without these the test says so on the terminal and passes, unless
//! `KIKI_STRANGERS=required` is set.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use kiki_audit::{Batch, DeriveOptions, Deriver, Log, LogKey, Options, Reader};
use kiki_types::event::AuditEvent;
use serde_json::{Value, json};

use crate::harness::{folder, here};

/// The last tile is partial on each level but the topmost.
const ENTRIES: u64 = 100_123;
const BUNDLE_ENTRIES: u64 = 256;
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

    fn look(&self, vkey: &str, place: &Path) -> Output {
        output(Command::new(&self.program).arg(vkey).arg(place)).unwrap()
    }

    fn assert_accepts(&self, vkey: &str, place: &Path) {
        let Output { status, stdout, stderr } = self.look(vkey, place);
        let said = String::from_utf8([stdout, stderr].concat()).unwrap();
        assert!(status.success() && said.contains("accepted: "), "{}: {said}", self.name);
    }

    fn assert_refuses(&self, vkey: &str, place: &Path, why: &str) {
        let Output { status, stderr, .. } = self.look(vkey, place);
        let said = String::from_utf8(stderr).unwrap();
        assert!(!status.success() && said.contains("refused: "), "{} accepts {why}: {said}", self.name);
    }
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

/// Those that can be built here; for each other one a line on the terminal.
fn strangers() -> Vec<Stranger> {
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
    let command = json!({"op": "authorize", "id": format!("{number:032x}"), "path": "default", "amount": 1, "ttl_ms": 0, "capture": true});
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

/// Adds the entry bundles to the tiles of the log at `audit`; where they are together.
fn bundled(audit: &Path) -> PathBuf {
    let place = audit.join("log");
    let bundles = place.join("tile/entries");
    for from in (0..ENTRIES).step_by(usize::try_from(BUNDLE_ENTRIES).unwrap()) {
        let to = ENTRIES.min(from + BUNDLE_ENTRIES);
        let (number, width) = (from / BUNDLE_ENTRIES, to - from);
        let name = if width == BUNDLE_ENTRIES { format!("{number:03}") } else { format!("{number:03}.p/{width}") };
        let mut reader = Reader::open(audit, from, to).unwrap();
        let mut bundle = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            bundle.extend(u16::try_from(record.bytes.len()).unwrap().to_be_bytes());
            bundle.extend(record.bytes);
        }
        fs::create_dir_all(bundles.join(&name).parent().unwrap()).unwrap();
        fs::write(bundles.join(name), bundle).unwrap();
    }
    place
}

#[test]
fn verifiers_that_others_wrote_accept_a_log_of_100k_entries_and_refuse_it_with_one_bit_changed() {
    let strangers = strangers();
    if strangers.is_empty() {
        return;
    }
    let folder = folder();
    let vkey = make_log(folder.path());
    let place = bundled(&folder.path().join("audit"));
    for stranger in &strangers {
        stranger.assert_accepts(&vkey, &place);
    }
    for file in
        ["checkpoint", "tile/0/200", "tile/0/391.p/27", "tile/1/000", "tile/entries/100", "tile/entries/391.p/27"]
    {
        let path = place.join(file);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        for stranger in &strangers {
            stranger.assert_refuses(&vkey, &place, file);
        }
        fs::write(&path, whole).unwrap();
    }
    let other = LogKey::open_or_create(&folder.path().join("other"), "kiki.local/shield", || [8; 32].into()).unwrap();
    for stranger in &strangers {
        stranger.assert_refuses(&other.verifier().to_string(), &place, "a signature by another key");
    }
}
