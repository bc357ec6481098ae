//! What an entry of the log tells others.
//!
//! An entry is looked at twice: [`Filter`] searches its bytes, which nearly all entries do not pass, and
//! [`events_of`] reads those that do.

use std::str::FromStr;

use kiki_spend::Digest;
use kiki_types::event::AuditEvent;
use kiki_types::id::{AuthorizationId, DeliveryId, WebhookId};
use kiki_types::{Currency, Money, TenantId, UnixMillis};
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::names::{public_account, public_name};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum EventKind {
            $($(#[$doc])* $variant,)*
        }

        impl EventKind {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The `type` of its payload.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A limit reached 50, 80 or 100 percent.
    LimitReached = "spend.limit.reached",
    /// Many denials within a short time.
    DenialsBurst = "spend.denials.burst",
    /// An authorization waits for an approval.
    ApprovalWaiting = "spend.approval.waiting",
    /// It was approved or rejected.
    ApprovalResolved = "spend.approval.resolved",
    /// An account was stopped.
    AccountStopped = "spend.account.stopped",
    /// It was resumed.
    AccountResumed = "spend.account.resumed",
    /// A subject request must be answered or acknowledged soon.
    SubjectRequestDue = "subject_request.due",
    /// It was not, in time.
    SubjectRequestOverdue = "subject_request.overdue",
    /// The authority must be told of a breach soon.
    BreachDue = "breach.due",
    /// It was not, in time.
    BreachOverdue = "breach.overdue",
    /// What customers do departs from the value model in force, or does so no more.
    ModelDrift = "value.model.drift",
    /// Somebody tries a webhook out.
    Test = "webhook.test",
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("must be among {}", names.join(", "))
        })
    }
}

/// Something that others are told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) tenant: TenantId,
    pub(crate) kind: EventKind,
    pub(crate) at: UnixMillis,
    /// The entry, and which of its events this is.
    pub(crate) source: (Uuid, u32),
    pub(crate) data: Value,
}

impl Event {
    /// The id of this event's delivery to `endpoint`: always the same, so that the receiver knows it again.
    pub(crate) fn delivery_id(&self, endpoint: WebhookId) -> DeliveryId {
        let (entry, number) = self.source;
        let mut hash = Sha256::new();
        hash.update(entry.as_bytes());
        hash.update(number.to_be_bytes());
        hash.update(endpoint.uuid().as_bytes());
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Builder::from_custom_bytes(half).into_uuid().into()
    }

    /// The body of its requests.
    pub(crate) fn payload(&self) -> String {
        payload(self.kind, self.at, &self.data)
    }
}

/// The body of a request, as Standard Webhooks recommend it.
pub(crate) fn payload(kind: EventKind, at: UnixMillis, data: &Value) -> String {
    #[derive(Serialize)]
    struct Payload<'a> {
        r#type: &'static str,
        timestamp: String,
        data: &'a Value,
    }
    let payload = Payload { r#type: kind.as_str(), timestamp: at.rfc3339(), data };
    // Strings and numbers always have a JSON.
    serde_json::to_string(&payload).unwrap_or_default()
}

