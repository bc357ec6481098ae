//! The thread that keeps tiles, checkpoint and views up to the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kiki_audit::{Checkpoint, DeriveOptions, Deriver, Disk, Durable};

use tokio::sync::watch;

use crate::owner::REOPEN;
use crate::shard::{OpenError, Settings};

/// How far the derived tiles and views may stay behind.
const DERIVE_PACE: Duration = Duration::from_millis(250);
/// Entries that are derived between two looks at whether to stop.
const DERIVE_ENTRIES: u64 = 50_000;

/// What others are told of it.
pub(crate) struct Told {
    /// Whether tiles and views follow the log.
    pub(crate) is_deriving: Arc<AtomicBool>,
    /// Entries that the signed checkpoint covers.
    pub(crate) covers: watch::Sender<u64>,
}

pub(crate) fn open_deriver(disk: &Arc<dyn Disk>, settings: &Settings) -> Result<Deriver, OpenError> {
    let options = DeriveOptions { retention_days: settings.retention_days, entries_per_step: DERIVE_ENTRIES };
    Ok(Deriver::open_on(disk.clone(), &settings.audit(), settings.key()?, options)?)
}

/// Keeps tiles and views up to the log until the end. What it cannot write now it tries again: the log has it all.
pub(crate) fn derive(deriver: Deriver, disk: &Arc<dyn Disk>, settings: &Settings, durable: &Durable, told: &Told) {
    let mut open = Some(deriver);
    let mut signed = |checkpoint: &Checkpoint| _ = told.covers.send_replace(checkpoint.size);
    loop {
        let derived = match open.take() {
            Some(mut deriver) => deriver.run(durable, DERIVE_PACE, &mut signed).map_err(OpenError::from),
            None => open_deriver(disk, settings).map(|deriver| open = Some(deriver)),
        };
        told.is_deriving.store(derived.is_ok(), Ordering::Relaxed);
        match derived {
            Ok(()) if open.is_none() => return,
            Ok(()) => tracing::info!("deriving tiles and views again"),
            Err(error) => {
                tracing::error!(%error, "tiles and views stay behind the log");
                if durable.pause(REOPEN) {
                    return;
                }
            }
        }
    }
}
