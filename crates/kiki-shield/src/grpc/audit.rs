//! Audit entries of other services. What of a page cannot be an entry has one in its place, so that it holds up none of
//! those behind it; only a page that is none is refused.
//!
//! The outbox of shield's own database is believed where others are not (`crate::consent::follow`). Its name is no secret,
//! so a permission to hand entries over is not enough to speak for it: the relay shows a key that follows from the
//! installation's own.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::audit_service_server::AuditService;
use kiki_proto::shield::v1::{RecordRequest, RecordResponse};
use kiki_spend::Digest;
use kiki_types::TenantId;
use subtle::ConstantTimeEq as _;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::caller;
use crate::error::ShieldError;
use crate::service::Shield;

/// Entries in one call at the most.
const RECORDS_MAX: usize = 1000;

#[tonic::async_trait]
impl AuditService for Shield {
    async fn record(&self, request: Request<RecordRequest>) -> Result<Response<RecordResponse>, Status> {
        let caller = caller::<can::AuditWrite, _>(&request)?;
        let RecordRequest { source, records, relay_key } = request.into_inner();
        let source: Uuid = source.parse().map_err(|_| ShieldError::invalid("source", "is not a UUID"))?;
        let source = self.relayed(&caller.principal.tenant, source, &relay_key).await?;
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
            let event = self.readable(&caller.principal.tenant, position, &record.event_json);
            if event.tenant != caller.principal.tenant && caller.principal.kind != kiki_types::ActorKind::System {
                return Err(ShieldError::invalid("records.event_json", "is of another tenant").into());
            }
            events.push((position, event));
        }
        Self::record(self, source, events).await?;
        let last = self.last_position(source).await?;
        Ok(Response::new(RecordResponse { position: position.max(0), last }))
    }
}

impl Shield {
    /// Whom the relay of `source` speaks for. Positions are counted for each tenant's sources and relays apart, so that nobody
    /// can use up another's.
    async fn relayed(&self, tenant: &TenantId, source: Uuid, relay_key: &str) -> Result<Digest, ShieldError> {
        let pseudonyms = &self.0.pseudonyms;
        if *tenant != TenantId::default_tenant() || source != self.0.store.source_id().await? {
            return Ok(pseudonyms.relayed(tenant, source, relay_key));
        }
        if bool::from(pseudonyms.relay_key(source).as_bytes().ct_eq(relay_key.as_bytes())) {
            Ok(pseudonyms.source(tenant, source))
        } else {
            Err(ShieldError::NotTheRelay)
        }
    }
}
