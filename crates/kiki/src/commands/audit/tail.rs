//! `kiki audit tail`: the newest entries, and those to come.
//!
//! It may run beside a live service. What is to come is shown once the signed checkpoint covers it, about a second
//! after it was decided.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kiki_audit::{Checkpoint, Entry, Reader, Record};
use kiki_kit::config::Config;
use kiki_types::UnixMillis;
use serde::Serialize;
use serde_json::value::RawValue;

use super::log_in;
use super::select::{Filter, Span, Wanted};

/// Entries that are looked at together on the way back from the end.
const BLOCK_ENTRIES: u64 = 4096;
/// How long to wait before looking for what came meanwhile.
const PAUSE: Duration = Duration::from_millis(250);
/// Lines that are held in memory at the most.
const LINES_MAX: i64 = 1_000_000;

/// Which entries, and how.
#[derive(Args, Debug)]
pub struct Options {
    /// How many of the newest that match.
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=LINES_MAX))]
    lines: u32,
    /// Goes on with those to come, until Ctrl-C.
    #[arg(long, short = 'f', conflicts_with = "until")]
    follow: bool,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    span: Span,
    /// Prints the entries as they are in the log, a line of JSON each.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let audit = log_in(&config.data)?;
    let wanted = options.filter.prepare(config)?;
    let entries = kiki_audit::reader::entries(&audit)?;
    let range = options.span.range(&audit, entries)?;
    let end = range.end;
    let mut tail = Tail { audit: &audit, wanted: &wanted, json: options.json };
    let mut out = io::stdout().lock();
    for line in tail.newest(range, usize::try_from(options.lines)?)? {
        out.write_all(line.as_bytes())?;
    }
    out.flush()?;
    if options.follow {
        tail.follow(end, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Tail<'a> {
    audit: &'a Path,
    wanted: &'a Wanted,
    json: bool,
}

impl Tail<'_> {
    /// The lines of the newest `count` entries of a range that are wanted.
    fn newest(&mut self, range: Range<u64>, count: usize) -> anyhow::Result<Vec<String>> {
        let (mut blocks, mut found, mut to) = (Vec::new(), 0, range.end);
        while found < count && to > range.start {
            let from = to.saturating_sub(BLOCK_ENTRIES).max(range.start);
            let mut block = self.lines(&mut Reader::open(self.audit, from, to)?)?;
            block.drain(..block.len().saturating_sub(count - found));
            found += block.len();
            blocks.push(block);
            to = from;
        }
        Ok(blocks.into_iter().rev().flatten().collect())
    }

    fn lines(&self, reader: &mut Reader) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(record) = reader.next_record()? {
            lines.extend(self.line(&record)?);
        }
        Ok(lines)
    }

    /// Shows what comes, for ever.
    fn follow(&mut self, mut next: u64, out: &mut impl Write) -> anyhow::Result<()> {
        loop {
            let covered = Checkpoint::load(self.audit, None)?.map_or(0, |checkpoint| checkpoint.size);
            if covered <= next {
                std::thread::sleep(PAUSE);
                continue;
            }
            let to = covered.min(next + BLOCK_ENTRIES);
            for line in self.lines(&mut Reader::open(self.audit, next, to)?)? {
                out.write_all(line.as_bytes())?;
            }
            out.flush()?;
            next = to;
        }
    }

    /// The line of an entry that is wanted.
    fn line(&self, record: &Record<'_>) -> anyhow::Result<Option<String>> {
        let entry = record.entry()?;
        if !self.wanted.is_met_by(&entry.event) {
            return Ok(None);
        }
        let mut line = if self.json { json(record)? } else { text(record.index, &entry) };
        line.push('\n');
        Ok(Some(line))
    }
}

fn json(record: &Record<'_>) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        index: u64,
        entry: &'a RawValue,
    }
    Ok(serde_json::to_string(&Line { index: record.index, entry: serde_json::from_slice(record.bytes)? })?)
}

fn text(index: u64, Entry { event, .. }: &Entry) -> String {
    let at = UnixMillis(event.at.0);
    let who = event.actor.get(..8).unwrap_or(&event.actor);
    let (outcome, kind) = (event.outcome.as_str(), &event.event_type);
    let line = format!("{index:>10}  {at}  {outcome:<7}  {kind:<20}  {who:<8}  {}  {}", event.resource, event.reason);
    // Names come from elsewhere: nothing in them may move the cursor.
    line.trim_end().chars().map(|shown| if shown.is_control() { '?' } else { shown }).collect()
}
