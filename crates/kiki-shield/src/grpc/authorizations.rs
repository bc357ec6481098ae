//! Authorizations, approvals, and records of money that is already gone. A denial is an answer, not an error.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::authorization_service_server::AuthorizationService;
use kiki_proto::shield::v1::{
    ApproveRequest, Authorization, AuthorizationState, AuthorizeRequest, CaptureRequest, GetRequest, IncreaseRequest,
    ListPendingRequest, ListPendingResponse, RecordSpendRequest, RecordSpendResponse, RefundRequest, RejectRequest,
    VoidRequest,
};
use kiki_spend::owner::Decision;
use kiki_spend::{Outcome, Resolution, Standing, Status as Stage};
use kiki_types::Money;
use tonic::{Request, Response, Status};

use super::limit::standing;
use super::{caller, channel, given, id, in_proto, money, purpose};
use crate::api::{names_of, passes_at};
use crate::error::ShieldError;
use crate::names::{public_account, public_name};
use crate::pages;
use crate::service::control::would_refuse;
use crate::service::{Ask, Caller, Known, Shield, known};

fn answer(known: &Known, shield: &Shield) -> Authorization {
    let Known { id, view, entry } = known;
    let currency = shield.0.currency;
    let state = match view.status {
        Stage::Held => AuthorizationState::Held,
        Stage::Pending => AuthorizationState::Pending,
        Stage::Denied => AuthorizationState::Denied,
        Stage::Ended(Resolution::Captured) => AuthorizationState::Captured,
        Stage::Ended(Resolution::Voided) => AuthorizationState::Voided,
        Stage::Ended(Resolution::Expired) => AuthorizationState::Expired,
        Stage::Ended(Resolution::Rejected) => AuthorizationState::Rejected,
    };
    Authorization {
        id: id.to_string(),
        state: state.into(),
        account: public_account(&view.path).to_owned(),
        amount: in_proto(view.amount, currency),
        captured: in_proto(view.captured, currency),
        refunded: in_proto(view.refunded, currency),
        refused_by: view.refused_by.iter().map(|limit| public_name(limit).to_owned()).collect(),
        expires_at_ms: view.until,
        receipt: shield.receipt(*entry).map(Into::into),
        ..Authorization::default()
    }
}

/// `authorization` with what refused, how each limit stands, and when the same request passes.
fn explained(authorization: Authorization, outcome: &Outcome, standings: &[Standing], is_new: bool) -> Authorization {
    let refused_by = match outcome {
        Outcome::Denied { .. } => names_of(outcome).into_iter().map(str::to_owned).collect(),
        _ => authorization.refused_by,
    };
    Authorization {
        refused_by,
        limits: standings.iter().map(standing).collect(),
        // A repeat gets its first answer however long it waits.
        passes_at_ms: passes_at(outcome, standings).filter(|_| is_new).unwrap_or(0),
        ..authorization
    }
}

fn decided(authorization: Authorization, decision: &Decision) -> Authorization {
    explained(authorization, &decision.outcome, &decision.standings, decision.index.is_some())
}

