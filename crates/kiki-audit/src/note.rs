//! Signed notes (C2SP signed-note) with Ed25519: the form of the checkpoint, and of the keys that sign and check it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::disk::RealDisk;
use crate::error::Error;
use crate::files;

/// Bytes of the longest note, or key, that is read.
pub(crate) const NOTE_BYTES_MAX: usize = 64 << 10;

const ED25519: u8 = 1;
const SIGNATURE_START: &str = "— ";
const PRIVATE_START: &str = "PRIVATE+KEY+";

/// What is wrong with a note or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a verifier key.
    #[error("is not a verifier key: NAME+ID+KEY with an Ed25519 key")]
    VerifierKey,
    /// Not the form of a signer key.
    #[error("is not a signer key: PRIVATE+KEY+NAME+ID+KEY with an Ed25519 key")]
    SignerKey,
    /// A key's name is empty or has white space or a plus.
    #[error("a key's name must not be empty and must not hold white space or '+'")]
    Name,
    /// Not the form of a note.
    #[error("is not a signed note")]
    Form,
    /// No signature by the key that is trusted.
    #[error("has no signature by the key of this log")]
    Unsigned,
    /// A signature by that key which does not match the text.
    #[error("the signature does not match the text")]
    Forged,
}

/// The public half of a log's key. Its text is `NAME+ID+KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    pub(crate) fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        if name.is_empty() || name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control()) {
            return Err(NoteError::Name);
        }
        let hash =
            Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(key.as_bytes()).finalize();
        let id = [hash[0], hash[1], hash[2], hash[3]];
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// Reads it from a file, such as `log.vkey`.
    ///
    /// # Errors
    /// The file cannot be read or holds no verifier key.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = files::read(&RealDisk, path, NOTE_BYTES_MAX)?;
        let malformed = |found: String| Error::different(crate::Place::file(path), "a verifier key", found);
        let text = std::str::from_utf8(&bytes).map_err(|error| malformed(error.to_string()))?;
        text.trim_end().parse().map_err(|error: NoteError| malformed(format!("a file that {error}")))
    }

    /// The key's name: the origin of its log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode([&[ED25519], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, key) = split_key(text).ok_or(NoteError::VerifierKey)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::VerifierKey)?;
        let key = Self::new(name, key)?;
        // The id is a hash of the rest: only one text is right.
        if key.to_string() == text { Ok(key) } else { Err(NoteError::VerifierKey) }
    }
}

/// The name and the Ed25519 key of `NAME+ID+KEY`; the id is for the caller to check.
fn split_key(text: &str) -> Option<(&str, Zeroizing<[u8; 32]>)> {
    // Base64 may hold a plus, a name not.
    let mut parts = text.splitn(3, '+');
    let (name, _id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = Zeroizing::new(BASE64.decode(key).ok()?);
    let (&ED25519, key) = key.split_first()? else { return None };
    Some((name, Zeroizing::new(key.try_into().ok()?)))
}

/// The private half. Wiped from memory when dropped; its text is `PRIVATE+KEY+NAME+ID+KEY`.
pub(crate) struct SignerKey {
    key: SigningKey,
    verifier: VerifierKey,
}

impl SignerKey {
    pub(crate) fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, key.verifying_key())?;
        Ok(Self { key, verifier })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, seed) = text.strip_prefix(PRIVATE_START).and_then(split_key).ok_or(NoteError::SignerKey)?;
        let key = Self::new(name, &seed)?;
        if *key.text() == text { Ok(key) } else { Err(NoteError::SignerKey) }
    }

    pub(crate) fn text(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new([ED25519; 33]);
        key[1..].copy_from_slice(self.key.as_bytes());
        let key = Zeroizing::new(BASE64.encode(*key));
        let id = u32::from_be_bytes(self.verifier.id);
        Zeroizing::new(format!("{PRIVATE_START}{}+{id:08x}+{}", self.verifier.name, *key))
    }

    pub(crate) const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// `text`, which ends with a newline, and its signature.
    pub(crate) fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let signature = BASE64.encode([self.verifier.id.as_slice(), &signature].concat());
        format!("{text}\n{SIGNATURE_START}{} {signature}\n", self.verifier.name)
    }
}

