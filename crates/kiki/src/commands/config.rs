//! `kiki config`.

use std::process::ExitCode;

use kiki_kit::config::{Loaded, default_toml};

use crate::console::{complain, say};

/// Prints what is in force, or a commented file of everything that could be.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(loaded: &Loaded, template: bool) -> anyhow::Result<ExitCode> {
    if template {
        say(default_toml().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    say(loaded.describe().trim_end())?;
    for warning in &loaded.warnings {
        complain(format_args!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}
