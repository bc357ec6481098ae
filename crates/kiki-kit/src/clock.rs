//! Time, passed in. Code that needs it takes an `Arc<dyn Clock>`; only [`SystemClock`] reads the machine's clocks.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kiki_types::UnixMillis;

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// The wall clock in UTC. It may jump, also backwards.
    fn now(&self) -> UnixMillis;

    /// Time since some fixed moment; never runs backwards.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    made: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self { made: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn now(&self) -> UnixMillis {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.made.elapsed()
    }
}

/// A clock that stands still until a test turns it.
#[derive(Debug)]
pub struct ManualClock {
    times: Mutex<(UnixMillis, Duration)>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: UnixMillis) -> Self {
        Self { times: Mutex::new((now, Duration::ZERO)) }
    }

    /// Lets `by` pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.0 = times.0.plus(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
        times.1 = times.1.saturating_add(by);
    }

    /// Sets the wall clock, as an administrator may; the monotonic clock does not notice.
    pub fn set(&self, now: UnixMillis) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(UnixMillis(1_000));
        clock.advance(Duration::from_millis(250));
        assert_eq!((clock.now(), clock.monotonic()), (UnixMillis(1_250), Duration::from_millis(250)));
        clock.set(UnixMillis(5));
        assert_eq!((clock.now(), clock.monotonic()), (UnixMillis(5), Duration::from_millis(250)));
    }

    #[test]
    fn the_system_clock_shows_this_century() {
        let clock = SystemClock::new();
        assert!(clock.now() > UnixMillis(1_700_000_000_000));
        assert!(clock.monotonic() <= clock.monotonic());
    }
}
