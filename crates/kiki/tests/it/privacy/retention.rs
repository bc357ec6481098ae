//! Retention as operators meet it: what the dry run counts is what the run removes, by HTTP and on the command line.

use std::path::Path;

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Http, Serving, folder, request, succeed};

struct Shield {
    serving: Serving,
    http: Http,
}

impl Shield {
    fn start(folder: &Path) -> Self {
        Self { serving: Serving::shield(folder, &[]), http: Http::new() }
    }

    fn url(&self, path: &str) -> String {
        self.serving.url("shield", path)
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(&self.url(path)).await.json()
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.http.send(request(method, &self.url(path), Some(&body))).await;
        assert!(answer.status.is_success(), "{path}: {:?}", answer.json());
        answer.json()
    }
}

/// Rows by store, without those of which there are none.
fn counts(due: &Value) -> Vec<(String, u64)> {
    let of = |one: &Value| (one["store"].as_str().unwrap().to_owned(), one["rows"].as_u64().unwrap());
    due.as_array().unwrap().iter().map(of).filter(|(_, rows)| *rows > 0).collect()
}

/// Lets the clock of everything in the database run ahead by so many days.
fn let_days_pass(folder: &Path, days: i64) {
    let script = "import sqlite3, sys\n\
        db, days = sqlite3.connect(sys.argv[1]), int(sys.argv[2])\n\
        db.execute('UPDATE subject SET used_on = used_on - ?', (days,))\n\
        db.execute('UPDATE breach SET closed_at = closed_at - ? WHERE closed_at > 0', (days * 86400000,))\n\
        db.commit()\n";
    let path = folder.join("data/kiki.db");
    let done = std::process::Command::new("python3").args(["-c", script]).arg(path).arg(days.to_string()).status();
    assert!(done.unwrap().success());
}

#[tokio::test]
async fn what_the_dry_run_counts_is_what_the_run_removes_and_the_log_tells_of_it() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    for customer in ["ann", "bob"] {
        let grant = json!({"customer_id": customer, "consent_type": "marketing"});
        shield.send(Method::POST, "/consent/grant", grant).await;
    }
    let breach = json!({"nature": ["integrity"], "risk": "unlikely", "facts": "a disk was lost",
        "effects": "none", "measures": "none", "unlikely_because": "all was sealed"});
    let breach = shield.send(Method::POST, "/v1/breaches", breach).await;
    let path = format!("/v1/breaches/{}", breach["id"].as_str().unwrap());
    shield.send(Method::PATCH, &path, json!({"closed": true})).await;
    assert_eq!(shield.get("/v1/retention").await["rows"], 0, "nothing is old");
    shield.serving.terminate();
    let_days_pass(folder.path(), 3_000);

    let shield = Shield::start(folder.path());
    let plan = shield.get("/v1/retention").await;
    let planned = counts(&plan["due"]);
    assert!(planned.contains(&("people".to_owned(), 2)) && planned.contains(&("breaches".to_owned(), 1)), "{plan}");
    let classes: Vec<_> = plan["classes"].as_array().unwrap().iter().map(|class| class["days"].clone()).collect();
    assert_eq!(classes, [json!(2555), json!(1095), json!(730), json!(90)]);
    let url = shield.url("");
    let shown = succeed(folder.path(), &["privacy", "retention", "--dry-run", "--json", "--url", &url]);
    assert_eq!(counts(&serde_json::from_str(&shown).unwrap()), planned);
    let shown = succeed(folder.path(), &["privacy", "retention", "--json", "--url", &url]);
    assert_eq!(counts(&serde_json::from_str(&shown).unwrap()), planned);

    assert_eq!(shield.get("/v1/retention").await["rows"], 0, "nothing is left");
    assert_eq!(shield.get("/v1/breaches").await["breaches"], json!([]));
    let again = shield.get("/consent/status?customer_id=ann").await;
    assert_eq!(again["consents"]["marketing"], false, "who comes again is somebody new");
    let mut runs = Value::Null;
    for _ in 0..600 {
        runs = shield.get("/v1/audit/entries?action=run").await["entries"].take();
        if runs[0]["entry"]["type"] == "retention.run" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let counted: u64 = planned.iter().map(|(_, rows)| rows).sum();
    assert_eq!(runs[0]["entry"]["reason"], format!("rows {counted}"), "{runs}");
}
