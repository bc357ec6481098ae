//! The verbs of those who set budgets and watch, typed at a running shield.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};

use kiki_client::{Client, Currency, Error, Money, Request};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::harness::{Serving, fail, folder, kiki, succeed};

fn usd(units: i64) -> Money {
    Money::new(units * 1_000_000, Currency::USD)
}

/// A shield, and the folder that commands are typed in.
struct Desk {
    // Ends before its folder goes.
    _serving: Serving,
    folder: tempfile::TempDir,
    url: String,
    client: Client,
}

impl Desk {
    fn open() -> Self {
        let folder = folder();
        let serving = Serving::shield(folder.path(), &[]);
        let url = serving.url("shield", "");
        let client = Client::new(url.as_str()).unwrap();
        Self { _serving: serving, folder, url, client }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn spend(&self, arguments: &[&str]) -> String {
        succeed(self.path(), &[&["spend"], arguments, &["--url", &self.url]].concat())
    }

    fn refuses(&self, arguments: &[&str]) -> String {
        fail(self.path(), &[&["spend"], arguments, &["--url", &self.url]].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.spend(&[arguments, &["--json"]].concat())).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_account_spends_nothing_until_it_is_resumed() {
    let desk = Desk::open();
    let ask = || desk.client.authorize(Request::new("growth/winback", usd(1)));
    desk.spend(&["stop", "growth"]);
    assert!(matches!(ask().await, Err(Error::Denied(denial)) if denial.is_by("stopped")));
    assert_eq!(desk.json(&["stops"])[0], "growth");
    desk.spend(&["resume", "growth"]);
    assert_eq!(desk.json(&["stops"]), Value::Array(vec![]));
    ask().await.unwrap().void().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_set_shown_and_removed() {
    let desk = Desk::open();
    let set = ["budget", "set", "growth", "--account", "growth", "--kind", "total", "--amount", "10"];
    assert!(desk.spend(&set).contains("10.00"));
    desk.client.authorize(Request::new("growth/winback", usd(4))).await.unwrap().capture_all().await.unwrap();
    let budgets = desk.json(&["budgets"]);
    let growth = budgets.as_array().unwrap().iter().find(|budget| budget["id"] == "growth").unwrap();
    assert_eq!((&growth["used"], &growth["remaining"]), (&"4.00".into(), &"6.00".into()));
    assert!(desk.spend(&["budgets"]).contains("growth"));
    let wrong = ["budget", "set", "growth", "--account", "growth", "--kind", "total", "--amount", "ten"];
    assert!(desk.refuses(&wrong).contains("limit.amount"));
    desk.spend(&["budget", "remove", "growth"]);
    assert!(!desk.spend(&["budgets"]).contains("growth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_approval_is_listed_and_decided() {
    let desk = Desk::open();
    let set = ["budget", "set", "big", "--kind", "approval", "--above", "5", "--seconds", "3600"];
    desk.spend(&set);
    for (verb, state) in [("approve", "held"), ("reject", "rejected")] {
        let asked = desk.client.authorize(Request::new("growth", usd(6))).await;
        let Err(Error::Pending(waiting)) = asked else { panic!("{asked:?}") };
        let id = waiting.id.to_string();
        assert_eq!(desk.json(&["approvals"])[0]["id"], id.as_str());
        assert!(desk.spend(&["approvals", verb, &id]).contains(state));
        assert_eq!(desk.json(&["approvals"]), Value::Array(vec![]));
    }
}

#[test]
fn without_a_terminal_top_prints_once() {
    let desk = Desk::open();
    desk.spend(&["budget", "set", "growth", "--account", "growth", "--kind", "total", "--amount", "10"]);
    desk.spend(&["stop", "growth"]);
    let shown = desk.spend(&["top"]);
    let growth = shown.lines().find(|line| line.starts_with("growth")).unwrap();
    assert!(growth.contains("0 %") && growth.contains("STOPPED"), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown}");
    let look = desk.json(&["top", "--once"]);
    assert!(look["budgets"].as_array().unwrap().iter().any(|budget| budget["id"] == "growth"));
    assert_eq!(look["stops"][0], "growth");
}

#[test]
fn a_service_that_is_away_is_told_and_nothing_is_shown() {
    let folder = folder();
    let told = fail(folder.path(), &["spend", "top", "--url", "http://127.0.0.1:1"]);
    assert!(told.contains("no answer") && told.contains("127.0.0.1:1"), "{told}");
}

/// A process whose output is a terminal.
struct OnTerminal {
    child: Child,
    screen: File,
    shown: String,
}

impl OnTerminal {
    fn start(desk: &Desk) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let inside = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let mut command = kiki(desk.path());
        command.args(["spend", "top", "--url", &desk.url]).stdout(Stdio::from(inside));
        let child = command.spawn().unwrap();
        drop(command);
        Self { child, screen: File::from(terminal), shown: String::new() }
    }

    /// Reads until `text` was shown.
    fn shows(&mut self, text: &str) {
        let mut part = [0; 4096];
        while !self.shown.contains(text) {
            // Where nobody writes any more, reading fails.
            let read = self.screen.read(&mut part).unwrap_or_else(|_| panic!("{text:?} in {:?}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&part[..read]));
        }
    }
}

#[test]
fn on_a_terminal_top_looks_again_and_gives_the_screen_back() {
    let desk = Desk::open();
    let mut top = OnTerminal::start(&desk);
    top.shows("\x1b[?1049h");
    top.shows("BUDGET");
    desk.spend(&["budget", "set", "later", "--kind", "total", "--amount", "10"]);
    top.shows("later");
    kill_process(Pid::from_child(&top.child), Signal::INT).unwrap();
    top.shows("\x1b[?25h\x1b[?1049l");
    assert!(top.child.wait().unwrap().success());
}
