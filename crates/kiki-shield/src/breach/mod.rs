//! The register of breaches of personal data (Art. 33(5) GDPR), and the clock of 72 hours that begins when somebody is
//! aware of one.
//!
//! Invariants:
//! - The clock runs to the second and is never moved: when somebody became aware is said once.
//! - What people write about a breach is sealed; entries of the log carry its id and codes alone.
//! - A breach ends only with what the law wants of it: see [`model::Breach::missing`].
//! - Each reminder is published once, whatever ends the process, in the transaction that says so.

mod api;
mod body;
mod error;
pub mod jobs;
pub(crate) mod model;
pub(crate) mod repo;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use api::routes;
pub use error::BreachError;
pub use service::Breaches;
#[cfg(test)]
pub(crate) use service::Said;
pub use store::BreachStore;
