//! An entry: the audit event that people read and the JSON that the engine replays, as one JSON object.
//!
//! The encoding is deterministic (fixed order of fields, no spaces), because its bytes are what the tree hashes. It is
//! written by hand: it sits between a decision and its answer.

use kiki_types::event::AuditEvent;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Bytes of the longest entry; C2SP entry bundles count them in 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// One entry of the log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// What happened, for readers.
    #[serde(flatten)]
    pub event: AuditEvent,
    /// The engine's own JSON, such as a command and its outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
}

impl Entry {
    /// Reads an entry from its bytes in the log.
    ///
    /// # Errors
    /// The bytes are not the JSON of an entry.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        // Twice over the bytes takes half the time of once through `flatten`, which buffers every field.
        let Body { body } = serde_json::from_slice(bytes)?;
        Ok(Self { event: serde_json::from_slice(bytes)?, body: body.map(ToOwned::to_owned) })
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

/// Writes the entry's JSON without its body and without the closing brace.
pub(crate) fn write_event(out: &mut Vec<u8>, event: &AuditEvent) {
    let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
    out.extend_from_slice(b"{\"id\":\"");
    out.extend_from_slice(event.id.as_hyphenated().encode_lower(&mut id).as_bytes());
    out.extend_from_slice(b"\",\"at\":");
    write_integer(out, event.at.0);
    write_field(out, b",\"tenant\":", event.tenant.as_str());
    write_field(out, b",\"level\":", event.level.as_str());
    write_field(out, b",\"type\":", &event.event_type);
    write_field(out, b",\"actor\":", &event.actor);
    write_unless_empty(out, b",\"customer\":", &event.customer);
    write_field(out, b",\"action\":", &event.action);
    write_field(out, b",\"resource\":", &event.resource);
    write_field(out, b",\"outcome\":", event.outcome.as_str());
    write_unless_empty(out, b",\"reason\":", &event.reason);
    write_unless_empty(out, b",\"ip\":", &event.ip);
    write_unless_empty(out, b",\"data\":", &event.data);
    write_unless_empty(out, b",\"request\":", &event.request);
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    write_string(out, value);
}

fn write_unless_empty(out: &mut Vec<u8>, name: &[u8], value: &str) {
    if !value.is_empty() {
        write_field(out, name, value);
    }
}

/// `value` as a JSON string, escaped as `serde_json` does.
pub(crate) fn write_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    // Without an early exit, which lets the compiler look at many bytes at once: most values need no escape.
    if value.bytes().fold(false, |any, byte| any | needs_escape(byte)) {
        write_escaped(out, value.as_bytes());
    } else {
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'"');
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate().filter(|(_, byte)| needs_escape(**byte)) {
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.extend_from_slice(&escape_control(byte)),
        }
    }
    out.extend_from_slice(&bytes[written..]);
}

fn escape_control(byte: u8) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    [b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// `value` in decimal digits.
fn write_integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        start -= 1;
        // A remainder of ten is a digit.
        digits[start] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use kiki_types::event::{Level, Outcome};
    use kiki_types::{TenantId, UnixMillis};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::Batch;

    fn event(at: i64, texts: [String; 9]) -> AuditEvent {
        let [event_type, actor, customer, action, resource, reason, ip, data, request] = texts;
        AuditEvent {
            id: Uuid::from_u128(u128::from(at.unsigned_abs()) << 17),
            at: UnixMillis(at),
            tenant: TenantId::default_tenant(),
            level: Level::Warning,
            event_type,
            actor,
            customer,
            action,
            resource,
            outcome: Outcome::Denied,
            reason,
            ip,
            data,
            request,
        }
    }

    fn encoded(event: &AuditEvent, body: Option<&RawValue>) -> Vec<u8> {
        let mut batch = Batch::new();
        batch.push(event, body).unwrap();
        batch.entries().next().unwrap().to_vec()
    }

    proptest! {
        #[test]
        fn the_handwritten_encoding_is_the_one_of_serde(
            at in any::<i64>(),
            texts in prop::array::uniform9("\\PC{0,8}|[\\x00-\\x30\"\\\\]{0,4}"),
            body in prop::option::of("[a-z\"\\\\\n]{0,9}"),
        ) {
            let body = body.map(|text| serde_json::value::to_raw_value(&text).unwrap());
            let entry = Entry { event: event(at, texts), body };
            let bytes = encoded(&entry.event, entry.body.as_deref());
            prop_assert_eq!(String::from_utf8(bytes.clone()).unwrap(), serde_json::to_string(&entry).unwrap());
            let read = Entry::parse(&bytes).unwrap();
            prop_assert_eq!(read.event, entry.event);
            prop_assert_eq!(read.body.map(|body| body.to_string()), entry.body.map(|body| body.to_string()));
        }
    }

    #[test]
    fn a_body_may_be_serialized_in_place() {
        let event = event(i64::MIN, Default::default());
        let body = serde_json::json!({"amount": "1.01", "keys": [1, 2]});
        let mut batch = Batch::new();
        batch.push_with(&event, &body).unwrap();
        let raw = serde_json::value::to_raw_value(&body).unwrap();
        assert_eq!(batch.entries().next().unwrap(), encoded(&event, Some(&raw)));
    }
}
