//! Consent.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::consent_service_server::ConsentService;
use kiki_proto::shield::v1::{ConsentStatus, GetConsentRequest, SetConsentRequest};
use kiki_types::UnixMillis;
use tonic::{Request, Response, Status};

use super::{caller, channel, purpose};
use crate::consent::Wanted;
use crate::consent::gpc::Gpc;
use crate::service::Shield;

#[tonic::async_trait]
impl ConsentService for Shield {
    async fn set(&self, request: Request<SetConsentRequest>) -> Result<Response<ConsentStatus>, Status> {
        let caller = caller::<can::ConsentWrite, _>(&request)?;
        let SetConsentRequest { customer_id, purpose: to, granted, channel: by, until_ms } = request.into_inner();
        let wanted = Wanted {
            until: (until_ms != 0).then_some(UnixMillis(until_ms)),
            ..Wanted::of(customer_id.clone(), purpose(&to)?, channel(&by)?)
        };
        // A service that asks is no browser.
        let gpc = Gpc(false);
        let made = match granted {
            true => self.give_consent(&caller, wanted, gpc).await?,
            false => self.revoke_consent(&caller, wanted, gpc).await?,
        };
        let receipt = self.receipt(made.record.entry).map(Into::into);
        let until_ms = made.record.until.0;
        Ok(Response::new(ConsentStatus { customer_id, purpose: to, granted, receipt, channel: by, until_ms }))
    }

    async fn get(&self, request: Request<GetConsentRequest>) -> Result<Response<ConsentStatus>, Status> {
        let caller = caller::<can::ConsentRead, _>(&request)?;
        let GetConsentRequest { customer_id, purpose: to, channel: by } = request.into_inner();
        let (wanted, over) = (purpose(&to)?, channel(&by)?);
        let (granted, until) = self.stands(&caller.principal.tenant, &customer_id, wanted, over).await?;
        let until_ms = until.unwrap_or(0);
        let status = ConsentStatus { customer_id, purpose: to, granted, receipt: None, channel: by, until_ms };
        Ok(Response::new(status))
    }
}
