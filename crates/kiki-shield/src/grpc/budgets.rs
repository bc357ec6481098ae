//! Budgets.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::budget_service_server::BudgetService;
use kiki_proto::shield::v1::{
    Budget, BudgetKind, DefineBudgetRequest, GetBudgetRequest, ListBudgetsRequest, ListBudgetsResponse,
    RemoveBudgetRequest, RemoveBudgetResponse,
};
use kiki_spend::{LimitKind, LimitView, Standing};
use kiki_types::Currency;
use tonic::{Request, Response, Status};

use super::limit::{amount, in_proto, kind, standing};
use super::{caller, given};
use crate::error::ShieldError;
use crate::names::{public_account, public_name};
use crate::pages;
use crate::service::Shield;

fn answer((view, stands): &(LimitView, Standing), currency: Currency) -> Budget {
    let total = match view.kind {
        LimitKind::Total { amount } => Some(amount),
        _ => None,
    };
    Budget {
        id: public_name(&view.id).to_owned(),
        account: public_account(&view.path).to_owned(),
        kind: total.map_or(BudgetKind::Unspecified, |_| BudgetKind::Total).into(),
        amount: total.and_then(|amount| super::in_proto(amount, currency)),
        limit: Some(in_proto(&view.kind, currency)),
        shadow: view.is_shadow,
        standing: Some(standing(stands)),
        receipt: None,
    }
}

impl Shield {
    fn wanted(&self, request: &DefineBudgetRequest) -> Result<LimitKind, ShieldError> {
        match (&request.limit, request.kind()) {
            (Some(limit), BudgetKind::Unspecified) => kind(limit, self.0.currency, self.0.clock.now()),
            (None, BudgetKind::Total) => {
                Ok(LimitKind::Total { amount: amount("amount", request.amount.as_ref(), self.0.currency)? })
            }
            _ => Err(ShieldError::invalid("kind", "must be BUDGET_KIND_TOTAL, or unspecified beside a limit")),
        }
    }
}

#[tonic::async_trait]
impl BudgetService for Shield {
    async fn define(&self, request: Request<DefineBudgetRequest>) -> Result<Response<Budget>, Status> {
        let caller = caller::<can::BudgetsWrite, _>(&request)?;
        let request = request.into_inner();
        let kind = self.wanted(&request)?;
        let stands = match self.budget(&caller, &request.id).await {
            Ok((view, _)) => Some(view),
            Err(ShieldError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let is_same = |view: &LimitView| {
            view.kind == kind && public_account(&view.path) == request.account && view.is_shadow == request.shadow
        };
        let entry = match &stands {
            Some(view) if is_same(view) => None,
            Some(_) if !request.replace => {
                return Err(Status::already_exists("The budget stands with another definition."));
            }
            _ => self.define_budget(&caller, &request.id, &request.account, kind, request.shadow).await?,
        };
        let receipt = self.receipt(entry).map(Into::into);
        Ok(Response::new(Budget { receipt, ..answer(&self.budget(&caller, &request.id).await?, self.0.currency) }))
    }

    async fn get(&self, request: Request<GetBudgetRequest>) -> Result<Response<Budget>, Status> {
        let caller = caller::<can::BudgetsRead, _>(&request)?;
        Ok(Response::new(answer(&self.budget(&caller, &request.into_inner().id).await?, self.0.currency)))
    }

    async fn list(&self, request: Request<ListBudgetsRequest>) -> Result<Response<ListBudgetsResponse>, Status> {
        let caller = caller::<can::BudgetsRead, _>(&request)?;
        let ListBudgetsRequest { page_size: size, page_token } = request.into_inner();
        let size = pages::size(size)?;
        let after = given(page_token).map(|token| token.parse::<u32>()).transpose();
        let after = after.map_err(|_| ShieldError::invalid("page_token", "is of no answer"))?;
        let found = self.budgets(&caller, after, size).await?;
        let next = pages::next(&found, size, |(place, ..)| place.to_string());
        let budgets = found.into_iter().map(|(_, view, standing)| answer(&(view, standing), self.0.currency)).collect();
        Ok(Response::new(ListBudgetsResponse { budgets, next_page_token: next.unwrap_or_default() }))
    }

    async fn remove(&self, request: Request<RemoveBudgetRequest>) -> Result<Response<RemoveBudgetResponse>, Status> {
        let caller = caller::<can::BudgetsWrite, _>(&request)?;
        let entry = self.remove_budget(&caller, &request.into_inner().id).await?;
        Ok(Response::new(RemoveBudgetResponse { receipt: self.receipt(entry).map(Into::into) }))
    }
}
