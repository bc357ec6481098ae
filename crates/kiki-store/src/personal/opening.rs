//! Opening the keys of people, and following what other processes do with them.
//!
//! Before anything is answered: the ring is the one that the database was under, and knows every epoch that SQL knows; SQL
//! knows every epoch of the ring; whose key is under a destroyed epoch, and whom the register tells of, is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use kiki_types::{TenantId, UnixMillis};
use uuid::{Builder, Uuid};
use zeroize::Zeroizing;

use super::entries::{DESTROYED, Entries, ROTATED};
use super::epoch::{Epoch, Epochs, Found};
use super::error::KeysError;
use super::files;
use super::keyring::{self, KeyRing, Living, Stamp, Wrap};
use super::master::MasterKey;
use super::register::{Erasure, Register};
use super::repo;
use super::sealed::{self, Random, Secret};
use super::subject::SubjectId;
use super::subjects::{Needs, Subjects};
use crate::{Store, StoreError};

impl Subjects {
    /// Opens the keys in `needs.keys`, made if neither they nor people are there, and brings the database up to them.
    /// Nothing may be served before [`Subjects::replay`].
    ///
    /// # Errors
    /// The keys are gone, damaged, older than the database or of another one; the master key does not open them; the
    /// database does not answer.
    pub async fn open(needs: Needs) -> Result<Self, KeysError> {
        let Needs { store, keys, master, .. } = &needs;
        let folder = keys.clone();
        let stored = apart(move || {
            files::make_folder(&folder).map_err(|source| KeysError::file(&folder, source))?;
            KeyRing::read(&folder)
        });
        let mut stamp = keyring::stamp(keys);
        let mut ring = match stored.await? {
            Some(ring) => ring,
            None => first_ring(&needs).await?,
        };
        let entries = Entries { clock: needs.clock.clone(), random: needs.random.clone() };
        if let Err(KeysError::RingBehind { .. }) = reconcile(store, keys, &ring, &entries).await {
            // Another process began an epoch since it was read.
            (ring, stamp) = read_again(keys).await?;
        }
        let epochs = unwrapped(&ring, master, None).await?;
        reconcile(store, keys, &ring, &entries).await?;
        let register = Register::new(keys, store.source_id().await?);
        let subjects = Self::new(needs, epochs, stamp, register);
        subjects.leave_dead_epochs().await?;
        subjects.forget_registered().await?;
        Ok(subjects)
    }

    /// People whose epoch is over are gone; those of an older living one are put into the current one, where they are
    /// looked for.
    async fn leave_dead_epochs(&self) -> Result<(), KeysError> {
        let inner = self.inner();
        let rows = repo::epochs::rows_by_epoch(&mut *inner.store.pool().acquire().await?).await?;
        let epochs = self.epochs();
        for (n, rows) in rows {
            match epochs.get(n) {
                Found::Unknown => return Err(KeysError::RingBehind { path: keyring::path(&inner.keys), epoch: n }),
                Found::Living(_) if epochs.searched().any(|epoch| epoch.n == n) => {}
                Found::Living(_) => {
                    self.rewrap_epoch(n).await?;
                }
                Found::Destroyed => {
                    tracing::warn!(epoch = n, people = rows, "the keys of people of a destroyed epoch are removed");
                    loop {
                        let mut tx = inner.store.begin().await?;
                        let gone = repo::epochs::remove_dead(&mut tx, n).await?;
                        tx.commit().await?;
                        if gone == 0 {
                            break;
                        }
                    }
                    self.leave_traces();
                }
            }
        }
        Ok(())
    }

    /// The keys of those whom the register tells of go, whatever the database says of them. Their other rows are unreadable
    /// from then on, and go with [`Subjects::replay`].
    async fn forget_registered(&self) -> Result<(), KeysError> {
        let inner = self.inner();
        for chunk in self.unsettled().await?.chunks(repo::CHUNK) {
            let mut tx = inner.store.begin().await?;
            for (tenant, ids) in by_tenant(chunk) {
                repo::remove(&mut tx, &tenant, &ids, repo::Spared::Nobody).await?;
            }
            tx.commit().await?;
            self.leave_traces();
        }
        Ok(())
    }

