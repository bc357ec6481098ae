//! The shapes of requests and answers.

use std::fmt;

use kiki_kit::schema::MoneySchema;
use kiki_spend::state::LimitView;
use kiki_spend::{LimitKind, Resolution, Standing};
use kiki_types::money::{format_micros, parse_micros};
use kiki_types::{Currency, Money, Purpose, UnixMillis};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ShieldError;
use crate::service::{Known, public_account, public_name};

/// Significant digits that every double carries (DBL_DIG).
const EXACT_DIGITS: usize = 15;

/// A decimal as the seeds write it: a number or a text. A JSON number with more digits than it carries exactly is
/// refused, so that no amount is changed without a word.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, example = "100.00")]
pub(crate) struct Decimal(String);

impl Decimal {
    /// Exact millionths.
    pub(crate) fn micros(&self, field: &'static str) -> Result<i64, ShieldError> {
        parse_micros(&self.0).map_err(|error| ShieldError::invalid(field, error))
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Decimal, E> {
                Ok(Decimal(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Decimal, E> {
                Ok(Decimal(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Decimal, E> {
                Ok(Decimal(number.to_string()))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Decimal, E> {
                // The shortest decimal that reads back as this float is what was typed, up to 15 digits.
                let text = number.to_string();
                if text.bytes().filter(u8::is_ascii_digit).count() > EXACT_DIGITS {
                    return Err(E::custom("has more digits than a JSON number carries exactly: send it as a string"));
                }
                Ok(Decimal(text))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// `GET|POST /spend`.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub(crate) struct SpendRequest {
    /// How much, in the currency of the installation.
    #[param(value_type = String)]
    pub(crate) amount: Decimal,
    /// The account that pays, below the tenant; absent: the tenant itself.
    #[serde(default)]
    pub(crate) account: String,
}

/// `GET /check`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CheckRequest {
    /// The customer's lifetime value.
    #[param(value_type = String)]
    pub(crate) ltv: Decimal,
}

/// What was spent, and what remains.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpendAnswer {
    /// `allowed`.
    #[schema(example = "allowed")]
    pub(crate) status: &'static str,
    /// What was spent.
    #[schema(example = "100.00")]
    pub(crate) amount: String,
    /// The currency of all amounts here.
    #[schema(example = "USD")]
    pub(crate) currency: String,
    /// What can still be spent now: the least that remains under any limit; absent where no limit stands.
    #[schema(example = "400.00")]
    pub(crate) remaining: Option<String>,
    /// When more frees up, if nothing else happens.
    pub(crate) frees_at: Option<String>,
    /// Each limit on the account's path.
    pub(crate) limits: Vec<LimitAnswer>,
    /// The place of the decision in the audit log; absent for a repeat.
    pub(crate) entry: Option<u64>,
}

/// The outcome of a check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckAnswer {
    /// `allowed`.
    #[schema(example = "allowed")]
    pub(crate) status: &'static str,
    /// The value that was asked about.
    #[schema(example = "600.00")]
    pub(crate) ltv: String,
    /// The currency of all amounts here.
    #[schema(example = "USD")]
    pub(crate) currency: String,
    /// What can still be spent now; absent where no limit stands.
    #[schema(example = "400.00")]
    pub(crate) remaining: Option<String>,
    /// The place of the decision in the audit log.
    pub(crate) entry: Option<u64>,
}

/// How a limit stands after a decision. Amounts are decimals.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitAnswer {
    /// The budget's id.
    #[schema(example = "burst")]
    pub(crate) id: String,
    /// `window`, `total` or `each`.
    #[schema(example = "window")]
    pub(crate) kind: &'static str,
    /// The most that it allows.
    pub(crate) limit: String,
    /// What was captured and counts.
    pub(crate) used: String,
    /// What is held.
    pub(crate) held: String,
    /// What can be asked for now.
    pub(crate) remaining: String,
    /// Whether it refuses the amount asked for, once more.
    pub(crate) refuses: bool,
    /// When more than now remains, if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frees_at: Option<String>,
    /// When it no longer refuses that amount, at the latest, if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passes_at: Option<String>,
}

impl From<&Standing> for LimitAnswer {
    fn from(standing: &Standing) -> Self {
        let time = |at: Option<i64>| at.map(|at| UnixMillis(at).rfc3339());
        Self {
            id: public_name(&standing.limit).to_owned(),
            kind: standing.kind.as_str(),
            limit: format_micros(standing.most.into()),
            used: format_micros(standing.used),
            held: format_micros(standing.held),
            remaining: format_micros(standing.remaining),
            refuses: standing.refused,
            frees_at: time(standing.frees_at),
            passes_at: time(standing.passes_at.filter(|_| standing.refused)),
        }
    }
}

/// The limit under which the least remains. A limit on each amount leaves nothing behind and is not looked at.
pub(crate) fn tightest(standings: &[Standing]) -> Option<&Standing> {
    let lasting = standings.iter().filter(|standing| !matches!(standing.kind, LimitKind::Each { .. }));
    lasting.min_by_key(|standing| standing.remaining)
}

/// `POST /v1/authorizations`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorizeBody {
    /// The account that pays, below the tenant; absent: the tenant itself.
    #[serde(default)]
    #[schema(example = "growth/winback")]
    pub(crate) account: String,
    /// How much.
    #[schema(value_type = MoneySchema)]
    pub(crate) amount: Money,
    /// The customer it concerns.
    pub(crate) customer_id: Option<String>,
    /// With a customer: their consent to this is part of the decision.
    #[schema(value_type = Option<String>, example = "marketing")]
    pub(crate) purpose: Option<String>,
    /// How long the money stays held; absent: 900.
    pub(crate) ttl_seconds: Option<i64>,
}

/// `POST /v1/authorizations/{id}/capture`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaptureBody {
    /// Absent: all that is held. What is left is free at once.
    #[schema(value_type = Option<MoneySchema>)]
    pub(crate) amount: Option<Money>,
}

/// An authorization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Authorization)]
pub(crate) struct AuthorizationAnswer {
    /// Its id.
    pub(crate) id: String,
    /// `held`, `denied`, `captured`, `voided` or `expired`.
    #[schema(example = "held")]
    pub(crate) state: &'static str,
    /// The account that pays, below the tenant.
    pub(crate) account: String,
    /// What was asked for.
    #[schema(value_type = MoneySchema)]
    pub(crate) amount: Money,
    /// What was captured.
    #[schema(value_type = MoneySchema)]
    pub(crate) captured: Money,
    /// What refused it; empty unless it was denied.
    pub(crate) refused_by: Vec<String>,
    /// When the hold ends by itself.
    pub(crate) expires_at: String,
}

impl AuthorizationAnswer {
    pub(crate) fn new(known: &Known, currency: Currency) -> Self {
        let Known { id, view } = known;
        Self {
            id: id.to_string(),
            state: state_name(known),
            account: public_account(&view.path).to_owned(),
            amount: Money::new(view.amount, currency),
            captured: Money::new(view.captured, currency),
            refused_by: view.refused_by.iter().map(|limit| public_name(limit).to_owned()).collect(),
            expires_at: UnixMillis(view.until).rfc3339(),
        }
    }
}

fn state_name(known: &Known) -> &'static str {
    match known.view.resolution {
        Some(resolution) => Resolution::as_str(resolution),
        None if known.view.refused_by.is_empty() => "held",
        None => "denied",
    }
}

/// A budget's limit. Amounts are decimals in the currency of the installation.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
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
    /// Each authorization between `least` and `most`.
    Each {
        /// The least; absent: 0.
        #[serde(default)]
        least: Option<String>,
        /// The most.
        #[schema(example = "50.00")]
        most: String,
    },
}

impl LimitBody {
    pub(crate) fn kind(&self) -> Result<LimitKind, ShieldError> {
        let micros = |field, text: &str| parse_micros(text).map_err(|error| ShieldError::invalid(field, error));
        Ok(match self {
            Self::Window { amount, seconds } => {
                LimitKind::Window { amount: micros("limit.amount", amount)?, seconds: *seconds }
            }
            Self::Total { amount } => LimitKind::Total { amount: micros("limit.amount", amount)? },
            Self::Each { least, most } => LimitKind::Each {
                least: least.as_deref().map_or(Ok(0), |least| micros("limit.least", least))?,
                most: micros("limit.most", most)?,
            },
        })
    }
}

impl From<LimitKind> for LimitBody {
    fn from(kind: LimitKind) -> Self {
        let decimal = |micros: i64| format_micros(micros.into());
        match kind {
            LimitKind::Window { amount, seconds } => Self::Window { amount: decimal(amount), seconds },
            LimitKind::Total { amount } => Self::Total { amount: decimal(amount) },
            LimitKind::Each { least, most } => Self::Each { least: Some(decimal(least)), most: decimal(most) },
        }
    }
}

/// `PUT /v1/budgets/{id}`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetBody {
    /// The account that it governs, with everything below; absent: the tenant itself.
    #[serde(default)]
    #[schema(example = "growth")]
    pub(crate) account: String,
    /// What it allows.
    pub(crate) limit: LimitBody,
}

