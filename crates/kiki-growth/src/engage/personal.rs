//! What engage holds about people, for whoever answers their requests: messages, and nothing in campaigns.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use kiki_store::personal::{
    Class, Cutoffs, Declared, Document, Expired, Form, PersonalStore, Rectified, Subject, SubjectId, Table,
};
use kiki_store::{Store, StoreError};
use kiki_types::TenantId;
use kiki_types::id::CampaignId;
use serde_json::{Map, Value, json};

use super::message::Message;
use super::repo::personal;

const MESSAGES: Declared = Declared {
    name: "messages",
    service: "engage",
    tables: &[Table {
        name: "engage_message",
        owner: Some("subject"),
        holds: &[("subject", Form::Handle), ("sealed", Form::Sealed)],
        categories: &["messages sent or refused", "predicted value"],
        class: Class::Marketing,
    }],
    files: &[],
};

/// Campaigns: texts of the business, about no customer.
pub const CAMPAIGNS: Declared = Declared {
    name: "campaigns",
    service: "engage",
    tables: &[Table {
        name: "engage_campaign",
        owner: None,
        holds: &[
            ("name", Form::Business),
            ("audience", Form::Business),
            ("subject", Form::Business),
            ("body", Form::Business),
        ],
        categories: &[],
        class: Class::Never,
    }],
    files: &[],
};

/// The messages of campaigns and triggers. One that is forgotten stays, as nobody's, for its campaign's sums. Runs pass over
/// who restricted or objected, and shield refuses messages to them: there is nothing to mark here.
#[derive(Clone, Debug)]
pub struct Messages(pub Store);

impl PersonalStore for Messages {
    fn declared(&self) -> &'static Declared {
        &MESSAGES
    }

    fn export<'a>(&'a self, who: &'a Subject) -> BoxFuture<'a, Result<Vec<Document>, StoreError>> {
        async move {
            let rows: Vec<_> = personal::of(&self.0, who).await?.into_iter().map(row).collect();
            let document = Document { name: "messages".to_owned(), provided: false, rows };
            Ok(if document.rows.is_empty() { Vec::new() } else { vec![document] })
        }
        .boxed()
    }

    fn erase<'a>(&'a self, tenant: &'a TenantId, who: &'a [SubjectId]) -> BoxFuture<'a, Result<u64, StoreError>> {
        personal::make_nobodys(&self.0, tenant, who).boxed()
    }

    /// What is kept of a prediction changes with the order log that it was made from.
    fn rectify<'a>(
        &'a self,
        who: &'a Subject,
        _: &'a Map<String, Value>,
    ) -> BoxFuture<'a, Result<Rectified, StoreError>> {
        async move {
            Ok(if personal::count(&self.0, who).await? > 0 { Rectified::Derived } else { Rectified::NotHeld })
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
        personal::expire(&self.0, tenant, cutoffs.marketing, limit, dry).boxed()
    }
}

fn row((campaign, message): (CampaignId, Message)) -> Map<String, Value> {
    let row = json!({
        "message_id": message.id,
        "campaign_id": campaign,
        "state": message.state.as_str(),
        "reasons": message.reasons,
        "attempt": message.attempt,
        "at": message.updated_at.rfc3339(),
        "value": message.value,
        "probability_alive": message.probability_alive,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}
