//! The rules once more, written to be read: everything is kept for ever and counted anew for each question.
//!
//! It shares nothing with the governor: names are numbers and plain text, time zones are worked out here. The rules of
//! the oracle are validated against histories that the oracle answered; what the governor has beyond it (lists, dates,
//! counts, approval, policies, shadows) follows the same form.

use std::collections::{BTreeMap, BTreeSet};

/// An authorization, a key, a person, a policy.
pub type Number = u32;
pub type Text = &'static str;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    Utc,
    Tokyo,
    Berlin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Category,
    Payee,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Window { amount: i64, seconds: u32 },
    Total { amount: i64 },
    Calendar { amount: i64, unit: Unit, zone: Zone },
    Velocity { count: u32, seconds: u32 },
    Occurrences { count: u32, unit: Option<Unit>, zone: Zone },
    Each { least: i64, most: i64 },
    Allow { field: Field, values: Vec<Text> },
    Deny { field: Field, values: Vec<Text> },
    Between { from: i64, until: i64 },
    Approval { above: i64, seconds: u32, four_eyes: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Degrade,
    Ask,
    Deny,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    Email,
    Phone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    DoNotSell,
    Restricted,
    Objected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub id: Number,
    pub key: Option<Number>,
    pub path: Text,
    pub amount: i64,
    pub ttl_ms: i64,
    pub consent: Option<(Number, bool)>,
    pub channel: Option<Channel>,
    pub category: Option<Text>,
    pub payee: Option<Text>,
    pub by: Option<Number>,
    pub policy: Option<(Number, Verdict)>,
    pub capture: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    pub id: Option<Number>,
    pub key: Option<Number>,
    pub path: Text,
    pub amount: i64,
    pub category: Option<Text>,
    pub payee: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Limit {
        id: Text,
        path: Text,
        kind: Kind,
        shadow: bool,
    },
    RemoveLimit {
        id: Text,
    },
    Authorize(Request),
    Increase {
        id: Number,
        amount: i64,
        key: Option<Number>,
    },
    Capture {
        id: Number,
        amount: Option<i64>,
    },
    Void {
        id: Number,
    },
    Refund {
        id: Number,
        amount: i64,
        key: Option<Number>,
    },
    Record(Gone),
    Stop {
        path: Text,
    },
    Resume {
        path: Text,
    },
    Approve {
        id: Number,
        by: Number,
    },
    Reject {
        id: Number,
        by: Number,
    },
    /// The purpose is one of two.
    Consent {
        subject: Number,
        purpose: bool,
        granted: bool,
        channel: Option<Channel>,
        until: Option<i64>,
    },
    Bar {
        subject: Number,
        bar: Bar,
        set: bool,
    },
    Forget {
        subjects: Vec<Number>,
    },
    Check {
        path: Text,
    },
    Policy {
        path: Text,
        version: Option<Number>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Held,
    Pending,
    Denied,
    Captured,
    Voided,
    Expired,
    Rejected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Defined,
    Removed,
    Held,
    Pending,
    Captured,
    Voided,
    Rejected,
    Recorded { over: Vec<Text> },
    Refunded,
    Stopped,
    Resumed,
    Granted,
    Revoked,
    Barred,
    Unbarred,
    Forgotten,
    Denied { refused_by: Vec<Text> },
    Conflict,
    Invalid,
    Unknown,
    Resolved { state: Stage },
    Waiting,
    Stale,
    Clear,
}

/// Whether `path` is `above` or below it.
pub fn is_under(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

const DAY_MS: i64 = 86_400_000;

/// Days since 1970 of a date, and back (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// 0 is Monday.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// What is added to UTC at `at`. In Berlin summer time is from the last Sunday of March, 01:00 UTC, to that of October.
fn offset_ms(zone: Zone, at: i64) -> i64 {
    const HOUR_MS: i64 = 3_600_000;
    match zone {
        Zone::Utc => 0,
        Zone::Tokyo => 9 * HOUR_MS,
        Zone::Berlin => {
            let (year, ..) = date_of(at.div_euclid(DAY_MS));
            let last_sunday = |month: i64| {
                let last = days_of(year, month, 31);
                (last - (weekday(last) + 1) % 7) * DAY_MS + HOUR_MS
            };
            if (last_sunday(3)..last_sunday(10)).contains(&at) { 2 * HOUR_MS } else { HOUR_MS }
        }
    }
}

/// The first millisecond of the period that holds `at`.
pub fn period_start(unit: Unit, zone: Zone, at: i64) -> i64 {
    let days = (at + offset_ms(zone, at)).div_euclid(DAY_MS);
    let (year, month, _) = date_of(days);
    let first = match unit {
        Unit::Day => days,
        Unit::Week => days - weekday(days),
        Unit::Month => days_of(year, month, 1),
        Unit::Quarter => days_of(year, month - (month - 1) % 3, 1),
        Unit::Year => days_of(year, 1, 1),
    };
    // Clocks change by night, so the zone of local midnight is that of an hour around it.
    let midnight = first * DAY_MS;
    midnight - offset_ms(zone, midnight - offset_ms(zone, midnight))
}

#[derive(Clone, Debug)]
struct Spent {
    at: i64,
    amount: i64,
    /// The authorization.
    of: Option<Number>,
}

/// Shares of a limit that are told when they are reached, in percent.
const SHARES: [u8; 3] = [50, 80, 100];

#[derive(Clone, Debug)]
struct Limit {
    id: Text,
    path: Text,
    kind: Kind,
    shadow: bool,
    spent: Vec<Spent>,
    /// How many of the shares were reached and told.
    told: usize,
}

/// Open holds: their amounts and their number.
#[derive(Clone, Copy, Default)]
struct Held {
    amount: i128,
    count: i128,
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Ask {
    amount: i64,
    /// What the authorization would then be in all.
    total: i64,
    is_new: bool,
    category: Option<Text>,
    payee: Option<Text>,
}

impl Limit {
    /// When what was spent at `at` leaves a window: the end of its tick plus the window.
    fn leaves(at: i64, seconds: u32) -> i64 {
        let length = i64::from(seconds) * 1000;
        let tick = (length / 1024).max(1);
        (at.div_euclid(tick) + 1) * tick + length
    }

    fn counts(&self, now: i64, spent: &Spent, period: i64) -> bool {
        match self.kind {
            Kind::Window { seconds, .. } | Kind::Velocity { seconds, .. } => now < Self::leaves(spent.at, seconds),
            _ => spent.at >= period,
        }
    }

    /// The first moment that counts, for kinds with periods.
    fn period(&self, now: i64) -> i64 {
        match self.kind {
            Kind::Calendar { unit, zone, .. } | Kind::Occurrences { unit: Some(unit), zone, .. } => {
                period_start(unit, zone, now)
            }
            _ => i64::MIN,
        }
    }

    /// The most, and what counts: moved and held. `None` for kinds that count nothing.
    fn standing(&self, now: i64, held: Held) -> Option<(i128, i128)> {
        let period = self.period(now);
        let counting = self.spent.iter().filter(|spent| self.counts(now, spent, period));
        match self.kind {
            Kind::Window { amount, .. } | Kind::Total { amount } | Kind::Calendar { amount, .. } => {
                let moved: i128 = counting.map(|spent| i128::from(spent.amount)).sum();
                Some((amount.into(), moved + held.amount))
            }
            Kind::Velocity { count, .. } | Kind::Occurrences { count, .. } => {
                Some((count.into(), i128::try_from(counting.count()).unwrap() + held.count))
            }
            _ => None,
        }
    }

    /// How many of the shares are reached.
    fn reached(&self, now: i64, held: Held) -> usize {
        let Some((most, counted)) = self.standing(now, held).filter(|(most, _)| *most > 0) else { return 0 };
        SHARES.iter().filter(|&&share| counted * 100 >= most * i128::from(share)).count()
    }

    fn refuses(&self, now: i64, ask: &Ask, held: Held) -> bool {
        let value = |field| if field == Field::Category { ask.category } else { ask.payee };
        let is_listed = |field, values: &[Text]| value(field).is_some_and(|value| values.contains(&value));
        match &self.kind {
            Kind::Each { least, most } => ask.total < *least || ask.total > *most,
            Kind::Between { from, until } => now < *from || now >= *until,
            Kind::Allow { field, values } => ask.is_new && !is_listed(*field, values),
            Kind::Deny { field, values } => ask.is_new && is_listed(*field, values),
            Kind::Approval { above, .. } => !ask.is_new && ask.total > *above,
            Kind::Velocity { .. } | Kind::Occurrences { .. } => {
                ask.is_new && self.standing(now, held).is_some_and(|(most, counted)| counted + 1 > most)
            }
            Kind::Window { .. } | Kind::Total { .. } | Kind::Calendar { .. } => {
                self.standing(now, held).is_some_and(|(most, counted)| counted + i128::from(ask.amount) > most)
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Authorization {
    /// `None` for a record.
    request: Option<Request>,
    path: Text,
    amount: i64,
    stage: Stage,
    was_pending: bool,
    four_eyes: bool,
    until: i64,
    captured: i64,
    refunded: i64,
}

/// What a key stands for: what identifies the request, and the answer.
type Answered = (Fingerprint, Outcome);
type Fingerprint = (bool, Text, i64, Agreed, Option<Text>, Option<Text>, bool);
/// A person, a purpose and a channel.
type Agreed = (Option<(Number, bool)>, Option<Channel>);

/// What makes two requests the same.
pub fn fingerprint(request: &Request) -> Fingerprint {
    let Request { path, amount, consent, channel, category, payee, capture, .. } = *request;
    (false, path, amount, (consent, channel), category, payee, capture)
}

pub fn fingerprint_of(gone: &Gone) -> Fingerprint {
    (true, gone.path, gone.amount, (None, None), gone.category, gone.payee, false)
}

/// What a person said about a purpose, for one channel or for all of them.
#[derive(Clone, Copy, Debug)]
struct Said {
    subject: Number,
    purpose: bool,
    channel: Option<Channel>,
    granted: bool,
    until: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub struct Reference {
    now: i64,
    limits: Vec<Limit>,
    authorizations: BTreeMap<Number, Authorization>,
    /// Of those, the open ones.
    open: BTreeSet<Number>,
    keys: BTreeMap<Number, Answered>,
    stopped: BTreeSet<Text>,
    /// What people said, in order.
    said: Vec<Said>,
    bars: Vec<(Number, Bar)>,
    policies: BTreeMap<Text, Number>,
    /// The limits in shadow that would have refused the last command.
    pub would_refuse: Vec<Text>,
    /// The shares of limits that the last command reached.
    pub reached: Vec<(Text, u8)>,
    /// Whether the last command was denied as the one that makes a burst.
    pub is_burst: bool,
    /// Whether the last command is a change that took effect before.
    pub is_changed_before: bool,
    /// Changes that took effect under the keys of an authorization: whether it was refunded, the amount, the answer.
    changes: BTreeMap<(Number, Number), ((bool, i64), Outcome)>,
    /// The tenants that are known, when their denials began to be counted together, and how many there were.
    denials: BTreeMap<Text, (i64, u32)>,
    /// Authorizations that were decided, repeats not among them.
    decided: u64,
}

const BURST_DENIALS: u32 = 20;
const BURST_MS: i64 = 60_000;

fn tenant_of(path: Text) -> Text {
    path.split('/').next().unwrap()
}

const TTL_MS_MAX: i64 = 31 * DAY_MS;
const POLICY_WAIT_MS: i64 = DAY_MS;

impl Reference {
    pub fn apply(&mut self, at: i64, command: &Command) -> Outcome {
        self.now = self.now.max(at);
        self.would_refuse.clear();
        self.reached.clear();
        self.is_burst = false;
        self.is_changed_before = false;
        self.expire();
        match command {
            Command::Limit { id, path, kind, shadow } => self.define(id, path, kind, *shadow),
            Command::RemoveLimit { id } => self.remove(id),
            Command::Authorize(request) => self.authorize(request),
            Command::Increase { id, amount, key } => {
                self.once(*id, *key, (false, *amount), |all| all.increase(*id, *amount))
            }
            Command::Capture { id, amount } => self.capture(*id, *amount),
            Command::Void { id } => self.void(*id),
            Command::Refund { id, amount, key } => {
                self.once(*id, *key, (true, *amount), |all| all.refund(*id, *amount))
            }
            Command::Record(gone) => self.record(gone),
            Command::Stop { path } => {
                self.know(path);
                self.stopped.insert(path);
                Outcome::Stopped
            }
            Command::Resume { path } => {
                self.stopped.remove(path);
                Outcome::Resumed
            }
            Command::Approve { id, by } => self.approve(*id, *by),
            Command::Reject { id, .. } => self.reject(*id),
            Command::Consent { subject, purpose, granted, channel, until } => {
                if until.is_some_and(|until| !granted || until <= self.now) {
                    return Outcome::Invalid;
                }
                let (subject, purpose, granted) = (*subject, *purpose, *granted);
                self.said.push(Said { subject, purpose, channel: *channel, granted, until: *until });
                if granted { Outcome::Granted } else { Outcome::Revoked }
            }
            Command::Bar { subject, bar, set } => {
                self.bars.retain(|stands| *stands != (*subject, *bar));
                if *set {
                    self.bars.push((*subject, *bar));
                }
                if *set { Outcome::Barred } else { Outcome::Unbarred }
            }
            Command::Forget { subjects } => {
                if subjects.is_empty() {
                    return Outcome::Invalid;
                }
                self.said.retain(|said| !subjects.contains(&said.subject));
                self.bars.retain(|(subject, _)| !subjects.contains(subject));
                Outcome::Forgotten
            }
            Command::Check { path } => self.check(path),
            Command::Policy { path, version } => {
                self.know(path);
                match version {
                    Some(version) => drop(self.policies.insert(path, *version)),
                    None => drop(self.policies.remove(path)),
                }
                Outcome::Defined
            }
        }
    }

    /// The latest word about the channel, or about all of them, counts. Ends are kept to the second.
    fn agrees(&self, (subject, purpose): (Number, bool), channel: Option<Channel>) -> bool {
        let is_about = |said: &&Said| {
            (said.subject, said.purpose) == (subject, purpose) && (said.channel.is_none() || said.channel == channel)
        };
        let agreed = self
            .said
            .iter()
            .rev()
            .find(is_about)
            .is_some_and(|said| said.granted && said.until.is_none_or(|until| self.now / 1000 < until / 1000));
        // The purposes are marketing and data sharing.
        let refuses = |bar: Bar| match bar {
            Bar::Restricted => true,
            Bar::Objected => purpose,
            Bar::DoNotSell => !purpose,
        };
        agreed && !self.bars.iter().any(|&(barred, bar)| barred == subject && refuses(bar))
    }

    /// Holds end by themselves before anything else at their time.
    fn expire(&mut self) {
        let (now, authorizations) = (self.now, &mut self.authorizations);
        self.open.retain(|id| {
            let Some(authorization) = authorizations.get_mut(id) else { return false };
            let has_ended = now >= authorization.until;
            if has_ended {
                authorization.stage = Stage::Expired;
            }
            !has_ended
        });
    }

    fn define(&mut self, id: Text, path: Text, kind: &Kind, shadow: bool) -> Outcome {
        self.know(path);
        let mut limit = Limit { id, path, kind: kind.clone(), shadow, spent: Vec::new(), told: 0 };
        if let Some(at) = self.limits.iter().position(|limit| limit.id == id) {
            let old = self.limits.swap_remove(at);
            if old.path == path {
                limit.spent = old.spent;
            }
        }
        self.limits.push(limit);
        Outcome::Defined
    }

    fn remove(&mut self, id: Text) -> Outcome {
        let Some(at) = self.limits.iter().position(|limit| limit.id == id) else { return Outcome::Unknown };
        self.limits.swap_remove(at);
        Outcome::Removed
    }

    /// A tenant is known from the first of its accounts that is kept.
    fn know(&mut self, path: Text) {
        self.denials.entry(tenant_of(path)).or_default();
    }

    fn count_denial(&mut self, path: Text) {
        let Some((since, count)) = self.denials.get_mut(tenant_of(path)) else { return };
        if self.now - *since >= BURST_MS {
            (*since, *count) = (self.now, 0);
        }
        *count += 1;
        self.is_burst = *count == BURST_DENIALS;
    }

    /// Tells the shares that are reached newly.
    fn tell_reached(&mut self, path: Text) {
        for at in 0..self.limits.len() {
            let limit = &self.limits[at];
            if !is_under(path, limit.path) {
                continue;
            }
            let reached = limit.reached(self.now, self.held_under(limit.path));
            if reached > limit.told {
                self.reached.push((limit.id, SHARES[reached - 1]));
                self.limits[at].told = reached;
            }
        }
    }

    fn held_under(&self, path: &str) -> Held {
        let mut held = Held::default();
        for id in &self.open {
            let authorization = &self.authorizations[id];
            if is_under(authorization.path, path) {
                held.amount += i128::from(authorization.amount);
                held.count += 1;
            }
        }
        held
    }

    fn is_stopped(&self, path: &str) -> bool {
        self.stopped.iter().any(|stopped| is_under(path, stopped))
    }

    /// Who refuses, and what wants an approval: for how long, and whether by somebody else.
    /// Shares that are reached no longer may be told again.
    fn judge(&mut self, path: Text, ask: &Ask) -> (Vec<Text>, Option<(i64, bool)>) {
        let (mut refused_by, mut wait) = (Vec::new(), None);
        let mut would_refuse = Vec::new();
        for at in 0..self.limits.len() {
            if !is_under(path, self.limits[at].path) {
                continue;
            }
            let held = self.held_under(self.limits[at].path);
            let limit = &mut self.limits[at];
            if limit.told > 0 {
                limit.told = limit.told.min(limit.reached(self.now, held));
            }
            let wants = match limit.kind {
                Kind::Approval { above, seconds, four_eyes } if ask.is_new && ask.total > above => {
                    Some((i64::from(seconds) * 1000, four_eyes))
                }
                _ => None,
            };
            let refuses = limit.refuses(self.now, ask, held);
            if limit.shadow {
                if refuses || wants.is_some() {
                    would_refuse.push(limit.id);
                }
            } else if refuses {
                refused_by.push(limit.id);
            } else if let Some((ms, four_eyes)) = wants {
                let (shortest, any) = wait.unwrap_or((i64::MAX, false));
                wait = Some((ms.min(shortest), four_eyes || any));
            }
        }
        self.would_refuse = would_refuse;
        self.would_refuse.sort_unstable();
        (refused_by, wait)
    }

    fn authorize(&mut self, request: &Request) -> Outcome {
        let same = fingerprint(request);
        if let Some((first, answer)) = request.key.and_then(|key| self.keys.get(&key)) {
            return if *first == same { answer.clone() } else { Outcome::Conflict };
        }
        let is_valid = request.amount > 0
            && (0..=TTL_MS_MAX).contains(&request.ttl_ms)
            && !self.authorizations.contains_key(&request.id);
        if !is_valid {
            return Outcome::Invalid;
        }
        let tenant = request.path.split('/').next().unwrap();
        if self.policies.get(tenant).copied() != request.policy.map(|(version, _)| version) {
            return Outcome::Stale;
        }
        let (refused_by, wait) = self.judge_request(request);
        let (outcome, stage) = match (refused_by.is_empty(), wait, request.capture) {
            (false, ..) => (Outcome::Denied { refused_by }, Stage::Denied),
            (true, Some(_), _) => (Outcome::Pending, Stage::Pending),
            (true, None, true) => (Outcome::Captured, Stage::Captured),
            (true, None, false) => (Outcome::Held, Stage::Held),
        };
        self.decided += 1;
        let is_captured = stage == Stage::Captured;
        let is_open = matches!(stage, Stage::Held | Stage::Pending);
        let is_kept = is_open || request.key.is_some();
        if is_kept {
            self.know(request.path);
        }
        if stage == Stage::Denied {
            self.count_denial(request.path);
        }
        if is_captured {
            // What is captured at once and has no key is forgotten: its id may come again.
            self.book(request.path, request.amount, request.key.map(|_| request.id));
        }
        if is_kept {
            let until = self.now + wait.map_or(request.ttl_ms, |(ms, _)| ms);
            self.keep(
                request.id,
                Authorization {
                    request: Some(request.clone()),
                    path: request.path,
                    amount: request.amount,
                    stage,
                    was_pending: stage == Stage::Pending,
                    four_eyes: wait.is_some_and(|(_, four_eyes)| four_eyes),
                    until,
                    captured: if is_captured { request.amount } else { 0 },
                    refunded: 0,
                },
            );
        }
        if let Some(key) = request.key {
            self.keys.insert(key, (same, outcome.clone()));
        }
        if is_open {
            self.tell_reached(request.path);
        }
        outcome
    }

    fn judge_request(&mut self, request: &Request) -> (Vec<Text>, Option<(i64, bool)>) {
        if self.is_stopped(request.path) {
            return (vec!["stopped"], None);
        }
        let Request { amount, category, payee, .. } = *request;
        let (mut refused_by, mut wait) =
            self.judge(request.path, &Ask { amount, total: amount, is_new: true, category, payee });
        if request.consent.is_some_and(|consent| !self.agrees(consent, request.channel)) {
            refused_by.push("consent");
        }
        match request.policy {
            Some((_, Verdict::Deny)) => refused_by.push("policy"),
            Some((_, Verdict::Ask)) => wait = wait.or(Some((POLICY_WAIT_MS, false))),
            _ => {}
        }
        refused_by.sort_unstable();
        (refused_by, wait)
    }

    fn keep(&mut self, id: Number, authorization: Authorization) {
        if matches!(authorization.stage, Stage::Held | Stage::Pending) {
            self.open.insert(id);
        }
        self.authorizations.insert(id, authorization);
    }

    fn book(&mut self, path: Text, amount: i64, of: Option<Number>) {
        for limit in self.limits.iter_mut().filter(|limit| is_under(path, limit.path)) {
            limit.spent.push(Spent { at: self.now, amount, of });
        }
        self.tell_reached(path);
    }

    fn end(&mut self, id: Number, stage: Stage) {
        self.open.remove(&id);
        if let Some(authorization) = self.authorizations.get_mut(&id) {
            authorization.stage = stage;
        }
    }

    /// An authorization that has not ended.
    fn open(&self, id: Number) -> Result<Authorization, Outcome> {
        match self.authorizations.get(&id) {
            None => Err(Outcome::Unknown),
            Some(authorization) => match authorization.stage {
                Stage::Held | Stage::Pending => Ok(authorization.clone()),
                Stage::Denied => Err(Outcome::Unknown),
                state => Err(Outcome::Resolved { state }),
            },
        }
    }

    fn held(&self, id: Number) -> Result<Authorization, Outcome> {
        self.open(id).and_then(|open| if open.stage == Stage::Held { Ok(open) } else { Err(Outcome::Waiting) })
    }

    fn increase(&mut self, id: Number, by: i64) -> Outcome {
        let authorization = match self.held(id) {
            Ok(authorization) => authorization,
            Err(no) => return no,
        };
        let Some(total) = authorization.amount.checked_add(by).filter(|_| by > 0) else { return Outcome::Invalid };
        if self.is_stopped(authorization.path) {
            self.count_denial(authorization.path);
            return Outcome::Denied { refused_by: vec!["stopped"] };
        }
        let ask = Ask { amount: by, total, is_new: false, category: None, payee: None };
        let (mut refused_by, _) = self.judge(authorization.path, &ask);
        if self.policies.contains_key(authorization.path.split('/').next().unwrap()) {
            refused_by.push("policy");
        }
        if !refused_by.is_empty() {
            refused_by.sort_unstable();
            self.count_denial(authorization.path);
            return Outcome::Denied { refused_by };
        }
        self.authorizations.get_mut(&id).unwrap().amount = total;
        self.tell_reached(authorization.path);
        Outcome::Held
    }

    /// What took effect under a key has its answer; all else is judged.
    fn once(
        &mut self,
        id: Number,
        key: Option<Number>,
        change: (bool, i64),
        judge: impl FnOnce(&mut Self) -> Outcome,
    ) -> Outcome {
        if let Some((first, answer)) = key.and_then(|key| self.changes.get(&(id, key))) {
            self.is_changed_before = *first == change;
            return if self.is_changed_before { answer.clone() } else { Outcome::Conflict };
        }
        let outcome = judge(self);
        if let (Some(key), Outcome::Held | Outcome::Refunded) = (key, &outcome) {
            self.changes.insert((id, key), (change, outcome.clone()));
        }
        outcome
    }

    fn capture(&mut self, id: Number, amount: Option<i64>) -> Outcome {
        let authorization = match self.held(id) {
            Ok(authorization) => authorization,
            Err(no) => return no,
        };
        let amount = amount.unwrap_or(authorization.amount);
        if amount <= 0 || amount > authorization.amount {
            return Outcome::Invalid;
        }
        self.settle(id, authorization.path, amount);
        Outcome::Captured
    }

    fn settle(&mut self, id: Number, path: Text, amount: i64) {
        self.end(id, Stage::Captured);
        self.authorizations.get_mut(&id).unwrap().captured = amount;
        self.book(path, amount, Some(id));
    }

    fn void(&mut self, id: Number) -> Outcome {
        match self.open(id) {
            Ok(_) => {
                self.end(id, Stage::Voided);
                Outcome::Voided
            }
            Err(no) => no,
        }
    }

    fn refund(&mut self, id: Number, amount: i64) -> Outcome {
        let Some(authorization) = self.authorizations.get_mut(&id) else { return Outcome::Unknown };
        if authorization.stage == Stage::Denied {
            return Outcome::Unknown;
        }
        let left = authorization.captured - authorization.refunded;
        if authorization.stage != Stage::Captured || amount <= 0 || amount > left {
            return Outcome::Invalid;
        }
        authorization.refunded += amount;
        let path = authorization.path;
        for limit in self.limits.iter_mut().filter(|limit| is_under(path, limit.path)) {
            if matches!(limit.kind, Kind::Total { .. } | Kind::Calendar { .. }) {
                for spent in limit.spent.iter_mut().filter(|spent| spent.of == Some(id)) {
                    spent.amount -= amount;
                }
            }
        }
        Outcome::Refunded
    }

    fn record(&mut self, gone: &Gone) -> Outcome {
        let same = fingerprint_of(gone);
        if let Some((first, answer)) = gone.key.and_then(|key| self.keys.get(&key)) {
            return if *first == same { answer.clone() } else { Outcome::Conflict };
        }
        let is_taken = gone.id.is_some_and(|id| self.authorizations.contains_key(&id));
        if gone.amount <= 0 || is_taken || (gone.key.is_some() && gone.id.is_none()) {
            return Outcome::Invalid;
        }
        let Gone { amount, category, payee, .. } = *gone;
        let (mut over, _) = self.judge(gone.path, &Ask { amount, total: amount, is_new: true, category, payee });
        over.sort_unstable();
        self.book(gone.path, amount, gone.id);
        let outcome = Outcome::Recorded { over };
        if let Some(id) = gone.id {
            self.know(gone.path);
            self.keep(
                id,
                Authorization {
                    request: None,
                    path: gone.path,
                    amount,
                    stage: Stage::Captured,
                    was_pending: false,
                    four_eyes: false,
                    until: self.now,
                    captured: amount,
                    refunded: 0,
                },
            );
        }
        if let Some(key) = gone.key {
            self.keys.insert(key, (same, outcome.clone()));
        }
        outcome
    }

    fn approve(&mut self, id: Number, by: Number) -> Outcome {
        let Some(authorization) = self.authorizations.get(&id).cloned() else { return Outcome::Unknown };
        let captures = authorization.request.as_ref().is_some_and(|request| request.capture);
        match authorization.stage {
            Stage::Pending => {}
            Stage::Held if authorization.was_pending => return Outcome::Held,
            Stage::Held => return Outcome::Invalid,
            Stage::Captured if authorization.was_pending && captures => return Outcome::Captured,
            Stage::Denied => return Outcome::Unknown,
            state => return Outcome::Resolved { state },
        }
        let request = authorization.request.unwrap();
        let mut refused_by = Vec::new();
        if request.consent.is_some_and(|consent| !self.agrees(consent, request.channel)) {
            refused_by.push("consent");
        }
        if authorization.four_eyes && request.by.is_none_or(|asked| asked == by) {
            refused_by.push("four_eyes");
        }
        if self.is_stopped(authorization.path) {
            refused_by.push("stopped");
        }
        if !refused_by.is_empty() {
            return Outcome::Denied { refused_by };
        }
        if captures {
            self.settle(id, authorization.path, authorization.amount);
            return Outcome::Captured;
        }
        let now = self.now;
        let approved = self.authorizations.get_mut(&id).unwrap();
        (approved.stage, approved.until) = (Stage::Held, now + request.ttl_ms);
        Outcome::Held
    }

    fn reject(&mut self, id: Number) -> Outcome {
        match self.open(id) {
            Ok(open) if open.stage == Stage::Pending => {
                self.end(id, Stage::Rejected);
                Outcome::Rejected
            }
            Ok(_) => Outcome::Invalid,
            Err(no) => no,
        }
    }

    fn check(&self, path: Text) -> Outcome {
        let mut refused_by = Vec::new();
        if self.is_stopped(path) {
            refused_by.push("stopped");
        }
        for limit in self.limits.iter().filter(|limit| !limit.shadow && is_under(path, limit.path)) {
            let standing = limit.standing(self.now, self.held_under(limit.path));
            if standing.is_some_and(|(most, counted)| counted >= most) {
                refused_by.push(limit.id);
            }
        }
        refused_by.sort_unstable();
        if refused_by.is_empty() { Outcome::Clear } else { Outcome::Denied { refused_by } }
    }

    /// Authorizations that were decided so far.
    pub const fn seen(&self) -> u64 {
        self.decided
    }

    /// Each counting limit: its id, its path, the most, what counts.
    pub fn standings(&self) -> impl Iterator<Item = (Text, Text, i128, i128)> {
        self.limits.iter().filter_map(|limit| {
            let (most, counted) = limit.standing(self.now, self.held_under(limit.path))?;
            Some((limit.id, limit.path, most, counted))
        })
    }
}
