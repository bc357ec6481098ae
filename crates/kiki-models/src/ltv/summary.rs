//! From a customer's purchases to what the models know of them.
//!
//! The unit of time is the day: purchases of one day are one purchase of their sum, as the PyPI package lifetimes counts
//! with `freq="D", freq_multiplier=7`. The first day is what makes a customer, and counts neither as a repeat nor as spend.

use super::{History, HistoryError};

/// Days in the models' week.
pub const DAYS_PER_WEEK: f64 = 7.0;

/// One purchase: on which day, counted from any fixed one, and its value in millionths of the currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purchase {
    /// The day.
    pub day: i32,
    /// The value.
    pub micros: i64,
}

/// A customer's repeat purchases within a period, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Days after the first on which there was a purchase.
    pub frequency: u32,
    /// Days from the first purchase to the last.
    pub recency_days: u32,
    /// Days from the first purchase to the end of the period.
    pub age_days: u32,
    /// What was spent on the days after the first, in millionths of the currency.
    pub repeat_micros: i128,
}

impl Summary {
    /// Of one customer's `purchases`, in the order of their days, up to the day `until`, that day included. `None` if the
    /// customer had not bought by then.
    #[must_use]
    pub fn of(purchases: &[Purchase], until: i32) -> Option<Self> {
        let first = purchases.first().filter(|first| first.day <= until)?;
        let mut summary = Self { frequency: 0, recency_days: 0, age_days: until.abs_diff(first.day), repeat_micros: 0 };
        let mut last = first.day;
        for purchase in purchases.iter().take_while(|purchase| purchase.day <= until) {
            if purchase.day > last {
                summary.frequency += 1;
                last = purchase.day;
            }
            if last > first.day {
                summary.repeat_micros += i128::from(purchase.micros);
            }
        }
        summary.recency_days = last.abs_diff(first.day);
        Some(summary)
    }

    /// The history, in weeks.
    ///
    /// # Errors
    /// The numbers were not made by [`Summary::of`] and are no history.
    pub fn history(&self) -> Result<History, HistoryError> {
        let weeks = |days: u32| f64::from(days) / DAYS_PER_WEEK;
        History::new(self.frequency.into(), weeks(self.recency_days), weeks(self.age_days))
    }

    /// The mean value of the repeat purchases, in units of the currency; 0 if there are none.
    #[must_use]
    pub fn monetary(&self) -> f64 {
        if self.frequency == 0 { 0.0 } else { self.repeat_micros as f64 / 1e6 / f64::from(self.frequency) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(purchases: &[(i32, i64)], until: i32) -> Option<(u32, u32, u32, i128)> {
        let purchases: Vec<Purchase> = purchases.iter().map(|&(day, micros)| Purchase { day, micros }).collect();
        let of = Summary::of(&purchases, until)?;
        Some((of.frequency, of.recency_days, of.age_days, of.repeat_micros))
    }

    #[test]
    fn purchases_of_one_day_are_one_and_the_first_day_is_no_repeat() {
        assert_eq!(summary(&[(10, 5), (10, 6)], 30), Some((0, 0, 20, 0)));
        assert_eq!(summary(&[(10, 5), (10, 6), (12, 7), (12, 8), (20, 9)], 30), Some((2, 10, 20, 24)));
    }

    #[test]
    fn the_last_day_of_the_period_counts_and_the_next_does_not() {
        assert_eq!(summary(&[(-5, 1), (30, 2), (31, 4)], 30), Some((1, 35, 35, 2)));
        assert_eq!(summary(&[(31, 1)], 30), None);
        assert_eq!(summary(&[], 30), None);
    }

    #[test]
    fn weeks_are_days_by_seven_and_money_is_in_units() {
        let summary = Summary { frequency: 4, recency_days: 14, age_days: 21, repeat_micros: 50_000_000 };
        assert_eq!(summary.history(), History::new(4.0, 2.0, 3.0));
        assert!((summary.monetary() - 12.5).abs() < 1e-12);
    }
}
