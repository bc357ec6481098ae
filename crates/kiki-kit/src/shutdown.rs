//! Ending in order: [`Shutdown`] says that the end has begun, [`Tasks`] knows who still works.
//!
//! Soft comes first: stop accepting, finish what was begun. Hard follows when the drain time is over, or on a second
//! signal: let go. Every task is spawned through [`Tasks`], so none outlives the end unnoticed.

use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::RequestContext;

/// How long tasks may take to notice that they are let go.
const LET_GO: Duration = Duration::from_secs(1);

/// Whether the end has begun. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Shutdown {
    /// Nothing ends yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the end: no work is accepted any more, what was begun is finished.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Lets go of what is still not finished. Begins the end as well.
    pub fn abort(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Waits for the beginning of the end. Polled by many they share no lock, but each takes its own at each poll.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.soft.child_token().cancelled_owned()
    }

    /// Waits until what is not finished is let go.
    pub fn aborted(&self) -> impl Future<Output = ()> + Send + use<> {
        self.hard.child_token().cancelled_owned()
    }
}

/// How the end went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every task finished.
    Cleanly,
    /// So many tasks were let go.
    Unfinished(usize),
}

/// Every task of the process. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
}

impl Tasks {
    /// Tasks that end with `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { tracker: TaskTracker::new(), shutdown }
    }

    /// The shutdown that these tasks end with.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Runs `task` until it is done. It should end soon after [`Shutdown::draining`]; when tasks are let go it is dropped at
    /// its next await. It keeps the context of the request that started it. Its panic is logged under `name`. The result is
    /// `None` if it panicked or was let go.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        // A token of its own, since all who wait on one token take its lock at each poll.
        let aborted = self.shutdown.hard.child_token();
        let guarded = async move {
            let outcome = aborted.run_until_cancelled(AssertUnwindSafe(task).catch_unwind()).await?;
            logged(name, outcome)
        };
        match RequestContext::current() {
            Some(context) => self.tracker.spawn(context.scope(guarded)),
            None => self.tracker.spawn(guarded),
        }
    }

    /// Runs `task`, which ends by itself as soon as [`Shutdown::aborted`]: for one that is polled so often that what it
    /// waits for beside its work counts.
    pub(crate) fn spawn_heedful(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let guarded = AssertUnwindSafe(task).catch_unwind().map(move |outcome| logged(name, outcome));
        drop(self.tracker.spawn(guarded));
    }

    /// Runs `work` on a thread where it may block. It cannot be let go: bound it.
    pub fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.tracker.spawn_blocking(work)
    }

    /// Begins the end at SIGTERM or SIGINT, and lets go at the second one.
    ///
    /// # Errors
    /// The operating system refuses to report signals.
    pub fn end_on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.shutdown.clone();
        // Not one of the tasks that the end waits for: it waits for the end.
        let watch = async move {
            for end in [Shutdown::begin, Shutdown::abort] {
                let received = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!(signal = received, "shutting down");
                end(&shutdown);
            }
        };
        #[expect(clippy::disallowed_methods, reason = "outlives the drain on purpose, to hear the second signal")]
        drop(tokio::spawn(watch));
        Ok(())
    }

    /// Waits for the beginning of the end, then for all tasks; after `drain` those that are left are let go.
    pub async fn ended(&self, drain: Duration) -> Ended {
        self.shutdown.draining().await;
        self.tracker.close();
        tokio::select! {
            () = self.tracker.wait() => return Ended::Cleanly,
            () = tokio::time::sleep(drain) => {}
            () = self.shutdown.aborted() => {}
        }
        let unfinished = self.tracker.len();
        self.shutdown.abort();
        let noticed = tokio::time::timeout(LET_GO, self.tracker.wait()).await;
        tracing::warn!(unfinished, noticed = noticed.is_ok(), "tasks let go");
        if unfinished == 0 { Ended::Cleanly } else { Ended::Unfinished(unfinished) }
    }
}

fn logged<T>(name: &'static str, outcome: std::thread::Result<T>) -> Option<T> {
    outcome.map_err(|_| tracing::error!(task = name, "task panicked")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CountingIds;

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn what_was_begun_is_finished_before_the_end() {
        let tasks = Tasks::new(Shutdown::new());
        let shutdown = tasks.shutdown().clone();
        let task = tasks.spawn("finishes", async move {
            shutdown.draining().await;
            tokio::task::yield_now().await;
            7
        });
        tasks.shutdown().begin();
        assert_eq!(tasks.ended(LONG).await, Ended::Cleanly);
        assert_eq!(task.await.unwrap(), Some(7));
    }

    #[tokio::test]
    async fn what_does_not_finish_in_time_is_let_go() {
        let tasks = Tasks::new(Shutdown::new());
        let task = tasks.spawn("hangs", std::future::pending::<()>());
        tasks.shutdown().begin();
        assert_eq!(tasks.ended(Duration::from_millis(1)).await, Ended::Unfinished(1));
        assert_eq!(task.await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_second_signal_does_not_wait() {
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("hangs", std::future::pending::<()>());
        tasks.shutdown().abort();
        assert_eq!(tasks.ended(LONG).await, Ended::Unfinished(1));
    }

    #[tokio::test]
    async fn a_task_keeps_the_context_of_the_request_that_started_it() {
        let tasks = Tasks::new(Shutdown::new());
        let context = RequestContext::fresh(&CountingIds::default());
        let id = context.request_id().to_owned();
        let inside = async { tasks.spawn("asks", async { RequestContext::current() }).await };
        let found = context.scope(inside).await.unwrap().unwrap();
        assert_eq!(found.unwrap().request_id(), id);
    }

    #[tokio::test]
    async fn a_panicking_task_takes_nobody_with_it() {
        let tasks = Tasks::new(Shutdown::new());
        let task = tasks.spawn("panics", async { panic!("on purpose") });
        assert_eq!(task.await.unwrap(), None::<()>);
    }

    #[tokio::test]
    async fn the_first_signal_begins_the_end_and_the_second_lets_go() {
        let tasks = Tasks::new(Shutdown::new());
        tasks.end_on_signals().unwrap();
        let terminate = || {
            use rustix::process::{Signal, getpid, kill_process};
            kill_process(getpid(), Signal::TERM).unwrap();
        };
        terminate();
        tasks.shutdown().draining().await;
        let aborted = tasks.shutdown().aborted();
        assert!(aborted.now_or_never().is_none());
        terminate();
        tasks.shutdown().aborted().await;
    }
}
