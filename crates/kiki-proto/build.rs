//! Compiles `proto/` without a `protoc` on the machine.
use std::env;
use std::error::Error;
use std::path::Path;

const FILES: [&str; 3] =
    ["kiki/privacy/v1/personal_data.proto", "kiki/shield/v1/shield.proto", "kiki/value/v1/value.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    // Asked for when it runs: a target folder that checkouts share may hold a build of this script from another one.
    let root = Path::new(&env::var_os("CARGO_MANIFEST_DIR").ok_or("not run by cargo")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
