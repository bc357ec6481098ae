//! Authorizations: what is asked for, and what became of it.

use std::fmt;
use std::time::Duration;

use kiki_types::id::AuthorizationId;
use kiki_types::{Money, Purpose, UnixMillis};
use serde::{Deserialize, Serialize};

use super::budget::LimitStanding;
use super::rfc3339;

/// A request for money.
///
/// ```
/// use kiki_client::{Currency, Money, Request};
/// use std::time::Duration;
///
/// let request = Request::new("growth/winback", Money::new(2_500_000, Currency::USD))
///     .category("llm")
///     .payee("openai")
///     .ttl(Duration::from_secs(120))
///     .idempotency_key("order-17");
/// assert_eq!(request.account(), "growth/winback");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    account: String,
    amount: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payee: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<serde_json::Number>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
    #[serde(skip)]
    pub(crate) key: Option<String>,
}

impl Request {
    /// `amount` from `account`, a path such as `growth/winback`; empty: the tenant itself.
    #[must_use]
    pub fn new(account: impl Into<String>, amount: Money) -> Self {
        Self {
            account: account.into(),
            amount,
            category: None,
            payee: None,
            customer_id: None,
            purpose: None,
            ttl_seconds: None,
            action: None,
            target: None,
            risk: None,
            dry_run: false,
            key: None,
        }
    }

    /// What it is spent on, for limits that allow or deny by category.
    #[must_use]
    pub fn category(self, category: impl Into<String>) -> Self {
        Self { category: Some(category.into()), ..self }
    }

    /// Who is paid, for limits that allow or deny by payee.
    #[must_use]
    pub fn payee(self, payee: impl Into<String>) -> Self {
        Self { payee: Some(payee.into()), ..self }
    }

    /// The customer it concerns, whose consent to `purpose` becomes part of the decision.
    #[must_use]
    pub fn customer(self, customer_id: impl Into<String>, purpose: Purpose) -> Self {
        Self { customer_id: Some(customer_id.into()), purpose: Some(purpose), ..self }
    }

    /// How long the money stays held if nobody resolves it; whole seconds, rounded up. It is what frees the money when the
    /// process is killed: choose it a little longer than the work can take.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        Self { ttl_seconds: Some(seconds), ..self }
    }

    /// What is about to be done, for policies: `read`, `write`, `execute` or `mutate`.
    #[must_use]
    pub fn action(self, action: impl Into<String>) -> Self {
        Self { action: Some(action.into()), ..self }
    }

    /// What it is done to, for policies.
    #[must_use]
    pub fn target(self, target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..self }
    }

    /// How risky the caller thinks it is, 0 to 100, for policies.
    #[must_use]
    pub fn risk(self, risk: u8) -> Self {
        Self { risk: Some(risk.into()), ..self }
    }

    /// The key under which repeats of this request count once: 1 to 255 visible ASCII characters. Without it each call
    /// makes one of its own, which covers the attempts of that call. Give one to be safe across restarts of the program;
    /// then a second call gets the first one's authorization.
    #[must_use]
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The account that pays.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// How much is asked for.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    pub(crate) fn record(&self, amount: Money) -> Record<'_> {
        Record { account: &self.account, amount, category: self.category.as_deref(), payee: self.payee.as_deref() }
    }
}

/// `POST /v1/records`.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'a> {
    account: &'a str,
    amount: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payee: Option<&'a str>,
}

/// Money that was gone already, counted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Recorded {
    /// Its id, by which it can be looked at and refunded.
    #[serde(default)]
    pub id: Option<AuthorizationId>,
    /// The budgets that it went beyond.
    #[serde(default)]
    pub over: Vec<String>,
}

/// Where an authorization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// The money is reserved.
    Held,
    /// The money is reserved while a person decides.
    Pending,
    /// The rules refused it.
    Denied,
    /// Settled: the money has moved.
    Captured,
    /// Given back.
    Voided,
    /// Given back by time.
    Expired,
    /// A person refused it.
    Rejected,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Pending => "pending",
            Self::Denied => "denied",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Unknown => "in a state unknown here",
        })
    }
}

/// A reservation of money and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Authorization {
    /// Its id.
    pub id: AuthorizationId,
    /// Where it stands.
    pub state: State,
    /// The account that pays.
    #[serde(default)]
    pub account: String,
    /// What is or was held: what was asked for, or less where a policy says so.
    pub amount: Money,
    /// What was captured.
    pub captured: Money,
    /// What of it was refunded.
    #[serde(default)]
    pub refunded: Option<Money>,
    /// What refused it; empty unless it was denied.
    #[serde(default)]
    pub refused_by: Vec<String>,
    /// When the hold, or the wait for approval, ends by itself.
    #[serde(default, with = "rfc3339")]
    pub expires_at: Option<UnixMillis>,
}

/// What would have been decided: the answer of a dry run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// Held, pending or denied; for a key that was used before, what its repeat is answered.
    pub would_be: State,
    /// What would refuse.
    #[serde(default)]
    pub refused_by: Vec<String>,
    /// Limits in shadow that would refuse.
    #[serde(default)]
    pub would_refuse: Vec<String>,
    /// How each limit on the way stands.
    #[serde(default)]
    pub limits: Vec<LimitStanding>,
    /// When it would pass.
    #[serde(default, with = "rfc3339")]
    pub passes_at: Option<UnixMillis>,
}
