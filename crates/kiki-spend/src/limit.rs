//! Limits: what may be spent under an account, and what has been.
//!
//! A window moves in ticks of 1/1024 of its length (at least 1 ms): money counts from its capture to the end of
//! its tick plus the window's length, so never too short and at most 0.1 % too long. It keeps one sum a tick, at
//! most 2,050 of them whatever the load.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Ticks in the length of a window.
const TICKS: i64 = 1024;

/// The longest window: 366 days.
pub const WINDOW_SECONDS_MAX: u32 = 366 * 86_400;

/// What a limit limits. Amounts are millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LimitKind {
    /// At most `amount` within any `seconds`.
    Window {
        /// The most.
        amount: i64,
        /// The window's length.
        seconds: u32,
    },
    /// At most `amount`, for ever.
    Total {
        /// The most.
        amount: i64,
    },
    /// Each authorization between `least` and `most`, both included.
    Each {
        /// The least.
        #[serde(default)]
        least: i64,
        /// The most.
        most: i64,
    },
}

impl LimitKind {
    /// Whether the numbers make sense: no negative amounts, a window of 1 second to 366 days.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        match *self {
            Self::Window { amount, seconds } => amount >= 0 && seconds >= 1 && seconds <= WINDOW_SECONDS_MAX,
            Self::Total { amount } => amount >= 0,
            Self::Each { least, most } => least >= 0 && most >= least,
        }
    }

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Window { .. } => "window",
            Self::Total { .. } => "total",
            Self::Each { .. } => "each",
        }
    }
}

/// The ticks of a window, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    tick: i64,
    length: i64,
}

impl Ticks {
    fn of(seconds: u32) -> Self {
        let length = i64::from(seconds) * 1000;
        Self { tick: (length / TICKS).max(1), length }
    }

    /// When what was booked in tick number `number` stops counting.
    fn leaves(self, number: i64) -> i64 {
        (number + 1).saturating_mul(self.tick).saturating_add(self.length)
    }
}

/// What was captured under a limit and still counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Booked {
    /// All that was ever captured under the limit, whatever its kind was.
    ever: i128,
    /// The sum of what a window counts: that of `ticks`.
    sum: i128,
    /// Tick numbers, ascending, and what was booked in each. Empty but for windows.
    ticks: VecDeque<(i64, i64)>,
}

/// A limit and what counts under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) id: Arc<str>,
    pub(crate) account: u32,
    #[serde(with = "PlainKind")]
    pub(crate) kind: LimitKind,
    booked: Booked,
}

/// [`LimitKind`] for snapshots, whose format does not tell what comes next and so cannot read inner tags.
#[derive(Serialize, Deserialize)]
#[serde(remote = "LimitKind")]
enum PlainKind {
    Window { amount: i64, seconds: u32 },
    Total { amount: i64 },
    Each { least: i64, most: i64 },
}

impl Limit {
    pub(crate) fn new(id: Arc<str>, account: u32, kind: LimitKind) -> Self {
        Self { id, account, kind, booked: Booked::default() }
    }

    /// Takes another kind. What was spent stays counted: by a total all that was ever captured; by a window of another
    /// length what the old window remembers, from the end of its tick. What had left the old window, and what was
    /// captured while the limit was no window, a new window does not count.
    pub(crate) fn replace(&mut self, kind: LimitKind, now: i64) {
        self.leave(now);
        let old = std::mem::replace(&mut self.kind, kind);
        if let LimitKind::Window { seconds: old, .. } = old {
            let ticks = std::mem::take(&mut self.booked.ticks);
            self.booked.sum = 0;
            if let LimitKind::Window { seconds: new, .. } = kind {
                let same = old == new;
                let (old, new) = (Ticks::of(old), Ticks::of(new));
                for (number, amount) in ticks {
                    let at = ((number + 1) * old.tick - 1).min(now);
                    self.book_in(if same { number } else { at / new.tick }, amount);
                }
            }
        }
    }

    fn book_in(&mut self, number: i64, amount: i64) {
        self.booked.sum += i128::from(amount);
        match self.booked.ticks.back_mut() {
            Some((last, sum)) if *last == number && sum.checked_add(amount).is_some() => *sum += amount,
            _ => self.booked.ticks.push_back((number, amount)),
        }
    }

    /// Money has moved: it counts from `now`.
    pub(crate) fn book(&mut self, now: i64, amount: i64) {
        self.booked.ever += i128::from(amount);
        if let LimitKind::Window { seconds, .. } = self.kind {
            self.leave(now);
            self.book_in(now / Ticks::of(seconds).tick, amount);
        }
    }

    /// What counts of the money that was captured.
    fn used(&self) -> i128 {
        match self.kind {
            LimitKind::Window { .. } => self.booked.sum,
            LimitKind::Total { .. } | LimitKind::Each { .. } => self.booked.ever,
        }
    }

    /// Forgets what no longer counts.
    fn leave(&mut self, now: i64) {
        if let LimitKind::Window { seconds, .. } = self.kind {
            let ticks = Ticks::of(seconds);
            while let Some(&(number, amount)) = self.booked.ticks.front() {
                if now < ticks.leaves(number) {
                    break;
                }
                self.booked.sum -= i128::from(amount);
                self.booked.ticks.pop_front();
            }
        }
    }

    /// Whether `amount` more is refused when `held` is held under its account.
    pub(crate) fn refuses(&mut self, now: i64, amount: i64, held: i128) -> bool {
        self.leave(now);
        match self.kind {
            LimitKind::Each { least, most } => !(least..=most).contains(&amount),
            LimitKind::Window { amount: most, .. } | LimitKind::Total { amount: most } => {
                self.used() + held + i128::from(amount) > i128::from(most)
            }
        }
    }

