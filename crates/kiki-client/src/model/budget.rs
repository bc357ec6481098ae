//! Budgets: limits on accounts, and how they stand.

use std::fmt;
use std::str::FromStr;

use kiki_types::money::{MoneyError, format_micros, parse_micros};
use kiki_types::{Currency, Money, UnixMillis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rfc3339;

/// A decimal of millionths, in the currency that stands beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub i64);

impl Amount {
    /// This much of `currency`.
    #[must_use]
    pub const fn of(self, currency: Currency) -> Money {
        Money::new(self.0, currency)
    }
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self(money.micros)
    }
}

impl FromStr for Amount {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse_micros(text).map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format_micros(self.0.into()))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How much, or how many: what a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Money, in the currency that stands beside it.
    Amount(Amount),
    /// Authorizations.
    Count(i64),
}

impl Figure {
    /// Millionths of money, or a number of authorizations: to be compared with a figure of the same limit.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Amount(amount) => amount.0,
            Self::Count(count) => count,
        }
    }
}

impl From<Money> for Figure {
    fn from(money: Money) -> Self {
        Self::Amount(money.into())
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amount(amount) => amount.fmt(f),
            Self::Count(count) => count.fmt(f),
        }
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Figure {
    /// Amounts are written with a point, numbers without one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = if text.contains('.') { None } else { text.parse().ok().map(Self::Count) };
        read.map_or_else(|| text.parse().map(Self::Amount).map_err(serde::de::Error::custom), Ok)
    }
}

/// What a budget allows. Amounts are in the currency of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// At most `amount` within any `seconds`.
    Window {
        /// The most.
        amount: Amount,
        /// The length of the window.
        seconds: u32,
    },
    /// At most `amount`, for ever.
    Total {
        /// The most.
        amount: Amount,
    },
    /// Each authorization between `least` and `most`.
    Each {
        /// The least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        least: Option<Amount>,
        /// The most.
        most: Amount,
    },
    /// At most `amount` in each period of the calendar.
    Calendar {
        /// The most.
        amount: Amount,
        /// `day`, `week`, `month`, `quarter` or `year`.
        unit: String,
        /// An IANA time zone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// At most `count` authorizations within any `seconds`.
    Velocity {
        /// The most.
        count: u32,
        /// The length of the window.
        seconds: u32,
    },
    /// At most `count` authorizations, in each period of the calendar if `unit` names one.
    Occurrences {
        /// The most.
        count: u32,
        /// `day`, `week`, `month`, `quarter` or `year`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        /// An IANA time zone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
    },
    /// Only requests whose `field` is one of `values`.
    Allow {
        /// `category` or `payee`.
        field: String,
        /// Those that pass.
        values: Vec<String>,
    },
    /// No requests whose `field` is one of `values`.
    Deny {
        /// `category` or `payee`.
        field: String,
        /// Those that do not pass.
        values: Vec<String>,
    },
    /// Only from `from` to before `until`, RFC 3339.
    Between {
        /// Absent: since ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// Absent: for ever.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    /// A person approves what is above `above`.
    Approval {
        /// What passes by itself.
        above: Amount,
        /// How long there is to approve.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u32>,
        /// Whoever asked may not approve.
        #[serde(default)]
        four_eyes: bool,
    },
    /// A kind that this version does not know, or knows no fields of.
    #[serde(untagged)]
    Other(serde_json::Map<String, serde_json::Value>),
}

impl Limit {
    /// The name of its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Window { .. } => "window",
            Self::Total { .. } => "total",
            Self::Each { .. } => "each",
            Self::Calendar { .. } => "calendar",
            Self::Velocity { .. } => "velocity",
            Self::Occurrences { .. } => "occurrences",
            Self::Allow { .. } => "allow",
            Self::Deny { .. } => "deny",
            Self::Between { .. } => "between",
            Self::Approval { .. } => "approval",
            Self::Other(fields) => fields.get("kind").and_then(serde_json::Value::as_str).unwrap_or("unknown"),
        }
    }
}

/// Whether a budget refuses, or only says what it would refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetMode {
    /// It refuses.
    #[default]
    Enforce,
    /// It is evaluated in the same way and told, and refuses nothing.
    Shadow,
}

/// A budget as it is defined: the body of `PUT /v1/budgets/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewBudget {
    /// The account that it governs, with everything below; empty: the tenant itself.
    pub account: String,
    /// What it allows.
    pub limit: Limit,
    /// Whether it refuses.
    #[serde(skip_serializing_if = "is_enforced")]
    pub mode: BudgetMode,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_enforced(mode: &BudgetMode) -> bool {
    *mode == BudgetMode::Enforce
}

impl NewBudget {
    /// A budget that refuses.
    #[must_use]
    pub fn new(account: impl Into<String>, limit: Limit) -> Self {
        Self { account: account.into(), limit, mode: BudgetMode::Enforce }
    }

    /// The same, refusing nothing.
    #[must_use]
    pub fn shadow(self) -> Self {
        Self { mode: BudgetMode::Shadow, ..self }
    }
}

/// A budget and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Budget {
    /// Its id.
    pub id: String,
    /// The account that it governs, with everything below.
    pub account: String,
    /// What it allows.
    pub limit: Limit,
    /// Whether it refuses.
    #[serde(default)]
    pub mode: BudgetMode,
    /// What was captured and counts; absent where the limit counts nothing.
    #[serde(default)]
    pub used: Option<Figure>,
    /// What is held.
    #[serde(default)]
    pub held: Option<Figure>,
    /// What can be asked for now.
    #[serde(default)]
    pub remaining: Option<Figure>,
    /// When more frees up, if nothing else happens.
    #[serde(default, with = "rfc3339")]
    pub frees_at: Option<UnixMillis>,
    /// The currency of all amounts here.
    pub currency: Currency,
}

/// How a limit stands after a decision.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct LimitStanding {
    /// The budget's id.
    pub id: String,
    /// The kind of its limit.
    #[serde(default)]
    pub kind: String,
    /// Whether it refuses, or only tells.
    #[serde(default)]
    pub mode: BudgetMode,
    /// The most that it allows; absent where that is no number.
    #[serde(default)]
    pub limit: Option<Figure>,
    /// What was captured and counts; absent where the limit counts nothing.
    #[serde(default)]
    pub used: Option<Figure>,
    /// What is held.
    #[serde(default)]
    pub held: Option<Figure>,
    /// What can be asked for now.
    #[serde(default)]
    pub remaining: Option<Figure>,
    /// Whether it refuses the amount asked for.
    #[serde(default)]
    pub refuses: bool,
    /// When more than now remains.
    #[serde(default, with = "rfc3339")]
    pub frees_at: Option<UnixMillis>,
    /// When it no longer refuses that amount.
    #[serde(default, with = "rfc3339")]
    pub passes_at: Option<UnixMillis>,
}
