//! Sixteen bytes that stand for a name: an authorization, an idempotency key, a person.
//!
//! Callers make them unpredictable (UUIDs with random bits, keyed hashes), so nothing personal reaches the log
//! and nobody can choose names that collide in a table; the [`Folding`] hasher relies on that.

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::fmt::Simple;

/// Sixteen bytes; in JSON 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// Sixteen zeros, which name nothing.
    pub const NONE: Self = Self([0; 16]);

    /// A hash for tables that are asked by digest.
    pub(crate) fn spread(self) -> u64 {
        let mut hasher = Folding::default();
        hasher.write(&self.0);
        hasher.finish()
    }

    /// The first half of the SHA-256 of `text`: for names that need not be unpredictable.
    #[must_use]
    pub fn of(text: &str) -> Self {
        use sha2::{Digest as _, Sha256};
        let full: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut half = [0; 16];
        half.copy_from_slice(&full[..16]);
        Self(half)
    }

    /// Its 32 hexadecimal digits.
    fn digits(self, out: &mut [u8; Simple::LENGTH]) -> &str {
        uuid::Uuid::from(self).simple().encode_lower(out)
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        if text.len() != 32 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |character: u8| char::from(character).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl From<uuid::Uuid> for Digest {
    fn from(uuid: uuid::Uuid) -> Self {
        Self(uuid.into_bytes())
    }
}

impl From<Digest> for uuid::Uuid {
    fn from(digest: Digest) -> Self {
        Self::from_bytes(digest.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits(&mut [0; Simple::LENGTH]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.digits(&mut [0; Simple::LENGTH]))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            Self::from_hex(&text).ok_or_else(|| D::Error::custom("is not 32 hexadecimal digits"))
        } else {
            <[u8; 16]>::deserialize(deserializer).map(Self)
        }
    }
}

/// A hasher for [`Digest`]s: they are uniform already, so eight of their bytes do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folding(u64);

/// Builds [`Folding`] hashers.
pub type BuildFolding = BuildHasherDefault<Folding>;

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        // The last eight bytes of a UUIDv7 are random; its first ones are the time.
        let mut tail = [0; 8];
        let taken = bytes.len().min(8);
        tail[..taken].copy_from_slice(&bytes[bytes.len() - taken..]);
        self.0 = self.0.rotate_left(23) ^ u64::from_le_bytes(tail);
    }

    fn write_usize(&mut self, _length_prefix: usize) {}

    /// The words of an enum, which stand beside a digest.
    fn write_isize(&mut self, word: isize) {
        self.write(&word.to_le_bytes());
    }

    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_from_both_of_its_forms() {
        let digest = Digest::of("a");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, "\"ca978112ca1bbdcafac231b39a23dc4d\"");
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert_eq!(postcard::from_bytes::<Digest>(&postcard::to_stdvec(&digest).unwrap()).unwrap(), digest);
        for bad in ["\"\"", "\"ca97\"", "\"zz978112ca1bbdcafac231b39a23dc4d\"", "7"] {
            assert!(serde_json::from_str::<Digest>(bad).is_err(), "{bad}");
        }
    }
}
