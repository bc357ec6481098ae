//! The campaign, its rerun, and single messages that other rules refuse.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::operator::{Operator, To};
use super::people::{PROBABILITY_ALIVE_MAX, VALUE_MIN, bar};

/// What a message costs, in cents.
const COST_CENTS: u64 = 100;
/// What the campaign may spend: less than those who agreed would cost.
const BUDGET: &str = "320.00";
/// How often to look how far a run is, and how long at the most.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 2400;
/// Pages of the mailbox at the most.
const PAGES_MAX: usize = 1000;

/// What became of the campaign.
#[derive(Debug)]
pub(super) struct Campaign {
    /// Messages by state.
    pub(super) messages: BTreeMap<String, u64>,
    /// Refusals and failures by reason.
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) budget: String,
    pub(super) spent: String,
    /// Messages that were sent by the first run.
    pub(super) sent_first: u64,
    /// Messages that the provider did not take in the first run.
    pub(super) failed_first: u64,
    /// Messages in the sandbox's mailbox after the rerun.
    pub(super) delivered: u64,
    /// The campaign's budget among the reasons.
    pub(super) budget_id: Option<String>,
}

/// A message to one customer, and the answer.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) what: &'static str,
    pub(super) refused_by: String,
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

/// Creates the win-back campaign, runs it, and runs it again.
pub(super) async fn campaign(operator: &Operator, audience: u64) -> anyhow::Result<Campaign> {
    let cost = format!("{}.{:02}", COST_CENTS / 100, COST_CENTS % 100);
    let new = json!({
        "name": "Win-back",
        "audience": {"value_min": VALUE_MIN, "probability_alive_max": PROBABILITY_ALIVE_MAX},
        "template": {
            "subject": "We have missed you",
            "body": "Dear customer {customer_id},\n\nit has been a while. Ten percent off your next order, until Sunday.\n",
        },
        "cost_per_message": usd(&cost),
        "budget": usd(BUDGET),
    });
    let created = operator.expect(To::Engage, Method::POST, "/campaigns", Some(&new)).await?;
    let path = format!("/campaigns/{}", created["id"].as_str().context("a campaign has an id")?);
    let first = run(operator, &path, "sending messages", audience).await?;
    let again = run(operator, &path, "running it again", audience).await?;
    let counts = |key: &str| serde_json::from_value::<BTreeMap<String, u64>>(again[key].clone());
    let (messages, reasons) = (counts("messages")?, counts("reasons")?);
    let budget_id = reasons.keys().find(|reason| reason.starts_with("campaign")).cloned();
    let amount = |key: &str| again[key]["amount"].as_str().unwrap_or_default().to_owned();
    let first = |state: &str| first["messages"][state].as_u64().unwrap_or_default();
    Ok(Campaign {
        delivered: delivered(operator).await?,
        messages,
        reasons,
        budget: amount("budget"),
        spent: amount("spent"),
        sent_first: first("captured"),
        failed_first: first("failed"),
        budget_id,
    })
}

/// Counts what the sandbox's mailbox received; no customer may be there twice.
async fn delivered(operator: &Operator) -> anyhow::Result<u64> {
    let mut recipients = HashSet::new();
    let mut path = "/sandbox/mailbox?limit=200".to_owned();
    for _ in 0..PAGES_MAX {
        let page = operator.expect(To::Engage, Method::GET, &path, None).await?;
        for message in page["messages"].as_array().into_iter().flatten() {
            let to = message["to"].as_str().context("a message has a recipient")?.to_owned();
            anyhow::ensure!(!recipients.contains(&to), "{to} was written to twice");
            recipients.insert(to);
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/sandbox/mailbox?limit=200&after={next}"),
            None => return Ok(recipients.len() as u64),
        }
    }
    anyhow::bail!("the mailbox does not end")
}

/// Runs the campaign at `path` to its end; how it stands then.
async fn run(operator: &Operator, path: &str, what: &'static str, audience: u64) -> anyhow::Result<Value> {
    operator.expect(To::Engage, Method::POST, &format!("{path}/run"), None).await?;
    let bar = bar(what, audience);
    for _ in 0..LOOKS_MAX {
        let campaign = operator.expect(To::Engage, Method::GET, &format!("{path}?limit=1"), None).await?;
        let done = campaign["messages"].as_object().into_iter().flatten();
        bar.set_position(done.filter(|(state, _)| *state != "pending").filter_map(|(_, count)| count.as_u64()).sum());
        match campaign["status"].as_str() {
            Some("running") => tokio::time::sleep(LOOK_EVERY).await,
            Some("completed") => {
                bar.finish();
                return Ok(campaign);
            }
            status => anyhow::bail!("the run ended as {}", status.unwrap_or("unknown")),
        }
    }
    anyhow::bail!("the run does not end")
}

/// Three messages that three other rules refuse.
pub(super) async fn single_messages(operator: &Operator, consented: &[Arc<str>]) -> anyhow::Result<Vec<Single>> {
    let [first, second, ..] = consented else { anyhow::bail!("nobody agreed to be written to") };
    let each = json!({"account": "growth/gifts", "limit": {"kind": "each", "least": "0.01", "most": "50.00"}});
    operator.expect(To::Shield, Method::PUT, "/v1/budgets/gift-each", Some(&each)).await?;
    let revoke = json!({"customer_id": first, "consent_type": "marketing"});
    operator.expect(To::Shield, Method::POST, "/consent/revoke", Some(&revoke)).await?;
    let asks = [
        ("to a customer who revoked a moment ago", first, "1.00", "growth/triggers"),
        ("with a gift of 75.00, at most 50.00 each", second, "75.00", "growth/gifts"),
        ("of 200.00, more than is left this minute", second, "200.00", "growth/letters"),
    ];
    let mut singles = Vec::new();
    for (what, customer, cost, account) in asks {
        let message = json!({
            "customer_id": customer, "cost_per_message": usd(cost), "account": account,
            "template": {"subject": "For you", "body": "Dear customer {customer_id}, this is for you.\n"},
        });
        let (status, answer) = operator.call(To::Engage, Method::POST, "/trigger", Some(&message)).await?;
        anyhow::ensure!(status == StatusCode::FORBIDDEN, "a message {what} was answered with {status}: {answer}");
        let by = answer["refused_by"].as_array().or_else(|| answer["reasons"].as_array()).into_iter().flatten();
        let refused_by = by.filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        singles.push(Single { what, refused_by });
    }
    Ok(singles)
}
