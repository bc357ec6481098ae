//! Models as pure functions: numbers in, numbers out.
//!
//! No I/O, no clock, no randomness of its own: who simulates passes a source of uniform numbers. Start with [`ltv`].

#[cfg(any(test, feature = "fuzzing"))]
#[allow(clippy::expect_used, reason = "what is expected is what is tried")]
pub mod fuzzing;
pub mod ltv;
