//! A person, as tables know them.

use std::fmt;
use std::str::FromStr;

use kiki_types::TenantId;
use uuid::Uuid;

/// The handle of a person: random, so that it tells neither who nor when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectId(pub Uuid);

impl fmt::Display for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SubjectId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// A person whose secret is at hand.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The handle.
    pub id: SubjectId,
    /// Whose customer it is.
    pub tenant: TenantId,
    /// What stands for the person in the log; it means nobody once the secret is gone.
    pub pseudonym: [u8; 16],
    /// Whether processing is restricted (Art. 18 GDPR).
    pub restricted: bool,
}
