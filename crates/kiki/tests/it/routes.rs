//! Every route of every service has an authorisation case and a description.
//!
//! [`CASES`] says who may do what, and what of it the log tells. A route that is served and not listed fails the test, as does a listed one that is
//! not served. gRPC methods are read from `proto/`.

mod audited;
mod garbage;
mod log;
mod outbox;
mod repeats;
mod requests;

use std::collections::BTreeMap;
use std::path::Path;

use axum::Router;
use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use kiki::process::Process;
use kiki::services::Services;
use kiki_kit::authorisation::{ApiKey, Authenticator};
use kiki_kit::config::{Config, Flag, Sources};
use kiki_sandbox::mailbox::Faults;
use kiki_types::principal::PermissionSet;
use kiki_types::{ActorKind, Permission, Principal, TenantId};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{folder, here};
use Audit::{Reads, Writes};

const ID: &str = "01a1fdc5-f67a-77fb-b661-1f6e0791435e";

/// What a route does to the log.
#[derive(Clone, Copy)]
enum Audit {
    /// Nothing.
    Reads,
    /// One entry of this kind in the name of who asked.
    Writes(&'static str),
}

/// Service, method, path template, the permission that it needs, what it does to the log.
const CASES: &[(&str, &str, &str, Permission, Audit)] = &[
    ("shield", "GET", "/spend", Permission::SpendWrite, Writes("spend.authorize_and_capture")),
    ("shield", "POST", "/spend", Permission::SpendWrite, Writes("spend.authorize_and_capture")),
    ("shield", "GET", "/check", Permission::SpendRead, Writes("spend.check")),
    ("shield", "POST", "/consent/grant", Permission::ConsentWrite, Writes("consent.grant")),
    ("shield", "POST", "/consent/revoke", Permission::ConsentWrite, Writes("consent.revoke")),
    ("shield", "GET", "/consent/status", Permission::ConsentRead, Reads),
    ("shield", "GET", "/v1/consents", Permission::ConsentRead, Reads),
    ("shield", "POST", "/v1/consents", Permission::ConsentWrite, Writes("consent.grant")),
    ("shield", "POST", "/v1/consents/revoke", Permission::ConsentWrite, Writes("consent.revoke")),
    ("shield", "POST", "/v1/consents/confirm", Permission::ConsentWrite, Writes("consent.confirm")),
    ("shield", "POST", "/v1/consents/signals", Permission::ConsentWrite, Writes("consent.bar")),
    ("shield", "GET", "/v1/consents/history", Permission::ConsentRead, Reads),
    ("shield", "GET", "/v1/consent-texts/{version}", Permission::ConsentRead, Reads),
    ("shield", "PUT", "/v1/consent-texts/{version}", Permission::ConsentWrite, Writes("consent.text")),
    ("shield", "POST", "/dsr/create", Permission::SubjectRequestsWrite, Writes("dsr.create")),
    ("shield", "GET", "/v1/subject-requests", Permission::SubjectRequestsRead, Reads),
    ("shield", "POST", "/v1/subject-requests", Permission::SubjectRequestsWrite, Writes("dsr.create")),
    ("shield", "POST", "/v1/subject-requests/bulk", Permission::SubjectRequestsWrite, Writes("dsr.create")),
    ("shield", "POST", "/v1/subject-requests/vouch", Permission::SubjectRequestsDecide, Writes("dsr.vouch")),
    ("shield", "GET", "/v1/subject-requests/{id}", Permission::SubjectRequestsRead, Reads),
    ("shield", "POST", "/v1/subject-requests/{id}/code", Permission::SubjectRequestsWrite, Writes("dsr.code")),
    ("shield", "POST", "/v1/subject-requests/{id}/verify", Permission::SubjectRequestsWrite, Writes("dsr.verify")),
    ("shield", "POST", "/v1/subject-requests/{id}/vouch", Permission::SubjectRequestsDecide, Writes("dsr.vouch")),
    ("shield", "POST", "/v1/subject-requests/{id}/extend", Permission::SubjectRequestsDecide, Writes("dsr.extend")),
    ("shield", "POST", "/v1/subject-requests/{id}/refuse", Permission::SubjectRequestsDecide, Writes("dsr.refuse")),
    ("shield", "POST", "/v1/subject-requests/{id}/retry", Permission::SubjectRequestsDecide, Writes("dsr.retry")),
    ("shield", "POST", "/v1/subject-requests/{id}/lift", Permission::SubjectRequestsDecide, Writes("dsr.lift")),
    (
        "shield",
        "POST",
        "/v1/subject-requests/{id}/corrected",
        Permission::SubjectRequestsDecide,
        Writes("dsr.corrected"),
    ),
    (
        "shield",
        "POST",
        "/v1/subject-requests/{id}/destroy-key",
        Permission::SubjectRequestsDecide,
        Writes("dsr.destroy_key"),
    ),
    ("shield", "GET", "/v1/subject-requests/{id}/export", Permission::PersonalRead, Writes("dsr.download")),
    ("shield", "GET", "/v1/legal-holds", Permission::LegalHoldsWrite, Reads),
    ("shield", "POST", "/v1/legal-holds", Permission::LegalHoldsWrite, Writes("hold.place")),
    ("shield", "DELETE", "/v1/legal-holds/{id}", Permission::LegalHoldsWrite, Writes("hold.release")),
    ("shield", "GET", "/compliance/report", Permission::ComplianceRead, Reads),
    ("shield", "POST", "/v1/authorizations", Permission::SpendWrite, Writes("spend.authorize")),
    ("shield", "GET", "/v1/authorizations/{id}", Permission::SpendRead, Reads),
    ("shield", "POST", "/v1/authorizations/{id}/capture", Permission::SpendWrite, Writes("spend.capture")),
    ("shield", "POST", "/v1/authorizations/{id}/void", Permission::SpendWrite, Writes("spend.void")),
    ("shield", "POST", "/v1/authorizations/{id}/increase", Permission::SpendWrite, Writes("spend.increase")),
    ("shield", "POST", "/v1/authorizations/{id}/refund", Permission::SpendWrite, Writes("spend.refund")),
    ("shield", "POST", "/v1/authorizations/{id}/approve", Permission::ApprovalsWrite, Writes("spend.approve")),
    ("shield", "POST", "/v1/authorizations/{id}/reject", Permission::ApprovalsWrite, Writes("spend.reject")),
    ("shield", "GET", "/v1/approvals", Permission::SpendRead, Reads),
    ("shield", "POST", "/v1/records", Permission::SpendWrite, Writes("spend.record")),
    ("shield", "GET", "/v1/stops", Permission::SpendRead, Reads),
    ("shield", "POST", "/v1/stops", Permission::StopsWrite, Writes("spend.stop")),
    ("shield", "DELETE", "/v1/stops", Permission::StopsWrite, Writes("spend.resume")),
    ("shield", "GET", "/v1/budgets", Permission::BudgetsRead, Reads),
    ("shield", "GET", "/v1/budgets/{id}", Permission::BudgetsRead, Reads),
    ("shield", "PUT", "/v1/budgets/{id}", Permission::BudgetsWrite, Writes("budget.define")),
    ("shield", "GET", "/v1/webhooks", Permission::WebhooksRead, Reads),
    ("shield", "POST", "/v1/webhooks", Permission::WebhooksWrite, Writes("webhook.create")),
    ("shield", "GET", "/v1/webhooks/{id}", Permission::WebhooksRead, Reads),
    ("shield", "DELETE", "/v1/webhooks/{id}", Permission::WebhooksWrite, Writes("webhook.delete")),
    ("shield", "POST", "/v1/webhooks/{id}/rotate", Permission::WebhooksWrite, Writes("webhook.rotate")),
    ("shield", "POST", "/v1/webhooks/{id}/enable", Permission::WebhooksWrite, Writes("webhook.enable")),
    ("shield", "POST", "/v1/webhooks/{id}/test", Permission::WebhooksWrite, Writes("webhook.test")),
    ("shield", "GET", "/v1/webhooks/{id}/deliveries", Permission::WebhooksRead, Reads),
    (
        "shield",
        "POST",
        "/v1/webhooks/{id}/deliveries/{delivery_id}/retry",
        Permission::WebhooksWrite,
        Writes("webhook.retry"),
    ),
    ("shield", "DELETE", "/v1/budgets/{id}", Permission::BudgetsWrite, Writes("budget.remove")),
    ("shield", "PUT", "/v1/mandates/{id}", Permission::BudgetsWrite, Writes("mandate.define")),
    ("shield", "GET", "/v1/policy", Permission::PolicyRead, Reads),
    ("shield", "PUT", "/v1/policy", Permission::PolicyWrite, Writes("policy.put")),
    ("shield", "DELETE", "/v1/policy", Permission::PolicyWrite, Writes("policy.remove")),
    ("shield", "GET", "/v1/policy/versions", Permission::PolicyRead, Reads),
    ("shield", "POST", "/v1/policy/rollback", Permission::PolicyWrite, Writes("policy.rollback")),
    ("shield", "POST", "/v1/intents", Permission::SpendRead, Writes("intent")),
    ("shield", "GET", "/v1/audit/log/checkpoint", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/audit/log/tile/{level}/{*rest}", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/audit/log/tile/entries/{*rest}", Permission::LogRead, Reads),
    ("shield", "GET", "/v1/audit/proofs/inclusion", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/audit/proofs/consistency", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/audit/entries/{index}/proof", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/authorizations/{id}/proof", Permission::SpendRead, Reads),
    ("shield", "GET", "/v1/audit/keys", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/audit/entries", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/audit/entries/{index}", Permission::AuditRead, Reads),
    ("shield", "GET", "/v1/reports/{name}", Permission::ComplianceRead, Reads),
    ("shield", "GET", "/v1/retention", Permission::ComplianceRead, Reads),
    ("shield", "POST", "/v1/retention/run", Permission::RetentionWrite, Writes("retention.run")),
    ("shield", "GET", "/v1/breaches", Permission::ComplianceRead, Reads),
    ("shield", "POST", "/v1/breaches", Permission::BreachesWrite, Writes("breach.create")),
    ("shield", "GET", "/v1/breaches/{id}", Permission::ComplianceRead, Reads),
    ("shield", "PATCH", "/v1/breaches/{id}", Permission::BreachesWrite, Writes("breach.update")),
    ("engage", "GET", "/campaigns", Permission::CampaignsRead, Reads),
    ("engage", "POST", "/campaigns", Permission::CampaignsWrite, Writes("campaign.create")),
    ("engage", "GET", "/campaigns/{id}", Permission::CampaignsRead, Reads),
    ("engage", "POST", "/campaigns/{id}/run", Permission::MessagesSend, Writes("campaign.run")),
    ("engage", "POST", "/trigger", Permission::MessagesSend, Writes("message.send")),
    ("engage", "GET", "/sandbox/mailbox", Permission::SandboxRead, Reads),
    ("engage", "GET", "/sandbox/mailbox/{id}", Permission::SandboxRead, Reads),
    ("value", "POST", "/v1/predictions", Permission::ValueRead, Reads),
    ("value", "POST", "/v1/predictions/cohort", Permission::ValueRead, Reads),
    ("value", "GET", "/v1/models/current", Permission::ValueRead, Reads),
    ("value", "POST", "/predict-ltv", Permission::ValueRead, Reads),
    ("value", "POST", "/churn", Permission::ValueRead, Reads),
    ("value", "GET", "/baseline", Permission::ValueRead, Reads),
    ("value", "GET", "/models", Permission::ValueRead, Reads),
    ("value", "GET", "/models/compare", Permission::ValueRead, Reads),
    ("value", "GET", "/models/{version}", Permission::ValueRead, Reads),
    ("value", "GET", "/models/{version}/drift", Permission::ValueRead, Reads),
    ("value", "POST", "/models/{version}/promote", Permission::ValueWrite, Writes("value.model.promote")),
    ("value", "POST", "/models/rollback", Permission::ValueWrite, Writes("value.model.rollback")),
    ("value", "POST", "/v1/orders", Permission::ValueWrite, Writes("value.orders.record")),
    ("value", "POST", "/train", Permission::ValueWrite, Writes("value.train")),
    ("value", "GET", "/train/{id}", Permission::ValueRead, Reads),
];

/// gRPC methods and the permission that each needs.
const METHODS: &[(&str, &str, Permission)] = &[
    ("shield", "kiki.shield.v1.AuthorizationService/Authorize", Permission::SpendWrite),
    ("shield", "kiki.shield.v1.AuthorizationService/Capture", Permission::SpendWrite),
    ("shield", "kiki.shield.v1.AuthorizationService/Void", Permission::SpendWrite),
    ("shield", "kiki.shield.v1.AuthorizationService/Get", Permission::SpendRead),
    ("shield", "kiki.shield.v1.AuthorizationService/Increase", Permission::SpendWrite),
    ("shield", "kiki.shield.v1.AuthorizationService/Refund", Permission::SpendWrite),
    ("shield", "kiki.shield.v1.AuthorizationService/Approve", Permission::ApprovalsWrite),
    ("shield", "kiki.shield.v1.AuthorizationService/Reject", Permission::ApprovalsWrite),
    ("shield", "kiki.shield.v1.AuthorizationService/ListPending", Permission::SpendRead),
    ("shield", "kiki.shield.v1.AuthorizationService/Record", Permission::SpendWrite),
    ("shield", "kiki.shield.v1.BudgetService/Define", Permission::BudgetsWrite),
    ("shield", "kiki.shield.v1.BudgetService/Get", Permission::BudgetsRead),
    ("shield", "kiki.shield.v1.BudgetService/List", Permission::BudgetsRead),
    ("shield", "kiki.shield.v1.BudgetService/Remove", Permission::BudgetsWrite),
    ("shield", "kiki.shield.v1.ControlService/Stop", Permission::StopsWrite),
    ("shield", "kiki.shield.v1.ControlService/Resume", Permission::StopsWrite),
    ("shield", "kiki.shield.v1.ControlService/ListStops", Permission::SpendRead),
    ("shield", "kiki.shield.v1.ConsentService/Set", Permission::ConsentWrite),
    ("shield", "kiki.shield.v1.ConsentService/Get", Permission::ConsentRead),
    ("shield", "kiki.shield.v1.AuditService/Record", Permission::AuditWrite),
    ("engage", "kiki.privacy.v1.PersonalDataService/Declare", Permission::PersonalRead),
    ("engage", "kiki.privacy.v1.PersonalDataService/Export", Permission::PersonalRead),
    ("engage", "kiki.privacy.v1.PersonalDataService/Erase", Permission::PersonalWrite),
    ("engage", "kiki.privacy.v1.PersonalDataService/Rectify", Permission::PersonalWrite),
    ("engage", "kiki.privacy.v1.PersonalDataService/Restrict", Permission::PersonalWrite),
    ("engage", "kiki.privacy.v1.PersonalDataService/Expire", Permission::RetentionWrite),
    ("value", "kiki.value.v1.ValueService/PredictLTV", Permission::ValueRead),
    ("value", "kiki.value.v1.ValueService/PredictLTVBatch", Permission::ValueRead),
    ("value", "kiki.value.v1.ValueService/SelectCustomers", Permission::ValueRead),
    ("value", "kiki.value.v1.ValueService/PredictLTVStream", Permission::ValueRead),
    ("value", "kiki.value.v1.ValueService/PredictChurn", Permission::ValueRead),
    ("value", "kiki.value.v1.ValueService/PredictCohort", Permission::ValueRead),
    ("value", "kiki.value.v1.ValueService/GetBaseline", Permission::ValueRead),
    ("value", "kiki.value.v1.ValueService/GetDrift", Permission::ValueRead),
    ("value", "kiki.value.v1.OrderService/RecordOrders", Permission::ValueWrite),
];

/// What every service serves, to everybody.
const PUBLIC: [&str; 6] =
    ["/health", "/health/live", "/health/ready", "/health/startup", "/metrics", "/.well-known/gpc.json"];

fn key(permissions: PermissionSet, name: &str) -> ApiKey {
    let tenant = TenantId::default_tenant();
    ApiKey::new(name, Principal { tenant, name: name.to_owned(), kind: ActorKind::Agent, permissions })
}

/// A key for nobody's permissions, and for each permission one that has it alone and one that has all others.
fn keys() -> Vec<ApiKey> {
    let mut keys = vec![key(PermissionSet::NONE, "nothing")];
    for &permission in Permission::ALL {
        keys.push(key([permission].into_iter().collect(), &format!("only {permission}")));
        let others = Permission::ALL.iter().copied().filter(|&other| other != permission).collect();
        keys.push(key(others, &format!("all but {permission}")));
    }
    keys
}

/// All services in this process, below `folder`; nobody is let in without a key.
pub(crate) async fn services(folder: &Path, keys: Vec<ApiKey>) -> (Process, Services) {
    services_with(folder, keys, Vec::new()).await
}

/// As [`services`], with settings.
async fn services_with(folder: &Path, keys: Vec<ApiKey>, settings: Vec<Flag>) -> (Process, Services) {
    let data = folder.join("data").to_str().unwrap().to_owned();
    let data = Flag { flag: "--data", variable: "KIKI_DATA", value: data };
    let sources = Sources { flags: [data].into_iter().chain(settings).collect(), ..Sources::default() };
    let mut process = Process::open(Config::load(&sources).unwrap().config).await.unwrap();
    process.platform.authenticator = Authenticator::new(keys, false);
    let services = Services::start(&process, Faults::default()).await.unwrap();
    (process, services)
}

pub(crate) async fn stop(process: Process, services: Services) {
    process.tasks.shutdown().begin();
    process.tasks.ended(process.config.shutdown).await;
    services.stop().await.unwrap();
    // A connection that is left writes into the file yet, also into one that was put in its place.
    process.store.close().await;
}

struct Reply {
    status: StatusCode,
    code: String,
    grpc_status: Option<String>,
}

async fn ask(router: &Router, method: &Method, path: &str, kind: &str, key: Option<&str>) -> Reply {
    let mut request =
        Request::builder().method(method).uri(path).header("host", "localhost").header("content-type", kind);
    if let Some(key) = key {
        request = request.header("x-internal-api-key", key);
    }
    let body = if kind == "application/grpc" { Body::from(vec![0; 5]) } else { Body::from("{}") };
    let response = router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
    let status = response.status();
    let grpc_status = response.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Reply { status, code: problem["code"].as_str().unwrap_or_default().to_owned(), grpc_status }
}

/// A path with something in the place of each parameter.
fn concrete(path: &str) -> String {
    let parts = [
        ("{version}", "v1"),
        ("{index}", "0"),
        ("{level}", "0"),
        ("{name}", "summary"),
        ("{*rest}", "000.p/1"),
        ("{id}", ID),
        ("{delivery_id}", ID),
    ];
    parts.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value))
}

