//! Dates as days, counted from the 1st of January 1970.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// The day of `date`, counted from the 1st of January 1970.
#[must_use]
pub fn day_number(date: Date) -> i32 {
    EPOCH.until(date).map_or(0, |span| span.get_days())
}

/// The date of a day.
pub(in crate::value) fn date_of(day: i32) -> Option<Date> {
    EPOCH.checked_add(jiff::Span::new().try_days(day).ok()?).ok()
}

/// The day of `YYYYMMDD`, `YYYY-MM-DD`, or an RFC 3339 time, whose day is the one in UTC; also of a time as Shopify writes it,
/// `YYYY-MM-DD HH:MM:SS -0400`. A time that names no zone, such as `YYYY-MM-DD HH:MM:SS`, is one in UTC.
pub(in crate::value) fn parse(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    let date = match bytes {
        [year @ .., _, _, _, _] if bytes.len() == 8 => civil(year, &bytes[4..6], &bytes[6..])?,
        [year @ .., b'-', _, _, b'-', _, _] if bytes.len() == 10 => civil(year, &bytes[5..7], &bytes[8..])?,
        _ => match text.parse::<Timestamp>() {
            Ok(instant) => instant.to_zoned(TimeZone::UTC).date(),
            Err(_) => without_zone(text).or_else(|| with_offset(text))?,
        },
    };
    Some(day_number(date))
}

/// The date of `YYYY-MM-DD HH:MM:SS`, also with `T` between and with a fraction. Checked before it is parsed, as the parser
/// takes shorter forms and passes over a zone.
fn without_zone(text: &str) -> Option<Date> {
    let shape = b"dddd-dd-dd dd:dd:dd";
    let (time, fraction) = text.as_bytes().split_at_checked(shape.len())?;
    let fits = |(&byte, &wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        b' ' => matches!(byte, b' ' | b'T'),
        other => byte == other,
    };
    let is_fraction = match fraction {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let sane = is_fraction && time.iter().zip(shape).all(fits);
    sane.then(|| text.parse::<DateTime>().ok()).flatten().map(DateTime::date)
}

/// The date in UTC of `YYYY-MM-DD HH:MM:SS -0400`.
fn with_offset(text: &str) -> Option<Date> {
    let (time, offset) = text.rsplit_once(' ')?;
    without_zone(time)?;
    let is_offset = matches!(offset.as_bytes(), [b'+' | b'-', digits @ ..] if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit));
    let (hours, minutes) = is_offset.then(|| offset.split_at(3))?;
    let instant = format!("{time}{hours}:{minutes}").parse::<Timestamp>().ok()?;
    Some(instant.to_zoned(TimeZone::UTC).date())
}

fn civil(year: &[u8], month: &[u8], day: &[u8]) -> Option<Date> {
    let number = |digits: &[u8]| {
        let add = |sum: i16, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i16::from(digit - b'0'));
        digits.iter().try_fold(0, add)
    };
    let small = |digits: &[u8]| i8::try_from(number(digits)?).ok();
    Date::new(number(year)?, small(month)?, small(day)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_of_writing_a_day_are_the_same_day() {
        for text in [
            "19970930",
            "1997-09-30",
            "1997-09-30T23:59:59Z",
            "1997-10-01T01:30:00+02:00",
            "1997-10-01 01:30:00+02:00",
            "1997-09-30 00:00:00",
            "1997-09-30T23:59:59",
            "1997-09-30 23:59:59.999999",
            "1997-09-30 10:11:12 -0400",
            "1997-09-29 22:00:00 -0400",
            "1997-10-01 03:00:00 +0530",
        ] {
            assert_eq!(parse(text), Some(10_134), "{text}");
        }
        assert_eq!(date_of(10_134).unwrap().to_string(), "1997-09-30");
        assert_eq!(parse("19700101"), Some(0));
        assert_eq!(parse("1969-12-31"), Some(-1));
        assert_eq!(parse("00010101").and_then(date_of).unwrap().to_string(), "0001-01-01");
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "19970931",
            "1997-13-01",
            "1997-9-30",
            "30.09.1997",
            "1997-09-30T",
            "9999999",
            "-9970930",
            "yesterday",
            "1997-02-30 08:00:00",
            "1997-09-30 24:00:01",
            "1997-09-30 08:00",
            "1997-09-30 08:00:00.",
            "1997-09-30 08:00:00[Europe/Paris]",
            "1997-09-30 08:00:00 CET",
            "1997-09-30 08:00:00 -04",
            "1997-09-30 08:00:00 -9900",
            "1997-09-30_08:00:00",
            "١٩٩٧",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
