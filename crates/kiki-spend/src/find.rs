//! Finding entries of the log: by when they were decided, and by the authorization that they decided.

use std::path::Path;

use kiki_audit::{Entry, Error, Reader, disk, pruned};
use kiki_types::UnixMillis;
use serde::Deserialize;
use uuid::Uuid;

use crate::digest::Digest;
use crate::shard::governor_time;

/// How long after its id was made an authorization is decided at the latest: requests do not live that long.
const DECIDED_WITHIN_MS: i64 = 5 * 60 * 1000;

/// The first entry that is kept of the `len` of the log in `audit` and was written at `time` or later; `len` if there is none.
///
/// # Errors
/// An entry cannot be read or does not check.
pub fn first_at(audit: &Path, len: u64, time: UnixMillis) -> Result<u64, Error> {
    let (mut low, mut high) = (pruned::minimum(disk::real().as_ref(), audit)?, len);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut reader = Reader::open(audit, middle, middle + 1)?;
        let written = match reader.next_record()? {
            Some(record) => governor_time(&record.entry()?).unwrap_or(i64::MIN),
            None => i64::MAX,
        };
        if written < time.0 {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The entry that decided authorization `id`, or booked it, among the `len` entries of the log in `audit`. The id tells
/// when it was made (UUIDv7), so only a few minutes of the log are read.
///
/// # Errors
/// An entry cannot be read or does not check.
pub fn decided(audit: &Path, len: u64, id: Uuid) -> Result<Option<u64>, Error> {
    let Some(made) = made_at(id) else { return Ok(None) };
    let mut reader = Reader::open(audit, first_at(audit, len, made)?, len)?;
    while let Some(record) = reader.next_record()? {
        let entry = record.entry()?;
        if governor_time(&entry).is_some_and(|time| time > made.0 + DECIDED_WITHIN_MS) {
            break;
        }
        if decides(&entry, id.into()) {
            return Ok(Some(record.index));
        }
    }
    Ok(None)
}

fn made_at(id: Uuid) -> Option<UnixMillis> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    Some(UnixMillis(i64::try_from(seconds).ok()?.checked_mul(1000)? + i64::from(nanoseconds / 1_000_000)))
}

fn decides(entry: &Entry, id: Digest) -> bool {
    #[derive(Deserialize)]
    struct Body {
        cmd: Command,
    }
    #[derive(Deserialize)]
    struct Command {
        op: String,
        #[serde(default)]
        id: serde_json::Value,
    }
    let body = entry.body.as_deref().and_then(|body| serde_json::from_str::<Body>(body.get()).ok());
    body.is_some_and(|Body { cmd }| {
        matches!(cmd.op.as_str(), "authorize" | "record") && cmd.id.as_str() == Some(id.to_string().as_str())
    })
}
