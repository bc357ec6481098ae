//! The shapes of requests and answers: here those of spending, which the others build on.

mod limit;
mod people;
mod policy;
mod receipt;
mod v1;

use std::fmt;

use kiki_types::Currency;
use kiki_types::money::{Micros, parse_micros};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::ShieldError;
pub(crate) use limit::{
    APPROVAL_SECONDS, LimitAnswer, LimitBody, Mode, Number, check_limit, check_values, moment, numbers, sorted,
    tightest,
};
pub(crate) use people::{ConsentAnswer, ConsentRequest, ConsentStatusRequest, ReportRequest};
pub(crate) use policy::{
    DegradedAnswer, IntentAnswer, IntentBody, PolicyAnswer, PolicyBody, PolicyVersionAnswer, PolicyVersionsAnswer,
    RollbackBody, RulingAnswer, act,
};
pub(crate) use receipt::{RECEIPT, ReceiptAnswer};
pub(crate) use v1::{
    AmountBody, ApprovalsAnswer, ApprovalsRequest, AuthorizationAnswer, AuthorizeBody, BudgetAnswer, BudgetBody,
    BudgetsAnswer, CaptureBody, Constraint, DryRunAnswer, MandateBody, RecordAnswer, RecordBody, StopBody, StopsAnswer,
    StopsRequest,
};

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
    /// `allowed`, or `pending` while it waits for approval.
    #[schema(example = "allowed")]
    pub(crate) status: &'static str,
    /// Its id, if it can be looked at: it waits, or it came with a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// What was spent.
    #[schema(value_type = String, example = "100.00")]
    pub(crate) amount: Micros,
    /// The currency of all amounts here.
    #[schema(value_type = String, example = "USD")]
    pub(crate) currency: Currency,
    /// What can still be spent now: the least that remains under any limit; absent where no limit stands.
    #[schema(value_type = Option<String>, example = "400.00")]
    pub(crate) remaining: Option<Micros>,
    /// When more frees up, if nothing else happens.
    pub(crate) frees_at: Option<String>,
    /// Each limit on the account's path.
    pub(crate) limits: Vec<LimitAnswer>,
    /// The place of the decision in the audit log; absent for a repeat.
    pub(crate) entry: Option<u64>,
    /// Where the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
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
    /// Where the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

/// A page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageRequest {
    /// How many, at most 1,000; absent: 100.
    pub(crate) limit: Option<usize>,
    /// From the answer before.
    pub(crate) after: Option<u32>,
}
