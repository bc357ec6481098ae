//! A report as a page to be printed: no script, nothing from elsewhere, every value escaped.

use std::fmt::Write as _;

use serde_json::Value;

use super::document::{Document, Table, shown};

const STYLE: &str = "body{font:10pt/1.4 sans-serif;margin:2em;color:#111}h1{font-size:16pt;margin:0}\
    h2{font-size:12pt;margin:1.6em 0 .4em}table{border-collapse:collapse;width:100%}\
    th,td{border:1px solid #999;padding:.25em .5em;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
    th{background:#eee}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em}dt{font-weight:bold}\
    dd{margin:0;overflow-wrap:anywhere}footer{margin-top:2em;font-size:8pt;color:#555}\
    @page{margin:18mm 15mm}@media print{body{margin:0}a{color:inherit;text-decoration:none}\
    tr{break-inside:avoid}thead{display:table-header-group}}";

/// The page of `document`.
pub(crate) fn page(document: &Document) -> String {
    let title = escaped(document.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{}</p>\n<dl>\n",
        escaped(document.basis)
    );
    let about = document.about();
    for (name, value) in &about {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(&name.replace('_', " ")), escaped(value));
    }
    out += "</dl>\n";
    for table in &document.tables {
        write_table(&mut out, table);
    }
    let root = about.iter().find(|(name, _)| *name == "log_root").map_or("no checkpoint", |(_, root)| root);
    let made = document.made_at.rfc3339();
    let _ = writeln!(out, "<footer>{title} · {made} · log {}</footer></body></html>", escaped(root));
    out
}

fn write_table(out: &mut String, table: &Table) {
    let _ = writeln!(out, "<h2>{}</h2>", escaped(table.title));
    if table.rows.is_empty() {
        *out += "<p>None.</p>\n";
        return;
    }
    *out += "<table><thead><tr>";
    for column in table.columns {
        let _ = write!(out, "<th>{}</th>", escaped(&column.replace('_', " ")));
    }
    *out += "</tr></thead><tbody>\n";
    for row in &table.rows {
        *out += "<tr>";
        for (column, value) in table.columns.iter().zip(row) {
            let _ = write!(out, "<td>{}</td>", cell(column, value));
        }
        *out += "</tr>\n";
    }
    *out += "</tbody></table>\n";
}

fn cell(column: &str, value: &Value) -> String {
    let text = escaped(&shown(value));
    match value {
        Value::String(link) if column == "evidence" && link.starts_with('/') => {
            format!("<a href=\"{text}\">{text}</a>")
        }
        _ => text,
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::nasty;
    use super::*;

    #[test]
    fn nothing_in_a_value_becomes_markup() {
        let page = page(&nasty());
        assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
        assert!(page.contains("<a href=\"/v1/retention\">/v1/retention</a>"), "{page}");
        for tag in ["table", "thead", "tbody", "dl", "footer", "body", "html"] {
            let (open, closed) = (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
            assert_eq!(open, closed, "{tag}");
        }
    }
}
