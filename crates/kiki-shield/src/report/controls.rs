//! Maps of controls to what proves them here.
//!
//! A row has evidence only where a fact of this tenant and period stands behind a link that shows it; every other row says
//! that it is not covered. What people must do outside KIKI is never claimed.

use kiki_types::TenantId;
use serde_json::json;

use super::document::{Document, Table};
use super::facts::Facts;
use crate::error::ShieldError;

/// What proves a control.
struct Evidence {
    fact: String,
    link: String,
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
    control(SOC2, "CC7.2", "The system is monitored for anomalies", log),
    control(SOC2, "CC7.3", "Security events are evaluated", breaches),
    control(SOC2, "CC8.1", "Changes are authorised and documented", changes),
    control(SOC2, "P2.1", "Choices about personal information are offered and recorded", consents),
    control(SOC2, "P3.2", "Explicit consent is obtained where it is needed", grants),
    control(SOC2, "P4.2", "Personal information is kept no longer than needed", retention),
    control(SOC2, "P4.3", "Personal information is disposed of securely", disposal),
    control(SOC2, "P5.1", "Persons can see their personal information", access_requests),
    control(SOC2, "P5.2", "Persons can have it corrected", correction_requests),
    control(SOC2, "P6.3", "Unauthorised disclosures are recorded", breaches),
    control(SOC2, "P8.1", "Inquiries and complaints are dealt with", requests),
    control(ISO, "A.5.24", "Information security incident management is prepared", breaches),
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
    control(PCI, "12.10", "Suspected incidents are responded to", breaches),
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
        let (fact, link) = match evidence {
            Some(Evidence { fact, link }) => (json!(fact), json!(link)),
            None => (json!("not covered"), json!(null)),
        };
        vec![json!(control.framework), json!(control.id), json!(control.title), fact, link]
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
            columns: &["framework", "control", "title", "fact", "evidence"],
            rows: wanted.map(row).collect(),
        }],
    }
}

fn not_covered(_: &Facts<'_>) -> Option<Evidence> {
    None
}

/// The newest entry of the first of `kinds` that there is.
fn newest(facts: &Facts<'_>, kinds: &[&str], what: &str) -> Option<Evidence> {
    let index = kinds.iter().find_map(|kind| facts.counted.newest.get(*kind))?;
    let count: u64 = kinds.iter().map(|kind| facts.counted.of(kind)).sum();
    Some(Evidence { fact: format!("{count} {what} in the log"), link: format!("/v1/audit/entries/{index}") })
}

fn log(facts: &Facts<'_>) -> Option<Evidence> {
    let log = facts.log.as_ref()?;
    let entries = facts.counted.entries;
    let fact = format!("{entries} entries in the period, {} in all, under a signed root", log.size);
    Some(Evidence { fact, link: "/v1/audit/log/checkpoint".to_owned() })
}

fn log_history(facts: &Facts<'_>) -> Option<Evidence> {
    let days = facts.stated.days.audit;
    (days >= 365)
        .then(|| Evidence { fact: format!("entries are kept for {days} days"), link: "/v1/retention".to_owned() })
}

fn policy(facts: &Facts<'_>) -> Option<Evidence> {
    let rules = facts.rules?;
    Some(Evidence { fact: format!("a policy of {rules} rules is in force"), link: "/v1/policy".to_owned() })
}

fn changes(facts: &Facts<'_>) -> Option<Evidence> {
    newest(facts, &["policy.put", "policy.rollback", "policy.remove", "budget.define"], "changes of rules and limits")
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
    newest(facts, &["retention.run"], "runs that delete what was kept long enough")
}

fn disposal(facts: &Facts<'_>) -> Option<Evidence> {
    let mut evidence = newest(facts, &["subject.erase", "retention.run"], "erasures and runs of retention")?;
    evidence.fact += &format!(", {} people whose keys were destroyed", facts.erased());
    Some(evidence)
}

fn breaches(facts: &Facts<'_>) -> Option<Evidence> {
    (facts.breaches > 0).then(|| Evidence {
        fact: format!("{} breaches in the register", facts.breaches),
        link: format!("/v1/reports/breaches?period={}", facts.asked),
    })
}

fn requests_of(facts: &Facts<'_>, kinds: &[&str]) -> Option<Evidence> {
    let count = facts.requests_of(kinds);
    (count > 0).then(|| Evidence {
        fact: format!("{count} requests, {} overdue now among all", facts.overdue),
        link: format!("/v1/reports/summary?period={}", facts.asked),
    })
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
    (stores > 0).then(|| Evidence {
        fact: format!("{stores} stores of personal data declared"),
        link: "/v1/reports/processing".to_owned(),
    })
}

fn keys(facts: &Facts<'_>) -> Option<Evidence> {
    let (epoch, began) = facts.keys.living.last()?;
    Some(Evidence {
        fact: format!("AES-256-GCM under a key for each person, in epoch {epoch} since {}", began.rfc3339()),
        link: "/v1/reports/processing".to_owned(),
    })
}

fn secured_keys(facts: &Facts<'_>) -> Option<Evidence> {
    let master = &facts.keys.master;
    // A key in a file or in the environment is as secure as the machine is: nothing here shows how much that is.
    (master.starts_with("vault:") || master.starts_with("aws-kms:")).then(|| Evidence {
        fact: format!("secrets are wrapped by {master}"),
        link: "/v1/reports/processing".to_owned(),
    })
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
    is_free.then(|| Evidence {
        fact: "no store declares account data".to_owned(),
        link: "/v1/reports/processing".to_owned(),
    })
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
