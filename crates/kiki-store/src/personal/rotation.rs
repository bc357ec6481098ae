//! How epochs come and go: a new one begins, everybody is put into it, the old one is destroyed with all that is under it.
//!
//! Each step is durable before the next and may be repeated. The ring has a new epoch before SQL does, and nobody is put into
//! it before SQL does; an epoch leaves the ring after nobody is in it, and nobody comes into one that is not the current one.

use kiki_types::UnixMillis;

use super::epoch::{Epochs, Found};
use super::error::KeysError;
use super::files;
use super::keyring::{self, KeyRing, LIVING_MAX};
use super::opening::{apart, fresh_epoch};
use super::repo::{self, CHUNK, Row};
use super::subjects::Subjects;
use crate::StoreError;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What a pass over an epoch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// People who are in the current epoch now.
    pub moved: u64,
    /// People whose row does not open. They stay where they are, and keep their epoch alive.
    pub damaged: u64,
}

impl Subjects {
    /// Begins an epoch, if the current one is `at_least_days` old, or began when a clock was ahead. Returns its number.
    ///
    /// # Errors
    /// The master key, the database or the ring does not do its part; people of earlier epochs are damaged; too many epochs
    /// wait for their end.
    pub async fn rotate(&self, at_least_days: u32) -> Result<Option<u32>, KeysError> {
        let inner = self.inner();
        self.reload().await?;
        let epochs = self.epochs();
        let (current, now) = (epochs.current().clone(), inner.entries.clock.now());
        let is_ahead = current.began > now.plus(DAY_MS);
        if !is_ahead && now < current.began.plus(i64::from(at_least_days) * DAY_MS) {
            return Ok(None);
        }
        // People are looked for in the current epoch and the one before, so nobody may be in an earlier one.
        if self.rewrap().await?.damaged > 0 {
            return Err(KeysError::NotNow("people whose rows are damaged are in an earlier epoch"));
        }
        let n = current.n + 1;
        // A renewed master key that no epoch comes under would be one more each time that this is tried.
        may_begin(&self.stored_ring().await?)?;
        inner.master.renew().await?;
        inner.faults.pass()?;
        let epoch = fresh_epoch(&inner.master, &inner.random, epochs.ring, n, now).await?;
        let is_mine = self
            .change_ring(move |ring| {
                if ring.current().n + 1 != n {
                    return Ok(false);
                }
                may_begin(ring)?;
                ring.epochs.push(epoch);
                Ok(true)
            })
            .await?;
        inner.faults.pass()?;
        self.reload().await?;
        inner.faults.pass()?;
        if !is_mine {
            return Ok(None);
        }
        let lowest = self.epochs().living()[0].n;
        let subjects = self.clone();
        apart(move || {
            let mut register = subjects.inner().register.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            register.compact(lowest)
        })
        .await?;
        tracing::info!(epoch = n, "an epoch of the keys of people began");
        Ok(Some(n))
    }

    /// Changes the ring, if `change` says that it did. The folder is locked meanwhile.
    pub(super) async fn change_ring(
        &self,
        change: impl FnOnce(&mut KeyRing) -> Result<bool, KeysError> + Send + 'static,
    ) -> Result<bool, KeysError> {
        let keys = self.inner().keys.clone();
        apart(move || {
            let _guard = files::lock(&keys).map_err(|source| KeysError::file(&keys, source))?;
            let missing = || KeysError::RingMissing { path: keyring::path(&keys) };
            let mut ring = KeyRing::load(&keys)?.ok_or_else(missing)?;
            let is_changed = change(&mut ring)?;
            if is_changed {
                ring.store(&keys)?;
            }
            Ok(is_changed)
        })
        .await
    }

    /// The ring as it is in its file.
    pub(super) async fn stored_ring(&self) -> Result<KeyRing, KeysError> {
        let keys = self.inner().keys.clone();
        let missing = KeysError::RingMissing { path: keyring::path(&keys) };
        apart(move || KeyRing::read(&keys)?.ok_or(missing)).await
    }

    /// Puts everybody who is in an earlier epoch into the current one.
    ///
    /// # Errors
    /// The database or the keys are away. Who was put stays there.
    pub async fn rewrap(&self) -> Result<Rewrapped, KeysError> {
        let epochs = self.epochs();
        let mut all = Rewrapped::default();
        for epoch in epochs.living().iter().filter(|epoch| epoch.n < epochs.current().n) {
            let Rewrapped { moved, damaged } = self.rewrap_epoch(epoch.n).await?;
            all.moved += moved;
            all.damaged += damaged;
        }
        Ok(all)
    }

