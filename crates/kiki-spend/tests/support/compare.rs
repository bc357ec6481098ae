//! The governor beside the reference: the same commands, and what must hold after each.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::OnceLock;

use kiki_spend::command::{Notice, Record};
use kiki_spend::state::Applied;
use kiki_spend::{Authorize, Bounds, Digest, LimitKind, Policy, Resolution, State, snapshot};
use kiki_types::Purpose;

use super::generator::{Generator, PATHS};
use super::reference::{
    self, Bar, Channel, Command, Field, Kind, Number, Outcome, Reference, Stage, Unit, Verdict, Zone,
};

fn digest(kind: u8, number: impl Hash) -> Digest {
    let mut hasher = DefaultHasher::new();
    (kind, &number).hash(&mut hasher);
    let low = hasher.finish();
    low.hash(&mut hasher);
    Digest((u128::from(low) << 64 | u128::from(hasher.finish())).to_be_bytes())
}

pub fn id(number: Number) -> Digest {
    digest(0, number)
}

fn key(number: Number) -> Digest {
    digest(1, number)
}

fn person(number: Number) -> Digest {
    digest(2, number)
}

fn version(number: Number) -> Digest {
    digest(3, number)
}

fn change_key(number: Number) -> Digest {
    digest(5, number)
}

fn zone(zone: Zone) -> kiki_spend::Zone {
    static BERLIN: OnceLock<kiki_spend::Zone> = OnceLock::new();
    static TOKYO: OnceLock<kiki_spend::Zone> = OnceLock::new();
    let named = |name, rule| move || kiki_spend::Zone::new(name, rule).unwrap();
    match zone {
        Zone::Utc => kiki_spend::Zone::default(),
        Zone::Tokyo => TOKYO.get_or_init(named("Asia/Tokyo", "JST-9")).clone(),
        Zone::Berlin => BERLIN.get_or_init(named("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3")).clone(),
    }
}

const fn unit(unit: Unit) -> kiki_spend::Unit {
    match unit {
        Unit::Day => kiki_spend::Unit::Day,
        Unit::Week => kiki_spend::Unit::Week,
        Unit::Month => kiki_spend::Unit::Month,
        Unit::Quarter => kiki_spend::Unit::Quarter,
        Unit::Year => kiki_spend::Unit::Year,
    }
}

const fn field(field: Field) -> kiki_spend::Field {
    match field {
        Field::Category => kiki_spend::Field::Category,
        Field::Payee => kiki_spend::Field::Payee,
    }
}

fn kind(kind: &Kind) -> LimitKind {
    let values = |values: &[&str]| values.iter().map(|&value| value.into()).collect();
    match *kind {
        Kind::Window { amount, seconds } => LimitKind::Window { amount, seconds },
        Kind::Total { amount } => LimitKind::Total { amount },
        Kind::Calendar { amount, unit: of, zone: within } => {
            LimitKind::Calendar { amount, unit: unit(of), zone: zone(within) }
        }
        Kind::Velocity { count, seconds } => LimitKind::Velocity { count, seconds },
        Kind::Occurrences { count, unit: of, zone: within } => {
            LimitKind::Occurrences { count, unit: of.map(unit), zone: zone(within) }
        }
        Kind::Each { least, most } => LimitKind::Each { least, most },
        Kind::Allow { field: of, values: ref listed } => LimitKind::Allow { field: field(of), values: values(listed) },
        Kind::Deny { field: of, values: ref listed } => LimitKind::Deny { field: field(of), values: values(listed) },
        Kind::Between { from, until } => LimitKind::Between { from, until },
        Kind::Approval { above, seconds, four_eyes } => LimitKind::Approval { above, seconds, four_eyes },
    }
}

fn policy((number, verdict): (Number, Verdict)) -> Policy {
    let verdict = match verdict {
        Verdict::Allow => kiki_spend::Verdict::Allow,
        Verdict::Degrade => kiki_spend::Verdict::Degrade,
        Verdict::Ask => kiki_spend::Verdict::Ask,
        Verdict::Deny => kiki_spend::Verdict::Deny,
    };
    Policy { version: version(number), verdict, rules: Box::default() }
}

