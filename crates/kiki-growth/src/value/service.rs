//! The verbs of value: they own the transaction, make ids and times, and write the audit entry.

use std::sync::Arc;

use kiki_kit::clock::Clock;
use kiki_kit::shutdown::Tasks;
use kiki_store::idempotency::{self, Begin, Key, Response};
use kiki_store::personal::{Mint, Subject, Subjects};
use kiki_store::{Store, StoreError, Tx};
use kiki_types::id::ModelId;
use kiki_types::{Currency, IdSource, Principal, TenantId, UnixMillis};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::aside::{Asker, Room};
use super::audit::{self, Entry};
use super::cohort;
use super::error::ValueError;
use super::fit::FitReport;
use super::intervals::INTERVALS_MAX;
use super::model::{About, BATCH_MAX, Churn, Prediction, Question, SavedModel, Scope};
use super::parsed::Parsed;
use super::repo;
use super::together::Together;
use super::training::Trainings;

/// The newest models whose customers are kept, beside those of the one in force and the one before it.
const CUSTOMERS_KEPT: i64 = 3;
/// Customers that are written or read at once.
pub(super) const CHUNK: usize = 1_000;

/// Makes a keyed hash of a name. Shield holds the key; where it cannot be had, the answer is empty.
pub type Pseudonym = Arc<dyn Fn(&TenantId, &str) -> String + Send + Sync>;

/// What value needs.
#[derive(Clone)]
pub struct Needs {
    /// Where models and customers are kept.
    pub store: Store,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
    /// Where models are fitted in the background.
    pub tasks: Tasks,
    /// The currency of order logs that are sent.
    pub currency: Currency,
    /// The keys that what customers bought is sealed under.
    pub subjects: Subjects,
    /// Hides names in audit entries.
    pub pseudonym: Pseudonym,
    /// Hides ids of orders, idempotency keys and the requests that came with them.
    pub request_key: Pseudonym,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Value {
    pub(super) needs: Arc<Needs>,
    pub(super) trainings: Arc<Trainings>,
    pub(super) room: Arc<Room>,
    /// Places for those that are put together at once.
    pub(super) cohorts: Arc<Semaphore>,
    pub(super) together: Arc<Together>,
    pub(super) parsed: Arc<Parsed>,
}

/// How a question came: what is wrong with it is told by its place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Alone,
    InBatch,
}

/// Whether a model is in force from its saving on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promote {
    /// It is.
    Now,
    /// Only when it is promoted.
    Later,
}

