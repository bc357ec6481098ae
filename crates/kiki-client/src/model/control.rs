//! Stops, intents, consent, health.

use std::collections::BTreeMap;

use kiki_types::{Money, Purpose};
use serde::{Deserialize, Serialize};

/// An account that is stopped, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stop {
    /// The account; empty: the whole tenant.
    pub account: String,
    /// Why, if it was said.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What somebody means to do, put before the policy without reserving anything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intent {
    /// The account that would pay.
    pub account: String,
    /// `read`, `write`, `execute` or `mutate`.
    pub action: String,
    /// What it would be done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What it would cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// What it would be spent on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// How risky the caller thinks it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<u8>,
}

/// What the policy says of an intent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// `allow`, `degrade`, `ask` or `deny`.
    pub verdict: String,
    /// What each rule set says.
    #[serde(default)]
    pub votes: Vec<Vote>,
    /// Why, for a person.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// What else was told.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// What one rule set says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Vote {
    /// The rule set.
    #[serde(default, alias = "rules", alias = "rule", alias = "set")]
    pub name: String,
    /// `allow`, `degrade`, `ask` or `deny`.
    #[serde(default, alias = "vote")]
    pub verdict: String,
    /// What else was told.
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// What a customer agrees to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Consents {
    /// The customer.
    pub customer_id: String,
    /// For each purpose whether consent stands.
    pub consents: BTreeMap<Purpose, bool>,
}

/// How the service is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Its name.
    pub service: String,
    /// `healthy`, `degraded` or `unhealthy`.
    pub status: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}
