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
        self.put_stop(&caller, &request.into_inner().account, true).await?;
        Ok(Response::new(StopsResponse { stopped: self.stops(&caller).await? }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::StopsWrite, _>(&request)?;
        self.put_stop(&caller, &request.into_inner().account, false).await?;
        Ok(Response::new(StopsResponse { stopped: self.stops(&caller).await? }))
    }

    async fn list_stops(&self, request: Request<ListStopsRequest>) -> Result<Response<StopsResponse>, Status> {
        let caller = caller::<can::SpendRead, _>(&request)?;
        Ok(Response::new(StopsResponse { stopped: self.stops(&caller).await? }))
    }
}
