//! The mailbox's files. All calls block.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use kiki_types::id::MessageId;
use kiki_types::{TenantId, UnixMillis};
use uuid::Uuid;

use super::{DeliveryError, Faults, MESSAGE_BYTES_MAX, Owner, Sealed};

/// Messages of a tenant at the most, unless another bound is given.
pub const MESSAGES_MAX: usize = 1_000_000;

/// What sealing may add to a message.
const SEAL_BYTES_MAX: usize = 256;
const SUFFIX: &str = "sealed";
/// The name that a message has while it is written begins so.
const BESIDE: &str = ".";

/// A part of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The messages.
    pub messages: Vec<Sealed>,
    /// Where the next part starts after; `None` on the last one.
    pub next: Option<MessageId>,
}

/// Messages that were kept long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Old {
    /// So many.
    pub messages: u64,
    /// The date of the oldest of them.
    pub oldest: Option<UnixMillis>,
}

/// Files and the ids of those that exist.
pub(super) struct Shelf {
    root: PathBuf,
    messages_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempts: u64,
    // Read from a tenant's folder when it is first asked for.
    tenants: HashMap<TenantId, Index>,
}

/// Which messages a tenant has, by id and by the person they went to.
#[derive(Default)]
struct Index {
    by_id: BTreeMap<MessageId, Owner>,
    by_owner: BTreeSet<(Owner, MessageId)>,
}

impl Shelf {
    pub(super) fn open(root: &Path, messages_max: usize) -> io::Result<Self> {
        make_folder(root)?;
        Ok(Self { root: root.to_owned(), messages_max, state: Mutex::default() })
    }

    pub(super) fn deliver(
        &self,
        faults: &Faults,
        tenant: &TenantId,
        at: UnixMillis,
        recipient: &str,
        message: &Sealed,
    ) -> Result<(), DeliveryError> {
        if message.sealed.len() > MESSAGE_BYTES_MAX + SEAL_BYTES_MAX {
            return Err(DeliveryError::Rejected("552 5.3.4 the message is too large".to_owned()));
        }
        // Held while the file is written: that orders the attempts and makes the bound exact.
        let mut state = self.lock();
        state.attempts += 1;
        faults.check(state.attempts, recipient)?;
        let index = self.index(&mut state, tenant)?;
        if index.by_id.contains_key(&message.id) {
            return Ok(());
        }
        if index.by_id.len() >= self.messages_max {
            return Err(DeliveryError::Unavailable("452 4.2.2 mailbox full".to_owned()));
        }
        self.write(tenant, at, message)?;
        index.insert(message.id, message.owner);
        Ok(())
    }

