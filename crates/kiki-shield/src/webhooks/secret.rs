//! The secret that an endpoint shares with us, and signatures under it (Standard Webhooks 1.0.0, "Signature scheme").

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const PREFIX: &str = "whsec_";
const BYTES_MIN: usize = 24;
const BYTES_MAX: usize = 64;

/// 24 to 64 bytes. In nothing that can be printed by chance.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// A secret of these random bytes.
    pub(crate) fn of(random: &[u8; 32]) -> Self {
        Self(random.to_vec().into())
    }

    /// Reads `whsec_` and base64 of 24 to 64 bytes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::from_base64(text.strip_prefix(PREFIX)?)
    }

    /// Reads what [`SigningSecret::base64`] wrote.
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64.decode(text).ok()?);
        (BYTES_MIN..=BYTES_MAX).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// As the database keeps it.
    pub(crate) fn base64(&self) -> Zeroizing<String> {
        BASE64.encode(&*self.0).into()
    }

    /// As its owner is shown it, once.
    pub(crate) fn reveal(&self) -> String {
        format!("{PREFIX}{}", *self.base64())
    }

    /// The signature of one attempt, such as `v1,…`.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    pub(crate) fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length");
        for part in [id, ".", &seconds.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn a_signature_is_the_published_one() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_has_its_form_and_shows_itself_on_purpose_alone() {
        let secret = SigningSecret::of(&[7; 32]);
        assert_eq!(SigningSecret::parse(&secret.reveal()).as_ref(), Some(&secret));
        assert_eq!(format!("{secret:?}"), "(hidden)");
        let of = |bytes: usize| format!("whsec_{}", BASE64.encode(vec![1; bytes]));
        for bad in [of(23), of(65), of(32).replace("whsec_", ""), "whsec_".to_owned(), "whsec_!".to_owned()] {
            assert!(SigningSecret::parse(&bad).is_none(), "{bad}");
        }
        assert!(SigningSecret::parse(&of(24)).is_some() && SigningSecret::parse(&of(64)).is_some());
    }
}
