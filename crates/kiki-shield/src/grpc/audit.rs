//! Audit entries of other services.

use kiki_kit::authorisation::can;
use kiki_proto::shield::v1::audit_service_server::AuditService;
use kiki_proto::shield::v1::{RecordRequest, RecordResponse};
use kiki_types::UnixMillis;
use kiki_types::event::AuditEvent;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::caller;
use crate::error::ShieldError;
use crate::service::Shield;

/// Entries in one call at the most.
const RECORDS_MAX: usize = 1000;
/// Bytes of one text of an entry at the most.
const TEXT_BYTES_MAX: usize = 4096;
/// The last millisecond of the year 9999.
const AT_MAX: i64 = 253_402_300_799_999;
/// Bytes of one entry at the most.
const RECORD_BYTES_MAX: usize = 16 * 1024;

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
