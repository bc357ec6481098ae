//! The reference answers every recorded history as the oracle answered it, so that what agrees with the reference
//! agrees with the oracle.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::io::Read;

use serde_json::{Value, json};
use support::reference::{Command, Gone, Kind, Number, Outcome, Reference, Request, Stage, Text, Unit, Zone};

/// Names of a history as numbers.
#[derive(Default)]
struct Names(HashMap<String, Number>);

impl Names {
    fn number(&mut self, name: &Value) -> Number {
        let next = Number::try_from(self.0.len()).unwrap();
        *self.0.entry(name.as_str().unwrap().to_owned()).or_insert(next)
    }
}

fn text(value: &Value) -> Text {
    String::leak(value.as_str().unwrap().to_owned())
}

fn kind(line: &Value) -> Kind {
    let number = |name: &str| line[name].as_i64().unwrap();
    let short = |name: &str| u32::try_from(number(name)).unwrap();
    match line["kind"].as_str().unwrap() {
        "window" => Kind::Window { amount: number("amount"), seconds: short("seconds") },
        "total" => Kind::Total { amount: number("amount") },
        "velocity" => Kind::Velocity { count: short("count"), seconds: short("seconds") },
        "each" => Kind::Each { least: number("least"), most: number("most") },
        "calendar" => {
            let unit = match line["unit"].as_str().unwrap() {
                "day" => Unit::Day,
                "week" => Unit::Week,
                "month" => Unit::Month,
                other => panic!("unit {other}"),
            };
            Kind::Calendar { amount: number("amount"), unit, zone: Zone::Utc }
        }
        other => panic!("kind {other}"),
    }
}

fn command(line: &Value, names: &mut Names) -> Command {
    let amount = || line["amount"].as_i64().unwrap();
    let path = || text(&line["path"]);
    match line["op"].as_str().unwrap() {
        "limit" => Command::Limit { id: text(&line["id"]), path: path(), kind: kind(line), shadow: false },
        "authorize" => Command::Authorize(Request {
            id: names.number(&line["id"]),
            key: Some(names.number(&line["key"])),
            path: path(),
            amount: amount(),
            ttl_ms: line["ttl_ms"].as_i64().unwrap(),
            consent: line.get("subject").map(|subject| (names.number(subject), true)),
            channel: None,
            category: None,
            payee: None,
            by: None,
            policy: None,
            capture: false,
        }),
        "capture" => Command::Capture { id: names.number(&line["id"]), amount: Some(amount()) },
        "void" => Command::Void { id: names.number(&line["id"]) },
        "increase" => Command::Increase { id: names.number(&line["id"]), amount: amount(), key: None },
        "refund" => Command::Refund { id: names.number(&line["id"]), amount: amount(), key: None },
        "record" => {
            Command::Record(Gone { id: None, key: None, path: path(), amount: amount(), category: None, payee: None })
        }
        "stop" => Command::Stop { path: path() },
        "resume" => Command::Resume { path: path() },
        "consent" => Command::Consent {
            subject: names.number(&line["subject"]),
            purpose: true,
            granted: line["granted"].as_bool().unwrap(),
            channel: None,
            until: None,
        },
        other => panic!("op {other}"),
    }
}

fn answer(outcome: &Outcome) -> Value {
    let state = |stage: &Stage| format!("{stage:?}").to_lowercase();
    match outcome {
        Outcome::Denied { refused_by } => json!({"outcome": "denied", "refused_by": refused_by}),
        Outcome::Recorded { over } => json!({"outcome": "recorded", "over": over}),
        Outcome::Resolved { state: stage } => json!({"outcome": "resolved", "state": state(stage)}),
        other => json!({"outcome": format!("{other:?}").to_lowercase()}),
    }
}

#[test]
fn the_reference_answers_every_recorded_history_as_the_oracle_did() {
    let mut histories = String::new();
    let packed = &include_bytes!("oracle/histories.txt.gz")[..];
    flate2::read::GzDecoder::new(packed).read_to_string(&mut histories).unwrap();
    let mut checked = 0;
    for history in histories.split("# seed ").skip(1) {
        let (seed, lines) = history.split_once('\n').unwrap();
        let (mut reference, mut names) = (Reference::default(), Names::default());
        for (line, expected) in lines.lines().zip(lines.lines().skip(1)).step_by(2) {
            let parsed: Value = serde_json::from_str(line).unwrap();
            let mut expected: Value = serde_json::from_str(expected).unwrap();
            expected.as_object_mut().unwrap().remove("n");
            let outcome = reference.apply(parsed["at"].as_i64().unwrap(), &command(&parsed, &mut names));
            assert_eq!(answer(&outcome), expected, "seed {seed}: {line}");
            checked += 1;
        }
    }
    assert!(checked > 70_000, "{checked}");
}
