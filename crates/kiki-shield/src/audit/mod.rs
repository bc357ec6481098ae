//! The log towards those who audit it: static resources of C2SP tlog-tiles below `/v1/audit/log`, keys, entries, proofs.
//!
//! Invariants:
//! - Only what a signed checkpoint covers is shown, so whatever is answered here can be proven.
//! - Checkpoints, hash tiles and proofs name nobody. Entries are shown to their own tenant, and to whoever may read the
//!   log of all.
//! - Nothing is read from the disk on a thread that others wait for, and only so much at the same time.

mod api;
mod entries;
mod model;
mod proofs;
mod witnesses;

use std::path::Path;

use kiki_audit::served::Found;

use tokio::sync::Semaphore;

pub(crate) use api::routes;
pub use witnesses::{Standing, WitnessError, Witnesses};

use crate::error::ShieldError;
use crate::service::Shield;

/// Reads of the log from the disk that may run at the same time.
static READING: Semaphore = Semaphore::const_new(8);

impl Shield {
    /// Reads the log where nobody waits for the thread.
    pub(crate) async fn read_log<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, kiki_audit::Error> + Send + 'static,
    ) -> Result<T, ShieldError> {
        let permit = READING.acquire().await.map_err(failed)?;
        let audit = self.0.audit.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the request, which may be dropped before.
            let _permit = permit;
            read(&audit)
        });
        reading.await.map_err(failed)?.map_err(failed)
    }
}

/// What was found, or why it is not shown; `what` names it.
fn there<T>(found: Found<T>, what: &'static str) -> Result<T, ShieldError> {
    match found {
        Found::There(found) => Ok(found),
        Found::Pruned(minimum) => Err(ShieldError::Pruned(minimum)),
        Found::Absent => Err(ShieldError::NotFound(what)),
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ShieldError {
    ShieldError::Log(Box::new(error))
}
