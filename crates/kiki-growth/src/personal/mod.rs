//! What a service of growth holds about people, for the service that answers their requests.
//!
//! Who asks names its database. If it is the one that is used here, both know people by the same handles. If not, people are
//! known here by their customer ids alone, have handles of their own here, and keys of their own, which an erasure destroys
//! as well: so an erasure of one store is, here, one of all of them, for without the key nobody finds the rest.
//!
//! Invariants: the tenant is the caller's; nobody becomes known by being asked about; everything but an export may be
//! repeated.
//!
//! Start with [`service`].

mod grpc;
#[cfg(test)]
mod tests;

pub use grpc::service;

use kiki_store::personal::{Cause, KeysError, Mint, PersonalStore, Stores, Subject, SubjectId, Subjects};
use kiki_store::{Store, StoreError};
use kiki_types::TenantId;

/// What is asked about people.
#[derive(Clone)]
pub struct PersonalData {
    /// The database.
    pub store: Store,
    /// Its people.
    pub subjects: Subjects,
    /// What holds something about them.
    pub stores: Stores,
}

/// A person, as who asks knows them.
#[derive(Clone, Debug)]
struct Person {
    handle: SubjectId,
    customer_id: String,
}

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
enum PersonalError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl PersonalData {
    /// Whether `source` is the database here.
    async fn is_own(&self, source: &str) -> Result<bool, StoreError> {
        Ok(self.store.source_id().await?.to_string() == source)
    }

    /// The people here whom `people` are.
    async fn known(&self, tenant: &TenantId, source: &str, people: &[Person]) -> Result<Vec<Subject>, StoreError> {
        if self.is_own(source).await? {
            let handles: Vec<SubjectId> = people.iter().map(|person| person.handle).collect();
            return self.subjects.by_id(tenant, &handles).await;
        }
        let names: Vec<&str> =
            people.iter().map(|person| person.customer_id.as_str()).filter(|name| !name.is_empty()).collect();
        let found = self.subjects.resolve_many(tenant, &names, Mint::No).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Erases `people` in `store`. Returns how many rows were about them there; for people of another database, how many in
    /// all stores, since all of them forget them then.
    async fn erase(
        &self,
        tenant: &TenantId,
        source: &str,
        store: &dyn PersonalStore,
        people: &[Person],
    ) -> Result<u64, PersonalError> {
        if self.is_own(source).await? {
            // Also of people whose key is gone: by handle alone.
            let handles: Vec<SubjectId> = people.iter().map(|person| person.handle).collect();
            return Ok(store.erase(tenant, &handles).await?);
        }
        let known: Vec<SubjectId> =
            self.known(tenant, source, people).await?.iter().map(|subject| subject.id).collect();
        let mut rows = 0;
        for each in self.stores.iter() {
            rows += each.erase(tenant, &known).await?;
        }
        self.subjects.destroy(tenant, &known, Cause::Request, "").await?;
        Ok(rows)
    }
}
