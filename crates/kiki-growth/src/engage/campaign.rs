//! Campaigns: who is written to, what, at which price, within which budget.

use std::time::Duration;

use kiki_types::id::CampaignId;
use kiki_types::{Money, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::template::Text;

/// Weeks ahead that a customer's value is predicted for, unless the audience says otherwise.
pub const HORIZON_WEEKS_DEFAULT: f64 = 52.0;

/// Whom a campaign is for. A bound that is absent does not bind; bounds are inclusive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// Predicted value at the least, in the currency of the order log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_min: Option<f64>,
    /// Predicted value at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_max: Option<f64>,
    /// Probability of being alive at the least, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability_alive_min: Option<f64>,
    /// Probability of being alive at the most, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability_alive_max: Option<f64>,
    /// Weeks ahead; 52 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon_weeks: Option<f64>,
}

/// What every message of a campaign or trigger has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The campaign, or the trigger that stands in its place.
    pub campaign: CampaignId,
    /// Whose money it is: an account below the tenant.
    pub account: String,
    /// What one message costs.
    pub cost: Money,
    /// The subject line.
    pub subject: Text,
    /// The text.
    pub body: Text,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    /// What it sends.
    pub offer: Offer,
    /// What people call it.
    pub name: String,
    /// Whom it is for.
    pub audience: Audience,
    /// What it may spend.
    pub budget: Money,
    /// When it was created.
    pub created_at: UnixMillis,
    /// Where it stands.
    pub status: Status,
    /// How often it was run.
    pub runs: i64,
    /// Until when the last run may write without saying that it is still there.
    pub run_until: UnixMillis,
}

impl Campaign {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> CampaignId {
        self.offer.campaign
    }

    /// How long its run may still be silent at `now` before another one may begin; nothing where none is under way.
    #[must_use]
    pub fn lease_left(&self, now: UnixMillis) -> Duration {
        let left = if self.status == Status::Running { self.run_until.0.saturating_sub(now.0) } else { 0 };
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// Where it stands at `now`: a run that has not been heard of for the length of its lease was interrupted.
    #[must_use]
    pub fn status_at(&self, now: UnixMillis) -> Status {
        if self.status == Status::Running && self.run_until <= now { Status::Interrupted } else { self.status }
    }
}

/// The name of a campaign's budget among shield's limits.
#[must_use]
pub fn budget_id(campaign: CampaignId) -> String {
    format!("campaign-{campaign}")
}

/// One run of a campaign. A former run cannot write after another has taken its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(pub Uuid);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It was not run yet.
    Ready,
    /// It is being run.
    Running,
    /// The last run went through its whole audience.
    Completed,
    /// Shield did not answer: the last run stopped without sending further.
    ShieldUnavailable,
    /// The value service did not answer: the last run stopped.
    ValueUnavailable,
    /// The process ended during the last run.
    Interrupted,
    /// The last run stopped for a reason that the log tells.
    Failed,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::Running,
        Self::Completed,
        Self::ShieldUnavailable,
        Self::ValueUnavailable,
        Self::Interrupted,
        Self::Failed,
    ];

    /// The name in JSON and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::ShieldUnavailable => "shield_unavailable",
            Self::ValueUnavailable => "value_unavailable",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// The text names no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the status of a campaign")]
pub struct UnknownStatus;
