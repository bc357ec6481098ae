//! Who is met for the first time gets a row: many at once in one transaction.
//!
//! Whoever waits may do the work of all who wait, so there is no task that could be gone. The row of the current epoch in
//! `key_epoch` is locked meanwhile, by all processes: a person never gets two rows, and none in an epoch that is over.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use kiki_types::TenantId;
use tokio::sync::oneshot;

use super::repo::{self, CHUNK, Located, NewRow, Row};
use super::sealed;
use super::subject::{self, Subject, SubjectId};
use super::subjects::{NAME_PLACE, Subjects};
use crate::StoreError;

/// People who wait to be known at the most.
const WAITING_MAX: usize = 65_536;
/// People whose last use waits to be written at the most; beyond it, it is written another day.
const TOUCHED_MAX: usize = 100_000;
/// Tries of a batch while the epoch moves on.
const TRIES_MAX: u32 = 3;

/// Those who wait.
#[derive(Default)]
pub(super) struct Minter {
    waiting: Mutex<VecDeque<Waiting>>,
    turn: tokio::sync::Mutex<()>,
    touched: Mutex<Touched>,
}

struct Waiting {
    tenant: TenantId,
    customer: Arc<str>,
    reply: oneshot::Sender<Result<Subject, StoreError>>,
}

#[derive(Default)]
struct Touched {
    count: usize,
    by_tenant: HashMap<TenantId, Vec<SubjectId>>,
}

impl Minter {
    /// Remembers that somebody was used today.
    pub(super) fn touch(&self, tenant: &TenantId, id: SubjectId) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        if touched.count < TOUCHED_MAX {
            touched.count += 1;
            touched.by_tenant.entry(tenant.clone()).or_default().push(id);
        }
    }

    fn take_touched(&self) -> HashMap<TenantId, Vec<SubjectId>> {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *touched).by_tenant
    }

    fn wait(&self, tenant: &TenantId, customer: &Arc<str>) -> Result<Answer, StoreError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX {
            return Err(busy());
        }
        let (reply, answer) = oneshot::channel();
        waiting.push_back(Waiting { tenant: tenant.clone(), customer: customer.clone(), reply });
        Ok(answer)
    }

    /// Those of the tenant that waits longest, at most [`CHUNK`].
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = waiting.front() else { return Vec::new() };
        let tenant = first.tenant.clone();
        let (mut batch, mut rest) = (Vec::new(), VecDeque::with_capacity(waiting.len()));
        for one in waiting.drain(..).filter(|one| !one.reply.is_closed()) {
            if one.tenant == tenant && batch.len() < CHUNK { batch.push(one) } else { rest.push_back(one) }
        }
        *waiting = rest;
        batch
    }
}

type Answer = oneshot::Receiver<Result<Subject, StoreError>>;

impl Subjects {
    /// The people with these customer ids, from now on if not before.
    pub(super) async fn mint(&self, tenant: &TenantId, customers: &[Arc<str>]) -> Result<Vec<Subject>, StoreError> {
        let minter = &self.inner().minter;
        let wait = |customer| minter.wait(tenant, customer);
        let mut answers: Vec<_> = customers.iter().map(wait).collect::<Result<_, _>>()?;
        let mut people = Vec::with_capacity(customers.len());
        for (customer, answer) in customers.iter().zip(&mut answers) {
            people.push(self.answered(tenant, customer, answer).await?);
        }
        Ok(people)
    }

    async fn answered(
        &self,
        tenant: &TenantId,
        customer: &Arc<str>,
        answer: &mut Answer,
    ) -> Result<Subject, StoreError> {
        let minter = &self.inner().minter;
        loop {
            let answered = tokio::select! {
                biased;
                answered = &mut *answer => answered,
                _turn = minter.turn.lock() => {
                    self.mint_batch().await;
                    continue;
                }
            };
            match answered {
                Ok(person) => return person,
                // Whoever did the work was let go in the middle of it.
                Err(_) => *answer = minter.wait(tenant, customer)?,
            }
        }
    }

    /// Answers the first who wait.
    async fn mint_batch(&self) {
        let batch = self.inner().minter.take();
        let Some(first) = batch.first() else { return };
        let tenant = first.tenant.clone();
        let mut names: Vec<_> = batch.iter().map(|one| one.customer.clone()).collect();
        names.sort_unstable();
        names.dedup();
        match self.minted(&tenant, &names).await {
            Ok(people) => {
                for one in batch {
                    let person = people.get(&one.customer).cloned().ok_or_else(busy);
                    // Nobody listens any more: the person is known all the same.
                    let _ = one.reply.send(person);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    people = batch.len(),
                    "nobody new can be known"
                );
                let again = |error: &StoreError| match error {
                    error if error.is_unavailable() => busy(),
                    error => StoreError::Unreadable { column: "subject".to_owned(), why: error.to_string() },
                };
                for one in batch {
                    let _ = one.reply.send(Err(again(&error)));
                }
            }
        }
    }

