//! Whom a question is about, and what is known of them: what the model in force knew, and their own orders since.

use std::collections::HashMap;
use std::sync::Arc;

use kiki_models::ltv::{History, Summary};
use kiki_store::personal::{Mint, Subject};
use kiki_types::TenantId;

use super::error::ValueError;
use super::live::caught_up;
use super::model::{About, Question, SavedModel, Scope, Who};
use super::service::{Asked, Value};

impl Value {
    /// What `questions` are about, in their order: what the model in force knows of whom they name and whose data may be
    /// worked with, and what was ordered since.
    pub(super) async fn about(
        &self,
        tenant: &TenantId,
        questions: Vec<Question>,
        asked: Asked,
    ) -> Result<(Arc<SavedModel>, Vec<(About, Scope)>), ValueError> {
        let named = questions.iter().filter_map(|question| match &question.who {
            Who::Customer(id) => Some(id.as_str()),
            Who::History(..) => None,
        });
        let mut ids: Vec<&str> = named.collect();
        ids.sort_unstable();
        ids.dedup();
        let (model, known) = self.known(tenant, &ids).await?;
        let about = questions.into_iter().enumerate().map(|(index, question)| {
            let scope = question.scope;
            let about = about(&known, question);
            let about = about.map_err(|error| match asked {
                Asked::Alone => error,
                Asked::InBatch => error.within_batch(index),
            })?;
            Ok((about, scope))
        });
        let about = about.collect::<Result<_, ValueError>>()?;
        Ok((model, about))
    }

    /// The model in force, and the summaries of those of `ids` who are known, by it or by their orders, and whose data may be
    /// worked with.
    pub(super) async fn known(
        &self,
        tenant: &TenantId,
        ids: &[&str],
    ) -> Result<(Arc<SavedModel>, HashMap<Arc<str>, Summary>), ValueError> {
        // Whether they restricted something or objected is asked of the database: here it may be known from a while ago.
        let subjects = self.needs.subjects.resolve_many(tenant, ids, Mint::No).await?;
        let subjects: Vec<Subject> = subjects.into_iter().flatten().collect();
        let people = subjects.iter().map(|subject| subject.id).collect();
        let reading = self.read(tenant, people).await?.ok_or(ValueError::NoModel)?;
        let model = self.parsed(tenant, reading.model).await?;
        let until = model.until_day()?;
        let mut known = HashMap::with_capacity(subjects.len());
        for subject in &subjects {
            let (summary, since) = reading.of(subject)?;
            let summary = match reading.observed_until {
                Some(observed) => caught_up(summary, until, &since, observed),
                None => summary,
            };
            known.extend(summary.map(|summary| (Arc::from(subject.name()), summary)));
        }
        Ok((model, known))
    }
}

fn about(known: &HashMap<Arc<str>, Summary>, question: Question) -> Result<About, ValueError> {
    let id = match question.who {
        Who::History(history, monetary) => {
            return Ok(About { customer_id: String::new(), history, monetary, population: false });
        }
        Who::Customer(id) => id,
    };
    match known.get(id.as_str()) {
        Some(summary) => {
            let (history, monetary) = (summary.history()?, summary.monetary());
            Ok(About { customer_id: id, history, monetary, population: false })
        }
        None if question.or_population => {
            Ok(About { customer_id: id, history: History::new(0.0, 0.0, 0.0)?, monetary: 0.0, population: true })
        }
        None => Err(ValueError::UnknownCustomer { customer: id, field: "customer_id".to_owned() }),
    }
}
