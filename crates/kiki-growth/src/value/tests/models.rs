//! Which model answers, whose it is, and who may ask.

use std::collections::BTreeSet;

use http::{Request, StatusCode};
use kiki_kit::problem::GRPC_CODE_KEY;
use kiki_proto::value::v1 as proto;
use kiki_store::outbox;
use kiki_store::testing::{TestDb, on_both};
use kiki_types::principal::PermissionSet;
use kiki_types::{Permission, Principal};
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::value::Promote;

use super::world::{World, about, of_tenant, report, who};

#[tokio::test]
async fn without_a_model_the_answer_says_how_to_make_one() {
    on_both(async |db| {
        let world = World::new(&db.store).await;
        let status = world.predict(about("0001", 0.0)).await.unwrap_err();
        assert_eq!(
            (status.code(), status.metadata().get(GRPC_CODE_KEY).unwrap().as_bytes()),
            (Code::FailedPrecondition, &b"no_model"[..])
        );
        assert!(status.message().contains("kiki value fit FILE --calibrate-until DATE --save"), "{status}");
        let (status, json) = world.post(&json!({"customer_id": "0001"})).await;
        assert_eq!((status, &json["code"]), (StatusCode::CONFLICT, &json!("no_model")));
        assert_eq!(world.model(who()).await.0, StatusCode::CONFLICT);
    })
    .await;
}

#[tokio::test]
async fn the_current_model_is_the_one_saved_last() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let last = world.value.save(&who(), report(), Promote::Now).await.unwrap();
        let (status, json) = world.model(who()).await;
        assert_eq!((status, &json["id"]), (StatusCode::OK, &json!(last.id.to_string())));
        assert_eq!(
            (&json["customers"], &json["orders"], &json["calibrate_until"]),
            (&json!(2_357), &json!(6_919), &json!("1997-09-30"))
        );
        assert_eq!(json["data_sha256"], report().data_sha256);
        assert_eq!(json["purchases_log_likelihood"], json!(report().purchases.log_likelihood()));
        let found = serde_json::to_value(report().parameters()).unwrap();
        assert_eq!(json["parameters"], found);
        assert!((found["bgnbd"]["r"].as_f64().unwrap() - 0.243).abs() < 5e-4);
        assert_eq!(json["parameters"]["gamma_gamma"]["v"], json!(report().gamma_gamma.model.v()));
    })
    .await;
}

#[tokio::test]
async fn another_tenant_knows_neither_model_nor_customers() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let other = of_tenant("other");
    assert_eq!(world.model(other.clone()).await.0, StatusCode::CONFLICT);
    let status = world.client(other).predict_ltv(about("0001", 0.0)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn who_may_not_read_values_is_refused() {
    let db = TestDb::sqlite().await;
    let world = World::fitted(&db.store).await;
    let everything_else: PermissionSet =
        Permission::ALL.iter().copied().filter(|&permission| permission != Permission::ValueRead).collect();
    let principal = Principal { permissions: everything_else, ..who() };
    let mut client = world.client(principal.clone());
    let codes: BTreeSet<i32> = [
        client.predict_ltv(about("0001", 0.0)).await.unwrap_err(),
        client.predict_ltv_batch(proto::PredictLtvBatchRequest::default()).await.unwrap_err(),
        client.select_customers(proto::SelectCustomersRequest::default()).await.unwrap_err(),
    ]
    .map(|status| status.code() as i32)
    .into();
    assert_eq!(codes, BTreeSet::from([Code::PermissionDenied as i32]));
    assert_eq!(world.model(principal.clone()).await.0, StatusCode::FORBIDDEN);
    let request = Request::post("/v1/predictions").header("content-type", "application/json");
    let (status, _) = world.http(principal, request.body("{\"customer_id\":\"0001\"}".into()).unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn saving_leaves_an_audit_entry_that_names_nobody() {
    on_both(async |db| {
        let world = World::fitted(&db.store).await;
        let saved = world.value.current(&who().tenant).await.unwrap();
        let pending = outbox::pending(&db.store, "audit", 10).await.unwrap();
        assert_eq!(pending.len(), 1);
        let entry: Json = serde_json::from_str(&pending[0].event.payload).unwrap();
        assert_eq!((&entry["type"], &entry["actor"]), (&json!("value.model.save"), &json!("hash-acme-11")));
        assert_eq!(entry["resource"], format!("value/model/{}", saved.id));
    })
    .await;
}
