//! What the models know of a customer's purchases: how many, how recent, over what time.

use serde::Serialize;

use super::DAYS_PER_WEEK;

/// The longest time that a history may span, in weeks: about 19,000 years.
pub const WEEKS_MAX: f64 = 1e6;

/// A purchase history in the sense of BG/NBD (Fader, Hardie and Lee 2005, 3.1). Made only by [`History::new`], so that
/// its numbers are finite and `0 <= recency <= age`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct History {
    frequency: u32,
    recency: f64,
    age: f64,
}

/// Why numbers are not a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct HistoryError {
    /// The field that is wrong: `frequency`, `recency` or `age`.
    pub field: &'static str,
    /// What is wrong with it, such as `must not be negative`.
    pub reason: &'static str,
}

impl History {
    /// `frequency` repeat purchases, the last at `recency` weeks after the first purchase, observed until `age` weeks
    /// after it.
    ///
    /// # Errors
    /// Names the field that is not a number, negative, beyond [`WEEKS_MAX`], not whole (`frequency`), after `age`
    /// (`recency`), or not 0 without a repeat purchase (`recency`).
    pub fn new(frequency: f64, recency: f64, age: f64) -> Result<Self, HistoryError> {
        let wrong = |field, reason| Err(HistoryError { field, reason });
        for (field, value) in [("frequency", frequency), ("recency", recency), ("age", age)] {
            if !value.is_finite() {
                return wrong(field, "must be a finite number");
            }
            if value < 0.0 {
                return wrong(field, "must not be negative");
            }
        }
        if age > WEEKS_MAX {
            return wrong("age", "must be at most 1000000 weeks");
        }
        if recency > age {
            return wrong("recency", "must not be larger than age");
        }
        let Some(frequency) = whole(frequency) else {
            return wrong("frequency", "must be a whole number of purchases, at most 1000000");
        };
        if frequency == 0 && recency > 0.0 {
            return wrong("recency", "must be 0 without a repeat purchase");
        }
        // A negative zero would group apart from zero.
        Ok(Self { frequency, recency: recency.abs(), age: age.abs() })
    }

    /// The same from whole days. `recency_days` beyond `age_days`, or without a repeat purchase, is cut; so is an age
    /// beyond [`WEEKS_MAX`].
    pub(super) fn from_days(frequency: u32, recency_days: u32, age_days: u32) -> Self {
        let age = (f64::from(age_days) / DAYS_PER_WEEK).min(WEEKS_MAX);
        let recency = if frequency == 0 { 0.0 } else { (f64::from(recency_days) / DAYS_PER_WEEK).min(age) };
        Self { frequency, recency, age }
    }

    /// The same from numbers that are known to be a history.
    pub(super) const fn of_parts(frequency: u32, recency: f64, age: f64) -> Self {
        Self { frequency, recency, age }
    }

    /// Repeat purchases.
    #[must_use]
    pub const fn frequency(&self) -> u32 {
        self.frequency
    }

    /// Weeks from the first purchase to the last; 0 without a repeat purchase.
    #[must_use]
    pub const fn recency(&self) -> f64 {
        self.recency
    }

    /// Weeks from the first purchase to the end of observation.
    #[must_use]
    pub const fn age(&self) -> f64 {
        self.age
    }
}

const FREQUENCY_MAX: f64 = 1e6;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within u32 by the check")]
fn whole(frequency: f64) -> Option<u32> {
    (frequency <= FREQUENCY_MAX && frequency.fract() == 0.0).then_some(frequency as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_names_the_field_that_is_wrong() {
        for (numbers, field) in [
            ([f64::NAN, 1.0, 2.0], "frequency"),
            ([-1.0, 1.0, 2.0], "frequency"),
            ([1.5, 1.0, 2.0], "frequency"),
            ([1e10, 1.0, 2.0], "frequency"),
            ([1.0, f64::INFINITY, f64::INFINITY], "recency"),
            ([1.0, -0.1, 2.0], "recency"),
            ([1.0, 2.1, 2.0], "recency"),
            ([0.0, 1.0, 2.0], "recency"),
            ([1.0, 1.0, f64::NAN], "age"),
            ([1.0, 1.0, 1e7], "age"),
        ] {
            let [frequency, recency, age] = numbers;
            assert_eq!(History::new(frequency, recency, age).unwrap_err().field, field, "{numbers:?}");
        }
        let history = History::new(2.0, 30.43, 38.86).unwrap();
        assert_eq!((history.frequency(), history.recency(), history.age()), (2, 30.43, 38.86));
    }
}
