//! The shapes of limits: how a budget defines one, and how one stands.

mod reading;

use std::sync::Arc;

use kiki_spend::{Field, LimitKind, Measure, Room, Standing, Unit};
use kiki_types::UnixMillis;
use kiki_types::money::{Micros, format_micros, parse_micros};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::error::ShieldError;
use crate::names::{check_impersonal, public_name};
use crate::zones;

/// How long a request waits for approval if its limit does not say: a day.
pub(crate) const APPROVAL_SECONDS: u32 = 86_400;

/// A budget's limit. Amounts are decimals in the currency of the installation.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum LimitBody {
    /// At most `amount` within any `seconds`.
    Window {
        /// The most.
        #[schema(example = "500.00")]
        amount: String,
        /// 1 to 31,622,400.
        #[schema(example = 60)]
        seconds: u32,
    },
    /// At most `amount`, for ever.
    Total {
        /// The most.
        #[schema(example = "10000.00")]
        amount: String,
    },
    /// At most `amount` in a calendar period.
    Calendar {
        /// The most.
        #[schema(example = "2000.00")]
        amount: String,
        /// `day`, `week` (from Monday), `month`, `quarter` or `year`.
        #[schema(value_type = String, example = "day")]
        unit: Unit,
        /// Where its days begin; absent: UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(example = "Europe/Berlin")]
        zone: Option<String>,
    },
    /// Each authorization between `least` and `most`.
    Each {
        /// The least; absent: 0.
        #[serde(default)]
        least: Option<String>,
        /// The most.
        #[schema(example = "50.00")]
        most: String,
    },
    /// At most `count` authorizations within any `seconds`.
    Velocity {
        /// The most.
        #[schema(example = 6)]
        count: u32,
        /// 1 to 31,622,400.
        #[schema(example = 10)]
        seconds: u32,
    },
    /// At most `count` authorizations in a calendar period, or for ever.
    Occurrences {
        /// The most.
        #[schema(example = 1)]
        count: u32,
        /// As of `calendar`; absent: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, example = "month")]
        unit: Option<Unit>,
        /// Where its days begin; absent: UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// Only what names one of these.
    Allow {
        /// `category` or `payee`.
        #[schema(value_type = String, example = "category")]
        field: Field,
        /// 1 to 1,000.
        values: Vec<String>,
    },
    /// Nothing that names one of these.
    Deny {
        /// `category` or `payee`.
        #[schema(value_type = String, example = "payee")]
        field: Field,
        /// 1 to 1,000.
        values: Vec<String>,
    },
    /// Only from `from` to before `until`.
    Between {
        /// Absent: since ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(example = "2027-01-01T00:00:00Z")]
        from: Option<String>,
        /// Absent: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    /// What is above an amount waits for somebody's approval; the money is held meanwhile.
    Approval {
        /// The largest amount that needs none.
        #[schema(example = "1000.00")]
        above: String,
        /// How long it waits: 1 to 2,678,400; absent: a day.
        #[serde(default)]
        seconds: Option<u32>,
        /// Whether whoever asked may not approve.
        #[serde(default)]
        four_eyes: bool,
    },
}

impl LimitBody {
    /// What the governor is told; zones are looked up as of `now`.
    pub(crate) fn kind(&self, now: UnixMillis) -> Result<LimitKind, ShieldError> {
        let micros = |field, text: &str| parse_micros(text).map_err(|error| ShieldError::invalid(field, error));
        let zone = |zone: &Option<String>| {
            zone.as_deref().map_or_else(|| Ok(Default::default()), |name| zones::resolve(name, now))
        };
        Ok(match self {
            Self::Window { amount, seconds } => {
                LimitKind::Window { amount: micros("limit.amount", amount)?, seconds: *seconds }
            }
            Self::Total { amount } => LimitKind::Total { amount: micros("limit.amount", amount)? },
            Self::Calendar { amount, unit, zone: name } => {
                LimitKind::Calendar { amount: micros("limit.amount", amount)?, unit: *unit, zone: zone(name)? }
            }
            Self::Each { least, most } => LimitKind::Each {
                least: least.as_deref().map_or(Ok(0), |least| micros("limit.least", least))?,
                most: micros("limit.most", most)?,
            },
            Self::Velocity { count, seconds } => LimitKind::Velocity { count: *count, seconds: *seconds },
            Self::Occurrences { count, unit, zone: name } => {
                LimitKind::Occurrences { count: *count, unit: *unit, zone: zone(name)? }
            }
            Self::Allow { field, values } => LimitKind::Allow { field: *field, values: sorted(values) },
            Self::Deny { field, values } => LimitKind::Deny { field: *field, values: sorted(values) },
            Self::Between { from, until } => LimitKind::Between {
                from: from.as_deref().map_or(Ok(0), |from| moment("limit.from", from))?,
                until: until.as_deref().map_or(Ok(i64::MAX), |until| moment("limit.until", until))?,
            },
            Self::Approval { above, seconds, four_eyes } => LimitKind::Approval {
                above: micros("limit.above", above)?,
                seconds: seconds.unwrap_or(APPROVAL_SECONDS),
                four_eyes: *four_eyes,
            },
        })
    }
}

/// Refuses a list that names people.
pub(crate) fn check_values(kind: &LimitKind) -> Result<(), ShieldError> {
    let (LimitKind::Allow { values, .. } | LimitKind::Deny { values, .. }) = kind else { return Ok(()) };
    values.iter().try_for_each(|value| check_impersonal("limit.values", value))
}

/// Whether the numbers of a limit make sense.
pub(crate) fn check_limit(kind: &LimitKind) -> Result<(), ShieldError> {
    check_values(kind)?;
    if kind.is_valid() {
        return Ok(());
    }
    let detail = "amounts must not be negative, least not above most, from before until, a window 1 second to 366 days long, a \
                  wait for approval at most 31 days, a list 1 to 1,000 values of 1 to 128 visible ASCII characters \
                  without '@'";
    Err(ShieldError::invalid("limit", detail))
}

/// A moment as RFC 3339 writes it, in milliseconds since 1970.
pub(crate) fn moment(field: &'static str, text: &str) -> Result<i64, ShieldError> {
    let moment: Result<jiff::Timestamp, _> = text.parse();
    moment.map(jiff::Timestamp::as_millisecond).map_err(|error| ShieldError::invalid(field, error))
}

/// The values in order, each once.
pub(crate) fn sorted(values: &[String]) -> Arc<[Box<str>]> {
    let mut values: Vec<Box<str>> = values.iter().map(|value| value.as_str().into()).collect();
    values.sort_unstable();
    values.dedup();
    values.into()
}

impl From<&LimitKind> for LimitBody {
    fn from(kind: &LimitKind) -> Self {
        let decimal = |micros: &i64| format_micros((*micros).into());
        let zone = |zone: &kiki_spend::Zone| (*zone != Default::default()).then(|| zone.name().to_owned());
        let time = |at: i64| (1..i64::MAX).contains(&at).then(|| UnixMillis(at).rfc3339());
        let texts = |values: &[Box<str>]| values.iter().map(ToString::to_string).collect();
        match kind {
            LimitKind::Window { amount, seconds } => Self::Window { amount: decimal(amount), seconds: *seconds },
            LimitKind::Total { amount } => Self::Total { amount: decimal(amount) },
            LimitKind::Calendar { amount, unit, zone: name } => {
                Self::Calendar { amount: decimal(amount), unit: *unit, zone: zone(name) }
            }
            LimitKind::Each { least, most } => Self::Each { least: Some(decimal(least)), most: decimal(most) },
            LimitKind::Velocity { count, seconds } => Self::Velocity { count: *count, seconds: *seconds },
            LimitKind::Occurrences { count, unit, zone: name } => {
                Self::Occurrences { count: *count, unit: *unit, zone: zone(name) }
            }
            LimitKind::Allow { field, values } => Self::Allow { field: *field, values: texts(values) },
            LimitKind::Deny { field, values } => Self::Deny { field: *field, values: texts(values) },
            LimitKind::Between { from, until } => Self::Between { from: time(*from), until: time(*until) },
            LimitKind::Approval { above, seconds, four_eyes } => {
                Self::Approval { above: decimal(above), seconds: Some(*seconds), four_eyes: *four_eyes }
            }
        }
    }
}

/// Whether a limit refuses, or only tells that it would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// It refuses.
    #[default]
    Enforce,
    /// It tells.
    Shadow,
}

