//! The shapes of what auditors ask and are answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiki_audit::Hash;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::entries::{Logged, Page};

/// `GET /v1/audit/entries`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EntriesRequest {
    /// From the answer before: only entries behind this one.
    pub(crate) after: Option<u64>,
    /// How many, at most 1,000; absent: 100.
    pub(crate) limit: Option<usize>,
    /// `ALLOWED`, `DENIED` or `FAILED`.
    pub(crate) outcome: Option<String>,
    /// The verb, such as `authorize`.
    pub(crate) action: Option<String>,
    /// Who acted: a name, or its keyed hash as the log has it.
    pub(crate) actor: Option<String>,
    /// Only what happened at this time or later.
    pub(crate) since: Option<String>,
    /// Only what happened before this time.
    pub(crate) until: Option<String>,
}

/// An entry of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entry)]
pub(crate) struct EntryAnswer {
    /// Its place, counted from 0.
    pub(crate) index: u64,
    /// What the log has, byte for byte: the leaf of the tree is SHA-256 over a zero byte and these bytes.
    #[schema(value_type = Object)]
    pub(crate) entry: Box<RawValue>,
}

impl TryFrom<Logged> for EntryAnswer {
    type Error = serde_json::Error;

    fn try_from(found: Logged) -> Result<Self, serde_json::Error> {
        Ok(Self { index: found.index, entry: RawValue::from_string(found.json)? })
    }
}

/// A page of entries.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Entries)]
pub(crate) struct EntriesAnswer {
    /// In the order of the log. There may be fewer than asked for, or none, although more follow: only so many are
    /// looked at for a page.
    pub(crate) entries: Vec<EntryAnswer>,
    /// Send it as `after` for the next page; absent where the log ends for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    /// Entries that the newest checkpoint covers.
    pub(crate) size: u64,
}

impl TryFrom<Page> for EntriesAnswer {
    type Error = serde_json::Error;

    fn try_from(page: Page) -> Result<Self, serde_json::Error> {
        let entries = page.entries.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        Ok(Self { entries, next: page.next, size: page.size })
    }
}

/// By which keys the log's checkpoints are checked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogKeys)]
pub(crate) struct KeysAnswer {
    /// The log's name in its checkpoints.
    #[schema(example = "kiki.local/shield")]
    pub(crate) origin: String,
    /// The verifier keys of those that signed, the current one first. Compare them with what you kept: whoever
    /// answers here could name other ones.
    pub(crate) keys: Vec<String>,
    /// How the log went over from one key to the next, from the first one on: signed notes, each signed by both keys.
    /// Whoever trusts the first key may follow them to the current one.
    pub(crate) handovers: Vec<String>,
}

/// `GET /v1/audit/log/checkpoint`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CheckpointRequest {
    /// Whether the newest one is wanted that enough witnesses have cosigned, with their signatures.
    #[serde(default)]
    pub(crate) witnessed: bool,
}

/// `GET /v1/audit/proofs/inclusion`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct InclusionRequest {
    /// The entry.
    pub(crate) index: u64,
    /// The entries of the tree; absent: those that the newest checkpoint covers.
    pub(crate) size: Option<u64>,
}

/// That an entry is in a tree (RFC 6962, section 2.1.1).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InclusionProof)]
pub(crate) struct InclusionAnswer {
    /// The entry.
    pub(crate) index: u64,
    /// The entries of the tree.
    pub(crate) size: u64,
    /// The entry's hash, in base64.
    pub(crate) leaf: String,
    /// The hashes from the leaf's sibling up, in base64.
    pub(crate) hashes: Vec<String>,
    /// The root of the tree, in base64.
    pub(crate) root: String,
    /// The newest checkpoint, a signed note. Where it covers more than `size`, a proof of consistency leads there.
    pub(crate) checkpoint: String,
}

/// `GET /v1/audit/proofs/consistency`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsistencyRequest {
    /// The entries of the older tree.
    pub(crate) from: u64,
    /// Those of the newer one; absent: those that the newest checkpoint covers.
    pub(crate) to: Option<u64>,
}

/// That a tree is the beginning of another (RFC 6962, section 2.1.2).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConsistencyProof)]
pub(crate) struct ConsistencyAnswer {
    /// The entries of the older tree.
    pub(crate) from: u64,
    /// Those of the newer one.
    pub(crate) to: u64,
    /// The root of the older tree, in base64.
    pub(crate) from_root: String,
    /// That of the newer one.
    pub(crate) to_root: String,
    /// The hashes of the proof, in base64.
    pub(crate) hashes: Vec<String>,
    /// The newest checkpoint, a signed note.
    pub(crate) checkpoint: String,
}

/// A hash as notes and proofs write it.
pub(super) fn base64(hash: &Hash) -> String {
    STANDARD.encode(hash)
}
