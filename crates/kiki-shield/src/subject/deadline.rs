//! Deadlines as the law counts them: in civil days of one time zone, not in hours.
//!
//! GDPR Art. 12(3) gives one month and, for complex requests, two further months. Regulation (EEC, Euratom) 1182/71 says
//! how months are counted: the day of receipt does not count (Art. 3(1)), the last day is the same date of a later month
//! or the month's last day (Art. 3(2)(c)), and a last day on a Saturday, a Sunday or a public holiday becomes the next
//! working day (Art. 3(4)). An extended period runs from receipt, as one period: it does not start anew from a last day
//! that a short month or a weekend moved.
//!
//! 11 CCR § 7021 gives 45 calendar days from receipt, 90 with an extension, and 10 business days to acknowledge; § 7026
//! gives 15 business days to stop selling and sharing. Neither says that a last day on a weekend moves, so here it does not.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use kiki_types::UnixMillis;

use super::model::{Kind, Regime};

/// Days that a search for a working day looks at, at the most: no calendar has so many holidays on end.
const SEARCHED_DAYS_MAX: usize = 366;
/// Months to answer under GDPR, and with an extension.
const GDPR_MONTHS: (i32, i32) = (1, 3);
/// Days to answer under CCPA, and with an extension.
const CCPA_DAYS: (i32, i32) = (45, 90);
/// Business days to acknowledge under CCPA.
const CCPA_ACKNOWLEDGE_DAYS: usize = 10;
/// Business days to follow an opt-out under CCPA.
const CCPA_OPT_OUT_DAYS: usize = 15;

/// The days of an authority: its time zone and its public holidays.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    holidays: BTreeSet<Date>,
}

/// Last days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// To acknowledge the receipt, where the law sets a day.
    pub(crate) acknowledge_by: Option<Date>,
    /// To answer.
    pub(crate) due: Date,
    /// To answer after an extension; `None` where there is none.
    pub(crate) extended: Option<Date>,
}

impl Calendar {
    /// The days of `zone` without `holidays`.
    #[must_use]
    pub fn new(zone: TimeZone, holidays: impl IntoIterator<Item = Date>) -> Self {
        Self { zone, holidays: holidays.into_iter().collect() }
    }

    /// The day on which `at` is.
    pub(crate) fn day_of(&self, at: UnixMillis) -> Date {
        let instant = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
        self.zone.to_datetime(instant).date()
    }

    /// The last millisecond of `day`.
    pub(crate) fn end_of(&self, day: Date) -> UnixMillis {
        let next = day.tomorrow().ok().and_then(|next| next.to_zoned(self.zone.clone()).ok());
        let end = next.map_or(Timestamp::MAX, |midnight| midnight.timestamp());
        UnixMillis(end.as_millisecond() - 1)
    }

    /// The last days of a request that came on the day `received`.
    pub(crate) fn terms(&self, regime: Regime, kind: Kind, received: Date) -> Terms {
        match (regime, kind) {
            (Regime::Gdpr, _) => Terms {
                acknowledge_by: None,
                due: self.next_working_day(months_after(received, GDPR_MONTHS.0)),
                extended: Some(self.next_working_day(months_after(received, GDPR_MONTHS.1))),
            },
            (Regime::Ccpa, Kind::OptOut) => Terms {
                acknowledge_by: None,
                due: self.working_days_after(received, CCPA_OPT_OUT_DAYS),
                extended: None,
            },
            (Regime::Ccpa, _) => Terms {
                acknowledge_by: Some(self.working_days_after(received, CCPA_ACKNOWLEDGE_DAYS)),
                due: days_after(received, CCPA_DAYS.0),
                extended: Some(days_after(received, CCPA_DAYS.1)),
            },
        }
    }

    fn is_working_day(&self, day: Date) -> bool {
        !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday) && !self.holidays.contains(&day)
    }

    /// `day`, or the first working day after it.
    fn next_working_day(&self, day: Date) -> Date {
        let mut days = day.series(Span::new().days(1)).take(SEARCHED_DAYS_MAX);
        days.find(|&day| self.is_working_day(day)).unwrap_or(day)
    }

    /// The `count`th working day after `day`, which itself does not count.
    fn working_days_after(&self, day: Date, count: usize) -> Date {
        let days = day.series(Span::new().days(1)).skip(1).take(SEARCHED_DAYS_MAX);
        let mut working = days.filter(|&day| self.is_working_day(day));
        working.nth(count.saturating_sub(1)).unwrap_or(day)
    }
}

/// The same date `months` later, or that month's last day if it has no such date.
fn months_after(day: Date, months: i32) -> Date {
    day.checked_add(Span::new().months(months)).unwrap_or(Date::MAX)
}

