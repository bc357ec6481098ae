//! The register as a store of personal data: what it holds, and how it goes.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_store::personal::{
    Class, Cutoffs, Declared, Document, Expired, Form, PersonalStore, Subject, SubjectId, Table,
};
use kiki_store::{Store, StoreError};
use kiki_types::TenantId;
use serde_json::{Map, Value, json};

use super::repo;
use super::service::Evidence;

/// Records of one person that are exported at the most; further ones are the oldest and are left out.
const EXPORTED_MAX: usize = 10_000;
/// Handles that one statement names at the most.
const HANDLES_MAX: usize = 500;

const DECLARED: Declared = Declared {
    name: "consents",
    service: "shield",
    tables: &[
        Table {
            name: "consent_record",
            owner: Some("subject"),
            holds: &[("subject", Form::Handle), ("evidence", Form::Sealed), ("token", Form::Sealed)],
            categories: &["consent"],
            class: Class::Customers,
        },
        Table {
            name: "consent_text",
            owner: None,
            holds: &[("text", Form::Business)],
            categories: &[],
            class: Class::Never,
        },
    ],
    files: &[],
};

/// The register of consent. What somebody agreed to is what it was, and another word is given by another act; the bar in
/// the governor restricts.
#[derive(Clone, Debug)]
pub struct ConsentStore(Store);

impl ConsentStore {
    /// The register in `store`.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self(store)
    }

    async fn exported(&self, who: &Subject) -> Result<Vec<Document>, StoreError> {
        let records = repo::history(&self.0, (&who.tenant, who.id), None, EXPORTED_MAX).await?;
        let rows = records.into_iter().map(|(record, sealed)| {
            let (about, channel) = record.about.columns();
            let evidence = Evidence::open(who, record.id, &sealed);
            let row = json!({
                "id": record.id, "act": record.act.as_str(), "about": about, "channel": channel,
                "state": record.state.as_str(), "basis": record.basis.as_str(), "text_version": record.text_version,
                "source": record.source, "evidence": evidence.given, "confirmed_at": evidence.confirmed_at,
                "at": record.at.rfc3339(), "until": (record.until.0 > 0).then(|| record.until.rfc3339()),
                "entry": record.entry,
            });
            if let Value::Object(row) = row { row } else { Map::new() }
        });
        Ok(vec![Document { name: "consents".to_owned(), provided: true, rows: rows.collect() }])
    }
}

impl PersonalStore for ConsentStore {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        self.exported(who).boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let mut erased = 0;
            for who in who.chunks(HANDLES_MAX) {
                let mut tx = self.0.begin().await?;
                erased += repo::erase(&mut tx, tenant, who).await?;
                tx.commit().await?;
            }
            Ok(erased)
        }
        .boxed()
    }

    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        async move {
            let ends = (cutoffs.sessions, cutoffs.customers);
            let (rows, oldest) = if dry {
                repo::ended(&self.0, tenant, ends).await?
            } else {
                repo::remove_ended(&self.0, tenant, ends, limit).await?
            };
            Ok(Expired { rows, oldest })
        }
        .boxed()
    }
}
