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
mod repo;
mod request;
mod service;
mod summary;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use kiki_kit::problem::Problem;
use kiki_types::UnixMillis;
use kiki_types::event::{AuditEvent, Level};
use kiki_types::id::SubjectRequestId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ShieldError;
use crate::jobs;
use crate::repo::SubjectRequest;
use crate::service::{Caller, Shield};
use crate::subject::model::Kind;
pub use api::routes;
use document::ReportLog;
pub(crate) use period::DAY_MS;
use period::parse_period;
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
    /// Opens a subject request; its audit entry follows through the outbox.
    pub(crate) async fn open_subject_request(
        &self,
        caller: &Caller,
        customer_id: &str,
        kind: Kind,
    ) -> Result<SubjectRequest, ShieldError> {
        let tenant = &caller.principal.tenant;
        let who = self.somebody(tenant, customer_id).await?;
        let now = self.0.clock.now();
        let id = SubjectRequestId::new(self.0.ids.as_ref());
        let due_at = a_month_after(now);
        let request = SubjectRequest { id, customer_id: customer_id.to_owned(), kind, received_at: now, due_at };
        let resource = format!("subject_request/{id}");
        let event = AuditEvent {
            id: self.0.ids.uuid(),
            at: now,
            level: Level::Info,
            customer: kiki_spend::Digest(who.pseudonym).to_string(),
            reason: kind.as_str().to_owned(),
            data: "subject_request".to_owned(),
            ..self.draft(caller, "dsr.create", "create", &resource)
        };
        let mut tx = self.0.store.begin().await?;
        crate::repo::insert(&mut tx, tenant, &request).await?;
        jobs::publish(&mut tx, &event)?;
        tx.commit().await?;
        Ok(request)
    }

    /// Counts what the tenant's log holds of `period`.
    pub(crate) async fn report(&self, caller: &Caller, period: &str) -> Result<ReportAnswer, Problem> {
        let tenant = caller.principal.tenant.clone();
        let now = self.0.clock.now();
        let (from, to) = parse_period(period, now)?;
        let (counted, checkpoint) = self.counted(&tenant, (from, to)).await?;
        let store = &self.0.store;
        let mut subject_requests: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        for tally in crate::repo::tallies(store, &tenant, from, to).await.map_err(ShieldError::from)? {
            subject_requests.entry(tally.kind).or_default().insert(tally.state, tally.count);
        }
        Ok(ReportAnswer {
            from: from.rfc3339(),
            to: to.rfc3339(),
            entries: counted.entries,
            events: counted.events,
            denials: counted.denials,
            subject_requests,
            subject_requests_overdue: crate::repo::overdue(store, &tenant, now).await.map_err(ShieldError::from)?,
            log: checkpoint.as_ref().map(ReportLog::from),
        })
    }
}

/// The same day of the next month, or its last day if it is shorter (GDPR Art. 12(3); Regulation 1182/71, Art. 3).
fn a_month_after(at: UnixMillis) -> UnixMillis {
    let zoned = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
    let later = zoned.checked_add(Span::new().months(1));
    later.map_or(at.plus(30 * DAY_MS), |later| UnixMillis(later.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_later_is_the_same_day_or_the_last_one() {
        let after = |text: &str| a_month_after(UnixMillis::parse_rfc3339(text).unwrap()).rfc3339();
        assert_eq!(after("2026-01-31T10:00:00Z"), "2026-02-28T10:00:00.000Z");
        assert_eq!(after("2026-02-05T10:30:00Z"), "2026-03-05T10:30:00.000Z");
    }
}
