//! What a tenant takes without anything being done: revenue of the last days, its trend and its weekdays, and what goes on from
//! there. Pure.

use kiki_models::ltv::Purchase;
use kiki_types::{Currency, Money};
use serde::{Deserialize, Serialize};

use super::orders::date_of;

/// Days of revenue that are kept of a log: two years.
pub(super) const DAYS_KEPT: usize = 730;
/// Days that a baseline is made of, unless asked otherwise.
pub(super) const DAYS_DEFAULT: u32 = 90;
/// The fewest and the most days that it can be made of.
pub(super) const DAYS_RANGE: std::ops::RangeInclusive<u32> = 14..=365;

const DAYS_PER_WEEK: usize = 7;

/// Revenue by day, refunds taken off on their own day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revenue {
    /// The last day, counted from the 1st of January 1970.
    last_day: i32,
    /// Millionths, up to the last day.
    micros: Vec<i64>,
}

/// Revenue that goes on by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Baseline {
    /// The days that it is made of, and the last of them.
    pub(super) days: u32,
    pub(super) until: String,
    pub(super) revenue: Money,
    pub(super) per_day: Money,
    /// By how much of itself revenue grows a week.
    pub(super) trend_per_week: f64,
    /// Monday first: how a weekday is beside a mean day.
    pub(super) by_weekday: [f64; DAYS_PER_WEEK],
    /// Of as many days ahead.
    pub(super) expected: Money,
}

impl Revenue {
    /// Of purchases in any order, the last of which is on `last_day`.
    pub(super) fn of(purchases: impl Iterator<Item = Purchase>, first_day: i32, last_day: i32) -> Self {
        let days = (last_day.abs_diff(first_day) as usize + 1).min(DAYS_KEPT);
        let mut micros = vec![0_i64; days];
        for purchase in purchases.filter(|purchase| purchase.day <= last_day) {
            let back = last_day.abs_diff(purchase.day) as usize;
            if let Some(day) = days.checked_sub(back + 1).and_then(|at| micros.get_mut(at)) {
                *day = day.saturating_add(purchase.micros);
            }
        }
        Self { last_day, micros }
    }

    /// The baseline of the last `days`, or of as many as there are; `None` of fewer than two weeks.
    pub(super) fn baseline(&self, days: u32, currency: Currency) -> Option<Baseline> {
        let window = &self.micros[self.micros.len().saturating_sub(days as usize)..];
        let days = u32::try_from(window.len()).ok().filter(|days| DAYS_RANGE.contains(days))?;
        let amounts: Vec<f64> = window.iter().map(|&micros| micros as f64).collect();
        let total: i128 = window.iter().copied().map(i128::from).sum();
        let mean = total as f64 / f64::from(days);
        let by_weekday = self.by_weekday(&amounts, mean);
        let per_week = weekly_growth(&amounts);
        // The trend goes through the middle of the window; the days ahead begin half a window later.
        let weeks_ahead = f64::from(days) / DAYS_PER_WEEK as f64;
        let expected = (mean + per_week / DAYS_PER_WEEK as f64 * weeks_ahead).max(0.0) * f64::from(days);
        let trend_per_week = if mean > 0.0 { per_week / (mean * DAYS_PER_WEEK as f64) } else { 0.0 };
        Some(Baseline {
            days,
            until: date_of(self.last_day).map(|date| date.to_string())?,
            revenue: Money::new(clamped(total as f64), currency),
            per_day: Money::new(clamped(mean), currency),
            trend_per_week,
            by_weekday,
            expected: Money::new(clamped(expected), currency),
        })
    }

    fn by_weekday(&self, amounts: &[f64], mean: f64) -> [f64; DAYS_PER_WEEK] {
        let (mut sums, mut counts) = ([0.0; DAYS_PER_WEEK], [0.0; DAYS_PER_WEEK]);
        for (back, amount) in (0..).zip(amounts.iter().rev()) {
            // The 1st of January 1970 was a Thursday.
            let weekday = (self.last_day.saturating_sub(back) + 3).rem_euclid(7).unsigned_abs() as usize;
            sums[weekday] += amount;
            counts[weekday] += 1.0;
        }
        let mut shares = [1.0; DAYS_PER_WEEK];
        for (share, (sum, count)) in shares.iter_mut().zip(sums.iter().zip(counts)) {
            if mean > 0.0 && count > 0.0 {
                *share = sum / count / mean;
            }
        }
        shares
    }
}

