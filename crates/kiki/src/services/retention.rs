//! The job that deletes what has been kept long enough.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kiki_audit::{Disk, Shipper};
use kiki_kit::shutdown::Shutdown;
use kiki_spend::retention::{self, Due};
use kiki_spend::{Handle, Settings};

/// How long after the start, and from one look to the next.
const PAUSE: Duration = Duration::from_secs(3600);
/// How long the checkpoint may take to cover the entry that tells of a pruning.
const COVERED_WITHIN: Duration = Duration::from_secs(60);

/// Prunes every hour what is due, until the process ends.
pub(crate) async fn run(settings: Settings, governor: Handle, shipper: Option<Shipper>, shutdown: Shutdown) {
    let shipper = shipper.map(Arc::new);
    let disk = kiki_audit::disk::real();
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Err(error) = prune_due(&disk, &settings, &governor, shipper.as_ref()).await {
            tracing::error!(error = format!("{error:#}"), "nothing was pruned; tried again");
        }
    }
}

async fn prune_due(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    governor: &Handle,
    shipper: Option<&Arc<Shipper>>,
) -> anyhow::Result<()> {
    let now = (settings.clock)();
    let shipped = shipper.map(|shipper| shipper.safe_to()).transpose()?;
    let due = apart(disk, settings, move |disk, settings| {
        retention::sweep(disk, settings)?;
        retention::due(disk, settings, now, shipped)
    });
    let to = match due.await? {
        Due::Nothing => return Ok(()),
        Due::AfterSnapshots(_) => return apart(disk, settings, retention::snapshot_behind).await,
        Due::To(to) => to,
    };
    if let Some(shipper) = shipper.cloned() {
        tokio::task::spawn_blocking(move || shipper.confirm(to)).await??;
    }
    let (command, draft) = apart(disk, settings, move |disk, settings| retention::entry(disk, settings, to)).await?;
    let decided = governor.decide(command, draft).await?;
    let index = decided.index.context("the entry that tells of a pruning is none")?;
    anyhow::ensure!(governor.covered(index, COVERED_WITHIN).await, "no checkpoint covers entry {index} yet");
    apart(disk, settings, move |disk, settings| retention::prune(disk, settings, to, index)).await?;
    tracing::info!(before = to, told_in = index, "pruned what has been kept long enough");
    Ok(())
}

/// Does what blocks on a thread for it.
async fn apart<T: Send + 'static>(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    work: impl FnOnce(&Arc<dyn Disk>, &Settings) -> Result<T, kiki_spend::OpenError> + Send + 'static,
) -> anyhow::Result<T> {
    let (disk, settings) = (disk.clone(), settings.clone());
    Ok(tokio::task::spawn_blocking(move || work(&disk, &settings)).await??)
}
