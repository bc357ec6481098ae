//! What the log promises, tried on logs in temporary directories.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper of tests may fail the test")]

mod append;
mod crash;
mod derive;
mod matrix;
mod prune;
mod random_access;
mod resume;
mod ship;
mod support;
mod tamper;
mod tamper_derived;