impl Mode {
    pub(crate) fn of(is_shadow: bool) -> Self {
        if is_shadow { Self::Shadow } else { Self::Enforce }
    }
}

/// How a limit stands after a decision. Amounts are decimals; numbers of authorizations are whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitAnswer {
    /// The budget's id.
    #[schema(example = "burst")]
    pub(crate) id: String,
    /// `window`, `total`, `calendar`, `each`, `velocity`, `occurrences`, `allow`, `deny`, `between` or `approval`.
    #[schema(example = "window")]
    pub(crate) kind: &'static str,
    /// Whether it refuses, or only tells.
    pub(crate) mode: Mode,
    /// The most that it allows; absent where that is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) limit: Option<Number>,
    /// What has moved and counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) used: Option<Number>,
    /// What is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) held: Option<Number>,
    /// What can be asked for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) remaining: Option<Number>,
    /// Whether it refuses what was asked for, once more.
    pub(crate) refuses: bool,
    /// When more than now remains, at the latest, if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frees_at: Option<String>,
    /// When it no longer refuses what was asked for, if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passes_at: Option<String>,
}

impl From<&Standing> for LimitAnswer {
    fn from(standing: &Standing) -> Self {
        let time = |at: Option<i64>| at.map(|at| UnixMillis(at).rfc3339());
        let [limit, used, held, remaining] = numbers(standing);
        Self {
            id: public_name(&standing.limit).to_owned(),
            kind: standing.kind.as_str(),
            mode: Mode::of(standing.is_shadow),
            limit,
            used,
            held,
            remaining,
            refuses: standing.refused,
            frees_at: time(standing.frees_at),
            passes_at: time(standing.passes_at.filter(|_| standing.refused)),
        }
    }
}

