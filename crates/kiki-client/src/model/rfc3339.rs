//! Times in JSON. A text that is no time is read as none: an answer is worth more than one of its times.

use kiki_types::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[expect(clippy::ref_option, reason = "serde passes a reference")]
pub(super) fn serialize<S: Serializer>(time: &Option<UnixMillis>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(UnixMillis::rfc3339).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UnixMillis>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|text| UnixMillis::parse_rfc3339(&text).ok()))
}
