//! One pass over the log, from which every report takes its counts.

use std::collections::BTreeMap;
use std::path::Path;

use kiki_audit::{Checkpoint, Reader};
use kiki_kit::problem::Problem;
use kiki_spend::find::first_at;
use kiki_types::event::{AuditEvent, Outcome};
use kiki_types::{TenantId, UnixMillis};
use tokio::sync::Semaphore;

use super::period::DAY_MS;
use crate::error::ShieldError;
use crate::service::Shield;

/// Reports that may be counted at the same time: each reads the log from the disk.
static COUNTING: Semaphore = Semaphore::const_new(2);

/// What the log tells of a period.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) entries: u64,
    /// By kind of event, how many were `ALLOWED`, `DENIED` and `FAILED`.
    pub(crate) events: BTreeMap<String, BTreeMap<String, u64>>,
    pub(crate) denials: BTreeMap<String, u64>,
    /// By kind of event, the place of the newest that was allowed.
    pub(crate) newest: BTreeMap<String, u64>,
}

impl Counted {
    fn add(&mut self, index: u64, event: AuditEvent) {
        self.entries += 1;
        let outcome = event.outcome.as_str().to_owned();
        match event.outcome {
            Outcome::Denied => *self.denials.entry(event.reason).or_default() += 1,
            Outcome::Allowed => {
                self.newest.insert(event.event_type.clone(), index);
            }
            Outcome::Failed => {}
        }
        *self.events.entry(event.event_type).or_default().entry(outcome).or_default() += 1;
    }

    /// How many events of `kind` there were, however they ended.
    pub(crate) fn of(&self, kind: &str) -> u64 {
        self.events.get(kind).map_or(0, |outcomes| outcomes.values().sum())
    }
}

impl Shield {
    /// Counts what the log holds of `tenant` in a period, and says as of which checkpoint.
    pub(crate) async fn counted(
        &self,
        tenant: &TenantId,
        (from, to): (UnixMillis, UnixMillis),
    ) -> Result<(Counted, Option<Checkpoint>), Problem> {
        let Some(checkpoint) = self.checkpoint() else { return Ok((Counted::default(), None)) };
        let (audit, size, tenant) = (self.0.audit.clone(), checkpoint.size, tenant.clone());
        let permit = COUNTING.acquire().await.map_err(|error| Problem::internal(&error))?;
        let work = move || {
            // Held by the work and not by the request, which may be dropped before.
            let _permit = permit;
            count(&audit, size, &tenant, from, to)
        };
        let counted = tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))?;
        let counted = counted.map_err(|error| Problem::from(ShieldError::Log(Box::new(error))))?;
        Ok((counted, Some(checkpoint)))
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
            counted.add(record.index, event);
        }
    }
    Ok(counted)
}
