//! The `kiki` executable.
fn main() {}
