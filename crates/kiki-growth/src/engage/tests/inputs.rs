use axum::body::Body;
use http::{Method, Request, StatusCode};
use kiki_store::testing::{TestDb, on_both};
use kiki_types::principal::PermissionSet;
use kiki_types::{Permission, Principal};
use serde_json::{Value, json};

use super::world::{World, new_campaign};

/// Sets the member at `path` (`a.b`), or removes it.
fn with(mut body: Value, path: &str, value: Option<Value>) -> Value {
    let (parents, last) = path.rsplit_once('.').map_or(("", path), |parts| parts);
    let mut at = &mut body;
    for name in parts(parents) {
        at = at.as_object_mut().unwrap().entry(name).or_insert(json!({}));
    }
    match value {
        Some(value) => at[last] = value,
        None => drop(at.as_object_mut().unwrap().remove(last)),
    }
    body
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|part| !part.is_empty())
}

async fn refused(world: &World, path: &str, body: &Value, field: &str) {
    let (status, problem) = world.post(path, body, None).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{body} {problem}");
}

#[tokio::test]
async fn a_bad_campaign_names_its_field_and_leaves_nothing() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    for (path, value, field) in [
        ("name", None, "name"),
        ("name", Some(json!(" ")), "name"),
        ("name", Some(json!("a\nb")), "name"),
        ("name", Some(json!("x".repeat(201))), "name"),
        ("template", None, "template"),
        ("template.subject", Some(json!("")), "template.subject"),
        ("template.subject", Some(json!("a\r\nBcc: b@c")), "template.subject"),
        ("template.subject", Some(json!("Hi {name}")), "template.subject"),
        ("template.body", Some(json!("{")), "template.body"),
        ("template.body", Some(json!("x".repeat(20_001))), "template.body"),
        ("cost_per_message", Some(usd("0")), "cost_per_message"),
        ("cost_per_message", Some(usd("-1")), "cost_per_message"),
        ("cost_per_message", Some(usd("NaN")), "cost_per_message"),
        ("cost_per_message", Some(usd("1e400")), "cost_per_message"),
        ("cost_per_message", Some(json!(1.5)), "cost_per_message"),
        ("budget", None, "budget"),
        ("budget", Some(json!({"amount": "1", "currency": "EUR"})), "budget"),
        ("budget", Some(usd("9223372036854.775808")), "budget"),
        ("budget", Some(usd("0.99")), "budget"),
        ("account", Some(json!("a//b")), "account"),
        ("account", Some(json!("../up")), "account"),
        ("account", Some(json!("1/2/3/4/5/6/7/8")), "account"),
        ("audience.value_min", Some(json!(-1)), "audience.value_min"),
        ("audience.probability_alive_max", Some(json!(1.1)), "audience.probability_alive_max"),
        ("audience", Some(json!({"value_min": 2, "value_max": 1})), "audience.value_min"),
        ("audience.horizon_weeks", Some(json!(0)), "audience.horizon_weeks"),
        ("audience.horizon_weeks", Some(json!("x")), "audience.horizon_weeks"),
        ("audience.age_min", Some(json!(1)), "audience.age_min"),
        ("colour", Some(json!("red")), "colour"),
    ] {
        refused(&world, "/campaigns", &with(new_campaign("10"), path, value), field).await;
    }
    assert_eq!(world.get("/campaigns").await.1["campaigns"], json!([]));
    assert!(world.shield.0.lock().unwrap().budgets.is_empty());
}

#[tokio::test]
async fn a_negative_value_is_told_its_bound() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    for field in ["value_min", "value_max"] {
        let body = with(new_campaign("10"), "audience", Some(json!({field: -1})));
        let (_, problem) = world.post("/campaigns", &body, None).await;
        assert_eq!(problem["detail"], format!("audience.{field}: must be 0 or more"));
    }
}

#[tokio::test]
async fn an_unknown_placeholder_is_named() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    let body = with(new_campaign("10"), "template.body", Some(json!("Hello {first_name}")));
    let (_, problem) = world.post("/campaigns", &body, None).await;
    assert!(problem["detail"].as_str().unwrap().contains("{first_name}"), "{problem}");
}

