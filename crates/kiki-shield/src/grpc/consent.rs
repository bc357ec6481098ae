//! Consent.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::consent_service_server::ConsentService;
use kiki_proto::shield::v1::{ConsentStatus, GetConsentRequest, SetConsentRequest};
use kiki_types::Purpose;
use tonic::{Request, Response, Status};

use super::{caller, purpose};
use crate::service::Shield;

#[tonic::async_trait]
impl ConsentService for Shield {
    async fn set(&self, request: Request<SetConsentRequest>) -> Result<Response<ConsentStatus>, Status> {
        let caller = caller::<can::ConsentWrite, _>(&request)?;
        let SetConsentRequest { customer_id, purpose: text, granted, .. } = request.into_inner();
        let entry = self.set_consent(&caller, &customer_id, purpose(&text)?, granted).await?.index;
        let receipt = self.receipt(entry).map(Into::into);
        Ok(Response::new(ConsentStatus { customer_id, purpose: text, granted, receipt, ..ConsentStatus::default() }))
    }

    async fn get(&self, request: Request<GetConsentRequest>) -> Result<Response<ConsentStatus>, Status> {
        let caller = caller::<can::ConsentRead, _>(&request)?;
        let GetConsentRequest { customer_id, purpose: text, .. } = request.into_inner();
        let wanted = purpose(&text)?;
        let consents = self.consents(&caller, &customer_id, &Purpose::ALL).await?;
        let granted = consents.into_iter().any(|(purpose, granted)| purpose == wanted && granted);
        Ok(Response::new(ConsentStatus { customer_id, purpose: text, granted, ..ConsentStatus::default() }))
    }
}
