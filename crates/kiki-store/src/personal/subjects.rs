//! The people of a database: who a customer id is, and who a handle is.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use kiki_kit::clock::Clock;
use kiki_types::TenantId;
use sqlx::any::AnyRow;
use tokio::sync::Notify;

use super::cache::{Cache, Known, Mark};
use super::entries::Entries;
use super::epoch::{Epochs, Found};
use super::error::KeysError;
use super::faults::Faults;
use super::keyring::Stamp;
use super::master::MasterKey;
use super::minter::Minter;
use super::register::Register;
use super::repo::{self, CHUNK, Row};
use super::sealed::{self, Random, Secret};
use super::subject::{self, Mint, Subject, SubjectId, Unreadable};
use crate::{Store, StoreError};

/// What the key follows from the secret of a person by.
pub(super) const SEAL_PURPOSE: &str = "kiki/subject/seal/1";
const SALT_PURPOSE: &str = "kiki/subject/salt/1";
/// Where a customer id stands.
pub(super) const NAME_PLACE: &str = "subject.name";
/// Who stands for a tenant itself: no customer id holds a zero byte.
const OF_TENANT: &str = "\0tenant";
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What [`Subjects`] are made with.
#[derive(Clone)]
pub struct Needs {
    /// The database, migrated.
    pub store: Store,
    /// The folder of the keys.
    pub keys: PathBuf,
    /// What wraps the secrets of epochs.
    pub master: Arc<dyn MasterKey>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness that nobody may guess.
    pub random: Random,
    /// How long people are put into an epoch, in days; it is destroyed after twice that.
    pub epoch_days: u32,
}

/// The people of a database. Clones share what they know.
#[derive(Clone)]
pub struct Subjects(Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) keys: PathBuf,
    pub(super) master: Arc<dyn MasterKey>,
    pub(super) entries: Entries,
    pub(super) random: Random,
    pub(super) epoch_days: u32,
    /// This process, to others that look after the same ring.
    pub(super) holder: String,
    pub(super) trouble: Mutex<Option<String>>,
    pub(super) epochs: RwLock<(Arc<Epochs>, Option<Stamp>)>,
    /// One reading of the ring at a time.
    pub(super) reading: tokio::sync::Mutex<()>,
    /// Told when something is under an epoch that is not known here yet.
    pub(super) behind: Notify,
    pub(super) register: Mutex<Register>,
    /// One erasing at a time. Whether the register may tell of somebody whom SQL still has.
    pub(super) erasing: tokio::sync::Mutex<bool>,
    /// Whether what was deleted is still in the database's side files.
    pub(super) traces: AtomicBool,
    pub(super) cache: Cache,
    pub(super) minter: Minter,
    pub(super) faults: Faults,
}

