//! A store that fails, and a process that is killed, in the middle of many deletions.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use kiki_audit::Reader;
use serde_json::{Value, json};

use super::requests::World;
use crate::harness::{PATIENCE, folder, succeed};

/// People whose erasure is asked for.
const PEOPLE: usize = 2_000;

/// Handles that the log below `data` tells are erased, as often as it does.
pub(super) fn erased(data: &Path) -> Vec<String> {
    let audit = data.join("audit");
    let mut reader = Reader::open(&audit, 0, kiki_audit::reader::entries(&audit).unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        let event = record.entry().unwrap().event;
        found.extend((event.event_type == "subject.erase").then_some(event.resource));
    }
    found
}

/// Opens a deletion for each of `people` customers and vouches for it; nobody is written to. Returns the ids.
pub(super) async fn ask_for_all(world: &World, people: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for first in (0..people).step_by(1_000) {
        let one = |n| json!({"customer_id": format!("customer-{n}"), "request_type": "DELETION", "notify": false});
        let requests: Vec<_> = (first..people.min(first + 1_000)).map(one).collect();
        let made = world.post("/v1/subject-requests/bulk", json!({"requests": requests})).await;
        world.post("/v1/subject-requests/vouch", json!({"request_ids": made["request_ids"]})).await;
        ids.extend(made["request_ids"].as_array().unwrap().iter().cloned());
    }
    ids
}

/// Whether a request of this state is left.
pub(super) async fn any(world: &World, state: &str) -> bool {
    let page = world.get("shield", &format!("/v1/subject-requests?state={state}&limit=1")).await;
    page["requests"] != json!([])
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + 3 * PATIENCE;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_was_begun_is_ended_after_a_store_failed_and_the_process_was_killed_twice() {
    let folder = folder();
    let data = folder.path().join("data");
    let mails = data.join("sandbox/mailbox/default");
    let world = World::start(folder.path());
    // Where messages are, there is something else: the mailbox can neither list nor forget.
    std::fs::create_dir_all(mails.parent().unwrap()).unwrap();
    let _ = std::fs::remove_dir_all(&mails);
    std::fs::write(&mails, "no folder").unwrap();
    let ids = ask_for_all(&world, PEOPLE).await;
    let path = |id: &Value| format!("/v1/subject-requests/{}", id.as_str().unwrap());
    let names_it = |seen: &Value| {
        let tasks = seen["tasks"].as_array().unwrap();
        tasks.iter().any(|task| task["store"] == "mailbox" && task["state"] == "failed" && task["error"] != "")
    };
    let seen = world.until(&path(&ids[0]), names_it).await;
    assert_eq!(seen["status"], "in_progress", "it names the store and goes on later: {seen}");
    assert_eq!(erased(&data), Vec::<String>::new(), "no key goes before every store has answered");
    drop(world);

    std::fs::remove_file(&mails).unwrap();
    let world = World::start(folder.path());
    until("one is completed", async || any(&world, "completed").await).await;
    drop(world);

    let world = World::start(folder.path());
    until("all are completed", async || !any(&world, "in_progress").await).await;
    assert!(!any(&world, "identity_check").await && !any(&world, "refused").await);
    // What the last of them left in the outbox reaches the log.
    world.serving.terminate();
    let erased = erased(&data);
    let each: HashSet<_> = erased.iter().collect();
    assert_eq!((erased.len(), each.len()), (PEOPLE, PEOPLE), "each is erased, and told so once");
    succeed(folder.path(), &["audit", "verify"]);
}