#[tokio::test]
async fn every_route_has_an_authorisation_case_and_keeps_to_it() {
    let folder = folder();
    let (process, services) = services(folder.path(), keys()).await;
    let mut cases: BTreeMap<_, _> =
        CASES.iter().map(|&(service, method, path, may, _)| ((service, method, path), may)).collect();
    for service in services.http() {
        let router = service.router();
        for operation in service.operations() {
            let (method, path) = (&operation.method, operation.path.as_str());
            if PUBLIC.contains(&path) {
                continue;
            }
            let what = format!("{method} {path} of {}", service.name());
            let case = cases.remove(&(service.name(), method.as_str(), path));
            let needed = case.unwrap_or_else(|| panic!("{what} has no authorisation case"));
            let url = concrete(path);
            let ask = async |key: Option<&str>| ask(&router, method, &url, "application/json", key).await;
            assert_eq!(ask(None).await.status, StatusCode::UNAUTHORIZED, "{what} without a key");
            assert_eq!(
                ask(Some("unknown")).await.status,
                StatusCode::UNAUTHORIZED,
                "{what} with a key that nobody has"
            );
            for key in ["nothing".to_owned(), format!("all but {needed}")] {
                let reply = ask(Some(&key)).await;
                assert_eq!(
                    (reply.status, reply.code.as_str()),
                    (StatusCode::FORBIDDEN, "permission_denied"),
                    "{what}: {key}"
                );
            }
            let reply = ask(Some(&format!("only {needed}"))).await;
            assert!(
                reply.status != StatusCode::UNAUTHORIZED && reply.code != "permission_denied",
                "{what}: {}",
                reply.code
            );
        }
    }
    assert!(cases.is_empty(), "listed and not served: {cases:?}");
    stop(process, services).await;
}

