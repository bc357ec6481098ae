//! Limits: what may be spent under an account, what has been, and how near the two are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::counter::{Counter, Measure};
use crate::fault::Fault;
use crate::kind::{Field, LimitKind, as_json};

/// Shares of a limit at which a notice is given, in percent.
pub const PERCENTS: [u8; 3] = [50, 80, 100];

/// What a limit is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// What would be added.
    pub(crate) amount: i64,
    /// What the authorization would then be in all.
    pub(crate) total: i64,
    pub(crate) category: Option<&'a str>,
    pub(crate) payee: Option<&'a str>,
    /// Whether it is a new authorization, and no increase of one.
    pub(crate) is_new: bool,
}

impl Ask<'_> {
    /// A new authorization of `amount`, of which nothing else is known.
    pub(crate) const fn of(amount: i64) -> Self {
        Self { amount, total: amount, category: None, payee: None, is_new: true }
    }

    fn value(&self, field: Field) -> Option<&str> {
        match field {
            Field::Category => self.category,
            Field::Payee => self.payee,
        }
    }

    const fn counted(&self, measure: Measure) -> i128 {
        match measure {
            Measure::Amount => self.amount as i128,
            Measure::Count => self.is_new as i128,
        }
    }
}

/// The open holds at an account and below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) amount: i128,
    pub(crate) count: u32,
}

impl Held {
    fn by(self, measure: Measure) -> i128 {
        match measure {
            Measure::Amount => self.amount,
            Measure::Count => self.count.into(),
        }
    }
}

/// What an approval limit wants of what is above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) ms: i64,
    pub(crate) four_eyes: bool,
}

/// A limit and what counts under it: two lines of the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(align(64))]
pub(crate) struct Limit {
    /// `None` if the kind counts nothing.
    counter: Option<Counter>,
    /// All that was ever booked under the limit, whatever its kind was, and how often.
    ever: i128,
    events: u64,
    /// Between which sums the number of [`PERCENTS`] that are reached stays.
    stays: (i64, i64),
    pub(crate) account: u32,
    level: u8,
    pub(crate) is_shadow: bool,
    approves: bool,
    pub(crate) about: Box<About>,
}

/// What only some decisions touch of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) id: Arc<str>,
    #[serde(with = "as_json")]
    pub(crate) kind: LimitKind,
    /// Bookings with a number above this one are in the limit's `ever`, and above `since` in its counter.
    born: u64,
    since: u64,
}

const _: () = assert!(size_of::<Limit>() == 128);

impl Limit {
    /// `booked` is the number of the latest booking, which the limit does not count.
    pub(crate) fn new(id: Arc<str>, account: u32, kind: LimitKind, is_shadow: bool, booked: u64, now: i64) -> Self {
        let mut limit = Self {
            counter: Counter::new(&kind, 0, 0, now),
            ever: 0,
            events: 0,
            stays: (i64::MIN, i64::MAX),
            account,
            level: 0,
            is_shadow,
            approves: matches!(kind, LimitKind::Approval { .. }),
            about: Box::new(About { id, kind, born: booked, since: booked }),
        };
        limit.set_level(0);
        limit
    }

    /// Takes another kind; what was spent stays counted. A total counts all that was ever booked under the limit. A
    /// window and a calendar period take over what the old kind counts now, a total's sum among it: until that has left,
    /// they may refuse more than they would have, and never less. What had left the old one, and what was booked while the
    /// limit counted something else, they do not learn.
    pub(crate) fn replace(&mut self, kind: LimitKind, is_shadow: bool, booked: u64, now: i64) {
        self.leave(now);
        let mut counter = Counter::new(&kind, self.ever, self.events, now);
        let is_same = std::mem::discriminant(&kind) == std::mem::discriminant(&self.about.kind);
        if let (Some(new), Some(old)) = (&mut counter, self.counter.take()) {
            new.take_over(old, now);
        }
        if matches!(kind, LimitKind::Total { .. }) {
            self.about.since = self.about.born;
        } else if !is_same {
            self.about.since = booked;
        }
        self.approves = matches!(kind, LimitKind::Approval { .. });
        (self.counter, self.about.kind, self.is_shadow) = (counter, kind, is_shadow);
        self.set_level(0);
    }

