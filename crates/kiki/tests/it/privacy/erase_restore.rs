//! Who was erased stays erased: whatever is put back, and whoever has an old backup.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Http, PATIENCE, Serving, folder, here, kiki, request, succeed};
use crate::proofs::copy;

/// Customers who agree to be written to; one of them asks to be erased.
const AGREEING: usize = 6;
/// Proofs that are kept from before.
const PROOFS: usize = 20;
/// Beyond every position that an outbox of this test draws.
const BEYOND: &str = "1000000";

/// KIKI with all its services over one data folder.
struct World {
    folder: tempfile::TempDir,
    http: Http,
}

/// The services while they run.
struct Running<'a> {
    world: &'a World,
    serving: Serving,
}

impl World {
    /// With a model of customers whose names are like nothing else.
    fn new() -> Self {
        let folder = folder();
        let sample = fs::read_to_string(here("../../examples/cdnow/CDNOW_sample.txt")).unwrap();
        let mut orders = String::from("customer,date,amount\n");
        for line in sample.lines() {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [customer, _, date, _, amount] = fields[..] else { continue };
            let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
            orders.push_str(&format!("zq7-{customer},{year}-{month}-{day},{amount}\n"));
        }
        fs::write(folder.path().join("orders.csv"), orders).unwrap();
        succeed(folder.path(), &["value", "fit", "orders.csv", "--calibrate-until", "1997-09-30", "--save"]);
        Self { folder, http: Http::new() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn start(&self) -> Running<'_> {
        let mut command = kiki(self.folder.path());
        command.args(["up", "--free-ports"]);
        Running { world: self, serving: Serving::start(command, 4) }
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        succeed(self.folder.path(), arguments)
    }

    /// A copy of the data folder but for the keys.
    fn back_up(&self) -> tempfile::TempDir {
        let backup = folder();
        copy(&self.data(), backup.path());
        fs::remove_dir_all(backup.path().join("keys")).unwrap();
        backup
    }

    /// Puts these parts of the backup in the place of what is there.
    fn put_back(&self, backup: &Path, parts: &[&str]) {
        for part in parts {
            let (from, to) = (backup.join(part), self.data().join(part));
            if to.is_dir() {
                fs::remove_dir_all(&to).unwrap();
            } else if to.exists() {
                fs::remove_file(&to).unwrap();
            }
            if from.is_dir() {
                fs::create_dir_all(&to).unwrap();
                copy(&from, &to);
            } else if from.exists() {
                fs::copy(&from, &to).unwrap();
            }
        }
    }

    /// Every file below the data folder that holds `text`.
    fn holding(&self, text: &str) -> Vec<PathBuf> {
        let finder = memchr::memmem::Finder::new(text);
        let holds = |path: &PathBuf| finder.find(&fs::read(path).unwrap()).is_some();
        files(&self.data()).into_iter().filter(holds).collect()
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// Messages in the mailbox below a data folder.
fn mails(data: &Path) -> usize {
    files(&data.join("sandbox/mailbox")).len()
}

impl Running<'_> {
    async fn get(&self, service: &str, path: &str) -> Value {
        let answer = self.world.http.get(&self.serving.url(service, path)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.json());
        answer.json()
    }

    async fn post(&self, service: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = self.world.http.send(request(Method::POST, &self.serving.url(service, path), body)).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.json());
        answer.json()
    }

    /// What `ask` answers, once it is what is waited for.
    async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Result<T, Value>) -> T {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match ask().await {
                Ok(found) => return found,
                Err(seen) if tokio::time::Instant::now() > deadline => panic!("{what} does not come: {seen}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn agree(&self, customer: &str) {
        let body = json!({"customer_id": customer, "consent_type": "marketing"});
        self.post("shield", "/consent/grant", Some(&body)).await;
    }

    /// Purposes that the customer agrees to.
    async fn standing(&self, customer: &str) -> Value {
        self.get("shield", &format!("/v1/consents?customer_id={customer}")).await["consents"].clone()
    }

    async fn campaign(&self) -> String {
        let campaign = json!({
            "name": "Best customers", "audience": {"value_min": 500.0},
            "template": {"subject": "Thank you", "body": "Dear {customer_id}, thank you."},
            "cost_per_message": {"amount": "0.50", "currency": "USD"}, "budget": {"amount": "100.00", "currency": "USD"},
        });
        let created = self.post("engage", "/campaigns", Some(&campaign)).await;
        format!("/campaigns/{}", created["id"].as_str().unwrap())
    }

    /// Runs the campaign to its end. Its messages.
    async fn run(&self, path: &str) -> Vec<Value> {
        self.post("engage", &format!("{path}/run"), None).await;
        self.until("the end of the run", async || {
            let campaign = self.get("engage", path).await;
            if campaign["status"] == "running" { Err(campaign) } else { Ok(()) }
        })
        .await;
        self.outcomes(path).await
    }

    async fn outcomes(&self, path: &str) -> Vec<Value> {
        self.get("engage", path).await["outcomes"].as_array().unwrap().clone()
    }

    /// Asks for `kind` in the name of `customer`, proves it by the code that was mailed, and waits for the end.
    async fn request(&self, kind: &str, customer: &str) {
        let body = json!({"customer_id": customer, "request_type": kind});
        let made = self.post("shield", "/v1/subject-requests", Some(&body)).await;
        let path = format!("/v1/subject-requests/{}", made["request_id"].as_str().unwrap());
        self.post("shield", &format!("{path}/code"), None).await;
        let code = self.until("the code", async || self.code(customer).await).await;
        self.post("shield", &format!("{path}/verify"), Some(&json!({"code": code}))).await;
        self.until("the end of the request", async || {
            let request = self.get("shield", &path).await;
            if request["status"] == "completed" { Ok(()) } else { Err(request) }
        })
        .await;
    }

    /// The code in the mailbox that was sent to `customer`.
    async fn code(&self, customer: &str) -> Result<String, Value> {
        let mails = self.get("engage", "/sandbox/mailbox").await;
        for mail in mails["messages"].as_array().unwrap() {
            let id = mail["id"].as_str().unwrap();
            let text = self.world.http.get(&self.serving.url("engage", &format!("/sandbox/mailbox/{id}"))).await.body;
            let text = String::from_utf8_lossy(&text).into_owned();
            let digits = text.split_once("Your code is ").map(|(_, rest)| rest.chars().take(6).collect::<String>());
            if let Some(digits) = digits.filter(|_| text.contains(customer)) {
                return Ok(digits);
            }
        }
        Err(mails)
    }

    /// Nobody is known by this name, and no message says whom it was for.
    async fn knows_nobody(&self, customer: &str, campaign: &str) {
        assert_eq!(self.standing(customer).await, json!([]), "{customer} agrees to nothing");
        let outcomes = self.outcomes(campaign).await;
        assert!(outcomes.iter().all(|outcome| outcome["customer_id"] != customer), "{outcomes:?}");
        assert!(outcomes.iter().any(|outcome| outcome["customer_id"].is_null()), "the message itself is counted");
        let mails = self.get("engage", "/sandbox/mailbox").await.to_string();
        assert!(!mails.contains(customer), "{mails}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_erased_stays_erased_whatever_is_put_back() {
    let world = World::new();
    let running = world.start();
    let campaign = running.campaign().await;
    let audience = running.run(&campaign).await;
    let customers: Vec<_> =
        audience.iter().map(|outcome| outcome["customer_id"].as_str().unwrap().to_owned()).take(AGREEING).collect();
    let (ann, bob) = (customers[0].as_str(), customers[1].as_str());
    for customer in &customers {
        running.agree(customer).await;
    }
    let sent = running.run(&campaign).await;
    assert!(sent.iter().any(|outcome| outcome["customer_id"] == ann && outcome["state"] == "captured"), "{sent:?}");
    running.request("ACCESS", bob).await;
    running.serving.terminate();
    let backup = world.back_up();
    let kept = folder();
    fs::copy(world.data().join("audit/log/checkpoint"), kept.path().join("checkpoint")).unwrap();
    fs::copy(world.data().join("keys/log.vkey"), kept.path().join("log.vkey")).unwrap();
    for entry in 0..PROOFS {
        let proof = world.succeed(&["audit", "prove", &entry.to_string()]);
        fs::write(kept.path().join(entry.to_string()), proof).unwrap();
    }

    let running = world.start();
    running.request("DELETION", ann).await;
    running.knows_nobody(ann, &campaign).await;
    assert_ne!(running.standing(bob).await, json!([]));
    running.serving.terminate();
    assert_eq!(world.holding(ann), Vec::<PathBuf>::new(), "in no file");

    // The database and the mailbox of before.
    let database = ["kiki.db", "kiki.db-wal", "kiki.db-shm", "sandbox"];
    world.put_back(backup.path(), &database);
    world.succeed(&["audit", "outbox", "advance", "--beyond", BEYOND]);
    let running = world.start();
    running.knows_nobody(ann, &campaign).await;
    assert_ne!(running.standing(bob).await, json!([]), "nobody else was erased");
    running.serving.terminate();
    assert_eq!(mails(&world.data()), mails(backup.path()) - 1, "her message is gone, not only unreadable");
    assert_eq!(world.holding(ann), Vec::<PathBuf>::new(), "in no file");
    let verified = kept.path().join("checkpoint");
    world.succeed(&["audit", "verify", "--kept", verified.to_str().unwrap()]);
    let key = kept.path().join("log.vkey");
    let key = fs::read_to_string(key).unwrap();
    for entry in 0..PROOFS {
        succeed(kept.path(), &["audit", "verify", "proof", &entry.to_string(), "--key", key.trim_end()]);
    }

    // Everything of before but the keys: the register is all that knows.
    world.put_back(backup.path(), &database);
    world.put_back(backup.path(), &["audit", "spend"]);
    let running = world.start();
    running.knows_nobody(ann, &campaign).await;
    assert_ne!(running.standing(bob).await, json!([]));
    running.serving.terminate();
    assert_eq!(mails(&world.data()), mails(backup.path()) - 1);
    world.succeed(&["audit", "verify"]);

    // Two epochs later the backup tells nothing of anybody.
    world.succeed(&["keys", "rotate", "--now"]);
    world.succeed(&["keys", "rotate", "--now"]);
    world.succeed(&["keys", "destroy", "--epoch", "1"]);
    let running = world.start();
    assert_ne!(running.standing(bob).await, json!([]), "the living are in a later epoch");
    running.serving.terminate();
    world.put_back(backup.path(), &database);
    let status = world.succeed(&["keys", "status"]);
    assert!(status.contains("epoch 3") && status.contains(": 0 people") && !status.contains("epoch 1,"), "{status}");
    let running = world.start();
    assert_eq!(running.standing(bob).await, json!([]));
    running.serving.terminate();
}