const fn purpose(purpose: bool) -> Purpose {
    if purpose { Purpose::Marketing } else { Purpose::DataSharing }
}

const fn channel(channel: Channel) -> kiki_types::Channel {
    match channel {
        Channel::Email => kiki_types::Channel::Email,
        Channel::Phone => kiki_types::Channel::Phone,
    }
}

const fn bar(bar: Bar) -> kiki_types::Bar {
    match bar {
        Bar::DoNotSell => kiki_types::Bar::DoNotSell,
        Bar::Restricted => kiki_types::Bar::Restricted,
        Bar::Objected => kiki_types::Bar::Objected,
    }
}

fn request(request: &reference::Request) -> Authorize {
    let consent = request.consent.map(|(subject, of)| (person(subject), purpose(of)));
    Authorize {
        key: request.key.map(key),
        request: request.key.map(|_| digest(4, reference::fingerprint(request))),
        consent,
        channel: request.channel.map(channel),
        category: request.category.map(Into::into),
        payee: request.payee.map(Into::into),
        by: request.by.map(person),
        policy: request.policy.map(policy),
        capture: request.capture,
        ..Authorize::of(id(request.id), request.path, request.amount, request.ttl_ms)
    }
}

/// The command in the governor's words.
pub fn told(command: &Command) -> kiki_spend::Command {
    use kiki_spend::Command as Told;
    match command {
        Command::Limit { id, path, kind: of, shadow } => {
            Told::Limit { id: (*id).into(), path: (*path).into(), kind: kind(of), shadow: *shadow }
        }
        Command::RemoveLimit { id } => Told::RemoveLimit { id: (*id).into() },
        Command::Authorize(of) => Told::Authorize(request(of)),
        Command::Increase { id: of, amount, key } => {
            Told::Increase { id: id(*of), amount: *amount, key: key.map(change_key) }
        }
        Command::Capture { id: of, amount } => Told::Capture { id: id(*of), amount: *amount },
        Command::Void { id: of } => Told::Void { id: id(*of) },
        Command::Refund { id: of, amount, key } => {
            Told::Refund { id: id(*of), amount: *amount, key: key.map(change_key) }
        }
        Command::Record(gone) => Told::Record(Record {
            id: gone.id.map(id),
            key: gone.key.map(key),
            request: gone.key.map(|_| digest(4, reference::fingerprint_of(gone))),
            path: gone.path.into(),
            amount: gone.amount,
            category: gone.category.map(Into::into),
            payee: gone.payee.map(Into::into),
        }),
        Command::Stop { path } => Told::Stop { path: (*path).into() },
        Command::Resume { path } => Told::Resume { path: (*path).into() },
        Command::Approve { id: of, by } => Told::Approve { id: id(*of), by: person(*by) },
        Command::Reject { id: of, by } => Told::Reject { id: id(*of), by: person(*by) },
        Command::Consent { subject, purpose: of, granted, channel: by, until } => Told::Consent {
            subject: person(*subject),
            purpose: purpose(*of),
            granted: *granted,
            channel: by.map(channel),
            until: *until,
            asked: None,
        },
        Command::Bar { subject, bar: of, set } => Told::Bar { subject: person(*subject), bar: bar(*of), set: *set },
        Command::Forget { subjects } => {
            Told::Forget { subjects: subjects.iter().map(|subject| person(*subject)).collect() }
        }
        Command::Check { path } => Told::Check { path: (*path).into() },
        Command::Policy { path, version: of } => Told::Policy { path: (*path).into(), version: of.map(version) },
    }
}

const fn is_stage(resolution: Resolution, stage: Stage) -> bool {
    matches!(
        (resolution, stage),
        (Resolution::Captured, Stage::Captured)
            | (Resolution::Voided, Stage::Voided)
            | (Resolution::Expired, Stage::Expired)
            | (Resolution::Rejected, Stage::Rejected)
    )
}

