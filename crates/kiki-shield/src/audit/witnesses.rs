//! Witnesses (C2SP tlog-witness): others who cosign the log's checkpoints, each as long as one continues the last. So no
//! two histories can be shown without one of them lacking their word.
//!
//! Each new checkpoint is submitted to the witnesses of the policy that have an address, at most one a second. Once
//! enough of them have cosigned one it is kept beside the newest checkpoint, which never waits for them. A witness that
//! has cosigned more entries than the log has, or another history, says that this log was put back or forked: it is not
//! asked again until a restart, and the service is not well.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use http::HeaderMap;
use kiki_audit::keys::VERIFIER_FILE;
use kiki_audit::witness::Submission;
use kiki_audit::{Checkpoint, Error, Policy, SignedTree, VerifierKey, disk};
use kiki_kit::egress::{Answer, Egress, Target, TargetError};
use kiki_kit::shutdown::Shutdown;

use crate::error::ShieldError;
use crate::service::Shield;

/// The least time between two submissions to a witness.
const PACE: Duration = Duration::from_secs(1);
/// How long to wait before a checkpoint is submitted again that too few cosigned, if no other comes.
const RETRY: Duration = Duration::from_secs(15);
/// Rounds without enough cosignatures after which the service says so.
const SHORT_ROUNDS_MAX: u32 = 4;

/// Why no witness can be asked.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The log's key cannot be read.
    #[error(transparent)]
    Key(#[from] Error),
    /// The policy does not trust this log.
    #[error("the policy has no line for this log, whose key is {0}")]
    Log(String),
    /// An address is none.
    #[error("{url}: {source}")]
    Address {
        /// The address.
        url: String,
        /// What is wrong with it.
        source: TargetError,
    },
    /// The policy wants no witness, or names none with an address.
    #[error("the policy wants no cosignature, or names no witness with an address")]
    Nobody,
}

/// Collects the cosignatures of witnesses.
pub struct Witnesses {
    shield: Shield,
    policy: Arc<Policy>,
    egress: Egress,
    asked: Vec<Asked>,
    standing: Standing,
}

/// How it stands with the witnesses. Clones share it.
#[derive(Clone, Default)]
pub struct Standing(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_refuted: bool,
    short_rounds: u32,
}

impl Standing {
    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the witnesses stand by this log.
    ///
    /// # Errors
    /// One of them knows another history, or too few answer.
    pub fn check(&self) -> Result<(), &'static str> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_refuted {
            return Err("a witness has cosigned another history of this log, or a longer one");
        }
        if state.short_rounds >= SHORT_ROUNDS_MAX { Err("too few witnesses cosign checkpoints") } else { Ok(()) }
    }
}

/// A witness that is asked.
struct Asked {
    name: String,
    target: Target,
    /// Entries of the checkpoint that it cosigned last, as far as known.
    size: u64,
    /// Whether it has refuted this log.
    is_refuting: bool,
}

/// What a witness answered.
enum Told {
    /// Lines to append to the checkpoint.
    Cosigned(Vec<String>),
    /// It has cosigned so many entries.
    At(u64),
    /// It knows another history.
    Refuted,
    /// Nothing to go by.
    Other(String),
}

impl Witnesses {
    /// Those that `policy` names with an address.
    ///
    /// # Errors
    /// See [`WitnessError`].
    pub fn new(shield: Shield, policy: Policy, egress: Egress) -> Result<Self, WitnessError> {
        let key = VerifierKey::load(&shield.0.keys.join(VERIFIER_FILE))?;
        if policy.logs().iter().all(|known| known.key != key) {
            return Err(WitnessError::Log(key.to_string()));
        }
        let mut asked = Vec::new();
        for known in policy.witnesses() {
            let Some(prefix) = &known.url else { continue };
            let url = format!("{}/add-checkpoint", prefix.trim_end_matches('/'));
            let target = Target::parse(&url, egress.reach()).map_err(|source| WitnessError::Address { url, source })?;
            asked.push(Asked { name: known.key.name().to_owned(), target, size: 0, is_refuting: false });
        }
        if asked.is_empty() || !policy.wants_witnesses() {
            return Err(WitnessError::Nobody);
        }
        Ok(Self { shield, policy: Arc::new(policy), egress, asked, standing: Standing::default() })
    }

    /// How it stands with them.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Submits each new checkpoint until shutdown.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut submitted = 0;
        loop {
            // A new checkpoint, or time to try the same one again.
            let next = self.shield.0.governor.covered(submitted, RETRY);
            tokio::select! {
                () = shutdown.draining() => return,
                _ = next => {}
            }
            match self.round().await {
                Ok(Some((size, is_enough))) => {
                    submitted = size;
                    self.standing.update(|state| {
                        state.short_rounds = if is_enough { 0 } else { state.short_rounds.saturating_add(1) };
                    });
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no checkpoint is submitted to witnesses"),
            }
            tokio::select! {
                () = shutdown.draining() => return,
                () = tokio::time::sleep(PACE) => {}
            }
        }
    }

