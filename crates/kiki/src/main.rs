//! The `kiki` executable.

use std::process::ExitCode;

/// A request's memory is often freed by another thread than the one that took it, the governor's, for which the
/// system's allocator locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kiki::cli::run()
}
