//! The register of breaches (Art. 33(5) GDPR).

use kiki_types::{TenantId, UnixMillis};
use serde_json::{Value, json};

use super::document::{Document, Table};
use crate::breach::model::Breach;

/// What is the same for every tenant and period is filled in by the caller.
pub(super) fn document(breaches: &[Breach<String>], now: UnixMillis) -> Document {
    Document {
        name: "breaches",
        title: "Register of breaches of personal data",
        basis: "GDPR Art. 33(5): facts, effects and remedial action of every breach",
        tenant: TenantId::default_tenant(),
        made_at: now,
        period: None,
        log: None,
        settings: vec![("notify_within_hours", json!(72))],
        tables: vec![Table {
            name: "breaches",
            title: "Breaches that somebody became aware of in the period, and all that are open",
            columns: &[
                "id",
                "aware_at",
                "notify_by",
                "notification",
                "nature",
                "categories",
                "persons_about",
                "records_about",
                "risk",
                "unlikely_because",
                "facts",
                "effects",
                "measures",
                "authority_notified_at",
                "delay_reason",
                "persons_notified_at",
                "persons_not_told_because",
                "closed_at",
                "evidence",
            ],
            rows: breaches.iter().map(|breach| row(breach, now)).collect(),
        }],
    }
}

fn row(breach: &Breach<String>, now: UnixMillis) -> Vec<Value> {
    let time = |at: Option<UnixMillis>| json!(at.map(UnixMillis::rfc3339));
    let natures: Vec<_> = breach.natures.iter().map(|nature| nature.as_str()).collect();
    vec![
        json!(breach.id),
        json!(breach.aware_at.rfc3339()),
        json!(breach.notify_by().rfc3339()),
        json!(breach.notification(now).as_str()),
        json!(natures),
        json!(breach.categories),
        json!(breach.persons_about),
        json!(breach.records_about),
        json!(breach.risk.as_str()),
        json!(breach.texts.risk_reason),
        json!(breach.texts.facts),
        json!(breach.texts.effects),
        json!(breach.texts.measures),
        time(breach.authority_at),
        json!(breach.texts.delay_reason),
        time(breach.persons_at),
        json!(breach.texts.persons_reason),
        time(breach.closed_at),
        json!(format!("/v1/breaches/{}", breach.id)),
    ]
}
