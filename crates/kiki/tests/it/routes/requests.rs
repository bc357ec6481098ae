//! How routes of subject requests and legal holds are called, and that they show other tenants nothing.

use super::audited::{KEY, World};
use super::*;
use crate::harness::PATIENCE;

impl World {
    /// What a case needs before it is called, and how it is called then: the path and the body.
    pub(super) async fn ready_about_requests(&self, method: &str, path: &str) -> Option<(String, Value)> {
        let (nothing, access) = (json!({}), json!({"customer_id": "c", "request_type": "ACCESS"}));
        let with = |id: &str| path.replace("{id}", id);
        Some(match (method, path) {
            (_, "/v1/subject-requests") => (path.to_owned(), access),
            (_, "/v1/subject-requests/bulk") => (path.to_owned(), json!({"requests": [access]})),
            (_, "/v1/subject-requests/vouch") => {
                (path.to_owned(), json!({"request_ids": [self.request("ACCESS").await]}))
            }
            (_, "/v1/subject-requests/{id}/verify") => {
                // Of somebody else: codes of one person are a minute apart.
                let id = self.request_of("verified", "ACCESS").await;
                (with(&id), json!({"code": self.code(&id).await}))
            }
            (_, "/v1/subject-requests/{id}/extend") => {
                (with(&self.request("ACCESS").await), json!({"reason": "number"}))
            }
            (_, "/v1/subject-requests/{id}/refuse") => {
                (with(&self.request("ACCESS").await), json!({"ground": "unfounded"}))
            }
            (_, "/v1/subject-requests/{id}/corrected") => {
                (with(&self.awaiting_its_source().await), json!({"note": "the order log"}))
            }
            (_, "/v1/subject-requests/{id}/retry") => (with(&self.failed("ACCESS").await), nothing),
            (_, "/v1/subject-requests/{id}/destroy-key") => {
                (format!("{}?by_hand=true", with(&self.failed("DELETION").await)), nothing)
            }
            (_, "/v1/subject-requests/{id}/lift") => (with(&self.carried_out("RESTRICTION").await), nothing),
            (_, "/v1/subject-requests/{id}/export") => (with(&self.carried_out("ACCESS").await), nothing),
            (_, path) if path.starts_with("/v1/subject-requests/{id}") => {
                (with(&self.request("ACCESS").await), nothing)
            }
            ("POST", "/v1/legal-holds") => (path.to_owned(), json!({"customer_id": "c", "matter": "m"})),
            (_, "/v1/legal-holds/{id}") => {
                let held = self.shield("POST", "/v1/legal-holds", json!({"customer_id": "c", "matter": "m"})).await;
                (with(held["hold_id"].as_str().unwrap()), nothing)
            }
            _ => return None,
        })
    }

    /// A subject request of which nobody is written to.
    async fn request(&self, kind: &str) -> String {
        self.request_of("c", kind).await
    }

    async fn request_of(&self, customer: &str, kind: &str) -> String {
        let asked = json!({"customer_id": customer, "request_type": kind, "notify": false});
        let made = self.shield("POST", "/v1/subject-requests", asked).await;
        made["request_id"].as_str().unwrap().to_owned()
    }

    /// One that was carried out.
    async fn carried_out(&self, kind: &str) -> String {
        let id = self.request(kind).await;
        self.vouched_until(id, |seen| seen["status"] == "completed").await
    }

    /// One of which a store failed, and that nobody carries out at the moment.
    async fn failed(&self, kind: &str) -> String {
        // Each of somebody else: a deletion waits for the copy of the same person.
        let id = self.request_of(kind, kind).await;
        let has_failed = |seen: &Value| seen["tasks"].as_array().is_some_and(|tasks| tasks.iter().any(is_failed));
        self.vouched_until(id, |seen| has_failed(seen) && seen["next_at"].is_string()).await
    }

    /// A rectification of somebody whose message tells what was computed.
    async fn awaiting_its_source(&self) -> String {
        let consent = json!({"customer_id": "written", "consent_type": "marketing"});
        self.shield("POST", "/consent/grant", consent).await;
        let (template, cost) = (json!({"subject": "s", "body": "b"}), json!({"amount": "1", "currency": "USD"}));
        let message = json!({"customer_id": "written", "template": template, "cost_per_message": cost});
        self.call("engage", "POST", "/trigger", message).await;
        let asked = json!({"customer_id": "written", "request_type": "RECTIFICATION", "correction": {"city": "Bonn"}});
        let made = self.shield("POST", "/v1/subject-requests", asked).await;
        let id = made["request_id"].as_str().unwrap().to_owned();
        self.vouched_until(id, |seen| seen["awaits"] == "source").await
    }

