//! SyncShield: may this agent act, for this customer, at this price?
//!
//! Invariants:
//! - Money and consent are decided by `kiki-spend` and nowhere else; this crate turns requests into its commands and
//!   its answers into HTTP and gRPC.
//! - What reaches the log names people by keyed hashes only ([`pseudonym`]).
//! - When nobody can decide, the answer is 503 `authority_unavailable`, never an allowance.
//!
//! Start with [`service`]: the verbs. [`routes`] and [`grpc`] are their two transports.

mod api;
pub mod audit;
pub mod breach;
mod compliance;
pub mod consent;
mod error;
pub mod grpc;
pub mod jobs;
pub mod limits;
pub mod mail;
mod mandate;
mod model;
mod names;
mod once;
mod pages;
pub mod policy;
pub mod pseudonym;
pub mod report;
pub mod retention;
mod service;
pub mod subject;
#[cfg(test)]
mod testing;
pub mod webhooks;
mod zones;

pub use api::routes;
pub use compliance::Compliance;
pub use error::ShieldError;
pub use pseudonym::Pseudonyms;
pub use service::{Caller, Seed, Shield};
pub use zones::time_zone;
