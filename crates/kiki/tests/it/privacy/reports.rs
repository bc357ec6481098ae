//! Reports and the register of breaches, over HTTP against a real process.

use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Serving, folder, request};

const NAMES: [&str; 5] = ["summary", "processing", "breaches", "ccpa", "controls"];
/// What somebody wrote about a breach.
const MARK: &str = "the backup disk of <b>Dr. Quux</b> is gone";

struct Shield {
    serving: Serving,
    http: Http,
}

impl Shield {
    fn start(folder: &Path) -> Self {
        let variables = [("KIKI_CONTROLLER", "Example Ltd"), ("KIKI_RETENTION_MARKETING_DAYS", "77")];
        Self { serving: Serving::shield(folder, &variables), http: Http::new() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.http.get(&self.serving.url("shield", path)).await
    }

    async fn report(&self, path: &str) -> Value {
        let answer = self.get(&format!("/v1/reports/{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {:?}", answer.json());
        answer.json()
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        self.http.send(request(method, &self.serving.url("shield", path), Some(&body))).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.send(Method::POST, path, body).await;
        assert!(answer.status.is_success(), "{path}: {:?}", answer.json());
        answer.json()
    }

    /// Waits until the summary has an event of this kind, and gives it.
    async fn summary_with(&self, kind: &str) -> Value {
        for _ in 0..600 {
            let summary = self.report("summary?period=daily").await;
            if rows(&summary, "events").iter().any(|row| row["event"] == kind) {
                return summary;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no {kind}: {}", self.report("summary?period=daily").await);
    }
}

fn rows<'a>(report: &'a Value, table: &str) -> &'a [Value] {
    report["tables"][table].as_array().unwrap_or_else(|| panic!("{table}: {report}"))
}

fn row<'a>(report: &'a Value, table: &str, column: &str, value: &str) -> &'a Value {
    rows(report, table).iter().find(|row| row[column] == value).unwrap_or_else(|| panic!("{value}: {report}"))
}

/// Follows the evidence of every control. Returns how many have some.
async fn follow_evidence(shield: &Shield, controls: &Value) -> usize {
    let mut followed = 0;
    for control in rows(controls, "controls") {
        let Some(link) = control["evidence"].as_str() else {
            assert_eq!(control["fact"], "not covered", "{control}");
            continue;
        };
        let shown = shield.get(link).await;
        assert_eq!(shown.status, StatusCode::OK, "{control}");
        assert!(shown.body.len() > 2, "{control}: {:?}", shown.body);
        followed += 1;
    }
    followed
}

#[tokio::test]
async fn every_report_is_computed_from_what_happened_and_every_evidence_is_there() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    let controls = shield.report("controls").await;
    let at_first = follow_evidence(&shield, &controls).await;
    assert_eq!(row(&controls, "controls", "control", "P2.1")["fact"], "not covered");

    shield.post("/consent/grant", json!({"customer_id": "c1", "consent_type": "marketing"})).await;
    shield.post("/v1/authorizations", json!({"amount": {"amount": "1", "currency": "USD"}})).await;
    let rules = json!({"rule_sets": {"all": "@id(\"all\") permit(principal, action, resource);"}});
    let put = shield.send(Method::PUT, "/v1/policy", rules).await;
    assert_eq!(put.status, StatusCode::OK, "{:?}", put.json());
    let breach = json!({"nature": ["confidentiality"], "risk": "high", "facts": MARK, "categories": ["contact"]});
    let breach = shield.post("/v1/breaches", breach).await;
    let summary = shield.summary_with("breach.create").await;
    assert_eq!(row(&summary, "events", "event", "consent.grant")["allowed"], 1);
    assert_eq!(summary["log"]["root"].as_str().unwrap().len(), 64);
    assert_eq!(summary["settings"]["retention_marketing_days"], 77);

    let controls = shield.report("controls").await;
    assert!(follow_evidence(&shield, &controls).await > at_first);
    for (control, is_covered) in
        [("P2.1", true), ("P6.3", true), ("CC7.3", false), ("CC8.1", true), ("7.2", true), ("A.8.17", false)]
    {
        let row = row(&controls, "controls", "control", control);
        assert_eq!(row["evidence"].is_string(), is_covered, "{row}");
    }
    let only = shield.report("controls?framework=pci-dss").await;
    assert!(rows(&only, "controls").iter().all(|row| row["framework"] == "PCI DSS 4.0.1"));

    let processing = shield.report("processing").await;
    assert_eq!(row(&processing, "controller", "role", "controller")["who"], "Example Ltd");
    assert_eq!(row(&processing, "controller", "role", "contact")["who"], "not stated");
    assert_eq!(row(&processing, "limits", "class", "marketing")["days"], 77);
    assert_eq!(row(&processing, "categories", "table", "breach")["class"], "audit");
    assert!(row(&processing, "safeguards", "measure", "master key")["fact"].as_str().unwrap().starts_with("file:"));

    let breaches = shield.report("breaches").await;
    assert_eq!(rows(&breaches, "breaches").len(), 1);
    assert_eq!(
        (&rows(&breaches, "breaches")[0]["id"], &rows(&breaches, "breaches")[0]["facts"]),
        (&breach["id"], &json!(MARK))
    );
    assert_eq!(rows(&shield.report("ccpa").await, "metrics").len(), 5);
}