/// A note in its parts, not checked.
#[derive(Debug)]
pub(crate) struct Note<'a> {
    /// With its last newline.
    pub(crate) text: &'a str,
    /// Lines without newlines.
    signatures: Vec<&'a str>,
}

impl<'a> Note<'a> {
    pub(crate) fn parse(note: &'a str) -> Result<Self, NoteError> {
        let control = |c: char| c < ' ' && c != '\n';
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let text = &note[..=text.len()];
        let signatures: Vec<_> = signatures.strip_suffix('\n').ok_or(NoteError::Form)?.split('\n').collect();
        if note.contains(control) || signatures.iter().any(|line| !line.starts_with(SIGNATURE_START)) {
            return Err(NoteError::Form);
        }
        Ok(Self { text, signatures })
    }

    /// Checks that `key` signed it. Signatures by other keys are ignored.
    pub(crate) fn check(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let mut signed = Err(NoteError::Unsigned);
        for line in &self.signatures {
            let Some((name, signature)) = line[SIGNATURE_START.len()..].split_once(' ') else {
                return Err(NoteError::Form);
            };
            let signature = BASE64.decode(signature).map_err(|_| NoteError::Form)?;
            let (id, signature) = signature.split_first_chunk::<4>().ok_or(NoteError::Form)?;
            if name != key.name || *id != key.id {
                continue;
            }
            let signature = Signature::from_slice(signature).map_err(|_| NoteError::Forged)?;
            key.key.verify_strict(self.text.as_bytes(), &signature).map_err(|_| NoteError::Forged)?;
            signed = Ok(());
        }
        signed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of golang.org/x/mod/sumdb/note and of C2SP signed-note.
    const GO_SIGNER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const GO_SIGNATURE: &str =
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
    const C2SP_VERIFIER: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const C2SP_NOTE: &str = "This is an example message.\n\n— example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn a_note_is_signed_byte_for_byte_as_the_reference_does() {
        let signer = SignerKey::parse(GO_SIGNER).unwrap();
        assert_eq!(signer.verifier().to_string(), GO_VERIFIER);
        let note = signer.sign(GO_TEXT);
        assert_eq!(note, format!("{GO_TEXT}\n— PeterNeumann {GO_SIGNATURE}\n"));
        assert_eq!(Note::parse(&note).unwrap().check(signer.verifier()), Ok(()));
    }

    #[test]
    fn a_note_by_another_program_checks_and_by_another_key_does_not() {
        let note = Note::parse(C2SP_NOTE).unwrap();
        assert_eq!(note.text, "This is an example message.\n");
        assert_eq!(note.check(&C2SP_VERIFIER.parse().unwrap()), Ok(()));
        assert_eq!(note.check(&GO_VERIFIER.parse().unwrap()), Err(NoteError::Unsigned));
    }

    #[test]
    fn no_single_byte_of_a_note_can_change() {
        let key = C2SP_VERIFIER.parse().unwrap();
        for at in 0..C2SP_NOTE.len() {
            for flip in [1, 0x20, 0x80] {
                let mut bytes = C2SP_NOTE.as_bytes().to_vec();
                bytes[at] ^= flip;
                let Ok(text) = std::str::from_utf8(&bytes) else { continue };
                assert!(Note::parse(text).and_then(|note| note.check(&key)).is_err(), "byte {at} ^ {flip}");
            }
        }
    }

    #[test]
    fn no_part_of_a_key_can_be_missing_or_changed() {
        for at in 0..GO_VERIFIER.len() {
            assert!(GO_VERIFIER[..at].parse::<VerifierKey>().is_err());
            let mut bytes = GO_VERIFIER.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(std::str::from_utf8(&bytes).unwrap().parse::<VerifierKey>().is_err(), "byte {at}");
        }
        for at in 0..GO_SIGNER.len() {
            assert!(SignerKey::parse(&GO_SIGNER[..at]).is_err());
        }
        assert_eq!(SignerKey::new("a b", &[0; 32]).err(), Some(NoteError::Name));
    }
}
