//! What other limits would have changed: the log of a span, decided again.
//!
//! The log is folded as it was up to the start of the span. There the changed limits are applied, as defining them then
//! would have done: what was spent stays counted. From there on each command of the log is decided again, and what comes
//! of it is compared with what the log has.
//!
//! What would have followed an answer that nobody got is not known, so it is assumed, always in the same way:
//! - What is denied now has no follow-up: its captures, voids and refunds in the log are passed over.
//! - What the log denied and would pass now is captured in full at once.
//! - What newly waits for approval is approved at once, so that its follow-ups in the log still apply.
//! - A follow-up for more than there is now takes what there is.
//! - Later definitions of the changed limits in the span are passed over, and told.
//!
//! [`Whatif`] is pure; [`of_log`] feeds it from the files of a log.

mod log;
mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kiki_audit::Entry;

use crate::account::tenant_of;
use crate::command::{Authorize, Command, Notice, Outcome, Record};
use crate::digest::Digest;
use crate::limit::Standing;
use crate::shard::{self, fold};
use crate::state::State;

pub use log::{WhatifError, of_log};
use report::Verdict;
pub use report::{AccountRow, Asked, Change, Happened, LimitRow, Refusals, Report, Sum};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose decisions are compared.
    pub tenant: String,
    /// [`Command::Limit`] and [`Command::RemoveLimit`]; other commands are refused.
    pub changes: Vec<Command>,
    /// When the changes are made, in milliseconds since 1970.
    pub from: i64,
    /// What is decided then or later is not looked at; `None`: up to the end.
    pub to: Option<i64>,
    /// How many changed decisions are listed at the most.
    pub list: usize,
}

/// Decides the entries of a log again.
#[derive(Debug)]
pub struct Whatif {
    state: State,
    plan: Plan,
    /// The limits that the plan changes.
    changed: BTreeSet<Arc<str>>,
    /// Those it removes that were not there when the span began.
    absent: BTreeSet<Arc<str>>,
    /// Those that the log defines or removes in the span.
    passed_over: BTreeSet<Arc<str>>,
    has_begun: bool,
    report: Report,
    limits: BTreeMap<Arc<str>, LimitRow>,
    accounts: BTreeMap<Box<str>, AccountRow>,
}

/// A new decision about money: an authorization or its increase.
struct Request<'a> {
    asked: Asked,
    id: Digest,
    path: &'a str,
    amount: i64,
}

/// What the log has.
struct Logged<'a> {
    entry: u64,
    at: i64,
    outcome: &'a Outcome,
    notices: &'a [Notice],
}

