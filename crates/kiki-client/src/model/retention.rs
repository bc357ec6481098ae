//! What is told about retention.

use serde::{Deserialize, Serialize};

/// What a run of retention would remove now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetentionPlan {
    /// The time that it is counted for (RFC 3339).
    pub at: String,
    /// By store.
    pub due: Vec<RetentionDue>,
    /// All together.
    pub rows: u64,
}

/// What a run of retention removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetentionRun {
    /// By store.
    pub removed: Vec<RetentionDue>,
    /// All together.
    pub rows: u64,
    /// Stores that failed; the next run tries them again.
    pub failed: Vec<String>,
    /// Whether nothing is left but what failed.
    pub done: bool,
}

/// What of a store is, or was, past its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetentionDue {
    /// The store.
    pub store: String,
    /// How long it is kept: `audit`, `customers`, `marketing`, `sessions`.
    pub classes: Vec<String>,
    /// Rows, files or people.
    pub rows: u64,
    /// The oldest of them (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
}
