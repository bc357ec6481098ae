//! `kiki audit witness` as logs and monitors meet it, and proofs that its cosignature makes stronger.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use http_body_util::Full;
use hyper::{Method, Request};
use kiki_audit::disk::{self, Disk};
use kiki_audit::witness::{Submission, hash_of_origin};
use kiki_audit::{Checkpoint, Policy, SignedTree};

use crate::harness::{Answer, Http, Serving, fail, folder, kiki, succeed};
use crate::proofs::{copy, decide_in, decided};

const NAME: &str = "witness.example/w1";

fn start(folder: &Path, log: &Path) -> Serving {
    let mut command = kiki(folder);
    let key = log.join("data/keys/log.vkey");
    command.args(["audit", "witness", "--dir", "w", "--name", NAME, "--free-ports", "--follow"]).arg(key);
    Serving::start(command, 1)
}

/// What the log in `folder` would send to a witness that has cosigned `old` entries.
fn submission(folder: &Path, old: u64) -> (Submission, u64) {
    let (disk, audit): (Arc<dyn Disk>, _) = (disk::real(), folder.join("data/audit"));
    let tree = SignedTree::open(disk.as_ref(), &audit).unwrap().unwrap();
    let size = tree.head().size;
    let note = fs::read_to_string(audit.join("log/checkpoint")).unwrap();
    (Submission { old, proof: tree.consistency(old, size).unwrap(), note }, size)
}

/// The key of a witness that has cosigned nothing.
fn other_witness(folder: &Path) -> String {
    let dir = folder.join("other");
    let key = kiki_audit::Witness::open(disk::real(), &dir, "witness.example/w2", &[], || [5; 32].into());
    key.unwrap();
    fs::read_to_string(dir.join("witness.vkey")).unwrap().trim().to_owned()
}