#[tokio::test]
async fn every_grpc_method_has_an_authorisation_case_and_keeps_to_it() {
    let folder = folder();
    let (process, services) = services(folder.path(), keys()).await;
    let mut declared = declared_methods();
    for &(service, method, needed) in METHODS {
        assert!(declared.remove(method), "{method} is listed and not in proto/");
        let router = services.http().into_iter().find(|http| http.name() == service).unwrap().router();
        let path = format!("/{method}");
        let status = async |key: Option<&str>| {
            ask(&router, &Method::POST, &path, "application/grpc", key).await.grpc_status.unwrap_or_default()
        };
        let (unauthenticated, permission_denied) = ("16", "7");
        assert_eq!(status(None).await, unauthenticated, "{method}");
        assert_eq!(status(Some(&format!("all but {needed}"))).await, permission_denied, "{method}");
        let allowed = status(Some(&format!("only {needed}"))).await;
        assert!(allowed != unauthenticated && allowed != permission_denied, "{method}: {allowed}");
    }
    assert!(declared.is_empty(), "without an authorisation case: {declared:?}");
    stop(process, services).await;
}

/// `package.Service/Method` of everything in `proto/`.
fn declared_methods() -> std::collections::BTreeSet<String> {
    let root = here("../../proto/kiki");
    let mut methods = std::collections::BTreeSet::new();
    for folder in std::fs::read_dir(root).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path().join("v1")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let (mut package, mut service) = ("", "");
            for line in text.lines() {
                let words: Vec<_> = line.split([' ', ';', '(']).filter(|word| !word.is_empty()).collect();
                match words.as_slice() {
                    ["package", name, ..] => package = name,
                    ["service", name, ..] => service = name,
                    ["rpc", name, ..] => _ = methods.insert(format!("{package}.{service}/{name}")),
                    _ => {}
                }
            }
        }
    }
    methods
}

