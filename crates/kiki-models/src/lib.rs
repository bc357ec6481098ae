//! Models as pure functions: numbers in, numbers out.
//!
//! No I/O, no clock, no randomness of its own: who simulates passes a source of uniform numbers. Start with [`ltv`].

pub mod ltv;
