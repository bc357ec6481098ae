//! What holds personal data says so, and can export, erase, correct, restrict and expire it.
//!
//! Invariants: names are unique; everything but an export works by handle alone, in any order, and may be
//! repeated.

use std::sync::Arc;

use futures::future::{BoxFuture, ready};
use kiki_types::{TenantId, UnixMillis};
use serde_json::{Map, Value};

use super::{Subject, SubjectId};
use crate::StoreError;

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name among all stores.
    pub name: &'static str,
    /// The service it belongs to.
    pub service: &'static str,
    /// Its tables.
    pub tables: &'static [Table],
    /// Its files, as prefixes of paths below the data folder.
    pub files: &'static [&'static str],
}

impl Declared {
    /// What a store answers that says nothing for itself about `verb`: nothing, unless it holds rows about people.
    fn unsaid<T: Default>(&self, verb: &'static str) -> Result<T, StoreError> {
        match self.tables.iter().any(|table| table.owner.is_some()) {
            true => Err(StoreError::Unsaid { store: self.name, verb }),
            false => Ok(T::default()),
        }
    }
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The column of the handle; `None` where no row is about one person.
    pub owner: Option<&'static str>,
    /// Columns that say something about somebody, and in which form.
    pub holds: &'static [(&'static str, Form)],
    /// Categories of personal data, as the record of processing names them.
    pub categories: &'static [&'static str],
    /// How long rows are kept.
    pub class: Class,
}

/// The form in which a column holds what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Encrypted under the person's secret.
    Sealed,
    /// The person's handle.
    Handle,
    /// A keyed hash.
    Pseudonym,
    /// Business data: about no customer by design.
    Business,
}

/// How long something is kept; the lengths are settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What only serves a technical course.
    Sessions,
    /// Messages.
    Marketing,
    /// What is known of customers.
    Customers,
    /// What proves.
    Audit,
    /// As long as the installation.
    Never,
}

impl Class {
    /// The name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Marketing => "marketing",
            Self::Customers => "customers",
            Self::Audit => "audit",
            Self::Never => "never",
        }
    }
}

/// What of each class is older than this may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// The time of the run.
    pub now: UnixMillis,
    /// For [`Class::Sessions`].
    pub sessions: UnixMillis,
    /// For [`Class::Marketing`].
    pub marketing: UnixMillis,
    /// For [`Class::Customers`].
    pub customers: UnixMillis,
    /// For [`Class::Audit`].
    pub audit: UnixMillis,
}

impl Cutoffs {
    /// The cutoff of `class`; `None` where it never ends.
    #[must_use]
    pub const fn of(&self, class: Class) -> Option<UnixMillis> {
        match class {
            Class::Sessions => Some(self.sessions),
            Class::Marketing => Some(self.marketing),
            Class::Customers => Some(self.customers),
            Class::Audit => Some(self.audit),
            Class::Never => None,
        }
    }
}

/// A part of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its name within the store; letters, digits and hyphens.
    pub name: String,
    /// Whether the person provided it (Art. 20 GDPR), rather than KIKI derived it.
    pub provided: bool,
    /// Its rows.
    pub rows: Vec<Map<String, Value>>,
}

/// What became of a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rectified {
    /// So many rows were changed.
    Changed(u64),
    /// Nothing that the correction names is held.
    NotHeld,
    /// It is computed from elsewhere, and changes with its source.
    Derived,
}

/// What has been kept long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Rows or files that went, or would go.
    pub rows: u64,
    /// The oldest of them.
    pub oldest: Option<UnixMillis>,
}

/// Something that holds personal data.
///
/// What a store does not say for itself is as if it holds nothing of the kind: nothing to tell, forget, put right, mark or
/// let go. One that declares rows about people must say what it tells, forgets and lets go: left unsaid, that fails.
pub trait PersonalStore: Send + Sync {
    /// What it holds.
    fn declared(&self) -> &'static Declared;

    /// Whether it knows people by handle, and so also whose key is gone. Another one forgets only whom it can be told by
    /// name.
    fn knows_handles(&self) -> bool {
        true
    }