/// By how much the revenue of a week grows from one week to the next: the least squares through whole weeks, counted from the
/// end.
fn weekly_growth(amounts: &[f64]) -> f64 {
    let weeks: Vec<f64> = amounts.rchunks_exact(DAYS_PER_WEEK).map(|week| week.iter().sum()).collect();
    let middle = (weeks.len() as f64 - 1.0) / 2.0;
    let mean = weeks.iter().sum::<f64>() / weeks.len().max(1) as f64;
    let (mut both, mut square) = (0.0, 0.0);
    // The newest week is the first.
    for (back, week) in (0_u32..).zip(&weeks) {
        let at = middle - f64::from(back);
        both += at * (week - mean);
        square += at * at;
    }
    if square > 0.0 { both / square } else { 0.0 }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded, and meant to stop at the largest amount")]
fn clamped(micros: f64) -> i64 {
    micros.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 4th of January 1970, a Sunday.
    const SUNDAY: i32 = 3;

    fn revenue(days: i32, amount: impl Fn(i32) -> i32) -> Revenue {
        let (first, last) = (SUNDAY - days + 1, SUNDAY);
        let purchases = (first..=last).map(|day| Purchase { day, micros: i64::from(amount(day - first)) * 1_000_000 });
        Revenue::of(purchases, first, last)
    }

    #[test]
    fn level_revenue_has_no_trend_and_goes_on() {
        let baseline = revenue(200, |_| 10).baseline(90, Currency::USD).unwrap();
        let usd = |units: i64| Money::new(units * 1_000_000, Currency::USD);
        assert_eq!((baseline.days, baseline.until.as_str()), (90, "1970-01-04"));
        assert_eq!((baseline.revenue, baseline.per_day, baseline.expected), (usd(900), usd(10), usd(900)));
        assert!(baseline.trend_per_week.abs() < 1e-12);
        assert!(baseline.by_weekday.iter().all(|share| (share - 1.0).abs() < 1e-12));
    }

    #[test]
    fn weekdays_are_told_apart_monday_first() {
        // Day 0 of 14 is a Monday; Saturdays bring four times as much.
        let baseline = revenue(14, |day| if day % 7 == 5 { 40 } else { 10 }).baseline(90, Currency::USD).unwrap();
        assert_eq!(baseline.days, 14);
        let shares = baseline.by_weekday.map(|share| format!("{share:.2}"));
        assert_eq!(shares, ["0.70", "0.70", "0.70", "0.70", "0.70", "2.80", "0.70"]);
    }

    #[test]
    fn growth_goes_on_as_far_ahead_as_was_looked_back() {
        // A week brings 70 more than the one before; ten weeks from 70 to 700, then from 770 to 1400.
        let baseline = revenue(70, |day| 10 * (day / 7 + 1)).baseline(70, Currency::USD).unwrap();
        assert_eq!(baseline.revenue.micros, 3_850 * 1_000_000);
        assert_eq!(baseline.expected.micros, 10_850 * 1_000_000);
        assert!((baseline.trend_per_week - 70.0 / 385.0).abs() < 1e-12);
    }

    #[test]
    fn shrinking_revenue_ends_at_nothing() {
        let baseline = revenue(70, |day| 100 - 10 * (day / 7)).baseline(70, Currency::USD).unwrap();
        assert!(baseline.trend_per_week < 0.0);
        assert_eq!(baseline.expected.micros, 0);
    }

    #[test]
    fn two_weeks_are_the_least() {
        assert_eq!(revenue(13, |_| 1).baseline(90, Currency::USD), None);
        assert_eq!(Revenue::default().baseline(90, Currency::USD), None);
    }
}
