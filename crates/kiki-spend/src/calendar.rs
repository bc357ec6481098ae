//! Calendar periods: days, weeks (from Monday), months, quarters and years, in a time zone.
//!
//! A zone is carried with its rule (a POSIX time zone string such as `CET-1CEST,M3.5.0,M10.5.0/3`), so that a period is
//! a pure function of the definition and the time: no database of time zones, which changes several times a year, can
//! give an old decision another outcome.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// The length of a calendar period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// From midnight to midnight.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
    /// From January, April, July or October.
    Quarter,
    /// From the first of January.
    Year,
}

impl Unit {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// The first day of the period that holds `day`, and that of the next.
    fn around(self, day: Date) -> Result<(Date, Date), jiff::Error> {
        let (first, length) = match self {
            Self::Day => (day, Span::new().days(1)),
            Self::Week => {
                let since_monday = i64::from(day.weekday().to_monday_zero_offset());
                (day.checked_sub(Span::new().days(since_monday))?, Span::new().weeks(1))
            }
            Self::Month => (day.first_of_month(), Span::new().months(1)),
            Self::Quarter => {
                let since_first = i64::from((day.month() - 1) % 3);
                (day.first_of_month().checked_sub(Span::new().months(since_first))?, Span::new().months(3))
            }
            Self::Year => (day.first_of_year(), Span::new().years(1)),
        };
        Ok((first, first.checked_add(length)?))
    }
}

/// A time zone: its name for people, its rule for the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Named", into = "Named")]
pub struct Zone {
    name: Arc<str>,
    rule: Arc<str>,
    zone: TimeZone,
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: Arc<str>,
    rule: Arc<str>,
}

/// The rule is no POSIX time zone string, or the name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no time zone with a rule: {0}")]
pub struct BadZone(String);

impl Zone {
    const UTC: &'static str = "UTC";
    const NAME_BYTES_MAX: usize = 64;
    const RULE_BYTES_MAX: usize = 128;

    /// A zone of this name whose clocks follow `rule`.
    ///
    /// # Errors
    /// [`BadZone`]
    pub fn new(name: &str, rule: &str) -> Result<Self, BadZone> {
        if name == Self::UTC {
            return Ok(Self::default());
        }
        if name.is_empty() || name.len() > Self::NAME_BYTES_MAX || rule.len() > Self::RULE_BYTES_MAX {
            return Err(BadZone("the name or the rule is too long, or the name is empty".to_owned()));
        }
        let zone = TimeZone::posix(rule).map_err(|error| BadZone(error.to_string()))?;
        Ok(Self { name: name.into(), rule: rule.into(), zone })
    }

    /// The name, such as `Europe/Berlin`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_utc(&self) -> bool {
        &*self.name == Self::UTC
    }

    /// The period that holds `at`: its first millisecond and that of the next period. What is beyond the years of the
    /// calendar is one period.
    pub(crate) fn period(&self, unit: Unit, at: i64) -> (i64, i64) {
        let zone = if Fault::PERIOD_IN_UTC.is_on() { &TimeZone::UTC } else { &self.zone };
        let within = || {
            let day = Timestamp::from_millisecond(at)?.to_zoned(zone.clone()).date();
            let (first, next) = unit.around(day)?;
            let begin = |day: Date| day.to_zoned(zone.clone()).map(|midnight| midnight.timestamp().as_millisecond());
            let end = begin(next)?;
            if at < end {
                return Ok::<_, jiff::Error>((begin(first)?, end));
            }
            // The clock went back over midnight: a day that has begun does not end before it began.
            Ok((end, begin(unit.around(next)?.1)?))
        };
        within().unwrap_or((i64::MIN, i64::MAX))
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: Self::UTC.into(), rule: "UTC0".into(), zone: TimeZone::UTC }
    }
}

impl TryFrom<Named> for Zone {
    type Error = BadZone;

    fn try_from(named: Named) -> Result<Self, BadZone> {
        Self::new(&named.name, &named.rule)
    }
}

impl From<Zone> for Named {
    fn from(zone: Zone) -> Self {
        Self { name: zone.name, rule: zone.rule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(zone: &Zone, unit: Unit, at: &str) -> [String; 2] {
        let at: Timestamp = at.parse().unwrap();
        let (start, end) = zone.period(unit, at.as_millisecond());
        [start, end].map(|at| Timestamp::from_millisecond(at).unwrap().to_string())
    }

    #[test]
    fn periods_begin_at_midnight_of_their_zone() {
        let utc = Zone::default();
        let at = "2024-02-29T23:59:59.999Z";
        assert_eq!(period(&utc, Unit::Day, at), ["2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"]);
        assert_eq!(period(&utc, Unit::Week, at), ["2024-02-26T00:00:00Z", "2024-03-04T00:00:00Z"]);
        assert_eq!(period(&utc, Unit::Month, at), ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"]);
        assert_eq!(period(&utc, Unit::Quarter, at), ["2024-01-01T00:00:00Z", "2024-04-01T00:00:00Z"]);
        assert_eq!(period(&utc, Unit::Year, at), ["2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]);
    }

    #[test]
    fn a_day_on_which_clocks_change_is_shorter_or_longer() {
        let berlin = Zone::new("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let day = |at| period(&berlin, Unit::Day, at);
        assert_eq!(day("2024-03-31T12:00:00Z"), ["2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"]);
        assert_eq!(day("2024-10-27T12:00:00Z"), ["2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"]);
        // Midnight itself is skipped where clocks go forward at midnight: the day begins an hour later.
        let beirut = Zone::new("Asia/Beirut", "EET-2EEST,M3.5.0/0,M10.5.0/0").unwrap();
        assert_eq!(
            period(&beirut, Unit::Day, "2024-03-31T12:00:00Z"),
            ["2024-03-30T22:00:00Z", "2024-03-31T21:00:00Z"]
        );
    }

    #[test]
    fn a_period_holds_its_moment_even_where_the_clock_goes_back_over_midnight() {
        let zone = Zone::new("Test/Back", "AAA0BBB-1,M3.5.0,M10.5.0/0:30").unwrap();
        let midnight: Timestamp = "2024-10-26T23:00:00Z".parse().unwrap();
        for minutes in -30..120 {
            let at = midnight.as_millisecond() + minutes * 60_000;
            let (start, end) = zone.period(Unit::Day, at);
            assert!((start..end).contains(&at), "{minutes}: {start} {end}");
            assert_eq!(start >= midnight.as_millisecond(), minutes >= 0, "{minutes}: the day begins once");
        }
    }

    #[test]
    fn beyond_the_calendar_there_is_one_period() {
        assert_eq!(Zone::default().period(Unit::Month, i64::MAX), (i64::MIN, i64::MAX));
    }

    #[test]
    fn a_rule_that_is_none_is_refused() {
        assert!(Zone::new("Mars/Olympus", "sol").is_err() && Zone::new("", "CET-1").is_err());
        let zone: Zone = serde_json::from_str(r#"{"name": "Asia/Tokyo", "rule": "JST-9"}"#).unwrap();
        assert_eq!(serde_json::to_string(&zone).unwrap(), r#"{"name":"Asia/Tokyo","rule":"JST-9"}"#);
        assert!(serde_json::from_str::<Zone>(r#"{"name": "Asia/Tokyo", "rule": "?"}"#).is_err());
    }
}
