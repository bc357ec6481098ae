//! The mutation gate: each fault that a spend governor can have is turned on by itself, and a test must notice.
//!
//! The tests of `kiki-spend` are built once with the feature `faults` and run once without a fault, when all must
//! pass, and once with each. `cargo xtask faults` runs all of them and writes the table into `docs/spend.md`;
//! `cargo xtask test` only requires that every fault is noticed, so it asks the quickest tests first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

use crate::steps::Steps;
use crate::workspace::Workspace;

const PAGE: &str = "docs/spend.md";
const BEGIN: &str = "<!-- faults: written by `cargo xtask faults` -->";
const END: &str = "<!-- end of faults -->";
/// Histories per run: a fault that needs more is not noticed reliably.
const HISTORIES: &str = "150";
/// Crash stories per run of the quick gate, and cases per property.
const QUICK: [(&str, &str); 2] = [("KIKI_STORIES", "1"), ("PROPTEST_CASES", "64")];
/// Test programs in the order in which the quick gate asks them; those that are not named come before the last one.
const FIRST: [&str; 3] = ["differential", "durable", "laws"];
const LAST: &str = "simulation";
/// Tests that are named in a row of the table.
const NAMED_MAX: usize = 3;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Every test with every fault; the page gets the table.
    Full,
    /// With each fault the programs up to the first that notices, and fewer cases.
    Quick,
}

struct Fault {
    name: String,
    what: String,
    seen: String,
}

struct Caught {
    fault: Fault,
    tests: BTreeSet<String>,
}

pub(crate) fn run(workspace: &Workspace, gate: Gate) -> ExitCode {
    let mut steps = Steps::new(&workspace.root);
    add(&mut steps, workspace, gate);
    steps.finish()
}

/// Adds the gate to a run of steps.
pub(crate) fn add(steps: &mut Steps<'_>, workspace: &Workspace, gate: Gate) {
    let mend = "write the test that notices the fault named above";
    steps.check("faults", "each fault of kiki-spend turned on by itself", mend, || {
        let caught = catch_all(workspace, gate)?;
        if gate == Gate::Full {
            write(workspace, &caught)?;
        }
        let missed: Vec<&str> =
            caught.iter().filter(|caught| caught.tests.is_empty()).map(|caught| caught.fault.name.as_str()).collect();
        if missed.is_empty() { Ok(()) } else { Err(format!("no test notices {}", missed.join(", "))) }
    });
}

fn catch_all(workspace: &Workspace, gate: Gate) -> Result<Vec<Caught>, String> {
    let faults = faults(workspace)?;
    let mut programs = build(workspace)?;
    let mut caught = Vec::new();
    for fault in faults {
        let mut tests = BTreeSet::new();
        for program in &mut programs {
            program.require_soundness(workspace, gate)?;
            tests.extend(program.failing(workspace, gate, Some(&fault.name))?);
            if gate == Gate::Quick && !tests.is_empty() {
                break;
            }
        }
        let told: Vec<&str> = tests.iter().map(String::as_str).collect();
        println!("{:<22} {}", fault.name, if told.is_empty() { "NOT NOTICED".to_owned() } else { named(&told, ", ") });
        caught.push(Caught { fault, tests });
    }
    Ok(caught)
}

fn cargo(workspace: &Workspace, arguments: &str) -> Result<String, String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments.split_whitespace())
        .current_dir(&workspace.root)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo {arguments} ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}

fn faults(workspace: &Workspace) -> Result<Vec<Fault>, String> {
    let lines = cargo(workspace, "run --quiet -p kiki-spend --features faults --example faults")?;
    let fault = |line: &str| {
        let mut columns = line.split('\t').map(str::to_owned);
        Some(Fault { name: columns.next()?, what: columns.next()?, seen: columns.next()? })
    };
    lines.lines().map(|line| fault(line).ok_or_else(|| format!("no fault: {line}"))).collect()
}

/// A test program of `kiki-spend`.
struct Program {
    path: PathBuf,
    /// Its tests pass without a fault, so that one that fails has noticed.
    is_sound: bool,
}

/// The programs, the quickest to notice first.
fn build(workspace: &Workspace) -> Result<Vec<Program>, String> {
    let messages = cargo(
        workspace,
        "test --quiet -p kiki-spend --features faults --lib --tests --no-run --message-format json-render-diagnostics",
    )?;
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"] == true;
        let path = message["executable"].as_str().filter(|_| is_test).map(PathBuf::from)?;
        Some((turn(message["target"]["name"].as_str()?), Program { path, is_sound: false }))
    };
    let mut programs: Vec<_> = messages.lines().filter_map(program).collect();
    programs.sort_by_key(|(turn, _)| *turn);
    let programs: Vec<_> = programs.into_iter().map(|(_, program)| program).collect();
    if programs.is_empty() { Err("cargo built no test program".to_owned()) } else { Ok(programs) }
}

