//! Stops.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::control_service_server::ControlService;
use kiki_proto::shield::v1::{ListStopsRequest, Receipt, ResumeRequest, StopRequest, StopsResponse};
use tonic::{Request, Response, Status};

use super::{caller, given};
use crate::pages;
use crate::service::{Caller, Shield};

#[tonic::async_trait]
impl ControlService for Shield {
    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::StopsWrite, _>(&request)?;
        let entry = self.put_stop(&caller, &request.into_inner().account, true).await?;
        let receipt = self.receipt(entry).map(Into::into);
        self.page_of_stops(&caller, ListStopsRequest::default(), receipt).await
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::StopsWrite, _>(&request)?;
        let entry = self.put_stop(&caller, &request.into_inner().account, false).await?;
        let receipt = self.receipt(entry).map(Into::into);
        self.page_of_stops(&caller, ListStopsRequest::default(), receipt).await
    }

    async fn list_stops(&self, request: Request<ListStopsRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::SpendRead, _>(&request)?;
        self.page_of_stops(&caller, request.into_inner(), None).await
    }
}

impl Shield {
    async fn page_of_stops(
        &self,
        caller: &Caller,
        request: ListStopsRequest,
        receipt: Option<Receipt>,
    ) -> Result<Response<StopsResponse>, Status> {
        // The tenant itself is the empty account; a token is never empty.
        let after = given(request.page_token).map(|token| token.trim_start_matches('/').to_owned());
        let (stopped, next) = self.stops(caller, after, pages::size(request.page_size)?).await?;
        let next_page_token = next.map(|account| format!("/{account}")).unwrap_or_default();
        Ok(Response::new(StopsResponse { stopped, receipt, next_page_token }))
    }
}