impl Shield {
    async fn dry_run(&self, caller: &Caller, ask: Ask) -> Result<Authorization, ShieldError> {
        let preview = self.preview(caller, &ask).await?;
        let Money { micros, currency } = ask.amount;
        let state = match preview.outcome {
            Outcome::Denied { .. } => AuthorizationState::Denied,
            Outcome::Pending => AuthorizationState::Pending,
            _ => AuthorizationState::Held,
        };
        let authorization = Authorization {
            state: state.into(),
            account: ask.account,
            amount: in_proto(micros, currency),
            would_refuse: would_refuse(&preview.notices).into_iter().map(str::to_owned).collect(),
            ..Authorization::default()
        };
        Ok(explained(authorization, &preview.outcome, &preview.standings, !preview.is_repeat))
    }
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
            channel: given(request.channel).map(|text| channel(&text)).transpose()?,
            category: given(request.category),
            payee: given(request.payee),
            ttl_ms: (request.ttl_ms != 0).then_some(request.ttl_ms),
            key: given(request.idempotency_key),
            ..Ask::of(request.account.clone(), amount)
        };
        if request.dry_run {
            return Ok(Response::new(self.dry_run(&caller, ask).await?));
        }
        let (decision, id) = Self::authorize(self, &caller, ask).await?;
        let authorization = match known(&decision, id) {
            Some(known) => answer(&known, self),
            None => Authorization {
                state: AuthorizationState::Denied.into(),
                account: request.account,
                amount: in_proto(amount.micros, amount.currency),
                receipt: self.receipt(decision.entry()).map(Into::into),
                ..Authorization::default()
            },
        };
        Ok(Response::new(decided(authorization, &decision)))
    }

    async fn capture(&self, request: Request<CaptureRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let request = request.into_inner();
        let amount = request.amount.map(|amount| money(Some(amount))).transpose()?;
        let known = Self::capture(self, &caller, id(&request.id)?, amount).await?;
        Ok(Response::new(answer(&known, self)))
    }

    async fn void(&self, request: Request<VoidRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let known = Self::void(self, &caller, id(&request.into_inner().id)?).await?;
        Ok(Response::new(answer(&known, self)))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendRead, _>(&request)?;
        let known = self.authorization(&caller, id(&request.into_inner().id)?).await?;
        Ok(Response::new(answer(&known, self)))
    }

    async fn increase(&self, request: Request<IncreaseRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let IncreaseRequest { id: text, amount, idempotency_key } = request.into_inner();
        let id = id(&text)?;
        let key = given(idempotency_key);
        let decision = Self::increase(self, &caller, id, money(amount)?, key.as_deref()).await?;
        let known = known(&decision, id).ok_or(ShieldError::NotFound("authorization"))?;
        let mut authorization = decided(answer(&known, self), &decision);
        if let Outcome::Denied { .. } = decision.outcome {
            authorization.set_state(AuthorizationState::Denied);
        }
        Ok(Response::new(authorization))
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let RefundRequest { id: text, amount, idempotency_key } = request.into_inner();
        let key = given(idempotency_key);
        let known = Self::refund(self, &caller, id(&text)?, money(amount)?, key.as_deref()).await?;
        Ok(Response::new(answer(&known, self)))
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::ApprovalsWrite, _>(&request)?;
        let (decision, known) = Self::approve(self, &caller, id(&request.into_inner().id)?).await?;
        let known = known.ok_or(ShieldError::NotFound("authorization"))?;
        Ok(Response::new(decided(answer(&known, self), &decision)))
    }

    async fn reject(&self, request: Request<RejectRequest>) -> Result<Response<Authorization>, Status> {
        let caller = caller::<can::ApprovalsWrite, _>(&request)?;
        let known = Self::reject(self, &caller, id(&request.into_inner().id)?).await?;
        Ok(Response::new(answer(&known, self)))
    }

    async fn list_pending(
        &self,
        request: Request<ListPendingRequest>,
    ) -> Result<Response<ListPendingResponse>, Status> {
        let caller = caller::<can::SpendRead, _>(&request)?;
        let ListPendingRequest { page_size: size, page_token } = request.into_inner();
        let size = pages::size(size)?;
        let after = given(page_token).map(|token| token.parse()).transpose();
        let after = after.map_err(|error| ShieldError::invalid("page_token", error))?;
        let found = self.approvals(&caller, after, size).await?;
        let next = found.last().filter(|_| found.len() == size).map(|known| known.id.to_string());
        let authorizations = found.iter().map(|known| answer(known, self)).collect();
        Ok(Response::new(ListPendingResponse { authorizations, next_page_token: next.unwrap_or_default() }))
    }

    async fn record(&self, request: Request<RecordSpendRequest>) -> Result<Response<RecordSpendResponse>, Status> {
        let caller = caller::<can::SpendWrite, _>(&request)?;
        let request = request.into_inner();
        let ask = Ask {
            category: given(request.category),
            payee: given(request.payee),
            key: given(request.idempotency_key),
            ..Ask::of(request.account, money(request.amount)?)
        };
        let booked = self.record_gone(&caller, ask).await?;
        let authorization = Some(answer(&booked.known, self));
        Ok(Response::new(RecordSpendResponse { authorization, over: booked.over }))
    }
}
