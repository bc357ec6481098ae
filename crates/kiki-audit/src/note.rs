//! Signed notes (C2SP signed-note) with Ed25519: the form of the checkpoint, and of the keys that sign and check it.
//!
//! Two kinds of signatures are known: those over the text (type 1), by logs, and cosignatures with the time at which
//! they were made (type 4, C2SP tlog-cosignature), by witnesses. Lines by unknown keys, and of other types, are ignored.

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

const SIGNATURE_START: &str = "— ";
const PRIVATE_START: &str = "PRIVATE+KEY+";
/// Bytes of the time before the signature in a cosignature.
const TIME_BYTES: usize = 8;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The text of a note.
    Note,
    /// The text of a checkpoint and the time, as a witness: `cosignature/v1`.
    Cosignature,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Note),
            4 => Some(Self::Cosignature),
            _ => None,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Note => 1,
            Self::Cosignature => 4,
        }
    }
}

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
    /// No signature by a key that is trusted.
    #[error("has no signature by the key of this log")]
    Unsigned,
    /// A signature by such a key which does not match the text.
    #[error("the signature does not match the text")]
    Forged,
}

/// The public half of the key of a log or of a witness. Its text is `NAME+ID+KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    kind: Kind,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, kind: Kind, key: VerifyingKey) -> Result<Self, NoteError> {
        if name.is_empty() || name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control()) {
            return Err(NoteError::Name);
        }
        let typed = [b'\n', kind.byte()];
        let hash = Sha256::new().chain_update(name).chain_update(typed).chain_update(key.as_bytes()).finalize();
        let id = [hash[0], hash[1], hash[2], hash[3]];
        Ok(Self { name: name.to_owned(), id, kind, key })
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

    /// The key's name: the origin of its log, or the name of its witness.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether both are the same key, whatever they are called and used for.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Checks what follows the key's id in a signature line. The time is that of a cosignature.
    fn verify(&self, text: &str, signature: &[u8]) -> Option<Option<u64>> {
        match self.kind {
            Kind::Note => self.verify_bytes(text.as_bytes(), signature).then_some(None),
            Kind::Cosignature => {
                let (time, signature) = signature.split_first_chunk::<TIME_BYTES>()?;
                let time = u64::from_be_bytes(*time);
                let is_time = (1..=i64::MAX.cast_unsigned()).contains(&time);
                (is_time && self.verify_bytes(cosigned(text, time).as_bytes(), signature)).then_some(Some(time))
            }
        }
    }

    fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

/// What a cosignature of the checkpoint `text` signs.
fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode([&[self.kind.byte()], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, kind, key) = split_key(text).ok_or(NoteError::VerifierKey)?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| NoteError::VerifierKey)?;
        let key = Self::new(name, kind, key)?;
        // The id is a hash of the rest: only one text is right.
        if key.to_string() == text { Ok(key) } else { Err(NoteError::VerifierKey) }
    }
}