/// When the program of a name has its turn.
fn turn(name: &str) -> usize {
    FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len() + usize::from(name == LAST))
}

impl Program {
    /// Without a fault nothing may fail.
    fn require_soundness(&mut self, workspace: &Workspace, gate: Gate) -> Result<(), String> {
        if !self.is_sound {
            let failing = self.failing(workspace, gate, None)?;
            if !failing.is_empty() {
                return Err(format!("without any fault these tests fail: {failing:?}"));
            }
            self.is_sound = true;
        }
        Ok(())
    }

    /// The tests that fail with `fault`, or without any.
    fn failing(&self, workspace: &Workspace, gate: Gate, fault: Option<&str>) -> Result<BTreeSet<String>, String> {
        let output = Command::new(&self.path)
            // Elsewhere than the sources, beside which proptest would keep what failed.
            .current_dir(&workspace.target)
            .env("CARGO_MANIFEST_DIR", workspace.root.join("crates/kiki-spend"))
            .env("KIKI_FAULT", fault.unwrap_or("none"))
            .env("KIKI_HISTORIES", HISTORIES)
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("RUST_BACKTRACE", "0")
            .envs(QUICK.into_iter().filter(|_| gate == Gate::Quick))
            .output()
            .map_err(|error| format!("cannot run {}: {error}", self.path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut failing: BTreeSet<String> = text.lines().filter_map(failed).collect();
        if !output.status.success() && failing.is_empty() {
            failing.insert(format!("{} ended with {}", self.path.display(), output.status));
        }
        Ok(failing)
    }
}

/// The test that a line of the harness tells as failed.
fn failed(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned())
}

/// The first tests, and how many more.
fn named(tests: &[&str], between: &str) -> String {
    let more = tests.len().saturating_sub(NAMED_MAX);
    let first = tests[..tests.len().min(NAMED_MAX)].join(between);
    first + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

fn write(workspace: &Workspace, caught: &[Caught]) -> Result<(), String> {
    let path = workspace.root.join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = with_table(&page, &table(caught)).ok_or_else(|| format!("{PAGE} has no lines {BEGIN} and {END}"))?;
    fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))
}

fn table(caught: &[Caught]) -> String {
    let mut noticed: BTreeMap<&str, usize> = BTreeMap::new();
    for test in caught.iter().flat_map(|caught| &caught.tests) {
        *noticed.entry(test).or_default() += 1;
    }
    let mut table = String::from("| fault | seen in | caught by |\n|---|---|---|\n");
    for Caught { fault, tests } in caught {
        let mut tests: Vec<&str> = tests.iter().map(String::as_str).collect();
        // Those that are about this fault before those that notice many.
        tests.sort_by_key(|test| noticed.get(test));
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
        let tests = if tests.is_empty() { "nothing".to_owned() } else { named(&tests, ", ") };
        table.push_str(&format!("| {} | {} | {tests} |\n", fault.what, fault.seen));
    }
    table
}

fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_read_off_its_line() {
        assert_eq!(failed("test shard::tests::one ... FAILED").as_deref(), Some("shard::tests::one"));
        assert_eq!(failed("test shard::tests::one ... ok"), None);
        assert_eq!(failed("test result: FAILED. 1 passed"), None);
    }

    #[test]
    fn the_crash_stories_are_asked_last() {
        let mut names = ["simulation", "oracle", "laws", "differential", "kiki_spend"];
        names.sort_by_key(|name| turn(name));
        assert_eq!(names, ["differential", "laws", "oracle", "kiki_spend", "simulation"]);
    }

    #[test]
    fn the_table_replaces_what_is_between_the_lines() {
        let caught = |name: &str, what: &str, tests: &[&str]| {
            let fault = Fault { name: name.into(), what: what.into(), seen: "X 1".into() };
            Caught { fault, tests: tests.iter().map(|&test| test.to_owned()).collect() }
        };
        let all = [caught("a", "money leaks", &["four", "one", "three", "two"]), caught("b", "b", &["four", "one"])];
        let table = table(&all);
        assert!(table.contains("| money leaks | X 1 | `three`, `two`, `four` and 1 more |\n"), "{table}");
        let page = with_table(&format!("a\n{BEGIN}\nold\n{END}\nb\n"), &table).unwrap();
        assert!(page.starts_with("a\n") && page.ends_with("\nb\n") && !page.contains("old"), "{page}");
        assert!(with_table("no markers", &table).is_none());
    }
}
