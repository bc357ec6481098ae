//! The whole path: an order log in, governed messages out; in one process and in three.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use hyper::{Method, StatusCode};
use mail_parser::MessageParser;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Serving, folder, here, kiki, request, succeed};

fn sample() -> String {
    here("../../examples/cdnow/CDNOW_sample.txt").to_str().unwrap().to_owned()
}

/// Fits the order log that ships with KIKI.
pub(crate) fn fit(folder: &Path, flag: &str) -> String {
    succeed(folder, &["value", "fit", &sample(), "--calibrate-until", "1997-09-30", flag])
}

#[test]
fn the_demo_shows_every_kind_of_refusal_and_verifies_its_log() {
    let folder = folder();
    let shown = succeed(folder.path(), &["demo"]);
    for part in
        ["2,357", "consented", "at risk", "value at stake", "budget", "consent", "gift-each", "burst", "log verified"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let data = folder.path().join("data/demo/run-1");
    succeed(folder.path(), &["audit", "verify", "--data", data.to_str().unwrap()]);
    let mail = std::fs::read_dir(data.join("sandbox/mailbox/default")).unwrap().count();
    assert!(shown.contains(&format!("{mail} in the mailbox, nobody twice")), "{mail}: {shown}");
}

#[test]
fn the_published_fit_of_the_cdnow_sample_comes_out() {
    let folder = folder();
    let report: Value = serde_json::from_str(&fit(folder.path(), "--json")).unwrap();
    let digits = |model: &str, names: &[&str], places: usize| -> Vec<String> {
        names.iter().map(|name| format!("{:.places$}", report[model]["model"][name].as_f64().unwrap())).collect()
    };
    assert_eq!(digits("bgnbd", &["r", "alpha", "a", "b"], 3), ["0.243", "4.414", "0.793", "2.426"]);
    assert_eq!(format!("{:.1}", report["bgnbd"]["log_likelihood"].as_f64().unwrap()), "-9582.4");
    assert_eq!(digits("gamma_gamma", &["p", "q", "v"], 2), ["6.25", "3.74", "15.44"]);
}

#[test]
fn a_hold_out_report_is_a_page_whose_figures_are_in_the_json() {
    let folder = folder();
    let (file, log) = (folder.path().join("report.html"), sample());
    let arguments = ["value", "fit", &log, "--calibrate-until", "1997-09-30", "--model", "pareto-nbd", "--json"];
    let report = ["--report", file.to_str().unwrap()];
    let report: Value = serde_json::from_str(&succeed(folder.path(), &[&arguments[..], &report].concat())).unwrap();
    let correlation = report["hold_out"]["purchases"][0]["correlation"].as_f64().unwrap();
    assert_eq!(format!("{correlation:.3}"), "0.630", "as published");
    let page = std::fs::read_to_string(file).unwrap();
    for figure in [">4,339<", ">0.630<", "Pareto/NBD", report["data_sha256"].as_str().unwrap()] {
        assert!(page.contains(figure), "{figure}");
    }
    let too_late = ["value", "fit", &log, "--calibrate-until", "1998-06-30", "--report", "none.html"];
    assert!(crate::harness::fail(folder.path(), &too_late).contains("no order after the last day that counts"));
    let future = ["value", "fit", &log, "--calibrate-until", "9999-12-31"];
    assert!(crate::harness::fail(folder.path(), &future).contains("is in the future"));
}

#[test]
fn an_order_log_with_bad_rows_names_their_lines() {
    let folder = folder();
    let log = "customer,date,amount\na,2020-01-01,5\nb,yesterday,5\nc,2020-01-03,NaN\n,2020-01-03,1\na,2020-02-01,5\n";
    std::fs::write(folder.path().join("orders.csv"), log).unwrap();
    let arguments = ["value", "fit", "orders.csv", "--calibrate-until", "2020-03-01", "--save"];
    let complaint = crate::harness::fail(folder.path(), &arguments);
    for part in ["line 3", "line 4", "line 5"] {
        assert!(complaint.contains(part), "{part}: {complaint}");
    }
    assert!(!folder.path().join("data/kiki.db").exists(), "nothing is recorded");
    let missing = crate::harness::fail(folder.path(), &["value", "fit", "none.csv", "--calibrate-until", "2020-03-01"]);
    assert!(missing.contains("none.csv"), "{missing}");
}

/// A port that was free a moment ago.
fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

/// Shield, value and engage, each a process with a data folder of its own.
struct Three {
    folders: [tempfile::TempDir; 3],
    shield_port: String,
    shield: Option<Serving>,
    _value: Serving,
    engage: Serving,
    http: Http,
}

impl Three {
    fn start() -> Self {
        let folders = [folder(), folder(), folder()];
        let shield_port = free_port();
        let shield = Self::shield(folders[0].path(), &shield_port);
        fit(folders[1].path(), "--save");
        let mut command = kiki(folders[1].path());
        let shield_url = format!("http://localhost:{shield_port}/check");
        command.args(["serve", "value", "--free-ports"]).env("SHIELD_URL", &shield_url);
        let value = Serving::start(command, 2);
        let mut command = kiki(folders[2].path());
        command.args(["serve", "engage", "--free-ports"]).env("SHIELD_URL", &shield_url);
        command.env("LTV_GRPC_ADDR", value.address("value").to_string());
        let engage = Serving::start(command, 1);
        Self { folders, shield_port, shield: Some(shield), _value: value, engage, http: Http::new() }
    }

    fn shield(folder: &Path, port: &str) -> Serving {
        let mut command = kiki(folder);
        command.args(["serve", "shield", "--port", port]).env("WINDOW_SECONDS", "3600");
        Serving::start(command, 1)
    }

    async fn engage(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.http.send(request(method, &self.engage.url("engage", path), body)).await
    }

    async fn consent(&self, verb: &str, customer: &str) {
        let url = format!("http://localhost:{}/consent/{verb}", self.shield_port);
        let body = json!({"customer_id": customer, "consent_type": "marketing"});
        assert_eq!(self.http.post(&url, &body).await.status, StatusCode::OK);
    }

    /// Creates a campaign for the few most valuable customers; its path.
    async fn campaign(&self, name: &str) -> String {
        let campaign = json!({
            "name": name, "audience": {"value_min": 700.0},
            "template": {"subject": "Thank you", "body": "Dear {customer_id}, thank you."},
            "cost_per_message": {"amount": "0.50", "currency": "USD"}, "budget": {"amount": "1.00", "currency": "USD"},
        });
        let created = self.engage(Method::POST, "/campaigns", Some(&campaign)).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.json());
        format!("/campaigns/{}", created.json()["id"].as_str().unwrap())
    }

    /// Runs the campaign at `path`; how it stands in the end.
    async fn run(&self, path: &str) -> Value {
        let started = self.engage(Method::POST, &format!("{path}/run"), None).await;
        assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.json());
        for _ in 0..600 {
            let campaign = self.engage(Method::GET, path, None).await.json();
            if campaign["status"] != "running" {
                return campaign;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the run does not end");
    }

    async fn mailbox(&self) -> Vec<Value> {
        self.engage(Method::GET, "/sandbox/mailbox", None).await.json()["messages"].as_array().unwrap().clone()
    }
}

fn customers(campaign: &Value, state: &str) -> Vec<String> {
    let outcomes = campaign["outcomes"].as_array().unwrap().iter();
    outcomes
        .filter(|outcome| outcome["state"] == state)
        .map(|outcome| outcome["customer_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_sent_as_consent_and_budget_allow_and_nobody_is_written_to_twice() {
    let three = Three::start();
    let path = three.campaign("Best customers").await;
    let nobody = three.run(&path).await;
    let audience = customers(&nobody, "refused");
    assert!(audience.len() >= 4, "{nobody}");
    assert_eq!(nobody["reasons"]["consent"], audience.len(), "without consent nobody is written to");
    assert!(three.mailbox().await.is_empty());

    for customer in &audience[..3] {
        three.consent("grant", customer).await;
    }
    let some = three.run(&path).await;
    let paid = customers(&some, "captured");
    assert!(
        paid.len() == 2 && paid.iter().all(|customer| audience[..3].contains(customer)),
        "the budget is that of two"
    );
    let left = audience[..3].iter().find(|customer| !paid.contains(customer)).unwrap();
    let third = some["outcomes"].as_array().unwrap().iter().find(|outcome| outcome["customer_id"] == **left).unwrap();
    assert!(third["reasons"][0].as_str().unwrap().starts_with("campaign"), "{third}");
    assert_eq!((&some["spent"]["amount"], three.mailbox().await.len()), (&json!("1.00"), 2));
    three.run(&path).await;
    let mails = three.mailbox().await;
    assert_eq!(mails.len(), 2, "a rerun sends nothing twice");

    let id = mails[0]["id"].as_str().unwrap();
    let mail = three.engage(Method::GET, &format!("/sandbox/mailbox/{id}"), None).await;
    let parsed = MessageParser::default().parse(&mail.body[..]).unwrap();
    assert_eq!(
        (parsed.subject(), mail.headers["content-type"].to_str().unwrap()),
        (Some("Thank you"), "message/rfc822")
    );

    // Engage's own audit entries arrive in the log through its outbox.
    let view = three.folders[0].path().join("data/audit/shield_audit_gdpr.csv");
    let (mut text, mut looks) = (String::new(), 0);
    while text.matches(",message.send,").count() < 2 || !text.contains(",campaign.create,") {
        looks += 1;
        assert!(looks < 600, "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        text = std::fs::read_to_string(&view).unwrap();
    }
    succeed(three.folders[0].path(), &["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_shield_nothing_is_sent_and_it_is_said_so() {
    let mut three = Three::start();
    let path = three.campaign("Best customers").await;
    let audience = customers(&three.run(&path).await, "refused");
    three.consent("grant", &audience[0]).await;
    three.shield.take();

    let blocked = three.run(&path).await;
    assert_eq!(blocked["status"], "shield_unavailable");
    let message = json!({
        "customer_id": audience[0], "cost_per_message": {"amount": "0.50", "currency": "USD"},
        "template": {"subject": "Hello", "body": "Hello."},
    });
    let trigger = three.engage(Method::POST, "/trigger", Some(&message)).await;
    assert_eq!(trigger.status, StatusCode::SERVICE_UNAVAILABLE, "{}", trigger.json());
    assert!(three.mailbox().await.is_empty());
    let health = three.engage(Method::GET, "/health", None).await;
    assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &json!("degraded")));

    three.shield = Some(Three::shield(three.folders[0].path(), &three.shield_port));
    let sent = three.run(&path).await;
    assert_eq!((&sent["status"], customers(&sent, "captured")), (&json!("completed"), vec![audience[0].clone()]));
    assert_eq!(three.mailbox().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_services_run_in_one_process_and_end_in_order() {
    let folder = folder();
    let mut command = kiki(folder.path());
    command.args(["up", "--free-ports"]);
    let serving = Serving::start(command, 4);
    let http = Http::new();
    for service in ["shield", "engage", "value"] {
        let health = http.get(&serving.url(service, "/health")).await;
        assert_eq!((health.status, &health.json()["status"]), (StatusCode::OK, &json!("healthy")), "{service}");
        let metrics = http.get(&serving.url(service, "/metrics")).await;
        assert!(String::from_utf8_lossy(&metrics.body).contains("kiki_build_info"), "{service}");
    }
    let none = http.get(&serving.url("value", "/v1/models/current")).await;
    assert!(
        none.status.is_client_error() && none.json()["detail"].as_str().unwrap().contains("kiki value fit"),
        "{none:?}"
    );
    serving.terminate();
    succeed(folder.path(), &["audit", "verify"]);
}

#[test]
fn a_signal_that_comes_as_soon_as_it_listens_ends_it_in_order() {
    let folder = folder();
    for _ in 0..20 {
        Serving::shield(folder.path(), &[]).terminate();
    }
    succeed(folder.path(), &["audit", "verify"]);
}
