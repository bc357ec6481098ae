//! The mutation gate: each fault that a spend governor can have is turned on by itself, and a test must notice.
//!
//! The tests of `kiki-spend` are built once with the feature `faults` and run once without a fault, when all must
//! pass, and once with each. `cargo xtask faults` writes the table into `docs/spend.md`; `cargo xtask test` only
//! requires that every fault is noticed.

use std::collections::BTreeSet;
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
/// Tests that are named in a row of the table.
const NAMED_MAX: usize = 3;

struct Fault {
    name: String,
    what: String,
    seen: String,
}

struct Caught {
    fault: Fault,
    tests: BTreeSet<String>,
}

pub(crate) fn run(workspace: &Workspace) -> ExitCode {
    let mut steps = Steps::new(&workspace.root);
    add(&mut steps, workspace, true);
    steps.finish()
}

/// Adds the gate to a run of steps; `writes` the page too.
pub(crate) fn add(steps: &mut Steps<'_>, workspace: &Workspace, writes: bool) {
    let mend = "write the test that notices the fault named above";
    steps.check("faults", "each fault of kiki-spend turned on by itself", mend, || {
        let caught = catch_all(workspace)?;
        if writes {
            write(workspace, &caught)?;
        }
        let missed: Vec<&str> =
            caught.iter().filter(|caught| caught.tests.is_empty()).map(|caught| caught.fault.name.as_str()).collect();
        if missed.is_empty() { Ok(()) } else { Err(format!("no test notices {}", missed.join(", "))) }
    });
}

fn catch_all(workspace: &Workspace) -> Result<Vec<Caught>, String> {
    let faults = faults(workspace)?;
    let programs = build(workspace)?;
    let failing = failing(workspace, &programs, None)?;
    if !failing.is_empty() {
        return Err(format!("without any fault these tests fail: {failing:?}"));
    }
    let mut caught = Vec::new();
    for fault in faults {
        let tests = self::failing(workspace, &programs, Some(&fault.name))?;
        println!(
            "{:<22} {}",
            fault.name,
            if tests.is_empty() { "NOT NOTICED".to_owned() } else { named(&tests, ", ") }
        );
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

/// The test programs of `kiki-spend`.
fn build(workspace: &Workspace) -> Result<Vec<PathBuf>, String> {
    let messages = cargo(
        workspace,
        "test --quiet -p kiki-spend --features faults --lib --tests --no-run --message-format json-render-diagnostics",
    )?;
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"] == true;
        message["executable"].as_str().filter(|_| is_test).map(PathBuf::from)
    };
    let programs: Vec<PathBuf> = messages.lines().filter_map(program).collect();
    if programs.is_empty() { Err("cargo built no test program".to_owned()) } else { Ok(programs) }
}

/// The tests that fail with `fault`, or without any.
fn failing(workspace: &Workspace, programs: &[PathBuf], fault: Option<&str>) -> Result<BTreeSet<String>, String> {
    let folder = workspace.root.join("crates/kiki-spend");
    let mut failing = BTreeSet::new();
    for program in programs {
        let output = Command::new(program)
            // Elsewhere than the sources, beside which proptest would keep what failed.
            .current_dir(&workspace.target)
            .env("CARGO_MANIFEST_DIR", &folder)
            .env("KIKI_FAULT", fault.unwrap_or("none"))
            .env("KIKI_HISTORIES", HISTORIES)
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("RUST_BACKTRACE", "0")
            .output()
            .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let before = failing.len();
        failing.extend(text.lines().filter_map(failed));
        if !output.status.success() && failing.len() == before {
            failing.insert(format!("{} ended with {}", program.display(), output.status));
        }
    }
    Ok(failing)
}

/// The test that a line of the harness tells as failed.
fn failed(line: &str) -> Option<String> {
    Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned())
}

/// The first tests, and how many more.
fn named(tests: &BTreeSet<String>, between: &str) -> String {
    // Those that tell a story of their own before those that compare.
    let first: Vec<&str> = tests.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = tests.len().saturating_sub(NAMED_MAX);
    first.join(between) + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

fn write(workspace: &Workspace, caught: &[Caught]) -> Result<(), String> {
    let path = workspace.root.join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| format!("{PAGE}: {error}"))?;
    let page = with_table(&page, &table(caught)).ok_or_else(|| format!("{PAGE} has no lines {BEGIN} and {END}"))?;
    fs::write(&path, page).map_err(|error| format!("{PAGE}: {error}"))
}

fn table(caught: &[Caught]) -> String {
    let mut table = String::from("| fault | seen in | caught by |\n|---|---|---|\n");
    for Caught { fault, tests } in caught {
        let tests = if tests.is_empty() { "nothing".to_owned() } else { format!("`{}`", named(tests, "`, `")) };
        let tests = match tests.split_once(" and ") {
            Some((tests, more)) => format!("{tests}` and {}", more.trim_end_matches('`')),
            None => tests,
        };
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
    fn the_table_replaces_what_is_between_the_lines() {
        let fault = Fault { name: "a".into(), what: "money leaks".into(), seen: "X 1".into() };
        let tests = ["four", "one", "three", "two"].map(str::to_owned).into();
        let table = table(&[Caught { fault, tests }]);
        assert!(table.ends_with("| money leaks | X 1 | `four`, `one`, `three` and 1 more |\n"), "{table}");
        let page = with_table(&format!("a\n{BEGIN}\nold\n{END}\nb\n"), &table).unwrap();
        assert!(page.starts_with("a\n") && page.ends_with("\nb\n") && !page.contains("old"), "{page}");
        assert!(with_table("no markers", &table).is_none());
    }
}
