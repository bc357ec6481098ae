//! The log as auditors read it over HTTP: the static resources of tlog-tiles, entries and their filters, and whose they are.

use std::path::PathBuf;

use bytes::Bytes;
use http::HeaderMap;
use kiki_audit::Checkpoint;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::*;
use crate::harness::PATIENCE;

/// May read the log, but only what is of its own tenant.
fn auditor(tenant: &str) -> ApiKey {
    let permissions = [Permission::AuditRead, Permission::SpendRead].into_iter().collect();
    let name = format!("auditor of {tenant}");
    let principal =
        Principal { tenant: tenant.parse().unwrap(), name: name.clone(), kind: ActorKind::Human, permissions };
    ApiKey::new(&name, principal)
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Services whose log has entries of two tenants, all of them covered by a checkpoint.
struct World {
    process: Process,
    services: Services,
    audit: PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    async fn open() -> Self {
        let folder = folder();
        let keys = vec![tenant_key("one"), tenant_key("other"), auditor("one"), auditor("other")];
        let (process, services) = services(folder.path(), keys).await;
        Self { process, services, audit: folder.path().join("data/audit"), _folder: folder }
    }

    async fn get(&self, key: &str, path: &str) -> Answered {
        let router = self.services.shield.http.router();
        let request = Request::builder().uri(path).header("x-internal-api-key", key).body(Body::empty()).unwrap();
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { status: head.status, headers: head.headers, body }
    }

    async fn entries(&self, key: &str, query: &str) -> Entries {
        let answer = self.get(key, &format!("/v1/audit/entries{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The indexes of all entries that fit, page by page.
    async fn indexes(&self, key: &str, query: &str) -> Vec<u64> {
        let (mut indexes, mut after) = (Vec::new(), None);
        loop {
            let at = after.map_or(String::new(), |after: u64| format!("&after={after}"));
            let page = self.entries(key, &format!("?limit=7{query}{at}")).await;
            indexes.extend(page.entries.iter().map(|entry| entry.index));
            after = page.next;
            if after.is_none() {
                return indexes;
            }
        }
    }

    async fn spend(&self, tenant: &str, account: &str, amount: &str) -> Value {
        let body = json!({"account": account, "amount": {"amount": amount, "currency": "USD"}});
        call(&self.services, "shield", "POST", "/v1/authorizations", tenant, body).await.1
    }

    /// Waits until the checkpoint covers `size` entries. Returns how many it covers then.
    async fn covered(&self, size: u64) -> u64 {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let covered = Checkpoint::load(&self.audit, None).unwrap().map_or(0, |checkpoint| checkpoint.size);
            if covered >= size || tokio::time::Instant::now() > deadline {
                assert!(covered >= size, "{covered} of {size} are covered");
                return covered;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        stop(self.process, self.services).await;
    }
}

#[derive(Deserialize)]
struct Entries {
    entries: Vec<Entry>,
    next: Option<u64>,
    size: u64,
}

#[derive(Deserialize)]
struct Entry {
    index: u64,
    entry: Box<RawValue>,
}

impl Entry {
    fn leaf(&self) -> Vec<u8> {
        Sha256::new().chain_update([0]).chain_update(self.entry.get()).finalize().to_vec()
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.entry.get()).unwrap()
    }
}

#[tokio::test]
async fn tiles_are_served_as_they_are_signed_and_each_entry_is_a_leaf() {
    let world = World::open().await;
    let before = world.covered(0).await;
    for _ in 0..10 {
        futures::future::join_all((0..30).map(|_| world.spend("one", "a", "0.01"))).await;
    }
    let size = world.covered(before + 300).await;
    assert!(size < 512, "one full tile and a partial one");

    let checkpoint = world.get("one", "/v1/audit/log/checkpoint").await;
    assert_eq!(checkpoint.body, std::fs::read(world.audit.join("log/checkpoint")).unwrap());
    assert_eq!(checkpoint.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(checkpoint.headers["cache-control"], "no-store");

    let full = world.get("one", "/v1/audit/log/tile/0/000").await;
    assert_eq!((full.status, full.body.len()), (StatusCode::OK, 8192));
    assert_eq!(full.body, std::fs::read(world.audit.join("log/tile/0/000")).unwrap());
    assert_eq!(full.headers["content-type"], "application/octet-stream");
    assert!(full.headers["cache-control"].to_str().unwrap().contains("immutable"));
    let partial = world.get("one", &format!("/v1/audit/log/tile/0/001.p/{}", size - 256)).await;
    assert_eq!(partial.body.len() as u64, (size - 256) * 32);
    let narrower = world.get("one", "/v1/audit/log/tile/0/000.p/8").await;
    assert_eq!(narrower.body, full.body.slice(..256));
    assert_eq!(world.get("one", "/v1/audit/log/tile/1/000.p/1").await.body.len(), 32);
    for path in [
        format!("0/001.p/{}", size - 255),
        "0/001".to_owned(),
        "0/002".to_owned(),
        "1/000".to_owned(),
        "64/000".to_owned(),
        "00/000".to_owned(),
        "x/000".to_owned(),
        "0/0".to_owned(),
        "0/000.p/256".to_owned(),
        "0/000.p/".to_owned(),
        "0/..%2f000".to_owned(),
    ] {
        let answer = world.get("one", &format!("/v1/audit/log/tile/{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "what is not there may be there later");
    }

    let leaves: Vec<&[u8]> = full.body.chunks(32).chain(partial.body.chunks(32)).collect();
    let page = world.entries("one", "?limit=1000").await;
    assert_eq!((page.entries.len() as u64, page.next, page.size), (size, None, size));
    for (entry, leaf) in page.entries.iter().zip(leaves) {
        assert_eq!(entry.leaf(), leaf, "entry {}", entry.index);
    }
    let one = world.get("one", "/v1/audit/entries/5").await;
    let one: Entry = serde_json::from_slice(&one.body).unwrap();
    assert_eq!((one.index, one.leaf()), (5, page.entries[5].leaf()));
    assert_eq!(world.get("one", &format!("/v1/audit/entries/{size}")).await.status, StatusCode::NOT_FOUND);

    let keys: Value = serde_json::from_slice(&world.get("one", "/v1/audit/keys").await.body).unwrap();
    let kept = std::fs::read_to_string(world.audit.join("../keys/log.vkey")).unwrap();
    assert_eq!(keys["keys"], json!([kept.trim_end()]));
    assert_eq!(keys["origin"], "kiki.local/shield");
    world.end().await;
}

#[tokio::test]
async fn entries_are_found_by_what_they_say() {
    let world = World::open().await;
    let budget = json!({"limit": {"kind": "total", "amount": "100"}});
    assert_eq!(call(&world.services, "shield", "PUT", "/v1/budgets/b", "one", budget).await.0, StatusCode::OK);
    let mut last = 0;
    let mut denied = Vec::new();
    for amount in ["1", "1000000", "2", "2000000", "3"] {
        let answer = world.spend("one", "a", amount).await;
        last = answer["receipt"]["index"].as_u64().unwrap();
        if answer["code"] == "denied" {
            denied.push(last);
        }
    }
    let (_, captured) = call(&world.services, "shield", "POST", "/spend", "one", json!({"amount": "1"})).await;
    last = last.max(captured["receipt"]["index"].as_u64().unwrap());
    let size = world.covered(last + 1).await;
    let all: Vec<u64> = (0..size).collect();
    assert_eq!(world.indexes("one", "").await, all);
    assert_eq!(denied.len(), 2);
    assert_eq!(world.indexes("one", "&outcome=DENIED").await, denied);
    assert_eq!(world.indexes("one", "&outcome=denied&action=authorize").await, denied);
    let action = world.indexes("one", "&action=authorize_and_capture").await;
    assert_eq!(action, [captured["receipt"]["index"].as_u64().unwrap()]);
    let by_name = world.indexes("one", "&actor=one").await;
    let entry = world.entries("one", &format!("?after={}&limit=1", last - 1)).await.entries.remove(0).json();
    assert_eq!(by_name.len(), 7, "and not what shield did by itself");
    assert_eq!(world.indexes("one", &format!("&actor={}", entry["actor"].as_str().unwrap())).await, by_name);
    assert_eq!(world.indexes("one", "&actor=nobody").await, [0; 0]);
    let at = entry["at"].as_i64().unwrap();
    let since = kiki_types::UnixMillis(at).rfc3339();
    let from_then = world.indexes("one", &format!("&since={since}")).await;
    assert!(from_then.contains(&last), "{from_then:?}");
    let until_then = world.indexes("one", &format!("&until={since}")).await;
    assert_eq!(until_then.len() + from_then.len(), all.len());
    for bad in ["?outcome=maybe", "?since=yesterday", "?until=", "?limit=0", "?limit=1001", "?after=x"] {
        assert_eq!(world.get("one", &format!("/v1/audit/entries{bad}")).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    world.end().await;
}

#[tokio::test]
async fn without_the_right_to_the_whole_log_only_the_own_tenants_entries_are_there() {
    let world = World::open().await;
    let index = async |tenant: &str| world.spend(tenant, "a", "1").await["receipt"]["index"].as_u64().unwrap();
    let (one, other) = (index("one").await, index("other").await);
    let size = world.covered(other + 1).await;
    assert_eq!(world.indexes("auditor of one", "").await, [one]);
    assert_eq!(world.indexes("auditor of other", "").await, [other]);
    assert_eq!(world.indexes("one", "").await.len() as u64, size, "with log:read");
    for (key, index, status) in [
        ("auditor of one", one, StatusCode::OK),
        ("auditor of one", other, StatusCode::NOT_FOUND),
        ("auditor of other", one, StatusCode::NOT_FOUND),
        ("one", other, StatusCode::OK),
    ] {
        assert_eq!(world.get(key, &format!("/v1/audit/entries/{index}")).await.status, status, "{key} {index}");
    }
    world.end().await;
}
