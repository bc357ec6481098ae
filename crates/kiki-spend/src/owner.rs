//! The owner of a shard: one thread that holds the state in memory, takes commands in order, journals them in
//! batches and answers after the batch is durable.
//!
//! Batches are made by the disk, not by a timer: whatever came while the last batch was being written is the next
//! one. When the log fails, everything that was decided on top of it is thrown away, the callers are told that
//! nobody decided, and the state is folded again from what the disk has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kiki_audit::{Disk, Durable};
use kiki_types::event::AuditEvent;
use tokio::sync::{mpsc, oneshot, watch};

use crate::account::tenant_of;
use crate::ahead::AHEAD;
use crate::command::{Command, Notices, Outcome};
use crate::derive::{Told, derive, open_deriver};
use crate::digest::Digest;
use crate::limit::Standing;
use crate::query::AuthorizationView;
pub use crate::shard::{OpenError, Settings};
use crate::shard::{Shard, base, fold_all, write_snapshot};
use crate::state::{Applied, State};

/// Commands that may wait for the owner.
const QUEUE: usize = 16_384;
/// Commands after which a batch is written.
const BATCH: usize = 4096;
/// Entries after which a snapshot is made beside the running owner.
const SNAPSHOT_EVERY: u64 = 1_000_000;
/// How often an owner without a log tries to open it again.
pub(crate) const REOPEN: Duration = Duration::from_secs(1);

/// Nobody decided. It is not a denial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// More commands wait than the owner can take in.
    #[error("too many commands are waiting")]
    Busy,
    /// The log cannot be written.
    #[error("the log cannot be written")]
    Journal,
    /// The owner has ended.
    #[error("the governor is shutting down")]
    Stopped,
}

/// What came of a command, after it became durable.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The answer.
    pub outcome: Outcome,
    /// What else came of it.
    pub notices: Notices,
    /// The place of its entry in the log; `None` for repeats and for what decides nothing.
    pub index: Option<u64>,
    /// The governor's time.
    pub at: i64,
    /// The authorization it is about, if one is kept.
    pub authorization: Option<(Digest, AuthorizationView)>,
    /// For a request for money, its increase, or a check: how each limit stands after it, for somebody who asks for the same.
    pub standings: Vec<Standing>,
}

impl Decision {
    /// Where the log has it: the index of its entry; of a repeat, that of what it repeats, and of what
    /// decided nothing, that of the decision that made the authorization.
    #[must_use]
    pub fn entry(&self) -> Option<u64> {
        self.index.or_else(|| self.authorization.as_ref()?.1.entry)
    }
}

/// Outcomes, each with the index of its entry, if it is one.
pub type Answers = Vec<(Outcome, Option<u64>)>;

type Reply = Box<dyn FnOnce(Result<(), OwnerError>) + Send>;

enum Request {
    Decide(Box<(Command, AuditEvent)>, oneshot::Sender<Result<Decision, OwnerError>>),
    /// Several that become durable together or not at all.
    DecideAll(Vec<(Command, AuditEvent)>, oneshot::Sender<Result<Answers, OwnerError>>),
    /// Looks at the state now, answers with the batch.
    Read(Box<dyn FnOnce(&mut State) -> Reply + Send>),
    Stop,
}

impl Request {
    fn command(&self) -> Option<&Command> {
        match self {
            Self::Decide(command, _) => Some(&command.0),
            _ => None,
        }
    }
}

/// Asks the owner. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    queue: mpsc::Sender<Request>,
    is_deriving: Arc<AtomicBool>,
    covered: watch::Receiver<u64>,
}

