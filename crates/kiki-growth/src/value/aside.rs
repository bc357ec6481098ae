//! Work that computes for a while, away from the threads that serve requests.
//!
//! A batch over decades computes for minutes. On a thread that serves requests nothing else would be answered meanwhile, in a
//! process that holds all services no spend either. It holds: only what takes some milliseconds at the most is computed there;
//! of the rest no more runs at once than there are processors, the others wait; what nobody waits for any more ends with the
//! answer that it is at.

use std::num::NonZero;
use std::sync::{Arc, Weak};
use std::thread;

use tokio::sync::Semaphore;

use super::error::ValueError;
use super::service::Value;

/// Months of predictions that are computed at once where requests are served. Such a month takes 30 microseconds at the most,
/// and mostly less than one.
pub(super) const MONTHS_MAX: f64 = 240.0;

/// Room for work that takes longer.
#[derive(Debug)]
pub(super) struct Room(pub(super) Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, NonZero::get))))
    }
}

/// Whoever waits for an answer.
pub(super) struct Asker(Weak<()>);

impl Asker {
    /// Whether nobody waits any more, so that what is done is of no use.
    pub(super) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Value {
    /// Does `work`, which predicts so many `months` in all. It is to end early if its asker is gone; what it gives then is
    /// thrown away.
    ///
    /// # Errors
    /// [`ValueError::Ending`].
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        months: f64,
        work: impl FnOnce(&Asker) -> T + Send + 'static,
    ) -> Result<T, ValueError> {
        let waits = Arc::new(());
        let asker = Asker(Arc::downgrade(&waits));
        if months <= MONTHS_MAX {
            return Ok(work(&asker));
        }
        let place = Arc::clone(&self.room.0).acquire_owned().await.map_err(|_| ValueError::Ending)?;
        let work = move || {
            let done = work(&asker);
            drop(place);
            done
        };
        let done = self.needs.tasks.spawn_blocking(work).await.map_err(|_| ValueError::Ending);
        drop(waits);
        done
    }
}
