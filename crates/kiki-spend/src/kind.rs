//! What a limit limits, as it is defined: the words, without anything that was counted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::calendar::{Unit, Zone};

/// The longest window: 366 days.
pub const WINDOW_SECONDS_MAX: u32 = 366 * 86_400;
/// How long an approval may be waited for at the most: 31 days.
pub const APPROVAL_SECONDS_MAX: u32 = 31 * 86_400;
/// Values of a list at the most.
pub const VALUES_MAX: usize = 1000;
/// Bytes of all values of a list together at the most, as JSON has them: with quotes, commas and escapes. A definition must
/// fit into an entry of the log.
pub const VALUES_BYTES_MAX: usize = 32 * 1024;
/// Bytes of one value, and of a category or payee.
pub const VALUE_BYTES_MAX: usize = 128;

/// What a limit limits. Amounts are millionths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LimitKind {
    /// At most `amount` within any `seconds`.
    Window {
        /// The most.
        amount: i64,
        /// The window's length.
        seconds: u32,
    },
    /// At most `amount`, for ever.
    Total {
        /// The most.
        amount: i64,
    },
    /// At most `amount` in a calendar period.
    Calendar {
        /// The most.
        amount: i64,
        /// The period.
        unit: Unit,
        /// Where its days begin.
        #[serde(default, skip_serializing_if = "Zone::is_utc")]
        zone: Zone,
    },
    /// Each authorization between `least` and `most`, both included.
    Each {
        /// The least.
        #[serde(default)]
        least: i64,
        /// The most.
        most: i64,
    },
    /// At most `count` authorizations within any `seconds`.
    Velocity {
        /// The most.
        count: u32,
        /// The window's length.
        seconds: u32,
    },
    /// At most `count` authorizations in a calendar period, or for ever.
    Occurrences {
        /// The most.
        count: u32,
        /// The period; absent: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<Unit>,
        /// Where its days begin.
        #[serde(default, skip_serializing_if = "Zone::is_utc")]
        zone: Zone,
    },
    /// Only what names one of these.
    Allow {
        /// Of what.
        field: Field,
        /// In ascending order.
        values: Arc<[Box<str>]>,
    },
    /// Nothing that names one of these.
    Deny {
        /// Of what.
        field: Field,
        /// In ascending order.
        values: Arc<[Box<str>]>,
    },
    /// Only from `from` to before `until`, in milliseconds since 1970.
    Between {
        /// The first moment.
        from: i64,
        /// The first moment after it.
        until: i64,
    },
    /// What is above an amount waits for somebody's approval; the money is held meanwhile.
    Approval {
        /// The largest amount that needs none.
        above: i64,
        /// How long it waits.
        seconds: u32,
        /// Whether whoever asked may not approve.
        #[serde(default)]
        four_eyes: bool,
    },
}

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// What the money is for.
    Category,
    /// Whom it goes to.
    Payee,
}

impl LimitKind {
    /// Whether the numbers make sense: no negative amounts, lengths within bounds, lists of well-formed values in
    /// ascending order.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let is_window = |seconds: u32| (1..=WINDOW_SECONDS_MAX).contains(&seconds);
        match self {
            Self::Window { amount, seconds } => *amount >= 0 && is_window(*seconds),
            Self::Total { amount } | Self::Calendar { amount, .. } => *amount >= 0,
            Self::Each { least, most } => *least >= 0 && most >= least,
            Self::Velocity { seconds, .. } => is_window(*seconds),
            Self::Occurrences { .. } => true,
            Self::Allow { values, .. } | Self::Deny { values, .. } => are_values(values),
            Self::Between { from, until } => from < until,
            Self::Approval { above, seconds, .. } => *above >= 0 && (1..=APPROVAL_SECONDS_MAX).contains(seconds),
        }
    }

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Window { .. } => "window",
            Self::Total { .. } => "total",
            Self::Calendar { .. } => "calendar",
            Self::Each { .. } => "each",
            Self::Velocity { .. } => "velocity",
            Self::Occurrences { .. } => "occurrences",
            Self::Allow { .. } => "allow",
            Self::Deny { .. } => "deny",
            Self::Between { .. } => "between",
            Self::Approval { .. } => "approval",
        }
    }
}

/// Whether `value` can be a category or a payee: 1 to 128 visible ASCII characters without `@`, which would be an
/// address of a person.
#[must_use]
pub fn is_value(value: &str) -> bool {
    (1..=VALUE_BYTES_MAX).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@')
}

fn are_values(values: &[Box<str>]) -> bool {
    let escaped = |value: &str| value.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    let bytes: usize = values.iter().map(|value| value.len() + escaped(value) + 3).sum();
    (1..=VALUES_MAX).contains(&values.len())
        && bytes <= VALUES_BYTES_MAX
        && values.iter().all(|value| is_value(value))
        && values.is_sorted_by(|a, b| a < b)
}

pub(crate) mod as_json {
    //! A kind inside a snapshot, whose format does not tell what comes next and so cannot read inner tags.

    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use super::LimitKind;

    pub(crate) fn serialize<S: Serializer>(kind: &LimitKind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(kind).map_err(ser::Error::custom)?)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LimitKind, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_make_no_sense_are_not_valid() {
        let values = |values: &[&str]| values.iter().map(|&value| value.into()).collect();
        for kind in [
            LimitKind::Window { amount: -1, seconds: 60 },
            LimitKind::Window { amount: 1, seconds: 0 },
            LimitKind::Window { amount: 1, seconds: u32::MAX },
            LimitKind::Total { amount: -1 },
            LimitKind::Calendar { amount: -1, unit: Unit::Day, zone: Zone::default() },
            LimitKind::Each { least: 2, most: 1 },
            LimitKind::Each { least: -1, most: 1 },
            LimitKind::Velocity { count: 1, seconds: 0 },
            LimitKind::Between { from: 1, until: 1 },
            LimitKind::Approval { above: 1, seconds: 0, four_eyes: false },
            LimitKind::Approval { above: -1, seconds: 1, four_eyes: false },
            LimitKind::Allow { field: Field::Payee, values: values(&[]) },
            LimitKind::Allow { field: Field::Payee, values: values(&["b", "a"]) },
            LimitKind::Deny { field: Field::Payee, values: values(&["a", "a"]) },
            LimitKind::Deny { field: Field::Payee, values: values(&["somebody@example.org"]) },
        ] {
            assert!(!kind.is_valid(), "{kind:?}");
        }
        assert!(LimitKind::Allow { field: Field::Category, values: values(&["ads", "model:large"]) }.is_valid());
    }

    #[test]
    fn the_longest_list_is_bounded_as_json_has_it() {
        let list = |count: usize| {
            let values = (0..count).map(|number| format!("{number:03}{}", "\\".repeat(125)).into());
            LimitKind::Deny { field: Field::Payee, values: values.collect() }
        };
        let longest = (1..1000).take_while(|&count| list(count).is_valid()).last().unwrap();
        let json = serde_json::to_string(&list(longest)).unwrap();
        assert!((VALUES_BYTES_MAX - 300..VALUES_BYTES_MAX + 100).contains(&json.len()), "{}", json.len());
    }
}
