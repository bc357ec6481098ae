//! The job that ships the log to a shelf.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use kiki_audit::{Error, ShipOptions, Shipped, Shipper, VerifierKey, handover};
use kiki_kit::config::Config;
use kiki_kit::shutdown::Shutdown;
use kiki_spend::shard::governor_time;
use tokio::runtime::Handle;

use crate::shelf;

/// However short the pause is that was configured.
const PAUSE_LEAST: Duration = Duration::from_millis(250);

/// How shipping goes: what went wrong the last time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shipping(Arc<Mutex<Option<String>>>);

impl Shipping {
    /// For health.
    ///
    /// # Errors
    /// What went wrong the last time.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// What ships the log below the data path of `config` to `to`.
///
/// # Errors
/// The keys cannot be read, or `to` is no shelf.
pub(crate) fn shipper(to: &str, config: &Config, shutdown: Shutdown) -> anyhow::Result<Shipper> {
    let shelf = shelf::open(to, config, Handle::current(), shutdown)?;
    let options = ShipOptions {
        keys: keys(config)?,
        to: to.to_owned(),
        retention_days: config.retention_days,
        time_of: governor_time,
    };
    Ok(Shipper::open_on(kiki_audit::disk::real(), &config.data.join("audit"), options, shelf))
}

/// What ships the log to the configured place, if there is one.
///
/// # Errors
/// As [`shipper`].
pub(crate) fn configured(config: &Config, shutdown: &Shutdown) -> anyhow::Result<Option<Shipper>> {
    config.ship_to.as_ref().map(|to| shipper(to, config, shutdown.clone())).transpose()
}

/// All keys of the log, newest first.
fn keys(config: &Config) -> anyhow::Result<Vec<VerifierKey>> {
    let path = config.data.join("keys/log.vkey");
    let key = VerifierKey::load(&path).with_context(|| format!("cannot read the key {}", path.display()))?;
    Ok(handover::all_keys(&key, &handover::load(&config.data.join("audit"))?))
}

/// Ships every so often until the process ends.
pub(crate) async fn run(shipper: Shipper, every: Duration, shipping: Shipping, shutdown: Shutdown) {
    let mut idle = Some(shipper);
    let mut last = None;
    while let Some(mut shipper) = idle.take() {
        let round = tokio::task::spawn_blocking(move || (shipper.advance(), shipper)).await;
        if shutdown.is_draining() {
            return;
        }
        let Ok((shipped, shipper)) = round else {
            shipping.set(Some("shipping panicked".to_owned()));
            return;
        };
        idle = Some(shipper);
        tell(shipped, &shipping, &mut last);
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(every.max(PAUSE_LEAST)) => {}
        }
    }
}

fn tell(shipped: Result<Shipped, Error>, shipping: &Shipping, last: &mut Option<u64>) {
    match shipped {
        Ok(shipped) => {
            if last.replace(shipped.size) != Some(shipped.size) {
                tracing::info!(to = shipped.to, entries = shipped.size, "the log is on the shelf");
            }
            shipping.set(None);
        }
        Err(error @ Error::Different(_)) => {
            tracing::error!(%error, "nothing is shipped: the shelf and this log differ");
            shipping.set(Some(error.to_string()));
        }
        Err(error) => {
            tracing::warn!(%error, "not shipped; tried again");
            shipping.set(Some(error.to_string()));
        }
    }
}
