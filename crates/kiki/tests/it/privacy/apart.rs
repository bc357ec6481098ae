//! Services apart: one with a database of its own is asked about people, and may be away.

use std::path::Path;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::requests::World;
use crate::harness::{Http, PATIENCE, Serving, folder, kiki, succeed};

/// The files of a database.
const DATABASE: [&str; 3] = ["kiki.db", "kiki.db-wal", "kiki.db-shm"];
/// Beyond every position that an outbox of this test draws.
const BEYOND: &str = "1000000";

/// A value service over `folder`, which knows the customers of the sample.
fn value(folder: &Path) -> Serving {
    let mut command = kiki(folder);
    command.args(["serve", "value", "--free-ports"]);
    Serving::start(command, 2)
}

/// Shield over `folder`, with the service at `peer`.
fn shield(folder: &Path, peer: &str) -> World {
    let mut command = kiki(folder);
    command.args(["serve", "shield", "--free-ports"]).env("KIKI_PRIVACY_PEERS", format!("http://{peer}"));
    World { serving: Serving::start(command, 1), http: Http::new() }
}

/// What the service at `peer` did for a request.
fn task(seen: &Value, peer: &str) -> Value {
    let tasks = seen["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["store"] == peer).cloned().unwrap_or_default()
}

impl World {
    /// Opens a deletion and vouches for it. Its path.
    async fn erase(&self, customer: &str) -> String {
        self.ask_and_vouch(customer, "DELETION").await
    }

    /// Opens a request and vouches for it. Its path.
    async fn ask_and_vouch(&self, customer: &str, kind: &str) -> String {
        let asked = json!({"customer_id": customer, "request_type": kind, "notify": false});
        let made = self.post("/v1/subject-requests", asked).await;
        let path = format!("/v1/subject-requests/{}", made["request_id"].as_str().unwrap());
        self.post(&format!("{path}/vouch"), json!({})).await;
        path
    }
}

/// Puts the files of the database in `from` in the place of those in `to`.
fn copy_database(from: &Path, to: &Path) {
    for file in DATABASE {
        let _ = std::fs::remove_file(to.join(file));
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

#[tokio::test]
async fn it_is_asked_and_named_while_it_is_away() {
    let (here, there) = (folder(), folder());
    crate::path::fit(there.path(), "--save");
    let value = value(there.path());
    let peer = value.address("value").to_string();
    let world = shield(here.path(), &peer);
    let known = async |customer: &str| {
        let asked = json!({"customer_id": customer});
        world.http.post(&value.url("value", "/v1/predictions"), &asked).await.status
    };
    assert_eq!(known("0001").await, StatusCode::OK);
    let path = world.erase("0001").await;
    let seen = world.until(&path, |seen| seen["status"] == "completed").await;
    assert!(task(&seen, &peer)["rows"].as_i64().unwrap() > 0, "{seen}");
    assert_eq!((known("0001").await, known("0002").await), (StatusCode::NOT_FOUND, StatusCode::OK));

    drop(value);
    let path = world.erase("0002").await;
    let seen = world.until(&path, |seen| task(seen, &peer)["state"] == "failed").await;
    assert_eq!(
        (&task(&seen, &peer)["error"], &seen["status"]),
        (&json!("unavailable"), &json!("in_progress")),
        "{seen}"
    );
    let destroy = format!("{path}/destroy-key");
    let refused = world.http.post(&world.serving.url("shield", &destroy), &json!({})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::CONFLICT, &json!("name_needed")));
    assert_eq!(refused.json()["stores"], json!([peer]));
    world.post(&format!("{destroy}?by_hand=true"), json!({})).await;
    let seen = world.until(&path, |seen| seen["status"] == "completed").await;
    assert_eq!((&seen["outcome"], &task(&seen, &peer)["error"]), (&json!("part"), &json!("by_hand")), "{seen}");
}

/// They objected and agree again, which they say to shield alone.
#[tokio::test]
async fn it_hears_that_an_objection_was_taken_back() {
    let (here, there) = (folder(), folder());
    crate::path::fit(there.path(), "--save");
    let value = value(there.path());
    let world = shield(here.path(), &value.address("value").to_string());
    let predicted = async || {
        let asked = json!({"customer_id": "0001"});
        world.http.post(&value.url("value", "/v1/predictions"), &asked).await.status
    };
    let path = world.ask_and_vouch("0001", "OBJECTION").await;
    world.until(&path, |seen| seen["status"] == "completed").await;
    assert_eq!(predicted().await, StatusCode::NOT_FOUND);
    let again = json!({"customer_id": "0001", "purpose": "profiling", "lift": true, "evidence": "form 7"});
    world.post("/v1/consents", again).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while predicted().await != StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "it goes on leaving them out");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// The log knows who objected, and a database that was put back does not.
#[tokio::test]
async fn who_objected_is_left_out_whatever_database_is_put_back() {
    let (here, backup) = (folder(), folder());
    let data = here.path().join("data");
    crate::path::fit(here.path(), "--save");
    let up = || {
        let mut command = kiki(here.path());
        command.args(["up", "--free-ports"]);
        World { serving: Serving::start(command, 4), http: Http::new() }
    };
    let predicted = async |world: &World| {
        let asked = json!({"customer_id": "0001"});
        world.http.post(&world.serving.url("value", "/v1/predictions"), &asked).await.status
    };
    let world = up();
    assert_eq!(predicted(&world).await, StatusCode::OK);
    world.serving.terminate();
    copy_database(&data, backup.path());
    let world = up();
    let path = world.ask_and_vouch("0001", "OBJECTION").await;
    world.until(&path, |seen| seen["status"] == "completed").await;
    assert_eq!(predicted(&world).await, StatusCode::NOT_FOUND);
    world.serving.terminate();

    copy_database(backup.path(), &data);
    succeed(here.path(), &["audit", "outbox", "advance", "--beyond", BEYOND]);
    let world = up();
    assert_eq!(predicted(&world).await, StatusCode::NOT_FOUND, "before anything was asked");
    let standing = world.get("shield", "/v1/consents?customer_id=0001").await;
    assert_eq!(standing["bars"], json!(["objected"]));
}

#[tokio::test]
async fn shield_starts_with_a_database_that_was_put_back_while_it_is_away() {
    let (here, there, backup) = (folder(), folder(), folder());
    let data = here.path().join("data");
    let value = value(there.path());
    let peer = value.address("value").to_string();
    let world = shield(here.path(), &peer);
    world.post("/v1/consents", json!({"customer_id": "ann", "purpose": "marketing"})).await;
    world.serving.terminate();
    copy_database(&data, backup.path());
    let world = shield(here.path(), &peer);
    let path = world.erase("ann").await;
    world.until(&path, |seen| seen["status"] == "completed").await;
    world.serving.terminate();
    drop(value);

    copy_database(backup.path(), &data);
    succeed(here.path(), &["audit", "outbox", "advance", "--beyond", BEYOND]);
    let world = shield(here.path(), &peer);
    let consents = world.get("shield", "/v1/consents?customer_id=ann").await;
    assert_eq!(consents["consents"], json!([]), "she was erased again");
}