    async fn minted(&self, tenant: &TenantId, names: &[Arc<str>]) -> Result<HashMap<Arc<str>, Subject>, StoreError> {
        for _ in 0..TRIES_MAX {
            if let Some(people) = self.try_mint(tenant, names).await? {
                return Ok(people);
            }
            self.reload().await.map_err(super::KeysError::into_store)?;
        }
        Err(busy())
    }

    /// `None`: the epoch is not the current one any more.
    async fn try_mint(
        &self,
        tenant: &TenantId,
        names: &[Arc<str>],
    ) -> Result<Option<HashMap<Arc<str>, Subject>>, StoreError> {
        let (inner, epochs) = (self.inner(), self.epochs());
        let locators: Vec<Vec<_>> =
            epochs.searched().map(|epoch| names.iter().map(|name| epoch.locator(tenant, name)).collect()).collect();
        let (today, mark) = (self.today(), inner.cache.mark());
        let mut tx = inner.store.begin().await?;
        if !repo::epochs::count_minted(&mut tx, epochs.current().n, names.len()).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        let found = repo::located(tx.sql(), &epochs, tenant, &locators).await?;
        let mut stale: Vec<_> = found.iter().filter(|one| one.used_on < today).map(|one| one.row.id).collect();
        stale.truncate(CHUNK);
        let found: HashMap<Vec<u8>, Located> = found.into_iter().map(|one| (one.locator.clone(), one)).collect();
        let (mut people, mut fresh) = (HashMap::with_capacity(names.len()), Vec::new());
        for (place, name) in names.iter().enumerate() {
            let known = locators.iter().find_map(|of_epoch| found.get(of_epoch[place].as_slice()));
            let person = match known {
                Some(located) => self.unlocked(&located.row)?,
                None => {
                    let row = self.fresh(tenant, name);
                    let person = self.unlocked(&row)?;
                    // What is KIKI's own is held for ever.
                    let holds = i64::from(name.starts_with('\0'));
                    fresh.push(NewRow { row, locator: locators[0][place], holds });
                    person
                }
            };
            people.insert(name.clone(), person);
        }
        if !fresh.is_empty() {
            repo::insert(&mut tx, &fresh, today).await?;
        }
        if !stale.is_empty() {
            repo::touch(&mut tx, tenant, &stale, today).await?;
        }
        tx.commit().await?;
        for (place, name) in names.iter().enumerate() {
            if let Some(person) = people.get(name) {
                self.keep(mark, locators[0][place], person, today);
            }
        }
        Ok(Some(people))
    }

    /// A row for somebody who has none.
    fn fresh(&self, tenant: &TenantId, name: &str) -> Row {
        let random = &self.inner().random;
        let (id, secret) = (SubjectId::fresh(random), sealed::fresh(random));
        let epochs = self.epochs();
        let key = sealed::derived(&secret, super::subjects::SEAL_PURPOSE);
        let sealed = subject::seal(&key, NAME_PLACE, tenant, &id.to_string(), name.as_bytes(), random);
        let wrapped = epochs.current().wrap(tenant, id, &secret, random);
        Row {
            id,
            tenant: tenant.clone(),
            epoch: epochs.current().n,
            wrapped,
            name: sealed,
            restricted: false,
            objected: false,
        }
    }

    /// Writes on which day people were used last, of those who were met since the last time.
    ///
    /// # Errors
    /// The database does not answer.
    pub(super) async fn write_touched(&self) -> Result<(), StoreError> {
        let today = self.today();
        for (tenant, ids) in self.inner().minter.take_touched() {
            for ids in ids.chunks(CHUNK) {
                let mut tx = self.inner().store.begin().await?;
                repo::touch(&mut tx, &tenant, ids, today).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Lets those be known who are not.
    pub(super) async fn mint_missing(
        &self,
        tenant: &TenantId,
        customers: &[&str],
        people: &mut [Option<Subject>],
    ) -> Result<(), StoreError> {
        let missing: Vec<_> = (0..people.len()).filter(|&place| people[place].is_none()).collect();
        let names: Vec<Arc<str>> = missing.iter().map(|&place| Arc::from(customers[place])).collect();
        for (place, person) in missing.into_iter().zip(self.mint(tenant, &names).await?) {
            people[place] = Some(person);
        }
        Ok(())
    }
}

fn busy() -> StoreError {
    StoreError::Unavailable(sqlx::Error::PoolTimedOut)
}
