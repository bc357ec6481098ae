//! The follower: reads the log behind those who decide, and turns what entries tell into deliveries.
//!
//! It reads as far as the log's checkpoint, so at most about a second behind. Its position is kept in SQL and moves in
//! the transaction that makes deliveries. Where an entry makes none, the position is kept now and then: such entries may
//! be read twice, and tell the same twice.

use std::collections::BTreeMap;
use std::path::Path;

use kiki_audit::{Cursor, Reader, disk, pruned};
use kiki_kit::shutdown::Shutdown;
use kiki_store::Tx;
use kiki_types::{Currency, TenantId};

use super::{PAUSE, PAUSE_AFTER_FAILURE};
use crate::error::ShieldError;
use crate::webhooks::event::{Event, Filter, events_of};
use crate::webhooks::model::{Delivery, ENDPOINT_WAITING_MAX, ENDPOINTS_MAX, Endpoint, TENANT_WAITING_MAX};
use crate::webhooks::repo;
use crate::webhooks::service::Webhooks;

/// Entries that are read at a time at the most.
const ENTRIES_MAX: u64 = 20_000;
/// Events that are taken at a time at the most, give or take those of one entry.
const EVENTS_MAX: usize = 200;
/// Entries without events after which the position is kept at the latest.
const UNKEPT_MAX: u64 = 10_000;

