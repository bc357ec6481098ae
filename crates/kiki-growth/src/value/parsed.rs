//! Models that were read already: a model never changes, but for when it was put in force.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kiki_types::TenantId;
use kiki_types::id::ModelId;

use super::error::ValueError;
use super::model::SavedModel;
use super::repo;
use super::service::Value;

/// Models that are kept at the most.
const MODELS_MAX: usize = 256;

/// The models that were read last.
#[derive(Default)]
pub(super) struct Parsed(Mutex<HashMap<(TenantId, ModelId), Arc<SavedModel>>>);

impl Value {
    /// The model `id`, which a reading of the database named, with the `promoted_at` of when it was read first: no proof that
    /// it is in force, or there at all.
    pub(super) async fn parsed(&self, tenant: &TenantId, id: ModelId) -> Result<Arc<SavedModel>, ValueError> {
        let models = &self.parsed.0;
        let key = (tenant.clone(), id);
        if let Some(model) = models.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(model));
        }
        let model = repo::model(&self.needs.store, tenant, id).await?;
        let model = Arc::new(model.ok_or(ValueError::NoModel)?);
        let mut models = models.lock().unwrap_or_else(PoisonError::into_inner);
        if models.len() >= MODELS_MAX {
            models.clear();
        }
        models.insert(key, Arc::clone(&model));
        Ok(model)
    }
}
