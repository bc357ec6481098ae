//! Trainings: an order log comes in, a model is fitted to it in the background, and saved.
//!
//! The log is in memory only, and gone when the training ends. What is kept of a training holds nothing of the log: of rows that
//! cannot be read, their lines and the field. A training whose process ended is told as failed when its lease is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use http::StatusCode;
use kiki_store::idempotency::{self, Key, Response};
use kiki_types::{Principal, TenantId};
use serde::Serialize;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::audit::Entry;
use super::error::ValueError;
use super::fit::{FitOptions, FitOrdersError, fit_orders};
use super::orders::{BadRow, OrdersError};
use super::repo::trainings::{self, Kept};
use super::service::{Promote, Value, json};

/// Models that one process fits at once.
const AT_ONCE: usize = 2;
/// Far longer than the largest log that is taken in needs.
const LEASE_MS: i64 = 15 * 60 * 1_000;

/// The trainings of this process.
pub(super) struct Trainings {
    pub(super) places: Arc<Semaphore>,
    /// No more than there are places.
    running: Mutex<HashMap<Uuid, Arc<Progress>>>,
}

impl Default for Trainings {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), running: Mutex::default() }
    }
}

impl Trainings {
    fn progress(&self, id: Uuid) -> Option<Arc<Progress>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn begin(&self, id: Uuid, progress: &Arc<Progress>) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::clone(progress));
    }

    fn end(&self, id: Uuid) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// How far a training has come.
#[derive(Debug, Default)]
struct Progress {
    bytes: u64,
    read: AtomicU64,
    fitted: AtomicU64,
}

/// A training as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct TrainingView {
    /// Its id.
    id: String,
    /// `running`, `done` or `failed`.
    #[schema(example = "done")]
    state: String,
    /// While it runs here: `reading`, `fitting` or `saving`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    /// Bytes of the log that were read, while it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_read: Option<u64>,
    /// Bytes of the log, while it runs here.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// The version of the model that came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    problem: String,
    /// When it began.
    #[schema(example = "2026-02-05T10:30:00.000Z")]
    created_at: String,
}

const INTERRUPTED: &str = "the process that fitted it ended; send the log again";

impl Value {
    /// Begins to fit a model to `log`. The answer to `key`, if there is one, is given again to a repeat.
    pub(super) async fn train(
        &self,
        principal: &Arc<Principal>,
        log: Bytes,
        (options, promote): (FitOptions, Promote),
        key: Option<Key>,
    ) -> Result<Response, ValueError> {
        let needs = &*self.needs;
        let (id, now) = (needs.ids.uuid(), needs.clock.now());
        let mut tx = needs.store.begin().await?;
        if let Some(answer) = self.replay(&mut tx, key.as_ref()).await? {
            return Ok(answer);
        }
        let Ok(place) = Arc::clone(&self.trainings.places).try_acquire_owned() else {
            return Err(ValueError::TooManyTrainings);
        };
        trainings::insert(&mut tx, &principal.tenant, id, (now, now.plus(LEASE_MS))).await?;
        let resource = format!("value/training/{id}");
        self.audit(
            &mut tx,
            principal,
            Entry { event_type: "value.train", action: "train", resource, ..Entry::default() },
        )?;
        let (state, problem) = ("running".to_owned(), String::new());
        let kept = Kept { id, state, created_at: now, lease_until: now.plus(LEASE_MS), version: 0, problem };
        let response = json(StatusCode::ACCEPTED, &self.view(kept))?;
        if let Some(key) = &key {
            idempotency::finish(&mut tx, key, &response).await?;
        }
        tx.commit().await?;
        let progress = Arc::new(Progress { bytes: log.len() as u64, ..Progress::default() });
        self.trainings.begin(id, &progress);
        let (value, principal) = (self.clone(), Arc::clone(principal));
        needs.tasks.spawn("value-training", async move {
            value.fit_and_save(&principal, id, log, (options, promote), progress).await;
            value.trainings.end(id);
            drop(place);
        });
        Ok(response)
    }