/// Whether the governor's outcome is the reference's.
pub fn agrees(ours: &kiki_spend::Outcome, expected: &Outcome) -> bool {
    use kiki_spend::Outcome as Ours;
    let same =
        |names: &[std::sync::Arc<str>], others: &[&str]| names.iter().map(|name| &**name).eq(others.iter().copied());
    match (ours, expected) {
        (Ours::Denied { refused_by }, Outcome::Denied { refused_by: others }) => same(refused_by, others),
        (Ours::Recorded { over }, Outcome::Recorded { over: others }) => same(over, others),
        (Ours::Resolved { state }, Outcome::Resolved { state: stage }) => is_stage(*state, *stage),
        _ => matches!(
            (ours, expected),
            (Ours::Defined, Outcome::Defined)
                | (Ours::Removed, Outcome::Removed)
                | (Ours::Held, Outcome::Held)
                | (Ours::Pending, Outcome::Pending)
                | (Ours::Captured, Outcome::Captured)
                | (Ours::Voided, Outcome::Voided)
                | (Ours::Rejected, Outcome::Rejected)
                | (Ours::Refunded, Outcome::Refunded)
                | (Ours::Stopped, Outcome::Stopped)
                | (Ours::Resumed, Outcome::Resumed)
                | (Ours::Granted, Outcome::Granted)
                | (Ours::Revoked, Outcome::Revoked)
                | (Ours::Barred, Outcome::Barred)
                | (Ours::Unbarred, Outcome::Unbarred)
                | (Ours::Forgotten, Outcome::Forgotten)
                | (Ours::Conflict, Outcome::Conflict)
                | (Ours::Invalid, Outcome::Invalid)
                | (Ours::Unknown, Outcome::Unknown)
                | (Ours::Waiting, Outcome::Waiting)
                | (Ours::Stale, Outcome::Stale)
                | (Ours::Clear, Outcome::Clear)
        ),
    }
}

/// The governor answers and tells what the reference does.
pub fn check_answer(applied: &Applied, expected: &Outcome, reference: &Reference) -> Result<(), String> {
    if !agrees(&applied.outcome, expected) {
        return Err(format!("answered {:?}, expected {expected:?}", applied.outcome));
    }
    let (mut would_refuse, mut reached, mut is_burst) = (Vec::new(), Vec::new(), false);
    for notice in &applied.notices {
        match notice {
            Notice::WouldRefuse { would_refuse: limit } => would_refuse.push(&**limit),
            Notice::Reached { reached: limit, percent } => reached.push((&**limit, *percent)),
            Notice::Denials { .. } => is_burst = true,
        }
    }
    would_refuse.sort_unstable();
    reached.sort_unstable();
    let mut others = reference.reached.clone();
    others.sort_unstable();
    if reference.is_changed_before && applied.is_new {
        return Err("what took effect before is decided again".to_owned());
    }
    if !applied.is_new {
        let is_silent = applied.notices.is_empty();
        return if is_silent { Ok(()) } else { Err(format!("a repeat tells {:?}", applied.notices)) };
    }
    if would_refuse != reference.would_refuse {
        return Err(format!("in shadow {would_refuse:?} refuse, expected {:?}", reference.would_refuse));
    }
    if (&reached, is_burst) != (&others, reference.is_burst) {
        return Err(format!("told {:?}, expected {others:?} and {}", applied.notices, reference.is_burst));
    }
    Ok(())
}

/// What counts under every limit is what the reference counts; an accepted authorization overspends nothing.
pub fn check_sums(state: &mut State, reference: &Reference, accepted: Option<&str>) -> Result<(), String> {
    for (limit, path, most, counted) in reference.standings() {
        let standing = state.standing_of(limit, 1).ok_or_else(|| format!("{limit} is gone"))?.1;
        let room = standing.room.ok_or_else(|| format!("{limit} counts nothing"))?;
        if (room.most.into(), room.used + room.held) != (most, counted) {
            return Err(format!("{limit} counts {} + {}, expected {counted}", room.used, room.held));
        }
        let is_governed = accepted.is_some_and(|account| reference::is_under(account, path));
        if is_governed && !standing.is_shadow && counted > most {
            return Err(format!("{limit} is overspent: {counted} of {most}"));
        }
    }
    Ok(())
}

