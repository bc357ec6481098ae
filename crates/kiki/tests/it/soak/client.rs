//! A client: asks for money, settles it, and remembers what it was told.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use kiki_types::UnixMillis;
use kiki_types::money::{format_micros, parse_micros};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::budgets::{GONE, SHARED, own};
use super::ledger::Ledger;
use super::world::{World, count};
use crate::harness::Answer;

/// Requests that a client remembers at the most, to repeat and to look at them.
const REMEMBERED_MAX: usize = 5000;
/// Holds that a client leaves open at the most.
const OPEN_MAX: usize = 12;
/// Of those it remembers, how many a client looks at in the end.
const LOOKED_AT: usize = 1000;

/// An authorization and what was told of it.
struct Hold {
    id: String,
    account: String,
    amount: i64,
    captured: i64,
    refunded: i64,
    state: String,
    expires_at: i64,
}

impl Hold {
    fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "held" | "pending")
    }

    fn path(&self, verb: &str) -> String {
        format!("/v1/authorizations/{}{verb}", self.id)
    }
}

/// A request with a key, and its first answer.
struct Asked {
    key: String,
    body: Value,
    is_denied: bool,
    id: Value,
}

pub(crate) struct Client {
    world: Arc<World>,
    rng: SmallRng,
    name: String,
    own: String,
    keys: u64,
    holds: Vec<Hold>,
    asked: Vec<Asked>,
    ledger: Ledger,
}

fn money(micros: i64) -> Value {
    json!({"amount": format_micros(micros.into()), "currency": "USD"})
}

fn micros(money: &Value) -> i64 {
    money["amount"].as_str().and_then(|text| parse_micros(text).ok()).unwrap_or(-1)
}

fn at(text: &Value) -> i64 {
    text.as_str().and_then(|text| UnixMillis::parse_rfc3339(text).ok()).map_or(i64::MAX, |at| at.0)
}

