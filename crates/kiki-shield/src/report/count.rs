//! One pass over the log, from which every report takes its counts.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use kiki_audit::{Checkpoint, Reader};
use kiki_kit::problem::Problem;
use kiki_spend::find::first_at;
use kiki_types::event::{AuditEvent, Outcome};
use kiki_types::{TenantId, UnixMillis};
use tokio::sync::Semaphore;

use super::period::DAY_MS;
use crate::error::ShieldError;
use crate::retention::{NOTHING_REMOVED, RUN as RETENTION_RUN};
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
    /// By kind of event, those that prove that something was done.
    pub(crate) done: BTreeMap<String, Done>,
}

/// Acts of one kind that were carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) count: u64,
    /// The place of the newest.
    pub(crate) newest: u64,
}

/// The names under which KIKI itself acts.
const PROGRAM: [&str; 2] = ["kiki-shield", "kiki-engage"];
/// Rules and limits that are changed by people or by what they run; KIKI's own defaults prove no authorised change.
pub(crate) const CHANGES: [&str; 4] = ["policy.put", "policy.rollback", "policy.remove", "budget.define"];

/// Whether the entry proves that what its kind says was done: it was allowed, it had an effect, and where it counts who
/// acted, that was not KIKI. `program` has the keyed hashes of its names.
fn proves(event: &AuditEvent, program: &HashSet<String>) -> bool {
    let has_effect = match event.event_type.as_str() {
        RETENTION_RUN => event.reason != NOTHING_REMOVED,
        kind if CHANGES.contains(&kind) => !event.actor.is_empty() && !program.contains(&event.actor),
        _ => true,
    };
    event.outcome == Outcome::Allowed && has_effect
}

impl Counted {
    fn add(&mut self, index: u64, event: AuditEvent, program: &HashSet<String>) {
        self.entries += 1;
        if proves(&event, program) {
            let done = self.done.entry(event.event_type.clone()).or_default();
            *done = Done { count: done.count + 1, newest: done.newest.max(index) };
        }
        let outcome = event.outcome.as_str().to_owned();
        if event.outcome == Outcome::Denied {
            *self.denials.entry(event.reason).or_default() += 1;
        }
        *self.events.entry(event.event_type).or_default().entry(outcome).or_default() += 1;
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
        let program = PROGRAM.map(|name| self.0.pseudonyms.actor(&tenant, name).to_string()).into();
        let permit = COUNTING.acquire().await.map_err(|error| Problem::internal(&error))?;
        let work = move || {
            // Held by the work and not by the request, which may be dropped before.
            let _permit = permit;
            count(&audit, size, (&tenant, &program), (from, to))
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
    (tenant, program): (&TenantId, &HashSet<String>),
    (from, to): (UnixMillis, UnixMillis),
) -> Result<Counted, kiki_audit::Error> {
    let first = first_at(audit, size, from.plus(-DAY_MS))?;
    let mut counted = Counted::default();
    let mut reader = Reader::open(audit, first, size)?;
    while let Some(record) = reader.next_record()? {
        let event = record.entry()?.event;
        if event.tenant == *tenant && (from..to).contains(&event.at) {
            counted.add(record.index, event, program);
        }
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use kiki_types::event::Level;

    use super::*;

    fn event(kind: &str, actor: &str, reason: &str, outcome: Outcome) -> AuditEvent {
        AuditEvent {
            id: uuid::Uuid::nil(),
            at: UnixMillis(1),
            tenant: TenantId::default_tenant(),
            level: Level::Info,
            event_type: kind.to_owned(),
            actor: actor.to_owned(),
            customer: String::new(),
            action: String::new(),
            resource: String::new(),
            outcome,
            reason: reason.to_owned(),
            ip: String::new(),
            data: String::new(),
            request: String::new(),
        }
    }

    #[test]
    fn what_failed_removed_nothing_or_was_done_by_the_program_itself_proves_nothing() {
        let program = HashSet::from(["itself".to_owned()]);
        let mut counted = Counted::default();
        for (index, (kind, actor, reason, outcome)) in [
            (RETENTION_RUN, "itself", NOTHING_REMOVED, Outcome::Allowed),
            (RETENTION_RUN, "itself", "rows 3", Outcome::Failed),
            ("budget.define", "itself", "", Outcome::Allowed),
            ("policy.put", "", "", Outcome::Allowed),
            ("consent.grant", "ann", "", Outcome::Denied),
        ]
        .into_iter()
        .enumerate()
        {
            counted.add(index as u64, event(kind, actor, reason, outcome), &program);
        }
        assert!(counted.done.is_empty(), "{:?}", counted.done);
        assert_eq!(counted.entries, 5);
        counted.add(7, event(RETENTION_RUN, "itself", "rows 10", Outcome::Allowed), &program);
        counted.add(8, event("budget.define", "ann", "", Outcome::Allowed), &program);
        counted.add(9, event("budget.define", "ann", "", Outcome::Allowed), &program);
        assert_eq!(counted.done[RETENTION_RUN], Done { count: 1, newest: 7 });
        assert_eq!(counted.done["budget.define"], Done { count: 2, newest: 9 });
    }
}
