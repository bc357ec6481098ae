//! Entries for the unit tests of this crate.

use std::ops::Range;

use kiki_types::event::{AuditEvent, Level, Outcome};
use kiki_types::{TenantId, UnixMillis};
use uuid::Uuid;

use crate::Batch;

/// An event that differs from those of other numbers.
pub(crate) fn event(number: u64) -> AuditEvent {
    AuditEvent {
        id: Uuid::from_u128(number.into()),
        at: UnixMillis(1_770_287_400_000 + i64::try_from(number).unwrap()),
        tenant: TenantId::default_tenant(),
        level: Level::Info,
        event_type: "spend.authorize".to_owned(),
        actor: "a1b2".to_owned(),
        customer: String::new(),
        action: "authorize".to_owned(),
        resource: format!("default/ads/{}", number % 7),
        outcome: Outcome::Allowed,
        reason: String::new(),
        ip: String::new(),
        data: String::new(),
        request: String::new(),
    }
}

/// A batch of the events of these numbers.
pub(crate) fn batch_of(numbers: Range<u64>) -> Batch {
    let mut batch = Batch::new();
    for number in numbers {
        batch.push(&event(number), None).unwrap();
    }
    batch
}
