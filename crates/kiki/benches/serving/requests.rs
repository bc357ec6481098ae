//! What is asked over HTTP, each about customers at random.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use super::world::{name, order};
use crate::load::client::{Connection, Requests, post};

/// Ids of orders that a run sends; those of its setup are below.
static ORDERS: AtomicUsize = AtomicUsize::new(1_000_000);
/// How often versions change.
const MOVE: Duration = Duration::from_millis(100);

/// One customer a request.
pub(crate) struct One {
    pub(crate) customers: usize,
}

impl Requests for One {
    fn next(&self, random: &mut SmallRng) -> Cow<'_, str> {
        let customer = name(random.random_range(0..self.customers));
        Cow::Owned(post("/predict-ltv", &format!("{{\"customer_id\":\"{customer}\"}}")))
    }

    fn answered(&self, body: &[u8]) {
        assert!(text(body).contains("\"population\":false"), "everybody is known: {}", text(body));
    }
}

/// So many customers a request.
pub(crate) struct Batch {
    pub(crate) customers: usize,
    pub(crate) size: usize,
}

impl Requests for Batch {
    fn next(&self, random: &mut SmallRng) -> Cow<'_, str> {
        let asked: Vec<Value> =
            (0..self.size).map(|_| json!({"customer_id": name(random.random_range(0..self.customers))})).collect();
        Cow::Owned(post("/v1/predictions", &json!({ "requests": asked }).to_string()))
    }
}

/// Nine predictions to one order.
pub(crate) struct Mixed {
    pub(crate) customers: usize,
}

impl Requests for Mixed {
    fn next(&self, random: &mut SmallRng) -> Cow<'_, str> {
        if random.random_range(0..10) > 0 {
            return Cow::Owned(One { customers: self.customers }.next(random).into_owned());
        }
        let order = order(ORDERS.fetch_add(1, Ordering::Relaxed), random.random_range(0..self.customers));
        Cow::Owned(post("/v1/orders", &json!({ "orders": [order] }).to_string()))
    }
}

/// One customer a request, while versions change: an answer is of one of both.
pub(crate) struct Moving(pub(crate) One);

impl Requests for Moving {
    fn next(&self, random: &mut SmallRng) -> Cow<'_, str> {
        self.0.next(random)
    }

    fn answered(&self, body: &[u8]) {
        let body = text(body);
        assert!(body.ends_with("\"model_version\":1}") || body.ends_with("\"model_version\":2}"), "{body}");
    }
}

/// Puts the second version in force and takes it back, over and over. Returns how often.
pub(crate) async fn change_versions(address: SocketAddr, is_over: &AtomicBool) -> usize {
    let mut connection = Connection::open(address, 0).await;
    let mut changes = 0;
    while !is_over.load(Ordering::Relaxed) {
        for path in ["/models/2/promote", "/models/rollback"] {
            connection.call(&post(path, "{}")).await;
            changes += 1;
            tokio::time::sleep(MOVE).await;
        }
    }
    changes
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}
