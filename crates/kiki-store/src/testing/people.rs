//! The keys of people in a temporary folder.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kiki_kit::clock::ManualClock;
use kiki_types::UnixMillis;
use rand::RngCore as _;
use tempfile::TempDir;

use crate::Store;
use crate::personal::master::LocalMaster;
use crate::personal::{KeysError, MasterKey, Needs, Random, Subjects};

/// [`Subjects`] over a folder of keys that one test owns, with a clock that stands still.
#[derive(Debug)]
pub struct People {
    subjects: Subjects,
    /// The clock that they are looked after by.
    pub clock: Arc<ManualClock>,
    folder: TempDir,
}

impl People {
    /// The people of `store`, with a ring of their own under a master key that is a file.
    ///
    /// # Panics
    /// The folder cannot be made, or the database has another ring.
    pub async fn of(store: &Store) -> Self {
        Self::with_clock(store, Arc::new(ManualClock::at(UnixMillis(1_700_000_000_000)))).await
    }

    /// As [`People::of`], with a clock that others look at too.
    ///
    /// # Panics
    /// As [`People::of`].
    pub async fn with_clock(store: &Store, clock: Arc<ManualClock>) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let opened = open(store, &folder.path().join("keys"), &clock).await;
        let subjects = opened.unwrap_or_else(|error| panic!("the keys of people cannot be opened: {error:?}"));
        Self { subjects, clock, folder }
    }

    /// The folder of the keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    /// Lets time pass.
    pub fn advance_days(&self, days: u64) {
        self.clock.advance(Duration::from_secs(days * 24 * 60 * 60));
    }

    /// The people of `store` under the same keys, as another process has them.
    ///
    /// # Errors
    /// As [`Subjects::open`].
    pub async fn another(&self, store: &Store) -> Result<Subjects, KeysError> {
        open(store, &self.keys(), &self.clock).await
    }

    /// As [`People::another`], under a master key of its own.
    ///
    /// # Errors
    /// As [`Subjects::open`].
    pub async fn another_under(&self, store: &Store, master: Arc<dyn MasterKey>) -> Result<Subjects, KeysError> {
        open_under(store, &self.keys(), &self.clock, master).await
    }
}

impl Deref for People {
    type Target = Subjects;

    fn deref(&self) -> &Subjects {
        &self.subjects
    }
}

async fn open(store: &Store, keys: &Path, clock: &Arc<ManualClock>) -> Result<Subjects, KeysError> {
    let master = LocalMaster::in_file(keys, secure_random())?;
    open_under(store, keys, clock, Arc::new(master)).await
}

async fn open_under(
    store: &Store,
    keys: &Path,
    clock: &Arc<ManualClock>,
    master: Arc<dyn MasterKey>,
) -> Result<Subjects, KeysError> {
    let needs = Needs {
        store: store.clone(),
        keys: keys.to_owned(),
        master,
        clock: clock.clone(),
        random: secure_random(),
        epoch_days: 14,
    };
    Subjects::open(needs).await
}

/// Randomness that nobody may guess.
#[must_use]
pub fn secure_random() -> Random {
    Arc::new(|bytes| rand::rng().fill_bytes(bytes))
}
