//! gRPC: the same verbs for other services, on the same port.

use kiki_kit::authorisation::{Allowed, Can, RemoteNetwork, can};
use kiki_proto::shield::v1::audit_service_server::{AuditService, AuditServiceServer};
use kiki_proto::shield::v1::authorization_service_server::{AuthorizationService, AuthorizationServiceServer};
use kiki_proto::shield::v1::budget_service_server::{BudgetService, BudgetServiceServer};
use kiki_proto::shield::v1::consent_service_server::{ConsentService, ConsentServiceServer};
use kiki_proto::shield::v1::{
    Authorization, AuthorizationState, AuthorizeRequest, Budget, BudgetKind, CaptureRequest, ConsentStatus,
    DefineBudgetRequest, GetConsentRequest, GetRequest, Money as ProtoMoney, RecordRequest, RecordResponse,
    SetConsentRequest, VoidRequest,
};
use kiki_spend::{LimitKind, Outcome, Resolution, Status as Stage};
use kiki_types::event::AuditEvent;
use kiki_types::id::AuthorizationId;
use kiki_types::{Currency, Money, Purpose, UnixMillis};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::error::ShieldError;
use crate::names::{public_account, public_name};
use crate::service::{Ask, Caller, Known, Shield};

/// Entries in one call at the most.
const RECORDS_MAX: usize = 1000;
/// Bytes of one text of an entry at the most.
const TEXT_BYTES_MAX: usize = 4096;
/// The last millisecond of the year 9999.
const AT_MAX: i64 = 253_402_300_799_999;
/// Bytes of one entry at the most.
const RECORD_BYTES_MAX: usize = 16 * 1024;

