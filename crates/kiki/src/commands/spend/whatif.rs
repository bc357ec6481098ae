//! `kiki spend whatif`: other limits on what has happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use kiki_kit::clock::{Clock as _, SystemClock};
use kiki_kit::config::Config;
use kiki_shield::limits::Budgets;
use kiki_spend::whatif::{AccountRow, Change, Plan, Report, Sum, of_log};
use kiki_types::money::format_micros;
use kiki_types::{TenantId, UnixMillis};
use serde::Serialize;

use super::live::table;
use super::top::shown_account;
use crate::console::say;

/// What was not known and is assumed; it belongs to every answer.
const ASSUMPTIONS: [&str; 4] = [
    "what is newly denied has no follow-up: its captures, voids and refunds are passed over",
    "what is newly allowed is captured in full at once: nobody knows what would have followed",
    "what newly waits for approval is approved at once",
    "what the log does later to a limit of the file is passed over",
];

/// An example of the file, which `--help` shows.
const EXAMPLE: &str = include_str!("../../../../../examples/whatif/limits.toml");

/// Bytes of the file at the most.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What is asked.
#[derive(Args, Debug)]
#[command(after_help = format!("FILE is TOML, or JSON if its name ends in .json. For example:\n\n{EXAMPLE}"))]
pub struct Options {
    /// The limits as they would be: budgets as PUT /v1/budgets/{id} takes them, and ids to remove.
    #[arg(long, value_name = "FILE")]
    limits: PathBuf,
    /// Where the span starts, RFC 3339; absent: 24 hours before the last entry.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<UnixMillis>,
    /// Where it ends; absent: with the log.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<UnixMillis>,
    /// Changed decisions that are listed at the most.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(..=100_000))]
    list: u32,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<UnixMillis, String> {
    UnixMillis::parse_rfc3339(text)
}

#[derive(Serialize)]
struct Told<'a> {
    currency: &'a str,
    assumptions: [&'static str; 4],
    #[serde(flatten)]
    report: &'a Report,
}

/// Runs the command.
///
/// # Errors
/// The file or the log cannot be read, or does not make sense.
pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let audit = config.data.join("audit");
    anyhow::ensure!(audit.is_dir(), "there is no log at {}: is --data right?", audit.display());
    let (tenant, now) = (TenantId::default_tenant(), SystemClock::new().now());
    let commands = read(&options.limits).and_then(|budgets| budgets.commands(&tenant, now).map_err(anyhow::Error::msg));
    let changes = commands.with_context(|| options.limits.display().to_string())?;
    let plan = Plan {
        tenant: tenant.to_string(),
        changes,
        from: 0,
        to: options.to.map(|to| to.0),
        list: usize::try_from(options.list).unwrap_or(usize::MAX),
    };
    let report = of_log(&config.data, plan, options.from.map(|from| from.0))?;
    let currency = config.currency.as_str();
    if options.json {
        say(serde_json::to_string_pretty(&Told { currency, assumptions: ASSUMPTIONS, report: &report })?)?;
    } else {
        print(&report, currency)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Budgets> {
    let size = fs::metadata(path).map_err(|error| anyhow::anyhow!("cannot be read: {error}"))?.len();
    anyhow::ensure!(size <= FILE_BYTES_MAX, "is longer than {FILE_BYTES_MAX} bytes");
    let text = fs::read_to_string(path).map_err(|error| anyhow::anyhow!("cannot be read: {error}"))?;
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
        Ok(serde_json::from_str(&text)?)
    } else {
        Ok(toml::from_str(&text)?)
    }
}

fn print(report: &Report, currency: &str) -> anyhow::Result<()> {
    say(format_args!(
        "from {} to {}: {} entries, {} decisions about {} {currency}",
        UnixMillis(report.from),
        UnixMillis(report.to),
        report.entries,
        report.decisions.count,
        format_micros(report.decisions.amount),
    ))?;
    if report.is_same() {
        say("Nothing changes: every decision would be the same.")?;
    } else {
        say(totals(report))?;
    }
    if !report.limits.is_empty() {
        say(limits(report))?;
    }
    if !report.accounts.is_empty() {
        say(accounts(report))?;
        let more = report.accounts_changed - report.accounts.len();
        if more > 0 {
            say(format_args!("and {more} more accounts"))?;
        }
    }
    if !report.changes.is_empty() {
        say(changes(report))?;
    }
    notes(report)
}

fn totals(report: &Report) -> comfy_table::Table {
    let mut rows = table(&["what would change", "decisions", "amount"]);
    for (what, sum) in [
        ("same", report.same),
        ("newly denied", report.newly_denied),
        ("newly allowed", report.newly_allowed),
        ("newly pending", report.newly_pending),
        ("no longer pending", report.no_longer_pending),
    ] {
        rows.add_row([what.to_owned(), sum.count.to_string(), format_micros(sum.amount)]);
    }
    rows
}

fn limits(report: &Report) -> comfy_table::Table {
    let mut rows = table(&["limit", "", "refused", "amount", "would refuse", "amount", "over", "amount"]);
    for row in &report.limits {
        for (which, refusals) in [("log", row.log), ("what if", row.whatif)] {
            let id = if which == "log" { public(&row.id) } else { "" };
            let sums = [refusals.refused, refusals.would_refuse, refusals.over];
            let cells = sums.iter().flat_map(|sum| [sum.count.to_string(), format_micros(sum.amount)]);
            rows.add_row([id.to_owned(), which.to_owned()].into_iter().chain(cells));
        }
    }
    rows
}

fn accounts(report: &Report) -> comfy_table::Table {
    let mut rows = table(&["account", "newly denied", "newly allowed", "newly pending", "no longer pending"]);
    let cell = |sum: Sum| format!("{} ({})", sum.count, format_micros(sum.amount));
    for row in &report.accounts {
        let AccountRow { account, newly_denied, newly_allowed, newly_pending, no_longer_pending } = row;
        let sums = [newly_denied, newly_allowed, newly_pending, no_longer_pending];
        rows.add_row(std::iter::once(named(account)).chain(sums.into_iter().map(|sum| cell(*sum))));
    }
    rows
}

fn changes(report: &Report) -> comfy_table::Table {
    let mut rows = table(&["entry", "decided", "account", "amount", "would be", "refused by", "would pass"]);
    for change in &report.changes {
        let Change { entry, at, account, amount, happened, refused_by, passes_at, .. } = change;
        let refused_by: Vec<&str> = refused_by.iter().map(|id| public(id)).collect();
        rows.add_row([
            entry.to_string(),
            UnixMillis(*at).rfc3339(),
            named(account),
            format_micros((*amount).into()),
            happened.as_str().to_owned(),
            refused_by.join(" "),
            passes_at.map(|at| UnixMillis(at).rfc3339()).unwrap_or_default(),
        ]);
    }
    rows
}

fn notes(report: &Report) -> anyhow::Result<()> {
    for (count, what) in [
        (report.denied_by_others, "stay denied, by other limits"),
        (report.records_over_others, "records of money already gone break other limits"),
        (report.increases_without_hold, "increases have no hold any more"),
        (
            report.not_compared,
            "could not be compared: a bound is reached otherwise than in the log, or what they repeat takes effect now",
        ),
    ] {
        if count > 0 {
            say(format_args!("{count} {what}"))?;
        }
    }
    for id in &report.passed_over {
        say(format_args!("{}: what the log does to it in the span is passed over", public(id)))?;
    }
    for id in &report.never_there {
        say(format_args!("{}: was never there, so it was not removed", public(id)))?;
    }
    say(format_args!("Assumed: {}.", ASSUMPTIONS.join("; ")))?;
    Ok(())
}

/// A limit's name towards its tenant.
fn public(id: &str) -> &str {
    id.split_once('/').map_or(id, |(_, id)| id)
}

fn named(path: &str) -> String {
    shown_account(path.split_once('/').map_or("", |(_, account)| account)).to_owned()
}
