//! Audit entries on their way from a database to the log: none is lost, whatever the database holds.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use kiki_audit::Reader;
use kiki_kit::inprocess::{in_process, over_network};
use kiki_proto::shield::v1::audit_service_client::AuditServiceClient;
use kiki_proto::shield::v1::{AuditRecord, RecordRequest};
use kiki_shield::Pseudonyms;
use kiki_store::{Options, Store, outbox};
use kiki_types::UnixMillis;
use kiki_types::event::{AuditEvent, Envelope, Level, Outcome};
use sha2::{Digest, Sha256};
use tonic::transport::Endpoint;
use uuid::Uuid;

use super::*;
use crate::harness::{Http, PATIENCE, Serving, kiki, succeed};

/// The entries of these kinds, in the order of the log.
fn of_kinds(audit: &Path, kinds: &[&str]) -> Vec<AuditEvent> {
    let mut reader = Reader::open(audit, 0, kiki_audit::reader::entries(audit).unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        let event = record.entry().unwrap().event;
        found.extend(kinds.contains(&event.event_type.as_str()).then_some(event));
    }
    found
}

async fn await_kinds(audit: &Path, kinds: &[&str], many: usize) -> Vec<AuditEvent> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = of_kinds(audit, kinds);
        if found.len() >= many || tokio::time::Instant::now() > deadline {
            assert_eq!(found.len(), many);
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// An event as another service writes it.
fn event(id: u128) -> AuditEvent {
    AuditEvent {
        id: Uuid::from_u128(id),
        at: UnixMillis(1_770_000_000_000),
        tenant: TenantId::default_tenant(),
        level: Level::Info,
        event_type: "test.event".to_owned(),
        actor: String::new(),
        customer: String::new(),
        action: "event".to_owned(),
        resource: "test".to_owned(),
        outcome: Outcome::Allowed,
        reason: String::new(),
        ip: String::new(),
        data: String::new(),
        request: String::new(),
    }
}

/// What a page of good and bad entries becomes: a stand-in names the bytes of each bad one, and those behind it are there.
const KINDS: &[&str] = &["test.event", "audit.unreadable"];

fn payloads() -> Vec<String> {
    let long = AuditEvent { reason: "x".repeat(5000), ..event(3) };
    let named = AuditEvent { actor: "Jane".to_owned(), ..event(4) };
    let text = |event: &AuditEvent| serde_json::to_string(event).unwrap();
    vec![
        text(&event(1)),
        "{\"not\": \"an entry\"}".to_owned(),
        String::new(),
        text(&long),
        text(&named),
        text(&event(2)),
    ]
}

fn assert_all_there(found: &[AuditEvent]) {
    let payloads = payloads();
    assert_eq!((found[0].id, found[5].id), (Uuid::from_u128(1), Uuid::from_u128(2)));
    for (number, (event, payload)) in found.iter().zip(&payloads).enumerate().skip(1).take(4) {
        assert_eq!((event.event_type.as_str(), event.outcome), ("audit.unreadable", Outcome::Failed));
        assert_eq!(event.reason, format!("sha256:{:x}", Sha256::digest(payload)));
        assert_eq!(event.resource, format!("outbox/{}", number + 1));
        assert!(!serde_json::to_string(event).unwrap().contains("Jane"));
    }
}

#[tokio::test]
async fn what_cannot_be_read_in_the_outbox_has_an_entry_in_its_place() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![tenant_key("default")]).await;
    let mut tx = process.store.begin().await.unwrap();
    for (number, payload) in payloads().into_iter().enumerate() {
        let (tenant, topic) = (TenantId::default_tenant(), kiki_shield::jobs::AUDIT_TOPIC.to_owned());
        let id = Uuid::from_u128(100 + number as u128);
        outbox::publish(&mut tx, Envelope { id, tenant, at: UnixMillis(0), topic, payload }).unwrap();
    }
    tx.commit().await.unwrap();
    assert_all_there(&await_kinds(&folder.path().join("data/audit"), KINDS, 6).await);
    stop(process, services).await;
}

