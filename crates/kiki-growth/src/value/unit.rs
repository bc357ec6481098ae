//! The unit that times are told in.

use std::fmt;
use std::str::FromStr;

use kiki_models::ltv::DAYS_PER_WEEK;
use serde::Serialize;

/// A day, a week, or a month of 365.25 / 12 days. What is found does not depend on it: purchases are merged by day and models
/// reckon in weeks, whatever the unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    /// 24 hours.
    Day,
    /// Seven days.
    #[default]
    Week,
    /// 365.25 / 12 days.
    Month,
}

impl TimeUnit {
    /// How many days it has.
    #[must_use]
    pub const fn days(self) -> f64 {
        match self {
            Self::Day => 1.0,
            Self::Week => DAYS_PER_WEEK,
            Self::Month => 365.25 / 12.0,
        }
    }

    /// So many weeks in this unit.
    #[must_use]
    pub const fn of_weeks(self, weeks: f64) -> f64 {
        weeks * DAYS_PER_WEEK / self.days()
    }
}

impl fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        })
    }
}

/// The text names no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be day, week or month")]
pub struct NotAUnit;

impl FromStr for TimeUnit {
    type Err = NotAUnit;

    fn from_str(text: &str) -> Result<Self, NotAUnit> {
        match text {
            "day" => Ok(Self::Day),
            "week" => Ok(Self::Week),
            "month" => Ok(Self::Month),
            _ => Err(NotAUnit),
        }
    }
}