    pub(super) fn list(&self, tenant: &TenantId, after: Option<MessageId>, limit: usize) -> io::Result<Found> {
        let mut found: Vec<(MessageId, Owner)> = {
            let mut state = self.lock();
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let ids = self.index(&mut state, tenant)?.by_id.range((start, Bound::Unbounded));
            ids.take(limit.saturating_add(1)).map(|(id, owner)| (*id, *owner)).collect()
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().map(|(id, _)| *id).filter(|_| more);
        Ok(Found { messages: self.read_all(tenant, found)?, next })
    }

    pub(super) fn read(&self, tenant: &TenantId, id: MessageId) -> io::Result<Option<Sealed>> {
        let owner = self.index(&mut self.lock(), tenant)?.by_id.get(&id).copied();
        let Some(owner) = owner else { return Ok(None) };
        Ok(self.read_all(tenant, vec![(id, owner)])?.pop())
    }

    pub(super) fn of(&self, tenant: &TenantId, owner: Owner, limit: usize) -> io::Result<Vec<Sealed>> {
        let ids = self.index(&mut self.lock(), tenant)?.of(owner).take(limit).map(|id| (id, owner)).collect();
        self.read_all(tenant, ids)
    }

    pub(super) fn forget(&self, tenant: &TenantId, owners: &[Owner]) -> io::Result<u64> {
        let mut state = self.lock();
        let mut gone = 0;
        for &owner in owners {
            let index = self.index(&mut state, tenant)?;
            for id in index.of(owner).collect::<Vec<_>>() {
                gone += u64::from(self.remove(index, tenant, id, owner)?);
            }
        }
        Ok(gone)
    }

    pub(super) fn owners(&self, tenant: &TenantId, after: Option<Owner>, limit: usize) -> io::Result<Vec<Owner>> {
        let mut state = self.lock();
        let index = self.index(&mut state, tenant)?;
        let mut owners: Vec<Owner> = Vec::new();
        let mut from = after.map_or(Bound::Unbounded, |owner| Bound::Excluded((owner, MessageId::from(Uuid::max()))));
        while owners.len() < limit {
            let Some(&(owner, _)) = index.by_owner.range((from, Bound::Unbounded)).next() else { break };
            owners.push(owner);
            from = Bound::Excluded((owner, MessageId::from(Uuid::max())));
        }
        Ok(owners)
    }

    /// Removes at most `limit` messages from before `cutoff` or to one of `gone`, or counts all of them if `dry`.
    pub(super) fn expire(
        &self,
        tenant: &TenantId,
        cutoff: UnixMillis,
        gone: &HashSet<Owner>,
        limit: usize,
        dry: bool,
    ) -> io::Result<Old> {
        // Looked at without the lock: deliveries go on meanwhile.
        let all: Vec<(MessageId, Owner)> = {
            let mut state = self.lock();
            self.index(&mut state, tenant)?.by_id.iter().map(|(id, owner)| (*id, *owner)).collect()
        };
        let mut old = Old::default();
        for (id, owner) in all {
            if !dry && old.messages >= u64::try_from(limit).unwrap_or(u64::MAX) {
                break;
            }
            let at = match fs::metadata(self.path(tenant, id, owner)) {
                Ok(metadata) => time_of(metadata.modified()?),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_past = at < cutoff || gone.contains(&owner);
            if is_past && (dry || self.remove(self.index(&mut self.lock(), tenant)?, tenant, id, owner)?) {
                old.messages += 1;
                old.oldest = Some(old.oldest.map_or(at, |oldest| oldest.min(at)));
            }
        }
        Ok(old)
    }

    /// Whether there was one to remove.
    fn remove(&self, index: &mut Index, tenant: &TenantId, id: MessageId, owner: Owner) -> io::Result<bool> {
        let removed = match fs::remove_file(self.path(tenant, id, owner)) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        index.by_id.remove(&id);
        index.by_owner.remove(&(owner, id));
        Ok(removed)
    }

    /// Those of the messages that are there: one that somebody removed by hand is not any more.
    fn read_all(&self, tenant: &TenantId, ids: Vec<(MessageId, Owner)>) -> io::Result<Vec<Sealed>> {
        let mut messages = Vec::with_capacity(ids.len());
        for (id, owner) in ids {
            match fs::read(self.path(tenant, id, owner)) {
                Ok(sealed) => messages.push(Sealed { id, owner, sealed }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(messages)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index<'a>(&self, state: &'a mut State, tenant: &TenantId) -> io::Result<&'a mut Index> {
        if !state.tenants.contains_key(tenant) {
            let index = scan(&self.root.join(tenant.as_str()))?;
            state.tenants.insert(tenant.clone(), index);
        }
        Ok(state.tenants.entry(tenant.clone()).or_default())
    }

    fn path(&self, tenant: &TenantId, id: MessageId, owner: Owner) -> PathBuf {
        self.root.join(tenant.as_str()).join(format!("{id}.{}.{SUFFIX}", Uuid::from_bytes(owner).simple()))
    }

    /// Writes beside and renames, so that no reader meets half a message.
    fn write(&self, tenant: &TenantId, at: UnixMillis, message: &Sealed) -> io::Result<()> {
        let folder = self.root.join(tenant.as_str());
        make_folder(&folder)?;
        let beside = folder.join(format!("{BESIDE}{}.tmp", message.id));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&message.sealed)?;
        let millis = u64::try_from(at.0).unwrap_or(0);
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))?;
        fs::rename(&beside, self.path(tenant, message.id, message.owner))
    }
}

impl Index {
    fn insert(&mut self, id: MessageId, owner: Owner) {
        self.by_id.insert(id, owner);
        self.by_owner.insert((owner, id));
    }

    fn of(&self, owner: Owner) -> impl Iterator<Item = MessageId> + '_ {
        let [first, last] = [Uuid::nil(), Uuid::max()].map(|id| (owner, MessageId::from(id)));
        self.by_owner.range(first..=last).map(|(_, id)| *id)
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn time_of(time: SystemTime) -> UnixMillis {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A folder's messages; what is no message is passed over.
fn scan(folder: &Path) -> io::Result<Index> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Index::default()),
        Err(error) => return Err(error),
    };
    let mut index = Index::default();
    for entry in entries {
        if let Some((id, owner)) = entry?.file_name().to_str().and_then(named) {
            index.insert(id, owner);
        }
    }
    Ok(index)
}

/// The message and the person that a file's name tells.
fn named(name: &str) -> Option<(MessageId, Owner)> {
    let mut parts = name.split('.');
    let (id, owner, suffix) = (parts.next()?, parts.next()?, parts.next()?);
    let owner = Uuid::try_parse(owner).ok().filter(|_| suffix == SUFFIX && parts.next().is_none())?;
    Some((id.parse().ok()?, owner.into_bytes()))
}
