//! What counts under a limit: one number that grows when money moves and shrinks as its memory tells.
//!
//! A window moves in ticks of 1/1024 of its length (at least 1 ms): what moved counts to the end of its tick plus the
//! window's length, so never too short and at most 0.1 % too long. It keeps one sum a tick, at most 2,050 of them
//! whatever the load. The latest tick and the time at which the first one leaves lie beside the sum, so that a decision
//! touches the older ones only when one of them leaves.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::kind::LimitKind;

/// Ticks in the length of a window.
const TICKS: i64 = 1024;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// Millionths.
    Amount,
    /// Authorizations and records.
    Count,
}

/// What counts, and the most that may. What a decision touches lies together; what only the passing of time touches is
/// apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    used: i128,
    pub(crate) most: i64,
    /// When something leaves next: the first tick or the whole period; the end of time if nothing does.
    forgets_at: i64,
    /// The end of the latest tick, and what was booked in it.
    latest: (i64, i64),
    /// The length of a tick; 0 without ticks. Of the longest window, 2^32 seconds, it is just below 2^32.
    tick: u32,
    pub(crate) measure: Measure,
    past: Box<Past>,
}

/// How long it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Past {
    Ever,
    /// The window's length, and the ends of the ticks before the latest with what was booked in each, ascending.
    Ticks {
        length: i64,
        earlier: VecDeque<(i64, i64)>,
    },
    /// Since when the current period counts.
    Period {
        start: i64,
    },
}

const _: () = assert!(size_of::<Option<Counter>>() == 64);

impl Counter {
    /// An empty counter for `kind`; `None` if the kind counts nothing. `ever` and `events` are what was booked under the
    /// limit before: a counter that never forgets begins with it.
    pub(crate) fn new(kind: &LimitKind, ever: i128, events: u64, now: i64) -> Option<Self> {
        let (measure, most) = match *kind {
            LimitKind::Window { amount, .. } | LimitKind::Total { amount } | LimitKind::Calendar { amount, .. } => {
                (Measure::Amount, amount)
            }
            LimitKind::Velocity { count, .. } | LimitKind::Occurrences { count, .. } => (Measure::Count, count.into()),
            _ => return None,
        };
        let (latest, past) = ((0, 0), Box::new(Past::Ever));
        let mut counter = Self { used: 0, most, forgets_at: i64::MAX, latest, tick: 0, measure, past };
        match kind {
            LimitKind::Window { seconds, .. } | LimitKind::Velocity { seconds, .. } => {
                let length = i64::from(*seconds) * 1000;
                counter.tick = u32::try_from(length / TICKS).unwrap_or(u32::MAX).max(1);
                *counter.past = Past::Ticks { length, earlier: VecDeque::new() };
            }
            LimitKind::Occurrences { unit: None, .. } => counter.used = events.into(),
            LimitKind::Total { .. } => counter.used = ever,
            _ => counter.begin_period(kind, now),
        }
        Some(counter)
    }

    /// Takes over what `old` counts now, where both count the same: a window what another one remembers, from the ends of
    /// its ticks, and the sum of what is no window as if it had moved now; a period the sum, of which it gives back on
    /// refund what moved since the old one's period began.
    pub(crate) fn take_over(&mut self, old: Self, now: i64) {
        if old.measure != self.measure {
            return;
        }
        match (&*self.past, &*old.past) {
            (Past::Ticks { length, .. }, Past::Ticks { length: same, .. }) if length == same => {
                *self = Self { most: self.most, ..old };
            }
            (Past::Ticks { .. }, Past::Ticks { .. }) => {
                for (end, sum) in (0..).map_while(|index| old.tick_at(index)) {
                    self.used += i128::from(sum);
                    self.book_tick(end.saturating_sub(1).min(now), sum);
                }
            }
            (Past::Ticks { .. }, Past::Period { .. } | Past::Ever) if old.used > 0 => {
                // A window never allows more than fits into 64 bits: where more was spent, it refuses all as well.
                let sum = i64::try_from(old.used).unwrap_or(i64::MAX);
                self.used = sum.into();
                self.book_tick(now, sum);
            }
            (Past::Period { .. }, &Past::Period { start }) => {
                self.used = old.used;
                *self.past = Past::Period { start };
            }
            (Past::Period { .. }, _) => self.used = old.used,
            _ => {}
        }
    }