    /// Everything about `who`, readable.
    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        let _ = who;
        Box::pin(ready(self.declared().unsaid("export")))
    }

    /// As [`PersonalStore::export`], of several people; an answer for each, in their order. One that reads the same for all
    /// of them reads it once.
    fn export_all<'a>(&'a self, who: &'a [&'a Subject]) -> BoxFuture<'a, Vec<Result<Vec<Document>, StoreError>>> {
        Box::pin(async move {
            let mut told = Vec::with_capacity(who.len());
            for one in who {
                told.push(self.export(one).await);
            }
            told
        })
    }

    /// Forgets everything about `who`; answers how many rows or files that were.
    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        let _ = (tenant, who);
        Box::pin(ready(self.declared().unsaid("erase")))
    }

    /// Applies a correction, by the names that [`PersonalStore::export`] uses.
    fn rectify<'a>(
        &'a self,
        who: &'a Subject,
        correction: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Rectified, StoreError>> {
        let _ = (who, correction);
        Box::pin(ready(Ok(Rectified::NotHeld)))
    }

    /// Keeps `who` out of processing, or takes them back. Most stores ask the person's row each time, and mark nothing.
    fn restrict<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        let _ = (who, on);
        Box::pin(ready(Ok(())))
    }

    /// Keeps `who` from being profiled, or takes that back. Most stores ask the person's row each time, and mark nothing.
    fn object<'a>(&'a self, who: &'a Subject, on: bool) -> BoxFuture<'a, Result<(), StoreError>> {
        let _ = (who, on);
        Box::pin(ready(Ok(())))
    }

    /// Removes at most `limit` of what is past its cutoff, or, `dry`, counts all of it.
    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        let _ = (tenant, cutoffs, limit, dry);
        Box::pin(ready(self.declared().unsaid("expire")))
    }
}

/// The stores of a process.
#[derive(Clone, Default)]
pub struct Stores(Vec<Arc<dyn PersonalStore>>);

/// Two stores have one name.
#[derive(Debug, thiserror::Error)]
#[error("two stores of personal data are named {0}")]
pub struct NamedTwice(&'static str);

impl Stores {
    /// All of `stores`, each of a name of its own.
    ///
    /// # Errors
    /// Two have one name.
    pub fn new(stores: Vec<Arc<dyn PersonalStore>>) -> Result<Self, NamedTwice> {
        let mut names: Vec<_> = stores.iter().map(|store| store.declared().name).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(NamedTwice(pair[0])),
            None => Ok(Self(stores)),
        }
    }

    /// Each of them, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn PersonalStore>> {
        self.0.iter()
    }

    /// The one of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn PersonalStore>> {
        self.0.iter().find(|store| store.declared().name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personal::Mint;
    use crate::testing::{People, TestDb};

    struct Silent(&'static Declared);

    impl PersonalStore for Silent {
        fn declared(&self) -> &'static Declared {
            self.0
        }
    }

    const fn declared(owner: &'static [Table]) -> Declared {
        Declared { name: "silent", service: "store", tables: owner, files: &[] }
    }

    const fn table(owner: Option<&'static str>) -> Table {
        Table { name: "t", owner, holds: &[], categories: &[], class: Class::Sessions }
    }

    static ABOUT_NOBODY: Declared = declared(&[table(None)]);
    static ABOUT_PEOPLE: Declared = declared(&[table(None), table(Some("subject"))]);

    #[tokio::test]
    async fn who_holds_rows_about_people_cannot_pass_over_what_becomes_of_them() {
        let db = TestDb::sqlite().await;
        let (people, tenant) = (People::of(&db.store).await, TenantId::default_tenant());
        let ann = people.resolve(&tenant, "ann", Mint::Yes).await.unwrap().unwrap();
        let never = UnixMillis(0);
        let cutoffs = Cutoffs { now: never, sessions: never, marketing: never, customers: never, audit: never };
        for (declared, is_answered) in [(&ABOUT_NOBODY, true), (&ABOUT_PEOPLE, false)] {
            let store = Silent(declared);
            assert_eq!(store.export(&ann).await.is_ok(), is_answered);
            assert_eq!(store.erase(&tenant, &[ann.id]).await.is_ok(), is_answered);
            assert_eq!(store.expire(&tenant, &cutoffs, 1, true).await.is_ok(), is_answered);
            assert_eq!(store.rectify(&ann, &Map::new()).await.unwrap(), Rectified::NotHeld);
            store.restrict(&ann, true).await.unwrap();
            store.object(&ann, true).await.unwrap();
        }
    }
}
