//! Every route that changes something leaves one entry of its kind in the log, in the name of who asked; one that only
//! looks leaves none.

use std::path::PathBuf;

use kiki_audit::Reader;
use kiki_growth::value::orders::OrderOptions;
use kiki_growth::value::{FitOptions, ModelKind, Promote, TimeUnit, fit_orders};
use kiki_shield::Pseudonyms;
use kiki_types::Currency;
use kiki_types::event::AuditEvent;

use super::*;
use crate::harness::PATIENCE;

/// Verbs that change nothing although their method could, and why.
const ONLY_ASKS: &[(&str, &str)] =
    &[("POST", "/v1/predictions"), ("POST", "/v1/predictions/cohort"), ("POST", "/predict-ltv"), ("POST", "/churn")];
/// Methods that change something although they should not: the seeds type them so.
const CHANGES_BY_GET: &[(&str, &str)] =
    &[("GET", "/spend"), ("GET", "/check"), ("GET", "/v1/subject-requests/{id}/export")];
/// What can be called only after a store failed.
const AFTER_A_FAILURE: &[&str] = &["/v1/subject-requests/{id}/retry", "/v1/subject-requests/{id}/destroy-key"];

#[test]
fn what_is_said_to_leave_no_entry_does_not_look_like_a_change() {
    for &(service, method, path, _, audit) in CASES {
        let changes = !matches!(method, "GET" | "HEAD");
        match audit {
            Reads if changes => {
                assert!(
                    ONLY_ASKS.contains(&(method, path)),
                    "{method} {path} of {service} changes what the log does not say"
                );
            }
            Writes(_) if !changes => {
                assert!(CHANGES_BY_GET.contains(&(method, path)), "{method} {path} of {service} changes something");
            }
            _ => {}
        }
    }
}

/// All services, and the log that they write.
pub(super) struct World {
    pub(super) services: Services,
    audit: PathBuf,
    pseudonyms: Pseudonyms,
}

pub(super) const KEY: &str = "default";

impl World {
    /// All services below `folder`, for the tenant [`KEY`] and those of `others`.
    pub(super) async fn start(folder: &Path, others: &[&str], settings: Vec<Flag>) -> (Process, Self) {
        let keys = [&[KEY], others].concat().into_iter().map(tenant_key).collect();
        let (process, services) = services_with(folder, keys, settings).await;
        let data = folder.join("data");
        let pseudonyms = Pseudonyms::open_or_create(&data.join("keys"), &mut rand::rng()).unwrap();
        (process, Self { services, audit: data.join("audit"), pseudonyms })
    }

