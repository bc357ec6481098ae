//! The subcommands.

pub mod audit;
pub mod config;
pub mod demo;
pub mod policy;
pub mod serve;
pub mod spend;
pub mod value;
