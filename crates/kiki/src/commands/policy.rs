//! `kiki policy`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use kiki_shield::policy::cases::{self, Case, Failure, Suite};
use kiki_shield::policy::{Policy, PolicyErrors, Vote};

use crate::console::{complain, say};

/// Exits with this when the rules or the cases cannot be read; 1 is a case that failed.
const UNREADABLE: u8 = 2;

const EXAMPLE: &str = r#"A rule set is a file such as money.cedar:

  @id("small") permit (principal is Agent, action == Action::"execute", resource)
  when { context.within.contains("growth") };

  @id("large") @verdict("ask") @reason("A person approves more than 500.")
  forbid (principal is Agent, action == Action::"execute", resource)
  when { context.amount.greaterThan(decimal("500.00")) };

Cases stand beside it, in a file such as money.tests.toml:

  [defaults]
  actor = "agent"
  action = "execute"
  account = "growth/eu"

  [[case]]
  name = "more than 500 is asked about"
  request = { amount = "500.01" }
  expect = { verdict = "ask", rules = ["money/large"] }

  kiki policy test examples/policy

It exits with 0 if every case passes, 1 if one fails, 2 if rules or cases cannot be read. docs/policy.md tells the rest."#;

/// Rules over what agents may do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks the rule sets of a folder and runs the cases that stand beside them.
    ///
    /// The rule sets (*.cedar) are checked strictly: what no rule can ask about is refused with file, line and column.
    /// Then every case (*.tests.toml) is decided and held against what it expects. Without cases only the rules are checked.
    #[command(after_help = EXAMPLE)]
    Test {
        /// The folder, or one .cedar file.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Test { folder } = command;
    let policy = match Policy::load(folder) {
        Ok(policy) => policy,
        Err(mistakes) => return Ok(unreadable(&mistakes)),
    };
    let suites = match cases::load(folder) {
        Ok(suites) => suites,
        Err(mistakes) => return Ok(unreadable(&mistakes)),
    };
    let sets = policy.texts().len();
    say(format_args!(
        "policy {}: {}, {}",
        policy.version(),
        counted(sets, "rule set"),
        counted(policy.rule_count(), "rule")
    ))?;
    let mut failed = 0;
    for suite in &suites {
        for case in &suite.cases {
            if let Err(failure) = case.run(&policy) {
                failed += 1;
                say(told(suite, case, &failure))?;
            }
        }
    }
    let ran: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    match (ran, failed) {
        (0, _) => say("the rules are valid; there are no cases (*.tests.toml), so nothing else was checked")?,
        (_, 0) => say(format_args!("{} passed", counted(ran, "case")))?,
        _ => say(format_args!("{failed} of {} failed", counted(ran, "case")))?,
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unreadable(mistakes: &PolicyErrors) -> ExitCode {
    complain(mistakes);
    ExitCode::from(UNREADABLE)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A failing case: what differs, and how each set voted.
fn told(suite: &Suite, case: &Case, failure: &Failure) -> String {
    let differences = failure.differences.iter().map(|line| format!("\n  {line}"));
    let votes = failure.judgement.votes.iter().map(|vote| format!("\n  {}", told_vote(vote)));
    let reason = failure.judgement.reason.map(|reason| format!("\n  {reason}"));
    let lines: String = differences.chain(votes).chain(reason).collect();
    format!("FAILED {}: {}{lines}", suite.file, case.name)
}

fn told_vote(vote: &Vote) -> String {
    let verdict = vote.verdict.map_or("abstains", |verdict| verdict.as_str());
    let rules = if vote.rules.is_empty() { String::new() } else { format!(" by {}", vote.rules.join(", ")) };
    let reasons = if vote.reasons.is_empty() { String::new() } else { format!(": {}", vote.reasons.join(" ")) };
    format!("{} {verdict}{rules}{reasons}", vote.rule_set)
}
