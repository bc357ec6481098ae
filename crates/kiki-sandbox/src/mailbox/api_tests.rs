use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use kiki_kit::authorisation::Authenticator;
use kiki_kit::clock::ManualClock;
use kiki_kit::ids::CountingIds;
use kiki_kit::service::{HttpService, Limits, Platform};
use kiki_kit::shutdown::Shutdown;
use kiki_types::{Permission, Principal, TenantId, UnixMillis};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;
use crate::mailbox::MESSAGES_MAX;
use crate::mailbox::tests::{Flipped, delivered, eml};

fn id(number: u128) -> MessageId {
    Uuid::from_u128(number).into()
}

async fn filled() -> (TempDir, HttpService) {
    let folder = tempfile::tempdir().unwrap();
    let open = Arc::new(Flipped { gone: None });
    let mailbox = Mailbox::open(folder.path(), open, MESSAGES_MAX).unwrap();
    for number in 1..=3 {
        let eml = eml(id(number), "00042");
        delivered(&mailbox, &TenantId::default_tenant(), id(number), 1, &eml).await.unwrap();
    }
    let platform = Platform {
        clock: Arc::new(ManualClock::at(UnixMillis(0))),
        ids: Arc::new(CountingIds::default()),
        authenticator: Authenticator::new(Vec::new(), false),
        shutdown: Shutdown::new(),
        limits: Limits::default(),
    };
    (folder, HttpService::builder("sandbox", "0.0.0", &platform).api(api(mailbox)).build())
}

fn reader(tenant: &str) -> Principal {
    let permissions = [Permission::SandboxRead].into_iter().collect();
    Principal { permissions, ..Principal::service(tenant.parse().unwrap(), "reader") }
}

async fn get(service: &HttpService, who: Option<Principal>, path: &str) -> (StatusCode, Vec<u8>) {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    if let Some(who) = who {
        request.extensions_mut().insert(Arc::new(who));
    }
    let response = service.router().oneshot(request).await.unwrap();
    let status = response.status();
    (status, to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

async fn get_json(service: &HttpService, who: Principal, path: &str) -> (StatusCode, Value) {
    let (status, body) = get(service, Some(who), path).await;
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn the_mailbox_is_listed_a_page_at_a_time() {
    let (_folder, service) = filled().await;
    let (status, page) = get_json(&service, reader("default"), "/sandbox/mailbox?limit=2").await;
    assert_eq!(status, StatusCode::OK);
    let (first, _) = (&page["messages"][0], &page["messages"][1]);
    assert_eq!(first["to"], "00042@customers.invalid");
    assert_eq!(first["subject"], "We miss you");
    assert_eq!(first["at"], "2026-02-05T10:30:00.000Z");
    assert_eq!(page["next"], json!(id(2)));
    let path = format!("/sandbox/mailbox?limit=2&after={}", id(2));
    let (_, page) = get_json(&service, reader("default"), &path).await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 1);
    assert_eq!(page["next"], Value::Null);
}

#[tokio::test]
async fn a_message_is_read_as_it_was_delivered() {
    let (_folder, service) = filled().await;
    let (status, eml) = get(&service, Some(reader("default")), &format!("/sandbox/mailbox/{}", id(1))).await;
    assert_eq!(status, StatusCode::OK);
    let text = String::from_utf8(eml).unwrap();
    assert!(text.contains("Subject: We miss you\r\n") && text.contains("Come back."), "{text}");
}

#[tokio::test]
async fn another_tenant_sees_nothing() {
    let (_folder, service) = filled().await;
    let (_, page) = get_json(&service, reader("globex"), "/sandbox/mailbox").await;
    assert_eq!(page, json!({"messages": [], "next": null}));
    let (status, problem) = get_json(&service, reader("globex"), &format!("/sandbox/mailbox/{}", id(1))).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
}

#[tokio::test]
async fn who_may_not_read_is_refused() {
    let (_folder, service) = filled().await;
    let nobody = Principal { permissions: [Permission::SpendRead].into_iter().collect(), ..reader("default") };
    for path in ["/sandbox/mailbox".to_owned(), format!("/sandbox/mailbox/{}", id(1))] {
        assert_eq!(get(&service, None, &path).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(get(&service, Some(nobody.clone()), &path).await.0, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn bad_input_names_its_field() {
    let (_folder, service) = filled().await;
    for (path, field) in [
        ("/sandbox/mailbox?limit=0", "limit"),
        ("/sandbox/mailbox?limit=201", "limit"),
        ("/sandbox/mailbox?limit=-1", "limit"),
        ("/sandbox/mailbox?after=7", "after"),
        ("/sandbox/mailbox/7", "id"),
        ("/sandbox/mailbox/..%2F..%2Fetc", "id"),
    ] {
        let (status, problem) = get_json(&service, reader("default"), path).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &json!(field)), "{path}: {problem}");
    }
}