/// The most, what is used, held and remains; a limit on each amount has only a most.
pub(crate) fn numbers(standing: &Standing) -> [Option<Number>; 4] {
    match (standing.room, &standing.kind) {
        (Some(Room { measure, most, used, held, remaining }), _) => {
            [most.into(), used, held, remaining].map(|number| Some(Number::of(measure, number)))
        }
        (None, LimitKind::Each { most, .. } | LimitKind::Approval { above: most, .. }) => {
            [Some(Number::Amount(Micros((*most).into()))), None, None, None]
        }
        (None, _) => [const { None }; 4],
    }
}

/// How much, or how many; a string either way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Amount(Micros),
    Count(i128),
}

impl Number {
    fn of(measure: Measure, number: i128) -> Self {
        match measure {
            Measure::Amount => Self::Amount(Micros(number)),
            Measure::Count => Self::Count(number),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Amount(amount) => amount.serialize(serializer),
            Self::Count(count) => serializer.collect_str(count),
        }
    }
}

/// How the limit of money stands under which the least remains. Limits that only tell, count or list are not looked at.
pub(crate) fn tightest(standings: &[Standing]) -> Option<(&Standing, Room)> {
    let enforced = standings.iter().filter(|standing| !standing.is_shadow);
    let rooms = enforced.filter_map(|standing| Some((standing, standing.room?)));
    rooms.filter(|(_, room)| room.measure == Measure::Amount).min_by_key(|(_, room)| room.remaining)
}
