//! What is told of a comparison. As JSON, amounts are decimals, times RFC 3339, and names those of the tenant.

use std::sync::Arc;

use kiki_types::UnixMillis;
use kiki_types::money::format_micros;
use serde::{Serialize, Serializer};

use crate::command::Outcome;

/// Accounts that are told at the most: those where most money changes.
pub(super) const ACCOUNTS_MAX: usize = 10;

/// Without the tenant.
pub(super) fn public(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, name)| name)
}

/// What an answer means for the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Pending,
    Denied,
}

impl Verdict {
    pub(super) const fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Held | Outcome::Captured => Some(Self::Allowed),
            Outcome::Pending => Some(Self::Pending),
            Outcome::Denied { .. } => Some(Self::Denied),
            _ => None,
        }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// An authorization.
    Authorize,
    /// More for a hold.
    Increase,
}

/// How a decision changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It was not denied, and is.
    NewlyDenied,
    /// It was denied, and passes.
    NewlyAllowed,
    /// It did not wait for approval, and does.
    NewlyPending,
    /// It waited for approval, and passes without.
    NoLongerPending,
}

impl Happened {
    pub(super) const fn of(was: Verdict, now: Verdict) -> Option<Self> {
        match (was, now) {
            (Verdict::Allowed | Verdict::Pending, Verdict::Denied) => Some(Self::NewlyDenied),
            (Verdict::Denied, Verdict::Allowed) => Some(Self::NewlyAllowed),
            (Verdict::Allowed | Verdict::Denied, Verdict::Pending) => Some(Self::NewlyPending),
            (Verdict::Pending, Verdict::Allowed) => Some(Self::NoLongerPending),
            _ => None,
        }
    }

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewlyDenied => "newly denied",
            Self::NewlyAllowed => "newly allowed",
            Self::NewlyPending => "newly pending",
            Self::NoLongerPending => "no longer pending",
        }
    }
}

/// How many, and how much together in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// How much.
    #[serde(serialize_with = "decimal")]
    pub amount: i128,
}

impl Sum {
    pub(super) fn add(&mut self, amount: i64) {
        self.count += 1;
        self.amount += i128::from(amount);
    }
}

/// What a limit says to what is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusals {
    /// What it refuses.
    pub refused: Sum,
    /// What it would refuse, in shadow.
    pub would_refuse: Sum,
    /// What was already gone and broke it.
    pub over: Sum,
}

/// A limit, or another name that refuses, which says something in the log or now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitRow {
    /// Its name.
    #[serde(serialize_with = "name")]
    pub id: Arc<str>,
    /// In the log.
    pub log: Refusals,
    /// With the changed limits.
    pub whatif: Refusals,
}

impl LimitRow {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self { id, log: Refusals::default(), whatif: Refusals::default() }
    }
}

/// An account where decisions change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountRow {
    /// Its path.
    #[serde(serialize_with = "path")]
    pub account: Box<str>,
    /// Not denied before.
    pub newly_denied: Sum,
    /// Denied before.
    pub newly_allowed: Sum,
    /// Not waiting for approval before.
    pub newly_pending: Sum,
    /// Waiting for approval before.
    pub no_longer_pending: Sum,
}

impl AccountRow {
    pub(super) fn new(account: &str) -> Self {
        let none = Sum::default();
        let account = account.into();
        Self { account, newly_denied: none, newly_allowed: none, newly_pending: none, no_longer_pending: none }
    }

    pub(super) fn add(&mut self, happened: Happened, amount: i64) {
        match happened {
            Happened::NewlyDenied => self.newly_denied.add(amount),
            Happened::NewlyAllowed => self.newly_allowed.add(amount),
            Happened::NewlyPending => self.newly_pending.add(amount),
            Happened::NoLongerPending => self.no_longer_pending.add(amount),
        }
    }

    const fn sums(&self) -> [Sum; 4] {
        [self.newly_denied, self.newly_allowed, self.newly_pending, self.no_longer_pending]
    }