/// A budget and how it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Budget)]
pub(crate) struct BudgetAnswer {
    /// Its id.
    pub(crate) id: String,
    /// The account that it governs, with everything below.
    pub(crate) account: String,
    /// What it allows.
    pub(crate) limit: LimitBody,
    /// What was captured and counts.
    pub(crate) used: String,
    /// What is held.
    pub(crate) held: String,
    /// What can be asked for now.
    pub(crate) remaining: String,
    /// The currency of all amounts here.
    pub(crate) currency: String,
}

impl BudgetAnswer {
    pub(crate) fn new((view, standing): &(LimitView, Standing), currency: Currency) -> Self {
        Self {
            id: public_name(&view.id).to_owned(),
            account: public_account(&view.path).to_owned(),
            limit: view.kind.into(),
            used: format_micros(standing.used),
            held: format_micros(standing.held),
            remaining: format_micros(standing.remaining),
            currency: currency.to_string(),
        }
    }
}

/// A page of budgets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BudgetsAnswer {
    /// In the order of their definition.
    pub(crate) budgets: Vec<BudgetAnswer>,
    /// Send it as `after` for the next page; absent on the last one.
    pub(crate) next: Option<usize>,
}

/// A page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageRequest {
    /// How many, at most 1,000; absent: 100.
    pub(crate) limit: Option<usize>,
    /// From the answer before.
    pub(crate) after: Option<usize>,
}

