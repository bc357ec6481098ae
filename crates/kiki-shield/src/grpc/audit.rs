//! Audit entries of other services. What of a page cannot be an entry has one in its place, so that it holds up none of
//! those behind it; only a page that is none is refused.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::audit_service_server::AuditService;
use kiki_proto::shield::v1::{RecordRequest, RecordResponse};
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
            let event = self.readable(&caller.principal.tenant, position, &record.event_json);
            if event.tenant != caller.principal.tenant && caller.principal.kind != kiki_types::ActorKind::System {
                return Err(ShieldError::invalid("records.event_json", "is of another tenant").into());
            }
            events.push((position, event));
        }
        // Positions are counted for each tenant's sources apart, so that nobody can use up another's.
        let source = self.0.pseudonyms.source(&caller.principal.tenant, source);
        Self::record(self, source, events).await?;
        let last = self.last_position(source).await?;
        Ok(Response::new(RecordResponse { position: position.max(0), last }))
    }
}
