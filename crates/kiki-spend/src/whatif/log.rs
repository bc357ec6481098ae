//! Feeding a comparison from the files of a log. Nothing is written and no lock is taken, so it may run beside the
//! process that appends: it looks at what was there when it started.

use std::path::Path;

use kiki_audit::{Reader, Record};

use super::{Plan, Report, Whatif};
use crate::shard::{OpenError, governor_time, last_hash};
use crate::snapshot;
use crate::state::{Bounds, State};

/// The span that is looked at if none is named: 24 hours.
const SPAN_MS: i64 = 24 * 3600 * 1000;

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum WhatifError {
    /// The log does not read, or is not what the rules give.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The log has no entry.
    #[error("the log has no entry")]
    Empty,
    /// What is asked makes no sense.
    #[error("{0}")]
    Plan(String),
}

impl From<kiki_audit::Error> for WhatifError {
    fn from(error: kiki_audit::Error) -> Self {
        Self::Log(OpenError::Read(error))
    }
}

/// Decides the log below `data` again. The span starts at `from`, or 24 hours before the last entry; `plan.from` is not
/// looked at.
///
/// # Errors
/// [`WhatifError`]; entries are named by their places.
pub fn of_log(data: &Path, plan: Plan, from: Option<i64>) -> Result<Report, WhatifError> {
    let audit = data.join("audit");
    let entries = kiki_audit::reader::entries(&audit)?;
    let Some(last) = entries.checked_sub(1) else { return Err(WhatifError::Empty) };
    let from = match from {
        Some(from) => from,
        None => time_of(&audit, last)?.saturating_sub(SPAN_MS),
    };
    if plan.to.is_some_and(|to| to <= from) {
        return Err(WhatifError::Plan("the span ends before it starts".to_owned()));
    }
    let (start, state) = state_before(data, &audit, from, entries);
    let minimum = kiki_audit::pruned::minimum(kiki_audit::disk::real().as_ref(), &audit)?;
    if start < minimum {
        let problem = format!("the entries before {minimum} were pruned, and no snapshot is older than the span");
        return Err(WhatifError::Plan(problem));
    }
    let mut whatif = Whatif::new(state, Plan { from, ..plan }).map_err(WhatifError::Plan)?;
    let mut reader = Reader::open(&audit, start, entries)?;
    while let Some(record) = reader.next_record()? {
        if !whatif.entry(record.index, &record.entry()?).map_err(|problem| at(&record, problem))? {
            break;
        }
    }
    whatif.finish().map_err(WhatifError::Plan)
}

fn at(record: &Record<'_>, problem: String) -> OpenError {
    OpenError::Fold { place: record.place().to_string(), problem }
}

/// When entry `index` was decided.
fn time_of(audit: &Path, index: u64) -> Result<i64, WhatifError> {
    let mut reader = Reader::open(audit, index, index + 1)?;
    let Some(record) = reader.next_record()? else { return Err(WhatifError::Empty) };
    let time = governor_time(&record.entry()?);
    time.ok_or_else(|| at(&record, "is no entry of the governor".to_owned()).into())
}

/// The state after the first entries of the log, all of them before `from`: of the newest snapshot, or of none. One that
/// cannot be read, as when it has just been replaced, is passed over: the log alone gives the same state.
fn state_before(data: &Path, audit: &Path, from: i64, entries: u64) -> (u64, State) {
    let path = data.join("spend");
    let is_before = |count: u64| {
        let last = count.checked_sub(1).filter(|_| count <= entries);
        last.is_some_and(|last| time_of(audit, last).is_ok_and(|time| time < from))
    };
    let disk = kiki_audit::disk::real();
    let fits = |count, hash| last_hash(&disk, audit, count).is_ok_and(|last| last == hash);
    let most = snapshot::kept(&path).unwrap_or_default().into_iter().find(|&count| is_before(count));
    let found = most.and_then(|most| snapshot::newest_within(&path, Bounds::default(), most, fits).ok().flatten());
    found.unwrap_or_else(|| (0, State::new(Bounds::default())))
}
