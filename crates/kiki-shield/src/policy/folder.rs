//! A folder of rule sets that is followed while the process runs.
//!
//! Invariants:
//! - What is put in force was seen twice in a row: a file that is being written is not half a policy.
//! - A folder that holds mistakes changes nothing: what is in force stays, the mistakes are logged once, and
//!   [`PolicyFolder::check`] says so until they are mended.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kiki_kit::shutdown::Shutdown;
use kiki_types::{Principal, TenantId};

use super::{PolicyErrors, RuleSetText, source};
use crate::error::ShieldError;
use crate::service::{Caller, Shield};

/// Between two looks at the folder.
const PAUSE: Duration = Duration::from_millis(500);

/// What a look at the folder found.
type Seen = Result<Vec<RuleSetText>, PolicyErrors>;

/// The folder, whose rule sets are the default tenant's policy.
#[derive(Clone)]
pub struct PolicyFolder {
    shield: Shield,
    path: PathBuf,
    /// What it held at first.
    opened: Vec<RuleSetText>,
    is_broken: Arc<Mutex<bool>>,
}

impl PolicyFolder {
    /// Reads the folder and puts its policy in force.
    ///
    /// # Errors
    /// The folder holds mistakes, all of which are told; or nobody could put it in force.
    pub async fn open(shield: Shield, path: PathBuf) -> Result<Self, ShieldError> {
        let mut folder = Self { shield, path, opened: Vec::new(), is_broken: Arc::default() };
        folder.opened = folder.look().await??;
        folder.put(folder.opened.clone()).await?;
        Ok(folder)
    }

    /// Whether what is in the folder is in force.
    ///
    /// # Errors
    /// It holds mistakes, or nobody could put it in force.
    pub fn check(&self) -> Result<(), &'static str> {
        let is_broken = *self.is_broken.lock().unwrap_or_else(PoisonError::into_inner);
        if is_broken {
            Err("the folder of the policy holds mistakes; the policy before stays in force")
        } else {
            Ok(())
        }
    }

    /// Follows the folder until shutdown.
    pub async fn follow(self, shutdown: Shutdown) {
        let mut before: Seen = Ok(self.opened.clone());
        // What nothing is left to do about; `None` while what was seen could not be put in force.
        let mut done = Some(before.clone());
        while !shutdown.is_draining() {
            tokio::select! {
                () = shutdown.draining() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
            let Ok(seen) = self.look().await else { continue };
            let is_settled = before == seen;
            if is_settled && done.as_ref() != Some(&seen) {
                done = self.take(seen.clone()).await.then(|| seen.clone());
            }
            before = seen;
        }
    }

    /// Does what a look calls for. Returns whether it is done with.
    async fn take(&self, seen: Seen) -> bool {
        let put = match seen {
            Ok(texts) => self.put(texts).await,
            Err(mistakes) => Err(mistakes.into()),
        };
        *self.is_broken.lock().unwrap_or_else(PoisonError::into_inner) = put.is_err();
        let Err(error) = put else { return true };
        tracing::error!(folder = %self.path.display(), %error, "the policy stays as it was");
        matches!(error, ShieldError::Policy(_))
    }

    async fn put(&self, texts: Vec<RuleSetText>) -> Result<(), ShieldError> {
        let caller = Caller {
            principal: Arc::new(Principal::service(TenantId::default_tenant(), "kiki-shield")),
            network: String::new(),
        };
        let (policy, entry) = self.shield.put_policy(&caller, texts).await?;
        if entry.is_some() {
            tracing::info!(version = %policy.version(), rules = policy.rule_count(), "a policy is in force");
        }
        Ok(())
    }

    async fn look(&self) -> Result<Seen, ShieldError> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || source::read(&path));
        read.await.map_err(ShieldError::Reading)
    }
}
