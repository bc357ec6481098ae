//! What a customer can agree to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A purpose of processing personal data. Consent is given and revoked for one purpose at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Purpose {
    /// Being written to.
    Marketing,
    /// Being counted.
    Analytics,
    /// Being shown chosen advertisements.
    Targeting,
    /// Being scored.
    Profiling,
    /// Having data passed on.
    DataSharing,
}

impl Purpose {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Marketing, Self::Analytics, Self::Targeting, Self::Profiling, Self::DataSharing];

    /// The name in JSON and queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Analytics => "analytics",
            Self::Targeting => "targeting",
            Self::Profiling => "profiling",
            Self::DataSharing => "data_sharing",
        }
    }
}

impl FromStr for Purpose {
    type Err = UnknownPurpose;

    /// Letter case does not matter.
    fn from_str(text: &str) -> Result<Self, UnknownPurpose> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownPurpose)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of marketing, analytics, targeting, profiling, data_sharing")]
pub struct UnknownPurpose;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_reads_back_from_its_name() {
        for purpose in Purpose::ALL {
            assert_eq!(purpose.as_str().to_uppercase().parse(), Ok(purpose));
            assert_eq!(serde_json::to_value(purpose).unwrap(), purpose.as_str());
        }
        assert_eq!("newsletter".parse::<Purpose>(), Err(UnknownPurpose));
    }
}
