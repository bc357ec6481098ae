//! What is told about consent.

use kiki_types::Purpose;
use serde::{Deserialize, Serialize};

/// What stands of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConsentStanding {
    /// What was said about each purpose, for all channels or for one.
    pub consents: Vec<ConsentStands>,
    /// What stands against all of it: `do_not_sell`, `restricted`, `objected`.
    pub bars: Vec<String>,
}

/// What was said about a purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConsentStands {
    /// The purpose.
    pub purpose: Purpose,
    /// `any`, or one channel.
    pub channel: String,
    /// Whether a decision that names it passes now.
    pub stands: bool,
    /// When it ends (RFC 3339); absent: never, or it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// An act of the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConsentRecord {
    /// Its id.
    pub id: String,
    /// `grant`, `revoke`, `bar` or `unbar`.
    pub act: String,
    /// What it is about; absent for a bar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// `any`, or one channel; absent for a bar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What stands against a customer's consents, or no longer does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar: Option<String>,
    /// `noted`, `awaiting`, `standing` or `void`.
    pub state: String,
    /// The legal basis.
    pub basis: String,
    /// By which way it came.
    pub source: String,
    /// When it was done (RFC 3339).
    pub at: String,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// Where the log has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// Where the log has a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Receipt {
    /// The log's name.
    pub log: String,
    /// The place of the entry.
    pub index: u64,
}
