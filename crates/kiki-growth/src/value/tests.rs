//! The service, over gRPC and HTTP.

mod aside;
mod cohorts;
mod drift;
mod intervals;
mod models;
mod personal;
mod predictions;
mod repeats;
mod selection;
mod serving;
pub(super) mod world;
