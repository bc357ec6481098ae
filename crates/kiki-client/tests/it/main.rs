//! The SDK against a service that fails as it is told to.
//!
//! `cfg(test)` is always on here; it tells the lints that helpers beside the tests are test code too.
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with it")]

#[cfg(test)]
mod answers;
#[cfg(test)]
mod drops;
#[cfg(test)]
mod service;
