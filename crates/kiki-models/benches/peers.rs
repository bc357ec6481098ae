//! BG/NBD beside the PyPI package lifetimes: the same customers, fitted and predicted in turns (A B A B …) on the same machine.
//!
//! lifetimes is installed into a virtual environment in the target folder at the first run, in versions that work together; it
//! takes `python3` with venv, and PyPI. Each side has its data in memory before its time begins. A fit counts only if both
//! end in the same optimum.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and tells by printing"
)]

mod data;

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use data::{bgnbd, cdnow, histories};
use kiki_models::ltv::{BgNbd, History, PurchaseModel as _};
use serde_json::json;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/ltv_peers.py");
const PACKAGES: [&str; 5] = ["lifetimes==0.11.3", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.13.1", "autograd==1.7.0"];
const PEER: &str = "lifetimes 0.11.3";
const ROUNDS: usize = 5;
const SIZES: [usize; 2] = [100_000, 1_000_000];
const WEEKS: f64 = 52.0;
/// Parameters agree to so much of their value; lifetimes stops its search early.
const AGREES: f64 = 0.02;

fn main() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut peer = Peer::start(&environment(folder));
    let rows = folder.join("customers.csv");
    compare(&mut peer, &rows, "CDNOW, 2,357 customers", &cdnow());
    for size in SIZES {
        compare(&mut peer, &rows, &format!("{size} customers"), &histories(&bgnbd(), size));
    }
    fs::remove_file(rows).unwrap();
    peer.end();
}

fn compare(peer: &mut Peer, rows: &Path, size: &str, histories: &[History]) {
    let mut text = String::new();
    for one in histories {
        writeln!(text, "{},{},{}", one.frequency(), one.recency(), one.age()).unwrap();
    }
    fs::write(rows, text).unwrap();
    assert_eq!(peer.ask(&format!("load {}", rows.display())), format!("ok {}", histories.len()));
    let (mut fits, mut predictions) = (Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let model = BgNbd::fit(histories).unwrap().model;
        let ours = begun.elapsed().as_secs_f64();
        let (theirs, parameters) = peer.turn("fit");
        for (own, other) in [model.r(), model.alpha(), model.a(), model.b()].into_iter().zip(parameters) {
            assert!((own / other - 1.0).abs() < AGREES, "the fits differ: {model:?}");
        }
        fits.push(ours, theirs);
        let begun = Instant::now();
        let expected = model.predict_all(histories, WEEKS);
        let ours = begun.elapsed().as_secs_f64();
        let sum: f64 = expected.iter().map(|one| one.purchases).sum();
        let (theirs, others) = peer.turn("predict");
        assert!((sum / others[0] - 1.0).abs() < AGREES, "the predictions differ: {sum} {others:?}");
        predictions.push(ours, theirs);
    }
    fits.record("BG/NBD, a fit", size);
    predictions.record("BG/NBD, purchases of all in 52 weeks", size);
}

/// The interpreter of an environment that has the peer.
fn environment(folder: &Path) -> PathBuf {
    let environment = folder.join("lifetimes");
    let python = environment.join("bin/python");
    let is_whole = environment.join("whole");
    if !is_whole.exists() {
        println!("installing {PEER} into {}", environment.display());
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES));
        fs::write(is_whole, "").unwrap();
    }
    python
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}; it takes python3 with venv (Debian: python3-venv), and PyPI");
}

/// The peer's process. It ends when its input does.
struct Peer {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(python: &Path) -> Self {
        let mut command = Command::new(python);
        let mut process = command.arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, input, output: BufReader::new(output).lines() }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.output.next().unwrap().unwrap()
    }

    /// How many seconds a turn took, and what came of it.
    fn turn(&mut self, verb: &str) -> (f64, Vec<f64>) {
        let answer = self.ask(verb);
        let mut numbers = answer.split(' ').map(|number| number.parse::<f64>().unwrap());
        (numbers.next().unwrap(), numbers.collect())
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.process.wait().unwrap().success());
    }
}

#[derive(Default)]
struct Rounds {
    ours: Vec<f64>,
    ratios: Vec<f64>,
}

impl Rounds {
    fn push(&mut self, ours: f64, theirs: f64) {
        self.ours.push(ours);
        self.ratios.push(ours / theirs);
    }

    fn record(&mut self, what: &str, size: &str) {
        self.ours.sort_by(f64::total_cmp);
        self.ratios.sort_by(f64::total_cmp);
        let row = json!({
            "what": what, "size": size, "figure": self.ours[ROUNDS / 2] * 1e3, "unit": "ms", "against": PEER,
            "ratio_median": self.ratios[ROUNDS / 2], "ratio_min": self.ratios[0], "ratio_max": self.ratios[ROUNDS - 1],
        });
        println!("{row}");
        if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
            let path = Path::new(&folder).join("peers.jsonl");
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            writeln!(file, "{row}").unwrap();
        }
    }
}