#[tokio::test]
async fn a_bad_entry_of_a_page_holds_up_none_of_the_others() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![]).await;
    let caller = Principal::service(TenantId::default_tenant(), "test");
    let mut client = AuditServiceClient::new(in_process(services.shield.http.router(), caller));
    let source = Uuid::from_u128(7).to_string();
    let page = |positions: &[i64]| {
        let texts = payloads().into_iter().chain(payloads());
        let record = |(&position, event_json)| AuditRecord { position, event_json };
        let records = positions.iter().zip(texts).map(record).collect();
        RecordRequest { source: source.clone(), records, relay_key: String::new() }
    };
    let asked = client.record(page(&[])).await.unwrap().into_inner();
    assert_eq!((asked.position, asked.last), (0, 0));
    for _ in 0..2 {
        let taken = client.record(page(&[1, 2, 3, 4, 5, 6])).await.unwrap().into_inner();
        assert_eq!((taken.position, taken.last), (6, 6));
    }
    let older = client.record(page(&[2, 3])).await.unwrap().into_inner();
    assert_eq!((older.position, older.last), (3, 6), "so the database was put back");
    for bad in [page(&[8, 7]), RecordRequest { source: "x".to_owned(), ..page(&[]) }] {
        assert_eq!(client.record(bad).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
    assert_all_there(&await_kinds(&folder.path().join("data/audit"), KINDS, 6).await);
    stop(process, services).await;
}

/// What this database's own outbox says of people is believed. Its name is told to every service that is asked about them.
#[tokio::test]
async fn who_may_hand_entries_over_speaks_for_no_outbox_but_its_own() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![]).await;
    let permissions = [Permission::AuditWrite].into_iter().collect();
    let tenant = TenantId::default_tenant();
    let writer = Principal { tenant: tenant.clone(), name: "writer".to_owned(), kind: ActorKind::Agent, permissions };
    let source = process.store.source_id().await.unwrap();
    let keys = folder.path().join("data/keys");
    let honest = Pseudonyms::open_or_create(&keys, &mut rand::rng()).unwrap().relay_key(source);
    let others = Pseudonyms::new(b"another installation's").relay_key(source);
    let last = outbox::position(&process.store).await.unwrap();
    let told = |id, position, relay_key: &str| {
        let event_json = serde_json::to_string(&event(id)).unwrap();
        let records = vec![AuditRecord { position, event_json }];
        RecordRequest { source: source.to_string(), records, relay_key: relay_key.to_owned() }
    };
    for caller in [writer, Principal::service(tenant, "kiki-engage"), Principal::local_operator()] {
        let mut client = AuditServiceClient::new(in_process(services.shield.http.router(), caller));
        for forged in ["", "0", &others, &honest[1..], &source.to_string()] {
            let refused = client.record(told(9, last + 1, forged)).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{forged:?}: {refused}");
            assert_eq!(refused.metadata().get("kiki-problem-code").unwrap(), "not_the_relay");
            assert!(refused.message().contains("relay_key"), "{refused}");
        }
    }
    // Elsewhere than in shield's own database nobody knows the key; who has another one uses up no position either.
    let mut client = AuditServiceClient::new(in_process(services.shield.http.router(), Principal::local_operator()));
    let apart = |position, key: &str| RecordRequest { source: ID.to_owned(), ..told(7, position, key) };
    assert_eq!(client.record(apart(1_000, "forged")).await.unwrap().into_inner().last, 1_000);
    assert_eq!(client.record(apart(1, "its own")).await.unwrap().into_inner().last, 1);
    assert_eq!(client.record(told(8, last + 1, &honest)).await.unwrap().into_inner().last, last + 1);
    let heard = await_kinds(&folder.path().join("data/audit"), KINDS, 3).await;
    let ids: Vec<_> = heard.iter().map(|event| event.id.as_u128()).collect();
    assert_eq!(ids, [7, 7, 8]);
    stop(process, services).await;
}