fn days_after(day: Date, days: i32) -> Date {
    day.checked_add(Span::new().days(days)).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// A row per day of receipt from 2024 to 2040, made by Python's dateutil: `deadlines.py` beside it.
    const TABLE: &str = include_str!("../../tests/deadlines.csv");

    fn calendar() -> Calendar {
        Calendar::new(TimeZone::UTC, [])
    }

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    /// The counts of days of a row, in the order of the table's columns.
    fn counted(received: Date) -> [i32; 8] {
        let calendar = calendar();
        let days = |end: Date| received.until(end).unwrap().get_days();
        let gdpr = calendar.terms(Regime::Gdpr, Kind::Access, received);
        let ccpa = calendar.terms(Regime::Ccpa, Kind::Access, received);
        let opt_out = calendar.terms(Regime::Ccpa, Kind::OptOut, received);
        [
            days(months_after(received, 1)),
            days(gdpr.due),
            days(months_after(received, 3)),
            days(gdpr.extended.unwrap()),
            days(ccpa.acknowledge_by.unwrap()),
            days(opt_out.due),
            days(ccpa.due),
            days(ccpa.extended.unwrap()),
        ]
    }

    #[test]
    fn every_receipt_from_2024_to_2040_is_due_when_dateutil_says() {
        let mut rows = 0;
        for (row, received) in TABLE.lines().skip(1).zip(date("2024-01-01").series(Span::new().days(1))) {
            let (day, counts) = row.split_once(',').unwrap();
            assert_eq!(date(day), received, "a row is missing");
            let counts: Vec<i32> = counts.split(',').map(|count| count.parse().unwrap()).collect();
            assert_eq!(counted(received).as_slice(), counts, "{day}");
            rows += 1;
        }
        assert_eq!(rows, 6210, "2024-01-01 to 2040-12-31");
    }

    /// The table is what its script makes. Without Python or dateutil this says nothing, unless `KIKI_DATEUTIL` is
    /// `required`.
    #[test]
    fn the_table_is_what_dateutil_makes() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deadlines.py");
        let made = Command::new("python3").arg(script).output().ok().filter(|made| made.status.success());
        match made {
            Some(made) => assert!(made.stdout == TABLE.as_bytes(), "deadlines.csv is not what deadlines.py makes"),
            None => assert_ne!(option_env!("KIKI_DATEUTIL"), Some("required"), "python3 with dateutil is not here"),
        }
    }

    #[test]
    fn a_month_ends_on_the_same_date_or_the_last_one_and_then_on_a_working_day() {
        for (received, due, extended) in [
            ("2024-01-31", "2024-02-29", "2024-04-30"),
            ("2024-08-31", "2024-09-30", "2024-12-02"),
            ("2025-03-05", "2025-04-07", "2025-06-05"),
        ] {
            let terms = calendar().terms(Regime::Gdpr, Kind::Deletion, date(received));
            assert_eq!((terms.due, terms.extended), (date(due), Some(date(extended))), "{received}");
        }
    }

    #[test]
    fn a_holiday_is_no_working_day() {
        let calendar = Calendar::new(TimeZone::UTC, ["2026-04-03", "2026-04-06"].map(date));
        let gdpr = calendar.terms(Regime::Gdpr, Kind::Access, date("2026-03-03"));
        assert_eq!(gdpr.due, date("2026-04-07"), "Good Friday, the weekend, Easter Monday");
        let ccpa = calendar.terms(Regime::Ccpa, Kind::Access, date("2026-03-30"));
        assert_eq!(ccpa.acknowledge_by, Some(date("2026-04-15")), "two of ten days more");
        assert_eq!(ccpa.due, date("2026-05-14"), "calendar days");
    }

    #[test]
    fn the_day_is_that_of_the_zone_to_its_last_millisecond() {
        let berlin = Calendar::new(crate::time_zone("Europe/Berlin").unwrap(), []);
        let late = UnixMillis::parse_rfc3339("2026-02-05T23:30:00Z").unwrap();
        assert_eq!((berlin.day_of(late), calendar().day_of(late)), (date("2026-02-06"), date("2026-02-05")));
        assert_eq!(berlin.end_of(date("2026-03-29")).rfc3339(), "2026-03-29T21:59:59.999Z", "clocks were put forward");
        assert_eq!(calendar().end_of(date("2026-03-05")).rfc3339(), "2026-03-05T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn nothing_is_due_before_it_came_and_an_extension_is_later(
            days in 0..20_000i32,
            holidays in prop::collection::vec(0..20_100i32, 0..200),
            regime in prop::sample::select(Regime::ALL),
            kind in prop::sample::select(Kind::ALL),
        ) {
            let start = date("2000-01-01");
            let calendar = Calendar::new(TimeZone::UTC, holidays.into_iter().map(|day| days_after(start, day)));
            let received = days_after(start, days);
            let terms = calendar.terms(regime, kind, received);
            prop_assert!(terms.due > received);
            prop_assert!(terms.extended.is_none_or(|extended| extended > terms.due));
            prop_assert!(terms.acknowledge_by.is_none_or(|by| received < by && by < terms.due));
        }
    }
}