    /// How the limit stands for somebody who asks for `amount`.
    pub(crate) fn standing(&mut self, now: i64, amount: i64, held: i128) -> Standing {
        let refused = self.refuses(now, amount, held);
        let (most, remaining) = match self.kind {
            LimitKind::Each { most, .. } => (most, i128::from(most)),
            LimitKind::Window { amount: most, .. } | LimitKind::Total { amount: most } => {
                (most, (i128::from(most) - self.used() - held).max(0))
            }
        };
        Standing {
            limit: self.id.clone(),
            kind: self.kind,
            most,
            used: self.used(),
            held,
            remaining,
            refused,
            frees_at: self.passes_at(now, remaining + 1, held),
            passes_at: if refused { self.passes_at(now, amount.into(), held) } else { Some(now) },
        }
    }

    /// When `amount` would pass if nothing else happens and no hold ends; `None` if waiting does not help.
    fn passes_at(&self, now: i64, amount: i128, held: i128) -> Option<i64> {
        let LimitKind::Window { amount: most, seconds } = self.kind else { return None };
        let ticks = Ticks::of(seconds);
        let mut counted = self.booked.sum + held + amount;
        if counted <= i128::from(most) {
            return Some(now);
        }
        if held + amount > i128::from(most) {
            return None;
        }
        for &(number, sum) in &self.booked.ticks {
            counted -= i128::from(sum);
            if counted <= i128::from(most) {
                return Some(ticks.leaves(number));
            }
        }
        None
    }
}

/// How a limit stands at a moment, as an answer to somebody who asks for an amount. Amounts are millionths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit's id.
    pub limit: Arc<str>,
    /// What it limits.
    pub kind: LimitKind,
    /// The most that it allows.
    pub most: i64,
    /// What was captured and counts.
    pub used: i128,
    /// What is held under its account.
    pub held: i128,
    /// What could be asked for now.
    pub remaining: i128,
    /// Whether it refuses the amount asked for.
    pub refused: bool,
    /// When more than now remains, if nothing else happens: milliseconds since 1970. Only windows free by themselves.
    pub frees_at: Option<i64>,
    /// When the amount asked for would pass at the latest, if nothing else happens.
    pub passes_at: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u32 = 60;
    const START: i64 = 1_700_000_000_000;

    fn window(amount: i64, seconds: u32) -> Limit {
        Limit::new("w".into(), 0, LimitKind::Window { amount, seconds })
    }

    #[test]
    fn money_leaves_a_window_never_early_and_at_most_a_tick_late() {
        for seconds in [1, 2, 60, 3600] {
            let length = i64::from(seconds) * 1000;
            for offset in [0, 1, 57, 58, 999] {
                let mut limit = window(10, seconds);
                limit.book(START + offset, 10);
                assert!(limit.refuses(START + offset + length - 1, 1, 0), "{seconds} s: gone early");
                let late = length + (length / 1024).max(1);
                assert!(!limit.refuses(START + offset + late, 10, 0), "{seconds} s: still there");
            }
        }
    }

    #[test]
    fn a_window_keeps_a_bounded_number_of_sums() {
        for seconds in [1, 2, 60, 86_400] {
            let mut limit = window(i64::MAX, seconds);
            let step = (i64::from(seconds) / 8).max(1);
            for n in 0..20_000 {
                limit.book(START + n * step, 1);
                assert!(limit.booked.ticks.len() <= 2050, "{seconds} s: {}", limit.booked.ticks.len());
            }
        }
    }

    #[test]
    fn a_refusal_says_when_the_same_amount_would_pass() {
        let mut limit = window(100, MINUTE);
        limit.book(START, 60);
        limit.book(START + 30_000, 40);
        let standing = limit.standing(START + 31_000, 70, 0);
        assert_eq!((standing.remaining, standing.refused), (0, true));
        let passes = standing.passes_at.unwrap();
        assert!(limit.clone().refuses(passes - 1, 70, 0) && !limit.clone().refuses(passes, 70, 0));
        let frees = standing.frees_at.unwrap();
        assert!(limit.clone().refuses(frees - 1, 1, 0) && !limit.clone().refuses(frees, 1, 0));
        assert_eq!(limit.standing(START + 31_000, 101, 0).passes_at, None);
    }

    #[test]
    fn what_was_spent_stays_counted_when_a_limit_is_replaced() {
        let mut limit = window(100, MINUTE);
        limit.book(START, 60);
        limit.replace(LimitKind::Window { amount: 80, seconds: MINUTE }, START + 1);
        assert!(limit.refuses(START + 2, 21, 0) && !limit.refuses(START + 2, 20, 0));
        limit.replace(LimitKind::Window { amount: 80, seconds: 600 }, START + 2);
        assert!(limit.refuses(START + 599_999, 21, 0) && !limit.refuses(START + 601_000, 80, 0));
        limit.book(START + 601_000, 5);
        limit.replace(LimitKind::Each { least: 0, most: 80 }, START + 601_001);
        limit.book(START + 601_002, 3);
        limit.replace(LimitKind::Total { amount: 80 }, START + 601_003);
        assert!(limit.refuses(i64::MAX, 13, 0) && !limit.refuses(i64::MAX, 12, 0), "all that was ever captured: 68");
    }

    #[test]
    fn numbers_that_make_no_sense_are_not_valid() {
        for kind in [
            LimitKind::Window { amount: -1, seconds: 60 },
            LimitKind::Window { amount: 1, seconds: 0 },
            LimitKind::Window { amount: 1, seconds: u32::MAX },
            LimitKind::Total { amount: -1 },
            LimitKind::Each { least: 2, most: 1 },
            LimitKind::Each { least: -1, most: 1 },
        ] {
            assert!(!kind.is_valid(), "{kind:?}");
        }
    }
}
