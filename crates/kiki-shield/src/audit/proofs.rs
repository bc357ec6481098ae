//! Proofs that strangers verify without trusting whoever answers here. Each was verified before it is handed out.

use std::path::Path;
use std::time::Duration;

use kiki_audit::served::Found;
use kiki_audit::{Checkpoint, Error, Hash, Proof, ProveError, SignedTree, Which, disk, pruned};
use kiki_types::id::AuthorizationId;

use super::model::{ConsistencyAnswer, ConsistencyRequest, InclusionAnswer, InclusionRequest, base64};
use super::there;
use crate::error::ShieldError;
use crate::service::{Caller, Shield};

/// How long a proof waits for the checkpoint that covers its entry.
const COVERED_TIME_MAX: Duration = Duration::from_secs(3);

impl Shield {
    /// The path from an entry to the root of a tree.
    pub(super) async fn inclusion(&self, request: InclusionRequest) -> Result<InclusionAnswer, ShieldError> {
        let InclusionRequest { index, size } = request;
        let answer = self.read_log(move |audit| {
            in_tree(audit, |tree, checkpoint| {
                let size = size.unwrap_or(tree.head().size);
                if index >= size || size > tree.head().size {
                    return Ok(None);
                }
                let ((leaf, path), root) = (tree.inclusion(index, size)?, tree.root(size)?);
                let (leaf, hashes, root) = (base64(&leaf), path.iter().map(base64).collect(), base64(&root));
                Ok(Some(InclusionAnswer { index, size, leaf, hashes, root, checkpoint }))
            })
        });
        answer.await?.ok_or(ShieldError::NotFound("entry in a tree of this size"))
    }

    /// The proof that a tree is the beginning of another.
    pub(super) async fn consistency(&self, request: ConsistencyRequest) -> Result<ConsistencyAnswer, ShieldError> {
        let ConsistencyRequest { from, to } = request;
        let answer = self.read_log(move |audit| {
            in_tree(audit, |tree, checkpoint| {
                let to = to.unwrap_or(tree.head().size);
                if from > to || to > tree.head().size {
                    return Ok(None);
                }
                let root = |size| Ok::<_, Error>(base64(&tree.root(size)?));
                let (from_root, to_root) = (root(from)?, root(to)?);
                let hashes: Vec<Hash> = tree.consistency(from, to)?;
                let hashes = hashes.iter().map(base64).collect();
                Ok(Some(ConsistencyAnswer { from, to, from_root, to_root, hashes, checkpoint }))
            })
        });
        answer.await?.ok_or(ShieldError::NotFound("pair of trees"))
    }

    /// The proof of the entry at `index`, if `caller` may see it.
    pub(super) async fn proof_of_entry(&self, caller: &Caller, index: u64) -> Result<Proof, ShieldError> {
        self.entry(caller, index).await?;
        self.prove(index).await
    }

    /// The proof of the decision that made an authorization. Waits shortly for a checkpoint that covers it.
    pub(super) async fn proof_of(&self, caller: &Caller, id: AuthorizationId) -> Result<Proof, ShieldError> {
        let index = self.authorization(caller, id).await?.entry.ok_or(ShieldError::NotFound("entry"))?;
        if !self.0.governor.covered(index, COVERED_TIME_MAX).await {
            return Err(ShieldError::ProofNotReady(index));
        }
        self.prove(index).await
    }

    async fn prove(&self, index: u64) -> Result<Proof, ShieldError> {
        let prove = move |audit: &Path| {
            let disk = disk::real();
            let minimum = pruned::minimum(disk.as_ref(), audit)?;
            if index < minimum {
                return Ok(Found::Pruned(minimum));
            }
            match kiki_audit::prove(&disk, audit, index, Which::BestThatCovers) {
                Ok(proof) => Ok(Found::There(proof)),
                Err(ProveError::NotCovered { .. }) => Ok(Found::Absent),
                Err(ProveError::Log(error)) => Err(error),
            }
        };
        match self.read_log(prove).await? {
            Found::Absent => Err(ShieldError::ProofNotReady(index)),
            found => there(found, "entry"),
        }
    }
}

/// Looks at the tree under the newest checkpoint, whose note is handed along; `None` before the first.
fn in_tree<T>(
    audit: &Path,
    look: impl FnOnce(&SignedTree<'_>, String) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    let disk = disk::real();
    let Some((head, note)) = Checkpoint::newest(disk.as_ref(), audit)? else { return Ok(None) };
    look(&SignedTree::new(disk.as_ref(), audit, head), note)
}
