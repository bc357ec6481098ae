//! The kit as a service's callers meet it: over its router, and over sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

mod config;
mod egress;
mod http;
mod sockets;
mod support;
mod transports;