    /// Money has moved: it counts from `now`.
    #[inline]
    pub(crate) fn book(&mut self, now: i64, amount: i64) {
        self.ever += i128::from(amount);
        self.events += 1;
        if let Some(counter) = &mut self.counter {
            counter.leave(now, &self.about.kind);
            counter.book(now, if counter.measure == Measure::Amount { amount } else { 1 });
        }
    }

    /// Money that moved at `at` as booking number `number` came back.
    pub(crate) fn refund(&mut self, number: u64, at: i64, amount: i64) {
        let gives_back = matches!(self.about.kind, LimitKind::Total { .. } | LimitKind::Calendar { .. });
        if !gives_back && !Fault::REFUND_INTO_WINDOW.is_on() {
            return;
        }
        if number > self.about.born {
            self.ever -= i128::from(amount);
        }
        if let Some(counter) = self.counter.as_mut().filter(|_| number > self.about.since) {
            counter.refund(at, amount);
        }
    }

    /// Reads something of each part that a decision reads, so that it is loaded. The value means nothing.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let most = self.counter.as_ref().map_or(0, |counter| counter.most);
        self.events.wrapping_add(u64::from(self.level)).wrapping_add_signed(most)
    }

    /// Forgets what no longer counts.
    #[inline]
    pub(crate) fn leave(&mut self, now: i64) {
        if let Some(counter) = &mut self.counter {
            counter.leave(now, &self.about.kind);
        }
    }

    /// Whether what is asked for is refused.
    #[inline]
    pub(crate) fn refuses(&mut self, now: i64, ask: &Ask<'_>, held: Held) -> bool {
        if let Some(counter) = &mut self.counter {
            counter.leave(now, &self.about.kind);
            let counted = counter.used() + held.by(counter.measure);
            let most = i128::from(counter.most);
            let asked = ask.counted(counter.measure);
            if counted < i128::from(self.stays.0) {
                self.fall(counted);
            }
            // An increase is no further authorization.
            return asked > 0 && counted + asked > most;
        }
        match &self.about.kind {
            LimitKind::Each { least, most } => !(least..=most).contains(&&ask.total),
            LimitKind::Between { from, until } => !(from..until).contains(&&now),
            LimitKind::Allow { field, values } => ask.is_new && !has(values, ask.value(*field)),
            LimitKind::Deny { field, values } => ask.is_new && has(values, ask.value(*field)),
            // What somebody approved may not grow into what nobody did.
            LimitKind::Approval { above, .. } => !ask.is_new && ask.total > *above,
            _ => false,
        }
    }

    /// What the limit wants before the money is free to move.
    #[inline]
    pub(crate) fn wants(&self, ask: &Ask<'_>) -> Option<Wait> {
        if !self.approves || !ask.is_new {
            return None;
        }
        match self.about.kind {
            LimitKind::Approval { above, seconds, four_eyes } if ask.total > above => {
                Some(Wait { ms: i64::from(seconds) * 1000, four_eyes })
            }
            _ => None,
        }
    }

    /// The percentage that was reached now, the highest if several.
    #[inline]
    pub(crate) fn reached(&mut self, held: Held) -> Option<u8> {
        let counter = self.counter.as_ref()?;
        let counted = counter.used() + held.by(counter.measure);
        if counted < i128::from(self.stays.1) {
            return None;
        }
        let level = (1..=PERCENTS.len()).rev().find(|&level| counted >= threshold(counter.most, level).into())?;
        // A sum beyond a number of 64 bits is above every share, and reaches none again.
        if counter.most == 0 || level <= usize::from(self.level) {
            return None;
        }
        self.set_level(u8::try_from(level).unwrap_or(0));
        PERCENTS.get(level - 1).copied()
    }

    /// Less counts than what was reached: the same share may be reached again.
    fn fall(&mut self, counted: i128) {
        let Some(most) = self.counter.as_ref().map(|counter| counter.most) else { return };
        let level =
            (1..=usize::from(self.level)).rev().find(|&level| counted >= threshold(most, level).into()).unwrap_or(0);
        self.set_level(u8::try_from(level).unwrap_or(0));
    }

    fn set_level(&mut self, level: u8) {
        let most = self.counter.as_ref().map_or(0, |counter| counter.most);
        self.level = level;
        self.stays = match (most, usize::from(level)) {
            (0, _) => (i64::MIN, i64::MAX),
            (_, 0) => (i64::MIN, threshold(most, 1)),
            (_, level) if level == PERCENTS.len() => (threshold(most, level), i64::MAX),
            (_, level) => (threshold(most, level), threshold(most, level + 1)),
        };
    }

    /// How the limit stands for somebody who asks; `releases` as for [`Counter::fits_at`], each hold with its amount.
    pub(crate) fn standing(&mut self, now: i64, ask: &Ask<'_>, held: Held, releases: &[(i64, i64)]) -> Standing {
        let refused = self.refuses(now, ask, held);
        let mut standing = Standing {
            limit: self.about.id.clone(),
            kind: self.about.kind.clone(),
            is_shadow: self.is_shadow,
            room: None,
            refused,
            frees_at: None,
            passes_at: (!refused).then_some(now),
        };
        if let Some(counter) = &self.counter {
            let counts: Vec<(i64, i64)>;
            let releases = match counter.measure {
                Measure::Amount => releases,
                Measure::Count => {
                    counts = releases.iter().map(|&(until, _)| (until, 1)).collect();
                    &counts
                }
            };
            let (used, held) = (counter.used(), held.by(counter.measure));
            let remaining = (i128::from(counter.most) - used - held).max(0);
            let room = Room { measure: counter.measure, most: counter.most, used, held, remaining };
            standing.room = Some(room);
            standing.frees_at = counter.fits_at(now, remaining + 1, held, releases);
            if refused {
                standing.passes_at = counter.fits_at(now, ask.counted(counter.measure), held, releases);
            }
        } else if let LimitKind::Between { from, .. } = self.about.kind {
            standing.passes_at = standing.passes_at.or((now < from).then_some(from));
        }
        standing
    }
}

