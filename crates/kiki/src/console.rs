//! What commands print. Output goes to stdout, progress and complaints to stderr; a reader that went away ends the
//! command quietly instead of with a panic.

use std::fmt;
use std::io::{self, Write};

/// Prints `text` and a line's end.
///
/// # Errors
/// Stdout cannot be written.
pub fn say(text: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints a complaint to stderr.
pub fn complain(text: impl fmt::Display) {
    // Where nobody can read complaints there is nobody to tell that.
    let _ = writeln!(io::stderr().lock(), "kiki: {text}");
}
