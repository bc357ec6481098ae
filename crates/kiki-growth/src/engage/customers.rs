//! The value service, as engage sees it: an audience page by page, and one customer's prediction.

use std::time::Duration;

use kiki_kit::inprocess::Transport;
use kiki_kit::problem::logged_status;
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::predict_ltv_request::Who;
use kiki_proto::value::v1::value_service_client::ValueServiceClient;
use tonic::{Code, Response, Status};

use super::campaign::{Audience, HORIZON_WEEKS_DEFAULT};

/// How long one call may take: a page is computed for every customer that the model knows.
const CALL_TIME_MAX: Duration = Duration::from_secs(20);

/// Customers of one page.
const PAGE: i32 = 500;

/// Pages of one audience at the most: five million customers.
pub(super) const PAGES_MAX: usize = 10_000;

/// A customer as a template shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Customer {
    pub(super) id: String,
    /// Predicted value with two places.
    pub(super) value: String,
    /// Probability with two places.
    pub(super) probability_alive: String,
}

/// The value service does not answer, or answers what cannot be.
#[derive(Debug, thiserror::Error)]
#[error("the value service is away: {0}")]
pub(super) struct ValueAway(String);

impl ValueAway {
    /// This process may not act for the tenant.
    pub(super) fn no_way() -> Self {
        Self("there is no way to it for this tenant".to_owned())
    }
}

/// The value service for one tenant.
#[derive(Clone)]
pub(super) struct Customers {
    client: ValueServiceClient<Transport>,
}

impl Customers {
    pub(super) fn new(transport: Transport) -> Self {
        Self { client: ValueServiceClient::new(transport) }
    }

    /// A page of the audience, and the token of the next one.
    pub(super) async fn page(
        &self,
        audience: &Audience,
        token: String,
    ) -> Result<(Vec<Customer>, Option<String>), ValueAway> {
        let request = proto::SelectCustomersRequest {
            value_min: audience.value_min,
            value_max: audience.value_max,
            probability_alive_min: audience.probability_alive_min,
            probability_alive_max: audience.probability_alive_max,
            horizon_weeks: audience.horizon_weeks.unwrap_or(HORIZON_WEEKS_DEFAULT),
            monthly_discount: None,
            page_size: PAGE,
            page_token: token,
        };
        let page = call(self.client.clone().select_customers(request)).await.map_err(|status| away(&status))?;
        let next = Some(page.next_page_token).filter(|token| !token.is_empty());
        Ok((page.customers.into_iter().map(customer).collect(), next))
    }

    /// One customer; `None` if the model does not know them.
    pub(super) async fn find(&self, customer_id: &str, horizon_weeks: f64) -> Result<Option<Customer>, ValueAway> {
        let request = proto::PredictLtvRequest {
            who: Some(Who::CustomerId(customer_id.to_owned())),
            horizon_weeks,
            ..proto::PredictLtvRequest::default()
        };
        match call(self.client.clone().predict_ltv(request)).await {
            Ok(prediction) => Ok(Some(Customer { id: customer_id.to_owned(), ..customer(prediction) })),
            Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => Ok(None),
            Err(status) => Err(away(&status)),
        }
    }
}

fn customer(prediction: proto::PredictLtvResponse) -> Customer {
    Customer {
        id: prediction.customer_id,
        value: format!("{:.2}", prediction.value),
        probability_alive: format!("{:.2}", prediction.probability_alive),
    }
}

fn away(status: &Status) -> ValueAway {
    ValueAway(logged_status(status))
}

async fn call<T>(answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(CALL_TIME_MAX, answer).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("it did not answer in time")),
    }
}