impl Handle {
    /// Decides `command` for the tenant of `draft`, which becomes its audit entry: id, time, outcome and reason are
    /// filled in.
    ///
    /// # Errors
    /// [`OwnerError`]: nobody decided. After [`OwnerError::Journal`] the command may still be found to count.
    pub fn decide(
        &self,
        command: Command,
        draft: AuditEvent,
    ) -> impl Future<Output = Result<Decision, OwnerError>> + Send + use<> {
        // Queued here, so that the future does not hold what it asks: futures are copied into one another.
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Request::Decide(Box::new((command, draft)), reply));
        async move {
            sent?;
            answer.await.map_err(|_| OwnerError::Stopped)?
        }
    }

    /// Decides all of `commands`, in their order and in one write to the disk: at most 4 MiB of entries. The outcomes
    /// are in the same order.
    ///
    /// # Errors
    /// [`OwnerError`]: nobody decided any of them, or after [`OwnerError::Journal`] some may be found to count.
    pub async fn decide_all(&self, commands: Vec<(Command, AuditEvent)>) -> Result<Answers, OwnerError> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::DecideAll(commands, reply))?;
        answer.await.map_err(|_| OwnerError::Stopped)?
    }

    /// Looks at the state. The answer waits until everything it may show is durable.
    ///
    /// # Errors
    /// [`OwnerError`]: nobody looked.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, OwnerError> {
        let (reply, answer) = oneshot::channel();
        let read = move |state: &mut State| -> Reply {
            let seen = look(state);
            Box::new(move |durable: Result<(), OwnerError>| {
                // A caller that no longer waits is no error.
                let _ = reply.send(durable.map(|()| seen));
            })
        };
        self.send(Request::Read(Box::new(read)))?;
        answer.await.map_err(|_| OwnerError::Stopped)?
    }

    /// Whether tiles and views follow the log; false while they cannot be written.
    #[must_use]
    pub fn is_deriving(&self) -> bool {
        self.is_deriving.load(Ordering::Relaxed)
    }

    /// Waits until a signed checkpoint covers the entry `index`: true. False if that takes longer than `time_max`, or if no
    /// further checkpoint will be signed.
    pub fn covered(&self, index: u64, time_max: Duration) -> impl Future<Output = bool> + Send + use<> {
        let mut covered = self.covered.clone();
        async move {
            let wait = covered.wait_for(|&size| size > index);
            matches!(tokio::time::timeout(time_max, wait).await, Ok(Ok(_)))
        }
    }

    fn send(&self, request: Request) -> Result<(), OwnerError> {
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => OwnerError::Busy,
            mpsc::error::TrySendError::Closed(_) => OwnerError::Stopped,
        })
    }
}

/// The running owner. Dropping it leaves the thread to end when all handles are gone; [`Owner::stop`] waits.
pub struct Owner {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Owner {
    /// Opens the shard and starts its threads.
    ///
    /// # Errors
    /// [`OpenError`]: the log does not check, or another process owns it.
    pub fn start(settings: Settings) -> Result<Self, OpenError> {
        Self::start_on(kiki_audit::disk::real(), settings)
    }

    /// As [`Owner::start`], with the log on `disk`, at the paths of `settings`; keys and snapshots are on the real one.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn start_on(disk: Arc<dyn Disk>, settings: Settings) -> Result<Self, OpenError> {
        let shard = Shard::open_on(&disk, &settings)?;
        let deriver = open_deriver(&disk, &settings)?;
        let durable = Arc::new(Durable::new(shard.entries()));
        let (sender, queue) = mpsc::channel(QUEUE);
        let (covers, covered) = watch::channel(deriver.checkpoint().size);
        let handle = Handle { queue: sender, is_deriving: Arc::new(AtomicBool::new(true)), covered };
        let told = Told { is_deriving: handle.is_deriving.clone(), covers };
        let running = Running {
            disk: disk.clone(),
            settings: settings.clone(),
            queue,
            durable: durable.clone(),
            snapshots: None,
        };
        let thread = std::thread::spawn(move || {
            let derived = std::thread::spawn({
                let durable = durable.clone();
                move || derive(deriver, &disk, &settings, &durable, &told)
            });
            running.run(shard);
            durable.stop();
            if derived.join().is_err() {
                tracing::error!("deriving tiles and views panicked");
            }
        });
        Ok(Self { handle, thread })
    }

    /// A handle to ask with.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Answers what waits, writes a snapshot, derives what is left, ends. Blocks until it is done.
    pub fn stop(self) {
        if self.handle.queue.blocking_send(Request::Stop).is_ok() && self.thread.join().is_err() {
            tracing::error!("the governor's thread panicked");
        }
    }
}

/// What to answer once the batch is durable.
enum Waiting {
    Decision(Box<Decision>, oneshot::Sender<Result<Decision, OwnerError>>),
    All(Answers, oneshot::Sender<Result<Answers, OwnerError>>),
    Read(Reply),
}

