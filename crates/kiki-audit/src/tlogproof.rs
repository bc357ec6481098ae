//! A proof in one file that an entry is in the log (C2SP tlog-proof): the entry, its index, the path to the root, and the
//! checkpoint with its signatures. Whoever knows whom to trust needs nothing else to verify it.
//!
//! The entry itself is the file's `extra` data, which the format does not authenticate by itself: here the leaf is its
//! hash, so that the proof does.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::checkpoint::{self, Checkpoint, decimal, hash_of};
use crate::disk::Disk;
use crate::entry::ENTRY_BYTES_MAX;
use crate::error::{Error, Place};
use crate::note::NOTE_BYTES_MAX;
use crate::policy::{Policy, Untrusted};
use crate::proof::{PROOF_HASHES_MAX, SignedTree, verify_inclusion};
use crate::reader::Reader;
use crate::segments::hex;
use crate::tree::{Hash, leaf_hash};

/// Bytes of the longest proof that is read.
pub const PROOF_BYTES_MAX: usize = 2 * ENTRY_BYTES_MAX + NOTE_BYTES_MAX;
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof. Its text is that of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The entry, if the proof has it.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// The hashes from the leaf's sibling up.
    pub path: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
}

/// What a proof has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The entry.
    pub entry: Vec<u8>,
    /// Its index.
    pub index: u64,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
    /// The names of the witnesses that cosigned the checkpoint, and when: Unix seconds.
    pub cosigned_by: Vec<(String, u64)>,
}

/// Why a proof shows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not the form of a proof.
    #[error("is not a proof: {0}")]
    Form(&'static str),
    /// The entry is not in it.
    #[error("the proof does not hold the entry that it is about")]
    NoEntry,
    /// The checkpoint is not to be trusted.
    #[error(transparent)]
    Checkpoint(#[from] Untrusted),
    /// The entry and the path do not give the root.
    #[error(
        "the entry is not number {index} of the log of {size} entries: it and the path do not give the signed root"
    )]
    Inclusion {
        /// The entry's index.
        index: u64,
        /// The checkpoint's size.
        size: u64,
    },
}

/// Which checkpoint a proof leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest, signed by the log alone.
    Newest,
    /// The newest that enough witnesses have cosigned.
    Witnessed,
    /// The witnessed one if it covers the entry, else the newest.
    BestThatCovers,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The checkpoint does not cover the entry, yet or at all.
    #[error("entry {index} is not in the checkpoint, which covers {size} entries")]
    NotCovered {
        /// The entry's index.
        index: u64,
        /// Entries that are covered; 0 if there is no such checkpoint.
        size: u64,
    },
    /// The log cannot be read or does not check.
    #[error(transparent)]
    Log(#[from] Error),
}

/// Proves that entry `index` is in the log at `dir`. It may run beside the process that appends. The checkpoint's signature
/// is not checked here.
///
/// # Errors
/// No such checkpoint covers the entry, or the log cannot be read or does not check.
pub fn prove(disk: &Arc<dyn Disk>, dir: &Path, index: u64, which: Which) -> Result<Proof, ProveError> {
    // In this order: the newest covers whatever witnesses had cosigned before.
    let witnessed = match which {
        Which::Newest => None,
        Which::Witnessed | Which::BestThatCovers => Checkpoint::witnessed(disk.as_ref(), dir)?,
    };
    let Some(newest) = Checkpoint::newest(disk.as_ref(), dir)? else {
        return Err(ProveError::NotCovered { index, size: 0 });
    };
    let head = newest.0.clone();
    let covers = |(checkpoint, _): &(Checkpoint, String)| index < checkpoint.size;
    let chosen = match which {
        Which::Newest => Some(newest),
        Which::Witnessed => witnessed,
        Which::BestThatCovers => witnessed.filter(covers).or(Some(newest)),
    };
    let size = chosen.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size);
    let (checkpoint, note) = chosen.filter(covers).ok_or(ProveError::NotCovered { index, size })?;
    let tree = SignedTree::new(disk.as_ref(), dir, head);
    let root = tree.root(checkpoint.size)?;
    if root != checkpoint.root {
        let place = Place::file(&checkpoint::witnessed_path(dir));
        return Err(Error::different(place, format!("root {}", hex(&root)), hex(&checkpoint.root)).into());
    }
    let (leaf, path) = tree.inclusion(index, checkpoint.size)?;
    let entry = entry(disk, dir, index, &leaf)?;
    Ok(Proof { extra: Some(entry), index, path, checkpoint: note })
}

/// The bytes of entry `index`, whose hash must be `leaf`.
fn entry(disk: &Arc<dyn Disk>, dir: &Path, index: u64, leaf: &Hash) -> Result<Vec<u8>, Error> {
    let mut reader = Reader::open_on(disk, dir, index, index.saturating_add(1))?;
    let Some(record) = reader.next_record()? else {
        return Err(Error::different(Place::file(dir), format!("entry {index}"), "the end of the log"));
    };
    let hash = leaf_hash(record.bytes);
    if hash == *leaf {
        return Ok(record.bytes.to_vec());
    }
    let expected = format!("the entry with hash {}", hex(leaf));
    Err(Error::different(record.place(), expected, format!("an entry with hash {}", hex(&hash))))
}

impl Proof {
    /// Verifies it: the checkpoint is signed by a log that `policy` names and cosigned by enough witnesses, and the entry
    /// is in it.
    ///
    /// # Errors
    /// What does not hold, or the entry is not in the proof.
    pub fn verify(&self, policy: &Policy) -> Result<Proven, ProofError> {
        self.verify_entry(self.extra.as_deref().ok_or(ProofError::NoEntry)?, policy)
    }

