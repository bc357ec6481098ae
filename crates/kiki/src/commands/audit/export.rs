//! `kiki audit export`: entries as rows of the views, for other programs.
//!
//! A day is one of UTC, by when entries were written down. The rows of a day are the same whenever it is exported.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kiki_audit::{Reader, Row, RowFormat};
use kiki_kit::config::Config;
use kiki_spend::shard::governor_time;
use kiki_types::UnixMillis;

use super::log_in;
use super::select::Span;
use crate::console::say;

/// Bytes of rows before they are written.
const ROWS_BYTES: usize = 1 << 20;

/// What, and where to.
#[derive(Args, Debug)]
pub struct Options {
    /// The form of the rows.
    #[arg(long, value_enum, default_value_t = Form::Csv)]
    format: Form,
    /// One day of UTC, such as 2026-02-05.
    #[arg(long, value_name = "DAY", conflicts_with_all = ["since", "until"])]
    day: Option<Date>,
    #[command(flatten)]
    span: Span,
    /// The file to write; absent: the terminal.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Writes a file for each day instead, into this folder; a day that is not over is left out.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "day"])]
    daily: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// With a header; RFC 4180.
    Csv,
    /// An object a line.
    Jsonl,
}

impl Form {
    const fn format(self) -> RowFormat {
        match self {
            Self::Csv => RowFormat::Csv,
            Self::Jsonl => RowFormat::Jsonl,
        }
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

pub(super) fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    let audit = log_in(&config.data)?;
    let entries = kiki_audit::reader::entries(&audit)?;
    let export = Export { audit: &audit, format: options.format.format(), retention_days: config.retention_days };
    let span = options.day.map_or(Ok(options.span), day_span)?;
    if let Some(folder) = &options.daily {
        let (days, rows) = export.daily(span, entries, folder, options.format.ending())?;
        say(format_args!("{rows} entries of {days} days in {}", folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let range = span.range(&audit, entries)?;
    match &options.out {
        Some(path) => {
            let rows = range.end.saturating_sub(range.start);
            export.file(range, path)?;
            say(format_args!("{rows} entries in {}", path.display()))?;
        }
        None => export.rows(range, &mut io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A day of UTC.
fn day_span(day: Date) -> anyhow::Result<Span> {
    let start = |day: Date| Ok::<_, jiff::Error>(UnixMillis(day.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond()));
    Ok(Span { since: Some(start(day)?), until: Some(start(day.tomorrow()?)?) })
}

struct Export<'a> {
    audit: &'a Path,
    format: RowFormat,
    retention_days: u32,
}

impl Export<'_> {
    /// Writes the rows of a range.
    fn rows(&self, range: Range<u64>, out: &mut impl Write) -> anyhow::Result<()> {
        let mut rows = self.format.header().to_vec();
        let mut reader = Reader::open(self.audit, range.start, range.end)?;
        while let Some(record) = reader.next_record()? {
            self.format.write(&mut rows, &Row::new(&record.entry()?.event, self.retention_days));
            if rows.len() >= ROWS_BYTES {
                out.write_all(&rows)?;
                rows.clear();
            }
        }
        out.write_all(&rows)?;
        Ok(out.flush()?)
    }

    /// Writes a file, which is whole or not there.
    fn file(&self, range: Range<u64>, path: &Path) -> anyhow::Result<()> {
        let unfinished = path.with_added_extension("tmp");
        let write = || {
            let mut out = BufWriter::new(File::create(&unfinished)?);
            self.rows(range, &mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            Ok::<_, anyhow::Error>(fs::rename(&unfinished, path)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a file for each day of a span that has entries and is over. How many days and rows.
    fn daily(&self, span: Span, entries: u64, folder: &Path, ending: &str) -> anyhow::Result<(u64, u64)> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let Range { mut start, end } = span.range(self.audit, entries)?;
        let (mut days, mut rows) = (0, 0);
        while start < end {
            let day = self.day_of(start)?;
            let next = day_span(day)?.range(self.audit, entries)?.end.min(end);
            if next == entries {
                // Nothing came after it: more may come.
                break;
            }
            self.file(start..next, &folder.join(format!("{day}.{ending}")))?;
            (days, rows) = (days + 1, rows + (next - start));
            start = next;
        }
        Ok((days, rows))
    }

    /// On which day an entry was written down.
    fn day_of(&self, index: u64) -> anyhow::Result<Date> {
        let mut reader = Reader::open(self.audit, index, index + 1)?;
        let record = reader.next_record()?.context("the log has become shorter")?;
        let place = record.place();
        let time = governor_time(&record.entry()?).with_context(|| format!("{place}: no time of the governor"))?;
        Ok(jiff::Timestamp::from_millisecond(time)?.to_zoned(TimeZone::UTC).date())
    }
}
