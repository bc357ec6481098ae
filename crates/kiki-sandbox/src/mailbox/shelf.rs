//! The mailbox's files. All calls block.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiki_types::id::MessageId;
use kiki_types::{TenantId, UnixMillis};
use mail_parser::{Address, Message, MessageParser};

use super::{DeliveryError, Faults, MESSAGE_BYTES_MAX};

/// Messages of a tenant at the most, unless another bound is given.
pub const MESSAGES_MAX: usize = 1_000_000;

const SUFFIX: &str = ".eml";

/// What a message's headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: MessageId,
    /// Its date; the beginning of 1970 if it has none.
    pub at: UnixMillis,
    /// The sender's address.
    pub from: String,
    /// The first recipient's address.
    pub to: String,
    /// Its subject.
    pub subject: String,
    /// Its length.
    pub bytes: usize,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The messages.
    pub messages: Vec<Summary>,
    /// Where the next page starts after; `None` on the last one.
    pub next: Option<MessageId>,
}

/// Files and the ids of those that exist.
pub(super) struct Shelf {
    root: PathBuf,
    faults: Faults,
    messages_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempts: u64,
    // Read from a tenant's folder when it is first asked for.
    ids: HashMap<TenantId, BTreeSet<MessageId>>,
}

impl Shelf {
    pub(super) fn open(root: &Path, faults: Faults, messages_max: usize) -> io::Result<Self> {
        make_folder(root)?;
        Ok(Self { root: root.to_owned(), faults, messages_max, state: Mutex::default() })
    }

    pub(super) fn deliver(&self, id: MessageId, tenant: &TenantId, eml: &[u8]) -> Result<(), DeliveryError> {
        let recipient = recipient(eml)?;
        // Held while the file is written: that orders the attempts and makes the bound exact.
        let mut state = self.lock();
        state.attempts += 1;
        self.faults.check(state.attempts, &recipient)?;
        let ids = self.ids(&mut state, tenant)?;
        if ids.contains(&id) {
            return Ok(());
        }
        if ids.len() >= self.messages_max {
            return Err(DeliveryError::Unavailable("452 4.2.2 mailbox full".to_owned()));
        }
        self.write(tenant, id, eml)?;
        ids.insert(id);
        Ok(())
    }

    pub(super) fn list(&self, tenant: &TenantId, after: Option<MessageId>, limit: usize) -> io::Result<Page> {
        let mut found: Vec<MessageId> = {
            let mut state = self.lock();
            let ids = self.ids(&mut state, tenant)?;
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            ids.range((start, Bound::Unbounded)).take(limit.saturating_add(1)).copied().collect()
        };
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().copied().filter(|_| more);
        let mut messages = Vec::with_capacity(found.len());
        for id in found {
            // One that somebody removed by hand is not there any more.
            if let Some(eml) = self.read(tenant, id)? {
                messages.push(summary(id, &eml));
            }
        }
        Ok(Page { messages, next })
    }

    pub(super) fn read(&self, tenant: &TenantId, id: MessageId) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(tenant, id)) {
            Ok(eml) => Ok(Some(eml)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids<'a>(&self, state: &'a mut State, tenant: &TenantId) -> io::Result<&'a mut BTreeSet<MessageId>> {
        if !state.ids.contains_key(tenant) {
            let ids = scan(&self.root.join(tenant.as_str()))?;
            state.ids.insert(tenant.clone(), ids);
        }
        Ok(state.ids.entry(tenant.clone()).or_default())
    }

    fn path(&self, tenant: &TenantId, id: MessageId) -> PathBuf {
        self.root.join(tenant.as_str()).join(format!("{id}{SUFFIX}"))
    }

    /// Writes beside and renames, so that no reader meets half a message.
    fn write(&self, tenant: &TenantId, id: MessageId, eml: &[u8]) -> io::Result<()> {
        let folder = self.root.join(tenant.as_str());
        make_folder(&folder)?;
        let beside = folder.join(format!(".{id}.tmp"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(eml)?;
        fs::rename(&beside, self.path(tenant, id))
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The ids of a folder's messages; what is no message is passed over.
fn scan(folder: &Path) -> io::Result<BTreeSet<MessageId>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error),
    };
    let mut ids = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        ids.extend(id.and_then(|id| id.parse::<MessageId>().ok()));
    }
    Ok(ids)
}

/// The recipient of a message that a provider would take: a sender, a recipient and a date (RFC 5322, 3.6).
fn recipient(eml: &[u8]) -> Result<String, DeliveryError> {
    let rejected = |why: &str| DeliveryError::Rejected(why.to_owned());
    if eml.len() > MESSAGE_BYTES_MAX {
        return Err(rejected("552 5.3.4 the message is too large"));
    }
    let message = MessageParser::default().parse_headers(eml).ok_or_else(|| rejected("554 5.6.0 no headers"))?;
    if first_address(message.from()).is_empty() || message.date().is_none() {
        return Err(rejected("554 5.6.0 a message needs From and Date"));
    }
    match first_address(message.to()) {
        to if to.is_empty() => Err(rejected("554 5.6.0 a message needs To")),
        to => Ok(to),
    }
}

fn summary(id: MessageId, eml: &[u8]) -> Summary {
    let message: Option<Message<'_>> = MessageParser::default().parse_headers(eml);
    let message = message.as_ref();
    Summary {
        id,
        at: UnixMillis(message.and_then(Message::date).map_or(0, |date| date.to_timestamp().saturating_mul(1_000))),
        from: first_address(message.and_then(Message::from)),
        to: first_address(message.and_then(Message::to)),
        subject: message.and_then(Message::subject).unwrap_or_default().to_owned(),
        bytes: eml.len(),
    }
}

fn first_address(list: Option<&Address<'_>>) -> String {
    list.and_then(Address::first).and_then(|address| address.address()).unwrap_or_default().to_owned()
}