/// The gRPC services of shield.
#[must_use]
pub fn services(shield: &Shield) -> Routes {
    Routes::new(AuthorizationServiceServer::new(shield.clone()))
        .add_service(BudgetServiceServer::new(shield.clone()))
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

fn id(text: &str) -> Result<AuthorizationId, ShieldError> {
    text.parse().map_err(|error| ShieldError::invalid("id", error))
}

fn purpose(text: &str) -> Result<Purpose, ShieldError> {
    text.parse().map_err(|error| ShieldError::invalid("purpose", error))
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn answer(known: &Known, currency: Currency) -> Response<Authorization> {
    let Known { id, view } = known;
    let state = match view.status {
        Stage::Held => AuthorizationState::Held,
        Stage::Pending => AuthorizationState::Pending,
        Stage::Denied => AuthorizationState::Denied,
        Stage::Ended(Resolution::Captured) => AuthorizationState::Captured,
        Stage::Ended(Resolution::Voided) => AuthorizationState::Voided,
        Stage::Ended(Resolution::Expired) => AuthorizationState::Expired,
        Stage::Ended(Resolution::Rejected) => AuthorizationState::Rejected,
    };
    let amount = |micros| Some(ProtoMoney { micros, currency: currency.to_string() });
    Response::new(Authorization {
        id: id.to_string(),
        state: state.into(),
        account: public_account(&view.path).to_owned(),
        amount: amount(view.amount),
        captured: amount(view.captured),
        refunded: amount(view.refunded),
        refused_by: view.refused_by.iter().map(|limit| public_name(limit).to_owned()).collect(),
        expires_at_ms: view.until,
    })
}

#[tonic::async_trait]
impl AuthorizationService for Shield {
    async fn authorize(&self, request: Request<AuthorizeRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let request = request.into_inner();
        let amount = money(request.amount)?;
        let ask = Ask {
            customer_id: given(request.customer_id),
            purpose: given(request.purpose).map(|text| purpose(&text)).transpose()?,
            category: given(request.category),
            payee: given(request.payee),
            ttl_ms: (request.ttl_ms != 0).then_some(request.ttl_ms),
            key: given(request.idempotency_key),
            ..Ask::of(request.account.clone(), amount)
        };
        let (decision, id) = Self::authorize(self, &caller, ask).await?;
        if let Some((_, view)) = &decision.authorization {
            return Ok(answer(&Known { id, view: view.clone() }, self.0.currency));
        }
        let refused_by = match &decision.outcome {
            Outcome::Denied { refused_by } => refused_by.iter().map(|limit| public_name(limit).to_owned()).collect(),
            _ => Vec::new(),
        };
        Ok(Response::new(Authorization {
            state: AuthorizationState::Denied.into(),
            account: request.account,
            amount: Some(ProtoMoney { micros: amount.micros, currency: amount.currency.to_string() }),
            refused_by,
            ..Authorization::default()
        }))
    }

    async fn capture(&self, request: Request<CaptureRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let request = request.into_inner();
        let amount = request.amount.map(|amount| money(Some(amount))).transpose()?;
        Ok(answer(&Self::capture(self, &caller, id(&request.id)?, amount).await?, self.0.currency))
    }

    async fn void(&self, request: Request<VoidRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let id = id(&request.into_inner().id)?;
        Ok(answer(&Self::void(self, &caller, id).await?, self.0.currency))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendRead, _>(&request)?;
        let id = id(&request.into_inner().id)?;
        Ok(answer(&self.authorization(&caller, id).await?, self.0.currency))
    }
}

#[tonic::async_trait]
impl BudgetService for Shield {
    async fn define(&self, request: Request<DefineBudgetRequest>) -> Result<Response<Budget>, Status> {
        let caller = caller::<can::BudgetsWrite, _>(&request)?;
        let request = request.into_inner();
        let amount = money(request.amount.clone())?;
        if amount.currency != self.0.currency {
            let detail = format!("accounts are kept in {}", self.0.currency);
            return Err(ShieldError::invalid("currency", detail).into());
        }
        if request.kind() != BudgetKind::Total {
            return Err(ShieldError::invalid("kind", "must be BUDGET_KIND_TOTAL").into());
        }
        let kind = LimitKind::Total { amount: amount.micros };
        match self.budget(&caller, &request.id).await {
            Ok((view, _)) if view.kind == kind && public_account(&view.path) == request.account => {}
            Ok(_) => return Err(Status::already_exists("The budget stands with another account or amount.")),
            Err(ShieldError::NotFound(_)) => {
                self.define_budget(&caller, &request.id, &request.account, kind, false).await?;
            }
            Err(error) => return Err(error.into()),
        }
        let DefineBudgetRequest { id, account, kind, amount } = request;
        Ok(Response::new(Budget { id, account, kind, amount }))
    }
}

#[tonic::async_trait]
impl ConsentService for Shield {
    async fn set(&self, request: Request<SetConsentRequest>) -> Result<Response<ConsentStatus>, Status> {
        let caller = caller::<can::ConsentWrite, _>(&request)?;
        let SetConsentRequest { customer_id, purpose: text, granted } = request.into_inner();
        self.set_consent(&caller, &customer_id, purpose(&text)?, granted).await?;
        Ok(Response::new(ConsentStatus { customer_id, purpose: text, granted }))
    }

    async fn get(&self, request: Request<GetConsentRequest>) -> Result<Response<ConsentStatus>, Status> {
        let caller = caller::<can::ConsentRead, _>(&request)?;
        let GetConsentRequest { customer_id, purpose: text } = request.into_inner();
        let wanted = purpose(&text)?;
        let consents = self.consents(&caller, &customer_id, &Purpose::ALL).await?;
        let granted = consents.into_iter().any(|(purpose, granted)| purpose == wanted && granted);
        Ok(Response::new(ConsentStatus { customer_id, purpose: text, granted }))
    }
}

#[tonic::async_trait]
impl AuditService for Shield {
    async fn record(&self, request: Request<RecordRequest>) -> Result<Response<RecordResponse>, Status> {
        let caller = caller::<can::AuditWrite, _>(&request)?;
        let RecordRequest { source, records } = request.into_inner();
        let source: Uuid = source.parse().map_err(|_| ShieldError::invalid("source", "is not a UUID"))?;
        if records.len() > RECORDS_MAX {
            let detail = format!("must be at most {RECORDS_MAX}");
            return Err(ShieldError::invalid("records", detail).into());
        }
        let mut position = i64::MIN;
        let mut events = Vec::with_capacity(records.len());
        for record in records {
            if record.position <= position {
                return Err(ShieldError::invalid("records.position", "must ascend").into());
            }
            position = record.position;
            let event = event(&record.event_json)?;
            if event.tenant != caller.principal.tenant && caller.principal.kind != kiki_types::ActorKind::System {
                return Err(ShieldError::invalid("records.event_json", "is of another tenant").into());
            }
            events.push((position, event));
        }
        // Positions are counted for each tenant's sources apart, so that nobody can use up another's.
        let source = self.0.pseudonyms.source(&caller.principal.tenant, source);
        Self::record(self, source, events).await?;
        Ok(Response::new(RecordResponse { position }))
    }
}

fn event(json: &str) -> Result<AuditEvent, ShieldError> {
    let invalid = |detail: String| ShieldError::invalid("records.event_json", detail);
    if json.len() > RECORD_BYTES_MAX {
        return Err(invalid(format!("must be at most {RECORD_BYTES_MAX} bytes")));
    }
    let event: AuditEvent = serde_json::from_str(json).map_err(|error| invalid(error.to_string()))?;
    if event.id.is_nil() || !(UnixMillis(0)..=UnixMillis(AT_MAX)).contains(&event.at) {
        return Err(invalid("needs an id and a time".to_owned()));
    }
    let is_hash =
        |text: &str| text.is_empty() || (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !is_hash(&event.actor) || !is_hash(&event.customer) {
        return Err(invalid("actor and customer must be keyed hashes of 32 hexadecimal digits".to_owned()));
    }
    let texts =
        [&event.event_type, &event.action, &event.resource, &event.reason, &event.ip, &event.data, &event.request];
    if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(invalid(format!("no text may be longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(event)
}