    pub(super) fn changed(&self) -> u64 {
        self.sums().iter().map(|sum| sum.count).sum()
    }

    pub(super) fn changed_amount(&self) -> i128 {
        self.sums().iter().map(|sum| sum.amount).sum()
    }
}

/// A decision that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its place in the log.
    pub entry: u64,
    /// When it was decided, in milliseconds since 1970.
    #[serde(serialize_with = "time")]
    pub at: i64,
    /// What was asked for.
    pub asked: Asked,
    /// The account that pays.
    #[serde(serialize_with = "path")]
    pub account: Box<str>,
    /// How much, in millionths.
    #[serde(serialize_with = "micros")]
    pub amount: i64,
    /// How it changes.
    pub happened: Happened,
    /// What refuses it now; of what passes now, what had refused it.
    #[serde(serialize_with = "names")]
    pub refused_by: Vec<Arc<str>>,
    /// When what is denied now would pass, if nothing else happened; `None` where waiting does not help.
    #[serde(serialize_with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub passes_at: Option<i64>,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// When the changes were made.
    #[serde(serialize_with = "time")]
    pub from: i64,
    /// Up to when the log was looked at.
    #[serde(serialize_with = "time")]
    pub to: i64,
    /// Entries in the span.
    pub entries: u64,
    /// Authorizations and increases that were decided again.
    pub decisions: Sum,
    /// Those that stay as they were.
    pub same: Sum,
    /// Not denied before.
    pub newly_denied: Sum,
    /// Denied before.
    pub newly_allowed: Sum,
    /// Not waiting for approval before.
    pub newly_pending: Sum,
    /// Waiting for approval before.
    pub no_longer_pending: Sum,
    /// Of those that stay denied: by other limits than before.
    pub denied_by_others: u64,
    /// Records of money already gone that break other limits than before.
    pub records_over_others: u64,
    /// Increases that nobody would have asked for, because their hold is denied now.
    pub increases_without_hold: u64,
    /// What could not be compared, because a bound is reached otherwise than in the log, or because it repeats what was
    /// denied in the log and takes effect the first time now.
    pub not_compared: u64,
    /// Each name that refuses or would refuse, in order.
    pub limits: Vec<LimitRow>,
    /// The accounts where most money changes.
    pub accounts: Vec<AccountRow>,
    /// How many accounts have changed decisions.
    pub accounts_changed: usize,
    /// The first changed decisions.
    pub changes: Vec<Change>,
    /// Changed limits that the log defines or removes in the span, which was passed over.
    #[serde(serialize_with = "names")]
    pub passed_over: Vec<Arc<str>>,
    /// Limits to remove that were never there.
    #[serde(serialize_with = "names")]
    pub never_there: Vec<Arc<str>>,
}

impl Report {
    /// Whether no decision changes.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.decisions.count == self.same.count && self.not_compared == 0
    }

    pub(super) fn add(&mut self, happened: Option<Happened>, amount: i64) {
        self.decisions.add(amount);
        match happened {
            None => self.same.add(amount),
            Some(Happened::NewlyDenied) => self.newly_denied.add(amount),
            Some(Happened::NewlyAllowed) => self.newly_allowed.add(amount),
            Some(Happened::NewlyPending) => self.newly_pending.add(amount),
            Some(Happened::NoLongerPending) => self.no_longer_pending.add(amount),
        }
    }
}

fn decimal<S: Serializer>(micros: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_micros(*micros))
}

fn micros<S: Serializer>(micros: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_micros((*micros).into()))
}

fn time<S: Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&UnixMillis(*at))
}

fn maybe_time<S: Serializer>(at: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(UnixMillis).map(UnixMillis::rfc3339).serialize(serializer)
}

fn name<S: Serializer>(name: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(public(name))
}

fn path<S: Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path.split_once('/').map_or("", |(_, account)| account))
}

fn names<S: Serializer>(names: &[Arc<str>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(|name| public(name)))
}
