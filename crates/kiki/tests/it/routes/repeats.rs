//! What a request does that comes again: with an `Idempotency-Key` it is done once. Where a route takes none, a repeat does
//! nothing that the first has not done, and its description says so.

use std::time::Duration;

use kiki_store::personal::Mint;

use super::audited::{KEY, World};
use super::*;
use crate::harness::PATIENCE;

/// Whose requests are about people, or would do something twice.
const TAGS: [&str; 4] = ["privacy", "consent", "compliance", "webhooks"];
const SEEDS: [&str; 3] = ["/dsr/create", "/consent/grant", "/consent/revoke"];
/// What moves money each time without a key.
const CHANGES: [&str; 2] = ["/v1/authorizations/{id}/increase", "/v1/authorizations/{id}/refund"];
/// What leaves an entry each time, as somebody did it each time.
const EACH_TIME: [&str; 4] = [
    "/v1/webhooks/{id}/enable",
    "/v1/webhooks/{id}/test",
    "/v1/webhooks/{id}/deliveries/{delivery_id}/retry",
    "/v1/retention/run",
];
/// What can be called only while a store fails: the stories of subject requests tell of it.
const AFTER_A_FAILURE: [&str; 2] = ["/v1/subject-requests/{id}/retry", "/v1/subject-requests/{id}/destroy-key"];
/// What another tenant can never call alike: it names something of one tenant.
const OF_ONE_TENANT: [&str; 4] = [
    "/v1/consents/confirm",
    "/v1/webhooks/{id}/rotate",
    "/v1/authorizations/{id}/increase",
    "/v1/authorizations/{id}/refund",
];

/// A route that is called by POST.
struct Route {
    path: &'static str,
    /// The kind of its entry.
    kind: &'static str,
    takes_key: bool,
    says: String,
}

/// Those that these tests are about.
fn routes(services: &Services) -> Vec<Route> {
    let shield = services.http().into_iter().find(|http| http.name() == "shield").unwrap();
    let api = serde_json::to_value(shield.open_api()).unwrap();
    let mut found = Vec::new();
    for &(service, method, path, _, audit) in CASES {
        let Writes(kind) = audit else { continue };
        let operation = &api["paths"][path]["post"];
        let is_meant =
            SEEDS.contains(&path) || CHANGES.contains(&path) || TAGS.iter().any(|tag| operation["tags"][0] == **tag);
        if (service, method) == ("shield", "POST") && is_meant {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let takes_key = parameters.iter().any(|one| one["name"] == "idempotency-key" && one["in"] == "header");
            let says = format!("{} {}", operation["summary"], operation["description"]);
            found.push(Route { path, kind, takes_key, says });
        }
    }
    assert!(found.len() > 20, "{} routes", found.len());
    found
}

