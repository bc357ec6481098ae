//! Subject requests: what a person asks to be done with their data, carried out over every store that holds some.
//!
//! Invariants:
//! - A request ends only after every store was asked; a store that fails is named, and asked again, while the others are
//!   not.
//! - Every step may be repeated: after a crash a request goes on where it stood.
//! - What people wrote is sealed under their own key; the log has ids and codes.
//! - Nothing is carried out for somebody who has not proven who they are, unless an officer vouches for them or the law
//!   forbids to ask.

#![allow(dead_code, reason = "the service takes up what is here")]

mod code;
mod deadline;
mod export;
pub(crate) mod model;
mod zip;

pub use deadline::Calendar;
