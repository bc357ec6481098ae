//! Stand-ins for services that keep master keys: [`VaultStandIn`] and [`KmsStandIn`].
//!
//! They follow the documents of what they stand in for: they encrypt, and refuse wrong tokens, signatures, contexts and
//! versions that were trimmed. Each listens on a free port of this machine from a thread of its own until it is dropped, and
//! can be away for a while.

mod kms;
mod server;
mod vault;

pub use kms::KmsStandIn;
pub use vault::VaultStandIn;

use rand::RngCore as _;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// A version of a key.
type Key = [u8; 32];

fn new_key() -> Key {
    let mut key = [0; 32];
    rand::rng().fill_bytes(&mut key);
    key
}

fn cipher(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap_or_else(|_| panic!("32 bytes are a key")))
}

/// A nonce, the ciphertext, the tag.
fn seal(key: &Key, context: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    rand::rng().fill_bytes(&mut nonce);
    let mut text = plain.to_vec();
    let sealed =
        cipher(key).seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut text);
    sealed.unwrap_or_else(|_| panic!("short texts are sealed"));
    [&nonce[..], &text].concat()
}

fn open(key: &Key, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let plain = cipher(key).open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut text);
    plain.ok().map(|plain| plain.to_vec())
}
