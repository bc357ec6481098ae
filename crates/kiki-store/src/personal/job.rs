//! What goes on with keys while a process serves: it follows the ring, and once an hour one of all processes renews it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiki_types::UnixMillis;

use super::error::KeysError;
use super::repo;
use super::subjects::Subjects;

/// How often it is looked whether another process changed the ring.
const TICK: Duration = Duration::from_secs(5);
/// How often the ring is looked after.
const EVERY_MS: i64 = 60 * 60 * 1_000;
/// How long another process leaves it alone.
const LEASE_MS: i64 = 10 * 60 * 1_000;
const LEASE: &str = "keys";
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How the keys of people stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// The master key above them.
    pub master: String,
    /// The epochs that live, ascending, and when each began. The last is the one that people are put into.
    pub living: Vec<(u32, UnixMillis)>,
    /// What keeps them from being renewed or destroyed in time.
    pub trouble: Option<String>,
}

impl Subjects {
    /// Follows the ring and looks after it, until `end`.
    pub async fn run(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut looked_after = None::<UnixMillis>;
        loop {
            let now = self.inner().entries.clock.now();
            if looked_after.is_none_or(|at| !(0..EVERY_MS).contains(&(now.0 - at.0))) {
                looked_after = Some(now);
                let trouble = self.look_after().await.err();
                if let Some(error) = &trouble {
                    tracing::error!(
                        error = error as &dyn std::error::Error,
                        "the keys of people were not looked after"
                    );
                }
                self.set_trouble(trouble.map(|error| error.to_string()));
            }
            if let Err(error) = self.tick().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the ring of keys was not followed");
            }
            tokio::select! {
                () = &mut end => return,
                () = self.inner().behind.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    async fn tick(&self) -> Result<(), KeysError> {
        if self.is_replaced() {
            self.reload().await?;
        }
        self.write_touched().await?;
        let inner = self.inner();
        if inner.traces.swap(false, Ordering::Relaxed) && !inner.store.overwrite_deleted().await? {
            self.leave_traces();
        }
        Ok(())
    }

    /// Begins an epoch when it is time, puts everybody into it, and destroys those that are over; unless another process
    /// does.
    ///
    /// # Errors
    /// The first thing that was in the way. What could be done was, and stays.
    pub async fn look_after(&self) -> Result<(), KeysError> {
        let (inner, now) = (self.inner(), self.inner().entries.clock.now());
        let mut tx = inner.store.begin().await?;
        let is_mine = repo::lease(&mut tx, LEASE, &inner.holder, now, now.plus(LEASE_MS)).await?;
        tx.commit().await?;
        if !is_mine {
            return Ok(());
        }
        self.reload().await?;
        // Whatever keeps a new epoch from beginning, those that are over end.
        let ended = self.end_earlier().await;
        let begun = self.rotate(inner.epoch_days).await;
        let moved = if matches!(begun, Ok(Some(_))) { self.end_earlier().await } else { Ok(()) };
        ended.and(begun).and(moved)
    }

    /// Puts everybody into the current epoch, and destroys those that are over.
    async fn end_earlier(&self) -> Result<(), KeysError> {
        let rewrapped = self.rewrap().await;
        let destroyed = self.destroy_ended().await;
        if rewrapped?.damaged > 0 {
            return Err(KeysError::NotNow("people whose rows are damaged keep an epoch alive"));
        }
        destroyed.map(|_| ())
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.inner().trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The epochs that keys of people are under, and how many.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn by_epoch(&self) -> Result<Vec<(u32, u64)>, crate::StoreError> {
        repo::epochs::rows_by_epoch(&mut *self.inner().store.pool().acquire().await?).await
    }

    /// How the keys stand, as this process knows them.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let (inner, epochs) = (self.inner(), self.epochs());
        let trouble = inner.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let days = i64::from(inner.epoch_days);
        let now = inner.entries.clock.now();
        let is_late = |n: u32, days: i64| now > epochs.began(n).plus((days + 1) * DAY_MS);
        let is_ahead = epochs.current().began > now.plus(DAY_MS);
        let late = is_ahead || is_late(epochs.current().n, days) || is_late(epochs.living()[0].n, 2 * days);
        let late = || late.then(|| "an epoch is older than it may become, or began in the future".to_owned());
        KeyStatus {
            master: inner.master.name().to_owned(),
            living: epochs.living().iter().map(|epoch| (epoch.n, epoch.began)).collect(),
            trouble: trouble.or_else(late),
        }
    }
}
