//! Random histories, each from one seed: few accounts and limits that are nearly used up, so that most decisions are
//! close; clocks that step back, stand still and jump to where something ends; messages that come late or twice.

use super::dice::Dice;
use super::reference::{
    Bar, Channel, Command, Field, Gone, Kind, Number, Outcome, Request, Text, Unit, Verdict, Zone, period_start,
};

pub const PATHS: [Text; 9] = ["t", "t/a", "t/a/x", "t/a/y", "t/b", "t/b/z", "t/a/x/d/e/f/g/h", "u", "u/v"];
const LIMITS: [Text; 12] = ["l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7", "l8", "l9", "m0", "m1"];
const VALUES: [Text; 3] = ["ads", "model", "travel"];
const START: i64 = 1_700_000_000_000;
const MILLION: i64 = 1_000_000;
const TTL_MS_MAX: i64 = 31 * 86_400_000;

/// A limit as it was last defined.
#[derive(Clone)]
struct Defined {
    id: Text,
    path: Text,
    kind: Kind,
}

pub struct Generator {
    dice: Dice,
    at: i64,
    made: usize,
    next_id: Number,
    /// Requests that were made, and when each hold would end.
    requests: Vec<(Request, i64)>,
    records: Vec<Gone>,
    /// Increases and refunds with a key.
    changes: Vec<Command>,
    held: Vec<Number>,
    pending: Vec<Number>,
    captured: Vec<Number>,
    limits: Vec<Defined>,
    policies: [Option<Number>; 2],
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let at = START + dice.between(0, 400 * 86_400_000);
        Self {
            dice,
            at,
            made: 0,
            next_id: 1,
            requests: Vec::new(),
            records: Vec::new(),
            changes: Vec::new(),
            held: Vec::new(),
            pending: Vec::new(),
            captured: Vec::new(),
            limits: Vec::new(),
            policies: [None; 2],
        }
    }

    /// The next command and the time at which it comes.
    pub fn next(&mut self) -> (i64, Command) {
        self.made += 1;
        if self.made <= 4 {
            return (self.at, self.limit());
        }
        self.pass_time();
        let command = match self.dice.below(1000) {
            0..380 => self.authorize(),
            380..600 => self.capture(),
            600..660 => Command::Void { id: self.known() },
            660..730 => self.increase(),
            730..790 => self.refund(),
            790..820 => self.record(),
            820..870 => self.again(),
            870..900 => Command::Approve { id: self.waiting(), by: self.person() },
            900..915 => Command::Reject { id: self.waiting(), by: self.person() },
            915..940 => self.consent(),
            940..945 => Command::Stop { path: self.path() },
            945..953 => self.about_a_person(),
            953..965 => Command::Resume { path: self.path() },
            965..980 => Command::Check { path: self.path() },
            980..992 => self.limit(),
            992..995 => Command::RemoveLimit { id: self.dice.pick(&LIMITS) },
            _ => self.policy(),
        };
        (self.at, command)
    }

    fn pass_time(&mut self) {
        let day = 86_400_000;
        self.at += match self.dice.below(100) {
            0..50 => 0,
            50..65 => 1,
            65..76 => self.dice.between(2, 300),
            76..82 => self.dice.between(300, 5_000),
            82..84 => 61_000,
            84..89 => -self.dice.between(1, 100_000),
            89..94 => self.until_an_end(),
            94..96 => self.until_a_period(),
            96 => -self.dice.between(0, 40 * day),
            97 if self.dice.one_in(4) => self.dice.between(0, 40 * day),
            97 => self.dice.between(0, day),
            _ => self.dice.between(0, 60_000),
        };
        self.at = self.at.max(0);
    }

    /// To just before, or to, the end of a hold.
    fn until_an_end(&mut self) -> i64 {
        let late = self.requests.len().saturating_sub(8);
        let Some((_, until)) = self.requests.get(late + self.dice.below(8)) else { return 0 };
        (until - self.at).clamp(-1_000, TTL_MS_MAX) - i64::from(self.dice.one_in(2))
    }

    /// To just before, or to, the beginning of a calendar period, which leap days and clock changes are near.
    fn until_a_period(&mut self) -> i64 {
        let unit = self.dice.pick(&[Unit::Day, Unit::Day, Unit::Week, Unit::Month, Unit::Quarter]);
        let zone = self.zone();
        let ahead = self.at + 35 * 86_400_000;
        let begin = period_start(unit, zone, if unit == Unit::Day { self.at + 86_400_000 } else { ahead });
        begin - self.at - i64::from(self.dice.one_in(2))
    }

    fn zone(&mut self) -> Zone {
        self.dice.pick(&[Zone::Utc, Zone::Utc, Zone::Tokyo, Zone::Berlin])
    }

    fn path(&mut self) -> Text {
        self.dice.pick(&PATHS)
    }

    fn person(&mut self) -> Number {
        self.dice.pick(&[1, 2])
    }

    fn amount(&mut self) -> i64 {
        match self.dice.below(40) {
            0 => self.dice.pick(&[0, -1, i64::MIN, i64::MAX, i64::MAX - 1]),
            1..8 => 1,
            8..20 => 10 * MILLION,
            20..30 => self.dice.between(1, 10 * MILLION),
            _ => self.dice.between(1, 60 * MILLION),
        }
    }

    /// An amount for what was asked for before.
    fn part(&mut self) -> i64 {
        match (self.requests.last(), self.dice.below(6)) {
            (_, 0) | (None, _) => self.amount(),
            (_, 1) => 1,
            (Some((request, _)), 2) => request.amount / 2,
            (Some((request, _)), 3) => request.amount.saturating_add(1),
            (Some((request, _)), _) => request.amount,
        }
    }

    /// Hears what was answered, so that later commands find what they are about.
    pub fn heard(&mut self, command: &Command, outcome: &Outcome) {
        let id = match command {
            Command::Authorize(request) => request.id,
            Command::Capture { id, .. } | Command::Void { id } | Command::Approve { id, .. } => *id,
            _ => return,
        };
        match outcome {
            Outcome::Held => self.held.push(id),
            Outcome::Pending => self.pending.push(id),
            Outcome::Captured => self.captured.push(id),
            // Now and then it is tried again.
            Outcome::Resolved { .. } if self.dice.one_in(2) => {}
            Outcome::Resolved { .. } | Outcome::Voided => self.held.retain(|held| *held != id),
            _ => {}
        }
    }

    fn any(&mut self) -> Number {
        u32::try_from(self.dice.below(usize::try_from(self.next_id).unwrap() + 2)).unwrap()
    }

    /// An authorization that was held, mostly one of the latest.
    fn known(&mut self) -> Number {
        match self.dice.below(12) {
            0 => self.any(),
            1 => self.one_of(|lists| &lists.pending),
            _ => self.one_of(|lists| &lists.held),
        }
    }

    /// One that waited for approval.
    fn waiting(&mut self) -> Number {
        if self.dice.one_in(10) { self.known() } else { self.one_of(|lists| &lists.pending) }
    }

    /// One that was captured.
    fn spent(&mut self) -> Number {
        if self.dice.one_in(10) { self.known() } else { self.one_of(|lists| &lists.captured) }
    }

    fn one_of(&mut self, list: impl Fn(&Self) -> &Vec<Number>) -> Number {
        let len = list(self).len();
        let back = self.dice.below(len.min(6));
        list(self).get(len.wrapping_sub(1 + back)).copied().unwrap_or(self.next_id)
    }

    fn fresh(&mut self) -> Number {
        if self.dice.one_in(40) {
            return self.known();
        }
        self.next_id += 1;
        self.next_id
    }

    fn value(&mut self) -> Option<Text> {
        (!self.dice.one_in(3)).then(|| self.dice.pick(&VALUES))
    }

    fn authorize(&mut self) -> Command {
        let (id, path) = (self.fresh(), self.path());
        let ttl_ms = match self.dice.below(12) {
            0 => self.dice.pick(&[0, 1, -1, TTL_MS_MAX, TTL_MS_MAX + 1]),
            1..4 => 500,
            4..9 => 30_000,
            _ => self.dice.between(1, 600_000),
        };
        let policy = self.policies[usize::from(path.starts_with('u'))];
        let policy = if self.dice.one_in(80) { Some(99) } else { policy };
        let verdict = self.dice.pick(&[Verdict::Allow, Verdict::Allow, Verdict::Degrade, Verdict::Ask, Verdict::Deny]);
        let request = Request {
            id,
            key: (!self.dice.one_in(3)).then_some(id),
            path,
            amount: self.amount(),
            ttl_ms,
            consent: self.dice.one_in(5).then(|| (self.person(), self.dice.one_in(2))),
            channel: self.channel(),
            category: self.value(),
            payee: self.value(),
            by: (!self.dice.one_in(4)).then(|| self.person()),
            policy: policy.map(|version| (version, verdict)),
            capture: self.dice.one_in(4),
        };
        self.requests.push((request.clone(), self.at.saturating_add(ttl_ms)));
        Command::Authorize(request)
    }

    fn capture(&mut self) -> Command {
        let id = self.known();
        Command::Capture { id, amount: (!self.dice.one_in(3)).then(|| self.part()) }
    }

    fn record(&mut self) -> Command {
        let id = self.dice.one_in(2).then(|| self.fresh());
        let key = id.filter(|_| self.dice.one_in(2));
        let gone = Gone {
            id,
            key: if self.dice.one_in(30) { Some(7) } else { key },
            path: self.path(),
            amount: self.amount(),
            category: self.value(),
            payee: self.value(),
        };
        self.records.push(gone.clone());
        Command::Record(gone)
    }

    fn increase(&mut self) -> Command {
        let increase = Command::Increase { id: self.known(), amount: self.part(), key: self.change_key() };
        self.kept_change(increase)
    }

    fn refund(&mut self) -> Command {
        let refund = Command::Refund { id: self.spent(), amount: self.part(), key: self.change_key() };
        self.kept_change(refund)
    }

    /// Few, so that one of an authorization comes again for another change of it, and for another one.
    fn change_key(&mut self) -> Option<Number> {
        (!self.dice.one_in(3)).then(|| self.dice.pick(&[1, 2, 3]))
    }

    fn kept_change(&mut self, change: Command) -> Command {
        self.changes.push(change.clone());
        change
    }

    /// One of the latest changes, as it was or a little different.
    fn change_again(&mut self) -> Command {
        let late = self.changes.len().saturating_sub(6);
        let mut change = self.changes[late + self.dice.below(self.changes.len() - late)].clone();
        if let (Command::Increase { amount, .. } | Command::Refund { amount, .. }, true) =
            (&mut change, self.dice.one_in(6))
        {
            *amount = amount.saturating_sub(1);
        }
        match (change, self.dice.one_in(12)) {
            (Command::Increase { id, amount, key }, true) => Command::Refund { id, amount, key },
            (Command::Refund { id, amount, key }, true) => Command::Increase { id, amount, key },
            (change, _) => change,
        }
    }

    /// A message that came before, as it was or a little different.
    fn again(&mut self) -> Command {
        if self.dice.one_in(3) && !self.changes.is_empty() {
            return self.change_again();
        }
        if self.dice.one_in(5) && !self.records.is_empty() {
            let mut gone = self.records[self.dice.below(self.records.len())].clone();
            gone.amount = gone.amount.saturating_add(i64::from(self.dice.one_in(3)));
            return Command::Record(gone);
        }
        if self.requests.is_empty() {
            return self.authorize();
        }
        let mut request = self.requests[self.dice.below(self.requests.len())].0.clone();
        match self.dice.below(9) {
            0 => request.amount = request.amount.saturating_add(1),
            1 => request.path = self.path(),
            2 => request.consent = Some((1, true)),
            3 => request.capture = !request.capture,
            4 => request.id = self.fresh(),
            5 => request.channel = self.channel(),
            _ => {}
        }
        Command::Authorize(request)
    }

    fn consent(&mut self) -> Command {
        let granted = !self.dice.one_in(3);
        let until = match self.dice.below(12) {
            0..3 if granted => Some(self.at + self.dice.between(1_000, 100_000)),
            3 => Some(self.at + self.dice.between(-2_000, 2_000)),
            _ => None,
        };
        let (subject, purpose) = (self.person(), self.dice.one_in(2));
        Command::Consent { subject, purpose, granted, channel: self.channel(), until }
    }

    fn channel(&mut self) -> Option<Channel> {
        self.dice.pick(&[None, None, Some(Channel::Email), Some(Channel::Phone)])
    }

    /// What stands against somebody's consents, mostly taken back, and now and then all that is known of them goes.
    fn about_a_person(&mut self) -> Command {
        let subject = self.person();
        if self.dice.one_in(3) {
            let subjects: &[Number] = self.dice.pick(&[&[], &[1], &[2], &[1, 2]]);
            return Command::Forget { subjects: subjects.to_vec() };
        }
        let bar = self.dice.pick(&[Bar::DoNotSell, Bar::Restricted, Bar::Objected]);
        Command::Bar { subject, bar, set: self.dice.one_in(3) }
    }

    fn policy(&mut self) -> Command {
        let tenant = self.dice.below(2);
        let version = self.dice.one_in(2).then(|| self.dice.pick(&[1, 2]));
        self.policies[tenant] = version;
        Command::Policy { path: ["t", "u"][tenant], version }
    }

    /// A new limit, or one that is there with other numbers.
    fn limit(&mut self) -> Command {
        let id = self.dice.pick(&LIMITS);
        let shadow = self.dice.one_in(5);
        let there = self.limits.iter().position(|limit| limit.id == id);
        let (path, kind) = match there {
            Some(there) if !self.dice.one_in(8) => {
                let Defined { path, kind, .. } = self.limits[there].clone();
                (path, self.renumbered(kind))
            }
            // Elsewhere: one that moves begins anew.
            Some(there) => {
                let path = self.path();
                (path, if path == self.limits[there].path { self.limits[there].kind.clone() } else { self.kind() })
            }
            None => (self.path(), self.kind()),
        };
        let defined = Defined { id, path, kind: kind.clone() };
        match there {
            Some(there) => self.limits[there] = defined,
            None => self.limits.push(defined),
        }
        Command::Limit { id, path, kind, shadow }
    }

    /// Another amount. What counts may become a total, which counts all; the other ways a limit forgets what it did not
    /// count before, and the reference does not.
    fn renumbered(&mut self, kind: Kind) -> Kind {
        let amount = self.most();
        let less = self.count();
        match kind {
            Kind::Window { .. } | Kind::Calendar { .. } if self.dice.one_in(6) => Kind::Total { amount },
            Kind::Window { seconds, .. } => Kind::Window { amount, seconds },
            Kind::Total { .. } => Kind::Total { amount },
            Kind::Calendar { unit, zone, .. } => Kind::Calendar { amount, unit, zone },
            Kind::Velocity { seconds, .. } => Kind::Velocity { count: less, seconds },
            Kind::Occurrences { unit, zone, .. } => Kind::Occurrences { count: less, unit, zone },
            Kind::Each { .. } => Kind::Each { least: 1, most: amount.max(1) },
            kind => kind,
        }
    }

    fn most(&mut self) -> i64 {
        match self.dice.below(12) {
            0 => self.dice.pick(&[0, 1, i64::MAX]),
            1..8 => 100 * MILLION,
            _ => self.dice.between(1, 300 * MILLION),
        }
    }

    fn count(&mut self) -> u32 {
        self.dice.pick(&[0, 1, 3, 3, 5, 8])
    }

    fn kind(&mut self) -> Kind {
        let (amount, count, zone) = (self.most(), self.count(), self.zone());
        let unit = self.dice.pick(&[Unit::Day, Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year]);
        let seconds = self.dice.pick(&[1, 2, 60, 60, 3_600, 86_400]);
        let field = self.dice.pick(&[Field::Category, Field::Payee]);
        let values = if self.dice.one_in(2) { vec!["ads", "model"] } else { vec!["travel"] };
        match self.dice.below(22) {
            0..6 => Kind::Window { amount, seconds },
            6..9 => Kind::Total { amount },
            9..12 => Kind::Calendar { amount, unit, zone },
            12..14 => Kind::Velocity { count, seconds },
            14 => Kind::Occurrences { count, unit: (!self.dice.one_in(3)).then_some(unit), zone },
            15 => Kind::Each { least: self.dice.pick(&[0, 1, MILLION]), most: amount.max(MILLION) },
            16 => Kind::Allow { field, values },
            17 => Kind::Deny { field, values },
            18 if self.dice.one_in(2) => {
                Kind::Between { from: self.at - 1, until: self.at + self.dice.between(1, 90 * 86_400_000) }
            }
            _ => Kind::Approval { above: 20 * MILLION, seconds: 60, four_eyes: self.dice.one_in(2) },
        }
    }
}
