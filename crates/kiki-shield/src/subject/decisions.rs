//! What was decided about people, found in the log by their pseudonyms: one pass for any number of them.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use kiki_audit::{Checkpoint, Error, Reader, disk, pruned};
use memchr::memmem::Finder;
use serde_json::{Map, Value, json};

/// Entries of one person at the most: the newest.
const ENTRIES_MAX: usize = 100_000;
/// What stands before the pseudonym in an entry.
const CUSTOMER: &[u8] = b"\"customer\":\"";
/// Hexadecimal digits of a pseudonym.
const DIGITS: usize = 32;

/// Entries about one person, as the log has them.
type Entries = VecDeque<(u64, Box<[u8]>)>;

/// What the log at `audit` tells of `people`, as far as its checkpoint goes.
pub(super) fn about(audit: &Path, people: &[String]) -> Result<HashMap<String, Entries>, Error> {
    let mut found: HashMap<String, Entries> = people.iter().map(|who| (who.clone(), VecDeque::new())).collect();
    let size = Checkpoint::load(audit, None)?.map_or(0, |checkpoint| checkpoint.size);
    let from = pruned::minimum(disk::real().as_ref(), audit)?;
    if from >= size {
        return Ok(found);
    }
    let finder = Finder::new(CUSTOMER);
    let mut reader = Reader::open(audit, from, size)?;
    while let Some(record) = reader.next_record()? {
        let Some(at) = finder.find(record.bytes) else { continue };
        let who = record.bytes.get(at + CUSTOMER.len()..).and_then(|rest| rest.get(..DIGITS));
        let Some(entries) = who.and_then(|who| found.get_mut(std::str::from_utf8(who).ok()?)) else { continue };
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back((record.index, record.bytes.into()));
    }
    Ok(found)
}

/// Entries as rows that people read; `entry` is the number under which the log proves it.
pub(super) fn rows(entries: &Entries) -> Vec<Map<String, Value>> {
    entries.iter().map(|(index, bytes)| row(*index, bytes)).collect()
}

fn row(index: u64, bytes: &[u8]) -> Map<String, Value> {
    let entry: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let mut row = Map::from_iter([("entry".to_owned(), json!(index))]);
    let at = entry["at"].as_i64().map(|at| kiki_types::UnixMillis(at).rfc3339());
    row.insert("at".to_owned(), json!(at));
    for name in ["type", "action", "resource", "outcome", "reason", "data"] {
        row.insert(name.to_owned(), entry[name].clone());
    }
    // What a decision about money was about.
    for name in ["amount", "category", "payee", "purpose", "channel"] {
        let told = [&entry["body"]["cmd"][name], &entry["body"]["cmd"]["consent"][name]];
        if let Some(told) = told.into_iter().find(|told| !told.is_null()) {
            row.insert(name.to_owned(), told.clone());
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_told_with_what_it_was_about() {
        let entry = json!({"at": 1_770_287_400_000_i64, "type": "spend.authorize", "action": "authorize", "resource": "t/a",
            "outcome": "DENIED", "reason": "consent", "customer": "0".repeat(32),
            "body": {"cmd": {"amount": 5, "consent": {"subject": "s", "purpose": "marketing"}}}});
        let row = row(7, entry.to_string().as_bytes());
        assert_eq!((&row["entry"], &row["purpose"], &row["amount"]), (&json!(7), &json!("marketing"), &json!(5)));
        assert_eq!(row["at"], "2026-02-05T10:30:00.000Z");
        assert!(!row.contains_key("payee") && !row.contains_key("customer"));
    }
}