    /// Reads the ring again if it was replaced, and brings the database up to it.
    pub(super) async fn reload(&self) -> Result<(), KeysError> {
        let inner = self.inner();
        let _reading = inner.reading.lock().await;
        let keys = inner.keys.clone();
        let (mut ring, mut stamp) = apart(move || {
            let stamp = keyring::stamp(&keys);
            let missing = || KeysError::RingMissing { path: keyring::path(&keys) };
            Ok((KeyRing::read(&keys)?.ok_or_else(missing)?, stamp))
        })
        .await?;
        if let Err(KeysError::RingBehind { .. }) = reconcile(&inner.store, &inner.keys, &ring, &inner.entries).await {
            (ring, stamp) = read_again(&inner.keys).await?;
        }
        let epochs = Arc::new(unwrapped(&ring, &inner.master, Some(&self.epochs())).await?);
        reconcile(&inner.store, &inner.keys, &ring, &inner.entries).await?;
        *inner.epochs.write().unwrap_or_else(PoisonError::into_inner) = (epochs, stamp);
        Ok(())
    }

    /// Whether the ring was replaced since it was read.
    pub(super) fn is_replaced(&self) -> bool {
        let inner = self.inner();
        let known = inner.epochs.read().unwrap_or_else(PoisonError::into_inner).1;
        keyring::stamp(&inner.keys) != known
    }
}

/// The ring when nobody is replacing it, and its stamp.
async fn read_again(keys: &Path) -> Result<(KeyRing, Option<Stamp>), KeysError> {
    let keys = keys.to_owned();
    apart(move || {
        let missing = || KeysError::RingMissing { path: keyring::path(&keys) };
        let ring = KeyRing::read_locked(&keys)?.ok_or_else(missing)?;
        Ok((ring, keyring::stamp(&keys)))
    })
    .await
}

/// Does what blocks on a thread for it.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeysError> + Send + 'static,
) -> Result<T, KeysError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| KeysError::NotNow("the process ends"))?
}

/// The handles of each tenant among `erasures`.
pub(super) fn by_tenant(erasures: &[Erasure]) -> BTreeMap<TenantId, Vec<SubjectId>> {
    let mut tenants = BTreeMap::<_, Vec<_>>::new();
    for erasure in erasures {
        tenants.entry(erasure.tenant.clone()).or_default().push(erasure.subject);
    }
    tenants
}

/// The ring of an installation that has none yet.
async fn first_ring(needs: &Needs) -> Result<KeyRing, KeysError> {
    let keys = needs.keys.clone();
    let mut connection = needs.store.pool().acquire().await?;
    let has_people = !repo::epochs::all(&mut connection).await?.is_empty();
    drop(connection);
    if has_people {
        return Err(KeysError::RingMissing { path: keyring::path(&keys) });
    }
    let mut id = [0; 16];
    (needs.random)(&mut id);
    let id = Builder::from_random_bytes(id).into_uuid();
    let epoch = fresh_epoch(&needs.master, &needs.random, id, 1, needs.clock.now()).await?;
    apart(move || {
        let _guard = files::lock(&keys).map_err(|source| KeysError::file(&keys, source))?;
        if let Some(ring) = KeyRing::load(&keys)? {
            // Another process that started at the same time was first.
            return Ok(ring);
        }
        let ring = KeyRing::first(id, epoch);
        ring.store(&keys)?;
        Ok(ring)
    })
    .await
}

