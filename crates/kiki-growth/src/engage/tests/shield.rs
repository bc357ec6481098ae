//! A shield of a few lines that keeps its rules: consent, one total budget for each account, keys, one resolution.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use kiki_proto::shield::v1 as proto;
use kiki_proto::shield::v1::audit_service_server::{AuditService, AuditServiceServer};
use kiki_proto::shield::v1::authorization_service_server::{AuthorizationService, AuthorizationServiceServer};
use kiki_proto::shield::v1::budget_service_server::{BudgetService, BudgetServiceServer};
use kiki_proto::shield::v1::{
    AuditRecord, Authorization, AuthorizationState as State, AuthorizeRequest, Budget, CaptureRequest,
    DefineBudgetRequest, GetRequest, RecordRequest, RecordResponse, VoidRequest,
};
use kiki_store::{Store, outbox};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::engage::AUDIT_TOPIC;

/// The answer to what engage never asks.
fn not_asked() -> Status {
    Status::unimplemented("engage does not ask this")
}

/// What the stand-in knows. Tests read and change it.
#[derive(Default)]
pub(super) struct Rules {
    /// Customers who agreed to marketing.
    pub(super) consented: HashSet<String>,
    pub(super) budgets: BTreeMap<String, DefineBudgetRequest>,
    pub(super) authorizations: Vec<Authorization>,
    /// Keys with the request that they came with and the number of its authorization.
    keys: BTreeMap<String, (AuthorizeRequest, usize)>,
    /// Nobody answers.
    pub(super) away: bool,
    /// No request to authorize is taken as it is.
    pub(super) rejecting: bool,
    /// Nobody answers captures.
    pub(super) captures_away: bool,
    /// The journal of audit entries, with their positions.
    pub(super) log: Vec<AuditRecord>,
    /// The next answer to `Record` is lost on its way.
    pub(super) lose_answer: bool,
    /// `Record` takes nothing.
    pub(super) takes_nothing: bool,
    /// The database whose next entries another relay hands over while they are recorded.
    pub(super) beside: Option<Store>,
}

impl Rules {
    pub(super) fn count(&self, state: State) -> usize {
        self.authorizations.iter().filter(|authorization| authorization.state() == state).count()
    }

    fn used(&self, account: &str) -> i64 {
        let counts = |a: &&Authorization| a.account == account && matches!(a.state(), State::Held | State::Captured);
        self.authorizations.iter().filter(counts).map(|a| a.amount.as_ref().unwrap().micros).sum()
    }

    fn refusals(&self, request: &AuthorizeRequest) -> Vec<String> {
        let mut refused_by = Vec::new();
        if !request.purpose.is_empty() && !self.consented.contains(&request.customer_id) {
            refused_by.push("consent".to_owned());
        }
        let amount = request.amount.as_ref().unwrap().micros;
        for budget in self.budgets.values().filter(|budget| budget.account == request.account) {
            if self.used(&request.account) + amount > budget.amount.as_ref().unwrap().micros {
                refused_by.push(budget.id.clone());
            }
        }
        refused_by
    }

    fn resolve(&mut self, id: &str, to: State) -> Result<Authorization, Status> {
        let found = self.authorizations.iter_mut().find(|authorization| authorization.id == id);
        let authorization = found.ok_or_else(|| Status::not_found("no such authorization"))?;
        if authorization.state() == State::Held {
            authorization.set_state(to);
        } else if authorization.state() != to {
            return Err(Status::failed_precondition("it was resolved before"));
        }
        Ok(authorization.clone())
    }
}

/// The stand-in. Clones share its rules.
#[derive(Clone, Default)]
pub(super) struct FakeShield(pub(super) Arc<Mutex<Rules>>);

impl FakeShield {
    pub(super) fn routes(&self) -> Routes {
        Routes::new(AuthorizationServiceServer::new(self.clone()))
            .add_service(BudgetServiceServer::new(self.clone()))
            .add_service(AuditServiceServer::new(self.clone()))
    }

    /// Lets every hold end by itself.
    pub(super) fn expire_holds(&self) {
        for authorization in &mut self.0.lock().unwrap().authorizations {
            if authorization.state() == State::Held {
                authorization.set_state(State::Expired);
            }
        }
    }

    fn answer<T>(&self, work: impl FnOnce(&mut Rules) -> Result<T, Status>) -> Result<Response<T>, Status> {
        let mut rules = self.0.lock().unwrap();
        if rules.away {
            return Err(Status::unavailable("away on purpose"));
        }
        work(&mut rules).map(Response::new)
    }
}