#[tokio::test]
async fn a_bad_trigger_names_its_field_and_sends_nothing() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    let id = world.campaign("10").await;
    let of_campaign = json!({"customer_id": "00001", "campaign_id": id});
    let template = json!({"subject": "a", "body": "b"});
    for (path, value, field) in [
        ("customer_id", None, "customer_id"),
        ("customer_id", Some(json!("")), "customer_id"),
        ("customer_id", Some(json!("a\r\nb")), "customer_id"),
        ("customer_id", Some(json!("é".repeat(129))), "customer_id"),
        ("campaign_id", None, "campaign_id"),
        ("campaign_id", Some(json!("7")), "campaign_id"),
        ("template", Some(template.clone()), "template"),
        ("account", Some(json!("growth")), "account"),
        ("cost_per_message", Some(json!({"amount": "1", "currency": "USD"})), "cost_per_message"),
    ] {
        refused(&world, "/trigger", &with(of_campaign.clone(), path, value), field).await;
    }
    let own = json!({"customer_id": "00001", "template": template});
    refused(&world, "/trigger", &own, "cost_per_message").await;
    assert!(world.mail.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bad_queries_paths_and_keys_name_their_field() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    for (path, field) in [
        ("/campaigns?limit=0", "limit"),
        ("/campaigns?limit=101", "limit"),
        ("/campaigns?after=7", "after"),
        ("/campaigns/7", "id"),
    ] {
        let (status, problem) = world.get(path).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{path}");
    }
    let (status, problem) = world.post("/campaigns", &new_campaign("10"), Some(&"k".repeat(256))).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!("idempotency-key")));
}

#[tokio::test]
async fn another_tenant_sees_and_moves_nothing() {
    on_both(async |db| {
        let world = World::new(&db.store, 2).await;
        let id = world.campaign("10").await;
        let stranger = || Principal::service("globex".parse().unwrap(), "stranger");
        let ask = async |method: Method, path: &str, body: Value| {
            let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
            world.send(request.body(Body::from(body.to_string())).unwrap(), stranger()).await
        };
        for (method, path) in
            [(Method::GET, format!("/campaigns/{id}")), (Method::POST, format!("/campaigns/{id}/run"))]
        {
            assert_eq!(ask(method, &path, Value::Null).await.0, StatusCode::NOT_FOUND, "{path}");
        }
        let trigger = json!({"customer_id": "00001", "campaign_id": id});
        assert_eq!(ask(Method::POST, "/trigger", trigger).await.0, StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::GET, "/campaigns", Value::Null).await.1["campaigns"], json!([]));
        let page = format!("/campaigns?after={id}");
        assert_eq!(ask(Method::GET, &page, Value::Null).await.1["campaigns"], json!([]));
        assert_eq!(world.mail.calls.lock().unwrap().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn every_operation_asks_for_its_permission() {
    let db = TestDb::sqlite().await;
    let world = World::new(&db.store, 1).await;
    let needed = |method: &Method, path: &str| match (method.as_str(), path) {
        ("GET", "/campaigns" | "/campaigns/{id}") => Permission::CampaignsRead,
        ("POST", "/campaigns") => Permission::CampaignsWrite,
        ("POST", "/campaigns/{id}/run" | "/trigger") => Permission::MessagesSend,
        other => panic!("{other:?} has no case"),
    };
    assert_eq!(world.service.operations().len(), 5);
    for operation in world.service.operations() {
        let needed = needed(&operation.method, &operation.path);
        let others: PermissionSet = Permission::ALL.iter().copied().filter(|other| *other != needed).collect();
        let who = Principal { permissions: others, ..Principal::local_operator() };
        let path = operation.path.replace("{id}", &uuid::Uuid::nil().to_string());
        let request = Request::builder().method(operation.method.clone()).uri(path).body(Body::empty()).unwrap();
        let (status, problem) = world.send(request, who).await;
        assert_eq!((status, &problem["permission"]), (StatusCode::FORBIDDEN, &json!(needed.as_str())), "{operation:?}");
    }
}
