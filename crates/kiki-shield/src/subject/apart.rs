//! Tells services with databases of their own of objections that were taken back without a request.
//!
//! What waits in the outbox names a person alone. They are told what stands when they are told, so that it may be told
//! twice, and late, and in any order.

use std::collections::HashSet;
use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_store::outbox::{self, Pending};
use kiki_store::personal::{PersonalStore, Stores, Subject};
use kiki_types::Bar;

use super::error::SubjectError;
use super::service::Requests;
use super::wave::code_of;
use crate::consent::{Changed, OBJECTION_TOPIC};

/// People of one go at the most.
const PAGE: u32 = 100;
/// How often a service is told of one person at the most while what stands changes.
const TOLD_MAX: usize = 8;
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait at the most while a service is away.
const PAUSE_MAX: Duration = Duration::from_secs(300);

impl Requests {
    /// Tells services apart what changed, until shutdown.
    pub async fn tell_apart(self, shutdown: Shutdown) {
        let mut pause = PAUSE;
        loop {
            tokio::select! {
                () = shutdown.draining() => return,
                told = self.tell_waiting() => {
                    pause = match told {
                        Ok(0) => PAUSE,
                        Ok(_) => pause.saturating_mul(2).min(PAUSE_MAX),
                        Err(error) => {
                            tracing::warn!(%error, "services apart are told later that objections were taken back");
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

    /// Tells what waits. Returns of how many people not every service was told; one that fails is asked once.
    pub(super) async fn tell_waiting(&self) -> Result<usize, SubjectError> {
        let Some(stores) = self.stores() else { return Ok(0) };
        let waiting = outbox::pending(self.store(), OBJECTION_TOPIC, PAGE).await?;
        let (mut told, mut failed) = (Vec::new(), HashSet::new());
        for pending in &waiting {
            if self.tell_of(stores, pending, &mut failed).await? {
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
        failed: &mut HashSet<&'static str>,
    ) -> Result<bool, SubjectError> {
        let Ok(Changed { subject }) = serde_json::from_str(&event.payload) else {
            tracing::error!(position, "it cannot be read of whom services apart are to be told");
            return Ok(true);
        };
        // Who was erased meanwhile was erased there, too.
        let Some(person) = self.subjects().by_id(&event.tenant, &[subject]).await?.pop() else { return Ok(true) };
        let mut is_told = true;
        for store in stores.iter().filter(|store| !store.knows_handles()) {
            let name = store.declared().name;
            if failed.contains(name) || !self.tell_what_stands(store.as_ref(), &person).await? {
                failed.insert(name);
                is_told = false;
            }
        }
        Ok(is_told)
    }

    /// Whether `store` was told what stands, which may change while it is.
    async fn tell_what_stands(&self, store: &dyn PersonalStore, person: &Subject) -> Result<bool, SubjectError> {
        let mut on = self.objects(person).await?;
        for _ in 0..TOLD_MAX {
            if let Err(error) = store.object(person, on).await {
                tracing::warn!(store = store.declared().name, error = code_of(&error), "a service apart is told later");
                return Ok(false);
            }
            let now = self.objects(person).await?;
            if now == on {
                return Ok(true);
            }
            on = now;
        }
        Ok(false)
    }

    async fn objects(&self, person: &Subject) -> Result<bool, SubjectError> {
        Ok(self.shield().bars(person).await?.contains(&Bar::Objected))
    }
}
