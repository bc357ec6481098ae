//! The shapes of authorizations and budgets.

use kiki_kit::schema::MoneySchema;
use kiki_spend::{LimitView, Standing};
use kiki_types::{Currency, Money, UnixMillis};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{DegradedAnswer, LimitAnswer, LimitBody, Mode, Number, ReceiptAnswer, RulingAnswer, numbers};
use crate::names::{public_account, public_name};
use crate::service::{Known, Shield};

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
    /// With a purpose: how the customer is reached: `email`, `sms`, `push`, `phone`, `post` or `web`; absent: consent by
    /// all channels is wanted.
    #[schema(example = "email")]
    pub(crate) channel: Option<String>,
    /// What the money is for, such as a merchant category: 1 to 128 visible ASCII characters without `@`.
    #[schema(example = "ads")]
    pub(crate) category: Option<String>,
    /// Whom it goes to, by an id that is no personal address.
    #[schema(example = "meta-ads")]
    pub(crate) payee: Option<String>,
    /// What it is spent to do: `read`, `write`, `execute` or `mutate`; absent: `execute`. For the policy.
    #[schema(example = "execute")]
    pub(crate) action: Option<String>,
    /// To what. For the policy.
    #[schema(example = "campaign/winback")]
    pub(crate) target: Option<String>,
    /// How risky it is, 0 to 100. For the policy.
    pub(crate) risk: Option<u8>,
    /// How long the money stays held; absent: 900.
    pub(crate) ttl_seconds: Option<i64>,
    /// Answer what would be decided now, and decide nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// `POST /v1/authorizations/{id}/increase` and `/refund`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AmountBody {
    /// How much.
    #[schema(value_type = MoneySchema)]
    pub(crate) amount: Money,
}

/// `POST /v1/records`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordBody {
    /// The account that paid, below the tenant; absent: the tenant itself.
    #[serde(default)]
    #[schema(example = "growth/winback")]
    pub(crate) account: String,
    /// How much is gone.
    #[schema(value_type = MoneySchema)]
    pub(crate) amount: Money,
    /// What it was for.
    pub(crate) category: Option<String>,
    /// Whom it went to.
    pub(crate) payee: Option<String>,
}

/// What is booked of money that was already gone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordAnswer {
    /// Its id, by which it can be looked at and refunded.
    pub(crate) id: String,
    /// `captured`.
    pub(crate) state: &'static str,
    /// The account that paid, below the tenant.
    pub(crate) account: String,
    /// How much.
    #[schema(value_type = MoneySchema)]
    pub(crate) amount: Money,
    /// The limits that it broke.
    pub(crate) over: Vec<String>,
    /// The place of the decision in the audit log; absent for a repeat.
    pub(crate) entry: Option<u64>,
    /// Where the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

/// What would be decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRunAnswer {
    /// `held`, `pending` or `denied`; for a key that was used before, what its repeat is answered.
    #[schema(example = "held")]
    pub(crate) would_be: &'static str,
    /// What would refuse it.
    pub(crate) refused_by: Vec<String>,
    /// Limits in shadow that would refuse it.
    pub(crate) would_refuse: Vec<String>,
    /// How each limit on the account's path stands.
    pub(crate) limits: Vec<LimitAnswer>,
    /// When the same request would pass, if nothing else happens; absent if it passes, or if waiting does not help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passes_at: Option<String>,
    /// What the policy says; absent: none is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<RulingAnswer>,
    /// What would be held, if the policy makes it less than was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<DegradedAnswer>,
}

/// `POST /v1/stops` and `DELETE /v1/stops`.
#[derive(Debug, Default, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StopBody {
    /// The account to stop, with everything below; absent: all of the tenant.
    #[serde(default)]
    #[schema(example = "growth/winback")]
    pub(crate) account: String,
}

/// `GET /v1/stops`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StopsRequest {
    /// How many, at most 1,000; absent: 100.
    pub(crate) limit: Option<usize>,
    /// From the answer before.
    pub(crate) after: Option<String>,
}

/// The accounts at which nothing new is authorized.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StopsAnswer {
    /// Below the tenant, in the order of their names; empty is the tenant itself. Everything below is stopped too.
    pub(crate) stopped: Vec<String>,
    /// Send it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Where the log has what was decided now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

/// `GET /v1/approvals`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApprovalsRequest {
    /// How many, at most 1,000; absent: 100.
    pub(crate) limit: Option<usize>,
    /// From the answer before.
    pub(crate) after: Option<String>,
}

/// Requests that wait for approval.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovalsAnswer {
    /// The oldest first.
    pub(crate) approvals: Vec<AuthorizationAnswer>,
    /// Send it as `after` for the next page; absent on the last one.
    pub(crate) next: Option<String>,
}

