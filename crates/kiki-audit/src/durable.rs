//! How the appending thread tells the deriving one how much is durable.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The log's durable length, and whether it is complete. Shared between two threads.
#[derive(Debug)]
pub struct Durable {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) len: u64,
    pub(crate) stopped: bool,
}

impl Durable {
    /// A log of `len` entries.
    #[must_use]
    pub const fn new(len: u64) -> Self {
        Self { state: Mutex::new(State { len, stopped: false }), changed: Condvar::new() }
    }

    /// The log has `len` entries.
    pub fn set(&self, len: u64) {
        self.lock().len = len;
        self.changed.notify_all();
    }

    /// Nothing more will come.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Waits until there are more than `len` entries or the log is complete.
    pub(crate) fn wait_beyond(&self, len: u64) -> State {
        let waiting = |state: &mut State| state.len <= len && !state.stopped;
        *self.changed.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time`, or less if the log is complete before: then true.
    pub fn pause(&self, time: Duration) -> bool {
        let waiting = |state: &mut State| !state.stopped;
        let waited = self.changed.wait_timeout_while(self.lock(), time, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is two numbers: a panic elsewhere cannot leave it half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
