//! What counts under a limit: one number that grows when money moves and shrinks as its memory tells.
//!
//! A window moves in ticks of 1/1024 of its length (at least 1 ms): what moved counts to the end of its tick plus the
//! window's length, so never too short and at most 0.1 % too long. It keeps one sum a tick, at most 2,050 of them
//! whatever the load. The latest tick and the time at which the first one leaves lie beside the sum, so that a decision
//! touches the older ones only when one of them leaves.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::calendar::Unit;
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

/// How long it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Memory {
    Ever,
    Ticks(Ticks),
    /// The current period and its end.
    Period {
        start: i64,
        end: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ticks {
    tick: i64,
    length: i64,
    /// When the first of them leaves; the end of time if there is none.
    first_leaves: i64,
    /// The number of the latest tick and what was booked in it.
    latest: (i64, i64),
    /// Earlier ones, ascending.
    earlier: VecDeque<(i64, i64)>,
}

impl Ticks {
    fn new(seconds: u32) -> Self {
        let length = i64::from(seconds) * 1000;
        let tick = (length / TICKS).max(1);
        Self { tick, length, first_leaves: i64::MAX, latest: (i64::MIN, 0), earlier: VecDeque::new() }
    }

    /// When what was booked in tick number `number` stops counting.
    fn leaves(&self, number: i64) -> i64 {
        if Fault::FIXED_WINDOW.is_on() {
            return (number.div_euclid(TICKS) + 1).saturating_mul(TICKS * self.tick);
        }
        let number = if Fault::LEAVES_EARLY.is_on() { number - 1 } else { number };
        number.saturating_add(1).saturating_mul(self.tick).saturating_add(self.length)
    }

    fn book(&mut self, number: i64, amount: i64) {
        if self.latest.0 == number
            && let Some(sum) = self.latest.1.checked_add(amount)
        {
            self.latest.1 = sum;
        } else {
            if self.first_leaves != i64::MAX {
                self.earlier.push_back(self.latest);
            }
            self.latest = (number, amount);
        }
        if self.first_leaves == i64::MAX {
            self.first_leaves = self.leaves(number);
        }
    }

    /// Forgets the ticks that have left by `now` and returns their sum.
    fn leave(&mut self, now: i64) -> i128 {
        let mut left = 0;
        while now >= self.first_leaves {
            let next = if let Some((_, sum)) = self.earlier.pop_front() {
                left += i128::from(sum);
                Some(self.earlier.front().map_or(self.latest.0, |&(number, _)| number))
            } else {
                left += i128::from(self.latest.1);
                self.latest = (i64::MIN, 0);
                None
            };
            self.first_leaves = next.map_or(i64::MAX, |number| self.leaves(number));
        }
        left
    }

    /// The ticks that count, ascending.
    fn get(&self, index: usize) -> Option<(i64, i64)> {
        match self.earlier.get(index) {
            Some(&tick) => Some(tick),
            None => (index == self.earlier.len() && self.first_leaves != i64::MAX).then_some(self.latest),
        }
    }
}

/// What counts, and the most that may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) measure: Measure,
    pub(crate) most: i64,
    used: i128,
    memory: Memory,
}

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
        let (used, memory) = match kind {
            LimitKind::Window { seconds, .. } | LimitKind::Velocity { seconds, .. } => {
                (0, Memory::Ticks(Ticks::new(*seconds)))
            }
            LimitKind::Occurrences { unit: None, .. } => (events.into(), Memory::Ever),
            LimitKind::Total { .. } => (ever, Memory::Ever),
            _ => (0, period(kind, now)),
        };
        Some(Self { measure, most, used, memory })
    }

    /// Takes over what `old` counted, where both count the same: a window of another length what the old one remembers,
    /// from the end of its tick; a period what the old window or period counts now.
    pub(crate) fn take_over(&mut self, old: Self, now: i64) {
        if old.measure != self.measure {
            return;
        }
        match (&mut self.memory, old.memory) {
            (Memory::Ticks(ticks), Memory::Ticks(old_ticks)) if ticks.length == old_ticks.length => {
                self.used = old.used;
                *ticks = old_ticks;
            }
            (Memory::Ticks(ticks), Memory::Ticks(old_ticks)) => {
                self.used = old.used;
                for (number, sum) in (0..).map_while(|index| old_ticks.get(index)) {
                    let at = number.saturating_add(1).saturating_mul(old_ticks.tick).saturating_sub(1).min(now);
                    ticks.book(at.div_euclid(ticks.tick), sum);
                }
            }
            (Memory::Period { .. }, Memory::Ticks(_) | Memory::Period { .. }) => self.used = old.used,
            _ => {}
        }
    }

    /// Forgets what no longer counts.
    #[inline]
    pub(crate) fn leave(&mut self, now: i64, kind: &LimitKind) {
        match &mut self.memory {
            Memory::Ever => {}
            Memory::Ticks(ticks) => {
                if now >= ticks.first_leaves {
                    self.used -= ticks.leave(now);
                }
            }
            Memory::Period { end, .. } => {
                if now >= *end {
                    self.used = 0;
                    self.memory = period(kind, now);
                }
            }
        }
    }

    /// `amount` counts from `now`; what has left by then was forgotten before.
    #[inline]
    pub(crate) fn book(&mut self, now: i64, amount: i64) {
        #[cfg(feature = "faults")]
        let amount = crate::fault::distorted(amount, self.most, self.used);
        self.used += i128::from(amount);
        if let Memory::Ticks(ticks) = &mut self.memory {
            ticks.book(now.div_euclid(ticks.tick), amount);
        }
    }

    /// Gives back `amount` that was booked at `at`: sums for ever and sums of the period that holds `at` shrink, windows
    /// keep it.
    pub(crate) fn refund(&mut self, at: i64, amount: i64) {
        let counts = match self.memory {
            Memory::Ever => true,
            Memory::Period { start, .. } => at >= start,
            Memory::Ticks(_) => Fault::REFUND_INTO_WINDOW.is_on(),
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
        match &self.memory {
            Memory::Ever => None,
            Memory::Ticks(ticks) => ticks.get(index).map(|(number, sum)| (ticks.leaves(number), sum.into())),
            Memory::Period { end, .. } => (index == 0).then_some((*end, self.used)),
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

/// The period of `kind` that holds `now`.
fn period(kind: &LimitKind, now: i64) -> Memory {
    let (zone, unit) = match kind {
        LimitKind::Calendar { unit, zone, .. } => (zone, *unit),
        LimitKind::Occurrences { unit, zone, .. } => (zone, unit.unwrap_or(Unit::Year)),
        _ => return Memory::Ever,
    };
    let (start, end) = zone.period(unit, now);
    Memory::Period { start, end }
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
