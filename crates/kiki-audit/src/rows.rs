//! What a row of a view looks like.
//!
//! CSV by RFC 4180 with `\n`. A value that a spreadsheet would take for a formula (it starts with `=`, `+`, `-`, `@`, a
//! tab or a carriage return) gets an apostrophe in front.

use std::path::{Path, PathBuf};

use kiki_types::event::AuditEvent;
use uuid::fmt::Hyphenated;

use crate::entry::write_string;

const COLUMNS: [&str; 13] = [
    "timestamp",
    "event_id",
    "level",
    "event_type",
    "user_id_hash",
    "customer_id_hash",
    "action",
    "resource",
    "outcome",
    "reason",
    "ip_address",
    "data_accessed",
    "retention_days",
];

/// The form of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `shield_audit_gdpr.csv`, with a header.
    Csv,
    /// `shield_audit_gdpr.jsonl`: an object for each entry, with the columns' names.
    Jsonl,
}

impl Format {
    pub(crate) const ALL: [Self; 2] = [Self::Csv, Self::Jsonl];

    /// The view of the log at `dir`.
    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Csv => "shield_audit_gdpr.csv",
            Self::Jsonl => "shield_audit_gdpr.jsonl",
        })
    }

    /// What the names of its files end with.
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    /// What the file starts with.
    #[must_use]
    pub const fn header(self) -> &'static [u8] {
        match self {
            Self::Csv => {
                b"timestamp,event_id,level,event_type,user_id_hash,customer_id_hash,action,resource,outcome,reason,\
                  ip_address,data_accessed,retention_days\n"
            }
            Self::Jsonl => b"",
        }
    }

    /// Adds a row.
    pub fn write(self, out: &mut Vec<u8>, row: &Row<'_>) {
        match self {
            Self::Csv => write_csv(out, row),
            Self::Jsonl => write_json(out, row),
        }
    }
}

/// The values of an entry in the views.
pub struct Row<'a> {
    at: String,
    id: [u8; Hyphenated::LENGTH],
    event: &'a AuditEvent,
    retention_days: String,
}

impl<'a> Row<'a> {
    /// Of an entry that is kept for so many days.
    #[must_use]
    pub fn new(event: &'a AuditEvent, retention_days: u32) -> Self {
        let mut id = [0; Hyphenated::LENGTH];
        event.id.as_hyphenated().encode_lower(&mut id);
        Self { at: event.at.rfc3339(), id, event, retention_days: retention_days.to_string() }
    }

    /// All but the last column, which is a number.
    fn texts(&self) -> [&str; COLUMNS.len() - 1] {
        [
            &self.at,
            // Hexadecimal digits and hyphens.
            std::str::from_utf8(&self.id).unwrap_or_default(),
            self.event.level.as_str(),
            &self.event.event_type,
            &self.event.actor,
            &self.event.customer,
            &self.event.action,
            &self.event.resource,
            self.event.outcome.as_str(),
            &self.event.reason,
            &self.event.ip,
            &self.event.data,
        ]
    }
}

fn write_csv(out: &mut Vec<u8>, row: &Row<'_>) {
    for value in row.texts() {
        write_cell(out, value);
        out.push(b',');
    }
    out.extend_from_slice(row.retention_days.as_bytes());
    out.push(b'\n');
}

/// Writes `value` as a cell that no spreadsheet takes for a formula.
pub fn write_cell(out: &mut Vec<u8>, value: &str) {
    let quoted = value.contains([',', '"', '\n', '\r']);
    if quoted {
        out.push(b'"');
    }
    if value.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        out.push(b'\'');
    }
    for (at, part) in value.split('"').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    if quoted {
        out.push(b'"');
    }
}

fn write_json(out: &mut Vec<u8>, row: &Row<'_>) {
    for (at, (name, value)) in COLUMNS.iter().zip(row.texts()).enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.extend_from_slice(b",\"retention_days\":");
    out.extend_from_slice(row.retention_days.as_bytes());
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::event;

    fn row(format: Format, event: &AuditEvent) -> String {
        let mut row = format.header().to_vec();
        format.write(&mut row, &Row::new(event, 2_555));
        String::from_utf8(row).unwrap()
    }

    #[test]
    fn a_row_has_every_column_in_its_place() {
        let mut event = event(7);
        event.customer = "c3d4".to_owned();
        event.reason = "limit \"burst\", window".to_owned();
        event.ip = "203.0.113.0".to_owned();
        event.data = "consent".to_owned();
        let csv = row(Format::Csv, &event);
        let (header, first) = csv.split_once('\n').unwrap();
        assert_eq!(header, COLUMNS.join(","));
        assert_eq!(
            first,
            "2026-02-05T10:30:00.007Z,00000000-0000-0000-0000-000000000007,INFO,spend.authorize,a1b2,c3d4,authorize,\
             default/ads/0,ALLOWED,\"limit \"\"burst\"\", window\",203.0.113.0,consent,2555\n"
        );
        let json: serde_json::Value = serde_json::from_str(&row(Format::Jsonl, &event)).unwrap();
        let object = json.as_object().unwrap();
        assert!(COLUMNS.iter().all(|column| object.contains_key(*column)) && object.len() == COLUMNS.len());
        assert_eq!((&json["reason"], &json["retention_days"]), (&event.reason.into(), &2_555.into()));
    }

    #[test]
    fn no_value_becomes_a_formula_or_another_row() {
        for (value, cell) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("a\nb", "\"a\nb\""),
            ("a-b", "a-b"),
        ] {
            let mut out = Vec::new();
            write_cell(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), cell, "{value:?}");
        }
    }
}
