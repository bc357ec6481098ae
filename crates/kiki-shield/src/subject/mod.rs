//! Subject requests: what a person asks to be done with their data, carried out over every store that holds some.
//!
//! Invariants:
//! - A request ends only after every store was asked; a store that fails is named, and asked again, while the others are
//!   not.
//! - Every step may be repeated: after a crash a request goes on where it stood.
//! - What people wrote is sealed under their own key; the log has ids and codes.
//! - Nothing is carried out for somebody who has not proven who they are, unless an officer vouches for them or the law
//!   forbids to ask.

mod apart;
mod api;
mod bars;
mod body;
mod code;
mod copies;
mod deadline;
mod decide;
mod decisions;
mod erasing;
mod error;
mod export;
mod exporting;
mod holds;
mod identity;
mod letters;
pub(crate) mod model;
mod rectifying;
mod remote;
pub(crate) mod repo;
mod rights;
mod runner;
mod service;
mod sheet;
mod stores;
mod wave;
mod words;
mod zip;

pub use api::routes;
pub use deadline::Calendar;
pub use remote::{Connect, RemoteStores};
pub use service::{Needs, Requests};
pub use sheet::Sheet;
pub use stores::{DecisionStore, RequestStore, WebhookStore};

#[cfg(test)]
mod tests;