/// Two processes over one database: the one without a log hands over what both wrote, as its relay.
#[tokio::test]
async fn a_service_that_shares_the_database_is_its_relay() {
    let folder = folder();
    let shield = Serving::shield(folder.path(), &[]);
    let source = async {
        let database = folder.path().join("data/kiki.db");
        let store = Store::connect(database.to_str().unwrap(), Options::default()).await.unwrap();
        let source = store.source_id().await.unwrap();
        store.close().await;
        source
    };
    let source = source.await;
    let channel = || Endpoint::from_shared(shield.url("shield", "")).unwrap().connect_lazy();
    let ask = async |relay_key: String| {
        let mut client = AuditServiceClient::new(over_network(channel(), None).unwrap());
        client.record(RecordRequest { source: source.to_string(), records: Vec::new(), relay_key }).await
    };
    assert_eq!(ask(String::new()).await.unwrap_err().code(), tonic::Code::PermissionDenied);
    let keys = Pseudonyms::open_or_create(&folder.path().join("data/keys"), &mut rand::rng()).unwrap();
    ask(keys.relay_key(source)).await.unwrap();

    // Shield hands the same entries over: that they arrive does not say that engage may.
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let mut command = kiki(folder.path());
    command.args(["serve", "engage", "--free-ports"]).env("SHIELD_URL", shield.url("shield", "/check"));
    let told = refusals.clone();
    let engage = Serving::start_kept(command, 1, move |line| {
        if line.contains("not_the_relay") || line.contains("audit entries: Internal") {
            told.lock().unwrap().push(line.to_owned());
        }
    });
    let campaign = json!({
        "name": "c", "audience": {"value_min": 700.0}, "template": {"subject": "s", "body": "b"},
        "cost_per_message": {"amount": "0.50", "currency": "USD"}, "budget": {"amount": "1.00", "currency": "USD"},
    });
    let made = Http::new().post(&engage.url("engage", "/campaigns"), &campaign).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.json());
    await_kinds(&folder.path().join("data/audit"), &["campaign.create"], 1).await;
    engage.terminate();
    assert_eq!(*refusals.lock().unwrap(), Vec::<String>::new());
}

/// Runs all services while a webhook is made.
async fn make_webhook(folder: &Path) {
    let (process, services) = services(folder, vec![tenant_key("default")]).await;
    let body = json!({"url": "http://127.0.0.1:1/"});
    assert_eq!(call(&services, "shield", "POST", "/v1/webhooks", "default", body).await.0, StatusCode::CREATED);
    stop(process, services).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["kiki.db", "kiki.db-wal", "kiki.db-shm"] {
        let (from, to): (PathBuf, PathBuf) = (from.join(name), to.join(name));
        let _ = std::fs::remove_file(&to);
        if from.exists() {
            std::fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_database_that_was_put_back_loses_no_entry() {
    let folder = folder();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let made = || of_kinds(&data.join("audit"), &["webhook.create"]).len();
    make_webhook(folder.path()).await;
    copy(&data, &backup);
    make_webhook(folder.path()).await;
    make_webhook(folder.path()).await;
    assert_eq!(made(), 3);
    copy(&backup, &data);
    make_webhook(folder.path()).await;
    assert_eq!(made(), 3, "its position is one that the log knows");
    let store = Store::connect(data.join("kiki.db").to_str().unwrap(), Options::default()).await.unwrap();
    assert_eq!(outbox::pending(&store, kiki_shield::jobs::AUDIT_TOPIC, 9).await.unwrap().len(), 1, "and it waits");
    store.close().await;
    succeed(folder.path(), &["audit", "outbox", "advance", "--beyond", "3"]);
    make_webhook(folder.path()).await;
    assert_eq!(made(), 5);
}
