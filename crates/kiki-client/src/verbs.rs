//! The verbs of those who set budgets and watch: budgets, approvals, stops, intents, consent, health.

use std::collections::BTreeMap;

use http::Method;
use kiki_types::Purpose;
use kiki_types::id::AuthorizationId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{Call, encoded};
use crate::client::Client;
use crate::error::Error;
use crate::model::{
    Authorization, Budget, ConsentRecord, ConsentStanding, Consents, Health, Intent, NewBudget, RetentionPlan,
    RetentionRun, Verdict,
};

/// Entries of a page that are asked for.
const PAGE: usize = 1000;
/// Pages that are read of one list; what is beyond is not returned.
const PAGES_MAX: usize = 100;

#[derive(Deserialize)]
struct BudgetPage {
    budgets: Vec<Budget>,
    #[serde(default)]
    next: Option<Value>,
}

#[derive(Deserialize)]
struct ApprovalPage {
    approvals: Vec<Authorization>,
    next: Option<Value>,
}

#[derive(Deserialize)]
struct ConsentPage {
    records: Vec<ConsentRecord>,
    next: Option<Value>,
}

#[derive(Deserialize)]
struct Stops {
    stopped: Vec<String>,
    next: Option<Value>,
}

/// A list that comes in pages.
trait Page: DeserializeOwned {
    type Entry;
    fn parts(self) -> (Vec<Self::Entry>, Option<Value>);
}

impl Page for BudgetPage {
    type Entry = Budget;
    fn parts(self) -> (Vec<Budget>, Option<Value>) {
        (self.budgets, self.next)
    }
}

impl Page for ConsentPage {
    type Entry = ConsentRecord;
    fn parts(self) -> (Vec<ConsentRecord>, Option<Value>) {
        (self.records, self.next)
    }
}

impl Page for Stops {
    type Entry = String;
    fn parts(self) -> (Vec<String>, Option<Value>) {
        (self.stopped, self.next)
    }
}

impl Page for ApprovalPage {
    type Entry = Authorization;
    fn parts(self) -> (Vec<Authorization>, Option<Value>) {
        (self.approvals, self.next)
    }
}

impl Client {
    /// Defines a budget or replaces it. What was spent under it stays counted.
    ///
    /// # Errors
    /// A field is wrong, or nobody can decide.
    pub async fn put_budget(&self, id: &str, budget: &NewBudget) -> Result<Budget, Error> {
        self.0.api.call(&Call::new(Method::PUT, budget_path(id)).json(budget)).await
    }

    /// A budget and how it stands.
    ///
    /// # Errors
    /// There is none.
    pub async fn budget(&self, id: &str) -> Result<Budget, Error> {
        self.0.api.call(&Call::get(budget_path(id))).await
    }

