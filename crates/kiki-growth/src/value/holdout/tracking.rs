//! Repeat purchases from the log's first day on, step by step: made, and expected of customers who begin when these did.

use kiki_models::ltv::{DAYS_PER_WEEK, PurchaseModel};
use serde::Serialize;

use super::{DAYS_MAX, TimeUnit, day_text};

/// Steps at the most; a longer log is told in longer steps.
const STEPS_MAX: u32 = 2_000;

/// A step of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Its number, from 1.
    pub step: u32,
    /// Its last day.
    pub until: String,
    /// Whether the model was fitted to all of it.
    pub calibration: bool,
    /// Repeat purchases that were made in it.
    pub actual: u64,
    /// And expected.
    pub expected: f64,
    /// Repeat purchases that were made by its end.
    pub cumulative_actual: u64,
    /// And expected.
    pub cumulative_expected: f64,
}

/// Purchases by day.
#[derive(Clone, Debug)]
pub(super) struct Days {
    first: i32,
    /// Customers whose first purchase was on the day.
    firsts: Vec<u32>,
    repeats: Vec<u32>,
}

impl Days {
    /// From the day `first` to the day `last`, of at most [`DAYS_MAX`].
    pub(super) fn new(first: i32, last: i32) -> Self {
        let days = last.abs_diff(first).min(DAYS_MAX) as usize + 1;
        Self { first, firsts: vec![0; days], repeats: vec![0; days] }
    }

    pub(super) fn first(&mut self, day: i32) {
        if let Some(count) = self.firsts.get_mut(day.abs_diff(self.first) as usize) {
            *count += 1;
        }
    }

    pub(super) fn repeat(&mut self, day: i32) {
        if let Some(count) = self.repeats.get_mut(day.abs_diff(self.first) as usize) {
            *count += 1;
        }
    }

    /// In steps of `unit`; `until` is the last day of the calibration.
    pub(super) fn steps(&self, model: &dyn PurchaseModel, until: i32, unit: TimeUnit) -> Vec<Step> {
        let days = self.repeats.len();
        // Only the days between a first purchase and a step's end matter, and they are whole.
        let of_one: Vec<f64> = (0..days).map(|day| model.expected_by(day as f64 / DAYS_PER_WEEK)).collect();
        let (mut steps, mut begin) = (Vec::new(), 0);
        let (mut actual, mut expected) = (0, 0.0);
        for (step, end) in (1..).zip(ends(days, unit)) {
            let made: u64 = self.repeats[begin..end].iter().copied().map(u64::from).sum();
            let by_end = self.expected_by(end - 1, &of_one);
            let last = self.first.saturating_add_unsigned(u32::try_from(end - 1).unwrap_or(u32::MAX));
            actual += made;
            steps.push(Step {
                step,
                until: day_text(last),
                calibration: last <= until,
                actual: made,
                expected: by_end - expected,
                cumulative_actual: actual,
                cumulative_expected: by_end,
            });
            (begin, expected) = (end, by_end);
        }
        steps
    }

    /// Repeat purchases that are expected by the end of a day, counted from the first.
    fn expected_by(&self, day: usize, of_one: &[f64]) -> f64 {
        let begun = self.firsts[..=day].iter().zip(of_one[..=day].iter().rev());
        begun.filter(|&(&customers, _)| customers > 0).map(|(&customers, of_one)| f64::from(customers) * of_one).sum()
    }
}

/// Where steps of `unit` end, as counts of days; what is left of the last step is left out.
fn ends(days: usize, unit: TimeUnit) -> impl Iterator<Item = usize> {
    let at_least = days as f64 / f64::from(STEPS_MAX);
    let length = unit.days() * (at_least / unit.days()).ceil().max(1.0);
    (1..=STEPS_MAX).map(move |step| day_of(f64::from(step) * length)).take_while(move |&end| end <= days)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and at most 2,000 steps of days")]
fn day_of(end: f64) -> usize {
    end.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_long_as_the_unit_and_not_too_many() {
        assert_eq!(ends(22, TimeUnit::Week).collect::<Vec<_>>(), [7, 14, 21]);
        assert_eq!(ends(92, TimeUnit::Month).collect::<Vec<_>>(), [30, 61, 91]);
        assert_eq!(ends(3, TimeUnit::Day).collect::<Vec<_>>(), [1, 2, 3]);
        let century: Vec<usize> = ends(DAYS_MAX as usize, TimeUnit::Day).collect();
        assert_eq!((century.len(), century[0]), (1_922, 19));
    }
}
