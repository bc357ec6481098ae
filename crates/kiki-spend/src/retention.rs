//! How long entries are kept: when a segment ends, up to where the log may be pruned, and pruning it.
//!
//! Invariants:
//! - No entry goes before its time, by the governor's clock, or before it was shipped where shipping is on.
//! - Both snapshots that are kept were made after the last entry that goes: the log starts from either.
//! - What goes is told first, in an entry of the log that its checkpoint covers.

use std::path::Path;
use std::sync::Arc;

use kiki_audit::pruned::{self, PRUNE_EVENT};
use kiki_audit::{Disk, Pruned, Reader};
use kiki_types::event::{AuditEvent, Level, Outcome};
use kiki_types::{TenantId, UnixMillis};
use uuid::Uuid;

use crate::command::Command;
use crate::derive::open_deriver;
use crate::owner::fold_and_snapshot;
use crate::shard::{OpenError, Settings, Shard, governor_time, last_hash};
use crate::snapshot;
use crate::state::{Bounds, State};

const DAY_MS: i64 = 24 * 3600 * 1000;
/// A segment that is shorter does not end with its day.
const DAY_BYTES_LEAST: u64 = 1 << 20;
/// A segment ends when its first entry is so old, however short it is.
const SEGMENT_MS_MAX: i64 = 7 * DAY_MS;
/// Who prunes, in the entry that tells.
const ACTOR: &str = "retention";

/// Whether a segment whose first entry is of the time `since` is to be followed by another at the time `now`.
pub(crate) const fn ends_segment(since: i64, now: i64, bytes: u64) -> bool {
    let is_of_another_day = now.div_euclid(DAY_MS) > since.div_euclid(DAY_MS);
    (is_of_another_day && bytes >= DAY_BYTES_LEAST) || now.saturating_sub(since) >= SEGMENT_MS_MAX
}

/// When entry `index` of the log of `len` entries was decided; `None` if there is none, or it is not the governor's.
pub(crate) fn time_of(
    disk: &Arc<dyn Disk>,
    audit: &Path,
    index: u64,
    len: u64,
) -> Result<Option<i64>, kiki_audit::Error> {
    let mut reader = Reader::open_on(disk, audit, index, len.min(index.saturating_add(1)))?;
    match reader.next_record()? {
        Some(record) => Ok(governor_time(&record.entry()?)),
        None => Ok(None),
    }
}

/// What retention allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing is old enough, or what is cannot go yet.
    Nothing,
    /// The entries before this one may go once there are two snapshots behind them: call [`snapshot_behind`].
    AfterSnapshots(u64),
    /// The entries before this one may go.
    To(u64),
}

/// Up to where the log may be pruned at the time `now`. `shipped` is how far it was shipped, if it is to be.
///
/// # Errors
/// The log or the snapshots cannot be read.
pub fn due(disk: &Arc<dyn Disk>, settings: &Settings, now: UnixMillis, shipped: Option<u64>) -> Result<Due, OpenError> {
    let audit = settings.audit();
    let oldest = now.plus(-i64::from(settings.retention_days).saturating_mul(DAY_MS)).0;
    let mut to = None;
    for first in pruned::boundaries(disk.as_ref(), &audit)? {
        let is_old = time_of(disk, &audit, first - 1, first)?.is_some_and(|time| time < oldest);
        if !is_old || shipped.is_some_and(|shipped| first > shipped) {
            break;
        }
        to = Some(first);
    }
    let Some(to) = to else { return Ok(Due::Nothing) };
    Ok(if have_snapshots_behind(settings, to)? { Due::To(to) } else { Due::AfterSnapshots(to) })
}

/// Whether both snapshots are of a state that the entries before `to` are not needed for, nor to tell whose it is.
fn have_snapshots_behind(settings: &Settings, to: u64) -> Result<bool, OpenError> {
    let path = settings.snapshots();
    let look = || {
        let kept = snapshot::kept(&path)?;
        let behind = kept.iter().filter(|entries| **entries > to);
        let whole = behind.map(|entries| snapshot::is_whole(&path, *entries)).collect::<Result<Vec<_>, _>>()?;
        Ok(whole.len() >= 2 && whole.iter().all(|is_whole| *is_whole))
    };
    look().map_err(|source| OpenError::Snapshot { path: path.clone(), source })
}

