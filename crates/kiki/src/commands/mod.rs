//! The subcommands.

pub mod audit;
pub mod config;
pub mod demo;
pub mod serve;
pub mod spend;
pub mod value;
