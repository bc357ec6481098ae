//! The verbs of those who answer subject requests.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Call, encoded};
use crate::client::Client;
use crate::error::Error;

/// Requests that are opened or vouched for in one call.
const BATCH: usize = 1_000;

/// What became of a request in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubjectTask {
    /// The store.
    pub store: String,
    /// `pending`, `done` or `failed`.
    pub state: String,
    /// Rows that it concerned, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,
    /// What went wrong, as a code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A data subject request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SubjectRequest {
    /// Its id.
    pub request_id: String,
    /// The customer; absent once they were erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Such as `ACCESS`.
    pub request_type: String,
    /// Where it stands, such as `in_progress`.
    pub status: String,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ground: Option<String>,
    /// What it waits for that is not for the service to do: `source` or `copy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<String>,
    /// When it came.
    pub received_at: String,
    /// The last moment to answer it in.
    pub due_at: String,
    /// What became of it in each store; only of one that was asked for by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<SubjectTask>,
}

#[derive(Deserialize)]
struct Page {
    requests: Vec<SubjectRequest>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Made {
    request_ids: Vec<String>,
}

impl Client {
    /// The tenant's subject requests, the oldest first, in `state` if one is given; at most `limit`.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn subject_requests(&self, state: Option<&str>, limit: usize) -> Result<Vec<SubjectRequest>, Error> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let left = (limit - found.len()).clamp(1, BATCH);
            let mut path = format!("/v1/subject-requests?limit={left}");
            for (name, value) in [("state", state), ("after", after.as_deref())] {
                path.extend(value.map(|value| format!("&{name}={}", encoded(value))));
            }
            let page: Page = self.0.api.call(&Call::get(path)).await?;
            found.extend(page.requests);
            after = page.next;
            if after.is_none() || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// A subject request, and how far it is in each store.
    ///
    /// # Errors
    /// There is none with this id, or nobody can say.
    pub async fn subject_request(&self, id: &str) -> Result<SubjectRequest, Error> {
        self.0.api.call(&Call::get(format!("/v1/subject-requests/{}", encoded(id)))).await
    }

    /// What is held of the person of a request of access, as the ZIP that was made for it.
    ///
    /// # Errors
    /// None is kept, or it is larger than this client reads.
    pub async fn subject_export(&self, id: &str) -> Result<Vec<u8>, Error> {
        let path = format!("/v1/subject-requests/{}/export", encoded(id));
        Ok(self.0.api.answer(&Call::get(path)).await?.1.to_vec())
    }

    /// Asks for the erasure of customers without writing to them, and vouches for them if `vouch` is set. Returns the ids
    /// of the requests; what was asked for before an error stays.
    ///
    /// # Errors
    /// A customer id is none, or nobody can write it down now.
    pub async fn erase_customers(&self, customers: &[String], vouch: bool) -> Result<Vec<String>, Error> {
        let mut ids = Vec::with_capacity(customers.len());
        for customers in customers.chunks(BATCH) {
            let one = |id: &String| json!({"customer_id": id, "request_type": "DELETION", "notify": false});
            let body: Vec<Value> = customers.iter().map(one).collect();
            let call = Call::post("/v1/subject-requests/bulk", self.0.api.settings.key());
            let made: Made = self.0.api.call(&call.json(&json!({"requests": body}))).await?;
            if vouch {
                let call = Call::new(Method::POST, "/v1/subject-requests/vouch");
                self.0.api.answer(&call.json(&json!({"request_ids": made.request_ids}))).await?;
            }
            ids.extend(made.request_ids);
        }
        Ok(ids)
    }
}