#[tonic::async_trait]
impl AuthorizationService for FakeShield {
    async fn authorize(&self, request: Request<AuthorizeRequest>) -> Result<Response<Authorization>, Status> {
        let request = request.into_inner();
        self.answer(|rules| {
            if rules.rejecting {
                return Err(Status::failed_precondition("the account is in another currency"));
            }
            if let Some((first, number)) = rules.keys.get(&request.idempotency_key) {
                let same = *first == request;
                let answer = rules.authorizations[*number].clone();
                return if same { Ok(answer) } else { Err(Status::aborted("the key came with another request")) };
            }
            let refused_by = rules.refusals(&request);
            let state = if refused_by.is_empty() { State::Held } else { State::Denied };
            let number = rules.authorizations.len();
            let authorization = Authorization {
                id: format!("authorization-{number}"),
                state: state.into(),
                account: request.account.clone(),
                amount: request.amount.clone(),
                refused_by,
                ..Authorization::default()
            };
            rules.authorizations.push(authorization.clone());
            rules.keys.insert(request.idempotency_key.clone(), (request, number));
            Ok(authorization)
        })
    }

    async fn capture(&self, request: Request<CaptureRequest>) -> Result<Response<Authorization>, Status> {
        self.answer(|rules| {
            if rules.captures_away {
                return Err(Status::unavailable("away on purpose"));
            }
            rules.resolve(&request.into_inner().id, State::Captured)
        })
    }

    async fn void(&self, request: Request<VoidRequest>) -> Result<Response<Authorization>, Status> {
        self.answer(|rules| rules.resolve(&request.into_inner().id, State::Voided))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Authorization>, Status> {
        let id = request.into_inner().id;
        self.answer(|rules| {
            let found = rules.authorizations.iter().find(|authorization| authorization.id == id);
            found.cloned().ok_or_else(|| Status::not_found("no such authorization"))
        })
    }

    async fn increase(&self, _: Request<proto::IncreaseRequest>) -> Result<Response<Authorization>, Status> {
        Err(not_asked())
    }

    async fn refund(&self, _: Request<proto::RefundRequest>) -> Result<Response<Authorization>, Status> {
        Err(not_asked())
    }

    async fn approve(&self, _: Request<proto::ApproveRequest>) -> Result<Response<Authorization>, Status> {
        Err(not_asked())
    }

    async fn reject(&self, _: Request<proto::RejectRequest>) -> Result<Response<Authorization>, Status> {
        Err(not_asked())
    }

    async fn list_pending(
        &self,
        _: Request<proto::ListPendingRequest>,
    ) -> Result<Response<proto::ListPendingResponse>, Status> {
        Err(not_asked())
    }

    async fn record(
        &self,
        _: Request<proto::RecordSpendRequest>,
    ) -> Result<Response<proto::RecordSpendResponse>, Status> {
        Err(not_asked())
    }
}

#[tonic::async_trait]
impl BudgetService for FakeShield {
    async fn define(&self, request: Request<DefineBudgetRequest>) -> Result<Response<Budget>, Status> {
        let request = request.into_inner();
        self.answer(|rules| {
            let defined = rules.budgets.entry(request.id.clone()).or_insert_with(|| request.clone());
            if *defined != request {
                return Err(Status::already_exists("another budget has this id"));
            }
            let DefineBudgetRequest { id, account, kind, amount, .. } = request;
            Ok(Budget { id, account, kind, amount, ..Budget::default() })
        })
    }

    async fn get(&self, _: Request<proto::GetBudgetRequest>) -> Result<Response<Budget>, Status> {
        Err(not_asked())
    }

    async fn list(
        &self,
        _: Request<proto::ListBudgetsRequest>,
    ) -> Result<Response<proto::ListBudgetsResponse>, Status> {
        Err(not_asked())
    }

    async fn remove(
        &self,
        _: Request<proto::RemoveBudgetRequest>,
    ) -> Result<Response<proto::RemoveBudgetResponse>, Status> {
        Err(not_asked())
    }
}

#[tonic::async_trait]
impl AuditService for FakeShield {
    async fn record(&self, request: Request<RecordRequest>) -> Result<Response<RecordResponse>, Status> {
        let records = request.into_inner().records;
        let beside = self.0.lock().unwrap().beside.take_if(|_| !records.is_empty());
        if let (Some(store), Some(last)) = (beside, records.last()) {
            outbox::delivered(&store, AUDIT_TOPIC, last.position).await.unwrap();
        }
        self.answer(|rules| {
            if rules.takes_nothing {
                return Ok(RecordResponse::default());
            }
            let position = records.last().map_or(0, |record| record.position);
            for record in records {
                if rules.log.last().is_none_or(|last| last.position < record.position) {
                    rules.log.push(record);
                }
            }
            if std::mem::take(&mut rules.lose_answer) {
                return Err(Status::unavailable("lost on purpose"));
            }
            Ok(RecordResponse { position, last: rules.log.last().map_or(0, |last| last.position) })
        })
    }
}
