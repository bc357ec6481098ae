//! What webhooks do by themselves: [`follow()`] turns entries of the log into deliveries, [`deliver()`] sends them.

mod deliver;
mod follow;

pub use deliver::deliver;
#[cfg(test)]
pub(super) use follow::Follower;
pub use follow::follow;

use std::time::Duration;

/// How long to wait when there is nothing to do.
const PAUSE: Duration = Duration::from_millis(250);
/// How long to wait when something failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
