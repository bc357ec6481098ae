//! A shield that has its checkpoints cosigned by a witness, as both are run.

use std::fs;
use std::path::{Path, PathBuf};

use hyper::StatusCode;
use kiki_audit::{Policy, Proof};
use serde_json::json;

use crate::harness::{Answer, Http, PATIENCE, Serving, folder, kiki};
use crate::proofs::{copy, decide_in};

const NAME: &str = "witness.example/w1";

fn witness(folder: &Path, log: &Path) -> Serving {
    let mut command = kiki(folder);
    command.args(["audit", "witness", "--dir", "w", "--name", NAME, "--free-ports", "--follow"]);
    command.arg(log.join("data/keys/log.vkey"));
    Serving::start(command, 1)
}

fn key(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Writes the policy that wants this witness, and starts a shield with it.
fn shield(log: &Path, witness: &Path, url: &str) -> (Serving, Policy) {
    let (of_log, of_witness) = (key(log.join("data/keys/log.vkey")), key(witness.join("w/witness.vkey")));
    let text = format!("log {of_log}\nwitness one {of_witness} {url}\nquorum one\n");
    fs::write(log.join("policy"), &text).unwrap();
    let path = log.join("policy");
    let variables = [("KIKI_LOG_POLICY", path.to_str().unwrap()), ("MAX_BURST_BUDGET", "100000")];
    (Serving::shield(log, &variables), Policy::parse(&text).unwrap())
}

/// Asks until the answer is as wanted.
async fn until(url: &str, is_wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = Http::new().get(url).await;
        if is_wanted(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{url}: {} {:?}", answer.status, answer.body);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_witness_stands_behind_what_is_decided_and_notices_a_log_that_was_put_back() {
    let (log, strangers, backup) = (folder(), folder(), folder());
    decide_in(log.path(), 1).await;
    let asked = witness(strangers.path(), log.path());
    copy(log.path(), backup.path());
    let (serving, policy) = shield(log.path(), strangers.path(), &asked.url("witness", ""));
    let witnessed = serving.url("shield", "/v1/audit/log/checkpoint?witnessed=true");
    let first = text(&until(&witnessed, |answer| answer.status == StatusCode::OK).await);
    let trusted = policy.check(&first).unwrap();
    assert_eq!(trusted.cosigned_by[0].0, NAME);

    let ask = json!({"account": "ads", "amount": {"amount": "1", "currency": "USD"}});
    let answer = Http::new().post(&serving.url("shield", "/v1/authorizations"), &ask).await.json();
    let index = answer["receipt"]["index"].as_u64().unwrap();
    let covers = |answer: &Answer| policy.check(&text(answer)).is_ok_and(|trusted| trusted.checkpoint.size > index);
    until(&witnessed, covers).await;
    let proof = serving.url("shield", &format!("/v1/authorizations/{}/proof", answer["id"].as_str().unwrap()));
    let proof: Proof = text(&Http::new().get(&proof).await).parse().unwrap();
    let proven = proof.verify(&policy).unwrap();
    assert_eq!((proven.index, proven.cosigned_by[0].0.as_str()), (index, NAME));
    let health = Http::new().get(&serving.url("shield", "/health")).await.json();
    assert_eq!(health["status"], "healthy", "{health}");
    serving.terminate();

    // Back to the backup: consistent in itself, and shorter than what the witness has seen.
    fs::remove_dir_all(log.path().join("data")).unwrap();
    copy(backup.path(), log.path());
    let (serving, _) = shield(log.path(), strangers.path(), &asked.url("witness", ""));
    let is_refuted = |answer: &Answer| text(answer).contains("outcome=\"refuted\"");
    until(&serving.url("shield", "/metrics"), is_refuted).await;
    until(&serving.url("shield", "/health"), |answer| answer.json()["status"] == "degraded").await;
    assert_eq!(Http::new().get(&witnessed_of(&serving)).await.status, StatusCode::NOT_FOUND, "nobody stands behind it");
    serving.terminate();
    asked.terminate();
}

fn witnessed_of(serving: &Serving) -> String {
    serving.url("shield", "/v1/audit/log/checkpoint?witnessed=true")
}

#[tokio::test]
async fn a_policy_that_cannot_be_kept_stops_the_start() {
    let log = folder();
    decide_in(log.path(), 1).await;
    let own = key(log.path().join("data/keys/log.vkey"));
    let other = own.replacen("kiki.local/shield", "kiki.local/other", 1);
    for policy in ["quorum".to_owned(), format!("log {other}\nquorum none\n"), format!("log {own}\nquorum none\n")] {
        fs::write(log.path().join("policy"), &policy).unwrap();
        let mut command = kiki(log.path());
        command.args(["serve", "shield", "--free-ports"]).env("KIKI_LOG_POLICY", "policy");
        let output = command.output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && complaint.contains("KIKI_LOG_POLICY"), "{policy}: {complaint}");
    }
}
