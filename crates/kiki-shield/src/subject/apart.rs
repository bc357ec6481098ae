//! Tells services with databases of their own of objections that were taken back without a request, and of restrictions
//! that have ended: whoever lifts one tells them at once, and one that is away hears of it here.
//!
//! What waits in the outbox names a person alone. They are told what stands when they are told, so that it may be told
//! twice, and late, and in any order.

use std::collections::HashSet;
use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_store::outbox::{self, Pending};
use kiki_store::personal::{PersonalStore, Stores, Subject};
use kiki_types::{Bar, TenantId};

use super::error::SubjectError;
use super::service::Requests;
use super::wave::code_of;
use crate::consent::{Changed, OBJECTION_TOPIC};

/// People that are looked at together.
const PAGE: u32 = 100;
/// Pages of one go at the most.
const PAGES_MAX: usize = 10;
/// How often a service is told of one person at the most while what stands changes.
const TOLD_MAX: usize = 8;
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait at the most while a service is away.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Services that were not told of a tenant's people: there may be a way to them for others.
type Failed = HashSet<(TenantId, &'static str)>;

impl Requests {
    /// Tells services apart what changed, until shutdown.
    pub async fn tell_apart(self, shutdown: Shutdown) {
        let (mut pause, mut from) = (PAUSE, 0);
        loop {
            tokio::select! {
                () = shutdown.draining() => return,
                told = self.tell_waiting(&mut from) => {
                    pause = match told {
                        Ok(0) => PAUSE,
                        Ok(_) => pause.saturating_mul(2).min(PAUSE_MAX),
                        Err(error) => {
                            tracing::warn!(%error, "services apart are told later what was taken back");
                            pause.saturating_mul(2).min(PAUSE_MAX)
                        }
                    };
                }
            }
            tokio::select! {
                () = shutdown.draining() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Tells what waits behind the position `from`, which it moves on, round and round: who waits for a service that is away
    /// hides nobody else. Returns of how many people not every service was told; one that fails for a tenant is asked once.
    pub(super) async fn tell_waiting(&self, from: &mut i64) -> Result<usize, SubjectError> {
        let Some(stores) = self.stores() else { return Ok(0) };
        let (mut left, mut failed) = (0, HashSet::new());
        for _ in 0..PAGES_MAX {
            let waiting = outbox::pending_after(self.store(), OBJECTION_TOPIC, *from, PAGE).await?;
            let is_last = waiting.len() < PAGE as usize;
            *from = waiting.last().filter(|_| !is_last).map_or(0, |last| last.position);
            left += self.tell_page(stores, &waiting, &mut failed).await?;
            if is_last {
                break;
            }
        }
        Ok(left)
    }

    async fn tell_page(
        &self,
        stores: &Stores,
        waiting: &[Pending],
        failed: &mut Failed,
    ) -> Result<usize, SubjectError> {
        let mut told = Vec::new();
        for pending in waiting {
            if self.tell_of(stores, pending, failed).await? {
                told.push(pending.position);
            }
        }
        if !told.is_empty() {
            let mut tx = self.store().begin().await?;
            outbox::taken(&mut tx, OBJECTION_TOPIC, &told).await?;
            tx.commit().await?;
        }
        Ok(waiting.len() - told.len())
    }

    /// Whether every service apart was told; those that fail are put into `failed`.
    async fn tell_of(
        &self,
        stores: &Stores,
        Pending { position, event }: &Pending,
        failed: &mut Failed,
    ) -> Result<bool, SubjectError> {
        let Ok(Changed { subject }) = serde_json::from_str(&event.payload) else {
            tracing::error!(position, "it cannot be read of whom services apart are to be told");
            return Ok(true);
        };
        // Who was erased meanwhile was erased there, too.
        let Some(person) = self.subjects().by_id(&event.tenant, &[subject]).await?.pop() else { return Ok(true) };
        let mut is_told = true;
        for store in stores.iter().filter(|store| !store.knows_handles()) {
            let way = (event.tenant.clone(), store.declared().name);
            if failed.contains(&way) || !self.tell_what_stands(store.as_ref(), &person).await? {
                failed.insert(way);
                is_told = false;
            }
        }
        Ok(is_told)
    }

    /// Whether `store` was told what stands, which may change while it is.
    async fn tell_what_stands(&self, store: &dyn PersonalStore, person: &Subject) -> Result<bool, SubjectError> {
        let mut stands = self.stands(person).await?;
        for _ in 0..TOLD_MAX {
            let (objects, restricted) = stands;
            let told = async {
                store.object(person, objects).await?;
                store.restrict(person, restricted).await
            };
            if let Err(error) = told.await {
                tracing::warn!(store = store.declared().name, error = code_of(&error), "a service apart is told later");
                return Ok(false);
            }
            let now = self.stands(person).await?;
            if now == stands {
                return Ok(true);
            }
            stands = now;
        }
        Ok(false)
    }

    /// Whether a person objects, and whether they are restricted.
    async fn stands(&self, person: &Subject) -> Result<(bool, bool), SubjectError> {
        let bars = self.shield().bars(person).await?;
        Ok((bars.contains(&Bar::Objected), bars.contains(&Bar::Restricted)))
    }
}