    async fn fit_and_save(
        &self,
        principal: &Principal,
        id: Uuid,
        log: Bytes,
        (options, promote): (FitOptions, Promote),
        progress: Arc<Progress>,
    ) {
        let read = Arc::clone(&progress);
        let fit = move || fit_orders(&*log, &options, &mut |so_far| read.read.store(so_far.bytes, Ordering::Relaxed));
        let problem = match self.needs.tasks.spawn_blocking(fit).await {
            Ok(Ok(report)) => {
                progress.fitted.store(1, Ordering::Relaxed);
                // Saving writes down that the training ended, too.
                match self.save_of(principal, &report, promote, Some(id)).await {
                    Ok(_) => return,
                    Err(error @ ValueError::Invalid { .. }) => error.to_string(),
                    Err(error) => {
                        tracing::error!(%error, "a fitted model cannot be saved");
                        "the model was fitted and cannot be saved".to_owned()
                    }
                }
            }
            Ok(Err(error)) => told(&error),
            Err(_) => INTERRUPTED.to_owned(),
        };
        let ended = async {
            let mut tx = self.needs.store.begin().await?;
            trainings::end(&mut tx, &principal.tenant, id, Err(&problem)).await?;
            tx.commit().await
        };
        if let Err(error) = ended.await {
            tracing::error!(%error, "the end of a training is not written down");
        }
    }

    /// A training of the tenant.
    pub(super) async fn training(&self, tenant: &TenantId, id: Uuid) -> Result<TrainingView, ValueError> {
        let kept = trainings::find(&self.needs.store, tenant, id).await?;
        Ok(self.view(kept.ok_or(ValueError::NotFound("training"))?))
    }

    fn view(&self, kept: Kept) -> TrainingView {
        let is_running = kept.state == "running";
        let progress = self.trainings.progress(kept.id).filter(|_| is_running);
        let is_gone = is_running && progress.is_none() && self.needs.clock.now() >= kept.lease_until;
        let read = progress.as_ref().map(|progress| progress.read.load(Ordering::Relaxed));
        TrainingView {
            id: kept.id.to_string(),
            state: if is_gone { "failed".to_owned() } else { kept.state },
            stage: progress.as_ref().map(|progress| match progress.fitted.load(Ordering::Relaxed) {
                0 if read < Some(progress.bytes) => "reading",
                0 => "fitting",
                _ => "saving",
            }),
            bytes_read: read,
            bytes: progress.as_ref().map(|progress| progress.bytes),
            version: Some(kept.version).filter(|&version| version > 0),
            problem: if is_gone { INTERRUPTED.to_owned() } else { kept.problem },
            created_at: kept.created_at.rfc3339(),
        }
    }
}

/// What went wrong, in words that hold nothing of the log.
fn told(error: &FitOrdersError) -> String {
    match error {
        FitOrdersError::Orders(OrdersError::BadRows(bad)) => {
            let rows: Vec<String> = bad.first.iter().map(place_of).collect();
            format!("{} rows cannot be read: {}", bad.count, rows.join(", "))
        }
        FitOrdersError::Orders(OrdersError::Header { line, .. }) => {
            format!("line {line}: customer, date and amount cannot be told from its columns; name them")
        }
        FitOrdersError::History { .. } => "the orders of a customer make no history".to_owned(),
        FitOrdersError::Purchases(_, source) | FitOrdersError::Spend(source) => format!("{error}: {source}"),
        FitOrdersError::Orders(_) | FitOrdersError::NothingUntil { .. } => error.to_string(),
    }
}

/// The line of a bad row, and the field that is wrong, if one is.
fn place_of(row: &BadRow) -> String {
    let fields = ["customer", "date", "amount", "refund", "Currency", "Name"];
    let field = row.problem.split(':').next().filter(|field| fields.contains(field));
    field.map_or_else(|| format!("line {}", row.line), |field| format!("line {} ({field})", row.line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::orders::{OrderLog, OrderOptions};

    #[test]
    fn what_is_told_of_bad_rows_holds_nothing_of_them() {
        let log = "customer,date,amount\nann@example.com,ann@example.com,1\nbob,2020-01-01,bob@example.com\na,b\n";
        let error = OrderLog::read(log.as_bytes(), &OrderOptions::default(), &mut |_| ()).unwrap_err();
        let text = told(&error.into());
        assert_eq!(text, "3 rows cannot be read: line 2 (date), line 3 (amount), line 4");
        let error = OrderLog::read(&b"ann@example.com,1,2\n"[..], &OrderOptions::default(), &mut |_| ()).unwrap_err();
        assert!(!told(&error.into()).contains("ann@"));
    }
}