/// Follows the log until shutdown.
pub async fn follow(webhooks: Webhooks, shutdown: Shutdown) {
    let mut follower: Option<Follower> = None;
    loop {
        let step = async {
            let mut ready = match follower.take() {
                Some(follower) => follower,
                None => Follower::open(&webhooks).await?,
            };
            let has_more = ready.step().await?;
            Ok::<_, ShieldError>((ready, has_more))
        };
        let pause = match step.await {
            Ok((ready, has_more)) => {
                follower = Some(ready);
                (!has_more).then_some(PAUSE)
            }
            // From the position in SQL again: what was read and not kept is read once more.
            Err(error) => {
                tracing::warn!(%error, "events wait in the log");
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

/// Where the follower is.
pub(in crate::webhooks) struct Follower {
    webhooks: Webhooks,
    /// The log's name in SQL.
    log: String,
    /// The next entry.
    position: u64,
    /// The position in SQL.
    kept: u64,
    cursor: Option<Cursor>,
}

/// What was read at a time.
struct Found {
    events: Vec<Event>,
    position: u64,
    cursor: Option<Cursor>,
}

impl Follower {
    pub(in crate::webhooks) async fn open(webhooks: &Webhooks) -> Result<Self, ShieldError> {
        let shield = &webhooks.0.shield;
        // The installation's own name: several may share a database, each with a log of its own.
        let log = shield.0.pseudonyms.source(&TenantId::default_tenant(), uuid::Uuid::nil()).to_string();
        let kept = repo::position(webhooks.store(), &log).await?;
        Ok(Self { webhooks: webhooks.clone(), log, position: kept, kept, cursor: None })
    }

    /// Takes what is there next. Returns whether there may be more.
    pub(in crate::webhooks) async fn step(&mut self) -> Result<bool, ShieldError> {
        let shield = self.webhooks.0.shield.clone();
        let len = shield.checkpoint().map_or(0, |checkpoint| checkpoint.size);
        if len < self.position {
            tracing::warn!(len, position = self.position, "the log is shorter than it was: following it from its end");
            self.jump(len);
        }
        if len == self.position {
            return Ok(false);
        }
        if !repo::any_active(self.webhooks.store()).await? {
            self.jump(len);
            self.keep_if_far().await?;
            return Ok(false);
        }
        let (cursor, position, to) = (self.cursor, self.position, len.min(self.position.saturating_add(ENTRIES_MAX)));
        let reading =
            tokio::task::spawn_blocking(move || read(&shield.0.audit, shield.0.currency, cursor, position, to));
        let found = reading.await.map_err(log_error)?.map_err(log_error)?;
        if found.events.is_empty() {
            (self.position, self.cursor) = (found.position, found.cursor);
            self.keep_if_far().await?;
        } else {
            let mut tx = self.webhooks.store().begin().await?;
            self.take(&mut tx, found.events).await?;
            repo::set_position(&mut tx, &self.log, found.position).await?;
            tx.commit().await?;
            (self.position, self.cursor, self.kept) = (found.position, found.cursor, found.position);
        }
        Ok(self.position < len)
    }

    fn jump(&mut self, position: u64) {
        (self.position, self.cursor) = (position, None);
    }

    async fn keep_if_far(&mut self) -> Result<(), ShieldError> {
        if self.position.abs_diff(self.kept) >= UNKEPT_MAX || self.position < self.kept {
            let mut tx = self.webhooks.store().begin().await?;
            repo::set_position(&mut tx, &self.log, self.position).await?;
            tx.commit().await?;
            self.kept = self.position;
        }
        Ok(())
    }

    /// Makes the deliveries of `events`.
    async fn take(&self, tx: &mut Tx, events: Vec<Event>) -> Result<(), ShieldError> {
        let mut by_tenant: BTreeMap<String, (TenantId, Vec<Event>)> = BTreeMap::new();
        for event in events {
            let of_tenant = by_tenant.entry(event.tenant.to_string());
            of_tenant.or_insert_with(|| (event.tenant.clone(), Vec::new())).1.push(event);
        }
        for (tenant, events) in by_tenant.into_values() {
            let endpoints = repo::endpoints(tx.sql(), &tenant, ENDPOINTS_MAX).await?;
            if endpoints.is_empty() {
                continue;
            }
            let waiting = repo::waiting(tx, &tenant).await?;
            let mut tenant_waiting: i64 = waiting.values().sum();
            for endpoint in &endpoints {
                let before = waiting.get(&endpoint.id).copied().unwrap_or(0);
                let room = (ENDPOINT_WAITING_MAX - before).min(TENANT_WAITING_MAX - tenant_waiting).max(0);
                tenant_waiting += self.tell(tx, &tenant, endpoint, &events, room).await?;
            }
        }
        Ok(())
    }

    /// Makes at most `room` deliveries to one endpoint; what it is not told of is counted. Returns how many were made.
    async fn tell(
        &self,
        tx: &mut Tx,
        tenant: &TenantId,
        endpoint: &Endpoint,
        events: &[Event],
        room: i64,
    ) -> Result<i64, ShieldError> {
        let now = self.webhooks.now();
        let (mut told, mut dropped) = (0, 0);
        for event in events.iter().filter(|event| endpoint.wants(event.kind, event.at)) {
            if told == room {
                dropped += 1;
                continue;
            }
            let id = event.delivery_id(endpoint.id);
            let delivery = Delivery::new(id, endpoint.id, event.kind, event.payload(), now);
            repo::insert_delivery(tx, tenant, &delivery).await?;
            told += 1;
        }
        if dropped > 0 {
            tracing::warn!(endpoint = %endpoint.id, dropped, "too many deliveries wait");
            repo::add_dropped(tx, tenant, endpoint.id, dropped).await?;
        }
        Ok(told)
    }
}

/// Reads the entries from `position` on, which is where `cursor` is, to before `to`, or until there are events enough.
fn read(
    audit: &Path,
    currency: Currency,
    cursor: Option<Cursor>,
    position: u64,
    to: u64,
) -> Result<Found, kiki_audit::Error> {
    // What was pruned meanwhile is told to nobody any more.
    let minimum = pruned::minimum(disk::real().as_ref(), audit)?;
    let (cursor, position) = if position < minimum { (None, minimum) } else { (cursor, position) };
    let mut reader = match cursor {
        Some(cursor) => Reader::resume(audit, cursor, to)?,
        None => Reader::open(audit, position, to)?,
    };
    let filter = Filter::new();
    let (mut events, mut position) = (Vec::new(), position);
    while events.len() < EVENTS_MAX {
        let Some(record) = reader.next_record()? else { break };
        position = record.index + 1;
        if !filter.passes(record.bytes) {
            continue;
        }
        match events_of(record.bytes, currency) {
            Ok(told) => events.extend(told),
            Err(error) => tracing::error!(entry = record.index, %error, "an entry tells something unreadable"),
        }
    }
    Ok(Found { events, position, cursor: reader.cursor() })
}

fn log_error(error: impl std::error::Error + Send + Sync + 'static) -> ShieldError {
    ShieldError::Log(Box::new(error))
}