#[tokio::test]
async fn the_description_of_each_service_is_as_reviewed() {
    let folder = folder();
    let (process, services) = services(folder.path(), Vec::new()).await;
    for service in services.http() {
        insta::assert_json_snapshot!(format!("openapi_{}", service.name()), service.open_api(), { ".info.version" => "[version]" });
    }
    stop(process, services).await;
}

/// A key with every permission, of the tenant it is named after.
fn tenant_key(tenant: &str) -> ApiKey {
    let principal = Principal::service(tenant.parse().unwrap(), tenant);
    ApiKey::new(tenant, Principal { kind: ActorKind::Agent, ..principal })
}

/// Calls with a key, and reads the answer.
async fn call(
    services: &Services,
    service: &str,
    method: &str,
    path: &str,
    key: &str,
    body: Value,
) -> (StatusCode, Value) {
    let router = services.http().into_iter().find(|http| http.name() == service).unwrap().router();
    let request = Request::builder().method(method).uri(path).header("x-internal-api-key", key);
    let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// The path of a training of the tenant.
async fn training(services: &Services, tenant: &str) -> String {
    let order = json!({"customer": "c", "date": "1997-01-01", "amount": "1"});
    let (_, begun) = call(services, "value", "POST", "/train?calibrate_until=1997-09-30", tenant, order).await;
    let path = format!("/train/{}", begun["id"].as_str().unwrap());
    assert_eq!(call(services, "value", "GET", &path, tenant, Value::Null).await.0, StatusCode::OK);
    path
}

#[tokio::test]
async fn another_tenants_ids_are_as_good_as_unknown() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![tenant_key("one"), tenant_key("other")]).await;
    let call = async |service: &str, method: &str, path: &str, key: &str, body: Value| {
        call(&services, service, method, path, key, body).await
    };
    let usd = |amount: &str| json!({"amount": amount, "currency": "USD"});
    let (_, held) = call("shield", "POST", "/v1/authorizations", "one", json!({"amount": usd("5")})).await;
    let authorization = format!("/v1/authorizations/{}", held["id"].as_str().unwrap());
    let limit = json!({"limit": {"kind": "total", "amount": "5"}});
    assert_eq!(call("shield", "PUT", "/v1/budgets/b", "one", limit.clone()).await.0, StatusCode::OK);
    let policy = json!({"rule_sets": {"a": "@id(\"a\") permit(principal, action, resource);"}});
    let (_, policy) = call("shield", "PUT", "/v1/policy", "one", policy).await;
    let (_, made) = call("shield", "POST", "/v1/webhooks", "one", json!({"url": "http://127.0.0.1:1/"})).await;
    let webhook = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let breach = json!({"nature": ["integrity"], "risk": "unlikely"});
    let (_, made) = call("shield", "POST", "/v1/breaches", "one", breach).await;
    let breach = format!("/v1/breaches/{}", made["id"].as_str().unwrap());
    let campaign = json!({
        "name": "c", "template": {"subject": "s", "body": "b"}, "cost_per_message": usd("1"), "budget": usd("1"),
    });
    let (_, made) = call("engage", "POST", "/campaigns", "one", campaign).await;
    let campaign = format!("/campaigns/{}", made["id"].as_str().unwrap());
    let consent = json!({"customer_id": "c", "consent_type": "marketing"});
    assert_eq!(call("shield", "POST", "/consent/grant", "one", consent).await.0, StatusCode::OK);

    let text = json!({"purpose": "marketing", "text": "We write to you."});
    assert_eq!(call("shield", "PUT", "/v1/consent-texts/v1", "one", text).await.0, StatusCode::OK);

    for (service, method, path) in [
        ("shield", "GET", "/v1/consent-texts/v1".to_owned()),
        ("shield", "GET", authorization.clone()),
        ("shield", "POST", format!("{authorization}/capture")),
        ("shield", "POST", format!("{authorization}/void")),
        ("shield", "GET", "/v1/budgets/b".to_owned()),
        ("shield", "GET", webhook.clone()),
        ("shield", "DELETE", webhook.clone()),
        ("shield", "POST", format!("{webhook}/rotate")),
        ("shield", "POST", format!("{webhook}/enable")),
        ("shield", "POST", format!("{webhook}/test")),
        ("shield", "GET", format!("{webhook}/deliveries")),
        ("shield", "POST", format!("{webhook}/deliveries/{ID}/retry")),
        ("shield", "GET", breach.clone()),
        ("shield", "PATCH", breach.clone()),
        ("engage", "GET", campaign.clone()),
        ("engage", "POST", format!("{campaign}/run")),
        ("engage", "GET", format!("/sandbox/mailbox/{ID}")),
        ("value", "GET", training(&services, "one").await),
    ] {
        assert_eq!(call(service, method, &path, "other", json!({})).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    let version = json!({"version": policy["version"].as_str().unwrap()});
    assert_eq!(call("shield", "POST", "/v1/policy/rollback", "other", version).await.0, StatusCode::NOT_FOUND);
    assert_eq!(call("shield", "GET", "/v1/policy", "other", Value::Null).await.1["version"], Value::Null);
    let (_, consents) = call("shield", "GET", "/consent/status?customer_id=c", "other", Value::Null).await;
    assert_eq!(consents["consents"]["marketing"], false);
    for (path, list) in [("/v1/consents", "consents"), ("/v1/consents/history", "records")] {
        let (_, answer) = call("shield", "GET", &format!("{path}?customer_id=c"), "other", Value::Null).await;
        assert_eq!(answer[list], json!([]), "{path}");
    }
    for (service, path, list) in [
        ("shield", "/v1/budgets", "budgets"),
        ("shield", "/v1/webhooks", "webhooks"),
        ("shield", "/v1/policy/versions", "versions"),
        ("shield", "/v1/breaches", "breaches"),
        ("engage", "/campaigns", "campaigns"),
        ("value", "/models", "models"),
    ] {
        let (_, page) = call(service, "GET", path, "other", Value::Null).await;
        assert_eq!(page[list], json!([]), "{path}");
    }
    assert_eq!(call("shield", "GET", "/v1/budgets/b", "one", Value::Null).await.1["held"], "5.00", "it still stands");
    stop(process, services).await;
}

#[tokio::test]
async fn another_tenant_neither_approves_nor_moves_nor_stops_anything() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![tenant_key("one"), tenant_key("other")]).await;
    let call = async |method: &str, path: &str, key: &str, body: Value| {
        call(&services, "shield", method, path, key, body).await
    };
    let two = json!({"account": "big", "amount": {"amount": "2", "currency": "USD"}});
    for (id, limit) in
        [("b", json!({"kind": "total", "amount": "9"})), ("big", json!({"kind": "approval", "above": "1"}))]
    {
        let body = json!({"account": "big", "limit": limit});
        assert_eq!(call("PUT", &format!("/v1/budgets/{id}"), "one", body).await.0, StatusCode::OK);
    }
    let (_, waits) = call("POST", "/v1/authorizations", "one", two.clone()).await;
    assert_eq!(waits["state"], "pending");
    let (_, gone) = call("POST", "/v1/records", "one", two.clone()).await;
    let path = |answer: &Value| format!("/v1/authorizations/{}", answer["id"].as_str().unwrap());
    let (waiting, record) = (path(&waits), path(&gone));
    assert_eq!(call("POST", "/v1/stops", "one", json!({"account": "off"})).await.0, StatusCode::OK);

    let amount = json!({"amount": two["amount"]});
    for (method, path, body) in [
        ("POST", format!("{waiting}/approve"), Value::Null),
        ("POST", format!("{waiting}/reject"), Value::Null),
        ("POST", format!("{waiting}/increase"), amount.clone()),
        ("POST", format!("{record}/refund"), amount),
        ("GET", record, Value::Null),
        ("DELETE", "/v1/budgets/b".to_owned(), Value::Null),
    ] {
        let body = if body.is_null() { json!({}) } else { body };
        assert_eq!(call(method, &path, "other", body).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    for (path, list) in [("/v1/approvals", "approvals"), ("/v1/stops", "stopped"), ("/v1/budgets", "budgets")] {
        assert_eq!(call("GET", path, "other", Value::Null).await.1[list], json!([]), "{path}");
    }
    let resumed = call("DELETE", "/v1/stops?account=off", "other", Value::Null).await;
    assert_eq!((resumed.0, &resumed.1["stopped"]), (StatusCode::OK, &json!([])));
    let mandate = json!({"account": "", "constraints": [{"type": "payment.budget", "currency": "USD", "max": 1}]});
    assert_eq!(call("PUT", "/v1/mandates/b", "other", mandate).await.0, StatusCode::OK);

    assert_eq!(call("GET", "/v1/stops", "one", Value::Null).await.1["stopped"], json!(["off"]));
    assert_eq!(call("GET", &waiting, "one", Value::Null).await.1["state"], "pending");
    let (_, budget) = call("GET", "/v1/budgets/b", "one", Value::Null).await;
    assert_eq!((&budget["used"], &budget["held"]), (&json!("2.00"), &json!("2.00")), "it still stands");
    stop(process, services).await;
}
