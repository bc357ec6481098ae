//! What a person gets: a ZIP of everything that is held about them, as JSON and as CSV, with a manifest of hashes.
//!
//! `manifest.json` says which store gave what, with the SHA-256 of each file; stores that hold nothing are named too. Its
//! own SHA-256 stands in the log, so that it can be shown later what was handed out. The same data give the same bytes.

use std::collections::BTreeSet;
use std::io;

use kiki_audit::{Checkpoint, write_cell};
use kiki_store::personal::{Declared, Document};
use kiki_types::UnixMillis;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::model::{Kind, Regime};
use super::zip::Zip;

/// Bytes of the files of an export before they are compressed, at the most. What is beyond is left out, and the manifest
/// says how much that is.
pub(crate) const EXPORT_BYTES_MAX: usize = 64 << 20;

/// What an export is about.
#[derive(Clone, Debug)]
pub(crate) struct About<'a> {
    pub(crate) request: String,
    pub(crate) regime: Regime,
    pub(crate) kind: Kind,
    pub(crate) at: UnixMillis,
    /// The log that decisions were read from.
    pub(crate) log: Option<&'a Checkpoint>,
    /// What Art. 15(1) GDPR wants to be told beside the data.
    pub(crate) sheet: &'a str,
    /// Services with databases of their own. They are told by number: their names are addresses of the inside.
    pub(crate) peers: &'a [String],
}

impl About<'_> {
    /// The store and its service, as the person is told of them.
    fn told(&self, store: &Declared) -> (String, String) {
        match self.peers.iter().position(|peer| peer == store.service) {
            Some(at) => (format!("service-apart-{}", at + 1), "service apart".to_owned()),
            None => (store.name.to_owned(), store.service.to_owned()),
        }
    }
}

/// What a store gave.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) store: &'static Declared,
    pub(crate) documents: Vec<Document>,
}

/// An export.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) zip: Vec<u8>,
    /// The SHA-256 of the manifest, in hexadecimal digits.
    pub(crate) manifest: String,
    /// Whether nothing was left out.
    pub(crate) is_whole: bool,
    /// Rows that are in it.
    pub(crate) rows: u64,
}

/// Makes an export. For [`Kind::Portability`] only what the person provided goes in.
///
/// # Errors
/// None that is known: it is written to memory.
pub(crate) fn make(about: &About<'_>, given: &[Given]) -> io::Result<Export> {
    let mut zip = Zip::default();
    let (mut files, mut stores) = (Vec::new(), Vec::new());
    let (mut bytes, mut rows, mut left_out) = (about.sheet.len(), 0, 0);
    for Given { store, documents } in given {
        let mut held = 0;
        let (name, service) = about.told(store);
        for document in documents.iter().filter(|document| document.provided || about.kind != Kind::Portability) {
            let taken = fitting(document, EXPORT_BYTES_MAX.saturating_sub(bytes));
            left_out += document.rows.len() - taken;
            held += taken;
            for (ending, body) in [("json", as_json(&document.rows[..taken])), ("csv", as_csv(&document.rows[..taken]))]
            {
                let path = format!("{name}/{}.{ending}", document.name);
                bytes += body.len();
                files.push(json!({
                    "path": path, "store": name, "categories": categories(store), "records": taken,
                    "bytes": body.len(), "sha256": sha256(&body),
                }));
                zip.add(&path, &body)?;
            }
        }
        rows += held;
        let said = if held == 0 { json!("nothing held") } else { json!(held) };
        stores.push(json!({"store": name, "service": service, "records": said}));
    }
    let log = about.log.map(|log| json!({"origin": log.origin, "size": log.size, "root": hex(&log.root)}));
    let manifest = json!({
        "request": about.request, "regime": about.regime, "kind": about.kind, "generated_at": about.at.rfc3339(),
        "log": log, "files": files, "stores": stores, "left_out": left_out,
    });
    let manifest = format!("{manifest:#}\n");
    zip.add("manifest.json", manifest.as_bytes())?;
    zip.add("READ-ME.txt", about.sheet.as_bytes())?;
    Ok(Export {
        zip: zip.finish()?,
        manifest: sha256(manifest.as_bytes()),
        is_whole: left_out == 0,
        rows: u64::try_from(rows).unwrap_or(u64::MAX),
    })
}

/// How many rows of `document` fit into `bytes`, as JSON and as CSV together.
fn fitting(document: &Document, bytes: usize) -> usize {
    let mut left = bytes;
    for (at, row) in document.rows.iter().enumerate() {
        // A CSV row is no longer than its JSON, but for quotes that are doubled.
        let size = serde_json::to_vec(row).map_or(usize::MAX, |row| 3 * row.len());
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return at,
        }
    }
    document.rows.len()
}

fn categories(store: &Declared) -> BTreeSet<&'static str> {
    store.tables.iter().flat_map(|table| table.categories.iter().copied()).collect()
}

/// A row a line.
fn as_json(rows: &[Map<String, Value>]) -> Vec<u8> {
    let lines: Vec<_> = rows.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
    if lines.is_empty() { b"[]\n".to_vec() } else { format!("[\n{}\n]\n", lines.join(",\n")).into_bytes() }
}

