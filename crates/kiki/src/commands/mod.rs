//! The subcommands.

pub mod audit;
pub mod config;
pub mod consent;
pub mod demo;
pub mod keys;
pub mod policy;
pub mod privacy;
pub mod serve;
pub mod spend;
pub mod value;
