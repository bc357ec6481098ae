//! The shapes of authorizations and budgets.

use kiki_kit::schema::MoneySchema;
use kiki_spend::{LimitKind, LimitView, Resolution, Standing};
use kiki_types::money::{format_micros, parse_micros};
use kiki_types::{Currency, Money, UnixMillis};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ShieldError;
use crate::names::{public_account, public_name};
use crate::service::Known;

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
