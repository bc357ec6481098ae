//! gRPC: the same verbs for other services, on the same port.

mod audit;
mod authorizations;
mod budgets;
mod consent;
mod control;
mod limit;

use kiki_kit::authorisation::{Allowed, Can, RemoteNetwork};
use kiki_proto::shield::v1::Money as ProtoMoney;
use kiki_proto::shield::v1::audit_service_server::AuditServiceServer;
use kiki_proto::shield::v1::authorization_service_server::AuthorizationServiceServer;
use kiki_proto::shield::v1::budget_service_server::BudgetServiceServer;
use kiki_proto::shield::v1::consent_service_server::ConsentServiceServer;
use kiki_proto::shield::v1::control_service_server::ControlServiceServer;
use kiki_types::id::AuthorizationId;
use kiki_types::{Channel, Currency, Money, Purpose};
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::error::ShieldError;
use crate::service::{Caller, Shield};

/// The gRPC services of shield.
#[must_use]
pub fn services(shield: &Shield) -> Routes {
    Routes::new(AuthorizationServiceServer::new(shield.clone()))
        .add_service(BudgetServiceServer::new(shield.clone()))
        .add_service(ControlServiceServer::new(shield.clone()))
        .add_service(ConsentServiceServer::new(shield.clone()))
        .add_service(AuditServiceServer::new(shield.clone()))
}

fn caller<P: Can, T>(request: &Request<T>) -> Result<Caller, Status> {
    let allowed = Allowed::<P>::from_grpc(request)?;
    let network = RemoteNetwork::from_extensions(request.extensions());
    Ok(Caller { principal: allowed.principal().clone(), network: network.0 })
}

fn money(money: Option<ProtoMoney>) -> Result<Money, ShieldError> {
    let money = money.ok_or_else(|| ShieldError::invalid("amount", "is missing"))?;
    let currency: Currency = money.currency.parse().map_err(|error| ShieldError::invalid("currency", error))?;
    Ok(Money::new(money.micros, currency))
}

fn in_proto(micros: i64, currency: Currency) -> Option<ProtoMoney> {
    Some(ProtoMoney { micros, currency: currency.to_string() })
}

fn id(text: &str) -> Result<AuthorizationId, ShieldError> {
    text.parse().map_err(|error| ShieldError::invalid("id", error))
}

fn purpose(text: &str) -> Result<Purpose, ShieldError> {
    text.parse().map_err(|error| ShieldError::invalid("purpose", error))
}

/// Empty is all of them.
fn channel(text: &str) -> Result<Channel, ShieldError> {
    if text.is_empty() {
        Ok(Channel::Any)
    } else {
        text.parse().map_err(|error| ShieldError::invalid("channel", error))
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
