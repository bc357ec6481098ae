//! The register of consent: who agreed to what, when, on which text, and how they took it back.
//!
//! Invariants:
//! - What stands is decided by the governor alone. The register tells the story behind it: a row per act, with the entry
//!   of the log that proves it.
//! - A grant is written down before it is decided, so that nothing stands without its record. A revocation is decided at
//!   once, whatever the register does; [`follow`] makes the row that is missing.
//! - What people wrote, and the token of a confirmation, are sealed with the person's key and go with it.
//!
//! Start with `service.rs`: the verbs.

mod api;
mod bars;
mod confirm;
pub mod follow;
pub(crate) mod gpc;
mod look;
mod marks;
pub(crate) mod model;
mod repeat;
pub(crate) mod repo;
mod service;
mod shapes;
mod store;
#[cfg(test)]
mod tests;
mod texts;

pub(crate) use api::routes;
pub use confirm::Confirmation;
pub(crate) use marks::{Changed, OBJECTION_TOPIC};
#[cfg(test)]
pub(crate) use service::Made;
pub(crate) use service::Wanted;
pub use store::ConsentStore;