#[tokio::test]
async fn every_report_has_three_forms_and_what_people_wrote_stays_text() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    shield.post("/v1/breaches", json!({"nature": ["integrity"], "risk": "unlikely", "facts": MARK})).await;
    for name in NAMES {
        let json = shield.get(&format!("/v1/reports/{name}")).await;
        assert_eq!(
            (json.status, &json.headers["content-type"]),
            (StatusCode::OK, &"application/json".parse().unwrap())
        );
        assert_eq!(
            (&json.headers["cache-control"], &json.json()["report"]),
            (&"no-store".parse().unwrap(), &json!(name))
        );
        let csv = shield.get(&format!("/v1/reports/{name}?format=csv")).await;
        let text = String::from_utf8(csv.body.to_vec()).unwrap();
        assert!(text.starts_with("table,row,column,value\r\n"), "{text}");
        let table = json.json()["tables"].as_object().unwrap().keys().next().unwrap().clone();
        let one = shield.get(&format!("/v1/reports/{name}?format=csv&table={table}")).await;
        assert_eq!(one.headers["content-type"], "text/csv; charset=utf-8");
        let page = shield.get(&format!("/v1/reports/{name}?format=html")).await;
        let text = String::from_utf8(page.body.to_vec()).unwrap();
        assert_eq!(page.headers["content-security-policy"], "default-src 'none'; style-src 'unsafe-inline'");
        assert!(text.contains("</html>") && text.contains("@media print") && !text.contains("<b>"), "{text}");
    }
    let page = shield.get("/v1/reports/breaches?format=html").await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(text.contains("&lt;b&gt;Dr. Quux&lt;/b&gt;"), "{text}");
    for (wrong, field) in [
        ("summary?format=pdf", "format"),
        ("summary?period=yearly", "period"),
        ("summary?format=csv&table=none", "table"),
        ("ccpa?year=1900", "year"),
        ("controls?framework=cobit", "framework"),
    ] {
        let refused = shield.get(&format!("/v1/reports/{wrong}")).await;
        assert_eq!((refused.status, &refused.json()["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{wrong}");
    }
    assert_eq!(shield.get("/v1/reports/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_breach_has_its_clock_its_reminder_and_its_end_and_lies_sealed() {
    let folder = folder();
    let shield = Shield::start(folder.path());
    // Somebody knew for years: every reminder has passed, and one stands for them.
    let body = json!({"nature": ["availability"], "risk": "high", "facts": MARK, "aware_at": "2020-02-01T09:00:00Z"});
    let breach = shield.post("/v1/breaches", body).await;
    assert_eq!(
        (&breach["notify_by"], &breach["notification"]),
        (&json!("2020-02-04T09:00:00.000Z"), &json!("overdue"))
    );
    let summary = shield.summary_with("breach.overdue").await;
    assert_eq!(row(&summary, "events", "event", "breach.overdue")["allowed"], 1);

    let path = format!("/v1/breaches/{}", breach["id"].as_str().unwrap());
    let change = async |body: Value| shield.send(Method::PATCH, &path, body).await;
    let incomplete = change(json!({"closed": true})).await;
    assert_eq!(
        incomplete.json()["missing"],
        json!(["effects", "measures", "authority_notified_at", "persons_notified_at"])
    );
    let late = change(json!({"authority_notified_at": "2020-02-04T09:00:00.001Z"})).await;
    assert_eq!((late.status, &late.json()["field"]), (StatusCode::BAD_REQUEST, &json!("delay_reason")));
    let before = change(json!({"authority_notified_at": "1999-01-01T00:00:00Z"})).await;
    assert_eq!((before.status, &before.json()["field"]), (StatusCode::BAD_REQUEST, &json!("authority_notified_at")));
    let told = json!({"authority_notified_at": "2020-02-04T09:00:00Z", "persons_notified_at": "2020-02-05T00:00:00Z",
        "effects": "none", "measures": "a new disk"});
    let told = change(told).await.json();
    assert_eq!((&told["notification"], &told["missing"]), (&json!("in_time"), &json!([])));
    let closed = change(json!({"closed": true})).await;
    assert_eq!((closed.status, closed.json()["closed_at"].is_string()), (StatusCode::OK, true));
    assert_eq!(change(json!({"risk": "likely"})).await.json()["code"], "breach_closed");
    assert_eq!(shield.get("/v1/breaches").await.json()["breaches"][0]["facts"], MARK);
    shield.serving.terminate();
    let mut folders = vec![folder.path().join("data")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(8).any(|part| part == b"Dr. Quux"), "{}", path.display());
            }
        }
    }
}