/// Passes the bytes of every entry that may tell something, and of few others.
pub(crate) struct Filter([Finder<'static>; 9]);

impl Filter {
    pub(crate) fn new() -> Self {
        let tells = [
            "\"notices\":[",
            "\"outcome\":\"pending\"",
            "\"op\":\"stop\"",
            "\"op\":\"resume\"",
            "\"op\":\"approve\"",
            "\"op\":\"reject\"",
            "\"type\":\"subject_request.",
            "\"type\":\"breach.",
            "\"type\":\"value.model.drift\"",
        ];
        Self(tells.map(Finder::new))
    }

    pub(crate) fn passes(&self, entry: &[u8]) -> bool {
        self.0.iter().any(|tell| tell.find(entry).is_some())
    }
}

#[derive(Deserialize)]
struct Body {
    at: i64,
    cmd: Command,
    out: Outcome,
    #[serde(default)]
    notices: Vec<Notice>,
}

/// What is told of a command; the rest is not looked at.
#[derive(Deserialize)]
struct Command {
    op: String,
    id: Option<Value>,
    path: Option<String>,
    amount: Option<i64>,
}

#[derive(Deserialize)]
struct Outcome {
    outcome: String,
}

/// One of its three kinds; others are ignored.
#[derive(Deserialize)]
struct Notice {
    reached: Option<String>,
    percent: Option<u32>,
    denials: Option<u64>,
    seconds: Option<u64>,
}

/// What the entry `bytes` tells, in order. Amounts are in `currency`.
///
/// # Errors
/// The bytes are not the JSON of an entry of the governor.
pub(crate) fn events_of(bytes: &[u8], currency: Currency) -> Result<Vec<Event>, serde_json::Error> {
    let entry = kiki_audit::Entry::parse(bytes)?;
    let Some(body) = &entry.body else { return Ok(Vec::new()) };
    let body: Body = serde_json::from_str(body.get())?;
    let context = context(&body, currency);
    let noticed = body.notices.iter().filter_map(|notice| told_by_notice(notice, &context));
    let told_itself = told_by_kind(&entry.event).or_else(|| told_by_outcome(&body, &context));
    let told: Vec<_> = told_itself.into_iter().chain(noticed).collect();
    let AuditEvent { id, tenant, .. } = &entry.event;
    let event = |(number, (kind, mut data)): (u32, (EventKind, Map<String, Value>))| {
        data.insert("entry_id".to_owned(), json!(id));
        Event {
            tenant: tenant.clone(),
            kind,
            at: UnixMillis(body.at),
            source: (*id, number),
            data: Value::Object(data),
        }
    };
    Ok((0..).zip(told).map(event).collect())
}

/// What every event of an entry says: the account, the authorization, the amount, as far as the command names them.
fn context(body: &Body, currency: Currency) -> Map<String, Value> {
    let mut context = Map::new();
    if let Some(path) = &body.cmd.path {
        context.insert("account".to_owned(), json!(public_account(path)));
    }
    // The id of an authorization is 16 bytes; limits have names.
    let id = body.cmd.id.as_ref().and_then(|id| serde_json::from_value::<Digest>(id.clone()).ok());
    if let Some(id) = id.filter(|_| !matches!(body.cmd.op.as_str(), "limit" | "remove_limit")) {
        context.insert("authorization_id".to_owned(), json!(AuthorizationId::from(Uuid::from(id))));
    }
    if let Some(amount) = body.cmd.amount {
        context.insert("amount".to_owned(), json!(Money::new(amount, currency)));
    }
    context
}

/// What another service's entry tells by its kind alone.
fn told_by_kind(event: &AuditEvent) -> Option<(EventKind, Map<String, Value>)> {
    let (kind, name) = match event.event_type.as_str() {
        "subject_request.due" => (EventKind::SubjectRequestDue, "subject_request_id"),
        "subject_request.overdue" => (EventKind::SubjectRequestOverdue, "subject_request_id"),
        "breach.due" => (EventKind::BreachDue, "breach_id"),
        "breach.overdue" => (EventKind::BreachOverdue, "breach_id"),
        "value.model.drift" => (EventKind::ModelDrift, "model_id"),
        _ => return None,
    };
    let id = event.resource.rsplit_once('/').map_or(event.resource.as_str(), |(_, id)| id);
    let told = [(name, id), ("reason", &event.reason)];
    Some((kind, told.into_iter().map(|(name, text)| (name.to_owned(), json!(text))).collect()))
}

fn told_by_outcome(body: &Body, context: &Map<String, Value>) -> Option<(EventKind, Map<String, Value>)> {
    let mut data = context.clone();
    let kind = match (body.cmd.op.as_str(), body.out.outcome.as_str()) {
        (_, "pending") => EventKind::ApprovalWaiting,
        ("approve", "held" | "captured") => {
            data.insert("resolution".to_owned(), json!("approved"));
            EventKind::ApprovalResolved
        }
        ("reject", "rejected" | "voided") => {
            data.insert("resolution".to_owned(), json!("rejected"));
            EventKind::ApprovalResolved
        }
        ("stop", "stopped") => EventKind::AccountStopped,
        ("resume", "resumed") => EventKind::AccountResumed,
        _ => return None,
    };
    Some((kind, data))
}

fn told_by_notice(notice: &Notice, context: &Map<String, Value>) -> Option<(EventKind, Map<String, Value>)> {
    let mut data = context.clone();
    match notice {
        Notice { reached: Some(limit), percent: Some(percent), .. } => {
            data.insert("limit".to_owned(), json!(public_name(limit)));
            data.insert("percent".to_owned(), json!(percent));
            Some((EventKind::LimitReached, data))
        }
        Notice { denials: Some(denials), seconds: Some(seconds), .. } => {
            data.insert("denials".to_owned(), json!(denials));
            data.insert("seconds".to_owned(), json!(seconds));
            Some((EventKind::DenialsBurst, data))
        }
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod testing {
    use serde_json::{Value, json};

    /// The entry `number` of the log, with this body.
    pub(in crate::webhooks) fn entry(number: u32, tenant: &str, body: &Value) -> Vec<u8> {
        let entry = json!({
            "id": format!("01a1fdc5-f67a-77fb-b661-{number:012x}"), "at": body["at"], "tenant": tenant, "level": "INFO",
            "type": "spend.authorize", "actor": "a", "action": "authorize", "resource": "r", "outcome": "ALLOWED",
            "body": body,
        });
        entry.to_string().into_bytes()
    }

    /// The body of an authorization that made a limit reach `percent`.
    pub(in crate::webhooks) fn reached(at: i64, limit: &str, percent: u32) -> Value {
        json!({
            "at": at,
            "cmd": {"op": "authorize", "id": "01a1fdc5f67a77fbb6611f6e0791435e", "path": "default/growth", "amount": 2_500_000},
            "out": {"outcome": "held"},
            "notices": [{"reached": limit, "percent": percent}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{entry, reached};
    use super::*;

    const USD: &str = "USD";

    fn told(body: &Value) -> Vec<(&'static str, Value)> {
        let bytes = entry(1, "default", body);
        let events = events_of(&bytes, USD.parse().unwrap()).unwrap();
        assert_eq!(Filter::new().passes(&bytes), !events.is_empty(), "the filter agrees: {body}");
        events.into_iter().map(|event| (event.kind.as_str(), event.data)).collect()
    }

    #[test]
    fn a_reached_limit_is_told_with_what_reached_it() {
        assert_eq!(
            told(&reached(5, "default/burst", 80)),
            [(
                "spend.limit.reached",
                json!({
                    "limit": "burst", "percent": 80, "account": "growth", "amount": {"amount": "2.50", "currency": "USD"},
                    "authorization_id": "01a1fdc5-f67a-77fb-b661-1f6e0791435e",
                    "entry_id": "01a1fdc5-f67a-77fb-b661-000000000001",
                })
            )]
        );
    }

    #[test]
    fn each_act_is_told_as_what_came_of_it() {
        let id = "01a1fdc5f67a77fbb6611f6e0791435e";
        for (cmd, outcome, event) in [
            (
                json!({"op": "authorize", "id": id, "path": "default/a", "amount": 1}),
                "pending",
                Some("spend.approval.waiting"),
            ),
            (json!({"op": "approve", "id": id}), "held", Some("spend.approval.resolved")),
            (json!({"op": "approve", "id": id}), "captured", Some("spend.approval.resolved")),
            (json!({"op": "reject", "id": id}), "rejected", Some("spend.approval.resolved")),
            (json!({"op": "stop", "path": "default/a"}), "stopped", Some("spend.account.stopped")),
            (json!({"op": "resume", "path": "default"}), "resumed", Some("spend.account.resumed")),
            (json!({"op": "authorize", "id": id, "path": "default/a", "amount": 1}), "held", None),
            (json!({"op": "limit", "id": "default/burst", "path": "default"}), "defined", None),
        ] {
            let body = json!({"at": 1, "cmd": cmd, "out": {"outcome": outcome}});
            let told = told(&body);
            assert_eq!(told.first().map(|(kind, _)| *kind), event, "{body}");
        }
        let refused = json!({"at": 1, "cmd": {"op": "approve", "id": id}, "out": {"outcome": "denied", "refused_by": ["four_eyes"]}});
        assert_eq!(events_of(&entry(1, "default", &refused), USD.parse().unwrap()).unwrap(), [], "still waiting");
    }

    #[test]
    fn a_deadline_is_told_by_the_kind_of_its_entry() {
        let id = "01a1fdc5-f67a-77fb-b661-1f6e0791435e";
        let body = json!({"at": 1, "cmd": {"op": "note"}, "out": {"outcome": "noted"}});
        let kinds = ["due", "overdue", "update"].map(|kind| (kind, kind != "update"));
        let all = ["subject_request", "breach"].map(|of| kinds.map(|(kind, is_told)| (of, kind, is_told)));
        for (of, kind, is_told) in all.into_iter().flatten() {
            let kind = format!("{of}.{kind}");
            let mut entry: Value = serde_json::from_slice(&entry(1, "default", &body)).unwrap();
            entry["type"] = json!(kind);
            entry["resource"] = json!(format!("{of}/{id}"));
            entry["reason"] = json!("7 days");
            let bytes = entry.to_string().into_bytes();
            assert!(Filter::new().passes(&bytes), "{kind}");
            let events = events_of(&bytes, USD.parse().unwrap()).unwrap();
            assert_eq!(events.first().map(|event| event.kind.as_str()), is_told.then_some(kind.as_str()));
            if let Some(event) = events.first() {
                assert_eq!((&event.data[&format!("{of}_id")], &event.data["reason"]), (&json!(id), &json!("7 days")));
            }
        }
    }

    #[test]
    fn a_model_that_departs_from_what_happens_is_told_with_what_differs() {
        let body = json!({"at": 1, "cmd": {"op": "note"}, "out": {"outcome": "noted"}});
        let mut entry: Value = serde_json::from_slice(&entry(1, "default", &body)).unwrap();
        entry["type"] = json!("value.model.drift");
        entry["resource"] = json!("value/model/01a1fdc5-f67a-77fb-b661-1f6e0791435e");
        entry["reason"] = json!("drifting: purchases at 57 % of what was expected");
        let bytes = entry.to_string().into_bytes();
        assert!(Filter::new().passes(&bytes));
        let event = events_of(&bytes, USD.parse().unwrap()).unwrap().remove(0);
        assert_eq!(event.kind.as_str(), "value.model.drift");
        assert_eq!(event.data["model_id"], "01a1fdc5-f67a-77fb-b661-1f6e0791435e");
        assert_eq!(event.data["reason"], entry["reason"]);
    }

    #[test]
    fn an_entry_may_tell_several_things_and_each_has_its_own_id() {
        let mut body = reached(5, "default/burst", 50);
        body["notices"] = json!([
            {"reached": "default/burst", "percent": 50}, {"reached": "default/day", "percent": 100},
            {"would_refuse": "default/day"}, {"denials": 20, "seconds": 60},
        ]);
        let bytes = entry(1, "default", &body);
        let events = events_of(&bytes, USD.parse().unwrap()).unwrap();
        assert_eq!(events.len(), 3, "what a shadow would refuse is not told");
        let ids = |endpoint: u128| -> Vec<_> {
            events.iter().map(|event| event.delivery_id(Uuid::from_u128(endpoint).into())).collect()
        };
        let mut all = [ids(1), ids(2)].concat();
        assert_eq!(ids(1), all[..3], "always the same");
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn what_another_service_recorded_tells_nothing() {
        let bytes = br#"{"id":"01a1fdc5-f67a-77fb-b661-000000000001","at":1,"tenant":"default","level":"INFO","type":"x","actor":"\"notices\":[","action":"a","resource":"r","outcome":"ALLOWED"}"#;
        assert_eq!(events_of(bytes, USD.parse().unwrap()).unwrap(), []);
    }

    #[test]
    fn a_payload_has_its_three_parts_in_order() {
        let text = payload(EventKind::Test, UnixMillis(1_770_287_400_000), &json!({"a": 1}));
        assert_eq!(text, r#"{"type":"webhook.test","timestamp":"2026-02-05T10:30:00.000Z","data":{"a":1}}"#);
    }
}
