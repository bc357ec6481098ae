//! Nothing that a person is known by stands anywhere in the clear: a run in which everything is done about somebody, and then
//! a look into every byte that is left, on both databases.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use hyper::{Method, StatusCode};
use kiki_store::testing::{TestDb, look};
use serde_json::{Value, json};

use super::search::Needles;
use crate::harness::{Answer, Http, Serving, folder, here, kiki, request};

const EMAIL: &str = "zq7-ann@mail.example";
const PHONE: &str = "+49 1579 2300417";
/// What is said about them, too.
const SAID: &str = "Xylophanes-Street 77";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 77, 99));
const MARKERS: &[&str] = &[EMAIL, "zq7-ann", PHONE, "15792300417", SAID, "127.0.77.99"];

/// All services in a process, a client from an address of its own, and what the process said.
struct Run {
    serving: Serving,
    http: Http,
    said: Arc<Mutex<Vec<u8>>>,
    answers: usize,
}

impl Run {
    /// `variables` are in the environment.
    fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        std::fs::write(folder.join("orders.csv"), orders()).unwrap();
        let fit = ["value", "fit", "orders.csv", "--calibrate-until", "1997-09-30", "--save"];
        let fitted = kiki(folder).args(fit).envs(variables.iter().copied()).output().unwrap();
        assert!(fitted.status.success(), "{}", String::from_utf8_lossy(&fitted.stderr));
        let said = Arc::new(Mutex::new([fitted.stdout, fitted.stderr].concat()));
        let mut command = kiki(folder);
        command.args(["up", "--free-ports"]).envs(variables.iter().copied()).env("KIKI_LOG", "debug,kiki=trace");
        command.stderr(std::fs::File::create(folder.join("stderr")).unwrap());
        let kept = Arc::clone(&said);
        let serving = Serving::start_kept(command, 4, move |line| {
            let mut said = kept.lock().unwrap();
            said.extend(line.as_bytes());
            said.push(b'\n');
        });
        Self { serving, http: Http::from(ADDRESS), said, answers: 0 }
    }

    /// Everything that a caller can name is named after the person.
    async fn call(&mut self, service: &str, method: &str, path: &str, body: Value) -> Answer {
        let url = self.serving.url(service, path);
        let body = Some(&body).filter(|body| !body.is_null());
        let mut asked = request(Method::from_bytes(method.as_bytes()).unwrap(), &url, body);
        self.answers += 1;
        let key = format!("{EMAIL}/{}", self.answers);
        for (name, value) in [("x-request-id", EMAIL), ("idempotency-key", &key), ("user-agent", EMAIL)] {
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        self.http.send(asked).await
    }

    /// As [`Run::call`]; it must be answered with `status`.
    async fn done(&mut self, service: &str, method: &str, path: &str, body: Value, status: StatusCode) -> Value {
        let answer = self.call(service, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.json());
        answer.json()
    }

    async fn shield(&mut self, method: &str, path: &str, body: Value, status: StatusCode) -> Value {
        self.done("shield", method, path, body, status).await
    }

    /// Consents, decisions, what they ask for, and everything that is refused.
    async fn at_shield(&mut self) {
        use StatusCode as S;
        for who in [EMAIL, PHONE] {
            let agreed = json!({"customer_id": who, "purpose": "marketing", "evidence": SAID});
            self.shield("POST", "/v1/consents", agreed, S::CREATED).await;
            let legacy = json!({"customer_id": who, "consent_type": "analytics"});
            self.shield("POST", "/consent/grant", legacy, S::OK).await;
            let signal = json!({"customer_id": who, "signal": "gpc"});
            self.shield("POST", "/v1/consents/signals", signal, S::OK).await;
            let taken_back = json!({"customer_id": who, "purpose": "analytics", "evidence": SAID});
            self.shield("POST", "/v1/consents/revoke", taken_back, S::OK).await;
            let asked = json!({"amount": usd("1"), "customer_id": who, "purpose": "marketing"});
            self.shield("POST", "/v1/authorizations", asked, S::CREATED).await;
            let refused = json!({"amount": usd("1"), "customer_id": who, "purpose": "targeting"});
            self.shield("POST", "/v1/authorizations", refused, S::FORBIDDEN).await;
            let opt_in = json!({"customer_id": who, "purpose": "profiling", "double_opt_in": true});
            self.shield("POST", "/v1/consents", opt_in, S::ACCEPTED).await;
            for kind in ["ACCESS", "RECTIFICATION", "OBJECTION"] {
                let correction = (kind == "RECTIFICATION").then(|| json!({"street": SAID}));
                let asked = json!({"customer_id": who, "request_type": kind, "correction": correction});
                self.shield("POST", "/v1/subject-requests", asked, S::CREATED).await;
            }
            let query = who.replace('+', "%2B").replace(' ', "%20").replace('@', "%40");
            for path in ["/consent/status", "/v1/consents", "/v1/consents/history", "/v1/nothing"] {
                self.call("shield", "GET", &format!("{path}?customer_id={query}"), Value::Null).await;
            }
            self.call("shield", "GET", &format!("/v1/people/{query}"), Value::Null).await;
            let hold = json!({"customer_id": who, "matter": SAID});
            self.shield("POST", "/v1/legal-holds", hold, S::CREATED).await;
            for (path, body) in [
                ("/v1/authorizations", json!({"amount": usd("1"), "payee": who})),
                ("/v1/authorizations", json!({"amount": usd("1"), "category": who})),
                ("/v1/authorizations", json!({"amount": usd("1"), "account": who})),
                ("/v1/authorizations", json!({"amount": who})),
                ("/v1/stops", json!({"account": who})),
                ("/v1/webhooks", json!({"url": "http://127.0.0.1:1/", "description": who})),
                ("/v1/consents", json!({"customer_id": "x", "purpose": who})),
                ("/v1/consents", json!({"customer_id": "x", "purpose": "marketing", "source": who})),
                ("/v1/consents", json!({"customer_id": "x", "purpose": "marketing", "text_version": who})),
            ] {
                let answer = self.call("shield", "POST", path, body.clone()).await;
                assert!(answer.status.is_client_error(), "{path} {body}: {} {}", answer.status, answer.json());
            }
        }
        self.shield("POST", "/v1/webhooks", json!({"url": "http://127.0.0.1:1/"}), S::CREATED).await;
    }

    /// A campaign that reaches them, triggers, the mailbox, predictions, and everything that is refused.
    async fn at_growth(&mut self) {
        use StatusCode as S;
        let template = json!({"subject": "Dear {customer_id}", "body": "{customer_id}: {value}, {probability_alive}"});
        let campaign = json!({
            "name": "Best customers", "audience": {"value_min": 700.0}, "template": template,
            "cost_per_message": usd("0.5"), "budget": usd("10"),
        });
        let id = self.done("engage", "POST", "/campaigns", campaign.clone(), S::CREATED).await["id"].clone();
        let path = format!("/campaigns/{}", id.as_str().unwrap());
        self.done("engage", "POST", &format!("{path}/run"), Value::Null, S::ACCEPTED).await;
        let reached = loop {
            let campaign = self.done("engage", "GET", &path, Value::Null, S::OK).await;
            if campaign["status"] != "running" {
                break campaign["outcomes"].as_array().unwrap().clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        let of_ann = reached.iter().find(|outcome| outcome["customer_id"] == EMAIL);
        assert_eq!(of_ann.map(|outcome| &outcome["state"]), Some(&json!("captured")), "{reached:?}");
        for who in [EMAIL, PHONE] {
            let own = json!({"customer_id": who, "cost_per_message": usd("0.5"),
                "template": {"subject": "Hello {customer_id}", "body": SAID}});
            self.done("engage", "POST", "/trigger", own, S::OK).await;
            let prediction = json!({"customer_id": who});
            self.done("value", "POST", "/v1/predictions", prediction, S::OK).await;
            let order = json!({"order_id": who, "customer_id": who, "ordered_at": "1998-07-01", "amount": "5"});
            self.done("value", "POST", "/v1/orders", json!({"orders": [order]}), S::OK).await;
            let train = format!("/train?calibrate_until=1997-09-30&amount_column={EMAIL}");
            self.done("value", "POST", &train, json!({"customer": who, "date": who, "amount": who}), S::ACCEPTED).await;
            for (field, value) in [("name", who), ("account", who)] {
                let mut named = campaign.clone();
                named[field] = json!(value);
                let answer = self.call("engage", "POST", "/campaigns", named).await;
                assert!(answer.status.is_client_error(), "{field}: {}", answer.json());
            }
        }
        let nobody = json!({"customer_id": format!("no-{EMAIL}"), "campaign_id": id});
        self.call("engage", "POST", "/trigger", nobody).await;
        let mailbox = self.done("engage", "GET", "/sandbox/mailbox", Value::Null, S::OK).await;
        let mails = mailbox["messages"].as_array().unwrap();
        assert!(mails.iter().any(|mail| mail["to"].as_str().unwrap().starts_with("zq7-ann")), "{mailbox}");
        let read = format!("/sandbox/mailbox/{}", mails[0]["id"].as_str().unwrap());
        self.call("engage", "GET", &read, Value::Null).await;
    }

    async fn metrics(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        for service in ["shield", "engage", "value"] {
            all.extend(self.call(service, "GET", "/metrics", Value::Null).await.body);
        }
        all
    }
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

/// The CDNOW sample, in which one of the most valuable customers has an address for a name, and somebody else a number.
fn orders() -> String {
    let text = std::fs::read_to_string(here("../../examples/cdnow/CDNOW_sample.txt")).unwrap();
    let mut csv = "customer,date,amount\n".to_owned();
    for row in text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()) {
        let who = match row[1] {
            "1560" => EMAIL,
            "0004" => PHONE,
            id => id,
        };
        let (year, day) = row[2].split_at(4);
        let (month, day) = day.split_at(2);
        csv.push_str(&format!("{who},{year}-{month}-{day},{}\n", row[4]));
    }
    csv
}

async fn nothing_is_left_in_the_clear(database: Option<&TestDb>) {
    let (folder, needles) = (folder(), Needles::of(MARKERS));
    let data = folder.path().join("data");
    let variables: Vec<_> = database.iter().map(|db| ("DATABASE_URL", db.address())).collect();
    let mut run = Run::start(folder.path(), &variables);
    run.at_shield().await;
    run.at_growth().await;
    let metrics = run.metrics().await;
    assert_eq!(needles.find(&metrics), None, "in the metrics");
    let while_running = needles.in_files(&data);
    assert_eq!(while_running, [""; 0]);
    run.serving.terminate();
    assert_eq!(needles.in_files(&data), [""; 0]);
    let said = run.said.lock().unwrap().clone();
    assert!(said.windows(11).any(|part| part == b"kiki::trace") || said.len() > 10_000, "it says what it does");
    for line in said.split(|byte| *byte == b'\n') {
        assert_eq!(needles.find(line), None, "in the log: {}", String::from_utf8_lossy(line));
    }
    assert_eq!(needles.find(&std::fs::read(folder.path().join("stderr")).unwrap()), None, "in what it complains about");
    let outside = needles.in_files(folder.path());
    assert_eq!(outside.len(), 1, "the search finds the order log, which is the user's: {outside:?}");
    if let Some(db) = database {
        let rows = look::all_rows(&db.store).await.into_bytes();
        assert!(rows.len() > 100_000, "there is something to look through: {} bytes", rows.len());
        assert_eq!(needles.find(&rows), None, "in the tables");
    }
    // The same search finds what does not belong there.
    std::fs::write(data.join("planted"), [b"\0".as_slice(), EMAIL.as_bytes(), b"\0"].concat()).unwrap();
    assert_eq!(needles.in_files(&data).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_an_installation_tells_who_its_people_are() {
    nothing_is_left_in_the_clear(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_of_a_server_tells_who_its_people_are() {
    let db = TestDb::postgres_unmigrated().await;
    nothing_is_left_in_the_clear(Some(&db)).await;
}
