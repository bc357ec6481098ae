//! What a shard is made with, whatever its disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use kiki_spend::Settings;
use kiki_types::event::{AuditEvent, Level, Outcome};
use kiki_types::{IdSource, TenantId, UnixMillis};
use uuid::Uuid;

#[derive(Default)]
struct Ids(AtomicU64);

impl IdSource for Ids {
    fn uuid(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}

/// Ids are counted, and the clock shows what `clock` holds.
pub fn settings(data: &Path, clock: &Arc<AtomicI64>) -> Settings {
    let time = clock.clone();
    Settings {
        data: data.to_owned(),
        origin: "simulation".to_owned(),
        retention_days: 1,
        clock: Arc::new(move || UnixMillis(time.load(Ordering::Relaxed))),
        ids: Arc::new(Ids::default()),
        key_seed: || [7; 32].into(),
    }
}

/// The audit event of a decision, before it is made.
pub fn draft() -> AuditEvent {
    AuditEvent {
        id: Uuid::nil(),
        at: UnixMillis(0),
        tenant: TenantId::default_tenant(),
        level: Level::Info,
        event_type: "spend".to_owned(),
        actor: "client".to_owned(),
        customer: String::new(),
        action: "decide".to_owned(),
        resource: String::new(),
        outcome: Outcome::Allowed,
        reason: String::new(),
        ip: String::new(),
        data: String::new(),
        request: String::new(),
    }
}
