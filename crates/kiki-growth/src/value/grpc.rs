//! gRPC: what other services ask, by `proto/kiki/value/v1/value.proto`.

mod drift;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kiki_kit::authorisation::{Allowed, can};
use kiki_models::ltv::Estimate;
use kiki_proto::value::v1 as proto;
use kiki_proto::value::v1::order_service_server::{OrderService, OrderServiceServer};
use kiki_proto::value::v1::predict_cohort_request::Who as CohortWho;
use kiki_proto::value::v1::predict_ltv_request::Who as ProtoWho;
use kiki_proto::value::v1::value_service_server::{ValueService, ValueServiceServer};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::baseline::DAYS_DEFAULT;
use super::cohort::Members;
use super::error::ValueError;
use super::live::{NewOrder, ORDERS_PER_CALL_MAX};
use super::model::{About, BATCH_MAX, Prediction, Question, SavedModel, Scope, customer, history, terms};
use super::selection::{PAGE_DEFAULT, PAGE_MAX, Selection};
use super::service::{Asked, Value};

/// Requests of a stream that are answered together at the most.
const STREAM_CHUNK: usize = 500;

/// The gRPC services.
#[must_use]
pub fn services(value: &Value) -> Routes {
    Routes::new(ValueServiceServer::new(value.clone())).add_service(OrderServiceServer::new(value.clone()))
}

#[tonic::async_trait]
impl OrderService for Value {
    async fn record_orders(
        &self,
        request: Request<Streaming<proto::RecordOrdersRequest>>,
    ) -> Result<Response<proto::RecordOrdersResponse>, Status> {
        let allowed = Allowed::<can::ValueWrite>::from_grpc(&request)?;
        let mut chunks = request.into_inner().try_ready_chunks(ORDERS_PER_CALL_MAX);
        let mut recorded: usize = 0;
        while let Some(chunk) = chunks.next().await {
            // What came before the stream broke is taken in; all of it may be sent again.
            let (orders, broken) = match chunk {
                Ok(orders) => (orders, None),
                Err(stream::TryReadyChunksError(orders, status)) => (orders, Some(status)),
            };
            let orders = (recorded..).zip(orders).map(|(index, one)| {
                let order = NewOrder::new(one.order_id, one.customer_id, &one.ordered_at, &one.amount, one.cancelled);
                order.map_err(|error| error.within("orders", index))
            });
            let orders = orders.collect::<Result<Vec<_>, ValueError>>()?;
            if !orders.is_empty() {
                let first = recorded;
                recorded = recorded.saturating_add(orders.len());
                self.record(&allowed, (first, orders), None).await?;
            }
            if let Some(status) = broken {
                return Err(status);
            }
        }
        Ok(Response::new(proto::RecordOrdersResponse { recorded: i64::try_from(recorded).unwrap_or(i64::MAX) }))
    }
}

#[tonic::async_trait]
impl ValueService for Value {
    type PredictLTVStreamStream = BoxStream<'static, Result<proto::PredictLtvResponse, Status>>;

