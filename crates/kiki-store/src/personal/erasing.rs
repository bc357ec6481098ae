//! Destroying the keys of people, so that it stays done.
//!
//! Within one transaction: the rows go, then the register is told, durably, then SQL remembers the erasure and the log is to
//! hear of it. So whom the register does not know was not erased, and whom it knows is erased by whoever opens the database
//! next, also one that was put back.

use std::collections::HashSet;
use std::sync::PoisonError;

use kiki_types::TenantId;

use super::entries::ERASED;
use super::error::KeysError;
use super::opening::{apart, by_tenant};
use super::register::Erasure;
use super::repo::{self, CHUNK, Row, Spared};
use super::stores::Stores;
use super::subject::{Cause, SubjectId};
use super::subjects::Subjects;
use crate::{StoreError, Tx};

/// What [`Subjects::destroy`] did. Who is in neither list was gone before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Whose keys are gone.
    pub gone: Vec<SubjectId>,
    /// Who is kept by a legal hold.
    pub held: Vec<SubjectId>,
}

impl Subjects {
    /// Those of `who` who are there, whether or not their row opens.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn present(&self, tenant: &TenantId, who: &[SubjectId]) -> Result<Vec<SubjectId>, StoreError> {
        let mut there = Vec::with_capacity(who.len());
        for who in who.chunks(CHUNK) {
            there.extend(repo::present(&mut *self.inner().store.pool().acquire().await?, tenant, who).await?);
        }
        Ok(there)
    }

    /// Destroys the keys of `who`: what was sealed for them is unreadable from then on, in backups when their epoch ends.
    /// `request` is the id of the subject request that asked for it, or empty.
    ///
    /// # Errors
    /// The database or the register cannot be written. Some may be erased then; all of `who` may be given again.
    pub async fn destroy(
        &self,
        tenant: &TenantId,
        who: &[SubjectId],
        cause: Cause,
        request: &str,
    ) -> Result<Destroyed, KeysError> {
        self.destroy_but(tenant, who, Spared::Held, cause, request).await
    }

    /// As [`Subjects::destroy`], for retention: whoever was used on the day `since` (of days since 1970) or later, is
    /// restricted or held when it comes to it keeps their key, whatever was known of them before. Returns who went.
    ///
    /// # Errors
    /// As [`Subjects::destroy`].
    pub async fn destroy_unused(
        &self,
        tenant: &TenantId,
        who: &[SubjectId],
        since: i64,
    ) -> Result<Vec<SubjectId>, KeysError> {
        self.write_touched().await?;
        Ok(self.destroy_but(tenant, who, Spared::InUse { since }, Cause::Retention, "").await?.gone)
    }

    async fn destroy_but(
        &self,
        tenant: &TenantId,
        who: &[SubjectId],
        spared: Spared,
        cause: Cause,
        request: &str,
    ) -> Result<Destroyed, KeysError> {
        let mut destroyed = Destroyed::default();
        let mut is_unsettled = self.inner().erasing.lock().await;
        if *is_unsettled {
            self.settle(None).await?;
            *is_unsettled = false;
        }
        for who in who.chunks(CHUNK) {
            // An error, or being let go, leaves it so.
            *is_unsettled = true;
            let Destroyed { gone, held } = self.destroy_some(tenant, who, spared, cause, request).await?;
            destroyed.gone.extend(gone);
            destroyed.held.extend(held);
            *is_unsettled = false;
        }
        Ok(destroyed)
    }

    async fn destroy_some(
        &self,
        tenant: &TenantId,
        who: &[SubjectId],
        spared: Spared,
        cause: Cause,
        request: &str,
    ) -> Result<Destroyed, KeysError> {
        let inner = self.inner();
        let at = inner.entries.clock.now();
        let mut tx = inner.store.begin().await?;
        let gone = repo::remove(&mut tx, tenant, who, spared).await?;
        let held = repo::present(tx.sql(), tenant, who).await?;
        inner.faults.pass()?;
        let erasure = |&(subject, epoch)| Erasure { seq: 0, tenant: tenant.clone(), subject, epoch, at, cause };
        let erasures: Vec<_> = gone.iter().map(erasure).collect();
        if !erasures.is_empty() {
            let erasures = self.register(erasures).await?;
            inner.faults.pass()?;
            self.record(&mut tx, &erasures, request).await?;
        }
        inner.faults.pass()?;
        tx.commit().await?;
        inner.faults.pass()?;
        inner.cache.forget(who);
        self.leave_traces();
        Ok(Destroyed { gone: gone.into_iter().map(|(id, _)| id).collect(), held })
    }

    /// Writes erasures into the register.
    pub(super) async fn register(&self, erasures: Vec<Erasure>) -> Result<Vec<Erasure>, KeysError> {
        let subjects = self.clone();
        let append = move || {
            let mut register = subjects.inner().register.lock().unwrap_or_else(PoisonError::into_inner);
            register.append(erasures)
        };
        apart(append).await
    }

    /// Remembers erasures in SQL, and lets the log hear of them.
    pub(super) async fn record(&self, tx: &mut Tx, erasures: &[Erasure], request: &str) -> Result<(), StoreError> {
        let were_new = repo::erasures::record(tx, erasures, request).await?;
        // Of those that were known, another process ended the erasing meanwhile.
        for (erasure, _) in erasures.iter().zip(were_new).filter(|(_, is_new)| *is_new) {
            let resource = format!("subject/{}", erasure.subject);
            self.inner().entries.publish(tx, &erasure.tenant, ERASED, resource, erasure.cause.as_str())?;
        }
        Ok(())
    }

    /// Ends every erasure that the register tells of and SQL does not know: by handle in each of `stores`, then the key.
    /// Legal holds do not stand against it, for they did not when it began. Returns who that was.
    ///
    /// # Errors
    /// A store, the database or the register does not do its part. What was done stays; call it again.
    pub async fn replay(&self, stores: &Stores) -> Result<Vec<(TenantId, SubjectId)>, KeysError> {
        let mut is_unsettled = self.inner().erasing.lock().await;
        let settled = self.settle(Some(stores)).await?;
        *is_unsettled = false;
        if !settled.is_empty() {
            tracing::warn!(people = settled.len(), "people were erased again: the database had them still");
        }
        Ok(settled)
    }

    /// Erases those of `who` whom this database still has: the log tells of their erasure.
    ///
    /// # Errors
    /// As [`Subjects::replay`].
    pub async fn erase_again(&self, tenant: &TenantId, who: &[SubjectId], stores: &Stores) -> Result<u64, KeysError> {
        let inner = self.inner();
        let mut is_unsettled = inner.erasing.lock().await;
        let mut erased = 0;
        for who in who.chunks(CHUNK) {
            let there = repo::by_id(&mut *inner.store.pool().acquire().await?, tenant, who).await?;
            if there.is_empty() {
                continue;
            }
            let (at, cause) = (inner.entries.clock.now(), Cause::Request);
            let erasure =
                |row: Row| Erasure { seq: 0, tenant: row.tenant, subject: row.id, epoch: row.epoch, at, cause };
            let erasures: Vec<_> = there.into_iter().map(erasure).collect();
            erased += erasures.len() as u64;
            *is_unsettled = true;
            self.register(erasures).await?;
            self.settle(Some(stores)).await?;
            *is_unsettled = false;
            tracing::warn!(
                people = erased,
                "people were erased again: the log tells of it, the database had them still"
            );
        }
        Ok(erased)
    }

    async fn settle(&self, stores: Option<&Stores>) -> Result<Vec<(TenantId, SubjectId)>, KeysError> {
        let inner = self.inner();
        let mut settled = Vec::new();
        for chunk in self.unsettled().await?.chunks(CHUNK) {
            let tenants = by_tenant(chunk);
            for (tenant, ids) in &tenants {
                for store in stores.into_iter().flat_map(Stores::iter) {
                    store.erase(tenant, ids).await?;
                }
            }
            inner.faults.pass()?;
            let mut tx = inner.store.begin().await?;
            for (tenant, ids) in &tenants {
                repo::remove(&mut tx, tenant, ids, Spared::Nobody).await?;
            }
            self.record(&mut tx, chunk, "").await?;
            inner.faults.pass()?;
            tx.commit().await?;
            inner.faults.pass()?;
            self.leave_traces();
            for (tenant, ids) in tenants {
                inner.cache.forget(&ids);
                settled.extend(ids.into_iter().map(|id| (tenant.clone(), id)));
            }
        }
        Ok(settled)
    }

    /// The erasures that the register tells of and SQL does not know. What SQL knows beyond the register is written there
    /// first: then the register was put back.
    pub(super) async fn unsettled(&self) -> Result<Vec<Erasure>, KeysError> {
        let (inner, subjects) = (self.inner(), self.clone());
        let lines = apart(move || {
            let mut register = subjects.inner().register.lock().unwrap_or_else(PoisonError::into_inner);
            register.lines()
        })
        .await?;
        let mut connection = inner.store.pool().acquire().await?;
        let last = lines.last().map_or(0, |line| line.seq);
        let lowest = self.epochs().living()[0].n;
        let beyond = repo::erasures::beyond(&mut connection, last, lowest).await?;
        let first = lines.first().map_or(i64::MAX, |line| line.seq);
        let known: HashSet<_> = repo::erasures::since(&mut connection, first).await?.into_iter().collect();
        drop(connection);
        if !beyond.is_empty() {
            tracing::warn!(
                erasures = beyond.len(),
                "the register of erasures was put back; it is filled from the database"
            );
            self.register(beyond).await?;
        }
        Ok(lines.into_iter().filter(|line| !known.contains(&(line.tenant.clone(), line.subject))).collect())
    }
}