/// An epoch with a secret of its own, wrapped by `master`.
pub(super) async fn fresh_epoch(
    master: &Arc<dyn MasterKey>,
    random: &Random,
    ring: Uuid,
    n: u32,
    began: UnixMillis,
) -> Result<Living, KeysError> {
    let secret = sealed::fresh(random);
    let wrapped = master.wrap(&keyring::context(ring, n), &secret).await?;
    Ok(Living { n, began, wraps: vec![Wrap::of(master.name(), wrapped)] })
}

/// The epochs of `ring` with their secrets; those of `known` are not asked for again.
async fn unwrapped(ring: &KeyRing, master: &Arc<dyn MasterKey>, known: Option<&Epochs>) -> Result<Epochs, KeysError> {
    let mut living = Vec::with_capacity(ring.epochs.len());
    for epoch in &ring.epochs {
        let has = known.filter(|known| known.ring == ring.id).map(|known| known.get(epoch.n));
        living.push(match has {
            Some(Found::Living(epoch)) => epoch.clone(),
            _ => Arc::new(Epoch::new(epoch.n, epoch.began, &secret_of(ring, epoch, master).await?)),
        });
    }
    Epochs::new(ring.id, living).ok_or(KeysError::NotNow("the ring names no epoch"))
}

/// The secret of an epoch.
pub(super) async fn secret_of(
    ring: &KeyRing,
    epoch: &Living,
    master: &Arc<dyn MasterKey>,
) -> Result<Secret, KeysError> {
    let Some(wrap) = epoch.wraps.iter().find(|wrap| wrap.master == master.name()) else {
        let (found, configured) = (ring.masters().join(", "), master.name().to_owned());
        return Err(KeysError::AnotherMaster { found, configured });
    };
    let secret = master.unwrap(&keyring::context(ring.id, epoch.n), &wrap.wrapped()).await?;
    Ok(Zeroizing::new(*secret))
}

/// Lets SQL know what the ring knows. What it knows beyond that was made with a newer ring.
async fn reconcile(store: &Store, keys: &Path, ring: &KeyRing, entries: &Entries) -> Result<(), KeysError> {
    let path = || -> PathBuf { keyring::path(keys) };
    let current = ring.current().n;
    let wanted = |n: u32| match ring.epochs.iter().any(|epoch| epoch.n == n) {
        true if n == current => "current",
        true => "previous",
        false => "destroyed",
    };
    let check = |known: &[repo::epochs::Known]| {
        if known.iter().any(|epoch| epoch.ring != ring.id.to_string()) {
            return Err(KeysError::AnotherRing { path: path() });
        }
        match known.iter().find(|epoch| epoch.n > current) {
            Some(epoch) => Err(KeysError::RingBehind { path: path(), epoch: epoch.n }),
            None => Ok(()),
        }
    };
    let known = repo::epochs::all(&mut *store.pool().acquire().await?).await?;
    check(&known)?;
    let is_up_to_date = ring.epochs.iter().all(|epoch| known.iter().any(|known| known.n == epoch.n))
        && known.iter().all(|epoch| epoch.state == wanted(epoch.n));
    if is_up_to_date {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    let known = repo::epochs::all(tx.sql()).await?;
    check(&known)?;
    let tenant = TenantId::default_tenant();
    let told = |n: u32| format!("keys/epoch/{n}");
    for epoch in &known {
        let state = wanted(epoch.n);
        if repo::epochs::set_state(&mut tx, epoch.n, state).await? && state == "destroyed" {
            entries.publish(&mut tx, &tenant, DESTROYED, told(epoch.n), "")?;
        }
    }
    for epoch in &ring.epochs {
        let is_new = repo::epochs::put(&mut tx, ring.id, epoch.n, epoch.began, wanted(epoch.n)).await?;
        // The first one of an installation is no change of anything.
        if is_new && epoch.n > 1 {
            entries.publish(&mut tx, &tenant, ROTATED, told(epoch.n), "")?;
        }
    }
    match tx.commit().await {
        // Another process was first.
        Err(StoreError::Duplicate(_)) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