    /// All budgets and how they stand, in the order of their definition; at most 100,000.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn budgets(&self) -> Result<Vec<Budget>, Error> {
        self.pages::<BudgetPage>("/v1/budgets").await
    }

    async fn pages<P: Page>(&self, path: &str) -> Result<Vec<P::Entry>, Error> {
        let mut found = Vec::new();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page: P = self
                .0
                .api
                .call(&Call::get(format!("{path}{}limit={PAGE}{after}", if path.contains('?') { '&' } else { '?' })))
                .await?;
            let (entries, next) = page.parts();
            found.extend(entries);
            match next {
                None | Some(Value::Null) => break,
                Some(Value::String(next)) => after = format!("&after={}", encoded(&next)),
                Some(next) => after = format!("&after={next}"),
            }
        }
        Ok(found)
    }

    /// Lets an agent pay within a mandate: defines the budgets that keep its constraints (Agent Payments Protocol).
    ///
    /// # Errors
    /// A constraint is one that no budget can keep.
    pub async fn put_mandate(&self, id: &str, account: &str, constraints: &[Value]) -> Result<Vec<Budget>, Error> {
        let body = json!({"account": account, "constraints": constraints});
        let call = Call::new(Method::PUT, format!("/v1/mandates/{}", encoded(id))).json(&body);
        Ok(self.0.api.call::<BudgetPage>(&call).await?.budgets)
    }

    /// Removes a budget.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete_budget(&self, id: &str) -> Result<(), Error> {
        self.0.api.answer(&Call::new(Method::DELETE, budget_path(id))).await.map(drop)
    }

    /// The authorizations that wait for approval, the oldest first; at most 100,000.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn approvals(&self) -> Result<Vec<Authorization>, Error> {
        self.pages::<ApprovalPage>("/v1/approvals").await
    }

    /// Approves: whoever asked may go on.
    ///
    /// # Errors
    /// [`Error::Denied`] by `four_eyes` if whoever asked may not approve; [`Error::Conflict`] if it has ended.
    pub async fn approve(&self, id: AuthorizationId) -> Result<Authorization, Error> {
        self.0.api.call(&Call::post(format!("/v1/authorizations/{id}/approve"), format!("approve-{id}"))).await
    }

    /// Rejects: the money is free again.
    ///
    /// # Errors
    /// As [`Client::approve`].
    pub async fn reject(&self, id: AuthorizationId) -> Result<Authorization, Error> {
        self.0.api.call(&Call::post(format!("/v1/authorizations/{id}/reject"), format!("reject-{id}"))).await
    }

    /// Stops an account and everything below it: every new authorization is refused. What is held may be settled.
    ///
    /// # Errors
    /// Nobody can decide.
    pub async fn stop(&self, account: &str) -> Result<(), Error> {
        let body = json!({"account": account});
        self.0.api.answer(&Call::post("/v1/stops", self.0.api.settings.key()).json(&body)).await.map(drop)
    }

    /// Lets an account that was stopped go on.
    ///
    /// # Errors
    /// Nobody can decide.
    pub async fn resume(&self, account: &str) -> Result<(), Error> {
        let path = format!("/v1/stops?account={}", encoded(account));
        self.0.api.answer(&Call::new(Method::DELETE, path)).await.map(drop)
    }

    /// The accounts that are stopped, with everything below; the empty one is the tenant itself. At most 100,000.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn stops(&self) -> Result<Vec<String>, Error> {
        self.pages::<Stops>("/v1/stops").await
    }

    /// What the policy says of an intent. Nothing is reserved.
    ///
    /// # Errors
    /// A field is wrong.
    pub async fn intent(&self, intent: &Intent) -> Result<Verdict, Error> {
        self.0.api.call(&Call::post("/v1/intents", self.0.api.settings.key()).json(intent)).await
    }

    /// Writes down that a customer agrees to `purpose`.
    ///
    /// # Errors
    /// Nobody can write it down now.
    pub async fn grant_consent(&self, customer_id: &str, purpose: Purpose) -> Result<Consents, Error> {
        self.set_consent("grant", customer_id, purpose).await
    }

    /// Writes down that a customer no longer agrees. The very next decision refuses.
    ///
    /// # Errors
    /// Nobody can write it down now.
    pub async fn revoke_consent(&self, customer_id: &str, purpose: Purpose) -> Result<Consents, Error> {
        self.set_consent("revoke", customer_id, purpose).await
    }

    async fn set_consent(&self, verb: &str, customer_id: &str, purpose: Purpose) -> Result<Consents, Error> {
        let body = json!({"customer_id": customer_id, "consent_type": purpose});
        self.0.api.call(&Call::post(format!("/consent/{verb}"), self.0.api.settings.key()).json(&body)).await
    }

    /// What a customer agrees to.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn consents(&self, customer_id: &str) -> Result<Consents, Error> {
        self.0.api.call(&Call::get(format!("/consent/status?customer_id={}", encoded(customer_id)))).await
    }

    /// What a customer agrees to by each channel, and what stands against it.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn consent_standing(&self, customer_id: &str) -> Result<ConsentStanding, Error> {
        self.0.api.call(&Call::get(format!("/v1/consents?customer_id={}", encoded(customer_id)))).await
    }

    /// All that a customer agreed to and took back, the oldest first; at most 100,000 acts.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn consent_history(&self, customer_id: &str) -> Result<Vec<ConsentRecord>, Error> {
        self.pages::<ConsentPage>(&format!("/v1/consents/history?customer_id={}", encoded(customer_id))).await
    }

    /// What was kept long enough and would go.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn retention(&self) -> Result<RetentionPlan, Error> {
        self.0.api.call(&Call::get("/v1/retention")).await
    }

    /// Removes what was kept long enough, for some seconds; [`RetentionRun::done`] says whether that was all.
    ///
    /// # Errors
    /// It may not be removed, or nobody answers.
    pub async fn run_retention(&self) -> Result<RetentionRun, Error> {
        self.0.api.call(&Call::new(Method::POST, "/v1/retention/run")).await
    }

    /// How the service is.
    ///
    /// # Errors
    /// It does not answer, or it is unhealthy.
    pub async fn health(&self) -> Result<Health, Error> {
        self.0.api.call(&Call::get("/health")).await
    }

    /// How many decisions of each outcome, such as `held` and `denied`, the service made since it was started.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn decisions(&self) -> Result<BTreeMap<String, u64>, Error> {
        let (_, text) = self.0.api.answer(&Call::get("/metrics")).await?;
        Ok(decisions_in(&String::from_utf8_lossy(&text)))
    }
}

const DECISIONS: &str = "kiki_spend_decisions_total{outcome=\"";

/// The counts of decisions in the text of the metrics.
fn decisions_in(metrics: &str) -> BTreeMap<String, u64> {
    let count = |line: &str| {
        let (outcome, count) = line.strip_prefix(DECISIONS)?.split_once("\"} ")?;
        Some((outcome.to_owned(), count.trim().parse().ok()?))
    };
    metrics.lines().filter_map(count).collect()
}

fn budget_path(id: &str) -> String {
    format!("/v1/budgets/{}", encoded(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_found_among_the_metrics() {
        let text = "# TYPE x counter\nx 7\nkiki_spend_decisions_total{outcome=\"denied\"} 2\n";
        assert_eq!(decisions_in(text), BTreeMap::from([("denied".to_owned(), 2)]));
    }
}
