//! A witness (C2SP tlog-witness): it follows the checkpoints of logs that it was told of, and cosigns each that continues
//! the last one. Two histories of one log cannot both have its cosignature.
//!
//! Below its folder:
//!
//! | path | what |
//! |---|---|
//! | `witness.key`, `witness.vkey` | its key, of type 4 |
//! | `logs/<SHA-256 of the origin>/checkpoint` | the last checkpoint that it cosigned, with both signatures |
//! | `logs/<SHA-256 of the origin>/evidence/` | checkpoints that the log signed and that were refused |
//!
//! Invariants:
//! - A checkpoint is durable here before its cosignature leaves, so that after a crash nothing older is cosigned.
//! - Of one log, comparing with the last checkpoint and replacing it is one step.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::checkpoint::{Checkpoint, decimal, hash_of};
use crate::disk::Disk;
use crate::error::{Error, Place};
use crate::files;
use crate::keys::{KeyError, KeyFiles};
use crate::note::{Kind, NOTE_BYTES_MAX, Note, NoteError, Signed, SignerKey, VerifierKey};
use crate::proof::{PROOF_HASHES_MAX, verify_consistency};
use crate::segments::hex;
use crate::tree::{Hash, root_over};

/// Bytes of the longest submission: a note, and the proof before it.
pub const SUBMISSION_BYTES_MAX: usize = NOTE_BYTES_MAX + (PROOF_HASHES_MAX + 2) * 64;
/// Refused checkpoints of each sort that are kept of one log: a bound, since submissions need no key.
const EVIDENCE_MAX: usize = 100;
const KEY_FILES: KeyFiles = KeyFiles { signer: "witness.key", verifier: "witness.vkey" };

/// What is sent to a witness: a checkpoint, and the proof that it continues the one of `old` entries. Its text is the
/// body of `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Entries of the last checkpoint that the witness has cosigned; 0 if there is none or it is not known.
    pub old: u64,
    /// The consistency proof.
    pub proof: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub note: String,
}

impl fmt::Display for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", BASE64.encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

impl FromStr for Submission {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if text.len() > SUBMISSION_BYTES_MAX {
            return Err(Refusal::Malformed("it is too long"));
        }
        let (head, note) = text.split_once("\n\n").ok_or(Refusal::Malformed("no empty line before a checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or(Refusal::Malformed("the first line is not `old` and a size"))?;
        let proof: Option<Vec<Hash>> = lines.take(PROOF_HASHES_MAX + 1).map(hash_of).collect();
        let proof = proof.ok_or(Refusal::Malformed("a line of the proof is not a hash"))?;
        if proof.len() > PROOF_HASHES_MAX {
            return Err(Refusal::Malformed("the proof is longer than 63 hashes"));
        }
        Ok(Self { old, proof, note: note.to_owned() })
    }
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The submission is not as it must be.
    #[error("the submission is malformed: {0}")]
    Malformed(&'static str),
    /// The witness does not follow this log.
    #[error("this witness does not follow the log {0}")]
    Unknown(String),
    /// The log did not sign the checkpoint.
    #[error("the checkpoint {0}")]
    Unsigned(NoteError),
    /// The last checkpoint that was cosigned has another size than the submission says.
    #[error("the last checkpoint that was cosigned has {size} entries")]
    Conflict {
        /// Its size.
        size: u64,
    },
    /// The checkpoint does not continue the last one.
    #[error("the checkpoint is not proven to continue the last one")]
    Inconsistent,
    /// The witness cannot read or write what it must.
    #[error(transparent)]
    Disk(#[from] Error),
}

impl Refusal {
    /// The HTTP status that the protocol has for it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Unsigned(_) => 403,
            Self::Unknown(_) => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent => 422,
            Self::Disk(_) => 500,
        }
    }
}

/// A log that is followed.
#[derive(Debug)]
struct Followed {
    origin: String,
    keys: Vec<VerifierKey>,
    dir: PathBuf,
    /// Held from comparing with the last checkpoint to replacing it.
    turn: Mutex<()>,
}

/// A witness of some logs.
pub struct Witness {
    disk: Arc<dyn Disk>,
    key: SignerKey,
    logs: Vec<Followed>,
    /// Held, not read: two processes would not take turns.
    _lock: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").field("key", &self.key.verifier().to_string()).field("logs", &self.logs).finish()
    }
}

