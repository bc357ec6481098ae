//! HTTP of retention.

use std::time::Duration;

use axum::extract::State;
use kiki_kit::authorisation::{Allowed, RemoteNetwork, can};
use kiki_kit::extract::Json;
use kiki_kit::problem::Problem;
use kiki_store::personal::Class;
use kiki_types::UnixMillis;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::body::{ClassAnswer, DueAnswer, RetentionAnswer, RetentionRunAnswer};
use super::service::{Due, Retention};
use crate::api::caller;

/// How long one call runs at the most: what is left is for the next one.
const BUDGET: Duration = Duration::from_secs(2);

/// The paths of retention.
#[must_use]
pub fn routes(retention: Retention) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(plan)).routes(routes!(run)).with_state(retention)
}

/// The shapes.
mod body {
    use serde::Serialize;
    use utoipa::ToSchema;

    /// What a run of retention would remove now.
    #[derive(Serialize, ToSchema)]
    #[schema(as = Retention)]
    pub(super) struct RetentionAnswer {
        /// The time that it is counted for.
        pub(super) at: String,
        /// How long each class is kept.
        pub(super) classes: Vec<ClassAnswer>,
        /// By store.
        pub(super) due: Vec<DueAnswer>,
        /// All together.
        pub(super) rows: u64,
    }

    /// How long a class of data is kept.
    #[derive(Serialize, ToSchema)]
    #[schema(as = RetentionClass)]
    pub(super) struct ClassAnswer {
        /// `audit`, `customers`, `marketing` or `sessions`.
        #[schema(example = "customers")]
        pub(super) class: &'static str,
        /// For so many days.
        pub(super) days: u32,
        /// What is older may go.
        pub(super) cutoff: String,
    }

    /// What of a store is past its time.
    #[derive(Serialize, ToSchema)]
    #[schema(as = RetentionDue)]
    pub(super) struct DueAnswer {
        /// The store; `people` are those of whom nothing was heard for long, who are erased from all stores.
        #[schema(example = "messages")]
        pub(super) store: &'static str,
        /// Its classes.
        pub(super) classes: Vec<&'static str>,
        /// Rows, files or people.
        pub(super) rows: u64,
        /// The oldest of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) oldest: Option<String>,
    }

    /// What a run of retention removed.
    #[derive(Serialize, ToSchema)]
    #[schema(as = RetentionRun)]
    pub(super) struct RetentionRunAnswer {
        /// By store.
        pub(super) removed: Vec<DueAnswer>,
        /// All together.
        pub(super) rows: u64,
        /// Stores that failed; the next run tries them again.
        pub(super) failed: Vec<&'static str>,
        /// Whether nothing is left: a call runs for some seconds.
        pub(super) done: bool,
    }
}

impl From<Due> for DueAnswer {
    fn from(due: Due) -> Self {
        Self {
            store: due.store,
            classes: due.classes.into_iter().map(Class::as_str).collect(),
            rows: due.rows,
            oldest: due.oldest.map(UnixMillis::rfc3339),
        }
    }
}

/// What was kept long enough and would go: a dry run.
#[utoipa::path(get, path = "/v1/retention", tag = "compliance", responses((status = 200, body = RetentionAnswer)))]
async fn plan(
    State(retention): State<Retention>,
    allowed: Allowed<can::ComplianceRead>,
) -> Result<Json<RetentionAnswer>, Problem> {
    let plan = retention.plan(&allowed.principal().tenant).await?;
    let class = |class: Class| {
        let (days, cutoff) = (retention.days().of(class)?, plan.cutoffs.of(class)?);
        Some(ClassAnswer { class: class.as_str(), days, cutoff: cutoff.rfc3339() })
    };
    let classes = [Class::Audit, Class::Customers, Class::Marketing, Class::Sessions];
    Ok(Json(RetentionAnswer {
        at: plan.cutoffs.now.rfc3339(),
        classes: classes.into_iter().filter_map(class).collect(),
        rows: plan.due.iter().map(|due| due.rows).sum(),
        due: plan.due.into_iter().map(DueAnswer::from).collect(),
    }))
}

/// Remove what was kept long enough.
///
/// It happens by itself once a day. People of whom nothing was heard for long are erased as by a request; who is under a
/// legal hold, had processing restricted, or has a request open, stays. A repeat removes what is past its time by then.
#[utoipa::path(post, path = "/v1/retention/run", tag = "compliance",
    responses((status = 200, body = RetentionRunAnswer)))]
async fn run(
    State(retention): State<Retention>,
    allowed: Allowed<can::RetentionWrite>,
    network: RemoteNetwork,
) -> Result<Json<RetentionRunAnswer>, Problem> {
    let done = retention.run(&caller(&allowed, network), Some(BUDGET)).await?;
    Ok(Json(RetentionRunAnswer {
        rows: done.rows(),
        failed: done.failed,
        done: done.is_whole,
        removed: done.removed.into_iter().map(DueAnswer::from).collect(),
    }))
}
