//! A state and the log that it follows from: opening, folding, deciding.
//!
//! Invariant: the state is what the entries of the log give, plus the commands of the batch that is being made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiki_audit::{Batch, Disk, ENTRY_BYTES_MAX, Entry, Log, LogKey, Options, PushError, Reader};
use kiki_types::event::{AuditEvent, Level, Outcome as EventOutcome};
use kiki_types::{IdSource, UnixMillis};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::account::DEPTH_MAX;
use crate::command::{Command, FORGOTTEN_MAX, Notices, Outcome};
use crate::fault::Fault;
use crate::kind::VALUES_BYTES_MAX;
use crate::retention;
use crate::snapshot;
use crate::state::{Applied, Bounds, LIMIT_ID_BYTES_MAX, LIMITS_PER_ACCOUNT_MAX, State};

/// Where a shard lives and what it is made with.
#[derive(Clone)]
pub struct Settings {
    /// `$KIKI_DATA`: the log is in `audit/`, snapshots in `spend/`, keys in `keys/`.
    pub data: PathBuf,
    /// The log's name in its checkpoints.
    pub origin: String,
    /// Shown in the views as the time for which entries are kept.
    pub retention_days: u32,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    /// Where the ids of entries come from.
    pub ids: Arc<dyn IdSource>,
    /// Randomness for the log's key, asked for once in the life of an installation.
    pub key_seed: fn() -> Zeroizing<[u8; 32]>,
}

impl Settings {
    pub(crate) fn audit(&self) -> PathBuf {
        self.data.join("audit")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.data.join("spend")
    }

    pub(crate) fn key(&self) -> Result<LogKey, OpenError> {
        LogKey::open_or_create(&self.data.join("keys"), &self.origin, self.key_seed)
            .map_err(|error| OpenError::Key(error.to_string()))
    }
}

