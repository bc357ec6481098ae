//! Receipts: each decision says where the log has it, and goes on saying so.

use hyper::{Method, StatusCode};
use kiki_proto::shield::v1::authorization_service_client::AuthorizationServiceClient;
use kiki_proto::shield::v1::control_service_client::ControlServiceClient;
use kiki_proto::shield::v1::{AuthorizeRequest, GetRequest, ListStopsRequest, Money, StopRequest};
use serde_json::{Value, json};
use tonic::transport::Channel;

use super::{Desk, ask, path_of};
use crate::harness::Answer;

const ORIGIN: &str = "kiki.local/shield";

/// The index on a receipt.
#[track_caller]
fn index(receipt: &Value) -> usize {
    assert_eq!(receipt["log"], ORIGIN, "{receipt}");
    receipt["index"].as_u64().unwrap().try_into().unwrap()
}

#[track_caller]
fn receipt(answer: &Answer) -> usize {
    index(&answer.json()["receipt"])
}

impl Desk {
    async fn authorize_with(&self, key: &str, amount: &str) -> Answer {
        self.post_with("/v1/authorizations", &[("idempotency-key", key)], Some(&ask("growth", amount))).await
    }
}

#[tokio::test]
async fn every_decision_says_where_the_log_has_it() {
    let desk = Desk::open();
    let consent = json!({"customer_id": "c", "consent_type": "marketing"});
    let rules = json!({"rule_sets": {"a": "@id(\"a\") permit(principal, action, resource);"}});
    let mandate = json!({"account": "agent", "constraints": [{"type": "payment.budget", "currency": "USD", "max": 1}]});
    let mut receipts: Vec<(usize, &str)> = Vec::new();

    let budget = desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    receipts.push((index(&budget["receipt"]), "limit"));
    let again = desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    assert_eq!(again["receipt"], Value::Null, "nothing was decided");

    let held = desk.ask("growth", "5").await;
    receipts.push((receipt(&held), "authorize"));
    let path = path_of(&held);
    for (verb, body, kind) in [
        ("increase", json!({"amount": {"amount": "1", "currency": "USD"}}), "increase"),
        ("capture", json!({}), "capture"),
        ("refund", json!({"amount": {"amount": "1", "currency": "USD"}}), "refund"),
    ] {
        receipts.push((receipt(&desk.post(&format!("{path}/{verb}"), body).await), kind));
    }
    let other = desk.hold("growth", "1").await;
    receipts.push((receipt(&desk.post(&format!("{other}/void"), json!({})).await), "void"));
    let denied = desk.ask("growth", "50").await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    receipts.push((receipt(&denied), "authorize"));
    for (path, status, kind) in [
        ("/spend?amount=1", StatusCode::OK, "authorize"),
        ("/spend?amount=9999999", StatusCode::FORBIDDEN, "authorize"),
        ("/check?ltv=600", StatusCode::OK, "check"),
        ("/check?ltv=1", StatusCode::FORBIDDEN, "note"),
    ] {
        let answer = desk.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        receipts.push((receipt(&answer), kind));
    }
    receipts.push((receipt(&desk.post("/v1/records", ask("growth", "1")).await), "record"));
    receipts.push((receipt(&desk.post("/consent/grant", consent.clone()).await), "consent"));
    receipts.push((receipt(&desk.post("/consent/revoke", consent).await), "consent"));
    receipts.push((receipt(&desk.post("/v1/stops", json!({"account": "off"})).await), "stop"));
    receipts.push((receipt(&desk.delete("/v1/stops?account=off").await), "resume"));
    receipts.push((receipt(&desk.post("/v1/intents", json!({"action": "read"})).await), "note"));
    receipts.push((receipt(&desk.put("/v1/policy", rules.clone()).await), "policy"));
    assert_eq!(desk.put("/v1/policy", rules).await.json()["receipt"], Value::Null, "it is in force already");
    receipts.push((receipt(&desk.delete("/v1/policy").await), "policy"));
    let mandate = desk.put("/v1/mandates/m", mandate).await.json();
    receipts.push((index(&mandate["budgets"][0]["receipt"]), "limit"));
    let removed = desk.delete("/v1/budgets/all").await;
    let header = removed.headers["kiki-receipt"].to_str().unwrap().strip_prefix("kiki.local/shield ").unwrap();
    receipts.push((header.parse().unwrap(), "remove_limit"));

    let entries = desk.end();
    for (at, (index, kind)) in receipts.iter().enumerate() {
        assert_eq!(entries[*index]["cmd"]["op"], *kind, "receipt {at}: {}", entries[*index]);
    }
    let mut distinct = receipts.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct, receipts, "each decision has an entry of its own, in order");
}

