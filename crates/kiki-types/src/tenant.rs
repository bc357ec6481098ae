//! The tenant: in every table, every query's signature and the first part of every account path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes in one part of a name at the most.
pub const NAME_BYTES_MAX: usize = 64;

/// Whether `name` may be a part of a path: 1 to 64 of `A-Z a-z 0-9 . _ -`, and not only dots.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) && name.bytes().any(|byte| byte != b'.')
}

/// A tenant's name. Made from text only by checking it with [`is_name`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    /// The tenant of an installation that has only one.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for TenantId {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        if is_name(&text) { Ok(Self(text)) } else { Err(NotAName) }
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a name by [`is_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a name of 1 to 64 letters, digits, '.', '_' or '-'")]
pub struct NotAName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_one_part_of_a_path() {
        assert!("acme-1.eu".parse::<TenantId>().is_ok());
        for bad in ["", "a/b", "..", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(bad.parse::<TenantId>(), Err(NotAName), "{bad:?}");
        }
    }
}
