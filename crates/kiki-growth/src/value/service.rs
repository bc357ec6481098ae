//! The verbs of value: they own the transaction, make ids and times, and write the audit entry.

use std::collections::HashMap;
use std::sync::Arc;

use kiki_kit::clock::Clock;
use kiki_store::personal::{Mint, Subject, Subjects};
use kiki_store::{Store, StoreError};
use kiki_types::id::ModelId;
use kiki_types::{IdSource, Principal, TenantId, UnixMillis};

use super::error::ValueError;
use super::fit::FitReport;
use super::model::{BATCH_MAX, Known, PAGE_MAX, PageToken, Prediction, Question, SavedModel, Selection, Who};
use super::{audit, repo};

/// Models of a tenant that are kept; an older one goes when a new one comes.
const MODELS_KEPT: usize = 3;
/// Customers that are read at once.
const CHUNK: usize = 1_000;
/// Customers that one page looks at, at the most. A page may therefore be empty and not the last.
const LOOKED_AT_MAX: usize = 20_000;
/// Predictions after which other work gets its turn: about a millisecond.
const PREDICTIONS_PER_TURN: usize = 256;

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
    /// The keys that what customers bought is sealed under.
    pub subjects: Subjects,
    /// Hides names in audit entries.
    pub pseudonym: Pseudonym,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Value(Arc<Needs>);

/// Customers of one page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page {
    pub(super) model: SavedModel,
    pub(super) customers: Vec<Prediction>,
    /// Where the next page begins; `None` after the last.
    pub(super) next: Option<PageToken>,
}

impl Value {
    /// The service over `needs`.
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Self(Arc::new(needs))
    }

    /// Keeps a fitted model and its customers for the tenant of `principal`. From the commit on it is the one that predictions
    /// are made with; of older ones the two newest are kept, so that pages that began in one can end in it.
    ///
    /// # Errors
    /// [`ValueError::Store`], or [`ValueError::Invalid`] where a customer's purchases are worth more than 64 bits of millionths.
    pub async fn save(&self, principal: &Principal, report: &FitReport) -> Result<SavedModel, ValueError> {
        let needs = &*self.0;
        let tenant = &principal.tenant;
        // Before the transaction: who is not known yet becomes known in one of its own.
        let people = self.people(tenant, report).await?;
        let mut tx = needs.store.begin().await?;
        // The newest is the current one: also after the clock was set back.
        let newest = repo::newest_time(&mut tx, tenant).await?;
        let created_at = newest.map_or(needs.clock.now(), |newest| needs.clock.now().max(newest.plus(1)));
        let model = saved_model(ModelId::new(needs.ids.as_ref()), created_at, report)?;
        repo::insert_model(&mut tx, tenant, &model).await?;
        let both = people.iter().zip(&report.summaries);
        let customers: Vec<_> = both.filter_map(|(person, (_, summary))| Some((person.as_ref()?, summary))).collect();
        for (chunk, first) in customers.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            repo::insert_customers(&mut tx, tenant, model.id, first, chunk).await?;
        }
        repo::delete_older(&mut tx, tenant, MODELS_KEPT).await?;
        audit::write(&mut tx, &needs.pseudonym, principal, (needs.ids.uuid(), needs.clock.now()), &model)?;
        tx.commit().await?;
        Ok(model)
    }

    /// The customers of `report`, in their order.
    async fn people(&self, tenant: &TenantId, report: &FitReport) -> Result<Vec<Option<Subject>>, StoreError> {
        let names: Vec<&str> = report.summaries.iter().map(|(name, _)| &**name).collect();
        self.0.subjects.resolve_many(tenant, &names, Mint::Yes).await
    }

    /// The model that predictions are made with.
    ///
    /// # Errors
    /// [`ValueError::NoModel`], [`ValueError::Store`].
    pub async fn current(&self, tenant: &TenantId) -> Result<SavedModel, ValueError> {
        repo::current(&self.0.store, tenant).await?.ok_or(ValueError::NoModel)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.0.store.ping().await
    }

    /// What somebody is worth.
    pub(super) async fn predict(
        &self,
        tenant: &TenantId,
        question: &Question,
    ) -> Result<(SavedModel, Prediction), ValueError> {
        let model = self.current(tenant).await?;
        let known = self.known(tenant, model.id, std::slice::from_ref(question)).await?;
        let prediction = answer(&model, &known, question)?;
        Ok((model, prediction))
    }

    /// What each of them is worth, in the order of the questions.
    pub(super) async fn predict_batch(
        &self,
        tenant: &TenantId,
        questions: &[Question],
    ) -> Result<(SavedModel, Vec<Prediction>), ValueError> {
        if questions.len() > BATCH_MAX {
            return Err(ValueError::invalid("requests", "must be at most 10000"));
        }
        let model = self.current(tenant).await?;
        let known = self.known(tenant, model.id, questions).await?;
        let mut predictions = Vec::with_capacity(questions.len());
        for (index, question) in questions.iter().enumerate() {
            predictions.push(answer(&model, &known, question).map_err(|error| error.within_batch(index))?);
            if index % PREDICTIONS_PER_TURN == PREDICTIONS_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok((model, predictions))
    }

    /// The customers of a model who are wanted, in the order of their ids' bytes, at most `size` of them.
    pub(super) async fn select(
        &self,
        tenant: &TenantId,
        wanted: &Selection,
        size: usize,
        from: Option<PageToken>,
    ) -> Result<Page, ValueError> {
        let size = size.clamp(1, PAGE_MAX);
        let store = &self.0.store;
        let (model, mut after) = match from {
            None => (self.current(tenant).await?, -1),
            Some(token) => {
                let gone = || ValueError::invalid("page_token", "is of a model that is not kept any more; begin anew");
                (repo::model(store, tenant, token.model).await?.ok_or_else(gone)?, token.after)
            }
        };
        let mut customers = Vec::new();
        for _ in 0..LOOKED_AT_MAX / CHUNK {
            let chunk = repo::customers_after(store, &self.0.subjects, tenant, model.id, after, CHUNK).await?;
            let is_last = chunk.len() < CHUNK;
            for (index, customer) in chunk.iter().enumerate() {
                if customers.len() == size {
                    let next = Some(PageToken { model: model.id, after });
                    return Ok(Page { model, customers, next });
                }
                customers.extend(model.parameters.select(customer, wanted)?);
                after = customer.position;
                if index % PREDICTIONS_PER_TURN == PREDICTIONS_PER_TURN - 1 {
                    tokio::task::yield_now().await;
                }
            }
            if is_last {
                return Ok(Page { model, customers, next: None });
            }
        }
        let next = Some(PageToken { model: model.id, after });
        Ok(Page { model, customers, next })
    }

    /// The customers that `questions` name and the model knows, and whose data may be worked with.
    async fn known(
        &self,
        tenant: &TenantId,
        model: ModelId,
        questions: &[Question],
    ) -> Result<HashMap<Arc<str>, Known>, ValueError> {
        let named = questions.iter().filter_map(|question| match &question.who {
            Who::Customer(id) => Some(id.as_str()),
            Who::History(..) => None,
        });
        let mut ids: Vec<&str> = named.collect();
        ids.sort_unstable();
        ids.dedup();
        let subjects = self.0.subjects.resolve_many(tenant, &ids, Mint::No).await?;
        let subjects: Vec<_> =
            subjects.into_iter().flatten().filter(|subject| !subject.restricted && !subject.objected).collect();
        let customers = repo::customers(&self.0.store, tenant, model, &subjects).await?;
        Ok(customers.into_iter().map(|customer| (Arc::clone(&customer.id), customer)).collect())
    }
}

