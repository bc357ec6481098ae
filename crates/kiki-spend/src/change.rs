//! Keys of changes: an increase or a refund that comes again with its key is the same one, and nothing moves twice.
//!
//! A key belongs to the authorization that it changed, and is remembered with what the change was for as long as the
//! authorization is kept, however it ended. What changed nothing is not remembered: sent again, it is judged anew.

use serde::{Deserialize, Serialize};

use crate::command::Outcome;
use crate::digest::Digest;
use crate::record::EntryIndex;

/// Keyed changes of one authorization. None is forgotten to make room: there the next one with a key is refused.
pub const KEYED_CHANGES_MAX: usize = 32;

/// What a change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ChangeKind {
    Increase,
    Refund,
}

impl ChangeKind {
    /// What is answered to a change that took effect.
    pub(crate) const fn answer(self) -> Outcome {
        match self {
            Self::Increase => Outcome::Held,
            Self::Refund => Outcome::Refunded,
        }
    }
}

/// A change that took effect, under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) key: Digest,
    pub(crate) amount: i64,
    /// The entry that it became.
    pub(crate) entry: EntryIndex,
    pub(crate) kind: ChangeKind,
}

// Refunds in many parts are kept as long as what they refund.
const _: () = assert!(size_of::<Change>() == 32);
