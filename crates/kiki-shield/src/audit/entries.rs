//! Entries of the log, for those whom they concern.

use std::path::Path;

use kiki_audit::served::Found;
use kiki_audit::{Error, Reader, disk, pruned};
use kiki_spend::find::first_at;
use kiki_types::event::{AuditEvent, Outcome};
use kiki_types::{Permission, TenantId, UnixMillis};

use super::model::EntriesRequest;
use super::there;
use crate::error::ShieldError;
use crate::pages;
use crate::report::DAY_MS;
use crate::service::{Caller, Shield};

/// Bytes of entries on a page at the most, give or take the last one.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Entries that are looked at for a page at the most.
const SCANNED_MAX: u64 = 20_000;

/// An entry as the log has it.
pub(super) struct Logged {
    pub(super) index: u64,
    /// Its JSON, byte for byte what the tree hashes.
    pub(super) json: String,
}

/// Some entries, and where to go on.
pub(super) struct Page {
    pub(super) entries: Vec<Logged>,
    /// The last entry that was looked at, if there are more behind it.
    pub(super) next: Option<u64>,
    /// Entries that the checkpoint covers.
    pub(super) size: u64,
}

/// Which entries are wanted.
struct Filter {
    /// `None`: of all.
    tenant: Option<TenantId>,
    outcome: Option<Outcome>,
    action: Option<String>,
    actor: Option<String>,
    since: UnixMillis,
    until: UnixMillis,
}

impl Filter {
    fn passes(&self, event: &AuditEvent) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.tenant.as_ref().is_none_or(|tenant| event.tenant == *tenant)
            && self.outcome.is_none_or(|outcome| event.outcome == outcome)
            && is(&self.action, &event.action)
            && is(&self.actor, &event.actor)
            && (self.since..self.until).contains(&event.at)
    }
}

/// The tenant whose entries `caller` may see; `None`: those of all.
fn seen_by(caller: &Caller) -> Option<TenantId> {
    let principal = &caller.principal;
    (!principal.permissions.contains(Permission::LogRead)).then(|| principal.tenant.clone())
}

impl Shield {
    /// A page of the entries that `caller` may see and `request` asks for, in the order of the log.
    pub(super) async fn entries(&self, caller: &Caller, request: EntriesRequest) -> Result<Page, ShieldError> {
        let limit = pages::limit(request.limit)?;
        let (after, filter) = (request.after, self.filter(caller, request)?);
        self.read_log(move |audit| page(audit, after, limit, &filter)).await
    }

    fn filter(&self, caller: &Caller, request: EntriesRequest) -> Result<Filter, ShieldError> {
        let tenant = &caller.principal.tenant;
        // Names are not in the log: one is looked for by its keyed hash.
        let is_hash = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let actor = request.actor.map(|actor| match is_hash(&actor) {
            true => actor.to_ascii_lowercase(),
            false => self.0.pseudonyms.actor(tenant, &actor).to_string(),
        });
        Ok(Filter {
            tenant: seen_by(caller),
            outcome: request.outcome.as_deref().map(outcome).transpose()?,
            action: request.action,
            actor,
            since: time("since", request.since.as_deref())?.unwrap_or(UnixMillis(i64::MIN)),
            until: time("until", request.until.as_deref())?.unwrap_or(UnixMillis(i64::MAX)),
        })
    }

    /// The entry at `index`, if the checkpoint covers it and `caller` may see it.
    pub(super) async fn entry(&self, caller: &Caller, index: u64) -> Result<Logged, ShieldError> {
        let tenant = seen_by(caller);
        let found = self.read_log(move |audit| {
            if index >= covered(audit)? {
                return Ok(Found::Absent);
            }
            let minimum = minimum(audit)?;
            if index < minimum {
                return Ok(Found::Pruned(minimum));
            }
            let mut reader = Reader::open(audit, index, index + 1)?;
            let Some(record) = reader.next_record()? else { return Ok(Found::Absent) };
            let is_seen = tenant.is_none() || tenant == Some(record.entry()?.event.tenant);
            Ok(if is_seen { Found::There(logged(index, record.bytes)) } else { Found::Absent })
        });
        there(found.await?, "entry")
    }
}

fn covered(audit: &Path) -> Result<u64, Error> {
    Ok(kiki_audit::Checkpoint::load(audit, None)?.map_or(0, |checkpoint| checkpoint.size))
}

fn minimum(audit: &Path) -> Result<u64, Error> {
    pruned::minimum(disk::real().as_ref(), audit)
}

fn logged(index: u64, bytes: &[u8]) -> Logged {
    Logged { index, json: String::from_utf8_lossy(bytes).into_owned() }
}

fn page(audit: &Path, after: Option<u64>, limit: usize, filter: &Filter) -> Result<Page, Error> {
    let size = covered(audit)?;
    let mut from = after.map_or(0, |after| after.saturating_add(1)).max(minimum(audit)?);
    if filter.since.0 > i64::MIN {
        // Those that other services hand over may be written down somewhat after they happened, never before.
        from = from.max(first_at(audit, size, filter.since.plus(-DAY_MS))?);
    }
    let to = size.min(from.saturating_add(SCANNED_MAX));
    let (mut entries, mut bytes, mut last) = (Vec::new(), 0, None);
    let mut reader = Reader::open(audit, from, to)?;
    while entries.len() < limit && bytes < PAGE_BYTES_MAX {
        let Some(record) = reader.next_record()? else { break };
        last = Some(record.index);
        if filter.passes(&record.entry()?.event) {
            bytes += record.bytes.len();
            entries.push(logged(record.index, record.bytes));
        }
    }
    Ok(Page { entries, next: last.filter(|last| last + 1 < size), size })
}

fn outcome(text: &str) -> Result<Outcome, ShieldError> {
    let known = [Outcome::Allowed, Outcome::Denied, Outcome::Failed];
    let found = known.into_iter().find(|outcome| outcome.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| ShieldError::invalid("outcome", "must be ALLOWED, DENIED or FAILED"))
}

fn time(field: &'static str, text: Option<&str>) -> Result<Option<UnixMillis>, ShieldError> {
    let read = text.map(UnixMillis::parse_rfc3339).transpose();
    read.map_err(|_| ShieldError::invalid(field, "must be a time such as 2026-02-01T00:00:00Z"))
}