fn answer(model: &SavedModel, known: &HashMap<Arc<str>, Known>, question: &Question) -> Result<Prediction, ValueError> {
    let (id, history, monetary) = match &question.who {
        Who::History(history, monetary) => ("", *history, *monetary),
        Who::Customer(id) => {
            let unknown = || ValueError::UnknownCustomer { customer: id.clone(), field: "customer_id".to_owned() };
            let summary = known.get(id.as_str()).ok_or_else(unknown)?.summary;
            (id.as_str(), summary.history()?, summary.monetary())
        }
    };
    Ok(model.parameters.predict(id, &history, monetary, &question.terms))
}

fn saved_model(id: ModelId, created_at: UnixMillis, report: &FitReport) -> Result<SavedModel, ValueError> {
    let mut summaries = report.summaries.iter();
    if let Some((customer, _)) = summaries.find(|(_, summary)| i64::try_from(summary.repeat_micros).is_err()) {
        return Err(ValueError::invalid(
            "amount",
            format_args!("customer {customer} bought for more than can be kept"),
        ));
    }
    Ok(SavedModel {
        id,
        created_at,
        currency: report.currency,
        parameters: report.parameters(),
        purchases_log_likelihood: report.purchases.log_likelihood(),
        gamma_gamma_log_likelihood: report.gamma_gamma.log_likelihood,
        data_sha256: report.data_sha256.clone(),
        orders: count(report.orders),
        customers: count(report.summaries.len() as u64),
        calibrate_until: report.calibrate_until.to_string(),
    })
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Value").field("store", &self.0.store).finish_non_exhaustive()
    }
}