impl Client {
    pub(crate) fn new(world: Arc<World>, seed: u64, number: usize) -> Self {
        let rng = SmallRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(number as u64));
        let (name, own) = (format!("{seed}-{number}"), own(number));
        Self { world, rng, name, own, keys: 0, holds: Vec::new(), asked: Vec::new(), ledger: Ledger::default() }
    }

    /// Goes on until the end, and settles what is open then, or lets it expire.
    pub(crate) async fn run(mut self) -> Ledger {
        while !self.world.is_over() {
            self.step().await;
            let pause = self.rng.random_range(5..30);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if !self.world.is_violated() {
            for hold in 0..self.holds.len() {
                if self.holds[hold].is_open() && self.rng.random_bool(0.7) {
                    self.settle(hold).await;
                }
            }
            let first = self.holds.len().saturating_sub(LOOKED_AT);
            for hold in first..self.holds.len() {
                self.look(hold).await;
            }
        }
        self.ledger
    }

    async fn step(&mut self) {
        let open: Vec<usize> =
            (0..self.holds.len()).rev().take(200).filter(|&hold| self.holds[hold].is_open()).collect();
        match self.rng.random_range(0..100) {
            0..8 if !self.asked.is_empty() => self.repeat().await,
            8..14 => self.spend().await,
            14..18 => self.record().await,
            18..20 => self.stop().await,
            20..26 if !self.holds.is_empty() => {
                let hold = self.rng.random_range(0..self.holds.len());
                self.look(hold).await;
            }
            26..32 if !self.holds.is_empty() => {
                let hold = self.rng.random_range(0..self.holds.len());
                self.refund(hold).await;
            }
            32..65 if open.len() < OPEN_MAX => _ = self.authorize(None).await,
            _ if open.is_empty() => _ = self.authorize(None).await,
            _ => {
                let hold = open[self.rng.random_range(0..open.len())];
                self.settle(hold).await;
            }
        }
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("{}-{}", self.name, self.keys)
    }

    fn wrong(&self, what: &str, answer: &Answer) {
        let Answer { status, .. } = answer;
        self.world.violation(format!("client {}: {what}: {status} {}", self.name, answer.json()));
    }

    /// Asks for money with a key until it is answered; whether it was denied by a stop.
    async fn authorize(&mut self, account: Option<&str>) -> Option<bool> {
        let shared = SHARED[self.rng.random_range(0..SHARED.len())];
        let account = account.unwrap_or(shared).to_owned();
        let amount = self.rng.random_range(1..2000) * 10_000;
        let payee = ["alice", "bob", "mallory"][self.rng.random_range(0..3)];
        let ttl = self.rng.random_range(2..10);
        let body = json!({"account": account, "amount": money(amount), "payee": payee, "ttl_seconds": ttl});
        let key = self.key();
        let answer = self.world.insist(Method::POST, "/v1/authorizations", Some(&body), Some(&key)).await?;
        let told = answer.json();
        let is_denied = match answer.status {
            StatusCode::CREATED | StatusCode::ACCEPTED => false,
            StatusCode::FORBIDDEN => true,
            _ => {
                self.wrong("authorize", &answer);
                return None;
            }
        };
        if !is_denied {
            let mut hold = Hold {
                id: told["id"].as_str().unwrap_or_default().to_owned(),
                account,
                amount,
                captured: 0,
                refunded: 0,
                state: String::new(),
                expires_at: 0,
            };
            self.learn(&mut hold, &told);
            remember(&mut self.holds, hold, Hold::is_open);
        }
        remember(&mut self.asked, Asked { key, body, is_denied, id: told["id"].clone() }, |_| false);
        let refused_by = told["refused_by"].as_array();
        Some(is_denied && refused_by.is_some_and(|names| names.contains(&"stopped".into())))
    }

    /// Takes over what the service says of a hold; what it says of its money is booked.
    fn learn(&mut self, hold: &mut Hold, told: &Value) {
        let (captured, refunded) = (micros(&told["captured"]), micros(&told["refunded"]));
        self.ledger.moved(&hold.account, (captured - refunded) - (hold.captured - hold.refunded));
        (hold.amount, hold.captured, hold.refunded) = (micros(&told["amount"]), captured, refunded);
        told["state"].as_str().unwrap_or_default().clone_into(&mut hold.state);
        hold.expires_at = at(&told["expires_at"]);
    }

    fn learned(&mut self, index: usize, told: &Value) {
        let mut hold = self.holds.swap_remove(index);
        self.learn(&mut hold, told);
        self.holds.push(hold);
        let last = self.holds.len() - 1;
        self.holds.swap(index, last);
    }

    /// The same key gets the same answer.
    async fn repeat(&mut self) {
        count(&self.world.counts.repeats);
        let index = self.rng.random_range(0..self.asked.len());
        let Asked { key, body, is_denied, id } = &self.asked[index];
        let Some(answer) = self.world.insist(Method::POST, "/v1/authorizations", Some(body), Some(key)).await else {
            return;
        };
        let is_same = match answer.status {
            StatusCode::FORBIDDEN => *is_denied,
            StatusCode::CREATED | StatusCode::ACCEPTED => !is_denied && answer.json()["id"] == *id,
            _ => false,
        };
        if !is_same {
            self.wrong(&format!("the key {key} was answered otherwise before (denied: {is_denied}, id {id})"), &answer);
        }
    }

    /// What was told of an authorization still holds.
    async fn look(&mut self, index: usize) {
        let hold = &self.holds[index];
        let Some(answer) = self.world.insist(Method::GET, &hold.path(""), None, None).await else { return };
        let told = answer.json();
        let numbers = (micros(&told["amount"]), micros(&told["captured"]), micros(&told["refunded"]));
        let is_expired = hold.is_open() && told["state"] == "expired" && self.world.now() >= hold.expires_at;
        let is_same = told["state"] == hold.state.as_str() || is_expired;
        if answer.status != StatusCode::OK || !is_same || numbers != (hold.amount, hold.captured, hold.refunded) {
            let Hold { id, amount, captured, refunded, state, expires_at, .. } = hold;
            let known =
                format!("{id} was {state} until {expires_at}, {amount} captured {captured} refunded {refunded}");
            return self.wrong(&known, &answer);
        }
        self.learned(index, &told);
    }

    /// Asks what became of a change that nobody answered.
    async fn reconcile(&mut self, index: usize) {
        let path = self.holds[index].path("");
        let Some(answer) = self.world.insist(Method::GET, &path, None, None).await else { return };
        if answer.status == StatusCode::OK {
            self.learned(index, &answer.json());
        } else {
            self.wrong("what was held is unknown", &answer);
        }
    }

    async fn settle(&mut self, index: usize) {
        let is_pending = self.holds[index].state == "pending";
        match self.rng.random_range(0..100) {
            _ if is_pending => {
                let verb = if self.rng.random_bool(0.8) { "/approve" } else { "/reject" };
                self.resolve(index, verb, None).await;
            }
            0..45 => self.resolve(index, "/capture", Some(json!({}))).await,
            45..65 => {
                let part = self.rng.random_range(1..=self.holds[index].amount.max(1));
                self.resolve(index, "/capture", Some(json!({"amount": money(part)}))).await;
            }
            65..82 => self.resolve(index, "/void", None).await,
            _ => self.increase(index).await,
        }
    }

    /// Settles a hold by what may be asked again until it is answered.
    async fn resolve(&mut self, index: usize, verb: &str, body: Option<Value>) {
        let hold = &self.holds[index];
        let Some(answer) = self.world.insist(Method::POST, &hold.path(verb), body.as_ref(), None).await else { return };
        let told = answer.json();
        match answer.status {
            StatusCode::OK => {
                let wanted = body
                    .as_ref()
                    .map(|body| if body["amount"].is_null() { hold.amount } else { micros(&body["amount"]) });
                if wanted.is_some_and(|wanted| micros(&told["captured"]) != wanted) {
                    self.wrong(&format!("{verb} of {} told another amount", hold.id), &answer);
                }
                self.learned(index, &told);
            }
            StatusCode::CONFLICT if self.world.now() >= hold.expires_at => self.reconcile(index).await,
            _ => {
                let Hold { id, state, expires_at, .. } = hold;
                self.wrong(&format!("{verb} of {id}, which was {state} until {expires_at}"), &answer);
            }
        }
    }

    async fn increase(&mut self, index: usize) {
        let (by, hold) = (self.rng.random_range(1..500) * 10_000, &self.holds[index]);
        let body = json!({"amount": money(by)});
        let Some(answer) = self.world.ask(Method::POST, &hold.path("/increase"), Some(&body), None).await else {
            return self.reconcile(index).await;
        };
        match answer.status {
            StatusCode::OK if micros(&answer.json()["amount"]) == hold.amount + by => {
                self.learned(index, &answer.json());
            }
            StatusCode::FORBIDDEN => {}
            StatusCode::CONFLICT if self.world.now() >= hold.expires_at => self.reconcile(index).await,
            _ => self.wrong(&format!("increase of {} from {} by {by}", hold.id, hold.amount), &answer),
        }
    }

    async fn refund(&mut self, index: usize) {
        let hold = &self.holds[index];
        let left = hold.captured - hold.refunded;
        if left <= 0 {
            return;
        }
        let part = self.rng.random_range(1..=left);
        let body = json!({"amount": money(part)});
        let Some(answer) = self.world.ask(Method::POST, &hold.path("/refund"), Some(&body), None).await else {
            return self.reconcile(index).await;
        };
        match answer.status {
            StatusCode::OK if micros(&answer.json()["refunded"]) == hold.refunded + part => {
                self.learned(index, &answer.json());
            }
            _ => self.wrong(&format!("refund of {part} of {}", hold.id), &answer),
        }
    }

    /// Without a key: what is not answered may have moved.
    async fn spend(&mut self) {
        let account = if self.rng.random_bool(0.5) { self.own.clone() } else { "a/y".to_owned() };
        let amount = self.rng.random_range(1..500) * 10_000;
        let path = format!("/spend?amount={}&account={account}", format_micros(amount.into()));
        match self.world.ask(Method::POST, &path, None, None).await {
            None => self.ledger.may_have_moved(&account, amount),
            Some(answer) if answer.status == StatusCode::OK => self.ledger.moved(&account, amount),
            Some(answer) if answer.status == StatusCode::FORBIDDEN => {}
            Some(answer) => self.wrong("spend", &answer),
        }
    }

    async fn record(&mut self) {
        let (account, amount) = (format!("{GONE}/{}", self.own), self.rng.random_range(1..300) * 10_000);
        let (body, key) = (json!({"account": account, "amount": money(amount)}), self.key());
        // The second time nothing more is booked.
        let mut id = None;
        for _ in 0..self.rng.random_range(1..=2) {
            let answer = self.world.insist(Method::POST, "/v1/records", Some(&body), Some(&key)).await;
            let Some(answer) = answer else { return };
            let told = answer.json()["id"].clone();
            if answer.status != StatusCode::CREATED || *id.get_or_insert_with(|| told.clone()) != told {
                return self.wrong("record", &answer);
            }
        }
        self.ledger.moved(&account, amount);
    }

    /// A stop is in force from its answer on, whatever happens to the process, and gone after a resume.
    async fn stop(&mut self) {
        let own = self.own.clone();
        let Some(answer) = self.world.insist(Method::POST, "/v1/stops", Some(&json!({"account": own})), None).await
        else {
            return;
        };
        if answer.status != StatusCode::OK {
            return self.wrong("stop", &answer);
        }
        if self.authorize(Some(&own)).await == Some(false) {
            self.world.violation(format!("client {}: the stop of {own} did not hold", self.name));
        }
        let resumed = self.world.insist(Method::DELETE, &format!("/v1/stops?account={own}"), None, None).await;
        if resumed.is_some() && self.authorize(Some(&own)).await == Some(true) {
            self.world.violation(format!("client {}: the resume of {own} did not hold", self.name));
        }
    }
}

/// Pushes; beyond the bound the oldest goes that need not be kept.
fn remember<T>(all: &mut Vec<T>, one: T, is_kept: impl Fn(&T) -> bool) {
    if all.len() >= REMEMBERED_MAX
        && let Some(oldest) = all.iter().position(|one| !is_kept(one))
    {
        all.remove(oldest);
    }
    all.push(one);
}