/// `PUT /v1/mandates/{id}`: what a user lets an agent pay, in the words of the Agent Payments Protocol.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MandateBody {
    /// The account that the agent pays from, with everything below.
    #[schema(example = "shopping/agent-7")]
    pub(crate) account: String,
    /// The constraints of an open payment mandate. Each becomes a budget; one that cannot be kept is refused.
    pub(crate) constraints: Vec<Constraint>,
}

/// A constraint of an open payment mandate (AP2).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", deny_unknown_fields)]
pub(crate) enum Constraint {
    /// The amount of each payment, in minor units of the currency.
    #[serde(rename = "payment.amount_range")]
    AmountRange {
        /// ISO 4217.
        currency: String,
        /// The most.
        max: i64,
        /// The least; absent: 0.
        min: Option<i64>,
    },
    /// The amount of all payments, in major units of the currency.
    #[serde(rename = "payment.budget")]
    Budget {
        /// ISO 4217.
        currency: String,
        /// The most: a number or a decimal text.
        max: super::Decimal,
    },
    /// Whom may be paid.
    #[serde(rename = "payment.allowed_payees")]
    AllowedPayees {
        /// By their ids.
        allowed: Vec<Merchant>,
    },
    /// How often may be paid.
    #[serde(rename = "payment.agent_recurrence")]
    AgentRecurrence {
        /// `ON_DEMAND`, or once in each period: `DAILY`, `WEEKLY`, `MONTHLY`, `QUARTERLY`, `ANNUALLY`.
        frequency: String,
        /// In all.
        max_occurrences: Option<u32>,
    },
    /// When may be paid.
    #[serde(rename = "payment.execution_date")]
    ExecutionDate {
        /// The first moment or day.
        not_before: Option<String>,
        /// The last moment or day.
        not_after: Option<String>,
    },
    /// One that is not known, and so refused.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// A merchant, as mandates name one.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Merchant {
    /// What requests name as their payee.
    pub(crate) id: String,
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
    /// `held`, `pending`, `denied`, `captured`, `voided`, `expired` or `rejected`.
    #[schema(example = "held")]
    pub(crate) state: &'static str,
    /// The account that pays, below the tenant.
    pub(crate) account: String,
    /// What is or was held: what was asked for, or less where the policy says so.
    #[schema(value_type = MoneySchema)]
    pub(crate) amount: Money,
    /// What was captured.
    #[schema(value_type = MoneySchema)]
    pub(crate) captured: Money,
    /// What of it came back.
    #[schema(value_type = MoneySchema)]
    pub(crate) refunded: Money,
    /// What refused it; empty unless it was denied.
    pub(crate) refused_by: Vec<String>,
    /// When the hold, or the wait for approval, ends by itself.
    pub(crate) expires_at: String,
    /// What the policy said; told with the decision alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<RulingAnswer>,
    /// What the policy made of it, if less than was asked for; told with the decision and its repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) degraded: Option<DegradedAnswer>,
    /// Where the log has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

impl AuthorizationAnswer {
    pub(crate) fn new(known: &Known, shield: &Shield) -> Self {
        let Known { id, view, entry } = known;
        let currency = shield.0.currency;
        Self {
            id: id.to_string(),
            state: view.status.as_str(),
            account: public_account(&view.path).to_owned(),
            amount: Money::new(view.amount, currency),
            captured: Money::new(view.captured, currency),
            refunded: Money::new(view.refunded, currency),
            refused_by: view.refused_by.iter().map(|limit| public_name(limit).to_owned()).collect(),
            expires_at: UnixMillis(view.until).rfc3339(),
            policy: None,
            degraded: None,
            receipt: shield.receipt(*entry),
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
    /// `enforce`, or `shadow`: decisions tell what it would refuse, and do not heed it.
    #[serde(default)]
    pub(crate) mode: Mode,
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
    /// Whether it refuses, or only tells.
    pub(crate) mode: Mode,
    /// What has moved and counts; absent where the limit counts nothing.
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
    /// When more than now remains, at the latest, if nothing else happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frees_at: Option<String>,
    /// The currency of all amounts here.
    pub(crate) currency: String,
    /// Where the log has what was decided now; absent where it stood so before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptAnswer>,
}

impl BudgetAnswer {
    pub(crate) fn new((view, standing): &(LimitView, Standing), currency: Currency) -> Self {
        let [_, used, held, remaining] = numbers(standing);
        Self {
            id: public_name(&view.id).to_owned(),
            account: public_account(&view.path).to_owned(),
            limit: (&view.kind).into(),
            mode: Mode::of(view.is_shadow),
            used,
            held,
            remaining,
            frees_at: standing.frees_at.map(|at| UnixMillis(at).rfc3339()),
            currency: currency.to_string(),
            receipt: None,
        }
    }
}

/// A page of budgets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BudgetsAnswer {
    /// In an order that stays.
    pub(crate) budgets: Vec<BudgetAnswer>,
    /// Send it as `after` for the next page; absent on the last one.
    pub(crate) next: Option<u32>,
}
