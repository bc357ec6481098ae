//! What shield itself keeps of people: their requests, what the log tells of decisions about them, and webhooks, which are
//! about no customer.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_store::StoreError;
use kiki_store::personal::{
    Class, Cutoffs, Declared, Document, Expired, Form, PersonalStore, Subject, SubjectId, Table,
};
use kiki_types::TenantId;
use serde_json::{Map, Value, json};

use super::repo::{Request, held};
use super::service::{Requests, pseudonym};
use super::{decisions, service};
use crate::error::ShieldError;
use crate::service::Shield;

/// The name of the store of requests.
pub(super) const REQUESTS: &str = "requests";

/// Stores that hold something of everybody who ever asked: who they are, the request, its mail, its entries in the log.
const OF_ASKING: [&str; 4] = ["subjects", REQUESTS, "mailbox", "decisions"];

/// Whether what `store` holds tells more of somebody, who was known before they asked or not, than that they asked.
pub(super) fn tells_more(is_known: bool, store: &str) -> bool {
    is_known || !OF_ASKING.contains(&store)
}

/// How long a checkpoint may take to cover what was decided last.
const COVERED_WITHIN: Duration = Duration::from_secs(10);

/// Subject requests, as a store of what people wrote in them.
pub struct RequestStore(pub Requests);

/// The log, as a store of decisions: it is read, and never changed. What it tells of a person names nobody once their key
/// is gone; it ends by segments, as its own rule says.
pub struct DecisionStore(pub Shield);

/// Webhooks: business data.
pub struct WebhookStore(pub Shield);

static REQUEST_STORE: Declared = Declared {
    name: REQUESTS,
    service: "shield",
    tables: &[
        Table {
            name: "subject_request",
            owner: Some("subject"),
            holds: &[
                ("subject", Form::Handle),
                ("details", Form::Sealed),
                ("code", Form::Sealed),
                ("verified_by", Form::Pseudonym),
            ],
            categories: &["subject requests"],
            class: Class::Audit,
        },
        Table { name: "subject_task", owner: None, holds: &[], categories: &[], class: Class::Audit },
        Table {
            name: "subject_export",
            owner: None,
            holds: &[("body", Form::Sealed)],
            categories: &["exports"],
            class: Class::Sessions,
        },
    ],
    files: &[],
};

static DECISIONS: Declared = Declared {
    name: "decisions",
    service: "shield",
    tables: &[Table {
        name: "audit log",
        owner: None,
        holds: &[("customer", Form::Pseudonym), ("actor", Form::Pseudonym)],
        categories: &["decisions"],
        class: Class::Audit,
    }],
    files: &["audit", "spend"],
};

static WEBHOOKS: Declared = Declared {
    name: "webhooks",
    service: "shield",
    tables: &[
        Table {
            name: "webhook_endpoint",
            owner: None,
            holds: &[("url", Form::Business), ("description", Form::Business)],
            categories: &[],
            class: Class::Never,
        },
        Table {
            name: "webhook_delivery",
            owner: None,
            holds: &[("body", Form::Business)],
            categories: &[],
            class: Class::Sessions,
        },
        Table { name: "webhook_follower", owner: None, holds: &[], categories: &[], class: Class::Never },
    ],
    files: &[],
};

impl PersonalStore for RequestStore {
    fn declared(&self) -> &'static Declared {
        &REQUEST_STORE
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let requests = held::of(self.0.store(), &who.tenant, who.id).await?;
            let (mut rows, mut corrections) = (Vec::new(), Vec::new());
            for request in &requests {
                let details = Requests::details(request, Some(who)).unwrap_or_default();
                let mut row = row(request);
                row.extend(details.corrected.map(|note| ("corrected".to_owned(), json!(note))));
                rows.push(row);
                corrections.extend(details.correction);
            }
            let document = |name: &str, provided, rows| Document { name: name.to_owned(), provided, rows };
            let mut documents = vec![document("requests", false, rows)];
            if !corrections.is_empty() {
                documents.push(document("corrections", true, corrections));
            }
            Ok(documents)
        }
        .boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        async move {
            let mut tx = self.0.store().begin().await?;
            let emptied = held::empty(&mut tx, tenant, who).await?;
            tx.commit().await?;
            Ok(emptied)
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
            let store = self.0.store();
            let exports = held::expire_exports(store, tenant, cutoffs.now, limit, dry).await?;
            let requests = held::expire_requests(store, tenant, cutoffs.audit, limit, dry).await?;
            let oldest = [exports.oldest, requests.oldest].into_iter().flatten().min();
            Ok(Expired { rows: exports.rows + requests.rows, oldest })
        }
        .boxed()
    }
}

fn row(request: &Request) -> Map<String, Value> {
    let time = |at: kiki_types::UnixMillis| (at.0 > 0).then(|| at.rfc3339());
    let row = json!({
        "request": request.id, "request_type": request.kind, "regime": request.regime, "status": request.state,
        "outcome": request.outcome, "ground": request.ground, "received_at": request.received_at.rfc3339(),
        "due_at": request.due().rfc3339(), "verified_at": time(request.verified_at), "ended_at": time(request.ended_at),
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

impl PersonalStore for DecisionStore {
    fn declared(&self) -> &'static Declared {
        &DECISIONS
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let told = self.told(&[who]).await.map_err(|why| service::unreadable("log", &why))?;
            Ok(told.into_iter().flatten().collect())
        }
        .boxed()
    }

    fn export_all<'a>(&'a self, who: &'a [&'a Subject]) -> BoxFuture<'a, Vec<Result<Vec<Document>, StoreError>>> {
        async move {
            match self.told(who).await {
                Ok(told) => told.into_iter().map(Ok).collect(),
                Err(why) => who.iter().map(|_| Err(service::unreadable("log", &why))).collect(),
            }
        }
        .boxed()
    }
}

impl DecisionStore {
    /// What the log tells of each of `who`, or why it cannot be read: one pass over it.
    async fn told(&self, who: &[&Subject]) -> Result<Vec<Vec<Document>>, String> {
        let unreadable = |error: ShieldError| error.to_string();
        // What was decided a moment ago is told as well: a checkpoint follows within a second.
        let written = self.0.read_log(kiki_audit::reader::entries).await.map_err(unreadable)?;
        if written > 0 && !self.0.0.governor.covered(written - 1, COVERED_WITHIN).await {
            return Err("no checkpoint covers its end".to_owned());
        }
        let names: Vec<_> = who.iter().map(|who| pseudonym(who)).collect();
        let people = names.clone();
        let found = self.0.read_log(move |audit| decisions::about(audit, &people)).await.map_err(unreadable)?;
        let document = |name: &String| {
            let rows = found.get(name).map(decisions::rows).unwrap_or_default();
            vec![Document { name: "decisions".to_owned(), provided: false, rows }]
        };
        Ok(names.iter().map(document).collect())
    }
}

impl PersonalStore for WebhookStore {
    fn declared(&self) -> &'static Declared {
        &WEBHOOKS
    }

    fn expire<'a>(
        &'a self,
        tenant: &'a TenantId,
        cutoffs: &'a Cutoffs,
        limit: u32,
        dry: bool,
    ) -> BoxFuture<'a, Result<Expired, StoreError>> {
        held::expire_deliveries(&self.0.0.store, tenant, cutoffs.sessions, limit, dry).boxed()
    }
}