/// The name, the kind and the Ed25519 key of `NAME+ID+KEY`; the id is for the caller to check.
fn split_key(text: &str) -> Option<(&str, Kind, Zeroizing<[u8; 32]>)> {
    // Base64 may hold a plus, a name not.
    let mut parts = text.splitn(3, '+');
    let (name, _id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let key = Zeroizing::new(BASE64.decode(key).ok()?);
    let (&kind, key) = key.split_first()?;
    Some((name, Kind::of(kind)?, Zeroizing::new(key.try_into().ok()?)))
}

/// The private half. Wiped from memory when dropped; its text is `PRIVATE+KEY+NAME+ID+KEY`.
pub(crate) struct SignerKey {
    key: SigningKey,
    verifier: VerifierKey,
}

impl SignerKey {
    pub(crate) fn new(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, kind, key.verifying_key())?;
        Ok(Self { key, verifier })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, kind, seed) = text.strip_prefix(PRIVATE_START).and_then(split_key).ok_or(NoteError::SignerKey)?;
        let key = Self::new(name, kind, &seed)?;
        if *key.text() == text { Ok(key) } else { Err(NoteError::SignerKey) }
    }

    pub(crate) fn text(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new([self.verifier.kind.byte(); 33]);
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
        format!("{text}\n{}", self.line(text))
    }

    /// The signature of `text`, which ends with a newline, as a line of a note.
    pub(crate) fn line(&self, text: &str) -> String {
        self.line_of(&self.key.sign(text.as_bytes()).to_bytes())
    }

    /// The cosignature of the checkpoint `text` at a time in Unix seconds, as a line of a note.
    pub(crate) fn cosign_line(&self, text: &str, time_s: u64) -> String {
        let signature = self.key.sign(cosigned(text, time_s).as_bytes()).to_bytes();
        self.line_of(&[time_s.to_be_bytes().as_slice(), &signature].concat())
    }

    fn line_of(&self, signature: &[u8]) -> String {
        let signature = BASE64.encode([self.verifier.id.as_slice(), signature].concat());
        format!("{SIGNATURE_START}{} {signature}\n", self.verifier.name)
    }
}

/// A note in its parts, not checked.
#[derive(Debug)]
pub(crate) struct Note<'a> {
    /// With its last newline.
    pub(crate) text: &'a str,
    signatures: Vec<SignatureLine<'a>>,
}

#[derive(Debug)]
struct SignatureLine<'a> {
    /// Without its newline.
    line: &'a str,
    name: &'a str,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl<'a> SignatureLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(SIGNATURE_START)?.split_once(' ')?;
        let signature = BASE64.decode(signature).ok()?;
        let (id, signature) = signature.split_first_chunk::<4>()?;
        Some(Self { line, name, id: *id, signature: signature.to_vec() })
    }
}

/// A signature of a note that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signed<'k, 'n> {
    /// Who signed.
    pub(crate) key: &'k VerifierKey,
    /// When, if it is a cosignature: Unix seconds.
    pub(crate) time_s: Option<u64>,
    /// The line, without its newline.
    pub(crate) line: &'n str,
}

impl<'a> Note<'a> {
    pub(crate) fn parse(note: &'a str) -> Result<Self, NoteError> {
        let control = |c: char| c < ' ' && c != '\n';
        let (text, _) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
        let (text, signatures) = (&note[..=text.len()], &note[text.len() + 2..]);
        if note.len() > NOTE_BYTES_MAX || note.contains(control) {
            return Err(NoteError::Form);
        }
        Ok(Self { text, signatures: signature_lines(signatures)? })
    }

    /// The text of a note with signatures that came apart from it.
    pub(crate) fn of(text: &'a str, signatures: &'a str) -> Result<Self, NoteError> {
        Ok(Self { text, signatures: signature_lines(signatures)? })
    }

    /// The signatures by `keys`, the first by each, all of which are right. Those by other keys are ignored.
    ///
    /// # Errors
    /// One of them does not match the text, or there is none.
    pub(crate) fn signed_by<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<Signed<'k, 'a>>, NoteError> {
        let mut signed: Vec<Signed<'_, '_>> = Vec::new();
        for line in &self.signatures {
            // A line can be repeated by anybody.
            if signed.iter().any(|signed| signed.line == line.line) {
                continue;
            }
            for key in keys.iter().filter(|key| line.name == key.name && line.id == key.id) {
                let time_s = key.verify(self.text, &line.signature).ok_or(NoteError::Forged)?;
                if !signed.iter().any(|signed| signed.key == key) {
                    signed.push(Signed { key, time_s, line: line.line });
                }
            }
        }
        if signed.is_empty() { Err(NoteError::Unsigned) } else { Ok(signed) }
    }

    /// Checks that `key` signed it. Signatures by other keys are ignored.
    pub(crate) fn check(&self, key: &VerifierKey) -> Result<(), NoteError> {
        self.signed_by(std::slice::from_ref(key)).map(|_| ())
    }
}

