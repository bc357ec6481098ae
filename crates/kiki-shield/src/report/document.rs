//! A report as tables, in the forms that people and programs take them: JSON, CSV; [`super::page`] has the printable one.
//!
//! CSV by RFC 4180. A value that a spreadsheet would take for a formula gets an apostrophe in front.

use kiki_audit::Checkpoint;
use kiki_types::{TenantId, UnixMillis};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// A report.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What asks for it, such as an article of a law.
    pub(crate) basis: &'static str,
    pub(crate) tenant: TenantId,
    pub(crate) made_at: UnixMillis,
    /// From when to before when.
    pub(crate) period: Option<(UnixMillis, UnixMillis)>,
    /// The state of the log that it was counted from.
    pub(crate) log: Option<Checkpoint>,
    /// The settings in force that it depends on.
    pub(crate) settings: Vec<(&'static str, Value)>,
    pub(crate) tables: Vec<Table>,
}

/// A part of a report: rows with a value for each column.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) rows: Vec<Vec<Value>>,
}

/// A report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Report)]
pub(crate) struct ReportBody {
    /// Its name.
    #[schema(example = "processing")]
    report: &'static str,
    title: &'static str,
    /// What asks for it.
    basis: &'static str,
    tenant: String,
    generated_at: String,
    /// The first moment of the period and the first one after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<[String; 2]>,
    /// The state of the log that it was counted from; absent until the first checkpoint is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<ReportLog>,
    /// The settings in force that it depends on.
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// By name, lists of rows.
    #[schema(value_type = Object)]
    tables: Map<String, Value>,
}

/// A checkpoint of the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportLog {
    /// The log's name.
    pub(crate) origin: String,
    /// Entries that the checkpoint covers.
    pub(crate) size: u64,
    /// The Merkle root over them, in hexadecimal digits.
    pub(crate) root: String,
}

impl From<&Checkpoint> for ReportLog {
    fn from(checkpoint: &Checkpoint) -> Self {
        let root = checkpoint.root.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { origin: checkpoint.origin.clone(), size: checkpoint.size, root }
    }
}

impl Document {
    pub(crate) fn body(&self) -> ReportBody {
        let row = |columns: &[&str], row: &[Value]| -> Value {
            columns
                .iter()
                .zip(row)
                .map(|(column, value)| ((*column).to_owned(), value.clone()))
                .collect::<Map<_, _>>()
                .into()
        };
        let rows = |table: &Table| -> Value { table.rows.iter().map(|one| row(table.columns, one)).collect() };
        ReportBody {
            report: self.name,
            title: self.title,
            basis: self.basis,
            tenant: self.tenant.to_string(),
            generated_at: self.made_at.rfc3339(),
            period: self.period.map(|(from, to)| [from.rfc3339(), to.rfc3339()]),
            log: self.log.as_ref().map(ReportLog::from),
            settings: self.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            tables: self.tables.iter().map(|table| (table.name.to_owned(), rows(table))).collect(),
        }
    }

    /// What the report says of itself.
    pub(crate) fn about(&self) -> Vec<(&'static str, String)> {
        let mut about = vec![("tenant", self.tenant.to_string()), ("generated_at", self.made_at.rfc3339())];
        if let Some((from, to)) = self.period {
            about.extend([("from", from.rfc3339()), ("to", to.rfc3339())]);
        }
        if let Some(log) = self.log.as_ref().map(ReportLog::from) {
            about.extend([("log_origin", log.origin), ("log_size", log.size.to_string()), ("log_root", log.root)]);
        }
        about.extend(self.settings.iter().map(|(name, value)| (*name, shown(value))));
        about
    }

    /// All of it, a line for each value: `table,row,column,value`. What it says of itself is the table `report`.
    pub(crate) fn csv(&self) -> String {
        let mut out = line(["table", "row", "column", "value"]);
        for (name, value) in self.about() {
            out += &line(["report", "1", name, &value]);
        }
        for table in &self.tables {
            for (row, number) in table.rows.iter().zip(1_u64..) {
                for (column, value) in table.columns.iter().zip(row) {
                    out += &line([table.name, &number.to_string(), column, &shown(value)]);
                }
            }
        }
        out
    }

    /// One table, a line for each row; `None` if there is no such table.
    pub(crate) fn csv_of(&self, name: &str) -> Option<String> {
        let table = self.tables.iter().find(|table| table.name == name)?;
        let rows = table.rows.iter().map(|row| line(row.iter().map(shown)));
        Some(std::iter::once(line(table.columns)).chain(rows).collect())
    }
}

/// A value as a cell shows it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

fn line<T: AsRef<str>>(cells: impl IntoIterator<Item = T>) -> String {
    let cells: Vec<_> = cells.into_iter().map(|cell| cell_of(cell.as_ref())).collect();
    cells.join(",") + "\r\n"
}

fn cell_of(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

/// A row of texts.
pub(crate) fn texts<const N: usize>(values: [&str; N]) -> Vec<Value> {
    values.into_iter().map(|value| json!(value)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with values that are none of a report's business.
    pub(crate) fn nasty() -> Document {
        Document {
            name: "summary",
            title: "Summary",
            basis: "test",
            tenant: TenantId::default_tenant(),
            made_at: UnixMillis(0),
            period: Some((UnixMillis(0), UnixMillis(1_000))),
            log: None,
            settings: vec![("days", json!(7))],
            tables: vec![Table {
                name: "rows",
                title: "Rows & <b>more</b>",
                columns: &["what", "evidence"],
                rows: vec![
                    texts(["=cmd|'/c calc'!A0", "/v1/retention"]),
                    vec![json!("a \"quote\", <script>alert('x')</script>\nnext"), Value::Null],
                    vec![json!(-5), json!(["a", "b"])],
                ],
            }],
        }
    }

    #[test]
    fn json_has_a_row_for_each_row() {
        let body = serde_json::to_value(nasty().body()).unwrap();
        assert_eq!(body["tables"]["rows"][0]["evidence"], "/v1/retention");
        assert_eq!((&body["settings"]["days"], &body["tables"]["rows"][2]["what"]), (&json!(7), &json!(-5)));
        assert_eq!(body["period"][1], "1970-01-01T00:00:01.000Z");
    }

    #[test]
    fn csv_quotes_what_must_be_and_lets_no_spreadsheet_calculate() {
        let whole = nasty().csv();
        assert!(whole.contains("rows,1,what,'=cmd|'/c calc'!A0\r\n"), "{whole}");
        assert!(whole.contains("rows,2,what,\"a \"\"quote\"\", <script>alert('x')</script>\nnext\"\r\n"), "{whole}");
        assert!(whole.contains("report,1,days,7\r\n") && whole.contains("rows,3,what,'-5\r\n"), "{whole}");
        let table = nasty().csv_of("rows").unwrap();
        assert!(table.starts_with("what,evidence\r\n'=cmd") && table.ends_with("'-5,\"a, b\"\r\n"), "{table}");
        assert_eq!(nasty().csv_of("other"), None);
    }
}
