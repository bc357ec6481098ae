//! The record of processing activities (Art. 30(1) GDPR).

use kiki_store::StoreError;
use kiki_store::personal::{Class, Declared, Form, Table as Held};
use kiki_types::{TenantId, UnixMillis};
use serde_json::{Value, json};

use super::document::{Document, Table, texts};
use super::facts::Facts;
use super::recipients::{Configured, Recipient};
use super::repo::{self, Group};
use crate::service::Shield;

const NOT_STATED: &str = "not stated";

/// What only this report asks for.
pub(super) struct Found {
    /// By purpose, basis and text.
    purposes: Vec<Group<3>>,
    recipients: Vec<Recipient>,
}

impl Found {
    pub(super) async fn read(
        shield: &Shield,
        configured: &Configured,
        tenant: &TenantId,
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let ever = (UnixMillis(0), now.plus(1));
        Ok(Self {
            purposes: repo::purposes(&shield.0.store, tenant, ever).await?,
            recipients: shield.recipients(tenant, configured).await?,
        })
    }
}

pub(super) fn document(facts: &Facts<'_>, found: &Found, tenant: &TenantId) -> Document {
    Document {
        name: "processing",
        title: "Record of processing activities",
        basis: "GDPR Art. 30(1)",
        tenant: tenant.clone(),
        made_at: facts.now,
        period: None,
        log: facts.log.clone(),
        settings: facts.stated.days.settings(),
        tables: vec![
            controller(facts),
            purposes(found),
            categories(facts),
            recipients(found),
            transfers(),
            limits(facts),
            safeguards(facts),
            super::summary::keys(facts),
        ],
    }
}

/// (a) Who decides.
fn controller(facts: &Facts<'_>) -> Table {
    let stated = facts.stated;
    let row = |role: &str, who: &Option<String>| texts([role, who.as_deref().unwrap_or(NOT_STATED)]);
    Table {
        name: "controller",
        title: "(a) Controller",
        columns: &["role", "who"],
        rows: vec![
            row("controller", &stated.controller),
            row("contact", &stated.controller_contact),
            row("data protection officer", &stated.data_protection_officer),
        ],
    }
}

/// (b) What for.
fn purposes(found: &Found) -> Table {
    let row = |([purpose, basis, text], count): &Group<3>| {
        let purpose = if purpose.is_empty() { "all" } else { purpose };
        vec![json!(purpose), json!(basis), json!(text), json!(count)]
    };
    Table {
        name: "purposes",
        title: "(b) Purposes, as people were asked for them",
        columns: &["purpose", "legal_basis", "text_version", "records"],
        rows: found.purposes.iter().map(row).collect(),
    }
}

const fn form(form: Form) -> &'static str {
    match form {
        Form::Sealed => "sealed",
        Form::Handle => "handle",
        Form::Pseudonym => "pseudonym",
        Form::Business => "business",
    }
}

/// (c) Whose data and which, as each store declares them.
fn categories(facts: &Facts<'_>) -> Table {
    let row = |declared: &Declared, held: &Held| {
        let holds: Vec<_> = held.holds.iter().map(|(column, of)| format!("{column}: {}", form(*of))).collect();
        let days = facts.stated.days.of(held.class);
        vec![
            json!(declared.name),
            json!(declared.service),
            json!(held.name),
            json!(if held.owner.is_some() { "customers" } else { "" }),
            json!(held.categories),
            json!(holds),
            json!(held.class.as_str()),
            json!(days),
        ]
    };
    let files = |declared: &Declared| {
        let files = declared.files.iter().map(|file| {
            let place = format!("files {file}");
            let none = json!("");
            vec![
                json!(declared.name),
                json!(declared.service),
                json!(place),
                none.clone(),
                none.clone(),
                none.clone(),
                none,
                json!(null),
            ]
        });
        files.collect::<Vec<_>>()
    };
    let tables = |declared: &'static Declared| declared.tables.iter().map(move |held| row(declared, held));
    let declared = facts.stores.iter().map(|store| store.declared());
    Table {
        name: "categories",
        title: "(c) Categories of persons and of personal data",
        columns: &["store", "service", "table", "persons", "categories", "form", "class", "kept_days"],
        rows: declared.flat_map(|declared| tables(declared).chain(files(declared)).collect::<Vec<_>>()).collect(),
    }
}

/// (d) Who is told what.
fn recipients(found: &Found) -> Table {
    let row = |one: &Recipient| texts([one.who.as_str(), one.role, one.receives]);
    let rows = found.recipients.iter().map(row).collect();
    Table { name: "recipients", title: "(d) Recipients", columns: &["recipient", "as", "receives"], rows }
}

/// (e) Where to.
fn transfers() -> Table {
    Table {
        name: "transfers",
        title: "(e) Transfers to third countries",
        columns: &["what", "answer"],
        rows: vec![texts(["where the recipients above are", "not known to KIKI"])],
    }
}

/// (f) How long.
fn limits(facts: &Facts<'_>) -> Table {
    let row = |class: Class| vec![json!(class.as_str()), json!(facts.stated.days.of(class)), json!("/v1/retention")];
    let classes = [Class::Audit, Class::Customers, Class::Marketing, Class::Sessions];
    Table {
        name: "limits",
        title: "(f) Time limits for erasure",
        columns: &["class", "days", "evidence"],
        rows: classes.into_iter().map(row).collect(),
    }
}

/// (g) How it is kept safe.
fn safeguards(facts: &Facts<'_>) -> Table {
    let stated = facts.stated;
    let days = stated.epoch_days;
    let log = match &facts.log {
        Some(log) => format!("{} entries under a signed root", log.size),
        None => "no checkpoint yet".to_owned(),
    };
    let rows = [
        ("encryption at rest", "AES-256-GCM under a key for each person".to_owned()),
        ("master key", facts.keys.master.clone()),
        ("end of keys", format!("secrets of epochs are renewed after {days} days and destroyed after {}", 2 * days)),
        ("pseudonyms", "HMAC-SHA-256 with a salt for each person that dies with the key".to_owned()),
        ("tamper evidence", log),
        ("witnesses", if stated.has_witnesses { "asked to cosign" } else { "none" }.to_owned()),
        ("identity check of subject requests", stated.identity.to_owned()),
        ("database", stated.database.to_owned()),
    ];
    let row = |(measure, fact): (&str, String)| -> Vec<Value> { texts([measure, &fact]) };
    Table {
        name: "safeguards",
        title: "(g) Technical and organisational measures",
        columns: &["measure", "fact"],
        rows: rows.into_iter().map(row).collect(),
    }
}
