//! The value service in a process of its own, with two versions of a model of simulated customers.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::load::client::{Connection, post};
use crate::load::server::Server;

/// Days of the order log. The model knows all of them.
const DAYS: f64 = 365.0;
const LAST_DAY: &str = "2024-12-30";
/// Orders that came since, each of another customer.
const ORDERS_SINCE: usize = 1_000;
/// How long to wait before looking again whether a model is fitted.
const LOOK: Duration = Duration::from_millis(50);

/// The service and how many customers it knows.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) customers: usize,
    _folder: TempDir,
}

impl World {
    /// With two versions, the first of them in force, and orders since.
    pub(crate) async fn new(customers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = order_log(customers);
        let server = Server::start(
            Command::new(env!("CARGO_BIN_EXE_kiki"))
                .args(["serve", "value", "--free-ports"])
                .env("KIKI_DATA", folder.path())
                .env("KIKI_LOG_FORMAT", "json")
                .env("KIKI_BODY_LIMIT_BYTES", (2 * log.len() + (1 << 20)).to_string()),
        );
        let world = Self { server, customers, _folder: folder };
        for is_first in [true, false] {
            world.train(&log, is_first).await;
        }
        let orders: Vec<Value> = (0..ORDERS_SINCE).map(|number| order(number, number % customers)).collect();
        world.connection().await.call(&post("/v1/orders", &json!({ "orders": orders }).to_string())).await;
        world
    }

    pub(crate) async fn connection(&self) -> Connection {
        Connection::open(self.server.address, 0).await
    }

    async fn train(&self, log: &str, promote: bool) {
        let path = format!("/train?calibrate_until={LAST_DAY}&promote={promote}");
        let mut connection = self.connection().await;
        let begun: Value = serde_json::from_slice(connection.call(&post(&path, log)).await).unwrap();
        let look = format!("GET /train/{} HTTP/1.1\r\nhost: localhost\r\n\r\n", begun["id"].as_str().unwrap());
        loop {
            let training: Value = serde_json::from_slice(connection.call(&look).await).unwrap();
            if training["state"] != "running" {
                assert_eq!(training["state"], "done", "{training}");
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The id of a customer.
pub(crate) fn name(number: usize) -> String {
    format!("c{number:07}")
}

/// An order after the model's last day.
pub(crate) fn order(number: usize, customer: usize) -> Value {
    json!({ "order_id": number.to_string(), "customer_id": name(customer), "ordered_at": "2025-01-15", "amount": "12.50" })
}

/// The orders of so many customers, who come in the first half of the log, buy at rates of their own, spend about means of
/// their own and may leave after each order.
fn order_log(customers: usize) -> String {
    let mut random = SmallRng::seed_from_u64(1);
    let mut log = "customer,date,amount\n".to_owned();
    for customer in 0..customers {
        let mut exponential = || -(1.0 - random.random::<f64>()).ln();
        let days_between = 60.0 / exponential().max(1e-6);
        let mean = 10.0 * (exponential() + exponential() + exponential());
        let leaves = 1.0 - random.random::<f64>().powf(0.4);
        let mut day = random.random::<f64>() * DAYS / 2.0;
        while day < DAYS {
            #[expect(clippy::cast_possible_truncation, reason = "the day within the year")]
            let date = jiff::civil::date(2024, 1, 1) + jiff::Span::new().days(day as i64);
            writeln!(log, "{},{date},{:.2}", name(customer), mean * (0.5 + random.random::<f64>())).unwrap();
            if random.random::<f64>() < leaves {
                break;
            }
            day -= days_between * (1.0 - random.random::<f64>()).ln();
        }
    }
    log
}
