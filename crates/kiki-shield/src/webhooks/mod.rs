//! Webhooks: others are told what happened to money, as Standard Webhooks
//! (<https://www.standardwebhooks.com>, version 1.0.0) say it.
//!
//! Invariants:
//! - Events come from the log and from nothing else. [`jobs::follow`] turns each entry into deliveries in the
//!   transaction that moves its position, so each is made once, whatever ends the process, and no decision waits.
//! - A delivery is tried at least once and keeps its id, which the receiver knows it again by. Their order is not promised.
//! - A delivery ends delivered or failed. A failed one stays to be seen and can be tried again.
//! - Secrets are shown once, when they are made. What a receiver answers is not kept, its status apart.
//! - All is bounded: endpoints, what waits for them, what is kept, requests at once, their time and their answers.
//!
//! Start with [`event`]: what an entry tells. [`service`] has the verbs.

mod api;
mod body;
mod error;
mod event;
pub mod jobs;
mod model;
mod repo;
mod secret;
mod service;
#[cfg(test)]
mod tests;

pub use api::routes;
pub use error::WebhookError;
pub use service::Webhooks;