impl Subjects {
    pub(super) fn new(needs: Needs, epochs: Epochs, stamp: Option<Stamp>, register: Register) -> Self {
        let Needs { store, keys, master, clock, random, epoch_days } = needs;
        Self(Arc::new(Inner {
            store,
            keys,
            master,
            holder: SubjectId::fresh(&random).to_string(),
            entries: Entries { clock, random: random.clone() },
            random,
            epoch_days,
            trouble: Mutex::default(),
            epochs: RwLock::new((Arc::new(epochs), stamp)),
            reading: tokio::sync::Mutex::default(),
            behind: Notify::new(),
            register: Mutex::new(register),
            erasing: tokio::sync::Mutex::new(false),
            traces: AtomicBool::new(false),
            cache: Cache::default(),
            minter: Minter::default(),
            faults: Faults::default(),
        }))
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(super) fn epochs(&self) -> Arc<Epochs> {
        self.0.epochs.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Days since 1970.
    pub(super) fn today(&self) -> i64 {
        self.0.entries.clock.now().0.div_euclid(DAY_MS)
    }

    /// Who `customer` of `tenant` is. With [`Mint::Yes`] that is never nobody. It may write: whoever holds a
    /// [`crate::Tx`] must not ask.
    ///
    /// # Errors
    /// The database or the keys are away; the person's row does not open.
    pub async fn resolve(&self, tenant: &TenantId, customer: &str, mint: Mint) -> Result<Option<Subject>, StoreError> {
        let mut people = self.resolve_many(tenant, &[customer], mint).await?;
        Ok(people.pop().flatten())
    }

    /// As [`Subjects::resolve`], for many at once, in their order.
    ///
    /// # Errors
    /// As [`Subjects::resolve`].
    pub async fn resolve_many(
        &self,
        tenant: &TenantId,
        customers: &[&str],
        mint: Mint,
    ) -> Result<Vec<Option<Subject>>, StoreError> {
        let mut people = Vec::with_capacity(customers.len());
        for customers in customers.chunks(CHUNK) {
            let mut found = self.found(tenant, customers).await?;
            if mint == Mint::Yes {
                self.note_use(tenant, customers, &found);
                self.mint_missing(tenant, customers, &mut found).await?;
            }
            people.append(&mut found);
        }
        Ok(people)
    }

    /// Who of `customers` is known: from the cache, else from SQL.
    async fn found(&self, tenant: &TenantId, customers: &[&str]) -> Result<Vec<Option<Subject>>, StoreError> {
        loop {
            let epochs = self.epochs();
            let current = epochs.current();
            let mut people: Vec<_> = customers
                .iter()
                .map(|customer| self.cached(tenant, customer, &current.locator(tenant, customer)))
                .collect();
            if people.iter().all(Option::is_some) {
                return Ok(people);
            }
            self.find(&epochs, tenant, customers, &mut people).await?;
            if people.iter().all(Option::is_some) || !self.is_behind(current.n).await? {
                return Ok(people);
            }
            // They may be in an epoch that this process has not read yet.
            self.reload().await.map_err(KeysError::into_store)?;
        }
    }

    async fn find(
        &self,
        epochs: &Epochs,
        tenant: &TenantId,
        customers: &[&str],
        people: &mut [Option<Subject>],
    ) -> Result<(), StoreError> {
        let missing: Vec<_> = (0..people.len()).filter(|&place| people[place].is_none()).collect();
        let locators: Vec<Vec<_>> = epochs
            .searched()
            .map(|epoch| missing.iter().map(|&place| epoch.locator(tenant, customers[place])).collect())
            .collect();
        let mark = self.0.cache.mark();
        let found = repo::located(&mut *self.0.store.pool().acquire().await?, epochs, tenant, &locators).await?;
        let found: HashMap<Vec<u8>, _> = found.into_iter().map(|one| (one.locator.clone(), one)).collect();
        for (at, &place) in missing.iter().enumerate() {
            let Some(one) = locators.iter().find_map(|of_epoch| found.get(of_epoch[at].as_slice())) else { continue };
            let person = self.unlocked(&one.row)?;
            self.keep(mark, locators[0][at], &person, one.used_on);
            people[place] = Some(person);
        }
        Ok(())
    }

    async fn is_behind(&self, n: u32) -> Result<bool, StoreError> {
        let current = repo::epochs::current(&mut *self.0.store.pool().acquire().await?).await?;
        Ok(current.is_some_and(|current| current > n) && self.epochs().current().n == n)
    }

    fn note_use(&self, tenant: &TenantId, customers: &[&str], people: &[Option<Subject>]) {
        let (epochs, today) = (self.epochs(), self.today());
        for (customer, person) in customers.iter().zip(people) {
            let Some(person) = person else { continue };
            if self.0.cache.used(&epochs.current().locator(tenant, customer), today) {
                self.0.minter.touch(tenant, person.id);
            }
        }
    }

    /// The people with these handles; who has no row any more, or one that does not open, is left out. They can be erased
    /// all the same: [`Subjects::destroy`].
    ///
    /// # Errors
    /// The database or the keys are away.
    pub async fn by_id(&self, tenant: &TenantId, ids: &[SubjectId]) -> Result<Vec<Subject>, StoreError> {
        let mut people = Vec::with_capacity(ids.len());
        for ids in ids.chunks(CHUNK) {
            let rows = repo::by_id(&mut *self.0.store.pool().acquire().await?, tenant, ids).await?;
            let newest = rows.iter().map(|row| row.epoch).max().unwrap_or(0);
            if matches!(self.epochs().get(newest), Found::Unknown) {
                self.reload().await.map_err(KeysError::into_store)?;
            }
            for row in &rows {
                match self.unlocked(row) {
                    Ok(person) => people.push(person),
                    Err(StoreError::Personal(why)) => {
                        tracing::error!(subject = %row.id, %why, "the row of a person is not as it was written");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(people)
    }

    /// The person of a row that a query joined, with the columns [`super::SUBJECT_COLUMNS`].
    ///
    /// # Errors
    /// [`StoreError::Personal`]: an outer join found nobody, or the row does not open. The keys are away.
    pub fn unlock(&self, row: &AnyRow) -> Result<Subject, StoreError> {
        let row = Row::read(row)?.ok_or(StoreError::Personal(Unreadable::Erased))?;
        self.unlocked(&row)
    }

    /// What seals free text about nobody. Its name is no customer's, and it is never erased.
    ///
    /// # Errors
    /// As [`Subjects::resolve`].
    pub async fn of_tenant(&self, tenant: &TenantId) -> Result<Subject, StoreError> {
        let found = self.resolve(tenant, OF_TENANT, Mint::Yes).await?;
        found.ok_or(StoreError::Personal(Unreadable::Erased))
    }

    pub(super) fn unlocked(&self, row: &Row) -> Result<Subject, StoreError> {
        let epochs = self.epochs();
        let epoch = match epochs.get(row.epoch) {
            Found::Living(epoch) => epoch,
            Found::Destroyed => return Err(Unreadable::EpochDestroyed.into()),
            Found::Unknown => {
                self.0.behind.notify_one();
                return Err(KeysError::Raced.into_store());
            }
        };
        let secret = epoch.unwrap(&row.tenant, row.id, &row.wrapped).ok_or(Unreadable::Damaged)?;
        let key = sealed::derived(&secret, SEAL_PURPOSE);
        let name = subject::open(&key, NAME_PLACE, &row.tenant, &row.id.to_string(), &row.name)?;
        let name = String::from_utf8(name).map_err(|_| Unreadable::Damaged)?;
        Ok(Subject {
            id: row.id,
            tenant: row.tenant.clone(),
            pseudonym: pseudonym(&secret, &row.tenant, &name),
            restricted: row.restricted,
            objected: row.objected,
            name: name.into(),
            key: Arc::new(key),
            random: self.0.random.clone(),
        })
    }

    fn cached(&self, tenant: &TenantId, customer: &str, locator: &[u8; 32]) -> Option<Subject> {
        let Known { id, pseudonym, restricted, objected, key, .. } =
            self.0.cache.get(locator, self.0.entries.clock.now())?;
        let random = self.0.random.clone();
        let (tenant, name) = (tenant.clone(), customer.into());
        Some(Subject { id, tenant, pseudonym, restricted, objected, name, key, random })
    }

    pub(super) fn keep(&self, mark: Mark, locator: [u8; 32], person: &Subject, used_on: i64) {
        let Subject { id, pseudonym, restricted, objected, ref key, .. } = *person;
        let known = Known { id, pseudonym, restricted, objected, key: key.clone(), used_on };
        self.0.cache.put(mark, locator, known, self.0.entries.clock.now());
    }

    /// Sets whether `ids` restricted what may be done with their data. Returns how many there are.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn restrict(&self, tenant: &TenantId, ids: &[SubjectId], on: bool) -> Result<u64, StoreError> {
        let mut changed = 0;
        for ids in ids.chunks(CHUNK) {
            let mut tx = self.0.store.begin().await?;
            changed += repo::restrict(&mut tx, tenant, ids, on).await?;
            tx.commit().await?;
            self.0.cache.forget(ids);
        }
        Ok(changed)
    }

    /// Sets whether `ids` object to being profiled. Returns how many there are.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn object(&self, tenant: &TenantId, ids: &[SubjectId], on: bool) -> Result<u64, StoreError> {
        let mut changed = 0;
        for ids in ids.chunks(CHUNK) {
            let mut tx = self.0.store.begin().await?;
            changed += repo::object(&mut tx, tenant, ids, on).await?;
            tx.commit().await?;
            self.0.cache.forget(ids);
        }
        Ok(changed)
    }

    pub(super) fn leave_traces(&self) {
        self.0.traces.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Subjects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subjects").field("keys", &self.0.keys).finish_non_exhaustive()
    }
}

/// Who a person is in the log.
fn pseudonym(secret: &Secret, tenant: &TenantId, customer: &str) -> [u8; 16] {
    let salt = sealed::derived(secret, SALT_PURPOSE);
    let full = sealed::mac(&salt, &[b"customer\0", tenant.as_str().as_bytes(), b"\0", customer.as_bytes()]);
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    half
}

#[cfg(test)]
#[path = "subjects_tests.rs"]
mod tests;
