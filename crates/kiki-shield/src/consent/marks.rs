//! What stands against people, where those look who do not ask the governor: in the person's row, and at services with
//! databases of their own.
//!
//! The governor decides; what is written elsewhere follows it, and may be written again at any time.

use kiki_spend::Digest;
use kiki_store::outbox;
use kiki_store::personal::{Subject, SubjectId};
use kiki_types::event::Envelope;
use kiki_types::{Bar, TenantId};
use serde::{Deserialize, Serialize};

use crate::error::ShieldError;
use crate::service::Shield;

/// The outbox topic of people of whom services apart are told whether they object, and whether they are restricted.
pub(crate) const OBJECTION_TOPIC: &str = "objection";
/// How often a row is written at the most for bars that change meanwhile: each change comes by here once more.
const WRITTEN_MAX: usize = 8;

/// Whom a message of [`OBJECTION_TOPIC`] is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) subject: SubjectId,
}

impl Shield {
    /// What stands against the consents of `who`.
    pub(crate) async fn bars(&self, who: &Subject) -> Result<Vec<Bar>, ShieldError> {
        self.bars_of(Digest(who.pseudonym)).await
    }

    async fn bars_of(&self, subject: Digest) -> Result<Vec<Bar>, ShieldError> {
        Ok(self.0.governor.read(move |state| state.bars(subject)).await?)
    }

    /// Writes an objection down where those look who profile.
    pub(super) async fn mark(&self, who: &Subject, bar: Bar) -> Result<(), ShieldError> {
        if bar == Bar::Objected {
            self.0.subjects.object(&who.tenant, &[who.id], true).await?;
        }
        Ok(())
    }

    /// Brings the row of a person, who is `subject` in the log, to what the governor says.
    pub(super) async fn mark_again(
        &self,
        tenant: &TenantId,
        id: SubjectId,
        subject: Digest,
    ) -> Result<(), ShieldError> {
        let mut bars = self.bars_of(subject).await?;
        for _ in 0..WRITTEN_MAX {
            self.0.subjects.object(tenant, &[id], bars.contains(&Bar::Objected)).await?;
            self.0.subjects.restrict(tenant, &[id], bars.contains(&Bar::Restricted)).await?;
            let now = self.bars_of(subject).await?;
            if now == bars {
                break;
            }
            bars = now;
        }
        Ok(())
    }

    /// Lets services apart be told whether a person objects, and is restricted.
    pub(super) async fn tell_apart(&self, tenant: &TenantId, subject: SubjectId) -> Result<(), ShieldError> {
        let payload = serde_json::to_string(&Changed { subject }).unwrap_or_default();
        let (id, tenant, at) = (self.0.ids.uuid(), tenant.clone(), self.0.clock.now());
        let mut tx = self.0.store.begin().await?;
        outbox::publish(&mut tx, Envelope { id, tenant, at, topic: OBJECTION_TOPIC.to_owned(), payload })?;
        Ok(tx.commit().await?)
    }
}