/// A header of all names, and a row a record; what a record does not have is empty.
fn as_csv(rows: &[Map<String, Value>]) -> Vec<u8> {
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    let mut out = Vec::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        for (at, cell) in cells.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_cell(&mut out, &cell);
        }
        out.extend(b"\r\n");
    };
    line(&mut names.iter().map(|name| (*name).to_owned()));
    for row in rows {
        line(&mut names.iter().map(|name| match row.get(*name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }));
    }
    out
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use kiki_store::personal::{Class, Form, Table};

    use super::*;

    static MESSAGES: Declared = Declared {
        name: "messages",
        service: "engage",
        tables: &[Table {
            name: "engage_message",
            owner: Some("subject"),
            holds: &[("sealed", Form::Sealed)],
            categories: &["contact history"],
            class: Class::Marketing,
        }],
        files: &[],
    };
    static PURCHASES: Declared = Declared { name: "purchases", service: "value", tables: &[], files: &[] };

    fn row(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn document(name: &str, provided: bool, rows: &[Value]) -> Document {
        Document { name: name.to_owned(), provided, rows: rows.iter().map(row).collect() }
    }

    fn about(kind: Kind) -> About<'static> {
        let at = UnixMillis(1_770_287_400_000);
        About { request: "r".to_owned(), regime: Regime::Gdpr, kind, at, log: None, sheet: "Who we are.\n", peers: &[] }
    }

    fn given() -> Vec<Given> {
        let sent = document("sent", false, &[json!({"subject": "=1+1", "at": 5}), json!({"note": "a,\"b\""})]);
        let told = document("told", true, &[json!({"phone": "+49 30 1"})]);
        vec![
            Given { store: &MESSAGES, documents: vec![sent, told] },
            Given { store: &PURCHASES, documents: Vec::new() },
        ]
    }

    /// What Python's zipfile finds: the files by name, each as text, after their hashes were compared with the manifest's.
    fn read(export: &Export) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.zip");
        std::fs::write(&path, &export.zip).unwrap();
        let script = "import hashlib, json, sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n\
            files = {n: z.read(n) for n in z.namelist()}\nfor f in json.loads(files['manifest.json'])['files']:\n \
            assert hashlib.sha256(files[f['path']]).hexdigest() == f['sha256'] and len(files[f['path']]) == f['bytes']\n\
            print(json.dumps({n: b.decode() for n, b in files.items()}))";
        let read = Command::new("python3")
            .args(["-X", "utf8", "-c", script])
            .arg(&path)
            .output()
            .expect("python3 is installed");
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        serde_json::from_slice(&read.stdout).unwrap()
    }

    #[test]
    fn a_person_is_told_of_a_service_apart_and_not_where_it_is() {
        static APART: Declared =
            Declared { name: "value.inner:8082", service: "value.inner:8082", tables: &[], files: &[] };
        let told = document("purchases-all", true, &[json!({"order": 1})]);
        let given = [Given { store: &APART, documents: vec![told] }];
        let peers = ["engage.inner:8083".to_owned(), "value.inner:8082".to_owned()];
        let export = make(&About { peers: &peers, ..about(Kind::Access) }, &given).unwrap();
        let files = read(&export);
        assert!(files["service-apart-2/purchases-all.json"].is_string(), "{files}");
        assert!(!files.to_string().contains("inner"), "{files}");
    }

    #[test]
    fn an_export_holds_every_document_twice_and_names_every_store() {
        let export = make(&about(Kind::Access), &given()).unwrap();
        let files = read(&export);
        assert_eq!(files["messages/sent.csv"], "at,note,subject\r\n5,,'=1+1\r\n,\"a,\"\"b\"\"\",\r\n");
        assert_eq!(files["messages/told.json"], "[\n{\"phone\":\"+49 30 1\"}\n]\n");
        assert_eq!(files["READ-ME.txt"], "Who we are.\n");
        let manifest: Value = serde_json::from_str(files["manifest.json"].as_str().unwrap()).unwrap();
        assert_eq!(manifest["stores"][1], json!({"store": "purchases", "service": "value", "records": "nothing held"}));
        assert_eq!(manifest["files"][0]["categories"], json!(["contact history"]));
        assert_eq!((export.is_whole, export.rows), (true, 3));
        assert_eq!(export.manifest, sha256(files["manifest.json"].as_str().unwrap().as_bytes()));
    }

    #[test]
    fn what_is_taken_along_is_what_the_person_provided() {
        let files = read(&make(&about(Kind::Portability), &given()).unwrap());
        assert!(files["messages/sent.json"].is_null() && files["messages/told.json"].is_string());
    }

    #[test]
    fn the_same_data_give_the_same_bytes() {
        let make = || make(&about(Kind::Access), &given()).unwrap().zip;
        assert_eq!(make(), make());
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_counted() {
        let rows: Vec<_> = (0..10).map(|n| json!({"n": n})).collect();
        let document = document("d", false, &rows);
        assert_eq!(fitting(&document, 3 * 7 * 4 + 1), 4);
        assert_eq!((fitting(&document, 0), fitting(&document, usize::MAX)), (0, 10));
    }
}
