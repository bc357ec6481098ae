//! The register among the stores of personal data: about no customer by design, since what is written is a report.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use kiki_store::personal::{Class, Cutoffs, Declared, Expired, Form, PersonalStore, Table};
use kiki_store::{Store, StoreError};
use kiki_types::TenantId;

use super::repo;

const DECLARED: Declared = Declared {
    name: "breaches",
    service: "shield",
    tables: &[Table {
        name: "breach",
        owner: None,
        holds: &[
            ("facts", Form::Sealed),
            ("effects", Form::Sealed),
            ("measures", Form::Sealed),
            ("risk_reason", Form::Sealed),
            ("delay_reason", Form::Sealed),
            ("persons_reason", Form::Sealed),
            ("categories", Form::Business),
            ("reported_by", Form::Pseudonym),
        ],
        categories: &["breach reports"],
        class: Class::Audit,
    }],
    files: &[],
};

/// The register of breaches.
pub struct BreachStore(Store);

impl BreachStore {
    /// Of this database.
    #[must_use]
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self(store))
    }
}

impl PersonalStore for BreachStore {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        async move {
            let (rows, oldest) = repo::ended(&self.0, tenant, cutoffs.audit).await?;
            if dry || rows == 0 {
                return Ok(Expired { rows, oldest });
            }
            let mut tx = self.0.begin().await?;
            let rows = repo::remove_ended(&mut tx, tenant, cutoffs.audit, limit).await?;
            tx.commit().await?;
            Ok(Expired { rows, oldest })
        }
        .boxed()
    }
}
