//! The one place where bytes are sealed and keys are derived: AES-256-GCM, HKDF-SHA-256, HMAC-SHA-256.
//!
//! A sealed value is `head ‖ nonce ‖ ciphertext ‖ tag`, where the head is public and tells the format. What it belongs to is
//! its associated data, so that a ciphertext that is moved to another place does not open. Nonces are 96 random bits: a key
//! seals at most 2^32 values (NIST SP 800-38D, 8.3), which neither an epoch nor a person comes near.

use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// The format of everything sealed.
pub(crate) const FORMAT: u8 = 1;
/// Bytes that sealing adds beyond the head.
pub(crate) const SEAL_BYTES: usize = NONCE_LEN + 16;

/// A key, wiped from memory when dropped.
pub(crate) type Secret = Zeroizing<[u8; KEY_BYTES]>;

/// Fills bytes with randomness that nobody may guess.
pub type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// A fresh key.
pub(crate) fn fresh(random: &Random) -> Secret {
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    random(&mut *secret);
    secret
}

/// The key for `purpose` that follows from `secret` (RFC 5869, without salt).
#[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives any length up to 8,160 bytes")]
pub(crate) fn derived(secret: &[u8; KEY_BYTES], purpose: &str) -> Secret {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(secret);
    let info = [purpose.as_bytes()];
    let expanded = extracted.expand(&info, hkdf::HKDF_SHA256).expect("a short purpose");
    expanded.fill(&mut *key).expect("the length of the key type");
    key
}

/// HMAC-SHA-256 over `parts`, one after the other.
pub(crate) fn mac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.sign().as_ref());
    sum
}

/// `head ‖ nonce ‖ ciphertext ‖ tag` of `plain`.
#[expect(clippy::expect_used, reason = "AES-256-GCM seals up to 2^36 bytes, which no value here has")]
pub(crate) fn seal(key: &[u8; KEY_BYTES], aad: &[u8], head: &[u8], plain: &[u8], random: &Random) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce);
    let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + SEAL_BYTES));
    text.extend_from_slice(plain);
    let key = aead(key);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), text.as_mut_slice())
        .expect("a bounded length");
    let mut sealed = Vec::with_capacity(head.len() + plain.len() + SEAL_BYTES);
    for part in [head, &nonce, text.as_slice(), tag.as_ref()] {
        sealed.extend_from_slice(part);
    }
    sealed
}

/// The plain bytes of `nonce ‖ ciphertext ‖ tag`; `None` if it was not sealed under this key and associated data.
pub(crate) fn open(key: &[u8; KEY_BYTES], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let plain = aead(key).open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), text.as_mut_slice());
    let bytes = plain.ok()?.len();
    text.truncate(bytes);
    Some(text)
}

/// A key as 32 plain bytes, if that is what `bytes` are.
pub(crate) fn secret_of(bytes: &[u8]) -> Option<Secret> {
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    (bytes.len() == KEY_BYTES).then(|| secret.copy_from_slice(bytes))?;
    Some(secret)
}

#[expect(clippy::expect_used, reason = "the length of the key is that of the algorithm")]
fn aead(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> Random {
        Arc::new(|bytes| rand::RngCore::fill_bytes(&mut rand::rng(), bytes))
    }

    #[test]
    fn what_was_sealed_opens_at_its_place_and_nowhere_else() {
        let (key, random) = ([7; 32], random());
        let sealed = seal(&key, b"here", &[FORMAT], b"Ann", &random);
        assert_eq!(sealed.len(), 1 + SEAL_BYTES + 3);
        assert_eq!(open(&key, b"here", &sealed[1..]).unwrap().as_slice(), b"Ann");
        assert!(open(&key, b"there", &sealed[1..]).is_none());
        assert!(open(&[8; 32], b"here", &sealed[1..]).is_none());
        assert!(open(&key, b"here", &[]).is_none());
        for place in 1..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[place] ^= 1;
            assert!(open(&key, b"here", &damaged[1..]).is_none(), "{place}");
        }
        assert_ne!(sealed, seal(&key, b"here", &[FORMAT], b"Ann", &random), "a nonce of its own each time");
    }

    /// Computed with Python's `hmac` and `hashlib`.
    #[test]
    fn keys_follow_as_the_standards_say() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&*derived(&[1; 32], "kiki/epoch/wrap/1")), EXPECTED_KEY);
        assert_eq!(hex(&mac(&[1; 32], &[b"acme", b"\0", b"ann"])), EXPECTED_MAC);
    }

    const EXPECTED_KEY: &str = "8bb50f16bde5418f7e9cb80d0e9a8247b31ca59eb3a205bd98026c7ef9953d1e";
    const EXPECTED_MAC: &str = "281e7be0ce0942061e0a0d0ac8419355b9bc5cebc20906b0cf34d66815bba5bf";
}