/// `POST /consent/grant` and `/consent/revoke`.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsentRequest {
    /// The customer.
    pub(crate) customer_id: String,
    /// marketing, analytics, targeting, profiling or data_sharing.
    #[serde(alias = "type")]
    pub(crate) consent_type: String,
}

/// `GET /consent/status`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsentStatusRequest {
    /// The customer.
    pub(crate) customer_id: String,
}

/// What a customer agrees to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsentAnswer {
    /// The customer.
    pub(crate) customer_id: String,
    /// For each purpose whether consent stands.
    #[schema(value_type = std::collections::BTreeMap<String, bool>)]
    pub(crate) consents: std::collections::BTreeMap<Purpose, bool>,
}

/// The right that a person makes use of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum SubjectRequestType {
    /// See the data (GDPR Art. 15).
    Access,
    /// Have them erased (Art. 17).
    Deletion,
    /// Take them along (Art. 20).
    Portability,
    /// Have them put right (Art. 16).
    Rectification,
    /// Have them kept unused (Art. 18).
    Restriction,
    /// Object to their use (Art. 21).
    Objection,
    /// No longer have them sold or shared (CCPA 1798.120).
    OptOut,
}

impl SubjectRequestType {
    const ALL: [(Self, &str); 7] = [
        (Self::Access, "ACCESS"),
        (Self::Deletion, "DELETION"),
        (Self::Portability, "PORTABILITY"),
        (Self::Rectification, "RECTIFICATION"),
        (Self::Restriction, "RESTRICTION"),
        (Self::Objection, "OBJECTION"),
        (Self::OptOut, "OPT_OUT"),
    ];

    /// The name in JSON, queries and the database.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Reads a name; letter case does not matter.
    pub(crate) fn parse(text: &str) -> Result<Self, ShieldError> {
        let found = Self::ALL.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(text));
        found.map(|(kind, _)| kind).ok_or_else(|| {
            let names = Self::ALL.map(|(_, name)| name).join(", ");
            ShieldError::invalid("request_type", format_args!("must be one of {names}"))
        })
    }
}

/// `POST /dsr/create`.
#[derive(Debug, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubjectRequestBody {
    /// The customer.
    pub(crate) customer_id: String,
    /// ACCESS, DELETION, PORTABILITY, RECTIFICATION, RESTRICTION, OBJECTION or OPT_OUT.
    pub(crate) request_type: String,
}

/// A data subject request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubjectRequestAnswer {
    /// Its id.
    pub(crate) request_id: String,
    /// The customer.
    pub(crate) customer_id: String,
    /// The right that is made use of.
    pub(crate) request_type: SubjectRequestType,
    /// `received`.
    pub(crate) status: &'static str,
    /// When it came.
    pub(crate) received_at: String,
    /// When it must be answered: one calendar month later (GDPR Art. 12(3)).
    pub(crate) due_at: String,
}

/// `GET /compliance/report`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReportRequest {
    /// `daily`, `weekly`, `monthly`, a number of days such as `90d`, or a month such as `2026-02`; absent: `monthly`.
    pub(crate) period: Option<String>,
}