    fn begin_period(&mut self, kind: &LimitKind, now: i64) {
        let (zone, unit) = match kind {
            LimitKind::Calendar { unit, zone, .. } => (zone, *unit),
            LimitKind::Occurrences { unit: Some(unit), zone, .. } => (zone, *unit),
            _ => return,
        };
        let (start, end) = zone.period(unit, now);
        self.forgets_at = end;
        *self.past = Past::Period { start };
    }

    /// When the tick that ends at `end` stops counting.
    fn leaves(&self, end: i64) -> i64 {
        let Past::Ticks { length, .. } = *self.past else { return i64::MAX };
        if Fault::FIXED_WINDOW.is_on() {
            let window = TICKS * i64::from(self.tick);
            return ((end - 1).div_euclid(window) + 1).saturating_mul(window);
        }
        let end = if Fault::LEAVES_EARLY.is_on() { end - i64::from(self.tick) } else { end };
        end.saturating_add(length)
    }

    /// Forgets what no longer counts.
    #[inline]
    pub(crate) fn leave(&mut self, now: i64, kind: &LimitKind) {
        if now >= self.forgets_at {
            self.forget(now, kind);
        }
    }

    #[cold]
    fn forget(&mut self, now: i64, kind: &LimitKind) {
        if let Past::Period { .. } = *self.past {
            self.used = 0;
            self.begin_period(kind, now);
            return;
        }
        while now >= self.forgets_at {
            let Past::Ticks { earlier, .. } = &mut *self.past else { return };
            let next = if let Some((_, sum)) = earlier.pop_front() {
                self.used -= i128::from(sum);
                Some(earlier.front().map_or(self.latest.0, |&(end, _)| end))
            } else {
                self.used -= i128::from(self.latest.1);
                self.latest = (0, 0);
                None
            };
            self.forgets_at = next.map_or(i64::MAX, |end| self.leaves(end));
        }
    }

    /// `amount` counts from `now`; what has left by then was forgotten before.
    #[inline]
    pub(crate) fn book(&mut self, now: i64, amount: i64) {
        #[cfg(feature = "faults")]
        let amount = crate::fault::distorted(amount, self.most, self.used);
        self.used += i128::from(amount);
        if self.tick == 0 {
            return;
        }
        match self.latest.1.checked_add(amount) {
            Some(sum) if now < self.latest.0 => self.latest.1 = sum,
            _ => self.book_tick(now, amount),
        }
    }

    /// Books in a tick of its own, unless it is the latest and has room; `now` is not before the latest tick.
    #[cold]
    fn book_tick(&mut self, now: i64, amount: i64) {
        let tick = i64::from(self.tick);
        let end = now.div_euclid(tick).saturating_add(1).saturating_mul(tick);
        let is_latest = self.forgets_at != i64::MAX && end == self.latest.0;
        if let Some(sum) = self.latest.1.checked_add(amount).filter(|_| is_latest) {
            self.latest.1 = sum;
            return;
        }
        let before = std::mem::replace(&mut self.latest, (end, amount));
        if self.forgets_at == i64::MAX {
            self.forgets_at = self.leaves(end);
        } else if let Past::Ticks { earlier, .. } = &mut *self.past {
            earlier.push_back(before);
        }
    }

    /// The end of the `index`th tick that counts, and what was booked in it.
    fn tick_at(&self, index: usize) -> Option<(i64, i64)> {
        let Past::Ticks { earlier, .. } = &*self.past else { return None };
        let latest = index == earlier.len() && self.forgets_at != i64::MAX;
        earlier.get(index).copied().or(latest.then_some(self.latest))
    }

    /// Gives back `amount` that was booked at `at`: sums for ever and sums of the period that holds `at` shrink, windows
    /// keep it.
    pub(crate) fn refund(&mut self, at: i64, amount: i64) {
        let counts = match *self.past {
            Past::Ever => true,
            Past::Period { start } => at >= start,
            Past::Ticks { .. } => Fault::REFUND_INTO_WINDOW.is_on(),
        };
        if counts && self.measure == Measure::Amount {
            self.used -= i128::from(amount);
        }
    }

    /// What counts now, if [`Counter::leave`] was called for now.
    #[inline]
    pub(crate) const fn used(&self) -> i128 {
        self.used
    }

