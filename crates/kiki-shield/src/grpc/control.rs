//! Stops.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::control_service_server::ControlService;
use kiki_proto::shield::v1::{ListStopsRequest, ResumeRequest, StopRequest, StopsResponse};
use tonic::{Request, Response, Status};

use super::caller;
use crate::service::Shield;

#[tonic::async_trait]
impl ControlService for Shield {
    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::StopsWrite, _>(&request)?;
        let entry = self.put_stop(&caller, &request.into_inner().account, true).await?;
        let receipt = self.receipt(entry).map(Into::into);
        Ok(Response::new(StopsResponse { stopped: self.stops(&caller).await?, receipt }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::StopsWrite, _>(&request)?;
        let entry = self.put_stop(&caller, &request.into_inner().account, false).await?;
        let receipt = self.receipt(entry).map(Into::into);
        Ok(Response::new(StopsResponse { stopped: self.stops(&caller).await?, receipt }))
    }

    async fn list_stops(&self, request: Request<ListStopsRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::SpendRead, _>(&request)?;
        Ok(Response::new(StopsResponse { stopped: self.stops(&caller).await?, receipt: None }))
    }
}
