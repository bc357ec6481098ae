//! What the governor is told about people: what stands against their consents, and that they are to be forgotten.

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use kiki_spend::{Command, Digest};
use kiki_store::personal::{Stores, Subject};
use kiki_types::Bar;
use kiki_types::event::AuditEvent;

use super::error::SubjectError;
use super::service::{Requests, pseudonym};
use crate::error::ShieldError;
use crate::service::Caller;

/// Decisions that are asked for at the same time: they share the log's writes.
const DECISIONS_MAX: usize = 64;

/// Waits for all of them, some at a time. Returns what they did in their order, or the first error.
pub(super) async fn all_at_once<T>(
    decisions: Vec<BoxFuture<'_, Result<T, SubjectError>>>,
) -> Result<Vec<T>, SubjectError> {
    stream::iter(decisions).buffered(DECISIONS_MAX).try_collect().await
}

impl Requests {
    /// Restricts everything about somebody who is about to be erased. No record of it is kept, which would go at once.
    pub(super) async fn bar_at_once(&self, caller: &Caller, person: &Subject) -> Result<(), SubjectError> {
        let draft = self.shield().draft(caller, "consent.bar", "bar", &format!("consent/{}", Bar::Restricted));
        let draft = AuditEvent { customer: pseudonym(person), data: "consent".to_owned(), ..draft };
        let command = Command::Bar { subject: Digest(person.pseudonym), bar: Bar::Restricted, set: true };
        // No bound stands against it.
        self.shield().0.governor.decide(command, draft).await.map_err(ShieldError::from)?;
        Ok(())
    }

    /// Restricts everything about people whose deletion waits. Whoever is restricted is not told to the governor again.
    pub(super) async fn restrict_meanwhile(&self, caller: &Caller, people: &[&Subject]) -> Result<(), SubjectError> {
        let one = |person: &Subject| {
            let person = person.clone();
            async move {
                if !self.shield().bars(&person).await?.contains(&Bar::Restricted) {
                    self.bar_at_once(caller, &person).await?;
                }
                for store in self.stores().into_iter().flat_map(Stores::iter) {
                    store.restrict(&person, true).await?;
                }
                Ok(())
            }
            .boxed()
        };
        all_at_once(people.iter().map(|person| one(person)).collect()).await.map(drop)
    }

    /// Lets the governor forget people.
    pub(super) async fn forget(&self, caller: &Caller, people: &[&Subject]) -> Result<(), SubjectError> {
        let digests: Vec<_> = people.iter().map(|person| Digest(person.pseudonym)).collect();
        if !digests.is_empty() {
            self.shield().forget(caller, &digests).await?;
        }
        Ok(())
    }
}
