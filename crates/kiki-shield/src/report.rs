//! Reports: computed from the log and the registers, nothing written by hand.
//!
//! Here the report of the seeds. [`service`] makes the others, each a [`document`] that has three forms; every one of them
//! names the checkpoint of the log that it was counted from.

mod api;
mod breaches;
mod ccpa;
mod controls;
mod count;
mod document;
mod facts;
mod page;
mod period;
mod processing;
pub(crate) mod recipients;
mod repo;
mod request;
mod service;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use kiki_kit::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ShieldError;
use crate::service::{Caller, Shield};
pub use api::routes;
use document::ReportLog;
pub(crate) use period::DAY_MS;
use period::parse_period;
pub use recipients::Configured;
pub use service::{Days, Reports, Statements};

/// What was decided in a period.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ComplianceReport)]
pub(crate) struct ReportAnswer {
    /// The first moment of the period.
    from: String,
    /// The first moment after it.
    to: String,
    /// Entries of the log in the period.
    entries: u64,
    /// By kind of event, how many were `ALLOWED`, `DENIED` and `FAILED`.
    events: BTreeMap<String, BTreeMap<String, u64>>,
    /// Why requests were denied, and how often.
    denials: BTreeMap<String, u64>,
    /// Subject requests that came in during the period: by type, how many are in which state.
    subject_requests: BTreeMap<String, BTreeMap<String, i64>>,
    /// Subject requests that should have been answered by now and are not.
    subject_requests_overdue: i64,
    /// The state of the log that all this was counted from; absent until the first checkpoint is signed.
    log: Option<ReportLog>,
}

impl Shield {
    /// Counts what the tenant's log holds of `period`.
    pub(crate) async fn report(&self, caller: &Caller, period: &str) -> Result<ReportAnswer, Problem> {
        let tenant = caller.principal.tenant.clone();
        let now = self.0.clock.now();
        let (from, to) = parse_period(period, now)?;
        let (counted, checkpoint) = self.counted(&tenant, (from, to)).await?;
        let store = &self.0.store;
        let mut subject_requests: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        for tally in crate::subject::repo::tallies(store, &tenant, from, to).await.map_err(ShieldError::from)? {
            subject_requests.entry(tally.kind).or_default().insert(tally.state, tally.count);
        }
        Ok(ReportAnswer {
            from: from.rfc3339(),
            to: to.rfc3339(),
            entries: counted.entries,
            events: counted.events,
            denials: counted.denials,
            subject_requests,
            subject_requests_overdue: crate::subject::repo::overdue(store, &tenant, now)
                .await
                .map_err(ShieldError::from)?,
            log: checkpoint.as_ref().map(ReportLog::from),
        })
    }
}