/// Writes a snapshot of the state that the checkpoint covers, beside the running owner.
///
/// # Errors
/// The log cannot be read, or the snapshot not be written.
pub fn snapshot_behind(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<(), OpenError> {
    let to = kiki_audit::Checkpoint::load(&settings.audit(), None)?.map_or(0, |checkpoint| checkpoint.size);
    fold_and_snapshot(disk, settings, to)
}

/// The entry that tells that the entries before `to` go.
///
/// # Errors
/// The tiles cannot be read.
pub fn entry(disk: &Arc<dyn Disk>, settings: &Settings, to: u64) -> Result<(Command, AuditEvent), OpenError> {
    let root = pruned::root_at(disk.as_ref(), &settings.audit(), to)?;
    let event = AuditEvent {
        id: Uuid::nil(),
        at: UnixMillis(0),
        tenant: TenantId::default_tenant(),
        level: Level::Info,
        event_type: PRUNE_EVENT.to_owned(),
        actor: ACTOR.to_owned(),
        customer: String::new(),
        action: "prune".to_owned(),
        resource: pruned::resource(to),
        outcome: Outcome::Allowed,
        reason: pruned::reason(&root),
        ip: String::new(),
        data: String::new(),
        request: String::new(),
    };
    Ok((Command::Note { from: None }, event))
}

/// Deletes the entries before `to`, as entry `recorded_in` tells, which the checkpoint covers.
///
/// # Errors
/// The entry does not tell so, or a file cannot be read or written.
pub fn prune(disk: &Arc<dyn Disk>, settings: &Settings, to: u64, recorded_in: u64) -> Result<Pruned, OpenError> {
    Ok(kiki_audit::prune_on(disk, &settings.audit(), &settings.key()?, to, recorded_in)?)
}

/// Removes what a crash left of entries that were pruned. Says how many segments there were.
///
/// # Errors
/// A file cannot be removed.
pub fn sweep(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<usize, OpenError> {
    Ok(pruned::sweep(disk.as_ref(), &settings.audit())?)
}

/// From where on the decisions of the log below `data` can be recomputed, and the state there: the beginning, or where
/// entries were pruned the oldest snapshot after them. `None` if there is no such snapshot.
///
/// # Errors
/// The log or the snapshots cannot be read.
pub fn recomputable_from(data: &Path) -> Result<Option<(u64, State)>, OpenError> {
    let (audit, path) = (data.join("audit"), data.join("spend"));
    let disk = kiki_audit::disk::real();
    let minimum = pruned::minimum(disk.as_ref(), &audit)?;
    if minimum == 0 {
        return Ok(Some((0, State::new(Bounds::default()))));
    }
    let kept = snapshot::kept(&path).map_err(|source| OpenError::Snapshot { path: path.clone(), source })?;
    let fits = |entries, hash| last_hash(&disk, &audit, entries).is_ok_and(|last| last == hash);
    // One that a running service has just replaced is as good as none.
    let behind = kept.into_iter().rev().filter(|entries| *entries > minimum);
    let read = |most| snapshot::newest_within(&path, Bounds::default(), most, fits).ok().flatten();
    Ok(behind.filter_map(read).find(|(entries, _)| *entries > minimum))
}

/// Prunes the log of a service that does not run: what the service does by itself when it does.
///
/// # Errors
/// The service runs ([`kiki_audit::OpenError::InUse`]), or the log does not open, or a file cannot be read or written.
pub fn prune_stopped(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    shipped: Option<u64>,
) -> Result<Option<Pruned>, OpenError> {
    let mut shard = Shard::open_on(disk, settings)?;
    let mut deriver = open_deriver(disk, settings)?;
    let mut catch_up = |len| -> Result<(), OpenError> {
        while !deriver.advance(len)?.caught_up() {}
        Ok(())
    };
    catch_up(shard.entries())?;
    sweep(disk, settings)?;
    let to = match due(disk, settings, UnixMillis(shard.now()), shipped)? {
        Due::Nothing => return Ok(None),
        Due::To(to) | Due::AfterSnapshots(to) => to,
    };
    shard.snapshot();
    let (command, draft) = entry(disk, settings, to)?;
    let failed = |source: std::io::Error| OpenError::Read(kiki_audit::Error::Io { path: settings.audit(), source });
    let (_, index) = shard.decide(&command, draft).map_err(|error| failed(std::io::Error::other(error)))?;
    shard.commit().map_err(failed)?;
    catch_up(shard.entries())?;
    shard.snapshot();
    if !have_snapshots_behind(settings, to)? {
        return Ok(None);
    }
    index.map(|index| prune(disk, settings, to, index)).transpose()
}