/// At least one line, each with its newline.
fn signature_lines(lines: &str) -> Result<Vec<SignatureLine<'_>>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Form)?;
    lines.split('\n').map(|line| SignatureLine::parse(line).ok_or(NoteError::Form)).collect()
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
        assert_eq!(SignerKey::new("a b", Kind::Note, &[0; 32]).err(), Some(NoteError::Name));
    }

    const CHECKPOINT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn a_cosignature_is_of_the_time_and_the_whole_text() {
        let witness = SignerKey::new("witness.example/w1", Kind::Cosignature, &[9; 32]).unwrap();
        let line = witness.cosign_line(CHECKPOINT, 1_679_315_147);
        let signature = BASE64.decode(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
        assert_eq!(signature.len(), 76);
        assert_eq!(signature[..4], witness.verifier().id);
        assert_eq!(signature[4..12], 1_679_315_147_u64.to_be_bytes());
        let message = format!("cosignature/v1\ntime 1679315147\n{CHECKPOINT}");
        let plain = Signature::from_slice(&signature[12..]).unwrap();
        witness.verifier().key.verify_strict(message.as_bytes(), &plain).unwrap();
        let keys = [witness.verifier().clone()];
        let note = format!("{CHECKPOINT}\n{line}");
        let signed = Note::parse(&note).unwrap().signed_by(&keys).unwrap();
        assert_eq!((signed[0].time_s, signed[0].line), (Some(1_679_315_147), line.trim_end()));
    }

    #[test]
    fn the_two_kinds_of_one_key_are_two_keys() {
        let [log, witness] =
            [Kind::Note, Kind::Cosignature].map(|kind| SignerKey::new("one.example", kind, &[9; 32]).unwrap());
        assert_ne!(log.verifier().id, witness.verifier().id);
        assert!(log.verifier().is_same_key(witness.verifier()));
        for key in [&log, &witness] {
            assert_eq!(key.verifier().to_string().parse::<VerifierKey>().unwrap(), *key.verifier());
            assert_eq!(SignerKey::parse(&key.text()).unwrap().verifier(), key.verifier());
        }
        let note = log.sign(CHECKPOINT);
        assert_eq!(Note::parse(&note).unwrap().check(witness.verifier()), Err(NoteError::Unsigned));
    }

    #[test]
    fn a_known_key_that_did_not_sign_condemns_the_note_and_an_unknown_one_does_not() {
        let [log, other] = [7, 8].map(|seed| SignerKey::new("log.example", Kind::Note, &[seed; 32]).unwrap());
        let witness = SignerKey::new("witness.example", Kind::Cosignature, &[9; 32]).unwrap();
        let keys = [log.verifier().clone(), witness.verifier().clone()];
        let note = format!("{}{}", log.sign(CHECKPOINT), other.line("another text\n"));
        assert_eq!(Note::parse(&note).unwrap().signed_by(&keys).unwrap().len(), 1);
        for forged in [witness.cosign_line("another text\n", 5), witness.cosign_line(CHECKPOINT, 0), log.line("x\n")] {
            let note = format!("{}{forged}", log.sign(CHECKPOINT));
            assert_eq!(Note::parse(&note).unwrap().signed_by(&keys).err(), Some(NoteError::Forged));
        }
    }

    #[test]
    fn the_example_of_tlog_cosignature_is_a_note() {
        let note = format!(
            "{CHECKPOINT}\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/\
             Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/\
             zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
        );
        let note = Note::parse(&note).unwrap();
        assert_eq!(note.text, CHECKPOINT);
        let cosignature = &note.signatures[1];
        assert_eq!((cosignature.name, cosignature.signature.len()), ("witness.example.com/w1", 72));
        assert_eq!(cosignature.signature[..8], 1_679_315_147_u64.to_be_bytes());
    }
}