    async fn predict_ltv(
        &self,
        request: Request<proto::PredictLtvRequest>,
    ) -> Result<Response<proto::PredictLtvResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let question = question(request.into_inner())?;
        let (model, prediction) = self.predict(&allowed.tenant, question).await?;
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
        let (model, predictions) = self.predict_batch(&allowed.tenant, questions).await?;
        let responses = predictions.into_iter().map(|prediction| response(&model, prediction)).collect();
        Ok(Response::new(proto::PredictLtvBatchResponse { responses }))
    }

    async fn predict_ltv_stream(
        &self,
        request: Request<Streaming<proto::PredictLtvRequest>>,
    ) -> Result<Response<Self::PredictLTVStreamStream>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let value = self.clone();
        let chunks = request.into_inner().ready_chunks(STREAM_CHUNK);
        let answers = chunks.then(move |chunk| {
            let (value, tenant) = (value.clone(), allowed.tenant.clone());
            async move {
                let questions = chunk.into_iter().map(|request| Ok(question(request?)?));
                let questions = questions.collect::<Result<Vec<_>, Status>>()?;
                let (model, predictions) = value.predict_batch(&tenant, questions).await?;
                let responses = predictions.into_iter().map(move |prediction| Ok(response(&model, prediction)));
                Ok::<_, Status>(stream::iter(responses))
            }
        });
        Ok(Response::new(answers.try_flatten().boxed()))
    }

    async fn predict_churn(
        &self,
        request: Request<proto::PredictLtvRequest>,
    ) -> Result<Response<proto::PredictChurnResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let question = question(request.into_inner())?;
        let (model, mut churns) = self.churn(&allowed.tenant, vec![question], Asked::Alone).await?;
        let churn = churns.pop().ok_or(ValueError::NotFound("customer"))?;
        Ok(Response::new(proto::PredictChurnResponse {
            history: Some(history_of(&churn.about)),
            population: churn.about.population,
            customer_id: churn.about.customer_id,
            churn: churn.probability_of_no_purchase,
            probability_alive: churn.probability_alive,
            probability_alive_after: churn.probability_alive_after,
            intervals: churn.intervals.map(|intervals| proto::ChurnIntervals {
                churn: Some(estimate(intervals.churn)),
                probability_alive: Some(estimate(intervals.probability_alive)),
                probability_alive_after: Some(estimate(intervals.probability_alive_after)),
            }),
            model: model.id.to_string(),
            model_version: model.version,
        }))
    }

    async fn predict_cohort(
        &self,
        request: Request<proto::PredictCohortRequest>,
    ) -> Result<Response<proto::PredictCohortResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let request = request.into_inner();
        let members = match request.who {
            Some(CohortWho::Customers(customers)) => Members::named(customers.customer_ids)?,
            Some(CohortWho::FirstPurchase(days)) => Members::first_bought(days.from.as_deref(), days.until.as_deref())?,
            None => return Err(ValueError::invalid("who", "is missing: give customers or first_purchase").into()),
        };
        let terms = terms(horizon(request.horizon_weeks), request.monthly_discount)?;
        let (model, cohort) = self.cohort(&allowed.tenant, members, terms).await?;
        Ok(Response::new(proto::PredictCohortResponse {
            customers: i64::try_from(cohort.customers).unwrap_or(i64::MAX),
            expected_purchases: Some(estimate(cohort.expected_purchases)),
            expected_alive: Some(estimate(cohort.alive)),
            value: Some(estimate(cohort.value)),
            currency: model.currency.as_str().to_owned(),
            model: model.id.to_string(),
            model_version: model.version,
        }))
    }

    async fn get_baseline(
        &self,
        request: Request<proto::GetBaselineRequest>,
    ) -> Result<Response<proto::GetBaselineResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let days = match request.into_inner().days {
            0 => DAYS_DEFAULT,
            days => u32::try_from(days).unwrap_or(0),
        };
        let (model, baseline) = self.baseline(&allowed.tenant, days).await?;
        Ok(Response::new(proto::GetBaselineResponse {
            days: i32::try_from(baseline.days).unwrap_or(i32::MAX),
            until: baseline.until,
            revenue: baseline.revenue.decimal(),
            per_day: baseline.per_day.decimal(),
            currency: model.currency.as_str().to_owned(),
            trend_per_week: baseline.trend_per_week,
            by_weekday: baseline.by_weekday.to_vec(),
            expected: baseline.expected.decimal(),
            model: model.id.to_string(),
            model_version: model.version,
        }))
    }

    async fn get_drift(
        &self,
        request: Request<proto::GetDriftRequest>,
    ) -> Result<Response<proto::GetDriftResponse>, Status> {
        let allowed = Allowed::<can::ValueRead>::from_grpc(&request)?;
        let model = match request.into_inner().version {
            0 => self.current(&allowed.tenant).await?,
            version => self.model(&allowed.tenant, version).await?,
        };
        let (model, _, drift) = self.drift(&allowed.tenant, model).await?;
        Ok(Response::new(drift::response(&model, drift)))
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

pub(super) fn question(request: proto::PredictLtvRequest) -> Result<Question, ValueError> {
    let who = match request.who {
        Some(ProtoWho::CustomerId(id)) => customer(id)?,
        Some(ProtoWho::History(given)) => history(given.frequency, given.recency, given.age, given.monetary)?,
        None => return Err(ValueError::invalid("who", "is missing: give customer_id or history")),
    };
    let terms = terms(horizon(request.horizon_weeks), request.monthly_discount)?;
    let scope = Scope { terms, intervals: request.intervals };
    Ok(Question { who, scope, or_population: request.or_population })
}

pub(super) fn selection(request: &proto::SelectCustomersRequest) -> Result<Selection, ValueError> {
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

pub(super) fn response(model: &SavedModel, prediction: Prediction) -> proto::PredictLtvResponse {
    proto::PredictLtvResponse {
        history: Some(history_of(&prediction.about)),
        population: prediction.about.population,
        customer_id: prediction.about.customer_id,
        expected_purchases: prediction.expected_purchases,
        probability_alive: prediction.probability_alive,
        value: prediction.value,
        expected_order_value: prediction.expected_order_value,
        intervals: prediction.intervals.map(|intervals| proto::Intervals {
            expected_purchases: Some(estimate(intervals.expected_purchases)),
            probability_alive: Some(estimate(intervals.probability_alive)),
            value: Some(estimate(intervals.value)),
        }),
        model: model.id.to_string(),
        model_version: model.version,
    }
}

fn estimate(estimate: Estimate) -> proto::Estimate {
    let Estimate { value, standard_error, low, high } = estimate;
    proto::Estimate { value, standard_error, low, high }
}

fn history_of(about: &About) -> proto::History {
    proto::History {
        frequency: about.history.frequency().into(),
        recency: about.history.recency(),
        age: about.history.age(),
        monetary: about.monetary,
    }
}
