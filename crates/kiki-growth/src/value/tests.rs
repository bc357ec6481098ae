//! The service, over gRPC and HTTP.

mod models;
mod predictions;
mod selection;
mod world;
