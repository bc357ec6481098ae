//! Reads the log for what SQL must know of people: who was erased, what they agreed to, and what stands against it.
//!
//! A database that was put back has people whom the log tells of as erased, lacks acts of consent that the log has, and
//! says of people who objected or restricted what is done with their data what was true on its day.
//! [`Follower::catch_up`] brings it up before anything is served; [`follow`] goes on behind those who decide, for rows that
//! could not be written when an act was decided.
//!
//! Whoever may add entries may write into them what they like. So an erasure is believed only if it comes from this
//! database's own outbox, and an act of consent only if the governor decided it: another service's entry is neither.
//!
//! Everything here may be done twice.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::time::Duration;

use kiki_audit::{Entry, Reader, disk, pruned};
use kiki_kit::shutdown::Shutdown;
use kiki_spend::{Command, Digest};
use kiki_store::StoreError;
use kiki_store::personal::{ERASED, KeysError, Stores, Subject, SubjectId};
use kiki_types::event::{AuditEvent, Outcome as EventOutcome};
use kiki_types::{Bar, TenantId, UnixMillis};
use memchr::memmem::Finder;
use serde::Deserialize;
use uuid::Uuid;

use super::model::{About, Act, Basis, Record, State};
use super::repo::{self, Sealed};
use super::service::Evidence;
use crate::error::ShieldError;
use crate::service::Shield;

/// Entries that are read at a time at the most.
const ENTRIES_MAX: u64 = 20_000;
/// Entries that are acted upon at a time at the most.
const FOUND_MAX: usize = 500;
/// Entries without a find after which the position is kept at the latest.
const UNKEPT_MAX: u64 = 10_000;
/// People that are looked through at a time.
const PEOPLE: i64 = 500;
/// How long whoever decided an act has to write its row themselves.
const SETTLED_AFTER_MS: i64 = 30_000;
/// How long what was noted may wait for its entry.
const NOTED_MS_MAX: i64 = 60_000;
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The source of a row that was made from its entry.
const FROM_LOG: &str = "log";