/// The least sum at which the `level`th of [`PERCENTS`] is reached.
fn threshold(most: i64, level: usize) -> i64 {
    let share = (i128::from(most) * i128::from(PERCENTS[level - 1]) + 99) / 100;
    i64::try_from(share).unwrap_or(most)
}

fn has(values: &[Box<str>], value: Option<&str>) -> bool {
    value.is_some_and(|value| values.binary_search_by(|listed| (**listed).cmp(value)).is_ok())
}

/// How a limit stands at a moment, as an answer to somebody who asks for an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit's id.
    pub limit: Arc<str>,
    /// What it limits.
    pub kind: LimitKind,
    /// Whether its refusals are only told.
    pub is_shadow: bool,
    /// How much counts; `None` if the limit counts nothing.
    pub room: Option<Room>,
    /// Whether it refuses what was asked for.
    pub refused: bool,
    /// When more than now remains, if nothing else happens than that time passes: milliseconds since 1970.
    pub frees_at: Option<i64>,
    /// When what was asked for would pass, if nothing else happens than that time passes. `None` where waiting does not help.
    pub passes_at: Option<i64>,
}

/// How much counts under a limit, in millionths or in authorizations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of what.
    pub measure: Measure,
    /// The most that it allows.
    pub most: i64,
    /// What has moved and counts.
    pub used: i128,
    /// What is held under its account.
    pub held: i128,
    /// What could be asked for now.
    pub remaining: i128,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u32 = 60;
    const START: i64 = 1_700_000_000_000;

    fn limit(kind: LimitKind) -> Limit {
        Limit::new("l".into(), 0, kind, false, 0, START)
    }

    fn refuses(limit: &mut Limit, now: i64, amount: i64) -> bool {
        limit.refuses(now, &Ask::of(amount), Held::default())
    }

    #[test]
    fn a_refusal_says_when_the_same_amount_would_pass() {
        let mut limit = limit(LimitKind::Window { amount: 100, seconds: MINUTE });
        limit.book(START, 60);
        limit.book(START + 30_000, 40);
        let standing = limit.standing(START + 31_000, &Ask::of(70), Held::default(), &[]);
        assert_eq!((standing.room.unwrap().remaining, standing.refused), (0, true));
        let passes = standing.passes_at.unwrap();
        assert!(refuses(&mut limit.clone(), passes - 1, 70) && !refuses(&mut limit.clone(), passes, 70));
        let frees = standing.frees_at.unwrap();
        assert!(refuses(&mut limit.clone(), frees - 1, 1) && !refuses(&mut limit.clone(), frees, 1));
        assert_eq!(limit.standing(START + 31_000, &Ask::of(101), Held::default(), &[]).passes_at, None);
    }

    #[test]
    fn what_was_spent_stays_counted_when_a_limit_is_replaced() {
        let mut limit = limit(LimitKind::Window { amount: 100, seconds: MINUTE });
        limit.book(START, 60);
        limit.replace(LimitKind::Window { amount: 80, seconds: MINUTE }, false, 1, START + 1);
        assert!(refuses(&mut limit, START + 2, 21) && !refuses(&mut limit, START + 2, 20));
        limit.replace(LimitKind::Window { amount: 80, seconds: 600 }, false, 1, START + 2);
        assert!(refuses(&mut limit, START + 599_999, 21) && !refuses(&mut limit, START + 601_000, 80));
        limit.book(START + 601_000, 5);
        limit.replace(LimitKind::Each { least: 0, most: 80 }, false, 2, START + 601_001);
        limit.book(START + 601_002, 3);
        limit.replace(LimitKind::Total { amount: 80 }, false, 3, START + 601_003);
        assert!(
            refuses(&mut limit, i64::MAX, 13) && !refuses(&mut limit, i64::MAX, 12),
            "all that was ever booked: 68"
        );
        limit.refund(3, START + 601_002, 3);
        assert!(!refuses(&mut limit, i64::MAX, 15));
    }

    #[test]
    fn a_period_that_replaces_a_window_counts_what_the_window_counted() {
        let mut limit = limit(LimitKind::Window { amount: 100, seconds: MINUTE });
        limit.book(START, 60);
        let unit = crate::calendar::Unit::Day;
        limit.replace(LimitKind::Calendar { amount: 80, unit, zone: Default::default() }, false, 1, START + 1);
        assert!(refuses(&mut limit, START + 2, 21) && !refuses(&mut limit, START + 2, 20));
        assert!(!refuses(&mut limit, START + 86_400_000, 80));
    }

    #[test]
    fn a_window_that_replaces_a_period_or_a_total_counts_what_they_counted() {
        let unit = crate::calendar::Unit::Day;
        for kind in
            [LimitKind::Calendar { amount: 100, unit, zone: Default::default() }, LimitKind::Total { amount: 100 }]
        {
            let mut limit = limit(kind);
            limit.book(START, 60);
            limit.replace(LimitKind::Window { amount: 80, seconds: MINUTE }, false, 1, START + 1);
            assert!(refuses(&mut limit, START + 59_999, 21) && !refuses(&mut limit, START + 59_999, 20));
            assert!(!refuses(&mut limit, START + 61_000, 80));
        }
        let mut limit = limit(LimitKind::Total { amount: i64::MAX });
        limit.book(START, i64::MAX);
        limit.book(START, i64::MAX);
        limit.replace(LimitKind::Window { amount: i64::MAX, seconds: MINUTE }, false, 2, START + 1);
        assert!(refuses(&mut limit, START + 2, 1) && !refuses(&mut limit, START + 61_000, i64::MAX));
    }

    #[test]
    fn a_period_that_replaces_a_total_counts_all_of_it() {
        let mut limit = limit(LimitKind::Total { amount: 100 });
        limit.book(START, 60);
        let unit = crate::calendar::Unit::Day;
        limit.replace(LimitKind::Calendar { amount: 80, unit, zone: Default::default() }, false, 1, START + 1);
        assert!(refuses(&mut limit, START + 2, 21) && !refuses(&mut limit, START + 2, 20));
        limit.refund(1, START, 60);
        assert!(refuses(&mut limit, START + 2, 21), "what moved before it began is not given back twice");
    }

    #[test]
    fn a_longer_period_gives_back_only_what_it_took_over() {
        let unit = |unit| LimitKind::Calendar { amount: 100, unit, zone: Default::default() };
        let (day, month) = (crate::calendar::Unit::Day, crate::calendar::Unit::Month);
        let tomorrow = START + 86_400_000;
        let mut limit = limit(unit(day));
        limit.book(START, 90);
        limit.book(tomorrow, 10);
        limit.replace(unit(month), false, 2, tomorrow + 1);
        limit.refund(1, START, 90);
        assert!(refuses(&mut limit, tomorrow + 2, 91), "it never counted what moved on the day before");
        limit.refund(2, tomorrow, 10);
        assert!(!refuses(&mut limit, tomorrow + 2, 100) && refuses(&mut limit, tomorrow + 2, 101));
    }

    #[test]
    fn a_window_that_changes_its_length_again_and_again_keeps_few_sums() {
        let window = |seconds| LimitKind::Window { amount: i64::MAX, seconds };
        let (mut limit, mut now) = (limit(window(1)), START);
        for round in 0..20 {
            for _ in 0..400 {
                limit.book(now, 1);
                now += 1;
            }
            limit.replace(window(if round % 2 == 0 { 366 * 86_400 } else { 1 }), false, 0, now);
        }
        let standing = limit.standing(now, &Ask::of(1), Held::default(), &[]);
        assert_eq!(standing.room.unwrap().used, 20 * 400);
        assert!(postcard::to_stdvec(&limit).unwrap().len() < 8 * 1024);
    }

    #[test]
    fn each_share_is_told_once_until_less_counts() {
        let mut limit = limit(LimitKind::Window { amount: 1000, seconds: MINUTE });
        let mut spend = |at: i64, amount: i64| {
            assert!(!refuses(&mut limit, START + at, amount));
            limit.book(START + at, amount);
            limit.reached(Held::default())
        };
        assert_eq!([spend(0, 499), spend(1, 1), spend(2, 299), spend(3, 1)], [None, Some(50), None, Some(80)]);
        assert_eq!([spend(4, 200), spend(61_000, 100), spend(61_001, 900)], [Some(100), None, Some(100)]);
    }

    #[test]
    fn a_share_is_told_once_even_of_sums_beyond_a_number_of_64_bits() {
        for (most, told) in [(1000, Some(100)), (i64::MAX, Some(100)), (0, None)] {
            let mut limit = limit(LimitKind::Total { amount: most });
            let mut spend = |amount: i64| {
                limit.book(START, amount);
                limit.reached(Held::default())
            };
            assert_eq!([spend(i64::MAX), spend(1), spend(i64::MAX)], [told, None, None], "{most}");
        }
    }

    #[test]
    fn a_list_lets_pass_what_it_names_or_what_it_does_not() {
        let values: Arc<[Box<str>]> = ["ads".into(), "model".into()].into();
        let ask = |category| Ask { category, ..Ask::of(1) };
        let mut allow = limit(LimitKind::Allow { field: Field::Category, values: values.clone() });
        let mut deny = limit(LimitKind::Deny { field: Field::Category, values });
        for (category, is_listed) in
            [(Some("ads"), true), (Some("model"), true), (Some("travel"), false), (None, false)]
        {
            assert_eq!(allow.refuses(START, &ask(category), Held::default()), !is_listed);
            assert_eq!(deny.refuses(START, &ask(category), Held::default()), is_listed);
        }
    }
}