impl Value {
    /// The service over `needs`.
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Self {
            needs: Arc::new(needs),
            trainings: Arc::default(),
            room: Arc::default(),
            cohorts: Arc::new(Semaphore::new(cohort::AT_ONCE)),
            together: Arc::default(),
            parsed: Arc::default(),
        }
    }

    /// Keeps a fitted model and its customers for the tenant of `principal`, and puts it in force, if it is to be so now.
    ///
    /// # Errors
    /// [`ValueError::Store`], or [`ValueError::Invalid`] where a customer's purchases are worth more than 64 bits of millionths.
    pub async fn save(
        &self,
        principal: &Principal,
        report: &FitReport,
        promote: Promote,
    ) -> Result<SavedModel, ValueError> {
        self.save_of(principal, report, promote, None).await
    }

    /// The same, and the training that it came of ends with it or not at all.
    pub(super) async fn save_of(
        &self,
        principal: &Principal,
        report: &FitReport,
        promote: Promote,
        training: Option<Uuid>,
    ) -> Result<SavedModel, ValueError> {
        let needs = &*self.needs;
        let tenant = &principal.tenant;
        // Before the transaction: who is not known yet becomes known in one of its own.
        let people = self.people(tenant, report).await?;
        let mut tx = needs.store.begin().await?;
        // The newest is the latest, also after the clock was set back.
        let newest = repo::versions::newest(&mut tx, tenant).await?;
        let now = needs.clock.now();
        let later = |time: UnixMillis| now.max(time.plus(1));
        let promoted_at = match promote {
            Promote::Now => later(newest.promoted_at),
            Promote::Later => UnixMillis(0),
        };
        let mut model = saved_model(ModelId::new(needs.ids.as_ref()), report)?;
        (model.version, model.created_at, model.promoted_at) =
            (newest.version + 1, later(newest.created_at), promoted_at);
        repo::insert_model(&mut tx, tenant, &model, &report.revenue).await?;
        let both = people.iter().zip(&report.summaries);
        let customers: Vec<_> = both.filter_map(|(person, (_, summary))| Some((person.as_ref()?, summary))).collect();
        for (chunk, first) in customers.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            repo::insert_customers(&mut tx, tenant, model.id, first, chunk).await?;
        }
        repo::versions::forget_customers(&mut tx, tenant, CUSTOMERS_KEPT).await?;
        let resource = format!("value/model/{}", model.id);
        self.audit(
            &mut tx,
            principal,
            Entry { event_type: "value.model.save", action: "save", resource, ..Entry::default() },
        )?;
        if let Some(training) = training {
            repo::trainings::end(&mut tx, tenant, training, Ok(model.version)).await?;
        }
        tx.commit().await?;
        Ok(model)
    }

    /// Lets an entry in the name of `principal` leave with `tx`.
    pub(super) fn audit(&self, tx: &mut Tx, principal: &Principal, entry: Entry) -> Result<(), StoreError> {
        let needs = &*self.needs;
        audit::write(tx, &needs.pseudonym, principal, (needs.ids.uuid(), needs.clock.now()), entry)
    }

    /// Takes `key` within `tx`; the answer if the work was done before.
    pub(super) async fn replay(&self, tx: &mut Tx, key: Option<&Key>) -> Result<Option<Response>, ValueError> {
        let Some(key) = key else { return Ok(None) };
        match idempotency::begin(tx, key, self.needs.clock.now()).await? {
            Begin::Fresh => Ok(None),
            Begin::Replay(response) => Ok(Some(response)),
            Begin::Conflict => Err(ValueError::KeyConflict),
            Begin::InProgress => Err(ValueError::KeyInProgress),
        }
    }

    /// The answer to `key`, if the work was done before. It is not taken.
    pub(super) async fn answered(&self, key: Option<&Key>) -> Result<Option<Response>, ValueError> {
        if key.is_none() {
            return Ok(None);
        }
        let mut tx = self.needs.store.begin().await?;
        let answer = self.replay(&mut tx, key).await?;
        tx.rollback().await?;
        Ok(answer)
    }

    /// The customers of `report`, in their order.
    async fn people(&self, tenant: &TenantId, report: &FitReport) -> Result<Vec<Option<Subject>>, StoreError> {
        let names: Vec<&str> = report.summaries.iter().map(|(name, _)| &**name).collect();
        self.needs.subjects.resolve_many(tenant, &names, Mint::Yes).await
    }

    /// The model that predictions are made with.
    ///
    /// # Errors
    /// [`ValueError::NoModel`], [`ValueError::Store`].
    pub async fn current(&self, tenant: &TenantId) -> Result<SavedModel, ValueError> {
        repo::current(&self.needs.store, tenant).await?.ok_or(ValueError::NoModel)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.needs.store.ping().await
    }

    /// What somebody is worth.
    pub(super) async fn predict(
        &self,
        tenant: &TenantId,
        question: Question,
    ) -> Result<(Arc<SavedModel>, Prediction), ValueError> {
        let (model, mut about) = self.about(tenant, vec![question], Asked::Alone).await?;
        let (about, scope) = about.pop().ok_or(ValueError::NotFound("customer"))?;
        let predict = move |_: &Asker| {
            let prediction = model.predict(about, &scope);
            (model, prediction)
        };
        self.aside(scope.months(), predict).await
    }

    /// What each of them is worth, in the order of the questions.
    pub(super) async fn predict_batch(
        &self,
        tenant: &TenantId,
        questions: Vec<Question>,
    ) -> Result<(Arc<SavedModel>, Vec<Prediction>), ValueError> {
        self.answers(tenant, questions, Asked::InBatch, SavedModel::predict).await
    }

    /// Whether each of them comes back, in the order of the questions.
    pub(super) async fn churn(
        &self,
        tenant: &TenantId,
        questions: Vec<Question>,
        asked: Asked,
    ) -> Result<(Arc<SavedModel>, Vec<Churn>), ValueError> {
        self.answers(tenant, questions, asked, SavedModel::churn).await
    }

    async fn answers<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        questions: Vec<Question>,
        asked: Asked,
        answer: fn(&SavedModel, About, &Scope) -> T,
    ) -> Result<(Arc<SavedModel>, Vec<T>), ValueError> {
        if questions.len() > BATCH_MAX {
            return Err(ValueError::invalid("requests", "must be at most 10000"));
        }
        if questions.iter().filter(|question| question.scope.intervals).count() > INTERVALS_MAX {
            return Err(ValueError::invalid("requests", "must be at most 1000 with intervals"));
        }
        let (model, about) = self.about(tenant, questions, asked).await?;
        let months = about.iter().map(|(_, scope)| scope.months()).sum();
        let all = move |asker: &Asker| {
            let wanted = about.into_iter().take_while(|_| !asker.is_gone());
            let answers = wanted.map(|(about, scope)| answer(&model, about, &scope)).collect();
            (model, answers)
        };
        self.aside(months, all).await
    }
}

/// Without the version and times that it has where it is kept.
pub(super) fn saved_model(id: ModelId, report: &FitReport) -> Result<SavedModel, ValueError> {
    // Nobody is named: this is logged and told where logs of other people's names do not belong.
    if report.summaries.iter().any(|(_, summary)| i64::try_from(summary.repeat_micros).is_err()) {
        return Err(ValueError::invalid("amount", "a customer bought for more than can be kept, 9.2 * 10^12"));
    }
    Ok(SavedModel {
        id,
        version: 0,
        created_at: UnixMillis(0),
        promoted_at: UnixMillis(0),
        currency: report.currency,
        parameters: report.parameters(),
        covariances: report.covariances(),
        purchases_log_likelihood: report.purchases.log_likelihood(),
        gamma_gamma_log_likelihood: report.gamma_gamma.log_likelihood,
        data_sha256: report.data_sha256.clone(),
        orders: count(report.orders),
        customers: count(report.summaries.len() as u64),
        calibrate_until: report.calibrate_until.to_string(),
        figures: report.hold_out.as_ref().map_or(serde_json::Value::Null, |hold_out| {
            serde_json::json!({
                "days": hold_out.days,
                "weeks": hold_out.weeks,
                "purchases": hold_out.purchases,
                "spend": hold_out.spend,
            })
        }),
    })
}

/// `value` as an answer that a repeat gets too.
pub(super) fn json(status: http::StatusCode, value: &impl serde::Serialize) -> Result<Response, ValueError> {
    let body = serde_json::to_vec(value)
        .map_err(|error| StoreError::Unreadable { column: "response".to_owned(), why: error.to_string() })?;
    Ok(Response { status: status.as_u16(), body })
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("store", &self.needs.store).finish_non_exhaustive()
    }
}
