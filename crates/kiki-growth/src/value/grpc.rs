//! gRPC: what other services ask, by `proto/kiki/value/v1/value.proto`.

use kiki_kit::authorisation::{Allowed, can};
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::predict_ltv_request::Who as ProtoWho;
use kiki_proto::value::v1::value_service_server::{ValueService, ValueServiceServer};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::error::ValueError;
use super::model::{
    BATCH_MAX, PAGE_DEFAULT, PAGE_MAX, Prediction, Question, SavedModel, Selection, customer, history, terms,
};
use super::service::Value;

/// The gRPC service.
#[must_use]
pub fn services(value: &Value) -> Routes {
    Routes::new(ValueServiceServer::new(value.clone()))
}

#[tonic::async_trait]
impl ValueService for Value {
    async fn predict_ltv(
        &self,
        request: Request<proto::PredictLtvRequest>,
    ) -> Result<Response<proto::PredictLtvResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let question = question(request.into_inner())?;
        let (model, prediction) = self.predict(&allowed.tenant, &question).await?;
        Ok(Response::new(response(&model, prediction)))
    }

    async fn predict_ltv_batch(
        &self,
        request: Request<proto::PredictLtvBatchRequest>,
    ) -> Result<Response<proto::PredictLtvBatchResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let requests = request.into_inner().requests;
        if requests.len() > BATCH_MAX {
            return Err(ValueError::invalid("requests", "must be at most 10000").into());
        }
        let questions: Vec<Question> = requests
            .into_iter()
            .enumerate()
            .map(|(index, request)| question(request).map_err(|error| error.within_batch(index)))
            .collect::<Result<_, _>>()?;
        let (model, predictions) = self.predict_batch(&allowed.tenant, &questions).await?;
        let responses = predictions.into_iter().map(|prediction| response(&model, prediction)).collect();
        Ok(Response::new(proto::PredictLtvBatchResponse { responses }))
    }

    async fn select_customers(
        &self,
        request: Request<proto::SelectCustomersRequest>,
    ) -> Result<Response<proto::SelectCustomersResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let request = request.into_inner();
        let wanted = selection(&request)?;
        let size = page_size(request.page_size)?;
        let from = Some(request.page_token).filter(|token| !token.is_empty());
        let from = from.map(|token| token.parse()).transpose()?;
        let page = self.select(&allowed.tenant, &wanted, size, from).await?;
        Ok(Response::new(proto::SelectCustomersResponse {
            customers_known: page.model.customers,
            next_page_token: page.next.map(|token| token.to_string()).unwrap_or_default(),
            customers: page.customers.into_iter().map(|prediction| response(&page.model, prediction)).collect(),
        }))
    }
}

/// 0 weeks are what protobuf says for none.
fn horizon(weeks: f64) -> Option<f64> {
    (weeks != 0.0).then_some(weeks)
}

fn question(request: proto::PredictLtvRequest) -> Result<Question, ValueError> {
    let who = match request.who {
        Some(ProtoWho::CustomerId(id)) => customer(id)?,
        Some(ProtoWho::History(given)) => history(given.frequency, given.recency, given.age, given.monetary)?,
        None => return Err(ValueError::invalid("who", "is missing: give customer_id or history")),
    };
    Ok(Question { who, terms: terms(horizon(request.horizon_weeks), request.monthly_discount)? })
}

fn selection(request: &proto::SelectCustomersRequest) -> Result<Selection, ValueError> {
    for (field, bound) in [
        ("value_min", request.value_min),
        ("value_max", request.value_max),
        ("probability_alive_min", request.probability_alive_min),
        ("probability_alive_max", request.probability_alive_max),
    ] {
        if bound.is_some_and(f64::is_nan) {
            return Err(ValueError::invalid(field, "must be a number"));
        }
    }
    Ok(Selection {
        value: (request.value_min, request.value_max),
        probability_alive: (request.probability_alive_min, request.probability_alive_max),
        terms: terms(horizon(request.horizon_weeks), request.monthly_discount)?,
    })
}

fn page_size(asked: i32) -> Result<usize, ValueError> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) if size <= PAGE_MAX => Ok(size),
        _ => Err(ValueError::invalid("page_size", "must be between 0 and 1000")),
    }
}

fn response(model: &SavedModel, prediction: Prediction) -> proto::PredictLtvResponse {
    proto::PredictLtvResponse {
        customer_id: prediction.customer_id,
        expected_purchases: prediction.expected_purchases,
        probability_alive: prediction.probability_alive,
        value: prediction.value,
        expected_order_value: prediction.expected_order_value,
        model: model.id.to_string(),
    }
}
