//! One reading of the database for the requests that come at once.
//!
//! A reading costs about the same for one person as for a hundred, so whoever asks while the readers of their tenant are busy
//! waits for the next reading, together with all others who do. That one begins after they asked: it sees every promotion,
//! order, objection and erasure that was done before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiki_store::StoreError;
use kiki_store::personal::SubjectId;
use kiki_types::TenantId;
use tokio::sync::oneshot;

use super::repo::serving::{self, Reading};
use super::service::Value;

/// Readings of one tenant at a time. Fewer read more at once; one would leave the next requests waiting for it.
const READERS_MAX: usize = 2;
/// People of one reading at the most.
const PEOPLE_MAX: usize = 256;

/// Who waits, by tenant: no more than there are requests at a time.
#[derive(Default)]
pub(super) struct Together(Mutex<HashMap<TenantId, Line>>);

#[derive(Default)]
struct Line {
    waiting: Vec<Waiting>,
    readers: usize,
}

/// Somebody who waits, and for whom.
struct Waiting {
    people: Vec<SubjectId>,
    answer: oneshot::Sender<Option<Arc<Reading>>>,
}

impl Together {
    fn lines(&self) -> MutexGuard<'_, HashMap<TenantId, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts somebody into line. `true`: another reader is to begin.
    fn wait(&self, tenant: &TenantId, waiting: Waiting) -> bool {
        let mut lines = self.lines();
        let line = match lines.get_mut(tenant) {
            Some(line) => line,
            None => lines.entry(tenant.clone()).or_default(),
        };
        line.waiting.push(waiting);
        let is_wanted = line.readers < READERS_MAX;
        line.readers += usize::from(is_wanted);
        is_wanted
    }
}

/// One that reads for those in line. Those whom it leaves, for whatever reason, are told so by their channel.
struct Reader {
    value: Value,
    tenant: TenantId,
    has_left: bool,
}

impl Reader {
    async fn read_on(mut self) {
        while let Some(waiting) = self.next() {
            let mut people: Vec<SubjectId> = waiting.iter().flat_map(|one| &one.people).copied().collect();
            people.sort_unstable();
            people.dedup();
            match serving::read(&self.value.needs.store, &self.tenant, &people).await {
                Ok(reading) => {
                    let reading = reading.map(Arc::new);
                    // Who does not wait any more needs no answer.
                    waiting.into_iter().for_each(|one| drop(one.answer.send(reading.clone())));
                }
                // Each reads alone, and is told what is wrong.
                Err(error) => {
                    tracing::debug!(%error, requests = waiting.len(), "a reading for several requests failed");
                }
            }
        }
    }

    /// The next who are read for; with `None` it leaves.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let together = Arc::clone(&self.value.together);
        let mut lines = together.lines();
        let line = lines.get_mut(&self.tenant)?;
        let mut people = 0;
        let fit = line.waiting.iter().take_while(|one| {
            people += one.people.len();
            people <= PEOPLE_MAX
        });
        let fit = fit.count();
        if fit > 0 {
            return Some(line.waiting.drain(..fit).collect());
        }
        self.has_left = true;
        leave(&mut lines, &self.tenant);
        None
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.has_left {
            leave(&mut self.value.together.lines(), &self.tenant);
        }
    }
}

/// One reader less. Without any, nobody is left to wait.
fn leave(lines: &mut HashMap<TenantId, Line>, tenant: &TenantId) {
    let Some(line) = lines.get_mut(tenant) else { return };
    line.readers -= 1;
    if line.readers == 0 {
        lines.remove(tenant);
    }
}

impl Value {
    /// What is there of `people` and of the model in force; `None` without one.
    pub(super) async fn read(
        &self,
        tenant: &TenantId,
        people: Vec<SubjectId>,
    ) -> Result<Option<Arc<Reading>>, StoreError> {
        let alone = async |people: &[SubjectId]| {
            let reading = serving::read(&self.needs.store, tenant, people).await?;
            Ok(reading.map(Arc::new))
        };
        if people.len() > PEOPLE_MAX / 2 {
            return alone(&people).await;
        }
        let (answer, answered) = oneshot::channel();
        if self.together.wait(tenant, Waiting { people: people.clone(), answer }) {
            let reader = Reader { value: self.clone(), tenant: tenant.clone(), has_left: false };
            drop(self.needs.tasks.spawn("value-reading", reader.read_on()));
        }
        match answered.await {
            Ok(reading) => Ok(reading),
            Err(_) => alone(&people).await,
        }
    }
}