async fn submit(serving: &Serving, body: String) -> Answer {
    let url = serving.url("witness", "/add-checkpoint");
    Http::new().send(Request::builder().method(Method::POST).uri(url).body(Full::from(body)).unwrap()).await
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

#[tokio::test]
async fn a_witness_cosigns_one_history_across_restarts_and_never_two() {
    let (log, witness) = (folder(), folder());
    decide_in(log.path(), 2).await;
    let fork = folder();
    copy(log.path(), fork.path());
    decide_in(log.path(), 3).await;
    decide_in(fork.path(), 4).await;
    let serving = start(witness.path(), log.path());

    let (first, size) = submission(log.path(), 0);
    let answer = submit(&serving, first.to_string()).await;
    assert_eq!(answer.status, 200, "{}", text(&answer));
    assert!(text(&answer).starts_with("— witness.example/w1 "), "{}", text(&answer));
    let monitored = format!("/{}/checkpoint", hash_of_origin("kiki.local/shield"));
    let shown = Http::new().get(&serving.url("witness", &monitored)).await;
    assert_eq!(text(&shown), format!("{}{}", first.note, text(&answer)));
    let unknown = format!("/{}/checkpoint", hash_of_origin("another"));
    assert_eq!(Http::new().get(&serving.url("witness", &unknown)).await.status, 404);

    // Whoever has the files asks the witness; what it cosigned is signed by the log.
    let keys = [log.path().join("data/keys/log.vkey"), witness.path().join("w/witness.vkey")];
    let [log_key, witness_key] = keys.map(|path| fs::read_to_string(path).unwrap().trim().to_owned());
    let at = serving.url("witness", "/");
    let ask = ["audit", "verify", "--witness", &at, "--policy", "policy"];
    let policy = format!("log {log_key}\nwitness one {witness_key}\nquorum one\n");
    fs::write(log.path().join("policy"), policy.replace(&witness_key, &other_witness(witness.path()))).unwrap();
    assert!(fail(log.path(), &ask).contains("too few"));
    for path in [log.path(), fork.path()] {
        fs::write(path.join("policy"), &policy).unwrap();
    }
    let told = succeed(log.path(), &ask);
    assert!(told.contains("consistent with 1 kept"), "{told}");
    succeed(fork.path(), &["audit", "verify"]);
    let complaint = fail(fork.path(), &ask);
    assert!(complaint.contains("two histories"), "{complaint}");

    // Both histories are signed by the log, and begin alike.
    let (forged, _) = submission(fork.path(), size);
    let refused = submit(&serving, forged.to_string()).await;
    assert_eq!(refused.status, 422, "{}", text(&refused));
    serving.terminate();

    let serving = start(witness.path(), log.path());
    let conflict = submit(&serving, first.to_string()).await;
    assert_eq!((conflict.status.as_u16(), text(&conflict)), (409, format!("{size}\n").as_str()));
    assert_eq!(conflict.headers["content-type"], "text/x.tlog.size");
    assert_eq!(submit(&serving, forged.to_string()).await.status, 422);
    assert_eq!(submit(&serving, "old 0\n".to_owned()).await.status, 400);
    assert_eq!(submit(&serving, "x".repeat(1 << 20)).await.status, 413);
    decide_in(log.path(), 1).await;
    let (next, _) = submission(log.path(), size);
    assert_eq!(submit(&serving, next.to_string()).await.status, 200);
    serving.terminate();
}

#[tokio::test]
async fn a_proof_that_a_witness_stands_behind_says_so() {
    let (log, id) = decided(3).await;
    let (witness, strangers) = (folder(), folder());
    let serving = start(witness.path(), log.path());
    let (submission, _) = submission(log.path(), 0);
    let cosignature = submit(&serving, submission.to_string()).await;
    serving.terminate();

    let key = |path: &Path| fs::read_to_string(path).unwrap().trim().to_owned();
    let witness_key = key(&witness.path().join("w/witness.vkey"));
    let log_key = key(&log.path().join("data/keys/log.vkey"));
    let policy = format!("log {log_key}\nwitness one {witness_key}\nquorum one\n");
    let lines = Policy::parse(&policy).unwrap().cosignatures(&submission.note, text(&cosignature)).unwrap();
    fs::write(strangers.path().join("policy"), policy).unwrap();
    let verify = ["audit", "verify", "proof", "one", "--policy", "policy"];

    fs::write(strangers.path().join("one"), succeed(log.path(), &["audit", "prove", &id])).unwrap();
    let complaint = fail(strangers.path(), &verify);
    assert!(complaint.contains("too few"), "{complaint}");
    let complaint = fail(strangers.path(), &["audit", "verify", "proof", "one", "--key", &witness_key]);
    assert!(complaint.contains("the key of a witness"), "{complaint}");

    let witnessed = format!("{}{}", submission.note, lines.concat());
    Checkpoint::keep_witnessed(disk::real().as_ref(), &log.path().join("data/audit"), &witnessed).unwrap();
    decide_in(log.path(), 2).await;
    let proof = succeed(log.path(), &["audit", "prove", &id, "--witnessed"]);
    assert_eq!(succeed(log.path(), &["audit", "prove", &id]), proof, "the better one that covers it");
    fs::write(strangers.path().join("one"), proof).unwrap();
    let proven = succeed(strangers.path(), &verify);
    assert!(proven.contains("cosigned by witness.example/w1 at 20"), "{proven}");
}

#[tokio::test]
async fn a_witness_does_not_listen_to_strangers_unless_told() {
    let (log, _) = decided(1).await;
    let key = log.path().join("data/keys/log.vkey");
    let arguments = ["audit", "witness", "--dir", "w", "--name", NAME, "--follow", key.to_str().unwrap()];
    let complaint = fail(log.path(), &[&arguments[..], &["--host", "0.0.0.0", "--port", "0"]].concat());
    assert!(complaint.contains("--trust network"), "{complaint}");
}
