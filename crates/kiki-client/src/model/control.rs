//! Intents, consent, health.

use std::collections::BTreeMap;

use kiki_types::{Money, Purpose};
use serde::{Deserialize, Serialize};

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
    /// How risky the caller thinks it is, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<u8>,
}

/// What a policy says, from the freest to the most restrictive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ruling {
    /// As asked.
    Allow,
    /// With a smaller amount, in a safer mode, or both.
    Degrade,
    /// A person is to approve first.
    Ask,
    /// Not at all.
    Deny,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What the policy says of an intent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The most restrictive vote.
    pub verdict: Ruling,
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
    /// Its name.
    #[serde(default)]
    pub rule_set: String,
    /// Absent: no rule of the set applied.
    #[serde(default)]
    pub verdict: Option<Ruling>,
    /// The rules that decided.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Their reasons.
    #[serde(default)]
    pub reasons: Vec<String>,
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