#[tokio::test]
async fn a_repeat_and_a_look_get_the_receipt_of_the_decision() {
    let desk = Desk::open();
    desk.budget("all", "growth", json!({"kind": "total", "amount": "10"})).await;
    desk.budget("big", "big", json!({"kind": "approval", "above": "1"})).await;
    let (held, denied) = (desk.authorize_with("one", "6").await, desk.authorize_with("two", "60").await);
    let waits = desk.ask("big", "5").await;
    let record = async || desk.post_with("/v1/records", &[("idempotency-key", "r")], Some(&ask("growth", "1"))).await;
    let booked = record().await;
    let expected = [&held, &denied, &waits, &booked].map(receipt);
    let paths = [&held, &waits, &booked].map(path_of);
    let check = async |desk: &Desk| {
        let repeats = [desk.authorize_with("one", "6").await, desk.authorize_with("two", "60").await];
        assert_eq!(repeats.each_ref().map(receipt), expected[..2]);
        assert!(repeats[1].json()["entry"].is_null(), "nothing was decided now");
        let repeat = desk.post_with("/v1/records", &[("idempotency-key", "r")], Some(&ask("growth", "1"))).await;
        assert_eq!(receipt(&repeat), expected[3]);
        for (path, index) in paths.iter().zip([expected[0], expected[2], expected[3]]) {
            assert_eq!(receipt(&desk.get(path).await), index, "{path}");
        }
        let waiting = desk.get("/v1/approvals").await.json();
        assert_eq!(index(&waiting["approvals"][0]["receipt"]), expected[2]);
    };
    check(&desk).await;
    // From a snapshot.
    let desk = desk.again();
    check(&desk).await;
    let capture = async || desk.call(Method::POST, &format!("{}/capture", paths[0]), None).await;
    let captured = receipt(&capture().await);
    assert!(captured > expected[3]);
    assert_eq!(receipt(&capture().await), expected[0], "of a repeat, the decision that made the authorization");
    let entries = desk.end();
    assert_eq!(entries[captured]["cmd"]["op"], "capture");
    assert!(expected[..3].iter().all(|&index| entries[index]["cmd"]["op"] == "authorize"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_receipts_come_over_grpc() {
    let desk = Desk::open();
    let channel = Channel::from_shared(desk.serving.url("shield", "")).unwrap().connect().await.unwrap();
    let mut client = AuthorizationServiceClient::new(channel.clone());
    let request = |units: i64, key: &str| AuthorizeRequest {
        account: "growth".into(),
        amount: Some(Money { micros: units * 1_000_000, currency: "USD".into() }),
        idempotency_key: key.into(),
        ..Default::default()
    };
    let held = client.authorize(request(5, "k")).await.unwrap().into_inner();
    let receipt = held.receipt.clone().unwrap();
    assert_eq!(receipt.log, ORIGIN);
    assert_eq!(client.authorize(request(5, "k")).await.unwrap().into_inner().receipt, held.receipt);
    assert_eq!(client.get(GetRequest { id: held.id }).await.unwrap().into_inner().receipt, held.receipt);
    // A denial without a key is kept by nobody but the log.
    let denied = client.authorize(request(99_999_999, "")).await.unwrap().into_inner().receipt.unwrap();
    let dry = AuthorizeRequest { dry_run: true, ..request(5, "") };
    assert_eq!(client.authorize(dry).await.unwrap().into_inner().receipt, None);
    let mut control = ControlServiceClient::new(channel);
    let stopped = control.stop(StopRequest { account: "off".into() }).await.unwrap().into_inner().receipt.unwrap();
    assert_eq!(control.list_stops(ListStopsRequest::default()).await.unwrap().into_inner().receipt, None);
    drop((client, control));
    let entries = desk.end();
    for (index, kind) in [(receipt.index, "authorize"), (denied.index, "authorize"), (stopped.index, "stop")] {
        assert_eq!(entries[usize::try_from(index).unwrap()]["cmd"]["op"], kind);
    }
}