impl Whatif {
    /// Starts from `state`, which comes before the span.
    ///
    /// # Errors
    /// The plan holds something that changes no limit, or the state is of a later time than its start.
    pub fn new(state: State, plan: Plan) -> Result<Self, String> {
        let mut changed = BTreeSet::new();
        for change in &plan.changes {
            let (Command::Limit { id, .. } | Command::RemoveLimit { id }) = change else {
                return Err("only limits can be changed".to_owned());
            };
            if !changed.insert(id.clone()) {
                return Err(format!("the limit {} is named twice", report::public(id)));
            }
        }
        if state.now() >= plan.from && state.now() > 0 {
            return Err("the state is of a later time than the span".to_owned());
        }
        let report = Report { from: plan.from, ..Report::default() };
        let (limits, accounts) = (BTreeMap::new(), BTreeMap::new());
        let (absent, passed_over) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { state, plan, changed, absent, passed_over, has_begun: false, report, limits, accounts })
    }

    /// Takes the next entry of the log. `false`: it is behind the span, and nothing more is wanted.
    ///
    /// # Errors
    /// The entry is not what the rules give before the span, or a change cannot be made.
    pub fn entry(&mut self, index: u64, entry: &Entry) -> Result<bool, String> {
        let body = shard::body(entry)?;
        if body.at < self.plan.from {
            return fold(&mut self.state, entry).map(|()| true);
        }
        if self.plan.to.is_some_and(|to| body.at >= to) {
            return Ok(false);
        }
        self.begin()?;
        self.report.entries += 1;
        self.report.to = body.at;
        let notices = body.notices.unwrap_or_default();
        let logged = Logged { entry: index, at: body.at, outcome: &body.out, notices: &notices };
        self.state.advance(body.at);
        self.command(&body.cmd, &logged);
        Ok(true)
    }

    /// What came of it.
    ///
    /// # Errors
    /// A change cannot be made.
    pub fn finish(mut self) -> Result<Report, String> {
        self.begin()?;
        self.report.to = self.plan.to.unwrap_or(self.report.to.max(self.plan.from));
        self.report.never_there = self.absent.into_iter().collect();
        self.report.passed_over = self.passed_over.into_iter().collect();
        self.report.limits = self.limits.into_values().collect();
        let mut accounts: Vec<AccountRow> = self.accounts.into_values().collect();
        accounts.sort_by_key(|row| std::cmp::Reverse((row.changed_amount(), row.changed())));
        self.report.accounts_changed = accounts.len();
        accounts.truncate(report::ACCOUNTS_MAX);
        self.report.accounts = accounts;
        Ok(self.report)
    }

    /// Makes the changes, once.
    fn begin(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.has_begun, true) {
            return Ok(());
        }
        for change in std::mem::take(&mut self.plan.changes) {
            let (Command::Limit { id, .. } | Command::RemoveLimit { id }) = &change else { continue };
            match self.state.apply(&change, self.plan.from).outcome {
                Outcome::Defined | Outcome::Removed => {}
                Outcome::Unknown => _ = self.absent.insert(id.clone()),
                other => return Err(format!("the limit {} cannot be set: {}", report::public(id), other.as_str())),
            }
        }
        Ok(())
    }

    fn command(&mut self, command: &Command, logged: &Logged<'_>) {
        match command {
            Command::Authorize(request) => self.authorize(request, logged),
            Command::Increase { id, amount, key } => self.increase((*id, *key), *amount, logged),
            Command::Record(record) => self.record(record, logged),
            Command::Capture { id, amount } => self.capture(*id, *amount, logged.at),
            Command::Refund { id, amount, .. } => self.refund(*id, *amount, logged.at),
            Command::Limit { id, .. } | Command::RemoveLimit { id } if self.changed.contains(id) => {
                self.absent.remove(id);
                self.passed_over.insert(id.clone());
            }
            Command::Limit { .. } | Command::RemoveLimit { .. } => {
                // One that no longer fits beside the changed ones decides nothing.
                if self.state.apply(command, logged.at).outcome != *logged.outcome {
                    self.report.not_compared += 1;
                }
            }
            // What is about a hold that is not there now changes nothing; the others are as in the log.
            Command::Void { .. }
            | Command::Approve { .. }
            | Command::Reject { .. }
            | Command::Stop { .. }
            | Command::Resume { .. }
            | Command::Policy { .. }
            | Command::Consent { .. }
            | Command::Bar { .. }
            | Command::Forget { .. }
            | Command::Check { .. }
            | Command::Note { .. } => _ = self.state.apply(command, logged.at),
        }
    }

    fn authorize(&mut self, request: &Authorize, logged: &Logged<'_>) {
        let applied = self.state.apply(&Command::Authorize(request.clone()), logged.at);
        let asked = Request { asked: Asked::Authorize, id: request.id, path: &request.path, amount: request.amount };
        if !self.is_compared(&asked) {
            return;
        }
        let Some(now) = Verdict::of(&applied.outcome).filter(|_| applied.is_new) else {
            self.report.not_compared += 1;
            return;
        };
        let standings = if now == Verdict::Denied { self.state.explain(request) } else { Vec::new() };
        self.compare(&asked, logged, (&applied.outcome, &applied.notices), &standings);
        self.assume(&asked, Verdict::of(logged.outcome), now, logged.at);
    }

    /// With its key: what the log has again since it was denied there first may take effect the first time now.
    fn increase(&mut self, (id, key): (Digest, Option<Digest>), amount: i64, logged: &Logged<'_>) {
        let view = self.state.authorization(id);
        let applied = self.state.apply(&Command::Increase { id, amount, key }, logged.at);
        if !applied.is_new && matches!(applied.outcome, Outcome::Held | Outcome::Conflict) {
            self.report.not_compared += 1;
            return;
        }
        let (Some(view), Some(now)) = (view, Verdict::of(&applied.outcome).filter(|_| applied.is_new)) else {
            self.report.increases_without_hold += 1;
            return;
        };
        let asked = Request { asked: Asked::Increase, id, path: &view.path, amount };
        if !self.is_compared(&asked) {
            return;
        }
        let standings = if now == Verdict::Denied { self.state.explain_increase(id, amount) } else { Vec::new() };
        self.compare(&asked, logged, (&applied.outcome, &applied.notices), &standings);
    }

    fn is_compared(&self, request: &Request<'_>) -> bool {
        tenant_of(request.path) == self.plan.tenant
    }

    /// What is assumed to follow an answer that the log does not have.
    fn assume(&mut self, request: &Request<'_>, was: Option<Verdict>, now: Verdict, at: i64) {
        let id = request.id;
        if now == Verdict::Pending && was != Some(Verdict::Pending) {
            self.state.apply(&Command::Approve { id, by: Digest::of("what if") }, at);
        }
        if was == Some(Verdict::Denied) && now != Verdict::Denied {
            self.state.apply(&Command::Capture { id, amount: None }, at);
        }
    }

    fn capture(&mut self, id: Digest, amount: Option<i64>, at: i64) {
        let held = self.state.authorization(id).map_or(0, |view| view.amount);
        let amount = amount.map(|amount| amount.min(held));
        self.state.apply(&Command::Capture { id, amount }, at);
    }

    /// Without its key: the log has each once.
    fn refund(&mut self, id: Digest, amount: i64, at: i64) {
        let left = self.state.authorization(id).map_or(0, |view| view.captured - view.refunded);
        self.state.apply(&Command::Refund { id, amount: amount.min(left), key: None }, at);
    }

    fn record(&mut self, record: &Record, logged: &Logged<'_>) {
        let applied = self.state.apply(&Command::Record(record.clone()), logged.at);
        if tenant_of(&record.path) != self.plan.tenant {
            return;
        }
        self.count(false, (logged.outcome, logged.notices), record.amount);
        self.count(true, (&applied.outcome, &applied.notices), record.amount);
        if applied.outcome != *logged.outcome {
            self.report.records_over_others += 1;
        }
    }

    fn compare(
        &mut self,
        request: &Request<'_>,
        logged: &Logged<'_>,
        (outcome, notices): (&Outcome, &[Notice]),
        standings: &[Standing],
    ) {
        let (Some(was), Some(now)) = (Verdict::of(logged.outcome), Verdict::of(outcome)) else { return };
        self.count(false, (logged.outcome, logged.notices), request.amount);
        self.count(true, (outcome, notices), request.amount);
        let happened = Happened::of(was, now);
        self.report.add(happened, request.amount);
        let Some(happened) = happened else {
            self.report.denied_by_others +=
                u64::from(was == Verdict::Denied && refusers(logged.outcome) != refusers(outcome));
            return;
        };
        let account = self.accounts.entry(request.path.into()).or_insert_with(|| AccountRow::new(request.path));
        account.add(happened, request.amount);
        if self.report.changes.len() < self.plan.list {
            let because = if now == Verdict::Denied { outcome } else { logged.outcome };
            self.report.changes.push(Change {
                entry: logged.entry,
                at: logged.at,
                asked: request.asked,
                account: request.path.into(),
                amount: request.amount,
                happened,
                refused_by: refusers(because).to_vec(),
                passes_at: passes_at(outcome, standings),
            });
        }
    }

    /// Counts for each limit what it says.
    fn count(&mut self, is_whatif: bool, (outcome, notices): (&Outcome, &[Notice]), amount: i64) {
        let mut row = |id: &Arc<str>, add: fn(&mut Refusals) -> &mut Sum| {
            let row = self.limits.entry(id.clone()).or_insert_with(|| LimitRow::new(id.clone()));
            add(if is_whatif { &mut row.whatif } else { &mut row.log }).add(amount);
        };
        for id in refusers(outcome) {
            row(id, |refusals| &mut refusals.refused);
        }
        if let Outcome::Recorded { over } = outcome {
            over.iter().for_each(|id| row(id, |refusals| &mut refusals.over));
        }
        for notice in notices {
            if let Notice::WouldRefuse { would_refuse } = notice {
                row(would_refuse, |refusals| &mut refusals.would_refuse);
            }
        }
    }
}

fn refusers(outcome: &Outcome) -> &[Arc<str>] {
    match outcome {
        Outcome::Denied { refused_by } => refused_by,
        _ => &[],
    }
}

/// When what is denied would pass, if nothing else happened: when the last of those that refuse lets it.
fn passes_at(outcome: &Outcome, standings: &[Standing]) -> Option<i64> {
    let Outcome::Denied { refused_by } = outcome else { return None };
    let standing_of = |limit: &Arc<str>| standings.iter().find(|standing| standing.limit == *limit);
    let times = refused_by.iter().map(|limit| standing_of(limit)?.passes_at).collect::<Option<Vec<i64>>>()?;
    times.into_iter().max()
}
