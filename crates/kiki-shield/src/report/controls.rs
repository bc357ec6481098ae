//! Maps of controls to what proves them here.
//!
//! A row has evidence of two kinds: something that was done for this tenant in the period, or a setting as it is now, whatever
//! the period. A link shows either; every other row says that it is not covered. What people must do outside KIKI is never
//! claimed.

use kiki_store::personal::ERASED;
use kiki_types::TenantId;
use serde_json::json;

use super::count::CHANGES;
use super::document::{Document, Table};
use super::facts::Facts;
use crate::error::ShieldError;
use crate::retention::RUN as RETENTION_RUN;

/// What proves a control.
struct Evidence {
    /// [`DONE`] or [`SETTING`].
    kind: &'static str,
    fact: String,
    link: String,
}

/// It was done in the period.
const DONE: &str = "done";
/// It is so now.
const SETTING: &str = "setting";

/// What was done in the period, where `link` shows it.
fn done(fact: String, link: String) -> Evidence {
    Evidence { kind: DONE, fact, link }
}

/// What is so now, where `link` shows it.
fn setting(fact: String, link: &str) -> Evidence {
    Evidence { kind: SETTING, fact, link: link.to_owned() }
}

/// A control of a framework.
struct Control {
    framework: &'static str,
    id: &'static str,
    title: &'static str,
    evidence: fn(&Facts<'_>) -> Option<Evidence>,
}

const SOC2: &str = "SOC 2";
const ISO: &str = "ISO/IEC 27001:2022 Annex A";
const PCI: &str = "PCI DSS 4.0.1";

/// The names of frameworks in requests.
const FRAMEWORKS: [(&str, &str); 3] = [("soc2", SOC2), ("iso27001", ISO), ("pci-dss", PCI)];

const fn control(
    framework: &'static str,
    id: &'static str,
    title: &'static str,
    evidence: fn(&Facts<'_>) -> Option<Evidence>,
) -> Control {
    Control { framework, id, title, evidence }
}

const CONTROLS: &[Control] = &[
    control(SOC2, "CC6.1", "Logical access to information is restricted", policy),
    control(SOC2, "CC6.5", "Data is made unreadable before protections over it end", disposal),
    control(SOC2, "CC6.7", "Information is protected while it is transmitted", not_covered),
    control(SOC2, "CC7.2", "The system is monitored for anomalies", not_covered),
    control(SOC2, "CC7.3", "Security events are evaluated", handled_breaches),
    control(SOC2, "CC8.1", "Changes are authorised and documented", changes),
    control(SOC2, "P2.1", "Choices about personal information are offered and recorded", consents),
    control(SOC2, "P3.2", "Explicit consent is obtained where it is needed", grants),
    control(SOC2, "P4.2", "Personal information is kept no longer than needed", retention),
    control(SOC2, "P4.3", "Personal information is disposed of securely", disposal),
    control(SOC2, "P5.1", "Persons can see their personal information", access_requests),
    control(SOC2, "P5.2", "Persons can have it corrected", correction_requests),
    control(SOC2, "P6.3", "Unauthorised disclosures are recorded", recorded_breaches),
    control(SOC2, "P8.1", "Inquiries and complaints are dealt with", requests),
    control(ISO, "A.5.24", "Information security incident management is prepared", handled_breaches),
    control(ISO, "A.5.28", "Evidence is collected and preserved", log),
    control(ISO, "A.5.33", "Records are protected from loss and falsification", log),
    control(ISO, "A.5.34", "Privacy and personal data are protected", processing),
    control(ISO, "A.8.3", "Access to information is restricted", policy),
    control(ISO, "A.8.10", "Information is deleted when no longer required", disposal),
    control(ISO, "A.8.13", "Backups are kept and tested", not_covered),
    control(ISO, "A.8.15", "Logs are produced, kept and protected", log),
    control(ISO, "A.8.17", "Clocks are synchronised", not_covered),
    control(ISO, "A.8.24", "Cryptography is used by rules, keys included", keys),
    control(PCI, "3.2", "Storage of account data is kept to a minimum", no_account_data),
    control(PCI, "3.6", "Keys that protect stored data are secured", secured_keys),
    control(PCI, "3.7", "Key management covers the whole life of keys", rotated_keys),
    control(PCI, "7.2", "Access is defined and assigned", policy),
    control(PCI, "8.3", "Strong authentication is established", not_covered),
    control(PCI, "10.2", "Audit logs record what matters", log),
    control(PCI, "10.3", "Audit logs are protected from change", log),
    control(PCI, "10.5", "Audit log history is retained for twelve months", log_history),
    control(PCI, "12.10", "Suspected incidents are responded to", handled_breaches),
];

/// The framework that is asked for; `None` for all.
pub(super) fn framework(name: Option<&str>) -> Result<Option<&'static str>, ShieldError> {
    let Some(name) = name else { return Ok(None) };
    let found = FRAMEWORKS.iter().find(|(known, _)| *known == name).map(|(_, title)| *title);
    found.map(Some).ok_or_else(|| ShieldError::invalid("framework", "must be soc2, iso27001 or pci-dss"))
}

pub(super) fn document(facts: &Facts<'_>, framework: Option<&str>, tenant: &TenantId) -> Document {
    let row = |control: &Control| {
        let evidence = (control.evidence)(facts);
        let (kind, fact, link) = match evidence {
            Some(Evidence { kind, fact, link }) => (json!(kind), json!(fact), json!(link)),
            None => (json!(null), json!("not covered"), json!(null)),
        };
        vec![json!(control.framework), json!(control.id), json!(control.title), kind, fact, link]
    };
    let wanted = CONTROLS.iter().filter(|control| framework.is_none_or(|framework| control.framework == framework));
    Document {
        name: "controls",
        title: "Controls and what proves them",
        basis: "SOC 2 (Trust Services Criteria), ISO/IEC 27001:2022 Annex A, PCI DSS 4.0.1, as far as KIKI has evidence",
        tenant: tenant.clone(),
        made_at: facts.now,
        period: Some(facts.period),
        log: facts.log.clone(),
        settings: facts.stated.days.settings(),
        tables: vec![Table {
            name: "controls",
            title: "Controls",
            columns: &["framework", "control", "title", "kind", "fact", "evidence"],
            rows: wanted.map(row).collect(),
        }],
    }
}

fn not_covered(_: &Facts<'_>) -> Option<Evidence> {
    None
}

/// The newest entry of the first of `kinds` of which something was done in the period.
fn newest(facts: &Facts<'_>, kinds: &[&str], what: &str) -> Option<Evidence> {
    let of = |kind: &&str| facts.counted.done.get(*kind);
    let newest = kinds.iter().find_map(of)?.newest;
    let count: u64 = kinds.iter().filter_map(of).map(|done| done.count).sum();
    Some(done(format!("{count} {what} in the log"), format!("/v1/audit/entries/{newest}")))
}

fn log(facts: &Facts<'_>) -> Option<Evidence> {
    let log = facts.log.as_ref()?;
    let entries = facts.counted.entries;
    let fact = format!("{entries} entries in the period, {} in all, under a signed root", log.size);
    (entries > 0).then(|| done(fact, "/v1/audit/log/checkpoint".to_owned()))
}

fn log_history(facts: &Facts<'_>) -> Option<Evidence> {
    let days = facts.stated.days.audit;
    (days >= 365).then(|| setting(format!("entries are kept for {days} days"), "/v1/retention"))
}

fn policy(facts: &Facts<'_>) -> Option<Evidence> {
    let rules = facts.rules?;
    Some(setting(format!("a policy of {rules} rules is in force"), "/v1/policy"))
}

fn changes(facts: &Facts<'_>) -> Option<Evidence> {
    newest(facts, &CHANGES, "changes of rules and limits, KIKI's own left out")
}

fn consents(facts: &Facts<'_>) -> Option<Evidence> {
    newest(facts, &["consent.revoke", "consent.grant"], "choices")
}

fn grants(facts: &Facts<'_>) -> Option<Evidence> {
    let mut evidence = newest(facts, &["consent.grant"], "consents")?;
    evidence.fact += &format!(", {} texts kept that people were shown", facts.texts);
    Some(evidence)
}

fn retention(facts: &Facts<'_>) -> Option<Evidence> {
    newest(facts, &[RETENTION_RUN], "runs that removed what was kept long enough")
}

fn disposal(facts: &Facts<'_>) -> Option<Evidence> {
    let mut evidence =
        newest(facts, &[ERASED, RETENTION_RUN], "erasures and runs of retention that removed something")?;
    evidence.fact += &format!(", {} people whose keys were destroyed", facts.erased());
    Some(evidence)
}

fn breaches(facts: &Facts<'_>, count: i64, what: &str) -> Option<Evidence> {
    let link = format!("/v1/reports/breaches?period={}", facts.asked);
    (count > 0).then(|| done(format!("{count} breaches {what}"), link))
}

fn recorded_breaches(facts: &Facts<'_>) -> Option<Evidence> {
    breaches(facts, facts.breaches.recorded, "of the period in the register")
}

fn handled_breaches(facts: &Facts<'_>) -> Option<Evidence> {
    breaches(facts, facts.breaches.handled, "of the period told to the authority or closed")
}

fn requests_of(facts: &Facts<'_>, kinds: &[&str]) -> Option<Evidence> {
    let count = facts.completed(kinds);
    let fact = format!("{count} requests of the period completed, {} of all overdue now", facts.overdue);
    (count > 0).then(|| done(fact, format!("/v1/reports/summary?period={}", facts.asked)))
}

fn access_requests(facts: &Facts<'_>) -> Option<Evidence> {
    requests_of(facts, &["ACCESS", "PORTABILITY"])
}

fn correction_requests(facts: &Facts<'_>) -> Option<Evidence> {
    requests_of(facts, &["RECTIFICATION"])
}

fn requests(facts: &Facts<'_>) -> Option<Evidence> {
    let all = ["ACCESS", "DELETION", "PORTABILITY", "RECTIFICATION", "RESTRICTION", "OBJECTION", "OPT_OUT"];
    requests_of(facts, &all)
}

fn processing(facts: &Facts<'_>) -> Option<Evidence> {
    let stores = facts.stores.iter().count();
    (stores > 0).then(|| setting(format!("{stores} stores of personal data declared"), "/v1/reports/processing"))
}

fn keys(facts: &Facts<'_>) -> Option<Evidence> {
    let (epoch, began) = facts.keys.living.last()?;
    let fact = format!("AES-256-GCM under a key for each person, in epoch {epoch} since {}", began.rfc3339());
    Some(setting(fact, "/v1/reports/processing"))
}

fn secured_keys(facts: &Facts<'_>) -> Option<Evidence> {
    let master = &facts.keys.master;
    // A key in a file or in the environment is as secure as the machine is: nothing here shows how much that is.
    (master.starts_with("vault:") || master.starts_with("aws-kms:"))
        .then(|| setting(format!("secrets are wrapped by {master}"), "/v1/reports/processing"))
}

fn rotated_keys(facts: &Facts<'_>) -> Option<Evidence> {
    newest(facts, &["keys.destroy", "keys.rotate"], "rotations and destructions of keys")
}

/// Categories that would be account data.
const ACCOUNT_DATA: [&str; 4] = ["payment_card", "card", "account_data", "pan"];

fn no_account_data(facts: &Facts<'_>) -> Option<Evidence> {
    let mut tables = facts.stores.iter().flat_map(|store| store.declared().tables).peekable();
    tables.peek()?;
    let is_free = tables.all(|table| table.categories.iter().all(|category| !ACCOUNT_DATA.contains(category)));
    is_free.then(|| setting("no store declares account data".to_owned(), "/v1/reports/processing"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_control_stands_once_and_in_a_framework_that_can_be_asked_for() {
        let mut seen = HashSet::new();
        for control in CONTROLS {
            assert!(seen.insert((control.framework, control.id)), "{} twice", control.id);
            assert!(FRAMEWORKS.iter().any(|(_, title)| *title == control.framework), "{}", control.framework);
        }
        assert_eq!(framework(Some("soc2")).unwrap(), Some(SOC2));
        assert_eq!(framework(None).unwrap(), None);
        assert!(framework(Some("soc3")).is_err());
    }
}