    /// Submits the newest checkpoint, unless enough cosigned it before and every witness was heard since the start. Returns
    /// its size, and whether enough cosigned it; `None` before there is one.
    async fn round(&mut self) -> Result<Option<(u64, bool)>, ShieldError> {
        let read = |audit: &std::path::Path| {
            let disk = disk::real();
            let kept = Checkpoint::witnessed(disk.as_ref(), audit)?.map_or(0, |(kept, _)| kept.size);
            Ok(Checkpoint::newest(disk.as_ref(), audit)?.map(|(head, note)| (head, note, kept)))
        };
        let Some((head, note, kept)) = self.shield.read_log(read).await? else { return Ok(None) };
        if kept >= head.size && self.asked.iter().all(|asked| asked.size > 0 || asked.is_refuting) {
            return Ok(Some((head.size, true)));
        }
        let (shield, policy, egress) = (&self.shield, &*self.policy, &self.egress);
        let asked = self.asked.iter_mut().filter(|asked| !asked.is_refuting);
        let cosigned = join_all(asked.map(|asked| asked.cosign(shield, policy, egress, &head, &note))).await;
        let is_refuted = self.asked.iter().any(|asked| asked.is_refuting);
        self.standing.update(|state| state.is_refuted = is_refuted);
        let lines: BTreeSet<String> = cosigned.into_iter().flatten().collect();
        let witnessed = lines.iter().fold(note, |note, line| note + line);
        if self.policy.check(&witnessed).is_err() {
            return Ok(Some((head.size, false)));
        }
        let keep = move |audit: &std::path::Path| Checkpoint::keep_witnessed(disk::real().as_ref(), audit, &witnessed);
        self.shield.read_log(keep).await?;
        Ok(Some((head.size, true)))
    }
}

impl Asked {
    /// The cosignatures of `note`, the checkpoint of `head`; none if it does not cosign it now.
    async fn cosign(
        &mut self,
        shield: &Shield,
        policy: &Policy,
        egress: &Egress,
        head: &Checkpoint,
        note: &str,
    ) -> Vec<String> {
        // Twice at the most: the first answer may say from where on it wants the proof.
        for _ in 0..2 {
            let told = match self.submission(shield, head, note).await {
                Ok(submission) => self.submit(policy, egress, submission).await,
                Err(error) => Told::Other(error.to_string()),
            };
            let outcome = match told {
                Told::Cosigned(lines) => {
                    self.size = head.size;
                    count("cosigned");
                    return lines;
                }
                Told::At(size) if size <= head.size => {
                    self.size = size;
                    count("behind");
                    continue;
                }
                Told::At(_) | Told::Refuted => {
                    tracing::error!(
                        witness = self.name,
                        "a witness has cosigned another history of this log, or a longer one: it was put back, or forked"
                    );
                    self.is_refuting = true;
                    "refuted"
                }
                Told::Other(what) => {
                    tracing::warn!(witness = self.name, what, "a witness does not cosign");
                    "failed"
                }
            };
            count(outcome);
            break;
        }
        Vec::new()
    }

    async fn submission(&self, shield: &Shield, head: &Checkpoint, note: &str) -> Result<Submission, ShieldError> {
        let (old, head) = (self.size, head.clone());
        let prove = move |audit: &std::path::Path| {
            let size = head.size;
            SignedTree::new(disk::real().as_ref(), audit, head).consistency(old, size)
        };
        Ok(Submission { old, proof: shield.read_log(prove).await?, note: note.to_owned() })
    }

    async fn submit(&self, policy: &Policy, egress: &Egress, submission: Submission) -> Told {
        match egress.post(&self.target, HeaderMap::new(), submission.to_string().into()).await {
            Ok(answer) => told(policy, &submission.note, &answer),
            Err(error) => Told::Other(error.to_string()),
        }
    }
}

fn told(policy: &Policy, note: &str, answer: &Answer) -> Told {
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    match answer.status.as_u16() {
        200 => match policy.cosignatures(note, text) {
            Ok(lines) => Told::Cosigned(lines),
            Err(error) => Told::Other(format!("its cosignature {error}")),
        },
        409 => text.trim_end().parse().map_or_else(|_| Told::Other("it names no size".to_owned()), Told::At),
        422 => Told::Refuted,
        status => Told::Other(format!("it answered {status}")),
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("kiki_witness_submissions_total", "outcome" => outcome).increment(1);
}
