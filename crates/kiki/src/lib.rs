//! The `kiki` executable: subcommands, and the wiring of services into processes.
//!
//! A service knows the others by their protobuf clients only. [`services`] decides whether such a client calls a router
//! inside the process (`kiki up`) or an address (`kiki serve`). Start with [`cli`].

pub mod cli;
pub mod commands;
pub mod console;
pub mod process;
pub mod services;
mod shelf;

/// The version that `--version`, `/health` and `/metrics` show.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
