//! The job that runs retention once a day.

use std::time::Duration;

use kiki_kit::shutdown::Shutdown;

use super::service::Retention;

/// After the start, and from one look to the next.
const PAUSE: Duration = Duration::from_secs(600);

/// Runs until shutdown. Of all processes on one database one runs each day.
pub async fn daily(retention: Retention, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.draining() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        tokio::select! {
            () = shutdown.draining() => return,
            result = retention.take_daily_turn() => {
                if let Err(error) = result {
                    tracing::warn!(%error, "what was kept long enough is still there");
                }
            }
        }
    }
}