impl Witness {
    /// The witness `name` in `dir` that follows the logs of these keys. `fresh_seed` gives 32 random bytes; it is called
    /// only where there is no key yet. A log may have several keys: those that it has signed with.
    ///
    /// # Errors
    /// A file cannot be read or written, the key there is of another witness, or another process uses the folder.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        name: &str,
        logs: &[VerifierKey],
        fresh_seed: impl FnOnce() -> Zeroizing<[u8; 32]>,
    ) -> Result<Self, KeyError> {
        let all = dir.join("logs");
        files::create_dirs(disk.as_ref(), &all)?;
        let path = dir.join("lock");
        let lock = disk.lock(&path).map_err(Error::io(&path))?.ok_or(KeyError::InUse { path })?;
        let key = KEY_FILES.open_or_create(disk.as_ref(), dir, name, Kind::Cosignature, fresh_seed)?;
        let mut followed: Vec<Followed> = Vec::new();
        for log in logs {
            if let Some(known) = followed.iter_mut().find(|known| known.origin == log.name()) {
                known.keys.push(log.clone());
                continue;
            }
            let dir = all.join(hash_of_origin(log.name()));
            files::create_dirs(disk.as_ref(), &dir)?;
            let (origin, keys) = (log.name().to_owned(), vec![log.clone()]);
            followed.push(Followed { origin, keys, dir, turn: Mutex::new(()) });
        }
        // A process that was killed may have made folders and not have come to this.
        let above = [files::folder_of(dir), dir, &all];
        for dir in above.into_iter().chain(followed.iter().map(|log| log.dir.as_path())) {
            files::sync_dir(disk.as_ref(), dir)?;
        }
        Ok(Self { disk, key, logs: followed, _lock: lock })
    }

    /// The key with which its cosignatures are checked.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// Cosigns the checkpoint of `body`, the text of a [`Submission`], at a time in Unix seconds. Returns the line of the
    /// cosignature.
    ///
    /// # Errors
    /// Why not.
    pub fn add_checkpoint(&self, body: &[u8], now_s: u64) -> Result<String, Refusal> {
        let body = std::str::from_utf8(body).map_err(|_| Refusal::Malformed("it is not UTF-8"))?;
        let submission: Submission = body.parse()?;
        let note = Note::parse(&submission.note).map_err(|_| Refusal::Malformed("it holds no signed note"))?;
        let checkpoint = Checkpoint::parse(note.text).ok_or(Refusal::Malformed("the note is not a checkpoint"))?;
        let log = self.logs.iter().find(|log| log.origin == checkpoint.origin);
        let log = log.ok_or_else(|| Refusal::Unknown(checkpoint.origin.clone()))?;
        let signed = note.signed_by(&log.keys).map_err(Refusal::Unsigned)?;
        if submission.old > checkpoint.size {
            return Err(Refusal::Malformed("the old size is beyond the checkpoint's"));
        }
        // Nothing but the order of those who come is guarded: a panic elsewhere leaves nothing half done here.
        let _turn = log.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let last = log.last(self.disk.as_ref())?;
        let (size, root) = last.map_or((0, root_over(&[])), |last| (last.size, last.root));
        if submission.old != size {
            return Err(Refusal::Conflict { size });
        }
        if !verify_consistency(size, &root, checkpoint.size, &checkpoint.root, &submission.proof) {
            let sort = if size == checkpoint.size { "fork" } else { "refused" };
            // What was cosigned already shows nothing, whatever proof came with it.
            if (size, root) != (checkpoint.size, checkpoint.root) {
                log.keep_evidence(self.disk.as_ref(), sort, &submission.note)?;
            }
            return Err(Refusal::Inconsistent);
        }
        let cosignature = self.key.cosign_line(note.text, now_s);
        let kept = with_signatures(note.text, &signed, &cosignature);
        if kept.len() > NOTE_BYTES_MAX {
            return Err(Refusal::Malformed("the checkpoint leaves no room for a cosignature"));
        }
        files::replace(self.disk.as_ref(), &log.path(), kept.as_bytes())?;
        Ok(cosignature)
    }

    /// The last checkpoint that was cosigned, with both signatures, of the log whose origin has this SHA-256 (lowercase
    /// hexadecimal digits).
    ///
    /// # Errors
    /// It cannot be read.
    pub fn checkpoint(&self, origin_hash: &str) -> Result<Option<String>, Error> {
        let log = self.logs.iter().find(|log| hash_of_origin(&log.origin) == origin_hash);
        log.map_or(Ok(None), |log| log.read(self.disk.as_ref()))
    }
}

/// What names a log in the address of its last checkpoint at a witness.
#[must_use]
pub fn hash_of_origin(origin: &str) -> String {
    hex(&Sha256::digest(origin))
}

/// A checkpoint with the signatures of its log and the cosignature.
fn with_signatures(text: &str, signed: &[Signed<'_, '_>], cosignature: &str) -> String {
    let signatures: String = signed.iter().map(|signed| format!("{}\n", signed.line)).collect();
    format!("{text}\n{signatures}{cosignature}")
}

impl Followed {
    fn path(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    fn read(&self, disk: &dyn Disk) -> Result<Option<String>, Error> {
        let path = self.path();
        let Some(bytes) = files::read_if_there(disk, &path, SUBMISSION_BYTES_MAX)? else { return Ok(None) };
        let note = String::from_utf8(bytes);
        note.map(Some).map_err(|error| Error::different(Place::file(&path), "a checkpoint", error.to_string()))
    }

    fn last(&self, disk: &dyn Disk) -> Result<Option<Checkpoint>, Error> {
        let Some(note) = self.read(disk)? else { return Ok(None) };
        let checkpoint = Note::parse(&note).ok().and_then(|note| Checkpoint::parse(note.text));
        let own = checkpoint.filter(|checkpoint| checkpoint.origin == self.origin);
        let wrong =
            || Error::different(Place::file(&self.path()), format!("a checkpoint of {}", self.origin), "another");
        own.map(Some).ok_or_else(wrong)
    }

    /// Keeps a checkpoint that the log signed and that does not continue the last one: of sort `fork` it shows, beside
    /// that one, that the log has two histories.
    fn keep_evidence(&self, disk: &dyn Disk, sort: &str, note: &str) -> Result<(), Error> {
        let dir = self.dir.join("evidence");
        files::create_dirs(disk, &dir)?;
        let text = note.rsplit_once("\n\n").map_or(note, |(text, _)| text);
        let path = dir.join(format!("{sort}-{}", hex(&Sha256::digest(text)[..16])));
        let kept = disk.paths_in(&dir).map_err(Error::io(&dir))?;
        let is_of_sort = |path: &&PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(sort))
        };
        if kept.contains(&path) || kept.iter().filter(is_of_sort).count() >= EVIDENCE_MAX {
            return Ok(());
        }
        files::replace(disk, &path, note.as_bytes())
    }
}

#[cfg(test)]
mod tests;
