//! The customers: who agreed to be written to, and who is about to be lost.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use kiki_proto::shield::v1::SetConsentRequest;
use kiki_proto::shield::v1::consent_service_client::ConsentServiceClient;
use kiki_proto::value::v1::SelectCustomersRequest;
use kiki_proto::value::v1::value_service_client::ValueServiceClient;
use kiki_types::Purpose;
use sha2::{Digest as _, Sha256};

use super::operator::Operator;

/// How many of a hundred customers agree.
const CONSENTING_OF_100: u16 = 70;
/// Calls at the same time: the governor answers all that wait with one write to the disk.
const AT_ONCE: usize = 256;
/// Customers of one page.
const PAGE: i32 = 1000;
/// Pages at the most.
const PAGES_MAX: usize = 10_000;

/// Whom the win-back campaign is for: who may be gone already, and would be worth something if not.
pub(super) const PROBABILITY_ALIVE_MAX: f64 = 0.85;
/// The least predicted value, in dollars over a year.
pub(super) const VALUE_MIN: f64 = 2.0;

/// What the model says of all customers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Population {
    pub(super) customers: u64,
    pub(super) at_risk: u64,
    /// What those at risk are predicted to be worth over a year.
    pub(super) at_stake: f64,
}

/// Whether this customer agrees: decided by the hash of the id, so that every run asks the same people.
fn agrees(id: &str) -> bool {
    let digest = Sha256::digest(id);
    u16::from_be_bytes([digest[0], digest[1]]) % 100 < CONSENTING_OF_100
}

/// Records consent for those who agree. Returns who they are.
pub(super) async fn grant(operator: &Operator, ids: &[Arc<str>]) -> anyhow::Result<Vec<Arc<str>>> {
    let agreeing: Vec<Arc<str>> = ids.iter().filter(|id| agrees(id)).cloned().collect();
    let bar = bar("recording consent", agreeing.len() as u64);
    let client = ConsentServiceClient::new(operator.shield.clone());
    stream::iter(&agreeing)
        .map(|id| {
            let mut client = client.clone();
            let purpose = Purpose::Marketing.to_string();
            async move {
                client
                    .set(SetConsentRequest {
                        customer_id: id.to_string(),
                        purpose,
                        granted: true,
                        ..Default::default()
                    })
                    .await
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| {
            bar.inc(1);
            std::future::ready(Ok(()))
        })
        .await?;
    bar.finish();
    Ok(agreeing)
}

/// Asks the value service about everybody.
pub(super) async fn score(operator: &Operator) -> anyhow::Result<Population> {
    let mut client = ValueServiceClient::new(operator.value.clone());
    let mut population = Population::default();
    let mut request = SelectCustomersRequest { page_size: PAGE, ..SelectCustomersRequest::default() };
    let bar = bar("scoring customers", 0);
    for _ in 0..PAGES_MAX {
        let page = client.select_customers(request.clone()).await?.into_inner();
        bar.set_length(page.customers_known.unsigned_abs());
        for customer in &page.customers {
            population.customers += 1;
            if customer.probability_alive <= PROBABILITY_ALIVE_MAX && customer.value >= VALUE_MIN {
                population.at_risk += 1;
                population.at_stake += customer.value;
            }
        }
        bar.set_position(population.customers);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    bar.finish();
    Ok(population)
}

/// A bar that is shown on a terminal only.
pub(super) fn bar(what: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:32} {percent:>3} %  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