/// Why a shard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log's key cannot be read or made.
    #[error("the log's key: {0}")]
    Key(String),
    /// The log does not open.
    #[error("the log does not open")]
    Log(#[from] kiki_audit::OpenError),
    /// The log does not read.
    #[error("the log does not check")]
    Read(#[from] kiki_audit::Error),
    /// Snapshots cannot be read.
    #[error("snapshots in {path}: {source}")]
    Snapshot {
        /// Their folder.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// The beginning of the log was pruned, and no snapshot tells the state after it.
    #[error("the entries before {minimum} were pruned, and no snapshot in {path} holds the state after them")]
    Pruned {
        /// The first entry that the log keeps.
        minimum: u64,
        /// Where snapshots are.
        path: PathBuf,
    },
    /// The rules give another outcome than the log has.
    #[error("{place}: {problem}")]
    Fold {
        /// The entry's place.
        place: String,
        /// What differs.
        problem: String,
    },
}

/// Limits that an event's reason names at the most; the entry's outcome names all.
const REASONS_MAX: usize = 16;

// A denial names every limit of its path at the most, and must fit into an entry with all else that is in it.
const _: () = assert!(
    (DEPTH_MAX * LIMITS_PER_ACCOUNT_MAX + REASONS_MAX) * (LIMIT_ID_BYTES_MAX + 8) + 16 * 1024 <= ENTRY_BYTES_MAX
);

// Every limit of the path may be in shadow and refuse, and tell the share that is reached as well.
const _: () = assert!(DEPTH_MAX * LIMITS_PER_ACCOUNT_MAX * 2 * (LIMIT_ID_BYTES_MAX + 32) + 6 * 1024 <= ENTRY_BYTES_MAX);
// The longest definition.
const _: () = assert!(VALUES_BYTES_MAX + LIMIT_ID_BYTES_MAX + 6 * 1024 <= ENTRY_BYTES_MAX);
// The most people that are forgotten, each with quotes and a comma.
const _: () = assert!(FORGOTTEN_MAX * 35 + 6 * 1024 <= ENTRY_BYTES_MAX);

/// The engine's part of an entry.
#[derive(Serialize, Deserialize)]
pub(crate) struct Body<C, O, N> {
    /// The governor's time, which never runs backwards.
    pub(crate) at: i64,
    pub(crate) cmd: C,
    pub(crate) out: O,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notices: Option<N>,
}

/// The engine's part of `entry`.
pub(crate) fn body(entry: &Entry) -> Result<Body<Command, Outcome, Notices>, String> {
    let raw = entry.body.as_deref().ok_or("expected a body with a command and its outcome, found none")?;
    serde_json::from_str(raw.get()).map_err(|error| format!("its body is no command with its outcome: {error}"))
}

/// An entry's command and its outcome, ready to be applied. Decoding needs no state, so it may run ahead.
pub struct Decoded(Body<Command, Outcome, Notices>);

/// Decodes the engine's part of `entry`.
///
/// # Errors
/// It has none.
pub fn decode(entry: &Entry) -> Result<Decoded, String> {
    body(entry).map(Decoded)
}

/// Applies an entry of the log to `state` and compares the outcome with the one that the log has.
///
/// # Errors
/// What the entry should have held, and what it holds.
pub fn fold(state: &mut State, entry: &Entry) -> Result<(), String> {
    fold_decoded(state, decode(entry)?)
}

/// As [`fold`], for an entry that was decoded before.
///
/// # Errors
/// As [`fold`].
pub fn fold_decoded(state: &mut State, Decoded(body): Decoded) -> Result<(), String> {
    let applied = state.apply(&body.cmd, body.at);
    if applied.outcome != body.out || !applied.is_new {
        return Err(format!("the rules give {:?}, the log has {:?}", applied.outcome, body.out));
    }
    let told = body.notices.unwrap_or_default();
    if applied.notices != told {
        return Err(format!("the rules tell {:?}, the log has {told:?}", applied.notices));
    }
    Ok(())
}

/// Folds the entries `from..to` of the log in `audit` into `state`.
pub(crate) fn fold_all(
    disk: &Arc<dyn Disk>,
    audit: &Path,
    state: &mut State,
    from: u64,
    to: u64,
) -> Result<(), OpenError> {
    let mut reader = Reader::open_on(disk, audit, from, to)?;
    while let Some(record) = reader.next_record()? {
        let entry = record.entry()?;
        fold(state, &entry).map_err(|problem| OpenError::Fold { place: record.place().to_string(), problem })?;
    }
    Ok(())
}

/// The hash of the last of the first `entries` entries of the log in `audit`.
pub(crate) fn last_hash(disk: &Arc<dyn Disk>, audit: &Path, entries: u64) -> Result<[u8; 32], kiki_audit::Error> {
    let mut reader = Reader::open_on(disk, audit, entries.saturating_sub(1), entries)?;
    Ok(reader.next_record()?.map_or([0; 32], |record| Sha256::digest(record.bytes).into()))
}

/// Writes a snapshot of the state after `entries` entries of the log.
pub(crate) fn write_snapshot(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    entries: u64,
    state: &State,
) -> Result<(), OpenError> {
    let last = last_hash(disk, &settings.audit(), entries)?;
    let path = settings.snapshots();
    snapshot::write(&path, entries, last, state).map_err(|source| OpenError::Snapshot { path, source })
}

/// The newest snapshot of this log, or the beginning.
pub(crate) fn base(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<(u64, State), OpenError> {
    let (path, audit) = (settings.snapshots(), settings.audit());
    // A log that cannot be read as far is not to be hidden by passing the snapshot over: opening it says what is wrong.
    let fits = |entries, last| last_hash(disk, &audit, entries).map_or(true, |hash| hash == last);
    let newest = snapshot::newest(&path, Bounds::default(), fits);
    let newest = newest.map_err(|source| OpenError::Snapshot { path: path.clone(), source })?;
    let minimum = kiki_audit::pruned::minimum(disk.as_ref(), &audit)?;
    match newest {
        Some(newest) if newest.0 >= minimum => Ok(newest),
        _ if minimum > 0 => Err(OpenError::Pruned { minimum, path }),
        _ => Ok(newest.unwrap_or_else(|| (0, State::new(Bounds::default())))),
    }
}

/// A state with its log open for appending.
pub struct Shard {
    /// The state, which shows what is in the batch too.
    pub state: State,
    log: Log,
    batch: Batch,
    disk: Arc<dyn Disk>,
    settings: Settings,
    /// The state holds something that the batch does not.
    is_poisoned: bool,
    /// When the first entry of the log's last segment was decided.
    segment_since: Option<i64>,
    /// After how many entries the newest snapshot was made.
    pub(crate) snapshot_at: u64,
}

impl Shard {
    /// Opens the log on `disk`, at the paths of `settings`; keys and snapshots are on the real one.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open_on(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<Self, OpenError> {
        let key = settings.key()?.verifier().clone();
        let (snapshot_at, mut state) = base(disk, settings)?;
        let options = Options { check_from: snapshot_at, key: Some(key), ..Options::default() };
        let (log, opened) = Log::open_on(disk.clone(), &settings.audit(), &options)?;
        if let Some(torn) = &opened.torn {
            tracing::warn!(place = %torn.place, bytes = torn.bytes, "cut an incomplete record off the log's end");
        }
        fold_all(disk, &settings.audit(), &mut state, snapshot_at, opened.len)?;
        if state.entries() != opened.len {
            let problem = format!("the state has counted {} entries, the log has {}", state.entries(), opened.len);
            return Err(OpenError::Fold { place: settings.audit().display().to_string(), problem });
        }
        tracing::info!(entries = opened.len, replayed = opened.len - snapshot_at, "the log is open");
        let segment_since = retention::time_of(disk, &settings.audit(), log.segment_first(), log.len())?;
        let (batch, disk, settings) = (Batch::new(), disk.clone(), settings.clone());
        Ok(Self { state, log, batch, disk, settings, is_poisoned: false, segment_since, snapshot_at })
    }

    /// Entries in the log.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.log.len()
    }

    /// Whether the batch should be written before more is put into it.
    pub(crate) fn is_full(&self) -> bool {
        const BATCH_BYTES: usize = 4 * 1024 * 1024;
        self.batch.bytes() >= BATCH_BYTES
    }

    /// The governor's time.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.state.now().max((self.settings.clock)().0)
    }

    /// Decides `command` and puts its entry into the batch. Returns the entry's index if it is to become one.
    /// After an error nothing more can be committed: the state has moved on without an entry.
    ///
    /// # Errors
    /// The entry cannot be encoded.
    pub fn decide(&mut self, command: &Command, draft: AuditEvent) -> Result<(Applied, Option<u64>), PushError> {
        let at = self.now();
        let applied = self.state.apply(command, at);
        if !applied.is_new {
            return Ok((applied, None));
        }
        let event = complete(draft, &applied.outcome, at, self.settings.ids.as_ref());
        let index = self.log.len() + self.batch.len() as u64;
        let notices = Some(&applied.notices).filter(|notices| !notices.is_empty());
        let body = Body { at, cmd: command, out: &applied.outcome, notices };
        let pushed = self.batch.push_with(&event, &body);
        self.is_poisoned |= pushed.is_err();
        pushed.map(|()| (applied, Some(index)))
    }

    /// Makes the batch durable.
    ///
    /// # Errors
    /// Whether it is durable is known after the shard was opened again.
    pub fn commit(&mut self) -> Result<(), std::io::Error> {
        if self.is_poisoned {
            return Err(std::io::Error::other("a decision could not be encoded as an entry"));
        }
        let is_durable_later = Fault::ANSWER_BEFORE_DISK.is_on() && self.batch.len() < 8;
        if !self.batch.is_empty() && !is_durable_later {
            self.append()?;
        }
        Ok(())
    }

    fn append(&mut self) -> Result<(), std::io::Error> {
        let now = self.now();
        if self.segment_since.is_some_and(|since| retention::ends_segment(since, now, self.log.segment_bytes())) {
            self.log.seal();
        }
        let first = self.log.segment_first();
        self.log.append(&mut self.batch)?;
        self.batch.clear();
        if self.segment_since.is_none() || self.log.segment_first() != first {
            self.segment_since = Some(now);
        }
        Ok(())
    }

    /// Writes a snapshot of what is durable; call it with an empty batch.
    pub(crate) fn snapshot(&mut self) {
        let entries = self.log.len();
        if entries == self.snapshot_at {
            return;
        }
        match write_snapshot(&self.disk, &self.settings, entries, &self.state) {
            Ok(()) => self.snapshot_at = entries,
            Err(error) => tracing::warn!(%error, "no snapshot written; the next start replays more of the log"),
        }
    }
}

/// The draft with what only the decision knows: id, time, outcome, reason. An event of another service, which has
/// an id, keeps its own.
fn complete(mut event: AuditEvent, outcome: &Outcome, at: i64, ids: &dyn IdSource) -> AuditEvent {
    if event.id.is_nil() {
        event.id = ids.uuid();
        event.at = UnixMillis(at);
    }
    if let Outcome::Denied { refused_by } = outcome {
        event.outcome = EventOutcome::Denied;
        event.reason = refused_by.iter().take(REASONS_MAX).map(|limit| &**limit).collect::<Vec<_>>().join(" ");
        if refused_by.len() > REASONS_MAX {
            event.reason.push_str(" and more");
        }
    }
    if event.outcome == EventOutcome::Denied {
        event.level = Level::Warning;
    }
    event
}

/// The governor's time at which `entry` was decided, in milliseconds since 1970; `None` if it is no entry of the
/// governor. It never runs backwards from entry to entry.
#[must_use]
pub fn governor_time(entry: &Entry) -> Option<i64> {
    #[derive(Deserialize)]
    struct Time {
        at: i64,
    }
    serde_json::from_str::<Time>(entry.body.as_deref()?.get()).ok().map(|time| time.at)
}
