//! The `kiki` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    kiki::cli::run()
}
