//! What happened in a period.

use kiki_types::{TenantId, UnixMillis};
use serde_json::{Value, json};

use super::document::{Document, Table};
use super::facts::Facts;
use super::period::DAY_MS;
use super::repo::Group;

pub(super) fn document(facts: &Facts<'_>, tenant: &TenantId) -> Document {
    let mut settings = facts.stated.days.settings();
    settings.push(("epoch_days", json!(facts.stated.epoch_days)));
    Document {
        name: "summary",
        title: "Summary of what was decided",
        basis: "Counted from the log and the registers",
        tenant: tenant.clone(),
        made_at: facts.now,
        period: Some(facts.period),
        log: facts.log.clone(),
        settings,
        tables: vec![events(facts), denials(facts), requests(facts), consents(facts), people(facts), keys(facts)],
    }
}

fn events(facts: &Facts<'_>) -> Table {
    let row = |(kind, outcomes): (&String, &std::collections::BTreeMap<String, u64>)| {
        let of = |outcome: &str| json!(outcomes.get(outcome).copied().unwrap_or(0));
        vec![json!(kind), of("ALLOWED"), of("DENIED"), of("FAILED")]
    };
    Table {
        name: "events",
        title: "Entries of the log",
        columns: &["event", "allowed", "denied", "failed"],
        rows: facts.counted.events.iter().map(row).collect(),
    }
}

fn denials(facts: &Facts<'_>) -> Table {
    Table {
        name: "denials",
        title: "Why requests were denied",
        columns: &["reason", "count"],
        rows: facts.counted.denials.iter().map(|(reason, count)| vec![json!(reason), json!(count)]).collect(),
    }
}

fn rows<const N: usize>(groups: &[Group<N>]) -> Vec<Vec<Value>> {
    let row = |(words, count): &Group<N>| words.iter().map(|word| json!(word)).chain([json!(count)]).collect();
    groups.iter().map(row).collect()
}

fn requests(facts: &Facts<'_>) -> Table {
    Table {
        name: "subject_requests",
        title: "Subject requests that came in",
        columns: &["regime", "type", "state", "count"],
        rows: rows(&facts.requests),
    }
}

fn consents(facts: &Facts<'_>) -> Table {
    Table {
        name: "consents",
        title: "What was recorded about consent",
        columns: &["act", "purpose", "channel", "state", "count"],
        rows: rows(&facts.consents),
    }
}

fn people(facts: &Facts<'_>) -> Table {
    let of = |what: &str, count: i64| vec![json!(what), json!(count)];
    let mut rows = vec![
        of("subject requests overdue now", facts.overdue),
        of("legal holds that stand now", facts.holds),
        of("breaches that somebody became aware of", facts.breaches.recorded),
    ];
    rows.extend(facts.erasures.iter().map(|([cause], count)| of(&format!("people erased, by {cause}"), *count)));
    Table { name: "people", title: "People", columns: &["what", "count"], rows }
}

/// The epochs of the keys of people.
pub(super) fn keys(facts: &Facts<'_>) -> Table {
    let current = facts.keys.living.last().map(|(n, _)| *n);
    let row = |&(n, began): &(u32, UnixMillis)| {
        let state = if Some(n) == current { "current" } else { "previous" };
        vec![json!(n), json!(state), json!(began.rfc3339()), json!((facts.now.0 - began.0) / DAY_MS)]
    };
    Table {
        name: "keys",
        title: "Epochs of the keys of people",
        columns: &["epoch", "state", "began", "age_days"],
        rows: facts.keys.living.iter().map(row).collect(),
    }
}