    pub(super) async fn rewrap_epoch(&self, n: u32) -> Result<Rewrapped, KeysError> {
        let mut done = Rewrapped::default();
        let mut after = (String::new(), String::new());
        loop {
            let page = repo::epochs::page(&mut *self.inner().store.pool().acquire().await?, n, &after, CHUNK).await?;
            let Some(last) = page.last() else { return Ok(done) };
            after = (last.tenant.as_str().to_owned(), last.id.to_string());
            let epochs = self.epochs();
            let mut tx = self.inner().store.begin().await?;
            for row in &page {
                match self.under_current(&epochs, row) {
                    Ok((row, locator)) => {
                        repo::epochs::rewrap(&mut tx, n, &row, locator).await?;
                        done.moved += 1;
                    }
                    Err(StoreError::Personal(why)) => {
                        tracing::error!(subject = %row.id, epoch = n, %why, "the key of a person is not as it was written");
                        done.damaged += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            self.inner().faults.pass()?;
            tx.commit().await?;
            self.inner().faults.pass()?;
            self.leave_traces();
        }
    }

    /// A row of an earlier epoch as it is in the current one.
    fn under_current(&self, epochs: &Epochs, row: &Row) -> Result<(Row, [u8; 32]), StoreError> {
        let person = self.unlocked(row)?;
        let Found::Living(before) = epochs.get(row.epoch) else {
            return Err(super::Unreadable::EpochDestroyed.into());
        };
        let secret = before.unwrap(&row.tenant, row.id, &row.wrapped).ok_or(super::Unreadable::Damaged)?;
        let current = epochs.current();
        let wrapped = current.wrap(&row.tenant, row.id, &secret, &self.inner().random);
        let row = Row {
            id: row.id,
            tenant: row.tenant.clone(),
            epoch: current.n,
            wrapped,
            name: Vec::new(),
            restricted: row.restricted,
            objected: row.objected,
        };
        Ok((row, current.locator(&person.tenant, person.name())))
    }

    /// Destroys the epochs that began twice [`super::Needs::epoch_days`] ago. Returns them.
    ///
    /// # Errors
    /// As [`Subjects::destroy_epoch`], of the first that stays; the others are destroyed.
    pub async fn destroy_ended(&self) -> Result<Vec<u32>, KeysError> {
        let inner = self.inner();
        let epochs = self.epochs();
        let began_by = inner.entries.clock.now().plus(-2 * i64::from(inner.epoch_days) * DAY_MS);
        let is_over = |epoch: &&std::sync::Arc<super::epoch::Epoch>| {
            epoch.n < epochs.current().n && epochs.began(epoch.n) <= began_by
        };
        let (mut gone, mut stays) = (Vec::new(), Ok(()));
        for epoch in epochs.living().iter().filter(is_over) {
            match self.destroy_epoch(epoch.n).await {
                Ok(()) => gone.push(epoch.n),
                Err(error) => stays = stays.and(Err(error)),
            }
        }
        stays.and(self.tell_master().await).map(|()| gone)
    }

    /// Destroys the secret of the epoch `n`: what is under it is unreadable from then on, wherever it lies.
    ///
    /// # Errors
    /// It is the current one, or does not live, or somebody is in it; the master, the database or the ring does not do its
    /// part.
    pub async fn destroy_epoch(&self, n: u32) -> Result<(), KeysError> {
        self.reload().await?;
        let epochs = self.epochs();
        if n >= epochs.current().n || !matches!(epochs.get(n), Found::Living(_)) {
            return Err(KeysError::NotNow("only an epoch that lives and is not the current one can be destroyed"));
        }
        self.inner().faults.pass()?;
        let rows = repo::epochs::rows_by_epoch(&mut *self.inner().store.pool().acquire().await?).await?;
        if let Some(&(epoch, rows)) = rows.iter().find(|(epoch, _)| *epoch == n) {
            return Err(KeysError::RowsLeft { epoch, rows });
        }
        let at: UnixMillis = self.inner().entries.clock.now();
        self.change_ring(move |ring| {
            ring.destroy(n, at);
            Ok(true)
        })
        .await?;
        self.inner().faults.pass()?;
        self.reload().await?;
        tracing::info!(epoch = n, "an epoch of the keys of people was destroyed");
        self.tell_master().await
    }

    /// Lets the master forget what only destroyed epochs were under. Tried again until it did.
    async fn tell_master(&self) -> Result<(), KeysError> {
        let (inner, ring) = (self.inner(), self.stored_ring().await?);
        let waits = ring.destroyed.iter().any(|ended| ended.forgotten.is_none());
        let Some(version) = ring.lowest_version(inner.master.name()).filter(|_| waits) else { return Ok(()) };
        let is_forgotten = inner.master.destroy_below(version).await?;
        inner.faults.pass()?;
        self.change_ring(move |ring| {
            for ended in ring.destroyed.iter_mut().filter(|ended| ended.forgotten.is_none()) {
                ended.forgotten = Some(is_forgotten);
            }
            Ok(true)
        })
        .await?;
        self.reload().await
    }
}

/// Whether `ring` has room for another epoch, and one master to put it under.
fn may_begin(ring: &KeyRing) -> Result<(), KeysError> {
    if ring.epochs.len() >= LIVING_MAX {
        return Err(KeysError::NotNow("as many epochs as there may be wait for their end: destroy the oldest"));
    }
    if ring.masters().len() > 1 {
        return Err(KeysError::NotNow("the move to another master key is not finished"));
    }
    Ok(())
}
