//! What the governor is told about people: what stands against their consents, and that they are to be forgotten.

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use kiki_spend::{Command, Digest};
use kiki_store::personal::{Stores, Subject, SubjectId};
use kiki_types::Bar;
use kiki_types::event::AuditEvent;

use super::error::SubjectError;
use super::repo::Request;
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

    /// Restricts everything about people whose deletion waits: at the governor first, whoever is told already is not told
    /// again, then in every store. A deletion that waits is nobody's, so what ended meanwhile restricts nobody any more.
    pub(super) async fn restrict_meanwhile(
        &self,
        caller: &Caller,
        waiting: &[(&Request, &Subject)],
    ) -> Result<(), SubjectError> {
        let bar = |person| async move {
            let stands = self.shield().bars(person).await?.contains(&Bar::Restricted);
            if stands { Ok(()) } else { self.bar_at_once(caller, person).await }
        };
        all_at_once(waiting.iter().map(|&(_, person)| bar(person).boxed()).collect()).await?;
        let tell = |person| self.restrict_in_stores(person, true).boxed();
        let telling: Vec<BoxFuture<'_, _>> = waiting.iter().map(|&(_, person)| tell(person)).collect();
        let mut told: Vec<_> = stream::iter(telling).buffered(DECISIONS_MAX).collect().await;
        let Some((first, _)) = waiting.first() else { return Ok(()) };
        let who: Vec<SubjectId> = waiting.iter().map(|(request, _)| request.subject).collect();
        let known = self.subjects().by_id(&first.tenant, &who).await?;
        for (request, person) in waiting {
            told.push(if known.iter().any(|known| known.id == person.id) {
                self.unrestrict(caller, request, person).await
            } else {
                self.forget(caller, &[person]).await
            });
        }
        told.into_iter().collect()
    }

    /// Lets every store know whether `person` is restricted. One that fails keeps no other from it.
    pub(super) async fn restrict_in_stores(&self, person: &Subject, on: bool) -> Result<(), SubjectError> {
        let mut told = Ok(());
        for store in self.stores().into_iter().flat_map(Stores::iter) {
            let answer = store.restrict(person, on).await;
            told = told.and(answer);
        }
        Ok(told?)
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
