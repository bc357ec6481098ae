//! The log as auditors read it over HTTP: the static resources of tlog-tiles, entries and their filters, and whose they are.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use kiki_audit::{Checkpoint, Hash, Policy, Proof, Proven, VerifierKey, proof};
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

#[tokio::test]
async fn bundles_hold_the_entries_of_all_tenants_for_whoever_may_read_the_log() {
    let world = World::open().await;
    for tenant in ["one", "other"] {
        futures::future::join_all((0..150).map(|_| world.spend(tenant, "a", "0.01"))).await;
    }
    let size = world.covered(300).await;
    let mut leaves = Vec::new();
    for path in ["000".to_owned(), format!("001.p/{}", size - 256)] {
        let bundle = world.get("one", &format!("/v1/audit/log/tile/entries/{path}")).await;
        assert_eq!(
            (bundle.status, &bundle.headers["content-type"]),
            (StatusCode::OK, &"application/octet-stream".parse().unwrap())
        );
        assert!(bundle.headers["cache-control"].to_str().unwrap().contains("immutable"));
        let mut rest = bundle.body.as_ref();
        while let Some((len, behind)) = rest.split_first_chunk::<2>() {
            let (entry, behind) = behind.split_at(usize::from(u16::from_be_bytes(*len)));
            leaves.push(kiki_audit::leaf_hash(entry).to_vec());
            rest = behind;
        }
    }
    let tiles = [
        world.get("one", "/v1/audit/log/tile/0/000").await,
        world.get("one", &format!("/v1/audit/log/tile/0/001.p/{}", size - 256)).await,
    ];
    let expected: Vec<Vec<u8>> = tiles.iter().flat_map(|tile| tile.body.chunks(32)).map(<[u8]>::to_vec).collect();
    assert_eq!(leaves, expected);
    for (key, path, status) in [
        ("one", "001", StatusCode::NOT_FOUND),
        ("one", "x", StatusCode::NOT_FOUND),
        ("auditor of one", "000", StatusCode::FORBIDDEN),
    ] {
        let answer = world.get(key, &format!("/v1/audit/log/tile/entries/{path}")).await;
        assert_eq!(answer.status, status, "{key} {path}");
    }
    world.end().await;
}

impl World {
    async fn json(&self, path: &str) -> Value {
        let answer = self.get("one", path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn policy(&self) -> Policy {
        Policy::of_log(&VerifierKey::load(&self.audit.join("../keys/log.vkey")).unwrap())
    }

    /// What the proof at `path` proves to whoever has the log's key alone.
    async fn proven(&self, key: &str, path: &str) -> Proven {
        let answer = self.get(key, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        let name = answer.headers["content-disposition"].to_str().unwrap();
        assert!(name.starts_with("attachment") && name.ends_with(".tlog-proof\""), "{name}");
        let proof: Proof = String::from_utf8(answer.body.to_vec()).unwrap().parse().unwrap();
        proof.verify(&self.policy()).unwrap()
    }
}

fn hash(base64: &Value) -> Hash {
    STANDARD.decode(base64.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn hashes(list: &Value) -> Vec<Hash> {
    list.as_array().unwrap().iter().map(hash).collect()
}

#[tokio::test]
async fn inclusion_and_consistency_are_proven_between_any_sizes() {
    let world = World::open().await;
    futures::future::join_all((0..40).map(|_| world.spend("one", "a", "0.01"))).await;
    let size = world.covered(40).await;
    for (index, of) in [(0, 1), (0, 40), (7, 8), (7, 33), (39, 40), (size - 1, size)] {
        let proof = world.json(&format!("/v1/audit/proofs/inclusion?index={index}&size={of}")).await;
        let (leaf, root, path) = (hash(&proof["leaf"]), hash(&proof["root"]), hashes(&proof["hashes"]));
        assert!(proof::verify_inclusion(&leaf, index, of, &path, &root), "{proof}");
        let note = proof["checkpoint"].as_str().unwrap();
        let newest = world.policy().check(note).unwrap().checkpoint;
        let on = world.json(&format!("/v1/audit/proofs/consistency?from={of}&to={}", newest.size)).await;
        assert_eq!(hash(&on["from_root"]), root);
        assert!(proof::verify_consistency(of, &root, newest.size, &newest.root, &hashes(&on["hashes"])), "{on}");
    }
    let newest = world.json("/v1/audit/proofs/inclusion?index=0").await;
    assert_eq!(newest["size"], size, "the newest checkpoint's");
    assert_eq!(world.json("/v1/audit/proofs/consistency?from=0").await["hashes"], json!([]));
    let beyond = size + 1;
    for query in [
        format!("inclusion?index={size}"),
        format!("inclusion?index=0&size={beyond}"),
        "inclusion?index=5&size=5".to_owned(),
        format!("consistency?from=1&to={beyond}"),
        "consistency?from=9&to=8".to_owned(),
    ] {
        assert_eq!(
            world.get("one", &format!("/v1/audit/proofs/{query}")).await.status,
            StatusCode::NOT_FOUND,
            "{query}"
        );
    }
    for query in ["inclusion", "inclusion?index=-1", "consistency?to=3"] {
        assert_eq!(
            world.get("one", &format!("/v1/audit/proofs/{query}")).await.status,
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
    world.end().await;
}

#[tokio::test]
async fn a_decision_can_be_proven_as_soon_as_it_was_answered() {
    let world = World::open().await;
    for amount in ["1", "2", "3"] {
        let answer = world.spend("one", "a", amount).await;
        let (id, index) = (answer["id"].as_str().unwrap(), answer["receipt"]["index"].as_u64().unwrap());
        let proven = world.proven("one", &format!("/v1/authorizations/{id}/proof")).await;
        assert_eq!(
            (proven.index, proven.checkpoint.origin.as_str()),
            (index, answer["receipt"]["log"].as_str().unwrap())
        );
        let entry: Value = serde_json::from_slice(&proven.entry).unwrap();
        assert_eq!(entry["body"]["cmd"]["id"], id.replace('-', ""), "{entry}");
        assert_eq!(world.proven("one", &format!("/v1/audit/entries/{index}/proof")).await.entry, proven.entry);
        let other = world.get("other", &format!("/v1/authorizations/{id}/proof")).await;
        assert_eq!(other.status, StatusCode::NOT_FOUND, "it is another tenant's");
    }
    let other = world.spend("other", "a", "1").await["receipt"]["index"].as_u64().unwrap();
    world.covered(other + 1).await;
    let path = format!("/v1/audit/entries/{other}/proof");
    world.proven("other", &path).await;
    world.proven("auditor of other", &path).await;
    world.proven("one", &path).await;
    assert_eq!(world.get("auditor of one", &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("one", &format!("/v1/authorizations/{ID}/proof")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("one", "/v1/audit/entries/99999/proof").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("one", "/v1/audit/log/checkpoint?witnessed=true").await.status, StatusCode::NOT_FOUND);
    world.end().await;
}

#[tokio::test]
async fn a_checkpoint_that_somebody_changed_is_not_given_out() {
    let world = World::open().await;
    let size = world.covered(1).await;
    let path = world.audit.join("log/checkpoint");
    let signed = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, signed.replacen(&format!("\n{size}\n"), "\n9999\n", 1)).unwrap();
    let answer = world.get("one", "/v1/audit/log/checkpoint").await;
    assert!(answer.status.is_server_error(), "{}", answer.status);
    assert!(!String::from_utf8_lossy(&answer.body).contains("9999"));
    std::fs::write(&path, &signed).unwrap();
    assert_eq!(world.get("one", "/v1/audit/log/checkpoint").await.body, signed);
    world.end().await;
}
