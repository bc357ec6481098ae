//! Where ids come from: [`SystemIds`] in production, [`CountingIds`] in tests that compare text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiki_types::{IdSource, UnixMillis, id};
use rand::RngCore as _;
use uuid::Uuid;

use crate::clock::Clock;

/// UUIDv7 of the given clock's time and the thread's random generator.
#[derive(Clone)]
pub struct SystemIds {
    clock: Arc<dyn Clock>,
}

impl SystemIds {
    /// Ids that carry the time of `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl IdSource for SystemIds {
    fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        rand::rng().fill_bytes(&mut random);
        id::uuid_v7(self.clock.now(), random)
    }
}

/// Ids that count from 1 at a fixed time, so that a test knows them beforehand.
#[derive(Debug, Default)]
pub struct CountingIds {
    given: AtomicU64,
}

impl IdSource for CountingIds {
    fn uuid(&self) -> Uuid {
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        id::uuid_v7(UnixMillis(0), random)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn ids_differ_and_carry_the_clocks_time() {
        let ids = SystemIds::new(Arc::new(ManualClock::at(UnixMillis(1_770_287_400_000))));
        let made: HashSet<Uuid> = (0..1_000).map(|_| ids.uuid()).collect();
        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|id| id.get_timestamp().unwrap().to_unix().0 == 1_770_287_400));
    }

    #[test]
    fn counted_ids_are_known_beforehand() {
        let ids = CountingIds::default();
        assert_eq!(ids.uuid().to_string(), "00000000-0000-7000-8000-000000000001");
        assert_eq!(ids.uuid().to_string(), "00000000-0000-7000-8000-000000000002");
    }
}
