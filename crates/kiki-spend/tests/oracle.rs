//! The state machine answers every history as the oracle does, line for line.
//!
//! `oracle/histories.txt.gz` holds 200 random histories of all kinds of limits and all operations
//! (`spend_oracle.py --random SEED 400`, seeds 1 to 200): `# seed N`, then in turn a command and the oracle's answer. Where the oracle itself stands beside the project, fresh seeds are tried too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use kiki_spend::replay::replay;

fn replayed(commands: &str) -> String {
    let mut outcomes = Vec::new();
    replay(commands.as_bytes(), &mut outcomes).unwrap();
    String::from_utf8(outcomes).unwrap()
}

fn assert_alike(seed: &str, commands: &str, expected: &str) {
    let answered = replayed(commands);
    for ((command, ours), oracles) in commands.lines().zip(answered.lines()).zip(expected.lines()) {
        assert_eq!(ours, oracles, "seed {seed}: {command}");
    }
    assert_eq!(answered.lines().count(), expected.lines().count(), "seed {seed}");
}

#[test]
fn two_hundred_histories_are_answered_as_the_oracle_answers_them() {
    let mut text = String::new();
    let packed = &include_bytes!("oracle/histories.txt.gz")[..];
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let histories: Vec<_> = text.split("# seed ").skip(1).collect();
    assert_eq!(histories.len(), 200);
    for history in histories {
        let (seed, lines) = history.split_once('\n').unwrap();
        let (mut commands, mut expected) = (String::new(), String::new());
        for (number, line) in lines.lines().enumerate() {
            let side = if number % 2 == 0 { &mut commands } else { &mut expected };
            side.push_str(line);
            side.push('\n');
        }
        assert_alike(seed, &commands, &expected);
    }
}

#[test]
fn fresh_histories_are_answered_alike_where_the_oracle_is_at_hand() {
    let crate_root = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let oracle = Path::new(&crate_root).join("../../../shared/oracle/spend_oracle.py");
    if !oracle.exists() {
        eprintln!("no oracle beside the project: only the recorded histories were tried");
        return;
    }
    let first = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for seed in (first..first + 10).map(|seed| seed.to_string()) {
        let run = |arguments: &[&str], input: &str| {
            let mut child = Command::new("python3")
                .arg(&oracle)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("python3 runs the oracle");
            let mut stdin = child.stdin.take().unwrap();
            let input = input.to_owned();
            let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
            let output = child.wait_with_output().unwrap();
            writer.join().unwrap().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        let commands = run(&["--random", &seed, "600"], "");
        assert_alike(&seed, &commands, &run(&[], &commands));
    }
}