    /// When something is given back by itself for the `index`th time from now, and how much.
    fn returns(&self, index: usize) -> Option<(i64, i128)> {
        match *self.past {
            Past::Ever => None,
            Past::Ticks { .. } => self.tick_at(index).map(|(end, sum)| (self.leaves(end), sum.into())),
            Past::Period { .. } => (index == 0).then_some((self.forgets_at, self.used)),
        }
    }

    /// When `asked` more fits beside `held`, if nothing else happens than that time passes: `releases` are the holds that
    /// end by themselves, in the order of their ends, and what each gives back. `None` if that does not help.
    pub(crate) fn fits_at(&self, now: i64, asked: i128, held: i128, releases: &[(i64, i64)]) -> Option<i64> {
        let mut excess = self.used + held + asked - i128::from(self.most);
        let (mut returned, mut released, mut at) = (0, 0, now);
        while excess > 0 {
            let own = self.returns(returned);
            let hold = releases.get(released).map(|&(until, amount)| (until, i128::from(amount)));
            let (time, amount) = match (own, hold) {
                (Some(own), Some(hold)) if hold.0 < own.0 => {
                    released += 1;
                    hold
                }
                (Some(own), _) => {
                    returned += 1;
                    own
                }
                (None, Some(hold)) => {
                    released += 1;
                    hold
                }
                (None, None) => return None,
            };
            excess -= amount;
            at = time;
        }
        (at < i64::MAX).then_some(at)
    }

    #[cfg(test)]
    fn sums(&self) -> usize {
        (0..).map_while(|index| self.returns(index)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000_000;

    fn window(amount: i64, seconds: u32) -> (Counter, LimitKind) {
        let kind = LimitKind::Window { amount, seconds };
        (Counter::new(&kind, 0, 0, START).unwrap(), kind)
    }

    #[test]
    fn money_leaves_a_window_never_early_and_at_most_a_tick_late() {
        for seconds in [1, 2, 60, 3600] {
            let length = i64::from(seconds) * 1000;
            for offset in [0, 1, 57, 58, 999] {
                let (mut counter, kind) = window(10, seconds);
                counter.book(START + offset, 10);
                counter.leave(START + offset + length - 1, &kind);
                assert_eq!(counter.used(), 10, "{seconds} s: gone early");
                counter.leave(START + offset + length + (length / 1024).max(1), &kind);
                assert_eq!(counter.used(), 0, "{seconds} s: still there");
            }
        }
    }

    #[test]
    fn a_window_keeps_a_bounded_number_of_sums() {
        for seconds in [1, 2, 60, 86_400] {
            let (mut counter, kind) = window(i64::MAX, seconds);
            let step = (i64::from(seconds) / 8).max(1);
            for n in 0..20_000 {
                counter.leave(START + n * step, &kind);
                counter.book(START + n * step, 1);
                assert!(counter.sums() <= 2050, "{seconds} s: {}", counter.sums());
            }
        }
    }

    #[test]
    fn sums_beyond_a_number_of_64_bits_are_kept_exactly() {
        let (mut counter, kind) = window(i64::MAX, 60);
        for _ in 0..3 {
            counter.book(START, i64::MAX);
        }
        assert_eq!(counter.used(), 3 * i128::from(i64::MAX));
        counter.leave(START + 61_000, &kind);
        assert_eq!((counter.used(), counter.sums()), (0, 0));
    }

    #[test]
    fn what_is_asked_for_fits_when_time_has_given_back_enough() {
        let (mut counter, _) = window(100, 60);
        counter.book(START, 60);
        counter.book(START + 30_000, 20);
        let first = counter.fits_at(START + 31_000, 70, 0, &[]).unwrap();
        assert!((START + 60_000..START + 60_100).contains(&first));
        // 20 of 40 held end before the first sum leaves, the rest after it.
        let releases = [(START + 40_000, 20), (START + 70_000, 20)];
        assert_eq!(counter.fits_at(START + 31_000, 0, 40, &releases), Some(START + 40_000));
        assert_eq!(counter.fits_at(START + 31_000, 60, 40, &releases), Some(first));
        assert_eq!(counter.fits_at(START + 31_000, 80, 40, &releases), Some(START + 70_000));
        assert_eq!(counter.fits_at(START + 31_000, 101, 0, &[]), None);
    }
}
