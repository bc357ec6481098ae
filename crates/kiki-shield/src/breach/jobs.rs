//! The job that reminds of breaches whose authority waits to be told.

use std::time::Duration;

use kiki_kit::shutdown::Shutdown;

use super::service::Breaches;

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs until shutdown. Any number of processes may: each reminder is published by one of them.
pub async fn remind(breaches: Breaches, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Err(error) = breaches.remind().await {
            tracing::warn!(%error, "reminders of breaches wait");
        }
    }
}