/// Both, side by side.
pub struct Pair {
    pub state: State,
    pub reference: Reference,
    at: i64,
}

impl Default for Pair {
    fn default() -> Self {
        Self { state: State::new(Bounds::default()), reference: Reference::default(), at: 0 }
    }
}

/// A number from the environment.
pub fn given(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "whoever runs a test sets how long it runs, and which seed again")]
    let value = std::env::var(name);
    value.map_or(default, |value| value.parse().unwrap())
}

impl Pair {
    /// Two that should be alike by now.
    pub fn of(state: State, reference: Reference) -> Self {
        let at = state.now();
        Self { state, reference, at }
    }

    /// Applies the command to both; says what differs.
    pub fn apply(&mut self, at: i64, command: &Command) -> Result<Outcome, String> {
        self.at = self.at.max(at);
        let expected = self.reference.apply(at, command);
        let applied = self.state.apply(&told(command), at);
        check_answer(&applied, &expected, &self.reference)?;
        Ok(expected)
    }

    /// As [`check_sums`].
    pub fn check_sums(&mut self, accepted: Option<&str>) -> Result<(), String> {
        check_sums(&mut self.state, &self.reference, accepted)
    }

    /// The state goes on from a snapshot of it.
    fn restore(&mut self, folder: &Path) {
        snapshot::write(folder, 1, [0; 32], &self.state).unwrap();
        let (_, restored) = snapshot::newest(folder, Bounds::default(), |_, _| true).unwrap().unwrap();
        self.state = restored;
    }

    /// After the longest hold nothing is held.
    pub fn check_leaks(&mut self) -> Result<(), String> {
        self.state.advance(self.at.saturating_add(32 * 86_400_000));
        for path in PATHS {
            for standing in self.state.standings(path, 1) {
                if standing.room.is_some_and(|room| room.held != 0) {
                    return Err(format!("{} still holds {:?} on {path}", standing.limit, standing.room));
                }
            }
        }
        Ok(())
    }
}

/// The account whose money a command newly took, if it did.
pub fn accepted(command: &Command, outcome: &Outcome) -> Option<&'static str> {
    match (command, outcome) {
        (Command::Authorize(request), Outcome::Held | Outcome::Captured | Outcome::Pending) => Some(request.path),
        _ => None,
    }
}

/// How much of a history is looked at.
pub enum Checks<'a> {
    /// Answers.
    Answers,
    /// After each command what counts, too.
    Sums,
    /// As `Sums`, and once the state goes on from a snapshot in this folder.
    Snapshot(&'a Path),
}

/// Runs one history; says which command went wrong, and how.
pub fn run(seed: u64, operations: usize, checks: &Checks<'_>) -> Result<(), String> {
    let mut pair = Pair::default();
    let mut generator = Generator::new(seed);
    let restored_at = usize::try_from(seed).unwrap_or(0) % operations.max(1);
    for number in 0..operations {
        let (at, command) = generator.next();
        let place = |problem| format!("seed {seed}, command {number} at {at}, {command:?}: {problem}");
        let before = pair.reference.seen();
        let outcome = pair.apply(at, &command).map_err(place)?;
        generator.heard(&command, &outcome);
        if let Checks::Answers = checks {
            continue;
        }
        // A repeat is answered as before and takes nothing now.
        let taken = accepted(&command, &outcome).filter(|_| pair.reference.seen() > before);
        pair.check_sums(taken).map_err(place)?;
        if let (Checks::Snapshot(folder), true) = (checks, number == restored_at) {
            pair.restore(folder);
        }
    }
    pair.check_leaks().map_err(|problem| format!("seed {seed}, at the end: {problem}"))
}
