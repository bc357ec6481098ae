//! The compliance report: counted from the log and the register of subject requests, nothing written by hand.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use kiki_audit::Reader;
use kiki_kit::problem::Problem;
use kiki_spend::find::first_at;
use kiki_types::event::{AuditEvent, Level, Outcome as EventOutcome};
use kiki_types::id::SubjectRequestId;
use kiki_types::{TenantId, UnixMillis};
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::error::ShieldError;
use crate::jobs;
use crate::repo::{self, SubjectRequest};
use crate::service::{Caller, Shield};
use crate::subject::model::Kind;

/// Reports that may be counted at the same time: each reads the log from the disk.
static COUNTING: Semaphore = Semaphore::const_new(2);

pub(crate) const DAY_MS: i64 = 86_400_000;
const DAYS_MAX: i64 = 3660;

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
    log: Option<LogAnswer>,
}

/// A checkpoint of the log.
#[derive(Debug, Serialize, ToSchema)]
struct LogAnswer {
    /// The log's name.
    origin: String,
    /// Entries that the checkpoint covers.
    size: u64,
    /// The Merkle root over them, in hexadecimal digits.
    root: String,
}

#[derive(Default)]
struct Counted {
    entries: u64,
    events: BTreeMap<String, BTreeMap<String, u64>>,
    denials: BTreeMap<String, u64>,
}

impl Counted {
    fn add(&mut self, event: &AuditEvent) {
        self.entries += 1;
        let outcome = event.outcome.as_str().to_owned();
        *self.events.entry(event.event_type.clone()).or_default().entry(outcome).or_default() += 1;
        if event.outcome == EventOutcome::Denied {
            *self.denials.entry(event.reason.clone()).or_default() += 1;
        }
    }
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
        repo::insert(&mut tx, tenant, &request).await?;
        jobs::publish(&mut tx, &event)?;
        tx.commit().await?;
        Ok(request)
    }

    /// Counts what the tenant's log holds of `period`.
    pub(crate) async fn report(&self, caller: &Caller, period: &str) -> Result<ReportAnswer, Problem> {
        let tenant = caller.principal.tenant.clone();
        let now = self.0.clock.now();
        let (from, to) = parse_period(period, now)?;
        let checkpoint = self.checkpoint();
        let counted = match &checkpoint {
            None => Counted::default(),
            Some(checkpoint) => {
                let (audit, size, tenant) = (self.0.audit.clone(), checkpoint.size, tenant.clone());
                let permit = COUNTING.acquire().await.map_err(|error| Problem::internal(&error))?;
                let count = move || {
                    // Held by the work and not by the request, which may be dropped before.
                    let _permit = permit;
                    count(&audit, size, &tenant, from, to)
                };
                let counted = tokio::task::spawn_blocking(count).await.map_err(|error| Problem::internal(&error))?;
                counted.map_err(|error| Problem::from(ShieldError::Log(Box::new(error))))?
            }
        };
        let store = &self.0.store;
        let mut subject_requests: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
        for tally in repo::tallies(store, &tenant, from, to).await.map_err(ShieldError::from)? {
            subject_requests.entry(tally.kind).or_default().insert(tally.state, tally.count);
        }
        Ok(ReportAnswer {
            from: from.rfc3339(),
            to: to.rfc3339(),
            entries: counted.entries,
            events: counted.events,
            denials: counted.denials,
            subject_requests,
            subject_requests_overdue: repo::overdue(store, &tenant, now).await.map_err(ShieldError::from)?,
            log: checkpoint.map(|checkpoint| LogAnswer {
                origin: checkpoint.origin,
                size: checkpoint.size,
                root: checkpoint.root.iter().map(|byte| format!("{byte:02x}")).collect(),
            }),
        })
    }
}

/// Counts the entries of `tenant` from `from` to before `to` among the first `size` of the log. Entries are in the
/// order of the governor's time; those that other services hand over may be written down somewhat after they happened,
/// so the search for the first one starts a day early and the end of the log is read in any case.
fn count(
    audit: &Path,
    size: u64,
    tenant: &TenantId,
    from: UnixMillis,
    to: UnixMillis,
) -> Result<Counted, kiki_audit::Error> {
    let first = first_at(audit, size, from.plus(-DAY_MS))?;
    let mut counted = Counted::default();
    let mut reader = Reader::open(audit, first, size)?;
    while let Some(record) = reader.next_record()? {
        let event = record.entry()?.event;
        if event.tenant == *tenant && (from..to).contains(&event.at) {
            counted.add(&event);
        }
    }
    Ok(counted)
}

/// The period's first moment and the first one after it.
fn parse_period(period: &str, now: UnixMillis) -> Result<(UnixMillis, UnixMillis), ShieldError> {
    let last = |days: i64| (now.plus(-days * DAY_MS), now.plus(1));
    let days = period.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    match (period, days) {
        ("daily", _) => Ok(last(1)),
        ("weekly", _) => Ok(last(7)),
        ("monthly", _) => Ok(last(30)),
        (_, Some(days)) if (1..=DAYS_MAX).contains(&days) => Ok(last(days)),
        _ => calendar_month(period).ok_or_else(|| {
            ShieldError::invalid("period", "must be daily, weekly, monthly, 1d to 3660d, or a month such as 2026-02")
        }),
    }
}

fn calendar_month(period: &str) -> Option<(UnixMillis, UnixMillis)> {
    let (year, month) = period.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2)?;
    let first = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
    let start = |date: Date| Some(UnixMillis(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond()));
    Some((start(first)?, start(first.checked_add(Span::new().months(1)).ok()?)?))
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

    const NOW: UnixMillis = UnixMillis(1_770_287_400_000);

    #[test]
    fn a_period_is_read_or_refused() {
        let text = |period| parse_period(period, NOW).map(|(from, to)| (from.rfc3339(), to.rfc3339())).unwrap();
        assert_eq!(text("2026-02"), ("2026-02-01T00:00:00.000Z".into(), "2026-03-01T00:00:00.000Z".into()));
        assert_eq!(text("weekly").0, "2026-01-29T10:30:00.000Z");
        assert_eq!(text("90d").0, "2025-11-07T10:30:00.000Z");
        for bad in ["", "d", "0d", "3661d", "-1d", "2026-13", "2026-2", "99999-01", "yearly"] {
            assert!(parse_period(bad, NOW).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_month_later_is_the_same_day_or_the_last_one() {
        let after = |text: &str| a_month_after(UnixMillis::parse_rfc3339(text).unwrap()).rfc3339();
        assert_eq!(after("2026-01-31T10:00:00Z"), "2026-02-28T10:00:00.000Z");
        assert_eq!(after("2026-02-05T10:30:00Z"), "2026-03-05T10:30:00.000Z");
    }
}
