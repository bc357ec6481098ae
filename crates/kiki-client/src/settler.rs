//! Settling in the background what its owner could not wait for: holds that were dropped, and captures that found the
//! service away.
//!
//! A drop happens anywhere: while a panic unwinds, in a task that is cancelled, in a runtime that is shutting down. So the
//! settler is a thread with a runtime of its own, begun by the first hold that needs it and ended with the client. The queue,
//! the work at once and the time spent on each are bounded; what is beyond a bound is left to the hold's time to live, counted
//! and told to the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::api::{Api, Call, Settings};
use crate::error::Error;
use crate::model::{Authorization, Request};
use crate::retry::Retry;
use crate::settle::{Plan, Settle, settle};

/// Holds that wait to be settled.
const QUEUE_MAX: usize = 16_384;
/// Holds that are being settled at once.
const AT_ONCE_MAX: usize = 32;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Job {
    /// Settle a hold.
    Settle(Plan),
    /// Find out by its key what became of a request whose answer nobody waited for, and give it back.
    Withdraw(Arc<Request>),
}

/// Hands holds over to the thread that settles them.
pub(crate) struct Settler {
    settings: Arc<Settings>,
    patience: Duration,
    queue: OnceLock<Option<mpsc::Sender<(Job, Ticket)>>>,
    outstanding: watch::Sender<usize>,
    abandoned: Arc<AtomicU64>,
}

impl Settler {
    pub(crate) fn new(settings: Arc<Settings>, patience: Duration) -> Self {
        Self {
            settings,
            patience,
            queue: OnceLock::new(),
            outstanding: watch::Sender::new(0),
            abandoned: Arc::default(),
        }
    }

    /// Takes the job and returns at once.
    pub(crate) fn hand_over(&self, job: Job) {
        let ticket = Ticket::new(&self.outstanding, &self.abandoned);
        let queue = self.queue.get_or_init(|| self.begin());
        let taken = queue.as_ref().is_some_and(|queue| queue.try_send((job, ticket)).is_ok());
        if !taken {
            self.abandoned.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("no room for one more hold to settle: it is left to its time to live");
        }
    }

    /// Waits until nothing is left to settle.
    pub(crate) async fn idle(&self) {
        let mut outstanding = self.outstanding.subscribe();
        // The sender is in `self`, so waiting ends.
        let _ = outstanding.wait_for(|left| *left == 0).await;
    }

    pub(crate) fn outstanding(&self) -> usize {
        *self.outstanding.borrow()
    }

    pub(crate) fn abandoned(&self) -> u64 {
        self.abandoned.load(Ordering::Relaxed)
    }

    fn begin(&self) -> Option<mpsc::Sender<(Job, Ticket)>> {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let retry = Retry { attempts_max: u32::MAX, ..self.settings.retry };
        let settings = Settings { deadline: self.patience, retry, ..Settings::clone(&self.settings) };
        let thread = std::thread::Builder::new().name("kiki-settler".to_owned());
        let started = thread.spawn(move || work_alone(Arc::new(settings), jobs));
        started.inspect_err(|error| tracing::warn!(%error, "holds cannot be settled later")).ok()?;
        Some(queue)
    }
}

/// Counts one job from its handing over to its end, however it ends.
#[derive(Debug)]
struct Ticket {
    outstanding: watch::Sender<usize>,
    abandoned: Arc<AtomicU64>,
}

impl Ticket {
    fn new(outstanding: &watch::Sender<usize>, abandoned: &Arc<AtomicU64>) -> Self {
        outstanding.send_modify(|left| *left += 1);
        Self { outstanding: outstanding.clone(), abandoned: abandoned.clone() }
    }

    fn abandon(self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.outstanding.send_modify(|left| *left = left.saturating_sub(1));
    }
}

/// What the thread does: a runtime of its own around the work.
fn work_alone(settings: Arc<Settings>, mut jobs: mpsc::Receiver<(Job, Ticket)>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work(settings, jobs)),
        Err(error) => {
            tracing::warn!(%error, "holds cannot be settled later");
            jobs.close();
            while let Some((_, ticket)) = jobs.blocking_recv() {
                ticket.abandon();
            }
        }
    }
}

/// Until the client is gone and all that it handed over has ended.
async fn work(settings: Arc<Settings>, mut jobs: mpsc::Receiver<(Job, Ticket)>) {
    let api = Api::new(settings);
    let places = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut running = JoinSet::new();
    while let Some((job, ticket)) = jobs.recv().await {
        while running.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let api = api.clone();
        running.spawn(async move {
            if let Err(error) = done(&api, job).await {
                tracing::warn!(%error, "a hold could not be settled: it is left to its time to live");
                ticket.abandon();
            }
            drop(place);
        });
    }
    while running.join_next().await.is_some() {}
}

async fn done(api: &Api, job: Job) -> Result<(), Error> {
    let within = api.settings.deadline;
    let plan = match job {
        Job::Settle(plan) => plan,
        Job::Withdraw(request) => {
            let Some(plan) = withdrawal(api, request).await? else { return Ok(()) };
            plan
        }
    };
    settle(api, &plan, within).await.map(drop)
}

/// The same request with the same key is answered with what it led to.
async fn withdrawal(api: &Api, request: Arc<Request>) -> Result<Option<Plan>, Error> {
    match api.call::<Authorization>(&authorize_call(&request)).await {
        Ok(found) => Ok(Some(Plan { id: found.id, held: found.amount, settle: Settle::Void, request })),
        Err(Error::Denied(_) | Error::Conflict(_) | Error::Invalid(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn authorize_call(request: &Request) -> Call {
    Call::post("/v1/authorizations", request.key.clone().unwrap_or_default()).json(request)
}
