//! The service, over gRPC and HTTP.

mod aside;
mod cohorts;
mod drift;
mod intervals;
mod models;
mod personal;
mod predictions;
mod selection;
mod serving;
pub(super) mod world;
