//! Periods of reports.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use kiki_types::UnixMillis;

use crate::error::ShieldError;

/// A day.
pub(crate) const DAY_MS: i64 = 86_400_000;
const DAYS_MAX: i64 = 3660;

/// The period's first moment and the first one after it.
pub(crate) fn parse_period(period: &str, now: UnixMillis) -> Result<(UnixMillis, UnixMillis), ShieldError> {
    let last = |days: i64| (now.plus(-days * DAY_MS), now.plus(1));
    let days = period.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    match (period, days) {
        ("daily", _) => Ok(last(1)),
        ("weekly", _) => Ok(last(7)),
        ("monthly", _) => Ok(last(30)),
        (_, Some(days)) if (1..=DAYS_MAX).contains(&days) => Ok(last(days)),
        _ => calendar_month(period).ok_or_else(|| {
            ShieldError::invalid("period", "must be daily, weekly, monthly, 1d to 3660d, or a month such as 2026-02")
        }),
    }
}

fn calendar_month(period: &str) -> Option<(UnixMillis, UnixMillis)> {
    let (year, month) = period.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2)?;
    let first = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
    between(first, first.checked_add(Span::new().months(1)).ok()?, &TimeZone::UTC)
}

/// The calendar year `year` in `zone`; absent, the one before that of `now`.
pub(crate) fn parse_year(
    year: Option<i16>,
    now: UnixMillis,
    zone: &TimeZone,
) -> Result<(i16, (UnixMillis, UnixMillis)), ShieldError> {
    let today = Timestamp::from_millisecond(now.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone()).date();
    let year = year.unwrap_or(today.year() - 1);
    let found = (1970..=today.year()).contains(&year).then(|| {
        let first = |year| Date::new(year, 1, 1).ok();
        between(first(year)?, first(year + 1)?, zone)
    });
    let found = found.flatten().ok_or_else(|| ShieldError::invalid("year", "must be a year from 1970 to this one"))?;
    Ok((year, found))
}

fn between(first: Date, end: Date, zone: &TimeZone) -> Option<(UnixMillis, UnixMillis)> {
    let start = |date: Date| Some(UnixMillis(date.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond()));
    Some((start(first)?, start(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_770_287_400_000);

    #[test]
    fn a_period_is_read_or_refused() {
        let text = |period| parse_period(period, NOW).map(|(from, to)| (from.rfc3339(), to.rfc3339())).unwrap();
        assert_eq!(text("2026-02"), ("2026-02-01T00:00:00.000Z".into(), "2026-03-01T00:00:00.000Z".into()));
        assert_eq!(text("weekly").0, "2026-01-29T10:30:00.000Z");
        assert_eq!(text("90d").0, "2025-11-07T10:30:00.000Z");
        for bad in ["", "d", "0d", "3661d", "-1d", "2026-13", "2026-2", "99999-01", "yearly"] {
            assert!(parse_period(bad, NOW).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_year_begins_at_midnight_of_the_zone() {
        let zone = TimeZone::posix("PST8PDT,M3.2.0,M11.1.0").unwrap();
        let (year, (from, to)) = parse_year(None, NOW, &zone).unwrap();
        assert_eq!(
            (year, from.rfc3339(), to.rfc3339()),
            (2025, "2025-01-01T08:00:00.000Z".to_owned(), "2026-01-01T08:00:00.000Z".to_owned())
        );
        assert_eq!(parse_year(Some(2026), NOW, &zone).unwrap().0, 2026, "the year that is");
        for bad in [1969, 2027, -1] {
            assert!(parse_year(Some(bad), NOW, &zone).is_err(), "{bad}");
        }
    }
}