    /// As [`Self::verify`], for an entry that came by another way.
    ///
    /// # Errors
    /// What does not hold.
    pub fn verify_entry(&self, entry: &[u8], policy: &Policy) -> Result<Proven, ProofError> {
        let trusted = policy.check(&self.checkpoint)?;
        let (index, size) = (self.index, trusted.checkpoint.size);
        if !verify_inclusion(&leaf_hash(entry), index, size, &self.path, &trusted.checkpoint.root) {
            return Err(ProofError::Inclusion { index, size });
        }
        let (checkpoint, cosigned_by) = (trusted.checkpoint, trusted.cosigned_by);
        Ok(Proven { entry: entry.to_vec(), index, checkpoint, cosigned_by })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        let form = ProofError::Form;
        if text.len() > PROOF_BYTES_MAX {
            return Err(form("it is too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(form("no empty line before a checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(form("the first line is not c2sp.org/tlog-proof@v1"));
        }
        let mut line = lines.next().unwrap_or_default();
        let mut extra = None;
        if let Some(data) = line.strip_prefix("extra ") {
            extra = Some(BASE64.decode(data).map_err(|_| form("the extra data is not base64"))?);
            line = lines.next().unwrap_or_default();
        }
        let index = line.strip_prefix("index ").and_then(decimal).ok_or(form("no index"))?;
        let path: Option<Vec<Hash>> = lines.take(PROOF_HASHES_MAX + 1).map(hash_of).collect();
        let path = path.ok_or(form("a line of the path is not a hash"))?;
        if path.len() > PROOF_HASHES_MAX {
            return Err(form("the path is longer than 63 hashes"));
        }
        Ok(Self { extra, index, path, checkpoint: checkpoint.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Kind, SignerKey};
    use crate::tree::{Edge, node_hash};

    fn signer() -> SignerKey {
        SignerKey::new("log.example", Kind::Note, &[7; 32]).unwrap()
    }

    /// That entry 1 of three is in a log.
    fn proof() -> Proof {
        let entries: [&[u8]; 3] = [b"a", b"bee", b"c"];
        let mut edge = Edge::default();
        entries.iter().for_each(|entry| edge.push(leaf_hash(entry), &mut Vec::new()));
        let checkpoint = Checkpoint { origin: "log.example".to_owned(), size: 3, root: edge.root() };
        assert_eq!(edge.root(), node_hash(&node_hash(&leaf_hash(b"a"), &leaf_hash(b"bee")), &leaf_hash(b"c")));
        Proof {
            extra: Some(b"bee".to_vec()),
            index: 1,
            path: vec![leaf_hash(b"a"), leaf_hash(b"c")],
            checkpoint: signer().sign(&checkpoint.text()),
        }
    }

    #[test]
    fn a_proof_is_written_as_the_specification_shows_it() {
        let lines: Vec<String> = proof().to_string().lines().map(str::to_owned).collect();
        let hash = |entry: &[u8]| BASE64.encode(leaf_hash(entry));
        let head = [FIRST_LINE, "extra YmVl", "index 1", &hash(b"a"), &hash(b"c"), "", "log.example", "3"];
        assert_eq!(lines[..8], head);
        assert_eq!((lines[9].as_str(), lines.len()), ("", 11));
        assert_eq!(proof().to_string().parse(), Ok(proof()));
        let one = Proof { extra: None, index: 0, path: Vec::new(), ..proof() };
        assert!(one.to_string().starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nlog.example\n"));
        assert_eq!(one.to_string().parse(), Ok(one));
    }

    #[test]
    fn a_proof_shows_its_entry_and_no_other() {
        let policy = Policy::of_log(signer().verifier());
        let proven = proof().verify(&policy).unwrap();
        assert_eq!((proven.entry.as_slice(), proven.index, proven.checkpoint.size), (b"bee".as_slice(), 1, 3));
        assert!(proof().verify_entry(b"bee", &policy).is_ok());
        assert_eq!(proof().verify_entry(b"wasp", &policy).err(), Some(ProofError::Inclusion { index: 1, size: 3 }));
        assert_eq!(Proof { extra: None, ..proof() }.verify(&policy).err(), Some(ProofError::NoEntry));
        let other = SignerKey::new("log.example", Kind::Note, &[8; 32]).unwrap();
        assert!(matches!(proof().verify(&Policy::of_log(other.verifier())), Err(ProofError::Checkpoint(_))));
    }

    #[test]
    fn no_byte_of_a_proof_can_change_and_none_be_missing() {
        let policy = Policy::of_log(signer().verifier());
        let text = proof().to_string();
        let holds = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok();
            text.and_then(|text| text.parse::<Proof>().ok()).is_some_and(|proof| proof.verify(&policy).is_ok())
        };
        assert!(holds(text.as_bytes()));
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1 << (at % 8);
            assert!(!holds(&bytes), "byte {at}");
            assert!(!holds(&text.as_bytes()[..at]), "cut at {at}");
        }
    }

    #[test]
    fn a_malformed_proof_is_refused() {
        let text = proof().to_string();
        let hash = format!("{}\n", BASE64.encode([1; 32]));
        let long = text.replace("index 1\n", &format!("index 1\n{}", hash.repeat(62)));
        for wrong in [
            text.replace("@v1", "@v2"),
            text.replace("index 1", "index 01"),
            text.replace("index 1", "index -1"),
            text.replace("index 1", "index 18446744073709551616"),
            text.replace("extra YmVl", "extra YmV"),
            text.replace("index 1\n", "index 1\nAAAA\n"),
            text.replace("index 1\n", ""),
            long,
            "x".repeat(PROOF_BYTES_MAX + 1),
            String::new(),
        ] {
            assert!(matches!(wrong.parse::<Proof>(), Err(ProofError::Form(_))), "{wrong}");
        }
    }
}