impl Waiting {
    fn answer(self, durable: Result<(), OwnerError>) {
        match self {
            // A caller that no longer waits is no error: its decision stands and is in the log.
            Self::Decision(decision, reply) => drop(reply.send(durable.map(|()| *decision))),
            Self::All(answers, reply) => drop(reply.send(durable.map(|()| answers))),
            Self::Read(reply) => reply(durable),
        }
    }
}

struct Running {
    disk: Arc<dyn Disk>,
    settings: Settings,
    queue: mpsc::Receiver<Request>,
    durable: Arc<Durable>,
    snapshots: Option<JoinHandle<()>>,
}

impl Running {
    fn run(mut self, shard: Shard) {
        let mut open = Some(shard);
        while let Some(mut shard) = open.take() {
            if self.serve(&mut shard) {
                shard.snapshot();
                break;
            }
            drop(shard);
            open = self.reopen();
        }
        if let Some(thread) = self.snapshots.take() {
            let _ = thread.join();
        }
    }

    /// Serves until told to stop (true) or until the log fails (false).
    fn serve(&mut self, shard: &mut Shard) -> bool {
        let mut waiting = Vec::with_capacity(BATCH + AHEAD);
        let mut next = Vec::with_capacity(AHEAD);
        loop {
            if self.queue.blocking_recv_many(&mut next, AHEAD) == 0 {
                return true;
            }
            let mut stops = false;
            while !next.is_empty() {
                shard.state.look_ahead(next.iter().filter_map(Request::command));
                for request in next.drain(..) {
                    match request {
                        Request::Stop => stops = true,
                        Request::Read(look) => waiting.push(read(shard, look)),
                        Request::Decide(command, reply) => decide(shard, *command, reply, &mut waiting),
                        Request::DecideAll(commands, reply) => waiting.push(decide_all(shard, commands, reply)),
                    }
                }
                while !stops && waiting.len() < BATCH && !shard.is_full() && next.len() < AHEAD {
                    let Ok(request) = self.queue.try_recv() else { break };
                    next.push(request);
                }
            }
            let written = shard.commit();
            if let Err(error) = &written {
                tracing::error!(%error, "the log cannot be written; nothing of this batch is answered");
            } else {
                self.durable.set(shard.entries());
            }
            let durable = written.map_err(|_| OwnerError::Journal);
            for one in waiting.drain(..) {
                one.answer(durable.clone());
            }
            match (stops, durable) {
                (true, Ok(())) => return true,
                (true, Err(_)) => {
                    // The state is ahead of the log and no snapshot may be made of it: open once more, then end.
                    self.queue.close();
                    return false;
                }
                (false, Err(_)) => return false,
                (false, Ok(())) => self.snapshot_beside(shard),
            }
        }
    }

    /// Refuses what comes until the log opens again; `None` when told to stop first.
    fn reopen(&mut self) -> Option<Shard> {
        let mut tried: Option<Instant> = None;
        loop {
            if tried.is_none_or(|tried| tried.elapsed() >= REOPEN) {
                match Shard::open_on(&self.disk, &self.settings) {
                    Ok(shard) => {
                        self.durable.set(shard.entries());
                        return Some(shard);
                    }
                    Err(error) => tracing::error!(%error, "the log does not open"),
                }
                tried = Some(Instant::now());
            }
            match self.queue.blocking_recv()? {
                Request::Stop => return None,
                Request::Decide(_, reply) => drop(reply.send(Err(OwnerError::Journal))),
                Request::DecideAll(_, reply) => drop(reply.send(Err(OwnerError::Journal))),
                // Dropping the question tells its caller that nobody looked.
                Request::Read(look) => drop(look),
            }
        }
    }

    /// Makes a snapshot by folding the log in a thread of its own, so that no command waits for it.
    fn snapshot_beside(&mut self, shard: &mut Shard) {
        let to = shard.entries();
        let is_running = self.snapshots.as_ref().is_some_and(|thread| !thread.is_finished());
        if is_running || to - shard.snapshot_at < SNAPSHOT_EVERY {
            return;
        }
        shard.snapshot_at = to;
        let (disk, settings) = (self.disk.clone(), self.settings.clone());
        self.snapshots = Some(std::thread::spawn(move || {
            if let Err(error) = fold_and_snapshot(&disk, &settings, to) {
                tracing::warn!(%error, "no snapshot written; the next start replays more of the log");
            }
        }));
    }
}

