//! Retention: what has been kept long enough goes, and a dry run says before what that would be.
//!
//! Invariants:
//! - A dry run counts with the same conditions that a run removes by, in the same stores.
//! - A person of whom nothing was heard for long enough goes as one whom a request erases: from every store by handle, then
//!   the key. Who is held, is restricted, or has a request open, stays.
//! - A store that fails is named and keeps no other from its work; a person is erased from all stores or keeps the key.
//! - Each run leaves one entry in the log, with its counts. What a run that ended early left is there for the next one.
//! - The database is held for one small batch at a time.
//!
//! The log itself is pruned by `kiki_spend::retention`, by whole segments.

mod api;
pub mod jobs;
mod repo;
mod service;
#[cfg(test)]
mod tests;

pub use api::routes;
pub use service::Retention;

/// The kind of the entry that a run leaves.
pub(crate) const RUN: &str = "retention.run";
/// Its reason where nothing was removed.
pub(crate) const NOTHING_REMOVED: &str = "rows 0";