/// Follows the log until shutdown.
pub async fn follow(mut follower: Follower, shutdown: Shutdown) {
    loop {
        let pause = match follower.step(SETTLED_AFTER_MS).await {
            Ok(true) => None,
            Ok(false) => Some(PAUSE),
            Err(error) => {
                tracing::warn!(%error, "the register of consent stays behind the log");
                Some(PAUSE_AFTER_FAILURE)
            }
        };
        if shutdown.is_draining() {
            return;
        }
        if let Some(pause) = pause {
            tokio::select! {
                () = shutdown.draining() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Why the log could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log, the database or the governor.
    #[error(transparent)]
    Shield(#[from] ShieldError),
    /// People could not be erased again.
    #[error("people whom the log tells of as erased are still here")]
    Keys(#[from] KeysError),
}

impl From<StoreError> for FollowError {
    fn from(error: StoreError) -> Self {
        Self::Shield(error.into())
    }
}

/// Where the follower is.
pub struct Follower {
    shield: Shield,
    stores: Stores,
    /// The log's name in SQL.
    log: String,
    /// The source of what this database's outbox tells the log.
    own: Digest,
    /// The next entry.
    position: u64,
    /// The position in SQL.
    kept: u64,
}

/// An act of consent, as its entry has it.
#[derive(Clone, Debug)]
struct Told {
    tenant: TenantId,
    customer: Digest,
    id: Uuid,
    about: About,
    act: Act,
    at: UnixMillis,
    entry: u64,
}

/// What the governor wrote into an entry, whoever it came from.
#[derive(Deserialize)]
struct Body {
    /// When it was taken in. What the entry itself says of that may come from elsewhere, and be any time.
    at: i64,
    cmd: Command,
}

#[derive(Default)]
struct Found {
    erased: BTreeMap<String, (TenantId, Vec<SubjectId>)>,
    told: Vec<Told>,
    position: u64,
}

impl Follower {
    /// A follower that goes on where the last one was. `stores` are where people are erased again.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn open(shield: Shield, stores: Stores) -> Result<Self, FollowError> {
        // The installation's own name: several may share a database, each with a log of its own.
        let source = |id| shield.0.pseudonyms.source(&TenantId::default_tenant(), id);
        let log = source(Uuid::nil()).to_string();
        let own = source(shield.0.store.source_id().await?);
        let kept = repo::position(&shield.0.store, &log).await?;
        Ok(Self { shield, stores, log, own, position: kept, kept })
    }

    /// Reads to the log's end. Call it before anything is served.
    ///
    /// # Errors
    /// [`FollowError`]
    pub async fn catch_up(&mut self) -> Result<(), FollowError> {
        let audit = self.shield.0.audit.clone();
        let len = tokio::task::spawn_blocking(move || kiki_audit::reader::entries(&audit)).await;
        let len = len.map_err(log_error)?.map_err(log_error)?;
        while self.step_to(len, 0).await? {}
        Ok(())
    }

    /// Takes what is there next, up to what may not have settled within `settled_after_ms`. Returns whether there may be more.
    pub(super) async fn step(&mut self, settled_after_ms: i64) -> Result<bool, FollowError> {
        // At the start it was read to its end, and a checkpoint may be behind that for a while.
        let len = self.shield.checkpoint().map_or(0, |checkpoint| checkpoint.size).max(self.position);
        let has_more = self.step_to(len, settled_after_ms).await?;
        if !has_more {
            let before = self.shield.0.clock.now().plus(-NOTED_MS_MAX);
            repo::void_noted(&self.shield.0.store, before).await?;
        }
        Ok(has_more)
    }

    async fn step_to(&mut self, len: u64, settled_after_ms: i64) -> Result<bool, FollowError> {
        if len < self.position {
            tracing::warn!(len, position = self.position, "the log is shorter than it was: following it from its end");
            self.position = len;
        }
        let (position, to) = (self.position, len.min(self.position.saturating_add(ENTRIES_MAX)));
        if position == to {
            return Ok(false);
        }
        let (audit, own, now) = (self.shield.0.audit.clone(), self.own, self.shield.0.clock.now());
        // What is later than now was decided before the clock was put back. Nothing waits for that time to come again.
        let unsettled = now.0.saturating_sub(settled_after_ms).saturating_add(1)..=now.0;
        let reading = tokio::task::spawn_blocking(move || read(&audit, position..to, own, &unsettled));
        let found = reading.await.map_err(log_error)?.map_err(log_error)?;
        let did_something = !found.erased.is_empty() || !found.told.is_empty();
        for (tenant, people) in found.erased.into_values() {
            self.shield.0.subjects.erase_again(&tenant, &people, &self.stores).await?;
        }
        self.write_down(found.told).await?;
        let has_more = found.position > self.position && found.position < len;
        self.position = found.position;
        if did_something || self.position.abs_diff(self.kept) >= UNKEPT_MAX || self.position < self.kept {
            let mut tx = self.shield.0.store.begin().await?;
            repo::set_position(&mut tx, &self.log, self.position).await?;
            tx.commit().await?;
            self.kept = self.position;
        }
        Ok(has_more)
    }

    /// Gives records their entries, and makes those that are missing of people who are still known.
    async fn write_down(&self, told: Vec<Told>) -> Result<(), FollowError> {
        let store = &self.shield.0.store;
        let mut missing: BTreeMap<String, (TenantId, HashMap<Digest, Vec<Told>>)> = BTreeMap::new();
        for told in told {
            match repo::has_entry(store, &told.tenant, told.id).await? {
                Some((who, has_entry)) => {
                    let settled = (&told.tenant, told.id);
                    if !has_entry {
                        repo::settle(store.pool(), settled, State::Standing, Some(told.entry)).await?;
                    }
                    self.mark(who, &told).await?;
                }
                None => {
                    let of_tenant = missing.entry(told.tenant.to_string());
                    let (_, people) = of_tenant.or_insert_with(|| (told.tenant.clone(), HashMap::new()));
                    people.entry(told.customer).or_default().push(told);
                }
            }
        }
        for (tenant, mut people) in missing.into_values() {
            self.make_missing(&tenant, &mut people).await?;
        }
        Ok(())
    }

    /// The log knows people by pseudonyms alone, which only their own keys lead to: all of them are looked through.
    async fn make_missing(
        &self,
        tenant: &TenantId,
        missing: &mut HashMap<Digest, Vec<Told>>,
    ) -> Result<(), FollowError> {
        let mut after = String::new();
        while !missing.is_empty() {
            let rows = repo::people(&self.shield.0.store, tenant, &after, PEOPLE).await?;
            let Some(last) = rows.last() else { break };
            after = repo::handle(last)?;
            for row in &rows {
                // Who cannot be read is nobody to write for.
                let Ok(who) = self.shield.0.subjects.unlock(row) else { continue };
                for told in missing.remove(&Digest(who.pseudonym)).unwrap_or_default() {
                    self.make(&who, &told).await?;
                }
            }
        }
        Ok(())
    }

    async fn make(&self, who: &Subject, told: &Told) -> Result<(), FollowError> {
        let record = Record {
            id: told.id,
            about: told.about,
            act: told.act,
            state: State::Standing,
            basis: if matches!(told.about, About::Bar(_)) { Basis::LegalObligation } else { Basis::Consent },
            text_version: String::new(),
            source: FROM_LOG.to_owned(),
            at: told.at,
            until: UnixMillis(0),
            confirm_by: UnixMillis(0),
            asked: None,
            entry: Some(told.entry),
        };
        let sealed = Sealed { evidence: Evidence::default().seal(who, told.id), token: None };
        let mut tx = self.shield.0.store.begin().await?;
        if let (Act::Revoke, About::Purpose(purpose, channel)) = (told.act, told.about) {
            repo::void_awaiting(&mut tx, (&who.tenant, who.id), (purpose, channel), told.at).await?;
        }
        repo::insert(&mut tx, (&who.tenant, who.id), &record, &sealed).await?;
        tx.commit().await?;
        tracing::warn!(record = %told.id, "made a record of consent from its entry");
        self.mark(who.id, told).await
    }

    /// Brings what profiling and retention look at to what the governor says, where an entry changed that: a database that
    /// was put back has it as of its day, and whoever decided may not have come to write it.
    async fn mark(&self, who: SubjectId, told: &Told) -> Result<(), FollowError> {
        if let About::Bar(Bar::Objected | Bar::Restricted) = told.about {
            self.shield.mark_again(&told.tenant, who, told.customer).await?;
            if told.act == Act::Unbar {
                self.shield.tell_apart(&told.tenant, who).await?;
            }
        }
        Ok(())
    }
}

/// Reads `entries`, or until there are finds enough, or one that was taken in while it is `unsettled`. `own` is the
/// source whose word on erasures counts.
fn read(
    audit: &Path,
    entries: Range<u64>,
    own: Digest,
    unsettled: &RangeInclusive<i64>,
) -> Result<Found, kiki_audit::Error> {
    let minimum = pruned::minimum(disk::real().as_ref(), audit)?;
    let mut found = Found { position: entries.start.max(minimum), ..Found::default() };
    let mut reader = Reader::open(audit, found.position, entries.end)?;
    let finders = [Finder::new(ERASED), Finder::new("\"type\":\"consent.")];
    let mut count = 0;
    while count < FOUND_MAX {
        let Some(record) = reader.next_record()? else { break };
        if finders.iter().any(|finder| finder.find(record.bytes).is_some()) {
            let Entry { event, body } = record.entry()?;
            if let Some(Body { at, cmd }) = body.and_then(|body| serde_json::from_str(body.get()).ok()) {
                if unsettled.contains(&at) {
                    break;
                }
                count += 1;
                found.take(event, record.index, &cmd, own);
            }
        }
        found.position = record.index + 1;
    }
    Ok(found)
}

impl Found {
    fn take(&mut self, event: AuditEvent, entry: u64, command: &Command, own: Digest) {
        if event.outcome != EventOutcome::Allowed {
            return;
        }
        let source = if let Command::Note { from: Some((source, _)) } = command { Some(*source) } else { None };
        if event.event_type == ERASED {
            if source != Some(own) {
                return;
            }
            let handle = event.resource.strip_prefix("subject/").and_then(|handle| handle.parse().ok());
            if let Some(handle) = handle {
                let of_tenant = self.erased.entry(event.tenant.to_string());
                of_tenant.or_insert_with(|| (event.tenant, Vec::new())).1.push(handle);
            }
            return;
        }
        if source.is_some() {
            return;
        }
        let act = match event.event_type.as_str() {
            "consent.grant" | "consent.confirm" | "consent.record" => Act::Grant,
            "consent.revoke" => Act::Revoke,
            "consent.bar" => Act::Bar,
            "consent.unbar" => Act::Unbar,
            _ => return,
        };
        let customer = Uuid::try_parse(&event.customer).ok().map(Digest::from);
        if let (Some((about, id)), Some(customer)) = (About::of_resource(&event.resource), customer) {
            self.told.push(Told { tenant: event.tenant, customer, id, about, act, at: event.at, entry });
        }
    }
}

fn log_error(error: impl std::error::Error + Send + Sync + 'static) -> ShieldError {
    ShieldError::Log(Box::new(error))
}
