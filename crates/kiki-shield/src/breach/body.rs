//! The shapes of the register in JSON.

use kiki_types::UnixMillis;
use kiki_types::id::BreachId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::Breach;

/// `POST /v1/breaches`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordBreachBody {
    /// When somebody became aware of it, from which the 72 hours count; absent: now. It is said once.
    #[schema(example = "2026-02-01T09:30:00Z")]
    pub(super) aware_at: Option<String>,
    /// What was broken: `confidentiality`, `integrity`, `availability`.
    #[schema(example = json!(["confidentiality"]))]
    pub(super) nature: Vec<String>,
    /// Categories of personal data, such as stores declare them: see the report `processing`.
    #[serde(default)]
    #[schema(example = json!(["contact", "purchases"]))]
    pub(super) categories: Vec<String>,
    /// About how many persons.
    #[serde(default)]
    pub(super) persons_about: i64,
    /// About how many records.
    #[serde(default)]
    pub(super) records_about: i64,
    /// `unlikely`, `likely` or `high`.
    #[schema(example = "likely")]
    pub(super) risk: String,
    /// What happened. This and the following texts are sealed at rest.
    #[serde(default)]
    pub(super) facts: String,
    /// What follows from it.
    #[serde(default)]
    pub(super) effects: String,
    /// What was done about it.
    #[serde(default)]
    pub(super) measures: String,
    /// Why the risk is unlikely, where it is.
    pub(super) unlikely_because: Option<String>,
}

/// `PATCH /v1/breaches/{id}`: what has changed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeBreachBody {
    pub(super) nature: Option<Vec<String>>,
    pub(super) categories: Option<Vec<String>>,
    pub(super) persons_about: Option<i64>,
    pub(super) records_about: Option<i64>,
    pub(super) risk: Option<String>,
    pub(super) facts: Option<String>,
    pub(super) effects: Option<String>,
    pub(super) measures: Option<String>,
    /// Why the risk is unlikely. Without it a breach of that risk cannot be closed.
    pub(super) unlikely_because: Option<String>,
    /// When the supervisory authority was told, not before somebody became aware. After 72 hours it wants a `delay_reason`.
    pub(super) authority_notified_at: Option<String>,
    /// Why it was told late.
    pub(super) delay_reason: Option<String>,
    /// When the persons were told (Art. 34 GDPR), not before somebody became aware.
    pub(super) persons_notified_at: Option<String>,
    /// Why they need not be told (Art. 34(3) GDPR).
    pub(super) persons_not_told_because: Option<String>,
    /// Ends it, or opens it again.
    pub(super) closed: Option<bool>,
}

/// A breach of personal data.
#[derive(Serialize, ToSchema)]
#[schema(as = Breach)]
pub(super) struct BreachAnswer {
    id: String,
    pub(super) aware_at: String,
    /// 72 hours later.
    pub(super) notify_by: String,
    /// How the telling of the authority stands: `not_required`, `due`, `overdue`, `in_time` or `late`.
    #[schema(example = "due")]
    pub(super) notification: &'static str,
    pub(super) nature: Vec<&'static str>,
    pub(super) categories: Vec<String>,
    pub(super) persons_about: i64,
    pub(super) records_about: i64,
    pub(super) risk: &'static str,
    pub(super) facts: String,
    pub(super) effects: String,
    pub(super) measures: String,
    pub(super) unlikely_because: Option<String>,
    pub(super) authority_notified_at: Option<String>,
    pub(super) delay_reason: Option<String>,
    pub(super) persons_notified_at: Option<String>,
    pub(super) persons_not_told_because: Option<String>,
    pub(super) closed_at: Option<String>,
    /// What must be said before it can be closed.
    pub(super) missing: Vec<&'static str>,
}

impl BreachAnswer {
    pub(super) fn new(breach: Breach<String>, now: UnixMillis) -> Self {
        let time = |at: Option<UnixMillis>| at.map(UnixMillis::rfc3339);
        Self {
            id: breach.id.to_string(),
            aware_at: breach.aware_at.rfc3339(),
            notify_by: breach.notify_by().rfc3339(),
            notification: breach.notification(now).as_str(),
            nature: breach.natures.iter().map(|nature| nature.as_str()).collect(),
            missing: breach.missing(),
            persons_about: breach.persons_about,
            records_about: breach.records_about,
            risk: breach.risk.as_str(),
            authority_notified_at: time(breach.authority_at),
            persons_notified_at: time(breach.persons_at),
            closed_at: time(breach.closed_at),
            categories: breach.categories,
            facts: breach.texts.facts,
            effects: breach.texts.effects,
            measures: breach.texts.measures,
            unlikely_because: breach.texts.risk_reason,
            delay_reason: breach.texts.delay_reason,
            persons_not_told_because: breach.texts.persons_reason,
        }
    }
}

/// Breaches of the tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Breaches)]
pub(super) struct BreachesAnswer {
    /// The newest first.
    pub(super) breaches: Vec<BreachAnswer>,
    /// Send it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

/// `GET /v1/breaches`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BreachesRequest {
    /// How many, at most 1,000; absent: 100.
    pub(super) limit: Option<usize>,
    /// From the answer before.
    #[param(value_type = Option<String>)]
    pub(super) after: Option<BreachId>,
}