    /// Vouches for a request, and waits until it is as `is_so` wants it.
    async fn vouched_until(&self, id: String, is_so: impl Fn(&Value) -> bool) -> String {
        let path = format!("/v1/subject-requests/{id}");
        self.shield("POST", &format!("{path}/vouch"), json!({})).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let seen = self.shield("GET", &path, Value::Null).await;
            if is_so(&seen) {
                return id;
            }
            assert!(tokio::time::Instant::now() < deadline, "{seen}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// A code that was mailed for a request.
    async fn code(&self, id: &str) -> String {
        self.shield("POST", &format!("/v1/subject-requests/{id}/code"), json!({})).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let page = self.call("engage", "GET", "/sandbox/mailbox?limit=200", Value::Null).await;
            for mail in page["messages"].as_array().unwrap().iter().filter(|mail| mail["subject"] == "Your code") {
                let path = format!("/sandbox/mailbox/{}", mail["id"].as_str().unwrap());
                let mail = text(&self.services, "engage", &path, KEY).await;
                let mut words = mail.split_whitespace().map(|word| word.trim_end_matches('.'));
                let is_code = |word: &&str| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_digit());
                if mail.contains(id) {
                    return words.find(is_code).expect("a code").to_owned();
                }
            }
            assert!(tokio::time::Instant::now() < deadline, "no code was mailed");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn is_failed(task: &Value) -> bool {
    task["state"] == "failed"
}

/// What a GET with a key answers, as text.
async fn text(services: &Services, service: &str, path: &str, key: &str) -> String {
    let router = services.http().into_iter().find(|http| http.name() == service).unwrap().router();
    let request = Request::builder().uri(path).header("x-internal-api-key", key).body(Body::empty()).unwrap();
    let bytes = router.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn another_tenant_neither_sees_nor_decides_requests_nor_releases_holds() {
    let folder = folder();
    let (process, services) = services(folder.path(), vec![tenant_key("one"), tenant_key("other")]).await;
    let call = async |method: &str, path: &str, key: &str, body: Value| {
        call(&services, "shield", method, path, key, body).await
    };
    let access = json!({"customer_id": "c", "request_type": "ACCESS"});
    let (_, made) = call("POST", "/v1/subject-requests", "one", access).await;
    let id = made["request_id"].as_str().unwrap();
    let request = format!("/v1/subject-requests/{id}");
    let (_, held) = call("POST", "/v1/legal-holds", "one", json!({"customer_id": "c", "matter": "m"})).await;
    let hold = format!("/v1/legal-holds/{}", held["hold_id"].as_str().unwrap());
    for (method, path, body) in [
        ("GET", request.clone(), Value::Null),
        ("GET", format!("{request}/export"), Value::Null),
        ("POST", format!("{request}/code"), json!({})),
        ("POST", format!("{request}/verify"), json!({"code": "000000"})),
        ("POST", format!("{request}/vouch"), json!({})),
        ("POST", format!("{request}/extend"), json!({"reason": "number"})),
        ("POST", format!("{request}/refuse"), json!({"ground": "exempt"})),
        ("POST", format!("{request}/retry"), json!({})),
        ("POST", format!("{request}/lift"), json!({})),
        ("POST", format!("{request}/corrected"), json!({"note": "n"})),
        ("POST", format!("{request}/destroy-key"), json!({})),
        ("POST", "/v1/subject-requests/vouch".to_owned(), json!({"request_ids": [id]})),
        ("DELETE", hold, json!({})),
    ] {
        assert_eq!(call(method, &path, "other", body).await.0, StatusCode::NOT_FOUND, "{method} {path}");
    }
    for (path, list) in [("/v1/subject-requests", "requests"), ("/v1/legal-holds", "holds")] {
        assert_eq!(call("GET", path, "other", Value::Null).await.1[list], json!([]), "{path}");
        assert_eq!(call("GET", path, "one", Value::Null).await.1[list].as_array().unwrap().len(), 1, "{path}");
    }
    stop(process, services).await;
}