impl World {
    /// Posts `body` as `tenant`, with an idempotency key if one is given.
    async fn post_as(&self, tenant: &str, path: &str, key: Option<&str>, body: &Value) -> (StatusCode, Value) {
        let router = self.services.http().into_iter().find(|http| http.name() == "shield").unwrap().router();
        let request =
            Request::post(path).header("x-internal-api-key", tenant).header("content-type", "application/json");
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let response = router.oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Entries of this kind from `from` on, once all that was written until now is in the log.
    async fn settled(&self, from: u64, kind: &str) -> usize {
        let (path, body, marker) = match kind {
            "hold.place" => ("/v1/webhooks", json!({"url": "http://127.0.0.1:1/"}), "webhook.create"),
            _ => ("/v1/legal-holds", json!({"customer_id": "marker", "matter": "m"}), "hold.place"),
        };
        let before = self.entries();
        self.shield("POST", path, body).await;
        assert!(!self.await_kind(before, marker).await.is_empty(), "the outbox moves");
        self.of_kind(from, kind).len()
    }
}

/// Another request to the same route; `None` where it takes nothing that could be other.
fn other(body: &Value) -> Option<Value> {
    let mut body = body.clone();
    let fields =
        [("customer_id", json!("someone-else")), ("url", json!("http://127.0.0.1:2/")), ("risk", json!("high"))];
    let mut fields = fields
        .into_iter()
        .chain([("token", json!("another")), ("amount", json!({"amount": "0.5", "currency": "USD"}))]);
    if let Some(first) = body.pointer_mut("/requests/0/customer_id") {
        *first = json!("someone-else");
        return Some(body);
    }
    let (name, value) = fields.find(|(name, _)| !body[name].is_null())?;
    body[name] = value;
    Some(body)
}

#[tokio::test]
async fn a_request_with_a_key_is_done_once_however_often_it_comes() {
    let folder = folder();
    let (process, world) = World::start(folder.path(), &["other"], Vec::new()).await;
    let mut count = 0;
    for Route { path, kind, .. } in routes(&world.services).iter().filter(|route| route.takes_key) {
        let (url, body) = world.ready("POST", path).await;
        world.settled(0, kind).await;
        let before = world.entries();
        let first = world.post_as(KEY, &url, Some("k"), &body).await;
        assert!(first.0.is_success(), "{path}: {first:?}");
        assert_eq!(world.post_as(KEY, &url, Some("k"), &body).await, first, "{path}, again");
        if let Some(other) = other(&body) {
            let (status, problem) = world.post_as(KEY, &url, Some("k"), &other).await;
            let told = (status, problem["code"].as_str());
            assert_eq!(told, (StatusCode::CONFLICT, Some("idempotency_conflict")), "{path}: {problem}");
        }
        assert_eq!(world.settled(before, kind).await, 1, "{path} was done once");
        if !OF_ONE_TENANT.contains(path) {
            let theirs = world.post_as("other", &url, Some("k"), &body).await;
            assert!(theirs.0.is_success() && theirs.1 != first.1, "{path} of another tenant: {theirs:?}");
        }
        count += 1;
    }
    assert!(count >= 13, "{count} routes take a key");
    stop(process, world.services).await;
}

#[tokio::test]
async fn of_two_with_one_key_at_once_one_is_done() {
    let folder = folder();
    let (process, world) = World::start(folder.path(), &[], Vec::new()).await;
    for Route { path, kind, .. } in routes(&world.services).iter().filter(|route| route.takes_key) {
        let (url, body) = world.ready("POST", path).await;
        world.settled(0, kind).await;
        let before = world.entries();
        let post = || world.post_as(KEY, &url, Some("twin"), &body);
        let (one, two) = tokio::join!(post(), post());
        let done = if one.0.is_success() { &one } else { &two };
        assert!(done.0.is_success(), "{path}: {one:?} {two:?}");
        // Taking back waits for nobody: of two at once both may be done, with an entry each.
        let is_revocation = path.ends_with("/revoke");
        for told in [&one, &two] {
            let waits = told.0 == StatusCode::CONFLICT && told.1["code"] == "idempotency_in_progress";
            let is_done = told == done || (is_revocation && told.0.is_success());
            assert!(waits || is_done, "{path}: {told:?} and not {done:?}");
        }
        let later = post().await;
        assert!(&later == done || (is_revocation && later.0.is_success()), "{path}, later: {later:?}");
        let count = world.settled(before, kind).await;
        assert!(count == 1 || (is_revocation && count == 2), "{path} was done {count} times");
    }
    stop(process, world.services).await;
}

#[tokio::test]
async fn what_takes_no_key_says_what_a_repeat_does_and_does_nothing_twice() {
    let folder = folder();
    let (process, world) = World::start(folder.path(), &[], Vec::new()).await;
    for Route { path, kind, says, .. } in routes(&world.services).iter().filter(|route| !route.takes_key) {
        assert!(says.contains("repeat"), "{path} takes no key and does not say what a repeat does: {says}");
        if EACH_TIME.contains(path) || AFTER_A_FAILURE.contains(path) {
            continue;
        }
        let (url, body) = world.ready("POST", path).await;
        world.settled(0, kind).await;
        let before = world.entries();
        let (status, first) = world.post_as(KEY, &url, None, &body).await;
        assert!(status.is_success(), "{path}: {status} {first}");
        let (status, again) = world.post_as(KEY, &url, None, &body).await;
        assert!(
            status.is_success() || status.is_client_error() && again["code"].is_string(),
            "{path}: {status} {again}"
        );
        assert_eq!(world.settled(before, kind).await, 1, "{path} was done once: {again}");
    }
    stop(process, world.services).await;
}

#[tokio::test]
async fn a_repeat_makes_nobody_known_again_who_was_erased() {
    let folder = folder();
    let (process, world) = World::start(folder.path(), &[], Vec::new()).await;
    let agreed = json!({"customer_id": "ann", "purpose": "marketing"});
    let asked = json!({"customer_id": "ann", "request_type": "DELETION", "notify": false});
    let grant = async || world.post_as(KEY, "/v1/consents", Some("k"), &agreed).await;
    let ask = async || world.post_as(KEY, "/v1/subject-requests", Some("k"), &asked).await;
    assert_eq!(grant().await.0, StatusCode::CREATED);
    let first = ask().await;
    let path = format!("/v1/subject-requests/{}", first.1["request_id"].as_str().unwrap());
    world.shield("POST", &format!("{path}/vouch"), json!({})).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while world.shield("GET", &path, Value::Null).await["status"] != "completed" {
        assert!(tokio::time::Instant::now() < deadline, "the deletion ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask().await, first);
    assert_eq!(grant().await.0, StatusCode::NOT_FOUND, "its record went with the person");
    let known = process.subjects.resolve(&TenantId::default_tenant(), "ann", Mint::No).await.unwrap();
    assert!(known.is_none(), "nobody is known by that name");
    stop(process, world.services).await;
}