/// Writes a snapshot of the state after `to` entries, which are durable.
pub(crate) fn fold_and_snapshot(disk: &Arc<dyn Disk>, settings: &Settings, to: u64) -> Result<(), OpenError> {
    let (from, mut state) = base(disk, settings)?;
    fold_all(disk, &settings.audit(), &mut state, from, to)?;
    write_snapshot(disk, settings, to, &state)
}

fn read(shard: &mut Shard, look: Box<dyn FnOnce(&mut State) -> Reply + Send>) -> Waiting {
    let now = shard.now();
    shard.state.advance(now);
    Waiting::Read(look(&mut shard.state))
}

fn decide_all(
    shard: &mut Shard,
    commands: Vec<(Command, AuditEvent)>,
    reply: oneshot::Sender<Result<Answers, OwnerError>>,
) -> Waiting {
    let mut answers = Vec::with_capacity(commands.len());
    shard.state.look_ahead(commands.iter().map(|(command, _)| command));
    for (command, draft) in commands {
        match shard.decide(&command, draft) {
            Ok((applied, index)) => answers.push((applied.outcome, index)),
            Err(error) => {
                tracing::error!(%error, "an entry cannot be encoded; nothing of this batch is answered");
                break;
            }
        }
    }
    Waiting::All(answers, reply)
}

/// The authorization that `command` is about, if it is about one that was made before.
const fn about(command: &Command) -> Option<Digest> {
    match command {
        Command::Capture { id, .. }
        | Command::Void { id }
        | Command::Increase { id, .. }
        | Command::Refund { id, .. }
        | Command::Approve { id, .. }
        | Command::Reject { id, .. } => Some(*id),
        _ => None,
    }
}

/// The key of an increase or a refund. Its repeat is about the entry of the change.
const fn key_of_change(command: &Command) -> Option<Digest> {
    match command {
        Command::Increase { key, .. } | Command::Refund { key, .. } => *key,
        _ => None,
    }
}

/// Whether the authorization that `command` is about belongs to `tenant`. One that does not is as good as unknown.
fn is_own(state: &State, command: &Command, tenant: &str) -> bool {
    let view = about(command).and_then(|id| state.authorization(id));
    view.is_none_or(|view| tenant_of(&view.path) == tenant)
}

fn decide(
    shard: &mut Shard,
    (command, draft): (Command, AuditEvent),
    reply: oneshot::Sender<Result<Decision, OwnerError>>,
    waiting: &mut Vec<Waiting>,
) {
    if !is_own(&shard.state, &command, draft.tenant.as_str()) {
        let (outcome, notices, standings) = (Outcome::Unknown, Notices::new(), Vec::new());
        let decision = Decision { outcome, notices, index: None, at: shard.now(), authorization: None, standings };
        waiting.push(Waiting::Decision(Box::new(decision), reply));
        return;
    }
    match shard.decide(&command, draft) {
        Ok((applied, index)) => {
            let state = &mut shard.state;
            let id = match &command {
                Command::Authorize(request) => {
                    request.key.and_then(|key| state.authorization_of(key)).or(Some(request.id))
                }
                Command::Record(record) => record.key.and_then(|key| state.authorization_of(key)).or(record.id),
                command => about(command),
            };
            let standings = match &command {
                Command::Authorize(request) => state.explain(request),
                Command::Increase { id, amount, .. } => state.explain_increase(*id, *amount),
                Command::Check { path } => state.standings(path, 1),
                _ => Vec::new(),
            };
            let mut authorization = id.and_then(|id| Some((id, state.authorization(id)?)));
            if let (false, Some((id, view)), Some(key)) = (applied.is_new, &mut authorization, key_of_change(&command))
            {
                view.entry = state.entry_of_change(*id, key).or(view.entry);
            }
            let Applied { outcome, notices, .. } = applied;
            let decision = Decision { outcome, notices, index, at: state.now(), authorization, standings };
            waiting.push(Waiting::Decision(Box::new(decision), reply));
        }
        Err(error) => {
            tracing::error!(%error, "an entry cannot be encoded; nothing of this batch is answered");
            drop(reply.send(Err(OwnerError::Journal)));
        }
    }
}
