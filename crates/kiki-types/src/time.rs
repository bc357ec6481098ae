//! Time as milliseconds since 1970 in UTC, and its RFC 3339 text. Reading a clock is not done here.

use std::fmt;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This time and `millis` more; stays at the end of time instead of overflowing.
    #[must_use]
    pub const fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// RFC 3339 with milliseconds, such as `2026-02-05T10:30:00.000Z`. Times beyond the year 9999 are shown as
    /// its last.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let instant = Timestamp::from_millisecond(self.0.max(0)).unwrap_or(Timestamp::MAX);
        let mut text = String::with_capacity(24);
        let printer = DateTimePrinter::new().precision(Some(3));
        match printer.print_timestamp(&instant, &mut text) {
            Ok(()) => text,
            Err(_) => instant.to_string(),
        }
    }

    /// Reads RFC 3339.
    ///
    /// # Errors
    /// The text is not a time, in the words of the parser.
    pub fn parse_rfc3339(text: &str) -> Result<Self, String> {
        let instant: Timestamp = text.parse().map_err(|error: jiff::Error| error.to_string())?;
        Ok(Self(instant.as_millisecond()))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_and_read_back() {
        let time = UnixMillis(1_770_287_400_000);
        assert_eq!(time.rfc3339(), "2026-02-05T10:30:00.000Z");
        assert_eq!(UnixMillis::parse_rfc3339("2026-02-05T11:30:00+01:00"), Ok(time));
        assert!(UnixMillis(i64::MAX).rfc3339().starts_with("9999-12-"));
        assert!(UnixMillis::parse_rfc3339("yesterday").is_err());
    }
}
