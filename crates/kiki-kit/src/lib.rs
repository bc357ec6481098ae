//! Platform kit: what every service stands on, and nothing that belongs to one of them.
//!
//! Start with [`service`]: a service hands over its API and gets a router that already does request ids, traces,
//! metrics, authentication, limits and health. [`server`] serves such a router, [`inprocess`] calls it without a socket.
//! Handlers answer errors as a [`problem::Problem`], read input with [`extract`], and prove a permission by taking
//! an [`authorisation::Allowed`].

pub mod authorisation;
mod body_limit;
pub mod clock;
pub mod config;
pub mod context;
pub mod egress;
pub mod extract;
pub mod ids;
pub mod inprocess;
pub mod problem;
pub mod schema;
pub mod server;
pub mod service;
pub mod shutdown;
pub mod telemetry;