    pub(super) async fn call(&self, service: &str, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = call(&self.services, service, method, path, KEY, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    pub(super) async fn shield(&self, method: &str, path: &str, body: Value) -> Value {
        self.call("shield", method, path, body).await
    }

    pub(super) fn entries(&self) -> u64 {
        kiki_audit::reader::entries(&self.audit).unwrap()
    }

    /// The entries from `from` on that are of this kind.
    pub(super) fn of_kind(&self, from: u64, kind: &str) -> Vec<AuditEvent> {
        let mut reader = Reader::open(&self.audit, from, self.entries()).unwrap();
        let mut found = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            let event = record.entry().unwrap().event;
            found.extend((event.event_type == kind).then_some(event));
        }
        found
    }

    /// As [`World::of_kind`], waiting until there is one: what is written in SQL follows through the outbox.
    pub(super) async fn await_kind(&self, from: u64, kind: &str) -> Vec<AuditEvent> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self.of_kind(from, kind);
            if !found.is_empty() || tokio::time::Instant::now() > deadline {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn hold(&self, account: &str) -> String {
        let held = self.shield("POST", "/v1/authorizations", json!({"account": account, "amount": usd("2")})).await;
        held["id"].as_str().unwrap().to_owned()
    }

    /// An authorization that waits for approval.
    async fn waiting(&self) -> String {
        let body = json!({"account": "big", "limit": {"kind": "approval", "above": "1"}});
        self.shield("PUT", "/v1/budgets/big", body).await;
        self.hold("big").await
    }

    async fn webhook(&self) -> String {
        let made = self.shield("POST", "/v1/webhooks", json!({"url": "http://127.0.0.1:1/"})).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn campaign(&self) -> String {
        self.call("engage", "POST", "/campaigns", campaign()).await["id"].as_str().unwrap().to_owned()
    }

    /// The version of a model that is in force.
    async fn model(&self) -> i64 {
        let options = FitOptions {
            orders: OrderOptions::default(),
            calibrate_until: "1997-09-30".parse().unwrap(),
            currency: Currency::USD,
            time_unit: TimeUnit::Week,
            model: ModelKind::BgNbd,
            hold_out: false,
        };
        let log = std::fs::read(here("../../examples/cdnow/CDNOW_sample.txt")).unwrap();
        let report = fit_orders(&*log, &options, &mut |_| ()).unwrap();
        let value = &self.services.value;
        value.save(&Principal::local_operator(), &report, Promote::Now).await.unwrap().version
    }

    /// As [`World::ready`], of what value knows.
    async fn ready_about_value(&self, path: &str) -> Option<(String, Value)> {
        let order = json!({"order_id": "1", "customer_id": "c", "ordered_at": "1997-10-01", "amount": "1"});
        Some(match path {
            "/models/{version}/promote" => (path.replace("{version}", &self.model().await.to_string()), json!({})),
            "/models/rollback" => {
                self.model().await;
                self.model().await;
                (path.to_owned(), json!({}))
            }
            "/v1/orders" => (path.to_owned(), json!({"orders": [order]})),
            "/train" => {
                let log = json!({"customer": "c", "date": "1997-01-01", "amount": "1"});
                (format!("{path}?calibrate_until=1997-09-30"), log)
            }
            _ => return None,
        })
    }

    /// As [`World::ready`], of what is about people and what they buy.
    async fn ready_about_people(&self, path: &str) -> Option<(String, Value)> {
        Some(match path {
            "/consent/grant" | "/consent/revoke" => {
                (path.to_owned(), json!({"customer_id": "c", "consent_type": "marketing"}))
            }
            "/v1/consents" | "/v1/consents/revoke" => {
                (path.to_owned(), json!({"customer_id": "c", "purpose": "marketing"}))
            }
            "/v1/retention/run" => (path.to_owned(), json!({})),
            "/v1/breaches" => (path.to_owned(), breach()),
            "/v1/breaches/{id}" => {
                let made = self.shield("POST", "/v1/breaches", breach()).await;
                let path = path.replace("{id}", made["id"].as_str().unwrap());
                (path, json!({"measures": "the key was changed"}))
            }
            "/v1/consents/confirm" => {
                let body = json!({"customer_id": "c", "purpose": "analytics", "double_opt_in": true});
                let made = self.shield("POST", "/v1/consents", body).await;
                let record = made["id"].as_str().unwrap().parse().unwrap();
                let mail = self.services.shield.shield.confirmation(&TenantId::default_tenant(), record).await;
                (path.to_owned(), json!({"token": *mail.unwrap().unwrap().token}))
            }
            "/v1/consents/signals" => (path.to_owned(), json!({"customer_id": "d", "signal": "gpc"})),
            "/v1/consent-texts/{version}" => {
                (path.replace("{version}", "v1"), json!({"purpose": "marketing", "text": "We write to you."}))
            }
            "/dsr/create" => (path.to_owned(), json!({"customer_id": "c", "request_type": "ACCESS"})),
            _ => return self.ready_about_value(path).await,
        })
    }

    /// What a case needs before it is called, and how it is called then: the path and the body.
    pub(super) async fn ready(&self, method: &str, path: &str) -> (String, Value) {
        let nothing = json!({});
        let with = |id: &str| path.replace("{id}", id);
        if let Some(ready) = self.ready_about_people(path).await {
            return ready;
        }
        if let Some(ready) = self.ready_about_requests(method, path).await {
            return ready;
        }
        match (method, path) {
            (_, "/spend") => (format!("{path}?amount=1"), json!({"amount": "1"})),
            (_, "/check") => (format!("{path}?ltv=600"), nothing),
            (_, "/v1/authorizations" | "/v1/records") => (path.to_owned(), json!({"amount": usd("1")})),
            (_, "/v1/authorizations/{id}/increase") => (with(&self.hold("a").await), json!({"amount": usd("1")})),
            (_, "/v1/authorizations/{id}/refund") => {
                let id = self.hold("a").await;
                self.shield("POST", &format!("/v1/authorizations/{id}/capture"), json!({})).await;
                (with(&id), json!({"amount": usd("1")}))
            }
            (_, "/v1/authorizations/{id}/approve" | "/v1/authorizations/{id}/reject") => {
                (with(&self.waiting().await), nothing)
            }
            (_, "/v1/authorizations/{id}/capture" | "/v1/authorizations/{id}/void") => {
                (with(&self.hold("a").await), nothing)
            }
            ("DELETE", "/v1/stops") => (format!("{path}?account=off"), nothing),
            (_, "/v1/stops") => (path.to_owned(), json!({"account": "off"})),
            (method, "/v1/budgets/{id}") => {
                let body = json!({"account": "b", "limit": {"kind": "total", "amount": "5"}});
                if method == "DELETE" {
                    self.shield("PUT", "/v1/budgets/gone", body.clone()).await;
                }
                (with(if method == "DELETE" { "gone" } else { "b" }), body)
            }
            (_, "/v1/mandates/{id}") => {
                let one = json!({"type": "payment.budget", "currency": "USD", "max": 1});
                (with("m"), json!({"account": "agent", "constraints": [one]}))
            }
            (_, "/v1/webhooks") => (path.to_owned(), json!({"url": "http://127.0.0.1:1/"})),
            (_, "/v1/webhooks/{id}/deliveries/{delivery_id}/retry") => {
                let id = self.webhook().await;
                let sent = self.shield("POST", &format!("/v1/webhooks/{id}/test"), json!({})).await;
                (with(&id).replace("{delivery_id}", sent["id"].as_str().unwrap()), nothing)
            }
            (_, path) if path.starts_with("/v1/webhooks/{id}") => (with(&self.webhook().await), nothing),
            ("PUT", "/v1/policy") => (path.to_owned(), policy("a")),
            ("DELETE", "/v1/policy") => {
                self.shield("PUT", "/v1/policy", policy("b")).await;
                (path.to_owned(), nothing)
            }
            (_, "/v1/policy/rollback") => {
                let first = self.shield("PUT", "/v1/policy", policy("c")).await;
                self.shield("PUT", "/v1/policy", policy("d")).await;
                (path.to_owned(), json!({"version": first["version"]}))
            }
            (_, "/v1/intents") => (path.to_owned(), json!({"action": "read"})),
            (_, "/campaigns") => (path.to_owned(), campaign()),
            (_, "/campaigns/{id}/run") => (with(&self.campaign().await), nothing),
            (_, "/trigger") => {
                let consent = json!({"customer_id": "c", "consent_type": "marketing"});
                self.shield("POST", "/consent/grant", consent).await;
                let template = json!({"subject": "s", "body": "b"});
                let message = json!({"customer_id": "c", "template": template, "cost_per_message": usd("1")});
                (path.to_owned(), message)
            }
            _ => panic!("{method} {path}: say how to call it"),
        }
    }
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

/// Rules that allow everything. The name makes the version.
fn policy(name: &str) -> Value {
    json!({"rule_sets": {name: "@id(\"a\") permit(principal, action, resource);"}})
}

fn breach() -> Value {
    json!({"nature": ["confidentiality"], "risk": "likely"})
}

fn campaign() -> Value {
    json!({"name": "c", "template": {"subject": "s", "body": "b"}, "cost_per_message": usd("1"), "budget": usd("1")})
}

/// Calls every route that changes something and `is_called`, each of which must leave its entry, of services with `settings`.
async fn each_leaves_its_entry(settings: Vec<Flag>, is_called: impl Fn(&str) -> bool) {
    let folder = folder();
    let tenant = TenantId::default_tenant();
    let (process, world) = World::start(folder.path(), &[], settings).await;
    assert_eq!(tenant.as_str(), KEY);
    let actor = world.pseudonyms.actor(&tenant, KEY).to_string();
    for &(service, method, path, _, audit) in CASES.iter().filter(|(_, _, path, ..)| is_called(path)) {
        let Writes(kind) = audit else { continue };
        let (url, body) = world.ready(method, path).await;
        let before = world.entries();
        world.call(service, method, &url, body).await;
        let found = world.await_kind(before, kind).await;
        let [event] = found.as_slice() else { panic!("{method} {path} left {} entries of {kind}", found.len()) };
        assert_eq!((event.actor.as_str(), &event.tenant), (actor.as_str(), &tenant), "{method} {path}");
        assert!(!event.action.is_empty() && !event.resource.is_empty(), "{method} {path}: {event:?}");
    }
    let World { services, .. } = world;
    stop(process, services).await;
}

#[tokio::test]
async fn every_route_that_changes_something_leaves_its_entry() {
    each_leaves_its_entry(Vec::new(), |path| !AFTER_A_FAILURE.contains(&path)).await;
}

#[tokio::test]
async fn what_is_done_after_a_store_failed_leaves_its_entry_too() {
    // Nobody is there: this service fails all that it is asked.
    let away = "http://127.0.0.1:1".to_owned();
    let away = Flag { flag: "--peers", variable: "KIKI_PRIVACY_PEERS", value: away };
    each_leaves_its_entry(vec![away], |path| AFTER_A_FAILURE.contains(&path)).await;
}

#[tokio::test]
async fn a_route_that_only_looks_leaves_nothing_in_the_log() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![tenant_key(KEY)]).await;
    let audit = folder.path().join("data/audit");
    let before = kiki_audit::reader::entries(&audit).unwrap();
    for &(service, method, path, _, audit) in CASES {
        if matches!(audit, Reads) {
            call(&services, service, method, &concrete(path), KEY, json!({})).await;
        }
    }
    stop(process, services).await;
    assert_eq!(kiki_audit::reader::entries(&audit).unwrap(), before);
}

#[test]
fn what_services_publish_is_what_is_handed_over() {
    let topic = kiki_shield::jobs::AUDIT_TOPIC;
    assert_eq!((kiki_growth::engage::AUDIT_TOPIC, kiki_growth::value::AUDIT_TOPIC), (topic, topic));
}
